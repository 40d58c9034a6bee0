"""What a spec file means: every key, and every default that applies, in words. Pure.

``turnback validate --explain`` prints it. Values are those of the file; a default is told like
a value, because what goes wrong is decided by what nobody wrote.
"""

import re
import textwrap
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from experiments.language.amounts import format_duration
from experiments.language.instants import format_instant
from experiments.language.one_line import in_one_line
from experiments.language.source import ListNode, MappingNode, Mark, Node, parse_yaml
from experiments.spec import CONTROL, Advance, ExperimentSpec, Exposure, Mode, RampStep
from guardrails.language.spec_explain_guardrails import explained_guardrails, kpi_name
from guardrails.rules.failures import OPEN_WORDS, short_of, words_of
from guardrails.schedule import frozen
from guardrails.spec_file import SpecFile
from guardrails.words import percent

WIDTH: Final = 100
"""Columns of an explanation where nobody asks for fewer."""

_LONGEST_VALUE: Final = 300


@dataclass(frozen=True, slots=True)
class ExplainedKey:
    """One key of a file, or what happens where no key says it.

    Attributes:
        path: Keys from the top of the file; words in brackets for what is no key.
        value: As the file has it, or the default that applies.
        given: Whether the file says it.
        meaning: What it means, in a sentence or two.
        section: Heading it stands under.
    """

    path: str
    value: str
    given: bool
    meaning: str
    section: str = ""


@dataclass(frozen=True, slots=True)
class _File:
    """A file and what stands in it."""

    spec: SpecFile
    root: MappingNode

    def node(self, path: str) -> Node | None:
        node: Node | None = self.root
        for key in path.split("."):
            node = node.get(key) if isinstance(node, MappingNode) else None
        return node

    def row(self, path: str, default: str, meaning: str) -> ExplainedKey:
        node = self.node(path)
        value = default if node is None else _written(node)
        return ExplainedKey(path, value, node is not None, meaning)


def explained(spec: SpecFile) -> tuple[ExplainedKey, ...]:
    """Return what every key of a file, and every default that applies, means; in its order."""
    node, _ = parse_yaml(spec.text, file="")
    file = _File(spec, node if isinstance(node, MappingNode) else _NOTHING)
    sections: tuple[tuple[str, Iterator[ExplainedKey]], ...] = (
        ("What is tried", _tried(file)),
        ("Who takes part", _people(file)),
        ("When", _times(file)),
        ("The ramp", _ramp(file)),
        ("What should improve", _goal(file)),
        ("What may not get worse", _guarded(file)),
        ("When something goes wrong", _doubt(file)),
    )
    return tuple(
        ExplainedKey(key.path, key.value, key.given, key.meaning, section)
        for section, keys in sections
        for key in keys
    )


def explanation_lines(spec: SpecFile, *, width: int = WIDTH) -> list[str]:
    """Return the same as text, at most ``width`` columns wide."""
    head = f"{spec.experiment.key}: what this file says, and what holds where it says nothing"
    lines = _wrapped(head, width, first="", rest="  ")
    section = ""
    for key in explained(spec):
        if key.section != section:
            section = key.section
            lines += ["", section]
        head = f"{key.path}: {key.value}{'' if key.given else '  (default)'}"
        if key.path.startswith("("):
            head = f"{key.path[1:-1]}: {key.value}"
        lines += _wrapped(head, width, first="  ", rest="      ")
        lines += _wrapped(key.meaning, width, first="      ", rest="      ")
    return lines


def _wrapped(text: str, width: int, *, first: str, rest: str) -> list[str]:
    return textwrap.wrap(
        text, width, initial_indent=first, subsequent_indent=rest, break_on_hyphens=False
    )


def _tried(file: _File) -> Iterator[ExplainedKey]:
    spec = file.spec.experiment
    yield file.row("experiment", spec.key, "Key of the experiment and of its flag.")
    yield file.row("title", spec.key, "Its name for people.")
    yield file.row("owner", "nobody", "Whom to ask about it.")
    yield file.row("hypothesis", "not said", "What is believed.")
    for variant in spec.variants:
        what = "what everybody gets in doubt" if variant.name == CONTROL else "a treatment"
        yield file.row(
            f"variants.{variant.name}.weight",
            "",
            f"{variant.name} is {what}: it is planned for {percent(variant.weight)} of the units.",
        )
        flow = f"What applications receive as the flag's value for {variant.name}."
        if variant.flow is None:
            flow = f"For {variant.name} applications receive no value and use their own default."
        yield file.row(f"variants.{variant.name}.flow", variant.name, flow)
    live = (
        "A breach of an acting guardrail turns its treatment back."
        if spec.mode is Mode.LIVE
        else "Everything is judged and recorded, nobody is turned back, and the ramp stands still."
    )
    yield file.row("mode", "live", live)
    told = "These channels of the service and its log are told what happens."
    yield file.row("notify", "nobody", told if spec.notify else "Only the service's log is told.")


