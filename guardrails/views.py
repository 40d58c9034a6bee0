"""What people and programs are shown: one frozen object per page, API answer and ``--json``.

The API, the dashboard, ``status`` and ``explain`` all render these and nothing else.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from guardrails.outcome import Code, Outcome, WindowFinding


@dataclass(frozen=True, slots=True)
class VariantView:
    """One arm: ``state`` is ``control``, ``live`` or ``rolled_back``.

    ``weight`` is its planned share, ``share`` the share of all units it is served now,
    ``exposed`` the units first exposed to it so far, ``attempt`` counts resumptions from 1.
    """

    name: str
    state: str
    weight: float
    share: float
    exposed: int
    attempt: int
    flow: Any


@dataclass(frozen=True, slots=True)
class KpiView:
    """A KPI of one variant over one window: ``value`` is ``None`` without data.

    ``effect_low`` and ``effect_high`` are for information, one level for each KPI by itself, valid
    at every look; ``None`` where there are too few units or events for an interval. Where control
    is not positive a percentage has no meaning: ``difference`` and its ends, in the KPI's own
    unit, stand in place of ``effect`` and its own.
    """

    kpi: str
    title: str
    better: str
    variant: str
    window: timedelta
    value: float | None
    units: int
    entered: int
    effect: float | None
    effect_low: float | None = None
    effect_high: float | None = None
    difference: float | None = None
    difference_low: float | None = None
    difference_high: float | None = None


@dataclass(frozen=True, slots=True)
class DenominatorView:
    """A KPI whose denominator differs between control and a treatment, proven at every look.

    ``control`` and ``treatment`` are the mean denominators per unit entered, ``*_having`` the
    shares of units that have one; ``evidence`` 1 is proof at a level of its own, apart from alpha.
    """

    kpi: str
    title: str
    variant: str
    window: timedelta
    control: float
    treatment: float
    control_having: float
    treatment_having: float
    evidence: float
    words: str


@dataclass(frozen=True, slots=True)
class GuardrailView:
    """The newest finding of one guardrail and treatment.

    ``rule`` and ``limit`` say the promise in words (``satisfaction may not drop by more than 3%``);
    ``margin`` is relative unless ``absolute``, ``None`` of rules without one; ``side`` is ``drop``
    or ``rise``; ``level`` is ``None`` of rules outside statistics (``promql``), which have no
    ``kpi`` and no windows either;
    ``evidence`` 1 is a breach; ``history`` holds (at, evidence, effect, effect_low, effect_high)
    of stored looks for the chart, the effect always of one window; ``blind_since`` is set while
    the engine cannot see it (``no_data`` or ``error``); ``decision`` is the id of the newest
    finding kept of it, for ``replay``.
    """

    guardrail: str
    rule: str
    kpi: str | None
    title: str
    treatment: str
    limit: str
    side: str | None
    margin: float | None
    absolute: bool
    prove_past: float | None
    action: str
    dry_run: bool
    level: float | None
    outcome: Outcome | None
    code: Code | None
    words: str
    evidence: float
    checked_at: datetime | None
    windows: tuple[WindowFinding, ...] = ()
    history: tuple[tuple[datetime, float, float | None, float | None, float | None], ...] = ()
    blind_since: datetime | None = None
    decision: str | None = None


@dataclass(frozen=True, slots=True)
class TransitionView:
    """A recorded change of state: who moved what where, when, why and on which evidence."""

    id: int
    experiment: str
    variant: str | None
    before: str
    after: str
    at: datetime
    actor: str
    reason: str
    evidence: Mapping[str, Any] | None
    evaluation: int | None


@dataclass(frozen=True, slots=True)
class RollbackView:
    """Whether a rollback is a fact: ``effective`` is ``None`` until ``grace`` is over."""

    variant: str
    attempt: int
    at: datetime
    verify_after: datetime
    effective: bool | None
    rate_before: float | None
    rate_after: float | None


class NeedKind(StrEnum):
    """Why a person is asked to look."""

    SUSPENDED = "suspended"  # the engine acts on nothing
    TROUBLE = "trouble"  # its checks fail or are not due
    SERVICE = "service"  # about the whole service, the same for every experiment
    CHANNEL = "channel"  # its file names a channel that the service lacks
    MEANING = "meaning"  # a KPI means something else in the catalogue by now
    INEFFECTIVE = "ineffective"  # turned back and still being shown
    BLIND = "blind"  # a guardrail sees nothing
    DATA = "data"  # split, freshness or denominators are not as they should be
    ENDED = "ended"  # over, and nothing was proven
    APPROVAL = "approval"  # a step of the ramp waits for a person
    DRAFT = "draft"  # it waits to be started
    UNASKED = "unasked"  # no application has asked for its flag yet


@dataclass(frozen=True, slots=True)
class NeedView:
    """One thing a person should look at or is asked to do."""

    kind: NeedKind
    words: str


@dataclass(frozen=True, slots=True)
class LayerView:
    """A layer an experiment lives in: ``share`` is asked for, ``owned`` what it was given.

    ``buckets`` are those it owns, [start, stop) pairs of 10,000; ``released`` says that the
    experiment is over and others may have them.
    """

    name: str
    share: float
    owned: float
    buckets: tuple[tuple[int, int], ...]
    released: bool


@dataclass(frozen=True, slots=True)
class SegmentView:
    """One KPI of one treatment among the units of one level of an attribute.

    ``level`` is the value; ``part`` is ``value``, ``other`` (all values beyond the largest) or
    ``unknown`` (nothing was said of them; they are shown and not compared with the rest).
    ``units`` are those with a value, of control and the treatment; ``effect`` is relative to
    control there, ``shrunken`` the same pulled towards the attribute's common effect by as much as
    chance explains. ``outcome`` is ``different`` (from the rest of the attribute), ``not_shown``
    or ``not_enough_data``.
    """

    kpi: str
    title: str
    better: str
    window: timedelta
    treatment: str
    attribute: str
    part: str
    level: str
    units: tuple[int, int]
    control: float | None
    value: float | None
    effect: float | None
    shrunken: float | None
    outcome: str


@dataclass(frozen=True, slots=True)
class AttributeView:
    """An attribute with its levels: (part, value, units exposed), the largest first.

    ``values`` is how many there are, those in ``other`` too.
    """

    name: str
    values: int
    levels: tuple[tuple[str, str, int], ...]


@dataclass(frozen=True, slots=True)
class SegmentsView:
    """Where the effect differs among the attributes that the file declares; nothing acts on it.

    ``at`` is when it was counted, ``None`` while that is still to come; ``failure`` says why it
    could not be. Of the segments called different at most ``rate`` are so by chance, in
    expectation over all that is here: at any look (``repeated``), or read once at a planned end.
    """

    declared: tuple[str, ...]
    at: datetime | None = None
    rate: float = 0.1
    repeated: bool = True
    attributes: tuple[AttributeView, ...] = ()
    found: tuple[SegmentView, ...] = ()
    failure: str = ""


@dataclass(frozen=True, slots=True)
class RampStepView:
    """One step of the ramp: ``state`` is ``done``, ``current`` or ``next``.

    Of the current step: ``hold_left`` is what its hold still lasts, ``units`` what came in of each
    arm since it began. ``approved`` says whether a person allowed it to be left.
    """

    number: int
    state: str
    traffic: float
    hold: timedelta
    min_units: int
    approval: bool
    advance: str
    hold_left: timedelta | None = None
    units: Mapping[str, int] | None = None
    approved: bool = False


@dataclass(frozen=True, slots=True)
class ExperimentView:
    """Everything shown of one experiment.

    Of a draft, ``started_at`` is ``None``, and so are its ends as long as a person starts it.
    ``goal`` holds ``kpi``, ``expect`` (signed, a share), ``absolute`` (percentage points) and
    ``words``; ``None`` when the file says none. ``waiting`` says in words what it waits for, empty
    when it is over; ``actions`` is what a person may ask for now
    (``experiments.lifecycle.ACTIONS``); ``frozen`` says until when and why the ramp stands still
    now, ``None`` when it does not. ``advice`` is what is recommended once it is over
    (``guardrails.advice``), with ``decision``, the id that a replay takes; ``None`` before.
    ``shipped`` is the treatment that the audience gets since then (``auto_ship``). ``needs`` is
    what a person should look at, by kind; ``attention`` is the same in words alone. ``segments``
    is where the effect differs, ``None`` where the file declares none. ``watched`` are the KPIs
    that the file names under ``watch``: shown, and judged by nobody.
    """

    key: str
    title: str
    owner: str
    hypothesis: str
    state: str
    mode: str
    unit: str
    seed: int
    revision: int
    started_at: datetime | None
    ends_at: datetime | None
    observe_until: datetime | None
    traffic: float
    step: int
    steps: int
    alpha: float
    check_every: timedelta
    last_check_at: datetime | None
    checks: int
    watermark: int
    conflicted: int
    goal: Mapping[str, Any] | None
    variants: tuple[VariantView, ...]
    guardrails: tuple[GuardrailView, ...]
    kpis: tuple[KpiView, ...]
    transitions: tuple[TransitionView, ...]
    rollbacks: tuple[RollbackView, ...]
    attention: tuple[str, ...]
    starts_at: datetime | None = None
    layer: LayerView | None = None
    holdout: float = 0.0
    exposure: str = "evaluate"
    frozen: str | None = None
    ramp: tuple[RampStepView, ...] = ()
    waiting: str = ""
    actions: tuple[str, ...] = ()
    denominators: tuple[DenominatorView, ...] = ()
    advice: Mapping[str, Any] | None = None
    shipped: str | None = None
    needs: tuple[NeedView, ...] = ()
    segments: SegmentsView | None = None
    watched: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class CheckReport:
    """What one tick did: ``result`` is ``ok``, ``error`` or ``taken`` (recorded by another).

    A draft that starts by the clock is reported as ``started``; hooks are not told of it.
    ``missed`` counts the ticks since the one before that nobody ran.
    """

    experiment: str
    at: datetime
    result: str
    decision: str
    transitions: tuple[TransitionView, ...]
    seconds: float
    missed: int = 0


@dataclass(frozen=True, slots=True)
class ApplyView:
    """What applying a file did, or with ``dry_run`` would do.

    ``result`` is ``created``, ``updated`` or ``unchanged``; ``words`` are the differences in the
    words of the file, then what follows from them.
    """

    key: str
    result: str
    revision: int
    words: tuple[str, ...]
    warnings: tuple[str, ...]
    dry_run: bool = False


@dataclass(frozen=True, slots=True)
class RevisionView:
    """One applied file, never changed afterwards."""

    number: int
    sha256: str
    source: str
    actor: str
    at: datetime
    text: str


@dataclass(frozen=True, slots=True)
class Explanation:
    """``explain``: paragraphs a product manager can forward, and the numbers they rest on."""

    key: str
    at: datetime
    headline: str
    paragraphs: tuple[str, ...]
    evidence: Mapping[str, Any] | None
