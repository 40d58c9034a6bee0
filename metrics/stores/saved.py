"""Running totals in files beside the store, so that a start reads only what is new.

Two kinds. The *latest* totals of a frame are a copy: lost, damaged or strange, they are counted
from the log again. What was *carried over* when older events left the log is the only copy of
what they said: it is written before they leave, and the log names it in the same transaction.
"""

import hashlib
import logging
import secrets
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec

from metrics.store import EventsGoneError, Frame, StoreError
from metrics.stores.columns import IdsOf
from metrics.stores.frames import FrameState, identity
from metrics.stores.log import EventLog
from metrics.stores.plan import plan_of
from metrics.stores.record import Record
from metrics.stores.totals_file import FORMAT, DamagedError, read, write

logger = logging.getLogger("turnback.store")

_LATEST = ".latest"
_CARRIED = ".carried"
_encode_frame = msgspec.json.Encoder().encode
_decode_frame = msgspec.json.Decoder(Frame).decode


class CarriedError(EventsGoneError):
    """What was carried over for a frame is there no more, or is damaged."""


class Ids:
    """Event ids by sequence number: in the log, or kept where the events have left it."""

    def __init__(self, look_up: IdsOf) -> None:
        self._look_up = look_up
        self.kept: dict[int, str] = {}

    def __call__(self, seqs: Sequence[int]) -> Mapping[int, str]:
        """Return event ids by sequence number."""
        found = {seq: self.kept[seq] for seq in seqs if seq in self.kept}
        others = [seq for seq in seqs if seq not in found]
        return {**found, **self._look_up(others)} if others else found


@dataclass(frozen=True, slots=True)
class Head:
    """What a file says of itself."""

    frame: Frame
    plan: str
    opening: str
    processed: int


def key_of(frame: Frame) -> str:
    """Return the name of a frame's files."""
    return hashlib.blake2b(repr(identity(frame)).encode(), digest_size=16).hexdigest()


def plan_digest(frame: Frame) -> str:
    """Return what must be the same for columns to mean the same."""
    plan = plan_of(frame)
    names = [
        (name, each.code, sorted(each.numbers.items()), sorted(each.cases.items()))
        for name, each in plan.names.items()
    ]
    bits = [[repr(each) for each in name.selectors] for name in plan.names.values()]
    kpis = [(each.index, each.kpi, each.window) for each in plan.kpis]
    text = repr((names, bits, kpis, plan.case_fields, plan.number_columns, plan.selections))
    return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()


