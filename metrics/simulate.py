"""A simulated shop: orders whose customers want to cancel, and what happens to them. Pure.

Every number an order needs is drawn before anybody knows its variant, from
PCG64 keyed by (seed, hour) and read as raw 64-bit words, and is turned into
seconds and hours by piecewise-linear tables: the same seed gives the same shop
on every machine and with every version of NumPy. The variant a caller passes
in then only decides how those numbers are read, so a scenario plants exactly
the difference it names and nothing else.
"""

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import numpy as np


class Scenario(StrEnum):
    """What is planted in the treatment."""

    SATISFACTION_DROP = "satisfaction-drop"  # -5% satisfaction, agents 40% more efficient
    HARMLESS = "harmless"  # no harm, agents 40% more efficient
    TOLERATED = "tolerated"  # -1.5% satisfaction: half of the demo's margin of 3%
    OUTAGE = "outage"  # cancelling stops working at OUTAGE_HOUR, silently
    LATE_HARM = "late-harm"  # -10% satisfaction from LATE_HARM_HOUR
    NO_DATA = "no-data"  # the event stream of both arms stops at SILENCE_HOUR


OUTAGE_HOUR = 30
LATE_HARM_HOUR = 75
SILENCE_HOUR = 30
UNITS_PER_HOUR = 200
"""Orders per simulated hour: about 100 for each of two arms of equal weight."""

SCORES = (0.035, 0.055, 0.115, 0.265, 0.53)
"""Shares of the satisfaction scores 1 to 5 without any effect: mean 4.2, sd 1.07."""

MEAN_SCORE = 4.2
RATING_SHARE = 0.6


@dataclass(frozen=True, slots=True)
class Effects:
    """How one arm differs from a shop without experiment.

    Attributes:
        satisfaction: Relative drop of the mean score; 0.05 is 4.2 to 3.99, exactly.
        efficiency: Cases an agent closes per hour, as a factor.
        saves: Share of units that take the offer instead of cancelling, added to the base.
        works: Whether a cancellation can be finished at all.
    """

    satisfaction: float = 0.0
    efficiency: float = 1.0
    saves: float = 0.0
    works: bool = True


def effects(scenario: Scenario, *, hour: int, treated: bool) -> Effects:
    """Return what is planted for an order exposed in simulated hour ``hour``."""
    if not treated:
        return Effects()
    drop = {
        Scenario.SATISFACTION_DROP: 0.05,
        Scenario.TOLERATED: 0.015,
        Scenario.LATE_HARM: 0.10 if hour >= LATE_HARM_HOUR else 0.0,
    }.get(scenario, 0.0)
    works = not (scenario is Scenario.OUTAGE and hour >= OUTAGE_HOUR)
    return Effects(satisfaction=drop, efficiency=1.4, saves=0.016, works=works)


def score(base: float, shift: float, drop: float) -> int:
    """Return the satisfaction score 1 to 5 of two uniform draws.

    A drop lowers every score above 1 by one point with the probability that
    makes the mean exactly ``MEAN_SCORE * (1 - drop)``.

    Args:
        base: Uniform in [0, 1): the score without effect.
        shift: Uniform in [0, 1): whether the effect meets this customer.
        drop: Relative drop of the mean, 0 to 0.22.
    """
    bounds = (SCORES[0], sum(SCORES[:2]), sum(SCORES[:3]), sum(SCORES[:4]))
    value = 1 + bisect_right(bounds, base)
    lowered = MEAN_SCORE * drop / (1 - SCORES[0])
    return value - 1 if value > 1 and shift < lowered else value


@dataclass(frozen=True, slots=True)
class _Quantiles:
    """An inverse distribution function: straight lines between (probability, value) points."""

    points: tuple[tuple[float, float], ...]

    def at(self, u: float) -> float:
        """Return the ``u`` quantile; ``u`` in [0, 1)."""
        for (p0, v0), (p1, v1) in zip(self.points, self.points[1:], strict=False):
            if u < p1:
                return v0 + (v1 - v0) * (u - p0) / (p1 - p0)
        return self.points[-1][1]


