"""What units do after they were exposed: one recipe of events per KPI. Pure, seeded.

Every number a unit needs is drawn before its variant is known, so what is planted in an arm is
the only difference between the arms.
"""

from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from itertools import accumulate
from random import Random
from typing import Any, Final

from experiments.language.amounts import Amount
from guardrails.scenarios.values import Behaviour, Effect
from guardrails.simulate_units import score_shares

HOUR: Final = timedelta(hours=1)
_SPREAD: Final = 0.5
_DRAWS: Final = 3

Draws = tuple[float, ...]
Happening = tuple[timedelta, str, dict[str, Any]]
"""Time since the exposure, name of the event, fields."""


@dataclass(frozen=True, slots=True)
class Recipe:
    """How the events of one KPI come about.

    Attributes:
        share: Whether its value is a share of the units; else a number from ``low`` to ``high``.
        after: Time from the exposure to the event where the file does not say it.
        events: The events of a unit: its draws, the KPI's value, the delay and the unit's name.
        among: Share of the units that send anything where the file does not say it.
    """

    share: bool
    after: timedelta
    events: Callable[[Draws, float, timedelta, str], Iterator[Happening]]
    among: float = 1.0
    low: float = 0.0
    high: float = 1_000_000.0


def _failures(draws: Draws, value: float, after: timedelta, _unit: str) -> Iterator[Happening]:
    if draws[1] < value:
        yield after, "flow_failed", {"code": "planted"}


def _cancellations(draws: Draws, value: float, after: timedelta, _unit: str) -> Iterator[Happening]:
    outcome = "cancelled" if draws[1] < value else "kept"
    yield after, "cancel_finished", {"outcome": outcome, "seconds": 60, "reason": "other"}


def _ratings(draws: Draws, value: float, after: timedelta, _unit: str) -> Iterator[Happening]:
    yield after, "satisfaction_rated", {"score": 1 + bisect_right(_scores(value), draws[1])}


@lru_cache(maxsize=64)
def _scores(mean: float) -> tuple[float, ...]:
    widest = ((mean - 1.0) * (5.0 - mean)) ** 0.5
    shares = [float(share) for share in score_shares(mean, min(1.0, 0.9 * widest))]
    return tuple(accumulate(shares[:-1]))


def _complaints(draws: Draws, value: float, after: timedelta, unit: str) -> Iterator[Happening]:
    if draws[1] < value:
        yield after, "complaint_filed", {"case_id": f"{unit}-complaint", "repeat": True}


def _around(value: float, draw: float) -> float:
    return value * (1.0 + _SPREAD * (2.0 * draw - 1.0))


def _refunds(draws: Draws, value: float, after: timedelta, _unit: str) -> Iterator[Happening]:
    hours = round(_around(value, draws[1]), 3)
    yield after, "refund_requested", {"amount": 40}
    yield after + HOUR * hours, "refund_paid", {"amount": 40, "hours": hours}


def _cases(draws: Draws, value: float, after: timedelta, unit: str) -> Iterator[Happening]:
    case = {"case_id": f"{unit}-case"}
    yield after, "case_opened", {**case, "channel": "chat"}
    yield after, "agent_worked", {**case, "hours": round(_around(1.0 / value, draws[1]), 4)}
    yield after, "case_closed", {**case, "first_contact": True}


def _orders(draws: Draws, value: float, after: timedelta, unit: str) -> Iterator[Happening]:
    if draws[1] < value:
        yield after, "order_placed", {"order_id": f"{unit}-next", "amount": 40, "addon": False}


def _reasons(draws: Draws, value: float, after: timedelta, _unit: str) -> Iterator[Happening]:
    seconds = round(_around(value, draws[1]), 1)
    yield after, "cancel_step_left", {"step": "reason", "seconds": seconds}


MINUTE: Final = timedelta(minutes=1)
RECIPES: Final[Mapping[str, Recipe]] = {
    "flow_failure_rate": Recipe(True, MINUTE, _failures),
    "cancellation_rate": Recipe(True, 2 * MINUTE, _cancellations),
    "satisfaction": Recipe(False, 10 * MINUTE, _ratings, low=1.05, high=4.95),
    "repeat_complaint_rate": Recipe(True, 6 * HOUR, _complaints),
    "refund_hours": Recipe(False, 5 * MINUTE, _refunds, low=0.01),
    "agent_efficiency": Recipe(False, HOUR, _cases, among=0.25, low=0.01),
    "repurchase_rate": Recipe(True, 24 * HOUR, _orders),
    "reason_dwell_seconds": Recipe(False, MINUTE, _reasons, low=0.1),
}
"""KPIs whose behaviour can be told; a new one is a function and a line here."""


@dataclass(frozen=True, slots=True)
class Way:
    """What one unit's KPI is like, effects included: ``value`` is ``None`` for silence."""

    value: float | None
    among: float
    after: timedelta