def _people(file: _File) -> Iterator[ExplainedKey]:
    spec = file.spec.experiment
    yield file.row(
        "unit", spec.unit, f"Each {spec.unit} is dealt out by its hash and analysed on its own."
    )
    yield file.row(
        "seed", "1", "Part of the hash. Raising it deals everybody anew and starts over."
    )
    everybody = "Everybody takes part."
    some = (
        "Every line must hold. Where an attribute is missing or of another type, its line does "
        "not hold: that unit gets control and is not counted."
    )
    yield file.row("audience", "everybody", some if spec.audience else everybody)
    yield file.row(
        "segments",
        "none",
        "Attributes by which the effect is looked at, too; their values are kept with exposures. "
        "Nothing acts on them.",
    )
    layer = "Other experiments may have the same units."
    if spec.layer is not None:
        layer = (
            f"It takes {percent(spec.layer.share)} of the layer `{spec.layer.name}`; no other "
            "experiment of that layer has one of its units."
        )
    yield file.row("layer", "none", layer)
    yield file.row(
        "holdout",
        "true",
        "Units of the service's global holdout stay out of it, if the service has one."
        if spec.holdout
        else "Units of the service's global holdout take part in it, too.",
    )
    forced = (
        "These ids get the variant named, whoever takes part, and are never counted. Of one that "
        "was turned back they get control, too."
    )
    yield file.row("force", "none", forced if spec.force else "No id is set to a variant by hand.")
    yield file.row(
        "exposure",
        "evaluate",
        "A unit counts from its first evaluation by the service."
        if spec.exposure is Exposure.EVALUATE
        else "A unit counts from the first exposure event that the application sends.",
    )


def _times(file: _File) -> Iterator[ExplainedKey]:
    spec = file.spec.experiment
    start = "It starts when the file is applied."
    if spec.starts is not None:
        by_hand = isinstance(spec.starts, str)
        start = (
            f"Until {'a person starts it' if by_hand else 'then'} it is a draft: all get control."
        )
    yield file.row("starts", "when applied", start)
    end = "at" if spec.ends.at is not None else "after"
    yield file.row(
        f"ends.{end}",
        "",
        f"New exposures stop {format_duration(spec.ends.after)} after the start; then all get "
        "control and exposed units are watched on.",
    )
    observed = spec.ends.observe_for or timedelta(0)
    yield file.row(
        "ends.observe_for",
        format_duration(observed),
        "How long exposed units are watched after that, guardrails included; without it, until "
        "the longest window of guardrails and goal has closed.",
    )
    yield file.row(
        "check_every", "1m", "How often every guardrail is checked. More checks cost no alpha."
    )
    yield file.row(
        "lag", "5m", "How late events may come: a unit is judged this long after its window."
    )
    for index, freeze in enumerate(spec.freeze):
        node = file.node("freeze")
        item = node.items[index] if isinstance(node, ListNode) else None
        yield ExplainedKey(
            f"freeze[{index}]",
            _written(item) if item is not None else freeze.why,
            given=True,
            meaning="The ramp does not advance then. Guardrails go on turning back.",
        )


def _ramp(file: _File) -> Iterator[ExplainedKey]:
    spec = file.spec.experiment
    node = file.node("ramp")
    if node is None:
        yield ExplainedKey("ramp", "100%", given=False, meaning="Full traffic from the start.")
        return
    begins: timedelta | None = timedelta(0)
    for index, step in enumerate(spec.ramp):
        item = node.items[index] if isinstance(node, ListNode) else node
        last = index == len(spec.ramp) - 1
        share, since = percent(step.traffic, digits=2), _since(file, begins, index)
        shadow = spec.mode is Mode.SHADOW
        leaves = _STANDS_STILL if shadow and not last else _leaves(step, last=last)
        meaning = f"{share} of the audience, {since}. {leaves}"
        if step.traffic < 1 and not shadow:
            meaning = f"{meaning} {_gets(spec, step.traffic)}"
        if shadow and index > 0:
            meaning = "Never: in shadow mode the ramp stands still at its first step."
        yield ExplainedKey(f"ramp[{index}]", _written(item), given=True, meaning=meaning)
        begins = _next_begins(file, begins, step.hold)


def _gets(spec: ExperimentSpec, traffic: float) -> str:
    """Return what traffic and weight make together: the shares that pages show."""
    parts = [
        f"{percent(v.weight, digits=2)} get {v.name} "
        f"({percent(traffic * v.weight, digits=2)} of the audience)"
        for v in spec.variants
        if v.name != CONTROL
    ]
    return f"Of these {' and '.join(parts)}; the others see control."


_STANDS_STILL: Final = (
    "It stays until the end: in shadow mode the ramp stands still, whatever a step asks for."
)


