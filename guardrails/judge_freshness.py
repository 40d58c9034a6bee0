"""Judging the rule ``freshness``: do events of both arms go on arriving? Pure, outside statistics.

Source: DESIGN 9.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from guardrails.arms import ALMOST
from guardrails.outcome import Code, Finding, Outcome, WindowState
from guardrails.rules import Freshness
from guardrails.spec_file import SpecFile
from metrics.cells import Snapshot

STATE = "served"
"""Where it is kept until when the treatment was not served: seconds of that check."""


@dataclass(frozen=True, slots=True)
class SilenceWatch:
    """One guardrail of rule ``freshness`` and treatment, ready to be judged.

    Attributes:
        guardrail: Id of the guardrail.
        max_age: How long an arm may be silent.
        control: Arm beside it.
        treatment: Arm judged.
    """

    guardrail: str
    max_age: timedelta
    control: str
    treatment: str


def plan_silences(spec: SpecFile) -> tuple[SilenceWatch, ...]:
    """Return every pair of arms that a file wants watched, in the file's order."""
    return tuple(
        SilenceWatch(guardrail.id, guardrail.max_age, spec.experiment.control, treatment)
        for guardrail in spec.guardrails
        if isinstance(guardrail, Freshness)
        for treatment in spec.experiment.treatments
    )


def judge_silence(
    watch: SilenceWatch,
    snapshot: Snapshot,
    states: Mapping[str, WindowState],
    *,
    since: datetime,
    running: bool,
) -> Finding:
    """Judge how old the newest events of a treatment and of control are.

    Args:
        watch: What is watched.
        snapshot: The newest event of every arm.
        states: Of the last check; silence while nobody was served does not count.
        since: From when the treatment is served.
        running: Whether anybody is: not in a pause, not after the end.
    """
    if not running:
        state = WindowState(information=snapshot.at.timestamp())
        return _finding(watch, Outcome.INCONCLUSIVE, Code.NOT_SERVED_YET, state)
    state = states.get(STATE, WindowState())
    from_then = max(since.timestamp(), state.information)
    ages = {arm: _age(snapshot, arm, from_then) for arm in (watch.treatment, watch.control)}
    silent = [arm for arm, age in ages.items() if age > watch.max_age]
    outcome, code = Outcome.PASS, Code.EVENTS_ARRIVE
    if silent:
        code = Code.ALL_SILENT if len(silent) == len(ages) else Code.ARM_SILENT
        outcome = Outcome.BREACH
    oldest = max(ages.values()) / watch.max_age
    return _finding(
        watch,
        outcome,
        code,
        state,
        evidence=max(oldest, 1.0) if silent else min(oldest, ALMOST),
        detail={
            "ages_seconds": {arm: age.total_seconds() for arm, age in ages.items()},
            "silent": silent,
            "max_age_seconds": watch.max_age.total_seconds(),
            # silence that is not of this treatment alone is told once
            "shared": watch.control in silent,
        },
    )


def _age(snapshot: Snapshot, arm: str, from_then: float) -> timedelta:
    """Return for how long an arm has been silent while it was served."""
    reach = snapshot.reach.get(arm)
    newest = reach.last_event_at if reach is not None else None
    heard = from_then if newest is None else max(from_then, newest.timestamp())
    return timedelta(seconds=max(0.0, snapshot.at.timestamp() - heard))


def _finding(
    watch: SilenceWatch,
    outcome: Outcome,
    code: Code,
    state: WindowState,
    *,
    evidence: float = 0.0,
    detail: Mapping[str, object] | None = None,
) -> Finding:
    return Finding(
        guardrail=watch.guardrail,
        kpi=None,
        treatment=watch.treatment,
        outcome=outcome,
        code=code,
        states={STATE: state},
        evidence=evidence,
        detail=dict(detail or {}),
    )
