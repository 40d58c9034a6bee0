"""What a check can find, and the evidence behind it. Pure values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from enum import StrEnum
from typing import Any


class Outcome(StrEnum):
    """What one check of one guardrail and treatment found."""

    PASS = "pass"  # noqa: S105 - an outcome, no password
    BREACH = "breach"
    INCONCLUSIVE = "inconclusive"  # data arrived, the evidence is not enough either way
    NO_DATA = "no_data"  # the query worked, there is nothing to compare
    ERROR = "error"  # the query itself failed


PRECEDENCE = (
    Outcome.BREACH,
    Outcome.ERROR,
    Outcome.NO_DATA,
    Outcome.INCONCLUSIVE,
    Outcome.PASS,
)
"""When several answers meet, the first of these wins."""


class Code(StrEnum):
    """Why an outcome is what it is, for machines; the words are in ``guardrails.words``."""

    PROVEN_HARM = "proven_harm"  # breach
    PROVEN_SAFE = "proven_safe"  # pass
    WINDOW_OPEN = "window_open"  # inconclusive: no unit of one arm has entered yet
    TOO_FEW = "too_few"  # inconclusive: below the gate of units, events or skewness
    INSIDE_MARGIN = "inside_margin"  # inconclusive: estimate within the margin, not proven
    UNDECIDED = "undecided"  # inconclusive: estimate beyond the margin, not proven
    CONTROL_NOT_POSITIVE = (
        "control_not_positive"  # inconclusive: a relative margin of a value that is not positive
    )
    NO_VALUES = (
        "no_values"  # no_data: 100 units of each arm entered, none (or one arm none) has a value
    )
    EVENTS_STOPPED = "events_stopped"  # no_data: events no longer arrive
    QUERY_FAILED = "query_failed"  # error: the store could not be read
    CONTROL_BEYOND = "control_beyond"  # inconclusive: control is beyond the limit, too
    LIKE_CONTROL = "like_control"  # inconclusive: beyond the limit, hardly worse than control
    BEYOND_LIMIT = "beyond_limit"  # breach of a rule outside statistics
    WITHIN_LIMIT = "within_limit"  # pass of a rule outside statistics
    NOT_SERVED_YET = "not_served_yet"  # inconclusive: served for less than the time asked
    NOT_HELD = "not_held"  # inconclusive: beyond the limit, not for the whole time asked
    SOURCE_FAILED = "source_failed"  # error: a source outside the store gave no usable answer
    UNEVEN_SPLIT = "uneven_split"  # breach: units do not enter the arms in the planned shares
    DOUBLE_EXPOSED = "double_exposed"  # breach: too many units were seen in two variants
    SPLIT_AS_PLANNED = "split_as_planned"  # pass: nothing speaks against the planned shares
    ARM_SILENT = "arm_silent"  # breach: no events of one arm, though the other has some
    ALL_SILENT = "all_silent"  # breach: no events of either arm
    UNLIKE_BEFORE = "unlike_before"  # breach: beyond what was usual in the recent past
    AS_BEFORE = "as_before"  # pass: as in the recent past
    SHORT_PAST = "short_past"  # inconclusive: too little of a past to compare with
    EVENTS_ARRIVE = "events_arrive"  # pass: events of both arms arrive
    ALERT_FIRES = "alert_fires"  # breach: an alert that counts is firing
    ALERT_RESOLVED = "alert_resolved"  # pass: every alert that counted is resolved
    ALERT_NOT_HELD = "alert_not_held"  # inconclusive: firing, not for the whole time asked
    ALERT_FROM_BEFORE = "alert_from_before"  # inconclusive: not told again in this attempt
    NO_ALERT = "no_alert"  # inconclusive: none was ever told, which proves nothing


@dataclass(frozen=True, slots=True)
class WindowState:
    """What must survive between two looks of one window. JSON-safe through ``to_json``.

    Attributes:
        looks: Looks taken so far.
        information: Information at the last look (0 before the first).
        spent: Alpha actually spent so far by the whole-run boundary.
        boundary: z boundary of the last look, ``inf`` before the first.
        grid: z grid points of the density of not having crossed (recursion state).
        mass: Density times quadrature weight at those points.
        crossed: Whether a boundary was ever crossed (kept where nobody acts).
        watermark: Event log watermark of the last check; the same one again is no new look.
    """

    looks: int = 0
    information: float = 0.0
    spent: float = 0.0
    boundary: float = float("inf")
    grid: tuple[float, ...] = ()
    mass: tuple[float, ...] = ()
    crossed: bool = False
    watermark: int = -1


@dataclass(frozen=True, slots=True)
class WindowFinding:
    """One comparison: one guardrail, treatment and window at one check.

    Numbers are ``nan`` where they are undefined, never 0.

    Attributes:
        window: Length of the window.
        level: Alpha of this comparison (whole run and restarts together).
        entered: Units whose window has closed, by (control, treatment).
        units: Units with a value, by (control, treatment).
        control_value: KPI of control over all phases, in the KPI's own unit.
        treatment_value: KPI of the treatment.
        effect: Relative effect, treatment against control (-0.05 is 5% lower).
        effect_low: Lower end of its interval, valid at every look at this level (Fieller).
        effect_high: Upper end; ``inf`` when unbounded.
        z: Harm statistic beyond prove_past x margin, skew-corrected, whole run.
        boundary: z it must reach at this look (of the last look between looks).
        is_look: Whether this check spent alpha.
        look: Number of the last look.
        information: Effective size, sum over phases of nT nC / (nT + nC).
        spent: Alpha spent so far by the whole-run boundary.
        e_value: E-process of all restarts; crosses at 3 / level.
        restart: Cohort from which the strongest restart counts, ``None`` before any.
        safe_e_value: E-process against "harm >= margin"; pass at 1 / level.
        skewness: kappa of the whole-run statistic.
        evidence: max(z / boundary, ln e / ln(3 / level)), at least 0; 1 or more is a breach.
        bound: Of the rule ``limit``: one-sided bound of the treatment's value, valid at every
            look at this level, on the side of the limit. There ``e_value`` is against "within
            the limit" and crosses at 1 / level, ``safe_e_value`` against "beyond", and ``z`` says
            how much worse than control the treatment is, in standard errors.
    """

    window: timedelta
    level: float
    outcome: Outcome
    code: Code
    entered: tuple[int, int] = (0, 0)
    units: tuple[int, int] = (0, 0)
    control_value: float = float("nan")
    treatment_value: float = float("nan")
    effect: float = float("nan")
    effect_low: float = float("nan")
    effect_high: float = float("nan")
    z: float = float("nan")
    boundary: float = float("nan")
    is_look: bool = False
    look: int = 0
    information: float = 0.0
    spent: float = 0.0
    e_value: float = float("nan")
    restart: int | None = None
    safe_e_value: float = float("nan")
    skewness: float = float("nan")
    evidence: float = 0.0
    bound: float = float("nan")


@dataclass(frozen=True, slots=True)
class Finding:
    """What one check found of one guardrail and treatment.

    Attributes:
        guardrail: Id of the guardrail within its experiment.
        kpi: KPI it watches, ``None`` for rules without one.
        treatment: Arm judged.
        windows: One finding per window; empty for rules without windows.
        states: Next state per window (seconds as text), to be stored with the finding.
        evidence: Largest evidence of its windows; 1 or more is a breach.
        detail: Plain words or numbers of rules without windows; of a catastrophe what it counted.
    """

    guardrail: str
    kpi: str | None
    treatment: str
    outcome: Outcome
    code: Code
    windows: tuple[WindowFinding, ...] = ()
    states: Mapping[str, WindowState] = field(default_factory=dict[str, WindowState])
    evidence: float = 0.0
    detail: Mapping[str, Any] = field(default_factory=dict[str, Any])