def _next_begins(file: _File, begins: timedelta | None, hold: timedelta) -> timedelta | None:
    """Return when the next step begins at the earliest, freezes included where dates are known."""
    spec = file.spec.experiment
    if begins is None or spec.starts is None or isinstance(spec.starts, str) or not spec.freeze:
        return None if begins is None else begins + hold
    at = spec.starts + begins + hold
    stands = frozen(spec.freeze, at)
    if stands is None:
        return begins + hold
    return stands.until - spec.starts if stands.until is not None else None


def _since(file: _File, begins: timedelta | None, index: int) -> str:
    spec = file.spec.experiment
    if begins is None:
        return "never: a freeze has no end"
    if spec.starts is None or isinstance(spec.starts, str):
        if index == 0:
            return "from the start"
        later = ", later during a freeze" if spec.freeze else ""
        return f"{format_duration(begins)} after the start at the earliest{later}"
    text = format_instant(spec.starts + begins)
    return f"from {text}" if index == 0 else f"from {text} at the earliest"


def _leaves(step: RampStep, *, last: bool) -> str:
    if last:
        return "The last step: it stays until the end."
    asks = [f"{format_duration(step.hold)} are over"] if step.hold else []
    if step.min_units:
        asks.append(f"{step.min_units:,} units of each arm entered in this step")
    if step.approval:
        asks.append("a person has approved")
    if step.advance is Advance.PROVEN:
        asks.append("every guardrail but alerts and dry runs has passed")
    else:
        asks.append("no guardrail but alerts and dry runs is in breach, error or without data")
    first = f"{', '.join(asks[:-1])} and " if asks[1:] else ""
    return f"The next step follows when {first}{asks[-1]}."


def _goal(file: _File) -> Iterator[ExplainedKey]:
    spec = file.spec.experiment
    if spec.goal is None:
        yield ExplainedKey("goal", "none", given=False, meaning="Nothing is said to be improved.")
    else:
        name = kpi_name(file.spec, spec.goal.kpi)
        yield file.row("goal.kpi", spec.goal.kpi, f"{name} should improve. It turns nobody back.")
        yield file.row("goal.expect", "not said", "The change hoped for against control.")
    yield file.row(
        "auto_ship",
        "false",
        "When the run is over and a treatment is proven better and safe, its audience gets it."
        if spec.auto_ship
        else "When the run is over everybody gets control; what is advised, people do.",
    )
    yield file.row("watch", "none", "KPIs that are shown and judge nothing.")
    units = "measured" if spec.expect_units is None else f"{spec.expect_units:,}"
    yield file.row(
        "expect_units",
        units,
        "Units of all variants together by the end. It tunes when proof comes soonest, and never "
        "what is proof.",
    )


def _guarded(file: _File) -> Iterator[ExplainedKey]:
    node = file.node("acknowledge")
    for each in explained_guardrails(file.spec, file.root):
        value = _written(each.node) if each.node is not None else each.value
        yield ExplainedKey(each.path, value, each.node is not None, each.meaning)
    if node is not None:
        yield ExplainedKey(
            "acknowledge", _written(node), given=True, meaning="Warnings that were read."
        )


_DOUBT: Final = """\
an id is missing | control
    A request without {unit} gets control and is not counted.
nothing is proven | wait
    Neither harm nor its absence: nobody is turned back for it, and the ramp waits only where its
    step says `advance: proven`. After the end everybody gets control, unless `auto_ship` has proof.
the split is uneven | told
    A unit that met two variants counts for neither; the units of every variant are shown. A shift
    of shares between variants is never taken for an effect. Every experiment is watched for it.
a treatment is turned back | it stays so
    Its units get control at once, whatever file is applied, until a person resumes it.
the service is gone | the application's own default
    Applications serve the default in their code: it should be control.
"""
"""What happens where no key says it: the case, what is done, and why; two lines or more each."""


def _doubt(file: _File) -> Iterator[ExplainedKey]:
    asked = file.spec.default_policies
    for key, consequence, about in (
        ("on_no_data", asked.on_no_data, "Units enter, and there is nothing to compare"),
        ("on_source_error", asked.on_source_error, "The store or Prometheus gives no answer"),
        ("on_srm", asked.on_srm, "The arms are not dealt as planned"),
    ):
        words = words_of(consequence, counted=key != "on_srm")
        meaning = f"{about}: nobody is turned back. {words}"
        yield file.row(key, short_of(consequence), meaning)
    yield file.row("on_inconclusive", str(asked.on_inconclusive.value), OPEN_WORDS)
    told = _DOUBT.format(unit=file.spec.experiment.unit)
    for case in re.split(r"\n(?=\S)", told.strip()):
        head, _, meaning = case.partition("\n")
        what, _, value = head.partition(" | ")
        words = " ".join(meaning.split())
        yield ExplainedKey(f"({what})", value, given=False, meaning=words)


def _written(node: Node) -> str:
    """Return a value on one line, as people write it."""
    text = in_one_line(node)
    return text if len(text) <= _LONGEST_VALUE else f"{text[: _LONGEST_VALUE - 1]}…"


_NOTHING: Final = MappingNode((), Mark(1, 1))
