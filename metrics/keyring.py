"""The keys in force while a service runs: replaced as they change, limited, their use noted."""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from threading import Lock

from metrics.access import AccessError, Keys, Known, Role


@dataclass(slots=True)
class _Bucket:
    """Requests that a key may send now, and when that was counted."""

    left: float
    at: float


class KeyRing:
    """Stands for `Keys` wherever a caller is admitted; `replace` changes what is in force.

    A key may ask ``limit`` times a second, and twice as often for a moment; beyond that it is told
    when to come back, and nobody else is slowed down by it. Callers without a key are not limited:
    without one nobody gets in from outside of this machine.

    Args:
        keys: In force from the start.
        limit: Requests a second and key; 0 for no limit.
        now: The clock, for the record of use.
        seconds: A monotonic clock, for the limit.
    """

    def __init__(
        self, keys: Keys, *, limit: float, now: Callable[[], datetime], seconds: Callable[[], float]
    ) -> None:
        self._keys = keys
        self._limit = limit
        self._now = now
        self._seconds = seconds
        self._lock = Lock()
        self._buckets: dict[str, _Bucket] = {}
        self._used: dict[str, datetime] = {}

    def __repr__(self) -> str:
        return f"KeyRing({len(self._keys.known)} keys)"

    @property
    def anyone(self) -> Role:
        """What a caller without a key may do."""
        return self._keys.anyone

    @property
    def protected(self) -> bool:
        """Whether there is any key at all."""
        return self._keys.protected

    @property
    def stream_token(self) -> str:
        """Opens the change stream; empty while that is open to all."""
        return self._keys.stream_token

    @property
    def keys(self) -> Keys:
        """The keys in force now."""
        return self._keys

    def opens_stream(self, token: str) -> bool:
        """Return whether ``token`` opens the change stream."""
        return self._keys.opens_stream(token)

    def replace(self, keys: Keys) -> None:
        """Let other keys be in force from now on; one that is left out opens nothing any more."""
        with self._lock:
            self._keys = keys
            names = {key.name for key in keys.known}
            self._buckets = {n: b for n, b in self._buckets.items() if n in names}

    def require(
        self,
        role: Role,
        authorization: str | None,
        api_key: str | None,
        *,
        origin: str | None = None,
    ) -> Role:
        """Return the caller's role when it is at least ``role``, and note that its key was used.

        Raises:
            AccessError: It is not, or its key asks too often.
        """
        keys = self._keys
        held = keys.require(role, authorization, api_key, origin=origin)
        self._note(keys.find(authorization, api_key) if keys.known else None)
        return held

    def require_public(self, key: str) -> None:
        """Let pass a key that stands in an address, where only a client's may stand.

        Raises:
            AccessError: It is not known, it is a secret one, or it asks too often.
        """
        keys = self._keys
        keys.require_public(key)
        self._note(keys.find(None, key) if keys.known else None)

    def name_of(self, authorization: str | None, api_key: str | None) -> str | None:
        """Return what the caller's key is called, ``None`` without one that is known."""
        found = self._keys.find(authorization, api_key)
        return None if found is None else found.name

    def take_used(self) -> Mapping[str, datetime]:
        """Return which keys were used since the last call, and when last."""
        with self._lock:
            used, self._used = self._used, {}
        return used

    def _note(self, found: Known | None) -> None:
        if found is None:
            return
        wait = self._spend(found.name)
        if wait:
            raise AccessError(
                429,
                "too_many_requests",
                f"the key '{found.name}' may ask {self._limit:g} times a second",
                f"try again in {wait} s, or send more events in one request",
                retry_after=wait,
            )

    def _spend(self, name: str) -> int:
        """Take one request of a key's; return the seconds to wait, 0 when it may ask now."""
        with self._lock:
            self._used[name] = self._now()
            if self._limit <= 0:
                return 0
            most, at = 2 * self._limit, self._seconds()
            bucket = self._buckets.setdefault(name, _Bucket(most, at))
            bucket.left = min(most, bucket.left + (at - bucket.at) * self._limit)
            bucket.at = at
            if bucket.left >= 1:
                bucket.left -= 1
                return 0
            return max(1, math.ceil((1 - bucket.left) / self._limit))
