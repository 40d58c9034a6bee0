"""Who may do what: three keys, each including the one below. Pure.

A *client* key may evaluate and send events that feed only KPIs with ``trust: any`` (it is
public: browsers hold it), an *ingest* key sends trusted events, an *admin* key does everything.
"""

import base64
import binascii
import hashlib
import hmac
from dataclasses import dataclass, field
from enum import IntEnum
from urllib.parse import urlsplit

LOOPBACK = frozenset({"127.0.0.1", "::1", "localhost"})


class Role(IntEnum):
    """What a caller may do; a higher role includes the lower ones."""

    NOBODY = 0
    CLIENT = 1
    INGEST = 2
    ADMIN = 3


class AccessError(Exception):
    """A caller may not do this. ``status`` is 401 without a valid key, 403 with too small a one.

    Attributes:
        code: ``unauthorized`` or ``forbidden``.
        message: What is wrong, without the key.
        hint: What to do.
    """

    def __init__(self, status: int, code: str, message: str, hint: str) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.hint = hint


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
class Keys:
    """The keys in force.

    Attributes:
        digests: (role, digest) of every configured key, the largest role first.
        anyone: What a caller without a key may do.
        stream_token: Opens the change stream, whose clients cannot send headers; stable, so
            that answers which carry it stay comparable. Empty while the stream is open to all.
    """

    digests: tuple[tuple[Role, bytes], ...] = field(default=(), repr=False)
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
    ) -> "Keys":
        """Return the keys for a service bound to ``host``.

        On a loopback address a caller without a key may do whatever no configured key
        protects: with an admin key alone, evaluations and events stay open. On any other
        address nothing is open.
        """
        given = {Role.ADMIN: admin, Role.INGEST: ingest, Role.CLIENT: client}
        digests = tuple((role, digest(key)) for role, key in given.items() if key)
        anyone = Role.NOBODY
        if host in LOOPBACK:
            lowest = min((role for role, _ in digests), default=None)
            anyone = Role.ADMIN if lowest is None else Role(lowest - 1)
        token = ""
        if anyone < Role.CLIENT and digests:
            token = hmac.new(digests[-1][1], b"ofrep-stream", hashlib.sha256).hexdigest()[:32]
        return cls(digests, anyone, token)

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
        key = _key_of(authorization) or api_key
        if not key:
            return anyone
        given = digest(key)
        found = None
        for role, expected in self.digests:
            # every digest is compared, so the time taken tells nothing
            if hmac.compare_digest(given, expected) and found is None:
                found = role
        if found is None:
            # where nothing is protected a stray key does no harm
            return anyone if not self.digests else None
        return max(found, anyone)

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
        hint = (
            f"send a key of the scope '{name}' as 'Authorization: Bearer KEY' or 'X-API-Key: KEY'"
        )
        if held is None:
            raise AccessError(401, "unauthorized", "the key is not known here", hint)
        if authorization or api_key:
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
        if any(
            hmac.compare_digest(given, kept) for role, kept in self.digests if role > Role.CLIENT
        ):
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
