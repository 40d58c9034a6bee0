"""What the guardrails of a file mean: promises, and how the alpha is split between them. Pure."""

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta

from experiments.language.amounts import format_duration
from experiments.language.source import ListNode, MappingNode, Node
from experiments.spec import Mode
from guardrails.levels import WindowPlan, exposed_by, plan_comparisons
from guardrails.rules import (
    Action,
    Alert,
    Baseline,
    Catastrophe,
    Freshness,
    Guardrail,
    Limit,
    PromQL,
    Regression,
    SampleRatio,
    Statistical,
    Watching,
)
from guardrails.rules.common import Side
from guardrails.rules.failures import ON_SRM, OPEN_WORDS, POLICY_KEYS, Consequence, words_of
from guardrails.spec_file import SpecFile
from guardrails.words import percent, points
from guardrails.words_catastrophe import harm_words


@dataclass(frozen=True, slots=True)
class GuardrailRow:
    """One key of the guardrail part: ``node`` is what the file says, else ``value`` holds."""

    path: str
    value: str
    node: Node | None
    meaning: str


def kpi_name(spec: SpecFile, key: str) -> str:
    """Return a KPI's title, its key where it is not known."""
    definition = spec.kpis.get(key)
    return definition.title if definition is not None else key


def explained_guardrails(spec: SpecFile, root: MappingNode) -> Iterator[GuardrailRow]:
    """Return what the guardrails of a file, their defaults and the alpha mean.

    Args:
        spec: The file.
        root: Its text, parsed.
    """
    yield GuardrailRow("alpha", "5%", root.get("alpha"), _alpha(spec))
    form = root.get("guardrails")
    if not spec.guardrails:
        yield GuardrailRow("guardrails", "none", None, "Nobody is protected.")
    plans = _plans(spec)
    entries = iter(_own(form))
    for guardrail in spec.guardrails:
        name = spec.sets.get(guardrail.id)
        if name is None:
            path, node = next(entries, ("guardrails", None))
            yield from _own_rows(spec, guardrail, path, node, plans)
        else:
            yield from _set_rows(spec, guardrail, _use_path(form, name), plans)
    without = form.get("without") if isinstance(form, MappingNode) else None
    if without is not None:
        yield GuardrailRow("guardrails.without", "", without, "Guardrails of the sets left out.")
    for key in _own_kpis(root):
        definition = spec.kpis[key]
        text = f"A KPI of this file alone: {definition.words}"
        yield GuardrailRow(f"kpis.{key}", definition.title, None, text)


def _own_kpis(root: MappingNode) -> Sequence[str]:
    node = root.get("kpis")
    return [entry.key for entry in node.entries] if isinstance(node, MappingNode) else []


def _own(form: Node | None) -> Sequence[tuple[str, MappingNode]]:
    base, node = "guardrails", form
    if isinstance(form, MappingNode):
        base, node = "guardrails.add", form.get("add")
    items = node.items if isinstance(node, ListNode) else ()
    return [(f"{base}[{i}]", n) for i, n in enumerate(items) if isinstance(n, MappingNode)]


def _use_path(form: Node | None, name: str) -> str:
    uses = form.get("use") if isinstance(form, MappingNode) else None
    names = [getattr(n, "text", "") for n in uses.items] if isinstance(uses, ListNode) else []
    return f"guardrails.use[{names.index(name) if name in names else 0}] ({name})"


def _alpha(spec: SpecFile) -> str:
    acting = [g for g in spec.guardrails if g.acts]
    treatments = len(spec.experiment.treatments)
    budget = percent(spec.experiment.alpha, digits=3)
    if not acting:
        return f"Nothing can turn a variant back within it, so nothing of the {budget} is spent."
    parts = f"{len(acting)} guardrail{'s' if len(acting) > 1 else ''} that can turn back, by weight"
    if treatments > 1:
        parts += f", then by {treatments} treatments"
    counted = any(isinstance(g, Catastrophe) for g in acting)
    times = ", no more than `max_times` as often in each catastrophe" if counted else ""
    shadow = ""
    if spec.experiment.mode is Mode.SHADOW:
        shadow = "In shadow mode nobody is turned back; in live mode this would hold. "
    return (
        f"{shadow}A treatment that does no harm worth proving (at most `prove_past` of each "
        f"margin, inside each limit{times}) is turned back with a probability of at most {budget} "
        "over the whole experiment, all checks together. It is split over "
        f"{parts}, then by windows."
    )


_Plans = Mapping[str, Sequence[WindowPlan]]


