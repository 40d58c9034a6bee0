"""What came in since the service was started: by name, by experiment, and what was amiss."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

import msgspec

from metrics.events import EXPOSURE, Event, Rejection
from metrics.soundness import Doubt, Problem

MOST_NAMES = 500
"""Names of events that are counted apart."""

MOST_PROBLEMS = 200
"""Problems that are counted apart."""


MOST_AWAITED = 10_000
"""Ids of refused events that are remembered."""

REUSED = "id_reused"
"""Code of events that can never count under their id: another event has it."""


@dataclass(frozen=True, slots=True)
class Received:
    """How many events of one name came, repeats included.

    Attributes:
        server: Good ones with a secret key: they feed every KPI.
        client: Good ones with a client key, which anybody holds: they feed KPIs with
            ``trust: any`` alone.
        refused: Those that are none; they are in quarantine.
        last_at: When the newest came, ``None`` unknown.
    """

    server: int = 0
    client: int = 0
    refused: int = 0
    last_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Arrived:
    """How often something came, and when it came last."""

    count: int
    last_at: datetime


@dataclass(slots=True)
class EventCounts:
    """What became of events sent so far, for Prometheus and for people.

    ``refused`` counts requests, not events: nothing of them was read or kept. ``by_name`` counts
    the first `MOST_NAMES` names: whoever invents names fills no memory. ``exposed`` are the
    exposures that were sent, by experiment; ``problems`` the first `MOST_PROBLEMS` kinds of doubt.
    ``awaited`` are ids in quarantine, the newest `MOST_AWAITED`, that may yet come as good events;
    ``None`` before the store was asked.
    """

    accepted: int = 0
    duplicate: int = 0
    quarantined: int = 0
    refused: int = 0
    by_name: dict[str, Received] = field(default_factory=dict[str, Received])
    exposed: dict[str, Arrived] = field(default_factory=dict[str, Arrived])
    problems: dict[Problem, Arrived] = field(default_factory=dict[Problem, Arrived])
    awaited: dict[str, None] | None = None

    def came(self, events: Sequence[Event], at: datetime | None = None) -> None:
        """Count good events by name and by who vouches for them, and exposures by experiment."""
        exposures = False
        for (name, trusted), count in Counter((e.name, e.trusted) for e in events).items():
            exposures = exposures or name == EXPOSURE
            before = self._known(name)
            if before is None:
                continue
            self.by_name[name] = (
                replace(before, server=before.server + count, last_at=at)
                if trusted
                else replace(before, client=before.client + count, last_at=at)
            )
        if exposures and at is not None:
            said = (str(e.fields.get("experiment")) for e in events if e.name == EXPOSURE)
            for experiment, count in Counter(said).items():
                self.exposed[experiment] = _more(self.exposed.get(experiment), count, at)

    def turned_away(self, rejected: Iterable[Rejection], at: datetime) -> None:
        """Count refused events by the name they say; those without one under an empty name."""
        for name, count in Counter(_name_of(each.event) for each in rejected).items():
            before = self._known(name)
            if before is not None:
                self.by_name[name] = replace(before, refused=before.refused + count, last_at=at)

    def doubted(self, doubts: Iterable[Doubt], at: datetime) -> None:
        """Count what will feed nothing, or is not as documented."""
        for problem, count in Counter(each.problem for each in doubts).items():
            if problem in self.problems or len(self.problems) < MOST_PROBLEMS:
                self.problems[problem] = _more(self.problems.get(problem), count, at)

    def awaits(self, event_id: str) -> bool:
        """Return whether an event of this id was refused, or nobody knows yet."""
        return self.awaited is None or event_id in self.awaited

    def wait_for(self, rejected: Iterable[Rejection]) -> None:
        """Remember the ids of refused events, the oldest first."""
        ids = {} if self.awaited is None else self.awaited
        for each in rejected:
            if each.id is not None and each.code != REUSED:
                ids.pop(each.id, None)
                ids[each.id] = None
        while len(ids) > MOST_AWAITED:
            del ids[next(iter(ids))]
        self.awaited = ids

    def _known(self, name: str) -> Received | None:
        """Return what came of a name; ``None`` where no more names are counted."""
        if name not in self.by_name and len(self.by_name) >= MOST_NAMES:
            return None
        return self.by_name.get(name, Received())


def together(one: Mapping[str, Arrived], other: Mapping[str, Arrived]) -> Mapping[str, Arrived]:
    """Return what came in two ways, by the same names."""
    merged = dict(one)
    for name, each in dict(other).items():
        before = merged.get(name)
        last = each.last_at if before is None else max(before.last_at, each.last_at)
        merged[name] = _more(before, each.count, last)
    return merged


def _more(before: Arrived | None, count: int, at: datetime) -> Arrived:
    return Arrived(count if before is None else before.count + count, at)


class _Named(msgspec.Struct, gc=False):
    name: Any = None


_named = msgspec.json.Decoder(_Named)


def _name_of(event: str) -> str:
    """Return the name that a refused event says; empty where it says none."""
    try:
        name = _named.decode(event).name
    except (msgspec.MsgspecError, RecursionError, ValueError):
        return ""
    return name[:256] if isinstance(name, str) else ""