_STEP_SECONDS = _Quantiles(((0.0, 3), (0.5, 12), (0.9, 40), (0.99, 150), (1.0, 600)))
_RATING_SECONDS = _Quantiles(((0.0, 20), (0.6, 600), (0.85, 2_700), (1.0, 90_000)))
_CONTACT_SECONDS = _Quantiles(((0.0, 60), (0.6, 3_600), (1.0, 72_000)))
_CLOSING_SECONDS = _Quantiles(((0.0, 600), (0.7, 7_200), (1.0, 172_800)))
_WORK_HOURS = _Quantiles(((0.0, 0.05), (0.5, 0.2), (0.9, 0.6), (1.0, 2.0)))
_REFUND_HOURS = _Quantiles(((0.0, 2), (0.5, 30), (0.9, 96), (1.0, 300)))
_COMPLAINT_SECONDS = _Quantiles(((0.0, 600), (0.7, 43_200), (1.0, 259_200)))
_NEXT_ORDER_SECONDS = _Quantiles(((0.0, 3_600), (0.3, 259_200), (0.7, 864_000), (1.0, 2_592_000)))
_ORDER_VALUE = _Quantiles(((0.0, 20), (0.5, 45), (0.9, 120), (1.0, 400)))
_REASONS = ("changed_mind", "found_cheaper", "too_slow", "wrong_item", "other")
_OFFER_COST = 5
_HELPED = 0.90  # cancelled or took the offer; the others kept their order or gave up, half each
_CANCELLED = 0.84
_OFFERED = 0.4
_FAILED = 0.02
_PAID = 0.97
_CONTACTS = 0.25
_CHAT = 0.6
_FIRST_CONTACT = 0.7
_REOPENED = 0.08
_COMPLAINS = 0.06
_COMPLAINS_AGAIN = 1 / 3
_ORDERS_AGAIN = 0.45
_ADDON = 0.2
_PLATFORMS = ("ios", "android")
_COUNTRIES = ("GB", "DE", "FR", "US")
_CUSTOMERS = 60_000
_DRAWS = 40
_STREAM = 3  # seed 1 of this stream is a typical run: neither lucky nor late
_Entry = tuple[int, str, dict[str, Any]]
"""Seconds after exposure, event name, fields."""


@dataclass(frozen=True, slots=True)
class Order:
    """One order whose customer opens the cancel page.

    Attributes:
        hour: Simulated hour in which the page is opened, from 0.
        order_id: The unit.
        user_id: Its customer.
        attributes: What an application would put into the evaluation context.
        draws: Uniform numbers in [0, 1) that decide everything else.
    """

    hour: int
    order_id: str
    user_id: str
    attributes: Mapping[str, Any]
    draws: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class Shop:
    """The traffic of one seed and scenario.

    Attributes:
        seed: Any non-negative integer.
        scenario: What is planted in every variant other than control.
        start: Instant of simulated hour 0, aware UTC.
        per_hour: Orders whose cancel page is opened in an hour.
        control: Name of the variant that gets no effect.
    """

    seed: int
    scenario: Scenario
    start: datetime
    per_hour: int = UNITS_PER_HOUR
    control: str = "control"

    def orders(self, hour: int) -> tuple[Order, ...]:
        """Return the orders of one simulated hour; the same for every scenario."""
        bits = np.random.PCG64(np.random.SeedSequence([_STREAM, self.seed, hour]))
        raw = bits.random_raw(self.per_hour * _DRAWS)
        uniform = (raw >> np.uint64(11)).astype(np.float64) * 2.0**-53
        rows: list[list[float]] = uniform.reshape(self.per_hour, _DRAWS).tolist()
        number = f"{self.seed}-{hour:04d}"
        return tuple(
            _order(hour, f"order-{number}-{index:04d}", row) for index, row in enumerate(rows)
        )

    def events(self, order: Order, *, variant: str, exposed_at: datetime) -> list[dict[str, Any]]:
        """Return everything that happens to an order after its exposure, in time order.

        Args:
            order: From ``orders``.
            variant: What the customer was served; the service's answer, not the hash's.
            exposed_at: When; every event is later.

        Returns:
            Events in wire form, without the exposure itself; those from the hour
            on in which the scenario's stream falls silent are left out.
        """
        planted = effects(self.scenario, hour=order.hour, treated=variant != self.control)
        steps = _FLOWS["control" if variant == self.control else "treatment"]
        story = _story(order, planted, steps)
        if self.scenario is Scenario.NO_DATA:
            silent = self.start + timedelta(hours=SILENCE_HOUR)
            story = [e for e in story if exposed_at + timedelta(seconds=e[0]) < silent]
        return [_wire(order, index, entry, exposed_at) for index, entry in enumerate(story)]


