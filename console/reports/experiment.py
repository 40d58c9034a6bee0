"""What the report of one experiment says: the verdict first, then everything it rests on. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Final

from console import charts
from console.charts import Shown
from console.i18n import instant
from console.reports.opening import Answered, effect_words, opening, turned_back_effects
from console.views import words
from console.views.comparisons import comparisons
from console.views.experiment import experiment_page
from console.views.lines import (
    GuardrailLine,
    KpiText,
    TransitionLine,
    VariantLine,
)
from console.views.phrases import of_a_demo
from console.views.segments import SegmentsPart, segments_part
from guardrails.outcome import Outcome
from guardrails.views import ExperimentView
from metrics.wording import gettext as _
from metrics.wording import marked, ngettext


@dataclass(frozen=True, slots=True)
class KpiEntry:
    """A KPI of one treatment beside control: values, lift and its interval, units of both."""

    kpi: str
    title: str
    window: str
    better: str
    treatment: str
    control: str
    value: str
    effect: str
    interval: str
    units: str
    tone: str
    goal: bool
    watched: bool
    note: str


@dataclass(frozen=True, slots=True)
class Judged:
    """A guardrail of one treatment with what its charts show and say."""

    line: GuardrailLine
    shown: Shown
    captions: Mapping[str, str]

    @property
    def words(self) -> str:
        """How it stands, in short."""
        if self.line.outcome == "breach":
            return self.line.acts
        return _(
            "{evidence}; if it trips: {acts}",
            evidence=self.line.evidence_words,
            acts=self.line.acts,
        )


@dataclass(frozen=True, slots=True)
class Report:
    """One experiment, to be read by somebody who never saw it.

    ``verdict`` is what a reader must know; ``advice`` what was recommended at the end, with
    reasons; ``quality`` what is known of the data, ``segments`` where the effect
    differs; ``method`` and ``reading`` explain numbers.
    ``opening`` answers what happened, how sure it is, who was affected and what to do next.
    ``at`` is the instant of the newest check: everything in it is as of then.
    ``simulated`` says that it is a demo's, empty where it is not.
    """

    key: str
    title: str
    tone: str
    state: str
    verdict: str
    lead: str
    at: datetime | None
    at_words: str
    facts: tuple[tuple[str, str], ...]
    advice: str
    reasons: tuple[str, ...]
    variants: tuple[VariantLine, ...]
    kpis: tuple[KpiEntry, ...]
    missing: tuple[str, ...]
    guardrails: tuple[Judged, ...]
    watches: tuple[GuardrailLine, ...]
    rollbacks: tuple[str, ...]
    attention: tuple[str, ...]
    quality: tuple[str, ...]
    segments: SegmentsPart
    transitions: tuple[TransitionLine, ...]
    method: tuple[str, ...]
    reading: tuple[tuple[str, str], ...]
    leading: Judged | None
    opening: tuple[Answered, ...]
    simulated: str


METHODS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "regression": marked(
            "A guardrail compares a KPI of the treatment with control at every check, by a test "
            "that stays valid however often it is looked at (a group-sequential boundary with the "
            "margin inside, and an e-process for harm that begins late). The treatment is turned "
            "back when it is proven that the harm exceeds the part of the margin that the file "
            "says, half of it unless told otherwise."
        ),
        "limit": marked(
            "A limit compares the treatment's own value with a fixed bound, by a confidence "
            "sequence that is valid at every look."
        ),
        "catastrophe": marked(
            "A catastrophe is an exact test of rare events from the first unit on, for harm that "
            "is many times that of control."
        ),
        "promql": marked(
            "Queries to Prometheus are samples against a limit, outside statistics and outside "
            "the guarantee."
        ),
        "alert": marked(
            "Alerts of Alertmanager count while they fire, outside statistics and outside the "
            "guarantee."
        ),
    }
)
"""How each rule decides, in words."""

READING: Final = (
    (
        marked("Effect"),
        marked("The treatment against control, in percent of control's value."),
    ),
    (
        marked("Interval"),
        marked(
            "The effects that the data leave possible, at every look at once. An interval that "
            "holds 0 has shown no difference; it has not shown that there is none."
        ),
    ),
    (
        marked("Evidence"),
        marked(
            "How near the data are to proving harm: 100% is the boundary at which a treatment is "
            "turned back."
        ),
    ),
    (
        marked("Margin"),
        marked("The largest harm that the file tolerates, written down before the run."),
    ),
    (
        marked("Not decided"),
        marked("Neither harm nor its absence is proven. It is not the same as no effect."),
    ),
    (
        marked("Window"),
        marked(
            "How long each unit is watched after it first met its variant. A unit counts once, "
            "when its window has closed."
        ),
    ),
)
"""Words a reader needs, and what they mean."""


def report_of(
    view: ExperimentView,
    texts: Mapping[str, KpiText],
    *,
    quarantined: Mapping[str, int] | None = None,
    demo: bool = False,
) -> Report:
    """Return the report of one experiment.

    Args:
        view: The experiment as the API tells it.
        texts: How KPIs are shown, by key, in the language of the context.
        quarantined: Refused events of the whole service by reason; ``None`` not told.
        demo: Whether shop, people and clock are simulated.
    """
    page = experiment_page(view, texts)
    told = {
        (each.guardrail.guardrail, key[2]): effect_words(key, each, texts)
        for key, each in comparisons(view).items()
        if each.guardrail is not None
        and each.finding is not None
        and each.finding.outcome is Outcome.BREACH
    }
    judged = tuple(
        _judged(line, told.get((line.guardrail, line.treatment), "")) for line in page.guardrails
    )
    kpis = _kpis(view, texts)
    advice = page.advice or {}
    return Report(
        key=view.key,
        title=view.title,
        tone=page.tone,
        state=page.state_words,
        verdict=page.headline,
        lead=page.lead,
        at=view.last_check_at,
        at_words=_("not checked yet")
        if view.last_check_at is None
        else instant(view.last_check_at),
        facts=_facts(view, page.facts),
        advice=str(advice.get("words") or ""),
        reasons=(
            *(turned_back_effects(view, texts) if advice else ()),
            *map(str, advice.get("reasons") or ()),
        ),
        variants=page.variants,
        kpis=kpis,
        missing=_missing(view, texts, kpis),
        guardrails=judged,
        watches=page.watches,
        rollbacks=tuple(each.words for each in page.rollbacks),
        attention=page.attention,
        quality=_quality(view, page.watches, quarantined),
        segments=segments_part(view, texts, written=True),
        transitions=tuple(reversed(page.transitions)),
        method=(*_method(view), *_proofs(page.guardrails)),
        reading=tuple((_(term), _(means)) for term, means in READING),
        leading=max(judged, key=_urgency, default=None),
        opening=opening(view, texts, lead=page.lead, waiting=page.waiting),
        simulated=of_a_demo() if demo else "",
    )


def evidence_picture(report: Report) -> bytes:
    """Return the evidence of the leading guardrail as PNG; empty where there is none to draw."""
    if report.leading is None:
        return b""
    line = report.leading.line
    title = _(
        "{experiment}: {title} of {treatment}",
        experiment=report.title,
        title=line.title,
        treatment=line.treatment,
    )
    points = report.leading.shown.points
    ends = {"since": instant(points[0][0]), "until": instant(points[-1][0])} if points else {}
    about = _("{key}; {since} to {until}", key=report.key, **ends) if ends else report.key
    said = tuple(filter(None, (about, report.simulated)))
    return charts.png("evidence", report.leading.shown, title=title, about=said)


def _urgency(judged: Judged) -> tuple[bool, bool, float]:
    line = judged.line
    return (len(judged.shown.points) > 1, line.outcome == "breach" and line.proof, line.evidence)


def _facts(view: ExperimentView, facts: Sequence[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    said = [(_("Hypothesis"), view.hypothesis)] if view.hypothesis else []
    return (*said, *facts)


def _proofs(lines: Sequence[GuardrailLine]) -> tuple[str, ...]:
    """Return what was recorded of each proof of harm, its look, statistic and level."""
    return tuple(
        _("Recorded of {limit}: {words}", limit=line.limit, words=line.words)
        for line in lines
        if line.outcome == "breach" and line.proof and line.words
    )


def _judged(line: GuardrailLine, told: str) -> Judged:
    """Return a guardrail for the report; ``told`` is its proof without the statistics of it."""
    shown = line.shown
    if told:
        line = replace(line, words=f"{told}.")
    captions = {kind: charts.caption(kind, shown) for kind in charts.KINDS}
    if not any(evidence > 0 for _at, evidence, *_rest in shown.points):
        captions["evidence"] = ""  # a line along the bottom says less than the words above it
    if all(low is None or high is None for _at, _evidence, _effect, low, high in shown.points):
        captions["effect"] = ""  # without an interval there is nothing to hold against the margin
    return Judged(line, shown, {kind: said for kind, said in captions.items() if said})


def _kpis(view: ExperimentView, texts: Mapping[str, KpiText]) -> tuple[KpiEntry, ...]:
    """Return every KPI, window and treatment with a value, goal, guarded and watched first."""
    goal = view.goal["kpi"] if view.goal is not None else None
    guarded = {g.kpi for g in view.guardrails}
    titles = {k.kpi: k.title for k in view.kpis}
    rows: list[tuple[tuple[bool, bool, bool], KpiEntry]] = []
    for (kpi, window, variant), told in comparisons(view).items():
        text = texts.get(kpi)
        unit = text.unit if text is not None else ""
        entry = KpiEntry(
            kpi=kpi,
            title=text.title if text is not None else titles[kpi],
            window=words.duration(window),
            better=told.better,
            treatment=variant,
            control=words.value(told.values[0], unit),
            value=words.value(told.values[1], unit),
            effect=told.lift_words(unit),
            interval=told.interval_words(unit),
            units=f"{told.units[0]:,} / {told.units[1]:,}",
            tone=told.tone,
            goal=kpi == goal,
            watched=kpi in view.watched,
            note=told.note,
        )
        rows.append(((kpi != goal, kpi not in guarded, kpi not in view.watched), entry))
    rows.sort(key=lambda row: row[0])
    return tuple(entry for _order, entry in rows)


def _missing(
    view: ExperimentView, texts: Mapping[str, KpiText], kpis: Sequence[KpiEntry]
) -> tuple[str, ...]:
    """Return titles of KPIs that belong to it and have no value of every variant yet."""
    there = {entry.kpi for entry in kpis}
    wanted = {k.kpi: k.title for k in view.kpis} | {
        key: text.title for key, text in texts.items() if text.core
    }
    return tuple(
        texts[key].title if key in texts else title
        for key, title in wanted.items()
        if key not in there
    )


def _quality(
    view: ExperimentView,
    watches: Sequence[GuardrailLine],
    quarantined: Mapping[str, int] | None,
) -> tuple[str, ...]:
    """Return what is known of the data: split, blindness, units in two arms, refused events."""
    said = [f"{line.outcome_words}: {line.words}" for line in watches if line.words]
    blind = [g for g in view.guardrails if g.blind_since is not None]
    for each in blind:
        since = instant(each.blind_since) if each.blind_since is not None else ""
        said.append(
            _("{guardrail} cannot be seen since {since}.", guardrail=each.guardrail, since=since)
        )
    if not blind and view.last_check_at is not None:
        said.append(_("No guardrail was blind at the newest check."))
    if view.conflicted:
        count = ngettext("{n} unit", "{n} units", view.conflicted)
        said.append(_("{units} seen in two variants: left out of both.", units=count))
    elif view.last_check_at is not None:
        said.append(_("No unit was seen in two variants."))
    said += [each.words for each in view.denominators]
    if quarantined is not None:
        total = sum(quarantined.values())
        codes = ", ".join(f"{code} {count:,}" for code, count in quarantined.items())
        said.append(
            ngettext(
                "{n} event of the whole service is in quarantine ({codes}).",
                "{n} events of the whole service are in quarantine ({codes}).",
                total,
                codes=codes,
            )
            if total
            else _("No event is in quarantine.")
        )
    return tuple(said)


def _method(view: ExperimentView) -> tuple[str, ...]:
    rules = dict.fromkeys(g.rule for g in view.guardrails)
    said = [_(METHODS[rule]) for rule in METHODS if rule in rules]
    said.append(
        _(
            "The chance of turning back a treatment whose harm on every KPI is at most the part "
            "of the margin that has to be exceeded is at most {alpha} over the whole experiment: "
            "all guardrails, treatments, windows and looks together.",
            alpha=words.share(view.alpha),
        )
    )
    said.append(
        _(
            "Each {unit} is dealt to a variant by a hash and analysed as one unit, from its first "
            "exposure. Every number here can be computed again from the recorded events: "
            "`turnback replay ID` with the id behind a decision.",
            unit=f"`{view.unit}`",
        )
    )
    return tuple(said)