class SavedTotals:
    """The files of one store, in a folder beside it."""

    def __init__(self, path: Path, log: EventLog, record: Record) -> None:
        self._folder = path.with_name(f"{path.name}.totals")
        self._log = log
        self._record = record

    def latest(self, frame: Frame, upto: int) -> FrameState | None:
        """Return a frame's saved totals if they can go on from at most ``upto``."""
        path = self._folder / f"{key_of(frame)}{_LATEST}"
        if not path.is_file():
            return None
        try:
            state = self.open(path)
            usable = state.processed <= upto and state.accepts(frame)
        except (DamagedError, OSError) as error:
            logger.warning("%s: not used, its events are counted again: %s", path, error)
            self._remove(path)
            return None
        return state if usable else None

    def carried(self, frame: Frame, upto: int) -> FrameState | None:
        """Return what was carried over for a frame if it can go on from at most ``upto``.

        Raises:
            EventsGoneError: There is something, but it cannot be used.
        """
        name = self._record.carried.get(key_of(frame))
        if name is None:
            return None
        state = self.open_carried(name)
        return state if state.processed <= upto and state.accepts(frame) else None

    def open_carried(self, name: str) -> FrameState:
        """Return what one file carried over.

        Raises:
            CarriedError: It cannot be used.
        """
        path = self._folder / name
        try:
            return self.open(path)
        except (DamagedError, OSError) as error:
            why = "it is not there" if isinstance(error, FileNotFoundError) else error
            raise CarriedError(
                f"{path}: the totals of events that have left the log cannot be used ({why}); "
                "put the file back from a backup, or stop the experiment: its totals are then "
                "let go of when old events leave the next time"
            ) from error

    def carried_frame(self, name: str) -> Frame | None:
        """Return the frame that one file carried over, ``None`` where it cannot be told."""
        ((_, frame),) = frames_of([self._folder / name])
        return frame

    def open(self, path: Path) -> FrameState:
        """Return the state of a file.

        Raises:
            DamagedError: It is damaged, another file than its name says, of another version, or
                of another store.
            OSError: It cannot be read.
        """
        facts, dumped = read(path)
        head = _head(facts)
        if facts.get("name", path.name) != path.name:  # files of older versions do not say
            raise DamagedError(f"it is another file: it was written as {facts['name']}")
        if head.plan != plan_digest(head.frame):
            raise DamagedError("another version wrote it")
        if not self._log.knows(head.opening, head.processed):
            raise DamagedError("it belongs to another store, or a later state of this one")
        ids = Ids(self._log.ids_of)
        ids.kept = {int(seq): event_id for seq, event_id in facts["ids"].items()}
        state = FrameState(head.frame, ids)
        try:
            state.restore(dumped)
        except (KeyError, IndexError, TypeError, ValueError) as error:
            raise DamagedError(f"it cannot be read: {error!r}") from error
        return state

    def save(self, state: FrameState) -> None:
        """Keep a frame's totals for the next start.

        Raises:
            StoreError: They were not kept.
        """
        self._write(state, f"{key_of(state.frame)}{_LATEST}")

    def carry(self, state: FrameState) -> str:
        """Write a frame's totals under a new name and return it; the log must then name it.

        Raises:
            StoreError: They were not kept.
        """
        name = f"{key_of(state.frame)}.{secrets.token_hex(8)}{_CARRIED}"
        self._write(state, name)
        return name

    def all_latest(self) -> list[Path]:
        """Return every file of latest totals."""
        return self._files(_LATEST)

    def all_carried(self) -> list[str]:
        """Return the names of all files that carry something over."""
        return sorted(self._record.carried.values())

    def carries(self, frame: Frame) -> bool:
        """Return whether something was carried over for a frame."""
        return key_of(frame) in self._record.carried

    def drop(self, frame: Frame) -> None:
        """Let go of a frame's latest totals."""
        self._remove(self._folder / f"{key_of(frame)}{_LATEST}")

    def drop_latest(self) -> None:
        """Let go of all latest totals."""
        for path in self._files(_LATEST):
            self._remove(path)

    def clean(self) -> None:
        """Remove what a crash left over: unfinished files, and carried ones nobody names.

        What another store carried over is the only copy of it and stays: this one may lie in its
        place by mistake.
        """
        named = set(self._record.carried.values())
        for path in [*self._files(".new"), *self._files(_CARRIED)]:
            if path.name in named:
                continue
            if path.name.endswith(_CARRIED) and self._is_foreign(path):
                logger.warning("%s: it belongs to another store, and is left as it is", path)
            else:
                self._remove(path)

    def _is_foreign(self, path: Path) -> bool:
        try:
            return not self._log.knows(_head(read(path)[0]).opening, 0)
        except (DamagedError, OSError):
            return False

    def _files(self, ending: str) -> list[Path]:
        if not self._folder.is_dir():
            return []
        return sorted(path for path in self._folder.iterdir() if path.name.endswith(ending))

    def _write(self, state: FrameState, name: str) -> None:
        ids = state.ids_of
        facts = {
            "format": FORMAT,
            "name": name,
            "frame": _encode_frame(state.frame).decode(),
            "plan": plan_digest(state.frame),
            "opening": self._log.opening(),
            "processed": state.processed,
            "ids": {str(seq): each for seq, each in ids.kept.items()}
            if isinstance(ids, Ids)
            else {},
        }
        path = self._folder / name
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            write(path, facts, state.dump())
        except OSError as error:
            raise StoreError(
                f"{path}: totals could not be saved ({error}); check free disk space"
            ) from error

    @staticmethod
    def _remove(path: Path) -> None:
        try:
            path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s could not be removed: %s", path, error)


def frame_of(path: Path) -> Frame:
    """Return the frame whose totals a file holds.

    Raises:
        DamagedError: The file is damaged or of another version.
        OSError: It cannot be read.
    """
    return _head(read(path)[0]).frame


def _head(facts: Mapping[str, Any]) -> Head:
    try:
        frame = _decode_frame(facts["frame"])
    except (msgspec.MsgspecError, KeyError, TypeError) as error:
        raise DamagedError(f"another version wrote it ({error})") from error
    return Head(frame, facts["plan"], facts["opening"], facts["processed"])


def kept_ids(state: FrameState) -> dict[int, str]:
    """Return the ids a state keeps itself, to be added to."""
    ids = state.ids_of
    if not isinstance(ids, Ids):
        raise TypeError(f"a state that is carried over must keep ids, not {ids!r}")
    return ids.kept


def frames_of(paths: Iterable[Path]) -> list[tuple[Path, Frame | None]]:
    """Return the frame of each file, ``None`` where it cannot be told."""
    frames: list[tuple[Path, Frame | None]] = []
    for path in paths:
        try:
            frames.append((path, frame_of(path)))
        except (DamagedError, OSError):
            frames.append((path, None))
    return frames
