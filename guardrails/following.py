"""A thread that looks at files again and again; a mount that hangs holds up nothing else."""

import logging
from collections.abc import Callable
from datetime import timedelta
from threading import Event, Thread

logger = logging.getLogger("turnback.specs")

FIRST_LOOK_SECONDS = 20.0
"""The service waits this long for the first look, then begins with what it has."""

END_SECONDS = 5.0
"""A closing service waits this long for a look that is under way."""


class Following:
    """Looks, waits, looks again, until it is closed; an error is logged.

    The thread does not keep the process alive: reading from a mount that hangs may never end.

    Args:
        look: What to do.
        every: Time between the end of a look and the next.
    """

    def __init__(self, look: Callable[[], object], every: timedelta) -> None:
        self._look = look
        self._every = every.total_seconds()
        self._looked = Event()
        self._closed = Event()
        self._thread = Thread(target=self._run, name="specs", daemon=True)

    def start(self, *, wait: float = FIRST_LOOK_SECONDS) -> bool:
        """Begin; return whether the first look ended within so many seconds."""
        self._thread.start()
        return self._looked.wait(wait)

    def close(self, *, wait: float = END_SECONDS) -> None:
        """Look no more, and wait some seconds for a look that is under way; idempotent."""
        self._closed.set()
        if self._thread.ident is not None:
            self._thread.join(wait)

    def _run(self) -> None:
        while True:
            try:
                self._look()
            except Exception:
                logger.exception("looking at the spec files failed; it is tried again")
            self._looked.set()
            if self._closed.wait(self._every):
                return
