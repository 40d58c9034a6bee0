"""What the page of an experiment says; the HTML page and its ``.json`` twin show the same. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from console.quoted import advised, said
from console.views import words
from console.views.acting import ActionLink, action_links
from console.views.headlines import headline, lead, rollback_of, tone_of, traffic_words
from console.views.kpi_table import KpiRow, kpi_rows
from console.views.lines import (
    GuardrailLine,
    KpiText,
    RollbackLine,
    TransitionLine,
    VariantLine,
    guardrail_lines,
    rollback_line,
    transition_line,
    variant_line,
)
from console.views.overview import by_urgency
from console.views.ramp import StepLine, step_lines
from console.views.revisions import File
from console.views.segments import SegmentsPart, segments_part
from experiments.lifecycle import CHECKED, State
from guardrails.rules import WATCH_RULES
from guardrails.ticks import first_seen_by
from guardrails.views import ExperimentView
from guardrails.words import instant
from metrics.wording import gettext as _
from metrics.wording import wording


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found about the data of an experiment, in words."""

    tone: str
    words: str


@dataclass(frozen=True, slots=True)
class ExperimentPage:
    """The page of one experiment.

    ``guardrails`` are those that judge harm; ``watches`` watch the data (split, freshness, past).
    ``data`` is what is known about the quality of its events; ``segments`` says where the
    effect differs; ``turned`` are the pages of rollbacks in force, id and variant. ``counted`` says
    when exposures that came will be counted, while none is.
    """

    key: str
    title: str
    hypothesis: str
    owner: str
    state: str
    state_words: str
    tone: str
    headline: str
    lead: str
    facts: tuple[tuple[str, str], ...]
    variants: tuple[VariantLine, ...]
    guardrails: tuple[GuardrailLine, ...]
    watches: tuple[GuardrailLine, ...]
    leading: GuardrailLine | None
    kpis: tuple[KpiRow, ...]
    transitions: tuple[TransitionLine, ...]
    rollbacks: tuple[RollbackLine, ...]
    attention: tuple[str, ...]
    data: tuple[Finding, ...]
    segments: SegmentsPart
    checks: int
    ramp: tuple[StepLine, ...] = ()
    waiting: str = ""
    advice: Mapping[str, Any] | None = None
    actions: tuple[ActionLink, ...] = ()
    file: File | None = None
    turned: tuple[tuple[str, str], ...] = ()
    counted: str = ""


def experiment_page(
    view: ExperimentView,
    kpis: Mapping[str, KpiText],
    *,
    file: File | None = None,
    quarantined: Mapping[str, int] | None = None,
    arrived: datetime | None = None,
) -> ExperimentPage:
    """Return the page of one experiment.

    Args:
        view: The experiment as the engine shows it.
        kpis: How KPIs are shown, by key; those missing are shown as plain numbers.
        file: Its file and what was changed in it; ``None`` unknown.
        quarantined: Events of its variants that were refused, by code.
        arrived: When its newest exposure came, ``None`` where none did since the start.
    """
    lines = guardrail_lines(view)
    judged = tuple(g for g in lines if g.rule not in WATCH_RULES)
    urgent = by_urgency(judged)
    return ExperimentPage(
        key=view.key,
        title=view.title,
        hypothesis=view.hypothesis,
        owner=view.owner,
        state=view.state,
        state_words=words.state_words(view.state),
        tone=tone_of(view),
        headline=headline(view),
        lead=lead(view),
        facts=_facts(view),
        variants=tuple(variant_line(v, view) for v in view.variants),
        guardrails=judged,
        watches=tuple(g for g in lines if g.rule in WATCH_RULES),
        leading=next((line for line in urgent if line.proof or line.history), None),
        kpis=kpi_rows(view, kpis),
        transitions=tuple(transition_line(t) for t in reversed(view.transitions)),
        rollbacks=tuple(rollback_line(r) for r in view.rollbacks),
        attention=tuple(_begun(view, said(each)) for each in view.attention),
        data=_data(view, quarantined or {}),
        counted=_counted(view, arrived),
        segments=segments_part(view, kpis),
        checks=view.checks,
        ramp=step_lines(view),
        waiting=words.sentence(view.waiting),
        advice=advised(view.advice),
        actions=action_links(view),
        file=file,
        turned=tuple(
            (f"t{newest.id}", v.name)
            for v in view.variants
            if v.state == "rolled_back" and (newest := rollback_of(view, v.name)) is not None
        ),
    )