def way_of(kpi: str, told: Sequence[Behaviour]) -> Way:
    """Return what follows from behaviours, each on top of the one before.

    Raises:
        ValueError: The value is out of range; the message says which and what is possible.
    """
    recipe = RECIPES[kpi]
    value: float | None = None
    among, after = recipe.among, recipe.after
    for each in told:
        value = _changed(value, each.amount, kpi)
        among = each.among if each.among is not None else among
        after = each.after if each.after is not None else after
    if value is None:
        return Way(None, among, after)
    low, high = (0.0, 1.0) if recipe.share else (recipe.low, recipe.high)
    if not low <= value <= high:
        shown = f"{value:.1%}" if recipe.share else f"{value:g}"
        limits = "0% to 100%" if recipe.share else f"{low:g} to {high:g}"
        raise ValueError(f"{kpi} would be {shown}, and can be {limits}")
    return Way(value, among, after)


def _changed(before: float | None, amount: Amount | float | None, kpi: str) -> float | None:
    if not isinstance(amount, Amount):
        if amount is not None and RECIPES[kpi].share:
            raise ValueError(f"{kpi} is a share: write it with %")
        return amount
    if not amount.signed:
        if not RECIPES[kpi].share:
            raise ValueError(f"{kpi} is no share: write a number, or a change such as -5%")
        return amount.share
    if before is None:
        raise ValueError(f"there is no {kpi} yet that could change: say it under `people` first")
    return before + amount.share if amount.absolute else before * (1.0 + amount.share)


@dataclass(frozen=True, slots=True)
class Person:
    """A unit before its variant is known: its attributes, and its draws by KPI."""

    unit: str
    attributes: Mapping[str, str]
    draws: Mapping[str, Draws]


@dataclass
class People:
    """Units of a scenario.

    Attributes:
        seed: Of everything random.
        attributes: Shares of the values of their attributes.
        people: How they behave where nothing is planted, by KPI.
        effects: What is planted.
    """

    seed: int
    attributes: Mapping[str, Mapping[str, float]]
    people: Mapping[str, Behaviour]
    effects: Sequence[Effect]
    _ways: dict[object, Mapping[str, Way]] = field(default_factory=dict[object, Mapping[str, Way]])

    def kpis(self) -> tuple[str, ...]:
        """Return the KPIs whose behaviour is told."""
        planted = {kpi for effect in self.effects for kpi in effect.behaviour}
        return tuple(kpi for kpi in RECIPES if kpi in self.people or kpi in planted)

    def coming(self, number: int, count: int) -> list[Person]:
        """Return the units of one span of time; the same whatever they are served."""
        rng, kpis = Random(f"{self.seed}/{number}"), self.kpis()  # noqa: S311 - simulated people
        return [self._person(f"u{self.seed}-{number}-{index}", rng, kpis) for index in range(count)]

    def _person(self, unit: str, rng: Random, kpis: Sequence[str]) -> Person:
        attributes = {
            name: rng.choices(list(shares), list(shares.values()))[0]
            for name, shares in self.attributes.items()
        }
        return Person(unit, attributes, {k: _drawn(rng) for k in kpis})

    def happenings(
        self, person: Person, *, variant: str, since: timedelta
    ) -> Iterator[tuple[timedelta, str, dict[str, Any]]]:
        """Yield what a unit does after it was exposed ``since`` the start.

        Raises:
            ValueError: What is planted makes no sense.
        """
        for kpi, way in self.ways(variant, since, person.attributes).items():
            draws = person.draws[kpi]
            if way.value is not None and draws[0] < way.among:
                yield from RECIPES[kpi].events(draws, way.value, way.after, person.unit)

    def ways(
        self, variant: str, since: timedelta, attributes: Mapping[str, str]
    ) -> Mapping[str, Way]:
        """Return what the KPIs of a unit are like."""
        active = tuple(
            index
            for index, effect in enumerate(self.effects)
            if variant in effect.of
            and effect.since <= since
            and (effect.until is None or since < effect.until)
            and effect.where.items() <= attributes.items()
        )
        if active not in self._ways:
            self._ways[active] = {kpi: way_of(kpi, self._told(kpi, active)) for kpi in self.kpis()}
        return self._ways[active]

    def _told(self, kpi: str, active: Sequence[int]) -> list[Behaviour]:
        planted = [self.effects[index].behaviour for index in active]
        return [each[kpi] for each in (self.people, *planted) if kpi in each]


def _drawn(rng: Random) -> Draws:
    return tuple(rng.random() for _ in range(_DRAWS))


def happened(person: Person, unit_type: str, at: datetime, told: Happening, number: int) -> Any:
    """Return an event in wire form."""
    after, name, fields = told
    return {
        "id": f"{person.unit}-{number}-{name}",
        "name": name,
        "happened_at": (at + after).isoformat(),
        "units": {unit_type: person.unit},
        "fields": fields,
    }
