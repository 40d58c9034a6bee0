"""Who is let in while a service runs: keys as people make and revoke them, and the record."""

import logging
import time
from collections.abc import Callable
from datetime import datetime, timedelta

from experiments.database import ControlPlane
from guardrails.audit import Call, calls, record
from guardrails.keys import KeyView, made, note_used, views
from guardrails.service_settings import Settings
from metrics.keyring import KeyRing

LOOK_EVERY = timedelta(seconds=1)
"""A key that was revoked opens something for no longer than about this."""

NOTE_EVERY = timedelta(minutes=1)
"""When keys were used last is kept this often."""

logger = logging.getLogger("turnback.keys")


class Admission:
    """The keys of the settings and those that people made, and what was done with them.

    Args:
        settings: With keys of their own.
        control: Where keys that people made are stored.
        now: The clock.

    Attributes:
        ring: What admits callers.

    Raises:
        SettingsError: It is not safe to begin with these keys.
    """

    def __init__(
        self, settings: Settings, control: ControlPlane, now: Callable[[], datetime]
    ) -> None:
        self._settings = settings
        self._control = control
        self._now = now
        self._noted_at: datetime | None = None
        with control.reading() as session:
            known = settings.checked_keys(made(session))
        self.ring = KeyRing(
            known, limit=settings.key_requests_per_second, now=now, seconds=time.monotonic
        )

    def look(self) -> None:
        """Put in force what is stored now.

        Raises:
            UnavailableError: The control plane cannot be read; what was in force stays.
        """
        with self._control.reading() as session:
            stored = made(session)
        keys = self._settings.keys(stored)
        if keys != self.ring.keys:
            self.ring.replace(keys)
            logger.info("%d keys are in force", len(keys.known))
        now = self._now()
        if self._noted_at is None or abs(now - self._noted_at) >= NOTE_EVERY:
            self.note()
            self._noted_at = now

    def note(self) -> None:
        """Store when keys were used since the last time."""
        used = self.ring.take_used()
        if used:
            with self._control.transaction() as session:
                note_used(session, used)

    def keys(self) -> tuple[KeyView, ...]:
        """Return every key that was ever made, with its newest use."""
        self.note()
        with self._control.reading() as session:
            return views(session)

    def key_name(self, authorization: str | None, api_key: str | None) -> str | None:
        """Return what the key of two headers is called, ``None`` without one that is known."""
        return self.ring.name_of(authorization, api_key)

    def record(self, call: Call) -> None:
        """Keep a call that changed something."""
        with self._control.transaction() as session:
            record(session, call)

    def calls(self, most: int) -> tuple[Call, ...]:
        """Return the newest calls that changed something, newest first."""
        with self._control.reading() as session:
            return calls(session, most=most)