_FLOWS = {
    "control": ("reason", "confirm"),
    "treatment": ("reason", "points_lost", "coupon_returned", "confirm"),
}


def _order(hour: int, order_id: str, draws: Sequence[float]) -> Order:
    attributes = {
        "platform": _PLATFORMS[int(draws[1] * len(_PLATFORMS))],
        "country": _COUNTRIES[int(draws[2] * len(_COUNTRIES))],
        "order_value": round(_ORDER_VALUE.at(draws[3]), 2),
    }
    return Order(
        hour=hour,
        order_id=order_id,
        user_id=f"customer-{int(draws[0] * _CUSTOMERS):05d}",
        attributes=attributes,
        draws=tuple(draws[4:]),
    )


def _wire(order: Order, index: int, entry: _Entry, exposed_at: datetime) -> dict[str, Any]:
    seconds, name, fields = entry
    return {
        "id": f"{order.order_id}-{index:02d}-{name}",
        "name": name,
        "happened_at": (exposed_at + timedelta(seconds=seconds)).isoformat(),
        "units": {"order_id": order.order_id, "user_id": order.user_id},
        "fields": fields,
    }


def _story(order: Order, planted: Effects, steps: Sequence[str]) -> list[_Entry]:
    draws = order.draws
    flow, outcome, left_at = _flow(order, planted, steps, draws[0:10])
    story = [
        *flow,
        *(_refund(order, left_at, draws[10:13]) if outcome == "cancelled" else ()),
        *_rating(planted, left_at, draws[13:17]),
        *_case(order, planted, left_at, draws[17:24]),
        *_complaints(order, left_at, draws[24:28]),
        *_next_order(order, left_at, draws[28:32]),
    ]
    return sorted(story, key=lambda entry: entry[0])


def _outcome(planted: Effects, draw: float) -> str:
    """90% get what they came for: 84% cancel, 6% take the offer; a treatment moves 1.6 points."""
    if draw >= _HELPED:
        return "kept" if draw < (1 + _HELPED) / 2 else "abandoned"
    if not planted.works:
        return "abandoned"
    return "cancelled" if draw < _CANCELLED - planted.saves else "accepted"


