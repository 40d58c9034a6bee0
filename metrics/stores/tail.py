"""The newest rows of a log, kept in memory: checks read them without asking the file."""

from collections.abc import Sequence
from typing import Final

from metrics.stores.rows import EventRows, Stamped

EVENTS: Final = 10_000
"""Rows that are kept, and at most twice as many."""


class Tail:
    """The newest rows; safe under the lock of whoever writes."""

    def __init__(self) -> None:
        self._rows: list[Stamped] = []  # the last one has the newest seq
        self._shared: tuple[tuple[int, int], EventRows] | None = None  # what was last read

    def add(self, rows: Sequence[Stamped]) -> None:
        """Keep rows that were written."""
        self._rows += rows
        if len(self._rows) > 2 * EVENTS:
            del self._rows[:-EVENTS]

    def clear(self) -> None:
        """Forget them: they are read from the log."""
        self._rows.clear()
        self._shared = None

    def rows(self, after: int, upto: int, *, newest: int) -> EventRows | None:
        """Return rows by seq; frames that are checked one after another share them.

        Args:
            after: The seq before the first one.
            upto: The last one's.
            newest: The last one's in the log.

        Returns:
            ``None`` where not all of them are kept.
        """
        oldest = newest - len(self._rows)
        if after < oldest:
            return None
        if self._shared is None or self._shared[0] != (after, upto):
            self._shared = (after, upto), EventRows(self._rows[after - oldest : upto - oldest])
        return self._shared[1]