def _plans(spec: SpecFile) -> _Plans:
    found: dict[str, Sequence[WindowPlan]] = {}
    for comparison in plan_comparisons(spec):
        found.setdefault(comparison.guardrail, comparison.windows)
    return found


def _own_rows(
    spec: SpecFile, guardrail: Guardrail, path: str, node: MappingNode | None, plans: _Plans
) -> Iterator[GuardrailRow]:
    yield GuardrailRow(path, guardrail.id, node, f"{_promise(spec, guardrail)}.")

    def row(key: str, default: str, meaning: str) -> GuardrailRow:
        return GuardrailRow(f"{path}.{key}", default, node.get(key) if node else None, meaning)

    yield from _failures(spec, guardrail, path, node)
    yield row("action", str(guardrail.action.value), _action(spec, guardrail))
    yield row("dry_run", "false", _dry(spec, guardrail))
    if isinstance(guardrail, PromQL | Alert | Watching):
        for key, value, meaning in _others(spec, guardrail):
            yield row(key, value, meaning)
        return
    if isinstance(guardrail, Regression):
        yield row("prove_past", "0.5", _proof(guardrail))
    if isinstance(guardrail, Catastrophe):
        yield row("max_times", "2", _times(guardrail))
    if guardrail.acts:
        yield row("weight", "1", "Its part of the alpha against the other acting guardrails.")
    yield row("windows", _lengths(guardrail), _windows(spec, guardrail, plans))


def _others(spec: SpecFile, guardrail: PromQL | Alert | Watching) -> Iterator[tuple[str, str, str]]:
    """Return the keys of rules outside of statistics: name, default, meaning."""
    if isinstance(guardrail, SampleRatio):
        yield "level", "0.1%", _own_level(spec, guardrail)
    elif isinstance(guardrail, Freshness):
        yield "max_age", format_duration(guardrail.max_age), _AGE
    elif isinstance(guardrail, Baseline):
        yield "sd", "2", "What is usual: so many standard deviations around the mean."
        yield "past", "7d", "How far back that mean reaches."
    elif isinstance(guardrail, Alert):
        yield "hold", format_duration(guardrail.hold), _FIRING
        yield "labels", "any", "What the alert's other labels must be to count."
    else:
        held = "two check intervals" if guardrail.hold is None else format_duration(guardrail.hold)
        yield "hold", held, "How long the answer must be beyond the limit without a break."


def _failures(
    spec: SpecFile, guardrail: Guardrail, path: str, node: MappingNode | None
) -> Iterator[GuardrailRow]:
    """Return what a guardrail says of its failures; the file's own keys tell what else holds."""
    policies = spec.policies.get(guardrail.id, spec.default_policies)
    for key in POLICY_KEYS:
        written = node.get(key.name) if node is not None else None
        if written is None:
            continue
        asked = getattr(policies, key.name)
        meaning = OPEN_WORDS
        if isinstance(asked, Consequence):
            meaning = words_of(asked, counted=key is not ON_SRM)
        yield GuardrailRow(f"{path}.{key.name}", "", written, meaning)


def _set_rows(
    spec: SpecFile, guardrail: Guardrail, path: str, plans: _Plans
) -> Iterator[GuardrailRow]:
    meaning = f"{_promise(spec, guardrail)}. {_acts(spec, guardrail)}"
    if not isinstance(guardrail, PromQL | Alert | Watching):
        meaning += f" {_windows(spec, guardrail, plans)}"
    yield GuardrailRow(path, guardrail.id, None, meaning)


_ACTIONS = {
    Action.ROLLBACK: "A breach turns the treatment back: its units get control.",
    Action.HOLD: "A breach holds the ramp, and turns nobody back.",
    Action.ALERT: "A breach is told to people, and does nothing else.",
    Action.STOP: "A breach ends the whole experiment.",
}


def _dry(spec: SpecFile, guardrail: Guardrail) -> str:
    if guardrail.dry_run:
        return "It is judged, recorded and shown, and never acts."
    if spec.experiment.mode is Mode.SHADOW:
        return "It is no trial of its own: the whole experiment runs in shadow mode."
    return "It is no trial: a breach has its consequence."


_FIRING = "For how long it must have been firing, from when Turnback was told."
_AGE = "How long an arm may be silent while it is served; events count, exposures do not."


def _own_level(spec: SpecFile, guardrail: SampleRatio) -> str:
    treatments = len(spec.experiment.treatments)
    each = f", {percent(guardrail.level / treatments, digits=3)} each" if treatments > 1 else ""
    return (
        f"Units dealt as planned raise the alarm with a probability of at most "
        f"{percent(guardrail.level, digits=3)} over the whole run{each}; it takes nothing of the "
        "alpha."
    )


