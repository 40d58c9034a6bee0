"""The newest number ever acknowledged, in a file of its own beside the store.

The engine leaves out what it cannot read at the end of its write-ahead log, without a word. The
mark is written after every commit, so it is never ahead of what was durable: a store that ends
before it has lost events. It is not synced; after a power cut it may lag, and then tells less.
"""

import logging
import os
import re
from pathlib import Path

from metrics.wording import gettext as _

logger = logging.getLogger("turnback.store")

_LINE = re.compile(rb"([0-9a-f]{16}) ([0-9]{20})\n")


class Mark:
    """The mark of one store. Writes hold the caller's lock.

    Args:
        path: The store's file.
    """

    def __init__(self, path: Path) -> None:
        self._store = path
        self._path = path.with_name(f"{path.name}.mark")
        self._file: int | None = None
        self._works = True
        self._token: str | None = None
        self._lost = 0

    def clear(self) -> None:
        """Forget what was marked: the store is a new one."""
        try:
            self._path.unlink(missing_ok=True)
        except OSError as error:
            logger.warning("%s could not be removed: %s", self._path, error)

    def named(self, token: str) -> None:
        """Take a token for a store that has none; what it lost stays told under it."""
        if self._token is None:
            self._token = token
            if self._lost:
                self.note(self._lost)

    def note(self, seq: int) -> None:
        """Mark that everything up to a number is durable; a failure is logged, once."""
        if not self._works:
            return
        try:
            if self._file is None:
                self._file = os.open(self._path, os.O_CREAT | os.O_WRONLY, 0o644)
            os.pwrite(self._file, f"{self._token} {seq:020}\n".encode(), 0)
        except OSError as error:
            self._works = False
            logger.warning("%s: lost events would not be noticed: %s", self._path, error)

    def missing(self, token: str | None, newest: int) -> str:
        """Return what is missing from a store that was just opened, in words; empty when nothing.

        Args:
            token: What tells it from others, 16 hexadecimal digits; ``None`` where it has none,
                because it is new or has lost that, too.
            newest: The largest number in it.
        """
        self._token = token
        try:
            found = _LINE.fullmatch(self._path.read_bytes())
        except FileNotFoundError:
            return ""
        except OSError as error:
            logger.warning("%s: lost events would not be noticed: %s", self._path, error)
            return ""
        if found is None or (token is not None and found[1].decode() != token):
            return ""
        marked = int(found[2])
        if marked <= newest:
            return ""
        self._lost = marked
        return _(
            "{file}: events {first} to {last} were acknowledged and are not in it: its write-ahead "
            "log (.wal) was damaged or removed, or an older copy was put back; let clients send "
            "again what they sent since then (what is known is recognised), or put back the newest "
            "backup",
            file=self._store,
            first=f"{newest + 1:,}",
            last=f"{marked:,}",
        )

    def close(self) -> None:
        """Release the file; idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
