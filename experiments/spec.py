"""What is tried: the experiment part of a spec file, as plain values."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final
from zoneinfo import ZoneInfo

from experiments.audience import Clause

CONTROL = "control"
"""Name of the arm everybody gets in doubt."""


class Mode(StrEnum):
    """Whether the engine may act."""

    LIVE = "live"
    SHADOW = "shadow"  # everything but acting


class Advance(StrEnum):
    """What a ramp step asks of the evidence before the next one."""

    UNHARMED = "unharmed"  # no acting guardrail is in breach, error or without data
    PROVEN = "proven"  # every acting guardrail has passed


class Exposure(StrEnum):
    """What counts as meeting a variant."""

    EVALUATE = "evaluate"  # an evaluation on the server records it
    EVENT = "event"  # only an exposure event sent by the application does


MANUAL: Final = "manual"
"""``starts: manual``: the experiment waits until a person starts it."""


@dataclass(frozen=True, slots=True)
class Layer:
    """Experiments of one layer never share a unit.

    Attributes:
        name: Name of the layer; its hash seed is ``layer:`` and this name.
        share: Share of the layer's units this experiment takes, above 0 and at most 1.
    """

    name: str
    share: float


@dataclass(frozen=True, slots=True)
class Freeze:
    """A time in which the ramp does not advance; guardrails go on acting.

    Either a span (``start`` and ``stop``), or whole days of every week.

    Attributes:
        start: First instant of the span, ``None`` for days of the week.
        stop: First instant after it.
        days: Days of the week, 0 is Monday.
        zone: IANA time zone in which the days begin and end.
        why: For people, may be empty.
    """

    start: datetime | None = None
    stop: datetime | None = None
    days: frozenset[int] = frozenset()
    zone: str = "UTC"
    why: str = ""

    def holds(self, now: datetime) -> bool:
        """Return whether ``now`` (aware) lies in it."""
        if self.start is not None and self.stop is not None:
            return self.start <= now < self.stop
        return now.astimezone(ZoneInfo(self.zone)).weekday() in self.days


@dataclass(frozen=True, slots=True)
class VariantSpec:
    """One arm.

    Attributes:
        name: Name of the arm; ``control`` is one of them.
        weight: Planned share of the units that take part, 0-1; all weights sum to 1.
        flow: JSON delivered as the flag's value; the name of the arm where the file gives none.
            ``None`` delivers no value: applications use the default in their code.
    """

    name: str
    weight: float
    flow: Any


@dataclass(frozen=True, slots=True)
class RampStep:
    """One step of traffic.

    Attributes:
        traffic: Share of the audience that takes part, above 0 and at most 1.
        hold: Least time in this step before the next.
        min_units: Units of each arm first exposed in this step before the next.
        approval: Whether a person must approve the next step.
        advance: What the evidence must say before the next step.
    """

    traffic: float = 1.0
    hold: timedelta = timedelta(0)
    min_units: int = 0
    approval: bool = False
    advance: Advance = Advance.UNHARMED


@dataclass(frozen=True, slots=True)
class Goal:
    """What the change is meant to improve.

    Attributes:
        kpi: KPI key.
        expect: Change hoped for against control (0.1 is +10%), ``None`` when not said.
        absolute: Whether ``expect`` is in the KPI's own unit (written ``pp``), not relative.
    """

    kpi: str
    expect: float | None = None
    absolute: bool = False


@dataclass(frozen=True, slots=True)
class Ends:
    """When new exposures stop, and how long units are watched after that.

    Attributes:
        after: From the start to the last new exposure.
        observe_for: At most this long after that; ``None`` where the file leaves it to the
            longest window (``guardrails.spec_file`` fills it in).
        at: Instant of the last new exposure where the file names one (it then names ``starts``
            too, and ``after`` is the time between them); ``None`` otherwise.
    """

    after: timedelta
    observe_for: timedelta | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class ExperimentSpec:
    """The experiment part of a spec file. Shares are 0-1, lengths are ``timedelta``.

    Attributes:
        key: Experiment and flag key; part of the hash.
        title: For people; the key where the file gives none.
        owner: Whom to ask, may be empty.
        hypothesis: What is believed, may be empty.
        unit: Type of id that is hashed and analysed.
        variants: Arms in the order of the file, which is the order of their bucket ranges.
        ramp: At least one step, traffic increasing.
        goal: What should improve, ``None`` when not said.
        watch: KPIs that are shown and judged by nobody.
        ends: When it is over.
        seed: Part of the hash; raised by hand to start over.
        audience: Conditions and groups of them that all must hold; empty means everybody.
        layer: Experiments it must not share units with, ``None`` for none.
        alpha: Budget of false rollbacks over the whole experiment, above 0 and at most 0.5.
        check_every: Time between two checks.
        mode: Live or shadow.
        notify: Names of channels.
        expect_units: Units all arms together are expected to have by the end, ``None`` unknown.
        lag: How late events may arrive: a unit enters a comparison this long after its window.
        force: Ids for trying a variant out (quality assurance), with the variant each gets: never
            exposures, whatever the audience, layer and traffic are.
        exposure: What counts as meeting a variant.
        holdout: Whether the service's global holdout stays out of it.
        starts: Instant of the first exposure, ``manual``, or ``None``: when it is applied.
        freeze: When the ramp does not advance.
        auto_ship: Whether the treatment that is advised to be shipped is served to the whole
            audience once the run is over.
        segments: Names of attributes whose values are kept with exposures, to see where the
            effect differs; nothing acts on them.
    """

    key: str
    title: str
    owner: str
    hypothesis: str
    unit: str
    variants: tuple[VariantSpec, ...]
    ramp: tuple[RampStep, ...]
    goal: Goal | None
    watch: tuple[str, ...]
    ends: Ends
    seed: int = 1
    audience: tuple[Clause, ...] = ()
    layer: Layer | None = None
    alpha: float = 0.05
    check_every: timedelta = timedelta(minutes=1)
    mode: Mode = Mode.LIVE
    notify: tuple[str, ...] = ()
    expect_units: int | None = None
    lag: timedelta = field(default=timedelta(minutes=5))
    force: Mapping[str, str] = field(default_factory=dict[str, str])
    exposure: Exposure = Exposure.EVALUATE
    holdout: bool = True
    starts: datetime | str | None = None
    freeze: tuple[Freeze, ...] = ()
    auto_ship: bool = False
    segments: tuple[str, ...] = ()

    @property
    def control(self) -> str:
        """Name of the control arm."""
        return CONTROL

    @property
    def treatments(self) -> tuple[str, ...]:
        """Names of all other arms, in the order of the file."""
        return tuple(v.name for v in self.variants if v.name != CONTROL)

    def variant(self, name: str) -> VariantSpec:
        """Return the arm of that name; ``KeyError`` when there is none."""
        for variant in self.variants:
            if variant.name == name:
                return variant
        raise KeyError(name)

    @property
    def hash_seed(self) -> str:
        """Seed of the assignment hash, ``key:seed``."""
        return f"{self.key}:{self.seed}"