def _watch_promise(spec: SpecFile, guardrail: Watching) -> str:
    if isinstance(guardrail, SampleRatio):
        return "Units enter every treatment and control in the planned shares"
    if isinstance(guardrail, Baseline):
        return (
            f"{kpi_name(spec, guardrail.kpi)} of the newest half day stays within "
            f"{guardrail.sd:g} standard deviations of control's recent past. It compares with the "
            "past, and proves nothing"
        )
    return "Events of every treatment and of control go on arriving"


def _promise_of_others(guardrail: PromQL | Alert) -> str:
    if isinstance(guardrail, Alert):
        what = f"The alert `{guardrail.name}`, posted by Alertmanager, may not fire"
    else:
        bound = "above" if guardrail.side is Side.RISE else "below"
        what = f"The query `{guardrail.query}` may not answer {bound} {guardrail.limit:g}"
    return f"{what}. It is outside statistics and outside the alpha"


def _promise(spec: SpecFile, guardrail: Guardrail) -> str:
    if isinstance(guardrail, Watching):
        return _watch_promise(spec, guardrail)
    if isinstance(guardrail, PromQL | Alert):
        return _promise_of_others(guardrail)
    title = kpi_name(spec, guardrail.kpi)
    if isinstance(guardrail, Limit):
        bound = "more" if guardrail.side is Side.RISE else "less"
        share = spec.kpis[guardrail.kpi].unit == "share"
        value = percent(guardrail.limit, digits=3) if share else f"{guardrail.limit:g}"
        return f"{title} of a treatment may not be {bound} than {value}"
    if isinstance(guardrail, Catastrophe):
        return (
            f"{harm_words(title, guardrail.side.value)} may not be more than "
            f"{guardrail.max_times:g} times control's, counted unit by unit from the first on"
        )
    if guardrail.margin == 0:
        return f"{title} may not {guardrail.side.value} at all against control"
    return f"{title} may not {guardrail.side.value} by more than {_size(guardrail)} against control"


def _size(guardrail: Regression, part: float = 1.0) -> str:
    size = guardrail.margin * part
    if guardrail.absolute:
        return points(size)
    return percent(size, digits=2)


def _acts(spec: SpecFile, guardrail: Guardrail) -> str:
    if guardrail.dry_run:
        return "Tried only: it never acts."
    return _action(spec, guardrail)


def _action(spec: SpecFile, guardrail: Guardrail) -> str:
    if spec.experiment.mode is Mode.SHADOW:
        return _ACTIONS[Action.ALERT]
    return _ACTIONS[guardrail.action]


def _proof(guardrail: Regression) -> str:
    if guardrail.prove_past * guardrail.margin == 0:
        return "It is a breach when any harm is proven."
    return (
        f"It is a breach when harm of more than {_size(guardrail, guardrail.prove_past)} is proven."
    )


def _times(guardrail: Catastrophe) -> str:
    harm = "the KPI's event" if guardrail.side is Side.RISE else "the absence of the KPI's event"
    return (
        f"The harm is {harm}; it is a breach when more than {guardrail.max_times:g} times "
        "control's rate is proven."
    )


def _lengths(guardrail: Statistical) -> str:
    parts = (f"{format_duration(w.length)}: {percent(w.weight)}" for w in guardrail.windows)
    return f"{{{', '.join(parts)}}}"


def _windows(spec: SpecFile, guardrail: Statistical, plans: _Plans) -> str:
    plan = plans.get(guardrail.id, ())
    each = " for each treatment" if len(spec.experiment.treatments) > 1 else ""
    levels = ", ".join(
        f"{percent(w.level, digits=3)} after {format_duration(w.length)}" for w in plan
    )
    total = percent(math.fsum(w.level for w in plan), digits=3)
    kept = (
        f"Its part of the alpha{each} is {total}"
        if guardrail.acts
        else (f"It takes nothing of the alpha and is tested at {total}{each}")
    )
    text = f"{kept}: {levels}." if len(plan) > 1 else f"{kept}, {levels.partition(' ')[2]}."
    watched = {w.length for w in plan}
    for window in guardrail.windows:
        if window.length not in watched:
            text += f" {_dropped(spec, window.length)}"
    return text


def _dropped(spec: SpecFile, length: timedelta) -> str:
    experiment = spec.experiment
    ends, observed = experiment.ends.after, experiment.ends.observe_for or timedelta(0)
    share = exposed_by(experiment.ramp, ends, ends + observed - length - experiment.lag)
    return (
        f"The window of {format_duration(length)} is dropped: it closes in time for "
        f"{percent(max(share, 0.0), digits=0)} of the planned units, and 20% are needed."
    )
