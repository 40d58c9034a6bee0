"""What is forgotten: events too old to be taken, and a unit in what was refused. Pure."""

import json
from collections.abc import Sequence
from typing import Any, cast

from metrics.events import Event, Rejection, as_json, from_micros

_LONGEST_ID = 1024

NEVER = -(2**62)
"""The horizon of a store that has forgotten nothing."""


def too_old(events: Sequence[Event], times: Sequence[int], horizon: int) -> dict[int, Rejection]:
    """Return by position the events from before the horizon.

    What was removed may have been one of them: counted again it would be counted twice.
    """
    if not times or min(times) >= horizon:
        return {}
    return {
        index: _refused(index, event, horizon)
        for index, (event, at) in enumerate(zip(events, times, strict=True))
        if at < horizon
    }


def _refused(index: int, event: Event, horizon: int) -> Rejection:
    return Rejection(
        index=index,
        id=event.id,
        field="happened_at",
        reason=(
            f"happened_at: {event.happened_at.isoformat()} is before "
            f"{from_micros(horizon).isoformat()}; events from then are no longer kept, so it "
            "cannot be told whether this one was counted already"
        ),
        code="too_late",
        event=as_json(event),
        trusted=event.trusted,
    )


def speaks_of(kept: str, unit: str) -> bool:
    """Return whether the text kept of a refused event names a unit.

    A text that can no longer be read as JSON (it was malformed, or cut) names it when the unit
    stands in it between quotes: better one text too many than a unit that stays.
    """
    try:
        raw: Any = json.loads(kept)
    except (ValueError, RecursionError):
        plain = json.dumps(unit, ensure_ascii=False)
        return json.dumps(unit) in kept or plain in kept
    if not isinstance(raw, dict):
        return str(raw) == unit
    event = cast("dict[str, Any]", raw)
    units = event.get("units")
    named: list[Any] = [event.get("unit")]
    named += list(cast("dict[str, Any]", units).values()) if isinstance(units, dict) else [units]
    return any(each == unit or (each is not None and str(each) == unit) for each in named)


def nobody(number: int) -> str:
    """Return a name that no unit and no case has: it is longer than any may be."""
    return f"forgotten{number:_>{_LONGEST_ID}}"
