"""Exposures: recorded once per unit by evaluations, checked when clients send their own."""

import logging
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import Future
from dataclasses import dataclass, replace
from datetime import datetime
from threading import Event as Signal
from threading import Lock, Thread
from types import MappingProxyType
from typing import Any

from experiments.assignment import CompiledExperiment
from experiments.hashing import BUCKETS, HOLDOUT_SEED, bucket_of, bucket_ranges
from experiments.language.reading import near_matches
from experiments.layers import layer_seed
from experiments.segments import kept_fields, segment_fields
from metrics.counting import Arrived
from metrics.events import EXPOSURE, Event, Rejection, exposure
from metrics.segments import PREFIX
from metrics.store import Appended
from metrics.wire import FieldValue, kind_of
from metrics.wording import gettext as _

logger = logging.getLogger("turnback.exposures")

LONGEST_ID = 256
"""Events cannot name longer ids, so such a unit could never have a value."""

_NOTHING: Mapping[str, Any] = MappingProxyType({})
_DRAFT = "draft"
_OVER = frozenset({"finished", "stopped"})


class _Seen:
    """Unit ids met before, in two generations: when the newer is full the older is forgotten.

    Forgetting costs a repeated exposure event, whose derived id the store recognises.
    """

    def __init__(self, capacity: int) -> None:
        self._half = max(1, capacity // 2)
        self._newer: set[str] = set()
        self._older: set[str] = set()

    def __contains__(self, unit: str) -> bool:
        return unit in self._newer or unit in self._older

    def add(self, unit: str) -> None:
        if len(self._newer) >= self._half:
            self._older, self._newer = self._newer, set()
        self._newer.add(unit)

    def discard(self, unit: str) -> None:
        self._newer.discard(unit)
        self._older.discard(unit)


@dataclass(frozen=True, slots=True)
class _First:
    """A first exposure that waits to be written."""

    experiment: str
    seed: int
    unit_type: str
    unit: str
    variant: str
    at: datetime
    said: Mapping[str, FieldValue]


class ExposureBuffer:
    """First exposures made by evaluations, on their way to the store.

    ``record`` is called for every evaluation and costs a set look-up; a repeat ends there.
    First ones wait in a bounded buffer until the next flush, every ``interval`` seconds once
    started. What cannot be written is kept and tried again; while the buffer is full a new
    unit is not remembered, so that its next evaluation records it.

    These are no acknowledged events: a crash loses at most one interval of them, and the next
    evaluation of such a unit records it then.

    Args:
        submit: Hands events to the ingest; the future is done when they are durable.
        now: The clock.
        capacity: First exposures that may wait.
        remembered: Units remembered per experiment and seed.
        interval: Seconds between two flushes.
        timeout: Seconds to wait for one write.
        stored_as: What stands for a unit in the store, and so in memory; itself by default.

    Attributes:
        latest: First exposures by experiment since the start, and when the newest was made.
    """

    def __init__(
        self,
        submit: Callable[[Sequence[Event]], "Future[Appended]"],
        *,
        now: Callable[[], datetime],
        capacity: int = 100_000,
        remembered: int = 4_000_000,
        interval: float = 0.2,
        timeout: float = 30.0,
        stored_as: Callable[[str], str] | None = None,
    ) -> None:
        self._submit = submit
        self._now = now
        self._capacity = capacity
        self._remembered = remembered
        self._interval = interval
        self._timeout = timeout
        self._stored_as = stored_as
        self._seen: dict[tuple[str, int], _Seen] = {}
        self._waiting: deque[_First] = deque()
        self._failed: list[Event] = []
        self._writing = Lock()
        self._stop = Signal()
        self._thread: Thread | None = None
        self.latest: dict[str, Arrived] = {}
        self.recorded = 0
        self.dropped = 0
        self.failures = 0

    @property
    def waiting(self) -> int:
        """First exposures not yet written."""
        return len(self._waiting) + len(self._failed)

    def fill(self, experiment: str, seed: int, units: Iterable[str]) -> None:
        """Remember units as the store knows them already, so they are not recorded again."""
        seen = self._seen_of(experiment, seed)
        for unit in units:
            seen.add(unit)

    def record(
        self,
        experiment: str,
        seed: int,
        unit_type: str,
        unit: str,
        variant: str,
        *,
        segments: Sequence[str] = (),
        context: Mapping[str, Any] = _NOTHING,
    ) -> bool:
        """Note that a unit met a variant; return whether this was its first time.

        Never blocks. Call it from one thread (the event loop).

        Args:
            experiment: Its key.
            seed: Its seed.
            unit_type: What is counted.
            unit: Its id.
            variant: What it met.
            segments: Attributes that the file declares; of the first time they are kept.
            context: Attributes of the evaluation.
        """
        seen = self._seen.get((experiment, seed)) or self._seen_of(experiment, seed)
        name = unit if self._stored_as is None else self._stored_as(unit)
        if name in seen:
            return False
        if self.waiting >= self._capacity or len(unit) > LONGEST_ID:
            self.dropped += 1
            return False
        seen.add(name)
        said = segment_fields(segments, context) if segments else _NOTHING
        now, before = self._now(), self.latest.get(experiment)
        first = _First(experiment, seed, unit_type, unit, variant, now, said)
        self._waiting.append(first)
        self.latest[experiment] = Arrived(1 if before is None else before.count + 1, now)
        return True

    def flush(self) -> bool:
        """Write what waits and return when it is durable; ``False`` when it could not be.

        What could not be written is kept, in order, for the next flush.
        """
        with self._writing:
            batch = self._failed
            while self._waiting:
                first = self._waiting.popleft()
                batch.append(
                    exposure(
                        first.experiment,
                        first.seed,
                        first.unit_type,
                        first.unit,
                        first.variant,
                        first.at,
                        said=first.said,
                    )
                )
            if not batch:
                return True
            try:
                done = self._submit(batch).result(timeout=self._timeout)
            except Exception as error:  # noqa: BLE001 - whatever it was, the exposures are kept and the failure counted
                self._failed = batch
                self.failures += 1
                logger.warning("%d exposures wait: %s", len(batch), error)
                return False
            self._failed = []
            self.recorded += done.accepted
            return True

    def start(self) -> None:
        """Flush in the background from now on."""
        if self._thread is None:
            self._thread = Thread(target=self._run, name="turnback-exposures", daemon=True)
            self._thread.start()

    def close(self) -> None:
        """Stop the background flush and write what waits; idempotent."""
        self._stop.set()
        if self._thread is not None:
            self._thread.join(timeout=self._timeout + self._interval)
            self._thread = None
        self.flush()

    def _run(self) -> None:
        while not self._stop.wait(self._interval):
            self.flush()

    def _seen_of(self, experiment: str, seed: int) -> _Seen:
        return self._seen.setdefault((experiment, seed), _Seen(self._remembered))


def screen_exposure(
    event: Event, experiments: Mapping[str, CompiledExperiment]
) -> Event | Rejection:
    """Check an exposure that a client sent against what the hash assigns.

    Other events come back as they are. A missing ``seed`` is filled with the current one; an
    exposure under an earlier seed is kept as it is, since its experiment has been started
    over meanwhile. Nobody can have been exposed under a seed that has not begun. What it says of
    its unit (``segment.NAME``) is kept of attributes that the file declares, and of no other.

    Returns:
        The event to append, or a rejection with code ``unknown_experiment``, ``unknown_seed``,
        ``unknown_variant``, ``not_started``, ``unit_missing``, ``override`` or
        ``variant_mismatch`` (its ``index`` and ``event`` are the caller's).
    """
    if event.name != EXPOSURE:
        return event
    key = str(event.fields.get("experiment"))
    compiled = experiments.get(key)
    if compiled is None:
        said = _unknown(key if "experiment" in event.fields else None, experiments)
        return _refused(event, "fields.experiment", "unknown_experiment", said)
    if any(name.startswith(PREFIX) for name in event.fields):
        event = replace(event, fields=kept_fields(compiled.spec.segments, event.fields))
    current = compiled.spec.seed
    seed = event.fields.get("seed", current)
    if isinstance(seed, bool) or not isinstance(seed, int) or seed > current:
        return _refused(
            event,
            "fields.seed",
            "unknown_seed",
            _(
                "no seed {given} of '{key}' has begun; its current seed is {seed}, which is meant "
                "where an exposure names none",
                given=_said(seed),
                key=key,
                seed=current,
            ),
        )
    if seed < current:
        return _under_an_earlier_seed(event, compiled)
    if "seed" not in event.fields:
        event = replace(event, fields={**event.fields, "seed": current})
    return _as_the_hash_says(event, compiled)


def _unknown(key: str | None, experiments: Mapping[str, CompiledExperiment]) -> str:
    """Return that no such experiment is served, or that an exposure names none."""
    known = ", ".join(sorted(experiments)) or _("none")
    if key is None:
        return _("`experiment` is missing under `fields`; served now: {known}", known=known)
    if near := near_matches(key, sorted(experiments)):
        return _(
            "no experiment '{key}' is served; did you mean '{near}'?",
            key=key,
            near=near[0],
        )
    return _("no experiment '{key}' is served; served now: {known}", key=key, known=known)


def _under_an_earlier_seed(event: Event, compiled: CompiledExperiment) -> Event | Rejection:
    """Return the exposure as it is: its weights are not known here, only the variants."""
    variant = event.fields.get("variant")
    names = [arm.name for arm in compiled.spec.variants]
    if variant in names:
        return event
    return _refused(
        event,
        "fields.variant",
        "unknown_variant",
        _(
            "'{key}' has no such variant, the exposure says {given}; it has {names}",
            key=compiled.key,
            given=_said(variant),
            names=", ".join(names),
        ),
    )


def _as_the_hash_says(event: Event, compiled: CompiledExperiment) -> Event | Rejection:
    key = compiled.key
    if compiled.serving.state == _DRAFT:
        return _refused(
            event,
            "fields.experiment",
            "not_started",
            _("'{key}' has not started: nobody can have met a variant, overrides aside", key=key),
        )
    unit = event.units.get(compiled.spec.unit)
    if unit is None:
        return _refused(
            event,
            f"units.{compiled.spec.unit}",
            "unit_missing",
            _(
                "an exposure of '{key}' needs the id of its unit type '{unit}'",
                key=key,
                unit=compiled.spec.unit,
            ),
        )
    if unit in compiled.spec.force:
        return _refused(
            event,
            f"units.{compiled.spec.unit}",
            "override",
            _(
                "the file of '{key}' overrides what this unit gets, so it counts for no arm",
                key=key,
            ),
        )
    assigned = assigned_variant(compiled, unit)
    if event.fields.get("variant") != assigned:
        return _mismatch(event, compiled, assigned)
    return event


def _mismatch(event: Event, compiled: CompiledExperiment, assigned: str | None) -> Rejection:
    variant, names = event.fields.get("variant"), [arm.name for arm in compiled.spec.variants]
    none = _("none: it takes no part")
    said = _(
        "the exposure says {said}, the hash gives this unit {given}",
        said=_said(variant),
        given=none if assigned is None else f"'{assigned}'",
    )
    if variant not in names:
        said = _("{what}; the variants are {names}", what=said, names=", ".join(names))
    return _refused(event, "fields.variant", "variant_mismatch", said)


def assigned_variant(compiled: CompiledExperiment, unit: str) -> str | None:
    """Return the arm the hash gives a unit at the present traffic, ``None`` outside of it.

    Whatever the state, since exposures arrive late, and whatever the audience, since an
    exposure does not carry the unit's attributes. A unit with an override, in the global
    holdout or outside of the experiment's part of its layer is in no arm.
    """
    spec, serving = compiled.spec, compiled.serving
    if unit in spec.force or bucket_of(HOLDOUT_SEED, unit) / BUCKETS < serving.holdout:
        return None
    # an experiment that is over owns nothing any more, and its last exposures may yet arrive
    released = serving.state in _OVER and not serving.layer
    if spec.layer is not None and not released:
        place = bucket_of(layer_seed(spec.layer.name), unit)
        if not any(start <= place < stop for start, stop in serving.layer):
            return None
    share = bucket_of(spec.hash_seed, unit) / BUCKETS
    ranges = bucket_ranges([v.weight for v in spec.variants], serving.traffic or 1.0)
    for variant, (start, end) in zip(spec.variants, ranges, strict=True):
        if start <= share < end:
            return variant.name
    return None


def _said(value: FieldValue | None) -> str:
    """Return a field of an exposure as it was said, in words of JSON where it is no text."""
    if value is None:
        return "nothing"
    if isinstance(value, str):
        return f"'{value}'"
    return f"{value}" if not isinstance(value, bool) else kind_of(value)


def _refused(event: Event, field: str, code: str, reason: str) -> Rejection:
    return Rejection(index=0, id=event.id, field=field, reason=reason, code=code, event="")
