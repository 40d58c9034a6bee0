"""How long a failure has lasted and what is due about it. Pure: monitors and findings in.

A spell is a row of checks of one guardrail and treatment that could not judge (``error``,
``no_data``), or that found the arms unlike. It is kept with the monitor, so a restart goes on with
it, and it ends with the first check that can judge again.
"""

from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum

from experiments.repository import TreatmentRecord
from guardrails.facts import Pair, Rule, Spell, is_blind, waits_for
from guardrails.judge_sample_ratio import SINCE
from guardrails.outcome import Code, Finding, Outcome
from guardrails.repository import Monitor
from guardrails.rules.failures import Consequence

Monitors = Mapping[tuple[str, str, int], Monitor]


class Source(StrEnum):
    """What many guardrails are blind by at once; those of one source are told in one message."""

    STORE = "store"
    EVENTS = "events"


_SOURCES = {Code.QUERY_FAILED: Source.STORE, Code.EVENTS_STOPPED: Source.EVENTS}
UNLIKE_ARMS = frozenset({Code.UNEVEN_SPLIT, Code.DOUBLE_EXPOSED})


def consequence_of(rule: Rule, finding: Finding) -> Consequence | None:
    """Return what follows from a finding that is a failure, ``None`` where it is none."""
    if finding.outcome is Outcome.ERROR:
        return rule.policies.on_source_error
    if finding.outcome is Outcome.NO_DATA:
        return rule.policies.on_no_data
    return rule.policies.on_srm if finding.code in UNLIKE_ARMS else None


def source_of(finding: Finding) -> str:
    """Return what a finding is blind by."""
    source = _SOURCES.get(finding.code)
    return str(source.value) if source is not None else finding.guardrail


def spells_of(
    findings: Iterable[Finding],
    monitors: Monitors,
    treatments: Mapping[str, TreatmentRecord],
    rules: Mapping[str, Rule],
    *,
    at: datetime,
) -> dict[Pair, Spell]:
    """Return every spell that goes on or begins with the findings of a check.

    Args:
        findings: Of the check.
        monitors: What the checks before it left behind.
        treatments: Newest attempts by variant.
        rules: Guardrails by id.
        at: Instant of the check.
    """
    found: dict[Pair, Spell] = {}
    for finding in findings:
        consequence = consequence_of(rules[finding.guardrail], finding)
        if consequence is None:
            continue
        attempt = treatments[finding.treatment].attempt
        before = monitors.get((finding.guardrail, finding.treatment, attempt))
        since, checks = _so_far(finding, before, at)
        found[finding.guardrail, finding.treatment] = Spell(
            finding.guardrail,
            finding.treatment,
            source_of(finding),
            finding.code,
            since,
            checks,
            consequence,
            waits_for(rules[finding.guardrail], consequence),
        )
    return found


def _so_far(finding: Finding, before: Monitor | None, at: datetime) -> tuple[datetime, int]:
    """Return since when a spell lasts, and its checks with this one."""
    if not is_blind(finding):
        state = finding.states.get(SINCE)
        since = at if state is None else datetime.fromtimestamp(state.information, UTC)
        return since, 1 if since == at else 2
    if before is None or before.blind_since is None:
        return at, 1
    return before.blind_since, before.blind_checks + 1


def standing_spells(
    monitors: Iterable[Monitor],
    treatments: Mapping[str, TreatmentRecord],
    rules: Mapping[str, Rule],
) -> dict[Pair, Spell]:
    """Return the spells that the newest checks left behind, of the treatments that are live."""
    found: dict[Pair, Spell] = {}
    for monitor in _current(monitors, treatments):
        rule, finding = rules.get(monitor.guardrail), monitor.finding
        consequence = consequence_of(rule, finding) if rule is not None else None
        if rule is None or consequence is None or monitor.blind_since is None:
            continue
        found[monitor.guardrail, monitor.treatment] = Spell(
            monitor.guardrail,
            monitor.treatment,
            source_of(finding),
            finding.code,
            monitor.blind_since,
            monitor.blind_checks,
            consequence,
            waits_for(rule, consequence),
        )
    return found


def _current(
    monitors: Iterable[Monitor], treatments: Mapping[str, TreatmentRecord]
) -> list[Monitor]:
    return [
        m
        for m in monitors
        if (t := treatments.get(m.treatment)) is not None
        and t.state == "live"
        and t.attempt == m.attempt
    ]


def ended_spells(
    findings: Sequence[Finding],
    monitors: Iterable[Monitor],
    treatments: Mapping[str, TreatmentRecord],
    rules: Mapping[str, Rule],
) -> tuple[Spell, ...]:
    """Return the spells of blindness that the findings of a check end.

    Of each the consequence is that of the outcome its last check had.
    """
    seen = {(f.guardrail, f.treatment) for f in findings if not is_blind(f)}
    held = standing_spells(monitors, treatments, rules)
    return tuple(spell for pair, spell in held.items() if pair in seen)
