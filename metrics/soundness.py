"""What of accepted events will feed nothing, or is not what the tracking plan documents. Pure.

Such events are kept as they are: an application is told, and nothing is lost. These are the only
rules; the answer of ``POST /api/v1/events``, the page of events and ``doctor`` show what they find.
"""

import difflib
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, cast

import msgspec

from metrics.catalogue import Catalogue
from metrics.cells import MICRO
from metrics.events import EXPOSURE, Event
from metrics.tracking import EventPlan, tracking_plan
from metrics.wording import gettext as _

LOOKED_AT = 100
"""Events of one request that are looked at: the first ones, so that large batches cost no more."""

KEYS = ("id", "name", "happened_at", "units", "unit", "fields")
"""What an event has at its top."""

_SHOWN = 40
_ALIKE = 0.75


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing that is not as it should be, the same for every event that has it.

    Attributes:
        code: For machines: ``unknown_value``, ``out_of_range``, ``missing_field``, ``no_units``,
            ``unknown_unit``, ``unknown_key``, ``unknown_name`` or ``client_key``.
        event: Name of the event.
        field: The part at fault: ``fields.score``, ``units``, ``happenedAt``; empty for all of it.
        given: What was sent, at most 40 characters of it; empty where nothing was.
    """

    code: str
    event: str
    field: str
    given: str = ""


@dataclass(frozen=True, slots=True)
class Doubt:
    """A problem of one event of a batch: its position from 0, and its id."""

    index: int
    id: str
    problem: Problem


@dataclass(frozen=True, slots=True)
class Counted:
    """What experiments count which are not over.

    Attributes:
        units: Unit types.
        events: Names of the events that KPIs of their own files read.
    """

    units: frozenset[str] = frozenset()
    events: frozenset[str] = frozenset()


_NOTHING = Counted()


@dataclass(frozen=True, slots=True)
class _Checks:
    """What is looked at in the events of one name; numbers are integers of 1e-6."""

    values: tuple[tuple[str, frozenset[str]], ...]
    ranges: tuple[tuple[str, float, float], ...]
    needed: tuple[str, ...]
    secret: bool


@dataclass(frozen=True, slots=True)
class Rules:
    """What the tracking plan documents of each event, ready to be held against events."""

    plan: Mapping[str, EventPlan] = field(default_factory=dict[str, EventPlan])
    _checks: Mapping[str, _Checks] = field(default_factory=dict[str, _Checks], repr=False)

    @classmethod
    def of(cls, catalogue: Catalogue) -> "Rules":
        """Return the rules for the events of a catalogue."""
        plan = {event.name: event for event in tracking_plan(catalogue)}
        return cls(plan, {name: _checks_of(event) for name, event in plan.items()})

    def doubts(
        self,
        events: Sequence[tuple[int, Event]],
        counted: Counted,
        keys: Mapping[int, Collection[str]] | None = None,
    ) -> tuple[Doubt, ...]:
        """Return what is wrong with the first `LOOKED_AT` accepted events, in their order.

        Args:
            events: With their positions in the batch.
            counted: What experiments count.
            keys: What each of them has at its top, by position, where that is known.
        """
        if not self.plan:
            return ()
        found: list[Doubt] = []
        for index, event in events[:LOOKED_AT]:
            problems = self._of(event, counted)
            if keys is not None and (sent := keys.get(index)):
                name = event.name[:_SHOWN]
                more = (k for k in sent if k not in KEYS)
                problems += [Problem("unknown_key", name, k[:_SHOWN]) for k in more]
            found += [Doubt(index, event.id, problem) for problem in problems]
        return tuple(found)

    def _of(self, event: Event, counted: Counted) -> list[Problem]:
        name, units, checks = event.name, counted.units, self._checks.get(event.name)
        if name == EXPOSURE:
            return []  # held against its experiment when it comes in
        found: list[Problem] = []
        if checks is None:
            if near_name(name, self._names(counted)):
                found.append(Problem("unknown_name", name[:_SHOWN], "name", name[:_SHOWN]))
        else:
            found += _fields(event, checks)
            if checks.secret and not event.trusted:
                found.append(Problem("client_key", name, ""))
        if not event.units:
            found.append(Problem("no_units", name[:_SHOWN], "units"))
        elif units and units.isdisjoint(event.units):
            given = ", ".join(sorted(event.units))[:_SHOWN]
            found.append(Problem("unknown_unit", name[:_SHOWN], "units", given))
        return found

    def _names(self, counted: Counted) -> tuple[str, ...]:
        return tuple(self.plan) if not counted.events else (*self.plan, *sorted(counted.events))

    def words(self, problem: Problem, counted: Counted = _NOTHING) -> str:
        """Return what is wrong, what was given and what to do, in the language of the context.

        Args:
            problem: What was found.
            counted: What experiments count now.
        """
        part = problem.field.removeprefix("fields.")
        if problem.code in {"unknown_value", "out_of_range"}:
            return self._of_value(problem, part)
        if problem.code == "unknown_key":
            return _of_key(problem)
        if problem.code in {"no_units", "unknown_unit"}:
            return _of_units(problem, counted.units)
        if problem.code == "missing_field":
            return _(
                "`{event}` came without `{field}`: what KPIs read of it is not there; send it "
                "under `fields`",
                event=problem.event,
                field=part,
            )
        if problem.code == "unknown_name":
            return self._of_name(problem, counted)
        return _(
            "`{event}` came with a client key: it is kept, but feeds no KPI of the catalogue; "
            "send it from a server with an ingest key",
            event=problem.event,
        )

    def _of_name(self, problem: Problem, counted: Counted) -> str:
        """Return which event was meant; empty once the name is read, or nothing alike any more."""
        near = near_name(problem.given, self._names(counted))
        if not near:
            return ""
        return _(
            "no KPI reads events called `{event}`; did you mean `{near}`?",
            event=problem.event,
            near=near,
        )

    def _of_value(self, problem: Problem, part: str) -> str:
        plan = self.plan.get(problem.event)
        known = next((f for f in plan.fields if f.name == part), None) if plan else None
        if known is not None and known.range is not None:
            low, high = known.range
            return _(
                "`{event}` said {field} {given}, and {low} to {high} is documented: it counts as "
                "it is and bends the result",
                event=problem.event,
                field=part,
                given=problem.given,
                low=f"{low:g}",
                high=f"{high:g}",
            )
        values = known.values if known is not None else ()
        near = difflib.get_close_matches(problem.given.lower(), values, 1)
        if near:
            return _(
                "`{event}` said {field} `{given}`, which no KPI knows; did you mean `{near}`?",
                event=problem.event,
                field=part,
                given=problem.given,
                near=near[0],
            )
        return _(
            "`{event}` said {field} `{given}`, which no KPI knows; known: {values}",
            event=problem.event,
            field=part,
            given=problem.given,
            values=", ".join(values),
        )


def top_keys(body: bytes, *, ndjson: bool) -> Mapping[int, Collection[str]]:
    """Return what the events of a good body have at their top; of one that is large, nothing."""
    try:
        found = _line.decode_lines(body) if ndjson else _array.decode(body)
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return {}
    return dict(enumerate(found))


def keys_of(raw: Sequence[Any]) -> Mapping[int, Collection[str]]:
    """Return what decoded events have at their top."""
    first = enumerate(raw[:LOOKED_AT])
    return {i: tuple(map(str, cast("dict[Any, Any]", r))) for i, r in first if isinstance(r, dict)}


@lru_cache(maxsize=512)
def near_name(name: str, known: tuple[str, ...]) -> str:
    """Return the event that a name nobody reads was meant to be; empty where none is alike."""
    if name in known:
        return ""
    snake = "".join(f"_{c.lower()}" if c.isupper() else c for c in name[:_SHOWN]).strip("_")
    found = difflib.get_close_matches(snake.replace("-", "_"), known, 1, _ALIKE)
    return found[0] if found else ""


_array = msgspec.json.Decoder(list[dict[str, msgspec.Raw]])
_line = msgspec.json.Decoder(dict[str, msgspec.Raw])


def _checks_of(event: EventPlan) -> _Checks:
    fields = event.fields
    return _Checks(
        values=tuple((f.name, frozenset(f.values)) for f in fields if f.values),
        ranges=tuple(
            (f.name, f.range[0] * MICRO, f.range[1] * MICRO) for f in fields if f.range is not None
        ),
        needed=tuple(f.name for f in fields if f.needed),
        secret=event.secret,
    )


def _fields(event: Event, checks: _Checks) -> list[Problem]:
    fields = event.fields
    found = [
        Problem("missing_field", event.name, f"fields.{name}")
        for name in checks.needed
        if name not in fields
    ]
    for name, values in checks.values:
        given = fields.get(name)
        if isinstance(given, str) and given not in values:
            found.append(Problem("unknown_value", event.name, f"fields.{name}", given[:_SHOWN]))
    for name, low, high in checks.ranges:
        given = fields.get(name)
        if isinstance(given, int) and not low <= given <= high:
            shown = f"{given / MICRO:g}"
            found.append(Problem("out_of_range", event.name, f"fields.{name}", shown))
    return found


def _of_units(problem: Problem, units: frozenset[str]) -> str:
    if problem.code == "no_units":
        return _(
            "`{event}` names no unit, so it counts for no experiment; send one, for instance "
            "{example}",
            event=problem.event,
            example=f'"units": {{"{min(units, default="order_id")}": "A-20391"}}',
        )
    return _(
        "`{event}` names {given}, and experiments here count {units}: it counts for none of "
        "them; send the id under that name",
        event=problem.event,
        given=problem.given,
        units=", ".join(sorted(units)) or "order_id",
    )


def _of_key(problem: Problem) -> str:
    squeezed = problem.field.replace("-", "").replace("_", "").lower()
    near = next((key for key in KEYS if key.replace("_", "") == squeezed), "")
    near = near or next(iter(difflib.get_close_matches(problem.field, KEYS, 1)), "")
    if near:
        return _(
            "`{key}` beside the parts of an event means nothing and is not kept; did you "
            "mean `{near}`?",
            key=problem.field,
            near=near,
        )
    return _(
        "`{key}` beside the parts of an event means nothing and is not kept; put it under `fields`",
        key=problem.field,
    )
