"""Planting an effect into recorded events: ``refund_hours*2.5@treatment``. Pure.

A planted effect changes what was recorded of the units that met one variant,
so that the size of the truth is known. Whoever shows a result built on one
has to say so; ``Plant.words`` is that sentence.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import timedelta
from fractions import Fraction

from metrics.cells import MICRO
from metrics.events import Event

_PATTERN = re.compile(r"(?P<kpi>[\w.-]+)\*(?P<factor>\d+(?:\.\d+)?)@(?P<variant>[\w.-]+)")


class PlantError(ValueError):
    """The effect cannot be planted; the message says what was given and what can be."""


@dataclass(frozen=True, slots=True)
class _Change:
    """What a factor on a KPI does to one event.

    Attributes:
        field: Number that is multiplied.
        divides: Whether the KPI has the field below the line, so it is divided instead.
        delays: Whether the field is the hours until the event, which then happens later.
    """

    field: str
    divides: bool = False
    delays: bool = False


_CHANGES: Mapping[str, Mapping[str, _Change]] = {
    "agent_efficiency": {"agent_worked": _Change("hours", divides=True)},
    "flow_dwell_seconds": {
        "cancel_finished": _Change("seconds"),
        "cancel_step_left": _Change("seconds"),
    },
    "refund_hours": {"refund_paid": _Change("hours", delays=True)},
}
PLANTABLE = tuple(_CHANGES)
"""KPIs that are carried by a number of their events, so that a factor on it is one on them."""


@dataclass(frozen=True, slots=True)
class Plant:
    """A factor on a KPI of the units that met a variant.

    Planted on ``refund_hours``, the hours of every refund are multiplied and the refund is
    paid as much later: a window then counts it later too, as if it had been so slow.

    Attributes:
        kpi: One of ``PLANTABLE``.
        factor: Above 0; 1 changes nothing.
        variant: Whose units.
    """

    kpi: str
    factor: Fraction
    variant: str

    @classmethod
    def parse(cls, text: str) -> "Plant":
        """Read ``KPI*FACTOR@VARIANT``.

        Raises:
            PlantError: It is written otherwise, or that KPI cannot be planted.
        """
        found = _PATTERN.fullmatch(text.strip())
        if found is None or Fraction(found["factor"]) == 0:
            raise PlantError(
                f"{text!r} is no effect; write KPI*FACTOR@VARIANT, like refund_hours*2.5@treatment"
            )
        if found["kpi"] not in _CHANGES:
            known = ", ".join(PLANTABLE)
            raise PlantError(f"nothing can be planted on {found['kpi']!r}; on {known} it can")
        return cls(found["kpi"], Fraction(found["factor"]), found["variant"])

    @property
    def words(self) -> str:
        """The effect in a sentence that belongs beside every result built on it."""
        return f"PLANTED: {self.kpi} of {self.variant} was multiplied by {float(self.factor):g}"

    def apply(self, event: Event, variant: str | None) -> Event:
        """Return the event as it would have been, for a unit that met ``variant``.

        Its id stays; a unit of another variant, or of none, keeps its events.
        """
        change = _CHANGES[self.kpi].get(event.name)
        if change is None or variant != self.variant:
            return event
        value = event.fields.get(change.field)
        if not isinstance(value, int) or isinstance(value, bool):
            return event
        planted = round(value / self.factor if change.divides else value * self.factor)
        happened_at = event.happened_at
        if change.delays:
            happened_at += timedelta(hours=1) * (planted - value) / MICRO
        fields = {**event.fields, change.field: planted}
        return replace(event, happened_at=happened_at, fields=fields)
