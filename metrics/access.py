"""Who may do what: three scopes of keys, each including the one below. Pure.

A *client* key may evaluate and send events that feed only KPIs with ``trust: any`` (it is
public: browsers hold it), an *ingest* key sends trusted events, an *admin* key does everything.
"""

import base64
import binascii
import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass, field
from enum import IntEnum
from typing import Protocol
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Role(IntEnum):
    """What a caller may do; a higher role includes the lower ones."""

    NOBODY = 0
    CLIENT = 1
    INGEST = 2
    ADMIN = 3


class AccessError(Exception):
    """A caller may not do this, or not now.

    ``status`` is 401 without a valid key, 403 with too small a one, 429 when a key asks too often.

    Attributes:
        code: ``unauthorized``, ``forbidden`` or ``too_many_requests``.
        message: What is wrong, without the key.
        hint: What to do.
        retry_after: Seconds after which another try makes sense, 0 where none does.
    """

    def __init__(
        self, status: int, code: str, message: str, hint: str, *, retry_after: int = 0
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint
        self.retry_after = retry_after

    def headers(self, scheme: str = "Bearer") -> dict[str, str]:
        """Return what HTTP says beside the status: how to authenticate, or when to try again."""
        if self.status == 401:  # noqa: PLR2004 - an HTTP status
            return {"WWW-Authenticate": f'{scheme} realm="Turnback"'}
        return {"Retry-After": str(self.retry_after)} if self.retry_after else {}


def foreign(origin: str | None) -> bool:
    """Return whether a request comes from a page that was not served by this machine.

    Args:
        origin: The ``Origin`` header, which browsers send and pages cannot change.
    """
    if not origin:
        return False
    try:
        return urlsplit(origin).hostname not in LOOPBACK
    except ValueError:
        return True


def digest(key: str) -> bytes:
    """Return what is kept of a key: its SHA-256."""
    return hashlib.sha256(key.encode("utf-8", "surrogatepass")).digest()


@dataclass(frozen=True, slots=True)
class Known:
    """A key that is in force: what it is called, what it may do, and its digest."""

    name: str
    role: Role
    digest: bytes = field(repr=False)


class Access(Protocol):
    """Decides who may do what: `Keys`, or what replaces them while the service runs."""

    @property
    def anyone(self) -> Role:
        """What a caller without a key may do."""
        ...

    @property
    def protected(self) -> bool:
        """Whether there is any key at all."""
        ...

    @property
    def stream_token(self) -> str:
        """Opens the change stream; empty while that is open to all."""
        ...

    def require(
        self,
        role: Role,
        authorization: str | None,
        api_key: str | None,
        *,
        origin: str | None = None,
    ) -> Role:
        """Return the caller's role when it is at least ``role``.

        Raises:
            AccessError: It is not, or its key asks too often.
        """
        ...

    def require_public(self, key: str) -> None:
        """Let pass a key that stands in an address, where only a client's may stand.

        Raises:
            AccessError: It is not known, it is a secret one, or it asks too often.
        """
        ...

    def opens_stream(self, token: str) -> bool:
        """Return whether ``token`` opens the change stream."""
        ...


@dataclass(frozen=True, slots=True)
class Keys:
    """The keys in force.

    Attributes:
        known: Every key, the largest role first.
        anyone: What a caller without a key may do.
        stream_token: Opens the change stream, whose clients cannot send headers; stable, so
            that answers which carry it stay comparable. Empty while the stream is open to all.
    """

    known: tuple[Known, ...] = field(default=(), repr=False)
    anyone: Role = Role.NOBODY
    stream_token: str = field(default="", repr=False)

    @classmethod
    def of(
        cls,
        *,
        host: str,
        admin: str | None = None,
        ingest: str | None = None,
        client: str | None = None,
        stored: Iterable[Known] = (),
        closed: bool = False,
    ) -> "Keys":
        """Return the keys for a service bound to ``host``.

        On a loopback address a caller without a key may do whatever no configured key
        protects: with an admin key alone, evaluations and events stay open. On any other
        address nothing is open.

        Args:
            host: Where the service listens.
            admin: Key of the settings that may do everything.
            ingest: Key of the settings that may send trusted events.
            client: Public key of the settings.
            stored: Keys that were made with `turnback keys create`, without those revoked.
            closed: Whether a key was ever made: revoking the last one opens nothing.
        """
        given = {Role.ADMIN: admin, Role.INGEST: ingest, Role.CLIENT: client}
        told = [
            Known(f"TURNBACK_{role.name}_KEY", role, digest(key))
            for role, key in given.items()
            if key
        ]
        known = tuple(sorted((*told, *stored), key=lambda key: -key.role))
        anyone = Role.NOBODY
        if host in LOOPBACK and (known or not closed):
            anyone = Role(known[-1].role - 1) if known else Role.ADMIN
        token = ""
        if anyone < Role.CLIENT and known:
            token = hmac.new(known[-1].digest, b"ofrep-stream", hashlib.sha256).hexdigest()[:32]
        return cls(known, anyone, token)

    @property
    def protected(self) -> bool:
        """Whether there is any key at all."""
        return bool(self.known)

    def has(self, role: Role) -> bool:
        """Return whether there is a key of exactly this role."""
        return any(key.role is role for key in self.known)

    def find(self, authorization: str | None, api_key: str | None) -> Known | None:
        """Return the key that a caller sent, ``None`` without one that is known.

        Args:
            authorization: The ``Authorization`` header.
            api_key: The ``X-API-Key`` header.
        """
        text = _key_of(authorization) or api_key
        if not text:
            return None
        given, found = digest(text), None
        for key in self.known:
            # every digest is compared, so the time taken tells nothing
            if hmac.compare_digest(given, key.digest) and found is None:
                found = key
        return found

    def role_of(
        self, authorization: str | None, api_key: str | None, *, origin: str | None = None
    ) -> Role | None:
        """Return the role of a caller, ``None`` when it sent a key that nobody has.

        A page of another site may be open in a browser on this machine, so such pages get no
        more than `Role.CLIENT` where it is not a key that decides.

        Args:
            authorization: The ``Authorization`` header: ``Bearer KEY``, or ``Basic`` with the
                key as password, which is what a browser can send.
            api_key: The ``X-API-Key`` header.
            origin: The ``Origin`` header.
        """
        anyone = min(self.anyone, Role.CLIENT) if foreign(origin) else self.anyone
        if not (_key_of(authorization) or api_key):
            return anyone
        found = self.find(authorization, api_key)
        if found is None:
            # where nothing is protected a stray key does no harm
            return anyone if self.anyone is Role.ADMIN else None
        return max(found.role, anyone)

    def require(
        self,
        role: Role,
        authorization: str | None,
        api_key: str | None,
        *,
        origin: str | None = None,
    ) -> Role:
        """Return the caller's role when it is at least ``role``.

        Raises:
            AccessError: It is not.
        """
        held = self.role_of(authorization, api_key, origin=origin)
        if held is not None and held >= role:
            return held
        name = role.name.lower()
        scope = f"'{name}'" if role is not Role.CLIENT else "'ingest' (servers) or 'client' (pages)"
        hint = f"send a key of the scope {scope} as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
        if held is None:
            raise AccessError(401, "unauthorized", "the key is not known here", hint)
        if _key_of(authorization) or api_key:
            raise AccessError(
                403,
                "forbidden",
                f"a key of the scope '{held.name.lower()}' may not do this",
                hint,
            )
        raise AccessError(401, "unauthorized", "this needs a key", hint)

    def require_public(self, key: str) -> None:
        """Let pass a key that stands in an address, where only a client's may stand.

        Where callers without a key may evaluate, any name does: SDKs always send one.

        Raises:
            AccessError: It is not known, or it is a secret one: addresses end up in logs.
        """
        given = digest(key)
        secret = [each for each in self.known if each.role > Role.CLIENT]
        if any(hmac.compare_digest(given, each.digest) for each in secret):
            raise AccessError(
                403,
                "secret_key",
                "a secret key stands in this address",
                "put the client key there, and replace the secret one: addresses end up in logs",
            )
        if self.anyone < Role.CLIENT:
            self.require(Role.CLIENT, None, key)

    def opens_stream(self, token: str) -> bool:
        """Return whether ``token`` opens the change stream."""
        return not self.stream_token or hmac.compare_digest(
            token.encode("utf-8", "surrogatepass"), self.stream_token.encode()
        )


def _key_of(authorization: str | None) -> str | None:
    if not authorization:
        return None
    scheme, _, rest = authorization.partition(" ")
    scheme = scheme.lower()
    if scheme == "bearer":
        return rest.strip()
    if scheme == "basic":
        try:
            text = base64.b64decode(rest.strip(), validate=True).decode()
        except (binascii.Error, UnicodeDecodeError):
            return rest  # not a key anybody has
        return text.partition(":")[2] or rest
    return authorization
