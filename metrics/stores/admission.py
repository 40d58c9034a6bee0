"""Which events of a batch are new: the rule every engine follows. Pure."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from types import MappingProxyType

from metrics.events import DERIVED, EXPOSURE, Event, Rejection, as_json, from_micros

REUSE = 86_400_000_000
"""The same id with another time is refused within this many microseconds (24 h)."""


_UNTRUSTED = "\udc00"  # half a surrogate pair: no id holds one


def key_of(event_id: str, trusted: bool) -> str:  # noqa: FBT001 - a hot path
    """Return what an id is known by: ids of untrusted events are apart from trusted ones."""
    return event_id if trusted else _UNTRUSTED + event_id


def ids_of(keys: Iterable[str]) -> list[str]:
    """Return the ids that keys stand for."""
    return [key.removeprefix(_UNTRUSTED) for key in keys]


def keys_against(event: Event) -> tuple[str, ...]:
    """Return the keys of what keeps an event out.

    What an untrusted sender sent, or guessed, never keeps a trusted event out. Derived exposures
    are the same whoever sends them.
    """
    if event.trusted and not _derived(event):
        return (event.id,)
    return event.id, _UNTRUSTED + event.id


@dataclass(frozen=True, slots=True)
class Admission:
    """A batch, sorted out.

    Attributes:
        accepted: New events with their times in microseconds, in order.
        repeated: Positions of events that were there already.
        rejected: Events whose id belongs to another event.
    """

    accepted: tuple[tuple[Event, int], ...]
    repeated: tuple[int, ...]
    rejected: tuple[Rejection, ...]

    def telling(self, sent: Sequence[Event]) -> "Admission":
        """Return the same, with what is rejected as it was sent: it may be sent again."""
        if not self.rejected:
            return self
        told = (
            replace(each, id=sent[each.index].id, event=as_json(sent[each.index]))
            for each in self.rejected
        )
        return replace(self, rejected=tuple(told))


def admit(
    events: Sequence[Event],
    at_times: Sequence[int],
    known: Mapping[str, Iterable[int]],
    *,
    refused: Mapping[int, Rejection] = MappingProxyType({}),
) -> Admission:
    """Sort a batch out against what is stored, and against itself.

    Args:
        events: The batch in the order received.
        at_times: Their ``happened_at`` in microseconds.
        known: Times (microseconds) of stored events by key (see `key_of`), at least for
            `keys_against` the batch and the 24 h around its times.
        refused: Positions of events that may not be kept, and why.
    """
    if not known and not refused and len({event.id for event in events}) == len(events):
        return Admission(tuple(zip(events, at_times, strict=True)), (), ())  # all of them new
    accepted: list[tuple[Event, int]] = []
    rejected: list[Rejection] = []
    repeated: list[int] = []
    times: dict[str, list[int]] = {}
    for index, (event, at) in enumerate(zip(events, at_times, strict=True)):
        if refused and index in refused:
            rejected.append(refused[index])
            continue
        for key in (keys := keys_against(event)):
            if key not in times:
                times[key] = list(known.get(key, ()))
        seen = [other for key in keys for other in times[key]]
        if at in seen:
            repeated.append(index)
            continue
        near = [other for other in seen if abs(other - at) <= REUSE]
        if near and not _moves_exposure_earlier(event, at, near):
            if _derived(event):
                repeated.append(index)
            else:
                rejected.append(_reused(index, event, near[0]))
            continue
        own = key_of(event.id, event.trusted)
        times[own].append(at)
        accepted.append((event, at))
    return Admission(tuple(accepted), tuple(repeated), tuple(rejected))


def _derived(event: Event) -> bool:
    return event.name == EXPOSURE and event.id.startswith(DERIVED)


def _moves_exposure_earlier(event: Event, at: int, near: Sequence[int]) -> bool:
    # a derived exposure recorded twice is one exposure: the earlier instant is the first one
    return _derived(event) and at < min(near)


def _reused(index: int, event: Event, other: int) -> Rejection:
    return Rejection(
        index=index,
        id=event.id,
        field="id",
        reason=(
            f"id {event.id!r} was already used for an event at {from_micros(other).isoformat()}; "
            "give every event its own id, and send a retry unchanged"
        ),
        code="id_reused",
        event=as_json(event),
        trusted=event.trusted,
    )
