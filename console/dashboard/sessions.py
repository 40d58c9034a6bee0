"""Who is signed in on the pages: an admin key entered once, and tokens that forms carry.

A visitor's browser holds one random id, in a cookie that scripts cannot read and other sites'
requests do not carry. What the id stands for is kept here, under the id's hash, until it expires;
a restart ends every session. A key that is revoked ends its sessions, too.
"""

import hashlib
import hmac
import secrets
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from threading import Lock
from typing import Final

from metrics.access import Role, digest
from metrics.keyring import KeyRing

LASTS: Final = timedelta(hours=8)
"""How long an admin key that was entered once is good for."""

_BYTES: Final = 32
_MOST: Final = 1_000


@dataclass(frozen=True, slots=True)
class Signed:
    """Somebody who is signed in.

    Attributes:
        name: What the key is called.
        until: When the session ends by itself.
    """

    name: str
    until: datetime


@dataclass(frozen=True, slots=True)
class _Held:
    key: bytes
    signed: Signed


class Sessions:
    """The sessions of one service.

    Args:
        ring: The keys in force.
        now: The clock of the wall: sessions end also where a demo's time stands still.
    """

    def __init__(self, ring: KeyRing, now: Callable[[], datetime]) -> None:
        self._ring = ring
        self._now = now
        self._secret = secrets.token_bytes(_BYTES)
        self._held: dict[bytes, _Held] = {}
        self._lock = Lock()

    def __repr__(self) -> str:
        return f"Sessions({len(self._held)} signed in)"

    @staticmethod
    def new_id() -> str:
        """Return an id that nobody can guess."""
        return secrets.token_urlsafe(_BYTES)

    def token(self, session: str) -> str:
        """Return what forms of a session carry, so that no other site can post them."""
        return hmac.new(self._secret, session.encode(), hashlib.sha256).hexdigest()

    def carries(self, session: str, token: str) -> bool:
        """Return whether a form was given to this session."""
        given = token.encode("utf-8", "surrogatepass")
        return bool(session) and hmac.compare_digest(self.token(session).encode(), given)

    def sign_in(self, key: str) -> str | None:
        """Return the id of a new session, ``None`` where the key is no admin key in force."""
        name = self._name(digest(key))
        if not key or name is None:
            return None
        session, now = self.new_id(), self._now()
        with self._lock:
            self._held = {i: h for i, h in self._held.items() if h.signed.until > now}
            while len(self._held) >= _MOST:
                self._held.pop(next(iter(self._held)))
            self._held[digest(session)] = _Held(digest(key), Signed(name, now + LASTS))
        return session

    def signed(self, session: str) -> Signed | None:
        """Return who is signed in; ``None`` once it expired, or its key opens nothing any more."""
        held = self._held.get(digest(session)) if session else None
        if held is None:
            return None
        if held.signed.until <= self._now() or self._name(held.key) is None:
            self.sign_out(session)
            return None
        return held.signed

    def sign_out(self, session: str) -> None:
        """End a session; idempotent."""
        with self._lock:
            self._held.pop(digest(session), None)

    def _name(self, key: bytes) -> str | None:
        found = [
            known.name
            for known in self._ring.keys.known
            if known.role >= Role.ADMIN and hmac.compare_digest(known.digest, key)
        ]
        return found[0] if found else None