def _flow(
    order: Order, planted: Effects, steps: Sequence[str], draws: Sequence[float]
) -> tuple[list[_Entry], str, int]:
    """Return the events of the cancel flow, how it ended, and the second it was left."""
    started = 1 + int(draws[0] * 20)
    entries: list[_Entry] = [(started, "cancel_started", {"order_id": order.order_id})]
    now = started
    for step, draw in zip(steps, draws[1:5], strict=False):
        seconds = int(_STEP_SECONDS.at(draw))
        now += seconds
        entries.append((now, "cancel_step_left", {"step": step, "seconds": seconds}))
    outcome = _outcome(planted, draws[5])
    if outcome == "accepted" or draws[6] < _OFFERED:
        entries.append((started + 1, "offer_shown", {"offer": "coupon"}))
    if outcome == "accepted":
        entries.append((now, "offer_accepted", {"offer": "coupon", "cost": _OFFER_COST}))
    if draws[7] < _FAILED:
        entries.append((started + 1, "flow_failed", {"code": "timeout"}))
    fields: dict[str, Any] = {
        "outcome": "kept" if outcome == "accepted" else outcome,
        "seconds": now - started,
        "reason": _REASONS[int(draws[8] * len(_REASONS))],
    }
    entries.append((now, "cancel_finished", fields))
    return entries, outcome, now


def _refund(order: Order, after: int, draws: Sequence[float]) -> list[_Entry]:
    """Every cancelled order asks for its money; 97% of them see it within 300 hours."""
    amount = order.attributes["order_value"]
    entries: list[_Entry] = [(after, "refund_requested", {"amount": amount})]
    if draws[0] < _PAID:
        hours = int(_REFUND_HOURS.at(draws[1]) * 100)
        paid = {"amount": amount, "hours": hours / 100}
        entries.append((after + hours * 36, "refund_paid", paid))
    return entries


def _rating(planted: Effects, after: int, draws: Sequence[float]) -> list[_Entry]:
    """Everybody is asked, 60% answer, most of them within the hour."""
    entries: list[_Entry] = [(after + 5, "satisfaction_asked", {})]
    if draws[0] < RATING_SHARE:
        value = score(draws[1], draws[2], planted.satisfaction)
        delay = int(_RATING_SECONDS.at(draws[3]))
        entries.append((after + 5 + delay, "satisfaction_rated", {"score": value}))
    return entries


def _case(order: Order, planted: Effects, after: int, draws: Sequence[float]) -> list[_Entry]:
    """A quarter contact the shop; 70% of those need one contact, 8% come back."""
    if draws[0] >= _CONTACTS:
        return []
    case = {"case_id": f"{order.order_id}-case"}
    opened = after + int(_CONTACT_SECONDS.at(draws[1]))
    closed = opened + int(_CLOSING_SECONDS.at(draws[2]))
    hours = round(_WORK_HOURS.at(draws[3]) / planted.efficiency, 4)
    entries: list[_Entry] = [
        (opened, "case_opened", {**case, "channel": "chat" if draws[4] < _CHAT else "phone"}),
        (closed, "agent_worked", {**case, "hours": hours}),
        (closed, "case_closed", {**case, "first_contact": draws[5] < _FIRST_CONTACT}),
    ]
    if draws[6] < _REOPENED:
        entries.append((closed + 2 * 3600, "case_reopened", dict(case)))
    return entries


def _complaints(order: Order, after: int, draws: Sequence[float]) -> list[_Entry]:
    """6% complain, a third of those twice."""
    if draws[0] >= _COMPLAINS:
        return []
    case = {"case_id": f"{order.order_id}-complaint", "repeat": False}
    first = after + int(_COMPLAINT_SECONDS.at(draws[1]))
    entries: list[_Entry] = [(first, "complaint_filed", dict(case))]
    if draws[2] < _COMPLAINS_AGAIN:
        second = first + int(_COMPLAINT_SECONDS.at(draws[3]))
        entries.append((second, "complaint_filed", dict(case)))
    return entries


def _next_order(order: Order, after: int, draws: Sequence[float]) -> list[_Entry]:
    """45% of customers order again within 30 days, a fifth of those with an add-on."""
    if draws[0] >= _ORDERS_AGAIN:
        return []
    fields = {
        "order_id": f"{order.order_id}-next",
        "amount": round(_ORDER_VALUE.at(draws[2]), 2),
        "addon": draws[3] < _ADDON,
    }
    return [(after + int(_NEXT_ORDER_SECONDS.at(draws[1])), "order_placed", fields)]
