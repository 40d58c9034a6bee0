"""From raw events to kept ones: read, screened, made durable. Every way in comes through here.

The HTTP route, the bulk loader and re-submission from quarantine differ only in where the raw
events come from and in who vouches for them.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, field, replace
from datetime import datetime
from typing import Any

from metrics.counting import MOST_AWAITED, REUSED, EventCounts
from metrics.events import (
    DERIVED,
    EXPOSURE,
    Event,
    EventLimits,
    MalformedLine,
    Rejection,
    altered,
    as_json,
    borrowed,
    decode_events,
    decode_line,
    excerpt,
    parse_event,
    read_events,
)
from metrics.ingest import Ingest
from metrics.soundness import LOOKED_AT, Counted, Doubt, Rules, keys_of, top_keys
from metrics.store import Appended, MetricStore
from metrics.wording import gettext as _

CUT = "cut"
"""Code of a kept event whose text is not all that was sent: it cannot be sent again from here."""

NO_EVENTS = Appended(0, 0, (), 0)

Screen = Callable[[Event], Event | Rejection]
"""Checks what only an experiment can know of an exposure, for instance whether it fits the hash."""


class TooManyEventsError(ValueError):
    """A request brings more events than one may; nothing of it was kept."""

    def __init__(self, count: int, most: int) -> None:
        super().__init__(f"{count} events in one request; at most {most} are taken")


@dataclass(frozen=True, slots=True)
class Sorted:
    """Raw events, sorted out; positions are those of the raw events.

    Attributes:
        events: Good ones with their positions.
        rejected: Why the others are none.
        doubts: What of the good ones will feed nothing, or is not as documented.
    """

    events: tuple[tuple[int, Event], ...]
    rejected: tuple[Rejection, ...]
    doubts: tuple[Doubt, ...] = ()

    def settled(self, done: Appended) -> tuple[Rejection, ...]:
        """Return every rejection after the good events were appended, by position."""
        late = (replace(each, index=self.events[each.index][0]) for each in done.rejected)
        return tuple(sorted((*self.rejected, *late), key=lambda each: each.index))


@dataclass(frozen=True, slots=True)
class Warned:
    """What of an accepted event will feed nothing, as its sender is told."""

    index: int
    id: str
    field: str
    code: str
    words: str


@dataclass(frozen=True, slots=True)
class Resubmitted:
    """What became of kept events that were sent again.

    Attributes:
        accepted: Now durable and counted; they left the quarantine.
        duplicates: Were there already; they left the quarantine too.
        rejected: Still refused, with the reason of today; they stay.
        missing: Numbers that are not in quarantine (any more).
    """

    accepted: int
    duplicates: int
    rejected: tuple[Rejection, ...]
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Dismissed:
    """What became of refused events that nobody will send: how many went, and which were none."""

    dismissed: int
    missing: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class Intake:
    """What every way in works with.

    Attributes:
        ingest: Writes events durably.
        store: Keeps what is refused.
        now: The clock.
        limits: What an event may look like.
        screen: Checks exposures against experiments; other events are not shown to it.
        counts: What became of events, for Prometheus.
        rules: What the tracking plan documents of events.
        counted: Returns what experiments count.
    """

    ingest: Ingest
    store: MetricStore
    now: Callable[[], datetime]
    limits: EventLimits
    screen: Screen
    counts: EventCounts = field(default_factory=EventCounts)
    rules: Rules = field(default_factory=Rules)
    counted: Callable[[], Counted] = Counted

    def read(self, body: bytes, *, ndjson: bool, trusted: bool, most: int) -> Sorted:
        """Read and screen the events of a request body; nothing is kept yet.

        A body in which every event is good takes one pass; any other is looked at one by one.

        Args:
            body: The body, already decompressed.
            ndjson: One JSON object per line instead of one array.
            trusted: Whether whoever sends it holds a secret key.
            most: Most events it may have.

        Raises:
            MalformedBodyError: It is no JSON array of events.
            TooManyEventsError: It has more events.
        """
        limits = self.limits
        good = read_events(body, ndjson=ndjson, now=self.now(), limits=limits, trusted=trusted)
        if good is None:
            raw = decode_events(body, ndjson=ndjson)
            _require_few(len(raw), most)
            return self.sort(raw, trusted=trusted)
        _require_few(len(good), most)
        events: list[tuple[int, Event]] = []
        rejected: list[Rejection] = []
        for index, event in enumerate(good):
            read = self._screened(event)
            if isinstance(read, Event):
                events.append((index, read))
            else:
                sent = as_json(event, limits.schema)
                rejected.append(replace(read, index=index, event=sent, trusted=trusted))
        few = len(good) <= LOOKED_AT and self.rules.plan
        doubts = self._doubts(events, top_keys(body, ndjson=ndjson) if few else {})
        return Sorted(tuple(events), tuple(rejected), doubts)

    def _doubts(
        self, events: Sequence[tuple[int, Event]], keys: Mapping[int, Collection[str]]
    ) -> tuple[Doubt, ...]:
        return self.rules.doubts(events, self.counted(), keys)

    def warned(self, doubts: Sequence[Doubt]) -> list[Warned]:
        """Return doubts in words, for whoever sent the events."""
        counted = self.counted()
        return [
            Warned(d.index, d.id, d.problem.field, d.problem.code, words)
            for d in doubts
            if (words := self.rules.words(d.problem, counted))
        ]

    def doubted(self) -> list[tuple[str, int]]:
        """Return in words what accepted events feed nothing since the start, the most first."""
        counted, found = self.counted(), self.counts.problems.copy()
        ordered = sorted(found.items(), key=lambda pair: -pair[1].count)
        told = ((self.rules.words(problem, counted), each.count) for problem, each in ordered)
        return [(words, count) for words, count in told if words]

    def sort(self, raw: Sequence[Any], *, trusted: bool) -> Sorted:
        """Read and screen raw events; nothing is kept yet.

        Args:
            raw: Decoded from JSON, see `metrics.events.decode_events`.
            trusted: Whether whoever sends them holds a secret key.
        """
        now = self.now()
        events: list[tuple[int, Event]] = []
        rejected: list[Rejection] = []
        for index, item in enumerate(raw):
            read = parse_event(item, index=index, now=now, limits=self.limits, trusted=trusted)
            if isinstance(read, Event):
                read = self._screened(read)
                if isinstance(read, Rejection):
                    read = replace(read, index=index, event=excerpt(item), trusted=trusted)
            if isinstance(read, Event):
                events.append((index, read))
            else:
                rejected.append(read)
        return Sorted(tuple(events), tuple(rejected), self._doubts(events, keys_of(raw)))

    def _screened(self, event: Event) -> Event | Rejection:
        if event.id.startswith(DERIVED) and (reason := borrowed(event)):
            return Rejection(0, event.id, "id", reason, "reserved_id", "")
        return self.screen(event) if event.name == EXPOSURE else event

    def submit(self, events: Sequence[Event]) -> "Future[Appended]":
        """Queue events to be written; the future is done when they are durable.

        Raises:
            QueueFullError: The queue is full; nothing was queued.
            StoreError: The ingest is closed.
        """
        if events:
            return self.ingest.submit(events)
        nothing: Future[Appended] = Future()
        nothing.set_result(NO_EVENTS)
        return nothing

    def take(self, raw: Sequence[Any], *, trusted: bool) -> tuple[Appended, tuple[Rejection, ...]]:
        """Read, screen and keep raw events; returns when all of them are durable.

        Returns:
            What was appended, and every rejection; those are in quarantine.

        Raises:
            QueueFullError: The queue is full; nothing was kept.
            StoreError: What was not kept may be sent again without being counted twice.
        """
        found = self.sort(raw, trusted=trusted)
        done = self.submit([event for _, event in found.events]).result()
        return done, self.note(found, done)

    def note(self, found: Sorted, done: Appended) -> tuple[Rejection, ...]:
        """Keep what was refused before the append, count everything, return all rejections.

        Raises:
            StoreError: They could not be kept.
        """
        self._mend(found, done)
        if found.rejected:
            self.store.quarantine(found.rejected, received_at=self.now())
        everything = found.settled(done)
        now = self.now()
        self.counts.accepted += done.accepted
        self.counts.duplicate += done.duplicates
        self.counts.quarantined += len(everything)
        late = {each.index for each in done.rejected}
        self.counts.came([e for n, (_, e) in enumerate(found.events) if n not in late], now)
        if everything:
            self.counts.turned_away(everything, now)
            self.counts.wait_for(everything)
        if found.doubts:
            self.counts.doubted(found.doubts, now)
        return everything

    def mends(self, found: Sorted) -> bool:
        """Return whether a good event may be one that was refused before."""
        awaits, awaited = self.counts.awaits, self.counts.awaited
        return awaited != {} and any(awaits(event.id) for _, event in found.events)

    def _mend(self, found: Sorted, done: Appended) -> None:
        """Let go what was refused and has now come as a good event with the same id.

        An event with a client key ends no refusal of one with a secret key.
        """
        if self.counts.awaited is None:
            self.counts.wait_for(reversed(self.store.quarantined(limit=MOST_AWAITED)))
        if not done.accepted or not self.mends(found):
            return
        out = {*done.repeated, *(each.index for each in done.rejected)}
        kept = [event for n, (_, event) in enumerate(found.events) if n not in out]
        good = {event.id: event.trusted for event in kept if self.counts.awaits(event.id)}
        self.store.release(
            [
                each.number
                for each in self.store.held(ids=list(good))
                if each.id is not None and each.code != REUSED and good[each.id] >= each.trusted
            ]
        )

    def dismiss(self, numbers: Sequence[int]) -> Dismissed:
        """Remove refused events for good: nobody will send them.

        Raises:
            StoreError: None was removed.
        """
        held = {each.number for each in self.store.held(numbers)}
        gone = self.store.release(sorted(held))
        return Dismissed(gone, tuple(n for n in dict.fromkeys(numbers) if n not in held))

    def resubmit(self, numbers: Sequence[int]) -> Resubmitted:
        """Send kept events again, under the limits and experiments of today.

        They leave the quarantine only after they are durable, so a crash in between leaves
        them there, and sending them once more finds duplicates.

        Raises:
            QueueFullError: The queue is full; nothing was changed.
            StoreError: What was not kept may be sent again.
        """
        kept = {each.number: each for each in self.store.held(numbers)}
        rejected: list[Rejection] = []
        good: list[tuple[int, Event]] = []
        for number in dict.fromkeys(numbers):
            if number in kept:
                read = self._again(kept[number])
                if isinstance(read, Event):
                    good.append((number, read))
                else:
                    rejected.append(read)
        done = self.submit([event for _, event in good]).result()
        # what the append itself refused is in quarantine anew, with the reason of today
        self.store.release([number for number, _ in good])
        rejected += [replace(r, number=good[r.index][0]) for r in done.rejected]
        self.counts.accepted += done.accepted
        self.counts.duplicate += done.duplicates
        self.counts.came([event for _, event in good], self.now())
        return Resubmitted(
            accepted=done.accepted,
            duplicates=done.duplicates,
            rejected=tuple(sorted(rejected, key=lambda each: each.number)),
            missing=tuple(number for number in dict.fromkeys(numbers) if number not in kept),
        )

    def _again(self, kept: Rejection) -> Event | Rejection:
        raw = decode_line(kept.event.encode())
        malformed = kept.code == "malformed"
        if altered(kept.event) if malformed else isinstance(raw, MalformedLine):
            reason = _(
                "only the beginning of this event was kept; send it again from where it came from"
            )
            if malformed:
                reason = _(
                    "what is kept of this line is not all that was sent (it is cut, or was no "
                    "UTF-8); send it again from where it came from"
                )
            return replace(kept, field="", code=CUT, reason=reason)
        found = self.sort([raw], trusted=kept.trusted)
        if found.events:
            return found.events[0][1]
        return replace(found.rejected[0], index=kept.index, event=kept.event, number=kept.number)


def _require_few(count: int, most: int) -> None:
    if count > most:
        raise TooManyEventsError(count, most)
