"""What a plan says: plain values, the same for the table, the JSON and the chart."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum

from guardrails.planning.baselines import Baseline, Number
from guardrails.planning.calendar import PlannedStep


@dataclass(frozen=True, slots=True)
class Reached:
    """A moment of the run.

    Attributes:
        after: Since the start.
        units: Units of all arms exposed by then.
        by_arm: The same of control and of the treatment.
    """

    after: timedelta
    units: int
    by_arm: Mapping[str, int]


@dataclass(frozen=True, slots=True)
class Found:
    """When a harm of one size is found.

    Attributes:
        harm: Size, in the unit of the margin (0.05 is 5% of control's value, or 5 points).
        probability: That it is found by the end, observation included.
        median: When half of all runs have found it, ``None``: not within the run.
        ninety: When 90% of all runs have, ``None``: not within the run.
    """

    harm: float
    probability: float
    median: Reached | None
    ninety: Reached | None


@dataclass(frozen=True, slots=True)
class WindowFigure:
    """One window of a guardrail.

    Attributes:
        length: From a unit's first exposure.
        level: Alpha of the window.
        baseline: What control's KPI is taken to be.
        closes: Share of the units whose window closes before the end.
        units: Units with a value by the end, of control and of the treatment.
        first_look: When its first look is due, ``None`` where it never is.
        looks: Looks of the whole run.
        alone: Probability that the whole run of this window by itself finds a harm of the
            margin by the end (exact recursion; ``None`` without a margin).
    """

    length: timedelta
    level: float
    baseline: Baseline
    closes: float
    units: Mapping[str, int]
    first_look: timedelta | None
    looks: int
    alone: float | None


@dataclass(frozen=True, slots=True)
class DroppedWindow:
    """A window that gets no alpha, and why."""

    length: timedelta
    closes: float
    why: str


@dataclass(frozen=True, slots=True)
class GuardrailPlan:
    """What one guardrail and treatment can find.

    Attributes:
        guardrail: Id.
        rule: Name of the rule.
        kpi: KPI key, ``None`` where the rule has none.
        treatment: Arm judged.
        limit: The promise in words.
        action: What a breach does.
        acts: Whether it can roll back.
        level: Alpha of all its windows, ``None`` outside of the guarantee.
        side: ``drop`` or ``rise``.
        margin: Largest harm tolerated.
        absolute: Whether harms are in the KPI's own unit; else they are parts of control's value.
            Those of a limit or a catastrophe are the treatment's values themselves.
        share: Whether the KPI of a limit or a catastrophe is a share, for words.
        prove_past: Part of the margin that must be exceeded with proof.
        windows: That can close.
        dropped: That cannot.
        at_margin: When a harm of the margin is found; ``None`` where nothing can be said.
        at_twice: When a harm of twice the margin is; of a limit: when a value twice as far from
            control as the limit is, of a catastrophe: when a total failure is.
        smallest: Smallest harm found by the end with 80% probability; ``None``: none is.
        curve: (days, probability at the margin, probability at twice) for the chart.
        unknown: Why nothing can be said, empty where something is.
        at_smallest: When the smallest harm is found, of a margin of nothing: any harm counts
            there, and no size is that of the margin.
    """

    guardrail: str
    rule: str
    kpi: str | None
    treatment: str
    limit: str
    action: str
    acts: bool
    level: float | None
    side: str | None = None
    margin: float | None = None
    absolute: bool = False
    prove_past: float | None = None
    windows: tuple[WindowFigure, ...] = ()
    dropped: tuple[DroppedWindow, ...] = ()
    at_margin: Found | None = None
    at_twice: Found | None = None
    smallest: float | None = None
    curve: tuple[tuple[float, float, float], ...] = ()
    share: bool = False
    unknown: str = ""
    at_smallest: Found | None = None


@dataclass(frozen=True, slots=True)
class GoalPlan:
    """What the run can say about its goal, by one two-sided test at its end.

    Attributes:
        kpi: KPI key.
        treatment: Arm compared with control.
        window: The longest that closes for enough units.
        baseline: What control's KPI is taken to be.
        expect: Change hoped for, ``None`` when not said.
        absolute: Whether changes are in the KPI's own unit; else parts of control's value.
        level: Two-sided, of this treatment.
        units: Units with a value by the end, of control and of the treatment.
        power: That the change hoped for is found at the end, ``None`` when not said.
        needed: Units of all arms for 80% power, ``None`` when not said.
        duration: Time until then at the traffic of the plan, ``None`` likewise.
        smallest: Smallest change found at the end with 80% power, ``None``: none is.
        unknown: Why nothing can be said, empty where something is.
    """

    kpi: str
    treatment: str
    window: timedelta | None
    baseline: Baseline
    expect: float | None
    absolute: bool
    level: float
    units: Mapping[str, int]
    power: float | None = None
    needed: int | None = None
    duration: timedelta | None = None
    smallest: float | None = None
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Warned:
    """Something that should be known before the start: ``code`` for machines, and in words."""

    code: str
    about: str
    words: str


class Protects(StrEnum):
    """What a run protects."""

    ALL = "all"  # every guardrail that can turn back finds a harm of its margin
    PARTLY = "partly"  # some do
    NOTHING = "nothing"
    UNKNOWN = "unknown"  # too little is known to say


@dataclass(frozen=True, slots=True)
class Verdict:
    """What a run protects: for machines, and in one line of words."""

    protects: Protects
    words: str


@dataclass(frozen=True, slots=True)
class Plan:
    """What a run can and cannot find.

    Attributes:
        experiment: Key.
        verdict: What the run protects, ``None`` until it is made from the rest.
        units_per_day: Of the audience.
        ends: Last new exposure, since the start.
        observed: Last check, since the start.
        units: Units of all arms exposed by the end.
        by_arm: The same by variant.
        ramp: When each step begins.
        guardrails: In the order of the file, by treatment.
        goal: By treatment; empty without a goal.
        warnings: What the run cannot do.
        seed: Of the paths.
        paths: Number of paths behind each guardrail's figures.
    """

    experiment: str
    verdict: Verdict | None
    units_per_day: Number
    ends: timedelta
    observed: timedelta
    units: int
    by_arm: Mapping[str, int]
    ramp: tuple[PlannedStep, ...]
    guardrails: tuple[GuardrailPlan, ...]
    goal: tuple[GoalPlan, ...]
    warnings: tuple[Warned, ...]
    seed: int
    paths: int