def _begun(view: ExperimentView, text: str) -> str:
    """Return a text as the begin of a line; names of variants stay as they are written."""
    if text.startswith(tuple(v.name for v in view.variants)):
        return text
    return words.capital(text)


def _counted(view: ExperimentView, arrived: datetime | None) -> str:
    """Return when exposures that came are counted; empty where some are, or none came."""
    if any(v.exposed for v in view.variants) or State(view.state) not in CHECKED:
        return ""
    at = first_seen_by(arrived, view.last_check_at, view.check_every)
    return (
        "" if at is None else _("Exposures came: counted at the next check, {at}.", at=instant(at))
    )


def _data(view: ExperimentView, quarantined: Mapping[str, int]) -> tuple[Finding, ...]:
    """Return what is known about the quality of an experiment's data."""
    exposed = sum(v.exposed for v in view.variants)
    found = [Finding("warn", words.sentence(each.words)) for each in view.denominators]
    if view.conflicted:
        units = words.units(view.conflicted)
        said = _("{units} seen in two variants: dropped from both.", units=units)
        found.append(Finding("warn", said))
    elif exposed:
        found.append(Finding("good", _("No unit was seen in two variants.")))
    found += [
        Finding(
            "warn",
            _("{count} of its exposures refused: {code}.", count=wording().grouped(n), code=code),
        )
        for code, n in quarantined.items()
    ]
    if not quarantined and exposed:
        found.append(Finding("good", _("None of its exposures is in quarantine.")))
    if exposed and not view.denominators and view.last_check_at is not None:
        said = _("The denominators of its KPIs do not differ between the variants.")
        found.append(Finding("good", said))
    return tuple(found)


def _facts(view: ExperimentView) -> tuple[tuple[str, str], ...]:
    grouped = wording().grouped
    last = view.last_check_at
    facts = [
        (_("Traffic"), traffic_words(view)),
        *_times(view),
        (
            _("Checks"),
            _(
                "{count}, one every {length}",
                count=grouped(view.checks),
                length=words.duration(view.check_every),
            ),
        ),
        (_("Last check"), _("none yet") if last is None else words.instant(last)),
        (
            _("Chance of a false rollback"),
            _("at most {share} in all", share=words.share(view.alpha)),
        ),
        (_("Unit"), view.unit),
        (_("Revision"), _("{number}, seed {seed}", number=view.revision, seed=view.seed)),
    ]
    if view.layer is not None:
        owned = words.share(view.layer.owned)
        facts.append((_("Layer"), _("{share} of {layer}", share=owned, layer=view.layer.name)))
    if view.holdout:
        out = _("{share} of all units stay out", share=words.share(view.holdout))
        facts.append((_("Global holdout"), out))
    if view.mode != "live":
        facts.insert(0, (_("Mode"), _("shadow: it watches and acts on nothing")))
    if view.conflicted:
        left = _("{units}, left out", units=words.units(view.conflicted))
        facts.append((_("Seen in two variants"), left))
    if view.goal is not None:
        facts.insert(0, (_("Goal"), view.goal["words"]))
    if view.owner:
        facts.append((_("Owner"), view.owner))
    return tuple(facts)


def _times(view: ExperimentView) -> tuple[tuple[str, str], ...]:
    """Return when a run began and ends; of a stopped one what happened, not what was planned."""
    times = (
        (_("Started"), view.started_at),
        (_("New units until"), view.ends_at),
        (_("Watched until"), view.observe_until),
    )
    if view.state != State.STOPPED:
        return tuple((name, words.instant(at)) for name, at in times)
    stops = [t.at for t in view.transitions if t.variant is None and t.after == State.STOPPED]
    known = (*times, (_("Stopped"), stops[-1] if stops else None))
    return tuple((name, words.instant(at)) for name, at in known if at is not None)
