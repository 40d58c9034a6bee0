"""How unit ids are kept: as they are, or as hashes that only the holder of a key can make.

A hash stands for its id everywhere, of whatever unit type, so what belongs together still does:
exposures meet their events, and a unit counts once. Whoever has the file alone cannot try ids
out; whoever has the key, too, can. Refused events are kept as they were sent, to be sent again.
"""

import os
import secrets
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from hashlib import blake2b
from pathlib import Path

from metrics.events import DERIVED, Event, derived_id
from metrics.store import StoreError

REMEMBERED = 200_000
"""Hashes kept in memory: an event of a unit met lately costs a look-up."""

KEY_FILE = ".units.key"
"""The key is in a file beside the store, named like it with this."""


class Units(StrEnum):
    """How unit ids are kept."""

    PLAIN = "plain"
    KEYED_HASH = "keyed-hash"


@dataclass(frozen=True, slots=True)
class Wanted:
    """How unit ids are to be kept.

    Attributes:
        units: In this way and no other; ``None`` for however they are kept.
        fresh: From the beginning, in a store without events that is told nothing else.
    """

    units: Units | None = None
    fresh: Units = Units.PLAIN


AS_KEPT = Wanted()
"""However they are kept; as they are in a new store."""


class Names:
    """Unit ids as a store keeps them; ``None`` for a key keeps them as they are."""

    def __init__(self, key: bytes | None = None) -> None:
        self.key = key
        self.of = lru_cache(REMEMBERED)(self._hashed) if key is not None else _as_it_is

    def _hashed(self, unit: str) -> str:
        return blake2b(unit.encode(), digest_size=16, key=self.key or b"").hexdigest()

    def event(self, event: Event) -> Event:
        """Return an event as it is kept; the derived id of an exposure is that of its new name."""
        if self.key is None or not event.units:
            return event
        units = {kind: self.of(unit) for kind, unit in event.units.items()}
        event_id = event.id
        if event_id.startswith(DERIVED):
            event_id = derived_id(event, units) or event_id
        return Event(event_id, event.name, event.happened_at, units, event.fields, event.trusted)


def _as_it_is(unit: str) -> str:
    return unit


def mark_of(key: bytes) -> str:
    """Return what a store remembers of its key: enough to know it again, and no more."""
    return blake2b(b"turnback units", digest_size=8, key=key).hexdigest()


def names_of(path: Path, kept: str | None, wanted: Wanted, *, empty: bool) -> Names:
    """Return how a store keeps unit ids.

    Args:
        path: The store's file.
        kept: What it remembers of that: `mark_of` its key, or ``None``.
        wanted: How they are to be kept.
        empty: Whether there never was an event.

    Raises:
        StoreError: It keeps them in another way, or its key is not there.
    """
    if kept is None:
        asked = wanted.units or wanted.fresh
        if empty and asked is Units.KEYED_HASH:
            return Names(_made(path))
        if wanted.units is Units.KEYED_HASH:
            raise _another(path, Units.PLAIN, wanted.units)
        return Names()
    if wanted.units is Units.PLAIN:
        raise _another(path, Units.KEYED_HASH, wanted.units)
    key = _read(key_file(path))
    if key is None or mark_of(key) != kept:
        state = "is not there" if key is None else "is that of another store"
        raise StoreError(
            f"{path}: keeps unit ids as keyed hashes, and its key {key_file(path)} {state}; put "
            "it back from a backup of this folder: without it no event finds its unit"
        )
    return Names(key)


def key_file(path: Path) -> Path:
    """Return where the key of a store is."""
    return path.with_name(path.name + KEY_FILE)


def copy_key(path: Path, target: Path) -> None:
    """Write the key of a store beside a copy of it, where it has one."""
    key = _read(key_file(path))
    if key is not None:
        _write(key_file(target), key)


def _another(path: Path, kept: Units, wanted: Units) -> StoreError:
    return StoreError(
        f"{path}: its unit ids are kept as {kept.value}, and {wanted.value} is asked for; what is "
        "there cannot be changed: leave TURNBACK_STORE_UNITS out, or begin a new data folder"
    )


def _made(path: Path) -> bytes:
    """Return a new key; one that a start left behind, before anything was kept, is used."""
    held = _read(key_file(path))
    if held is not None:
        return held
    key = secrets.token_bytes(32)
    _write(key_file(path), key)
    return key


def _read(path: Path) -> bytes | None:
    try:
        return bytes.fromhex(path.read_text(encoding="ascii"))
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        raise StoreError(f"{path}: the key of unit ids cannot be read ({error})") from error


def _write(path: Path, key: bytes) -> None:
    partial = path.with_name(path.name + ".new")
    try:
        handle = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(handle, key.hex().encode())
            os.fsync(handle)
        finally:
            os.close(handle)
        partial.replace(path)
    except OSError as error:
        raise StoreError(f"{path}: the key of unit ids cannot be written ({error})") from error
