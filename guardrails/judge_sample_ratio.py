"""Judging the rule ``sample_ratio``: do units enter the arms in the planned shares? Pure.

Each treatment is held against control. The shares between the two never change during a run, so
all units of an attempt are one phase, or as many as the cells tell of a resumed one. Every
experiment is watched, whether its file has the rule or not; a rule of its own wins. Units that were
seen in two variants are in no arm: many of them are the same fault, and the same alarm.

Source: STATISTICS 1(c); DESIGN 9.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from guardrails.arms import ALMOST, shown
from guardrails.levels import treated_part
from guardrails.outcome import Code, Finding, Outcome, WindowState
from guardrails.rules import Action, SampleRatio
from guardrails.rules.failures import Then
from guardrails.spec_file import SpecFile
from metrics.cells import Snapshot
from metrics.stats.comparison import MIN_UNITS
from metrics.stats.sample_ratio import log_e_value_of_phases, share_interval

STATE = "split"
"""Where it is kept that an alarm was raised."""

SINCE = "since"
"""Where it is kept since when the arms are unlike: seconds of that check, 0 while they are not."""

LEAST_DOUBLE = 20
"""Units seen in two variants that are too few to mean a fault, whatever their share."""

MOST_DOUBLE = 0.01
"""Share of all units that may be seen in two variants: each of them is a unit nothing counts."""

Counts = Sequence[tuple[int, int]]
"""Units of (treatment, control) by phase."""


@dataclass(frozen=True, slots=True)
class SplitWatch:
    """One guardrail of rule ``sample_ratio`` and treatment, ready to be judged.

    Attributes:
        guardrail: Id of the guardrail.
        level: Of this treatment; those of all treatments sum to the file's.
        part: Share of the treatment among the units of both arms, as planned.
        control: Arm compared with.
        treatment: Arm judged.
        asked: Whether the file has the rule; every other experiment is watched all the same.
    """

    guardrail: str
    level: float
    part: float
    control: str
    treatment: str
    asked: bool = True


def unasked_split(spec: SpecFile) -> SampleRatio | None:
    """Return how a file's split is watched that has no rule for it, ``None`` where it has one.

    Its id is the rule's name, with a number where another guardrail is called so.
    """
    if any(isinstance(guardrail, SampleRatio) for guardrail in spec.guardrails):
        return None
    taken = {guardrail.id for guardrail in spec.guardrails}
    names = (SampleRatio.rule, *(f"{SampleRatio.rule}-{n}" for n in range(2, len(taken) + 3)))
    only = spec.default_policies.on_srm.then is Then.ALERT
    return SampleRatio(
        id=next(name for name in names if name not in taken),
        action=Action.ALERT if only else Action.HOLD,
    )


def plan_splits(spec: SpecFile) -> tuple[SplitWatch, ...]:
    """Return every pair of arms that is watched, those a file wants watched in its order."""
    experiment, unasked = spec.experiment, unasked_split(spec)
    rules = [guardrail for guardrail in spec.guardrails if isinstance(guardrail, SampleRatio)]
    return tuple(
        SplitWatch(
            guardrail=guardrail.id,
            level=guardrail.level / len(experiment.treatments),
            part=treated_part(experiment, treatment),
            control=experiment.control,
            treatment=treatment,
            asked=unasked is None,
        )
        for guardrail in (*rules, *([unasked] if unasked is not None else []))
        for treatment in experiment.treatments
    )


def judge_split(
    watch: SplitWatch,
    snapshot: Snapshot,
    states: Mapping[str, WindowState],
    *,
    first_phase: int,
    doubles: bool = True,
) -> Finding:
    """Judge one treatment's units against control's, and how many units were in two variants.

    Args:
        watch: What is watched.
        snapshot: The exposed units and, of a resumed attempt, the cells.
        states: Of the last check; an alarm once raised stays.
        first_phase: Units of earlier allocation phases do not count (a resumed attempt).
        doubles: Whether units seen in two variants count; decisions of early versions ignored them.
    """
    counts = _counts(watch, snapshot, first_phase)
    treated, beside = sum(t for t, _ in counts), sum(c for _, c in counts)
    shares = (watch.part, 1.0 - watch.part)
    log_e = log_e_value_of_phases((count, shares) for count in counts)
    needed = -math.log(watch.level)
    alarmed = states.get(STATE, WindowState()).crossed or log_e >= needed
    outcome, code = Outcome.PASS, Code.SPLIT_AS_PLANNED
    if alarmed:
        outcome, code = Outcome.BREACH, Code.UNEVEN_SPLIT
    elif treated + beside < MIN_UNITS:
        outcome, code = Outcome.INCONCLUSIVE, Code.TOO_FEW
    after = {STATE: WindowState(information=float(treated + beside), crossed=alarmed)}
    evidence = max(log_e / needed, 0.0)
    seen_twice = _doubles(snapshot) if doubles else {}
    if seen_twice.get("too_many"):
        outcome, code = Outcome.BREACH, Code.UNEVEN_SPLIT if alarmed else Code.DOUBLE_EXPOSED
    low, high = share_interval(treated, beside, watch.part, alpha=watch.level)
    return Finding(
        guardrail=watch.guardrail,
        kpi=None,
        treatment=watch.treatment,
        outcome=outcome,
        code=code,
        states=after | _since(snapshot, states, outcome) if doubles else after,
        evidence=max(evidence, 1.0) if outcome is Outcome.BREACH else min(evidence, ALMOST),
        detail={
            "counts": [list(count) for count in counts],
            "part": watch.part,
            "level": watch.level,
            "e_value": shown(log_e),
            "low": low,
            "high": high,
            **seen_twice,
        },
    )


def _since(
    snapshot: Snapshot, states: Mapping[str, WindowState], outcome: Outcome
) -> dict[str, WindowState]:
    """Return since when the arms are unlike, nothing where they never were."""
    before = states.get(SINCE, WindowState()).information
    if outcome is Outcome.BREACH:
        return {SINCE: WindowState(information=before or snapshot.at.timestamp())}
    return {SINCE: WindowState()} if before else {}


def _doubles(snapshot: Snapshot) -> dict[str, int | bool]:
    """Return how many units were seen in two variants, and whether those are too many.

    Nothing is said of the many runs in which there is none.
    """
    twice = snapshot.conflicted
    if not twice:
        return {}
    units = twice + sum(reach.exposed for reach in snapshot.reach.values())
    too_many = twice >= LEAST_DOUBLE and twice > MOST_DOUBLE * units
    # all treatments share them: told once
    shared = {"shared": True} if too_many else {}
    return {"conflicted": twice, "exposed": units, "too_many": too_many, **shared}


def _counts(watch: SplitWatch, snapshot: Snapshot, first_phase: int) -> Counts:
    """Return the units that count: all exposed ones, or those that entered since a resume.

    The store tells phases of units whose window has closed; the shortest window is the soonest.
    """
    arms = (watch.treatment, watch.control)
    if first_phase == 0:
        exposed = [snapshot.reach[arm].exposed if arm in snapshot.reach else 0 for arm in arms]
        return [(exposed[0], exposed[1])]
    soonest = min(snapshot.cells, key=lambda key: key[1], default=None)
    found: dict[int, list[int]] = {}
    for cell in snapshot.cells[soonest] if soonest is not None else ():
        if cell.variant in arms and cell.phase >= first_phase:
            found.setdefault(cell.phase, [0, 0])[arms.index(cell.variant)] += cell.entered
    return [(treated, beside) for _, (treated, beside) in sorted(found.items())]
