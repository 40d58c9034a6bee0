"""Keys that people make: shown once, kept as digests, revoked for good."""

import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session, col, select

from experiments.errors import ConflictError, InvalidRequestError, TurnbackError
from guardrails.models import KeyRow
from guardrails.words import instant
from metrics.access import Known, Role, digest

SCOPES = {role.name.lower(): role for role in (Role.CLIENT, Role.INGEST, Role.ADMIN)}
"""What a key may do, by the words people use."""

_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_BYTES = 32


class UnknownKeyError(TurnbackError):
    """No key has this name."""

    code = "unknown_key"
    status = 404


@dataclass(frozen=True, slots=True)
class KeyView:
    """A key as it is shown: never the key itself.

    ``last_used_at`` is ``None`` for a key that was never used, ``revoked_at`` for one in force.
    """

    name: str
    scope: str
    created_at: datetime
    created_by: str
    last_used_at: datetime | None = None
    revoked_at: datetime | None = None


def create(session: Session, name: str, scope: str, *, actor: str, now: datetime) -> str:
    """Make a key and return it; nobody can read it again.

    Args:
        session: A transaction.
        name: What it is called: small letters, digits, ``.``, ``_``, ``-``; 64 at most. A name is
            used once, so that a record of who did something stays true.
        scope: ``client``, ``ingest`` or ``admin``.
        actor: Who makes it.
        now: The current instant.

    Raises:
        InvalidRequestError: The name or the scope cannot be.
        ConflictError: The name was used before.
    """
    if _NAME.fullmatch(name) is None:
        raise InvalidRequestError(
            f"{name!r} cannot be the name of a key",
            hint="use small letters, digits, '.', '_' and '-', for instance shop-backend",
            path="name",
        )
    if scope not in SCOPES:
        raise InvalidRequestError(
            f"{scope!r} is no scope", hint=f"use one of {', '.join(SCOPES)}", path="scope"
        )
    held = session.exec(select(KeyRow).where(KeyRow.name == name)).first()
    if held is not None:
        state = "revoked" if held.revoked_at is not None else "in force"
        raise ConflictError(
            f"there is a key '{name}' already (made {instant(held.created_at)}, {state})",
            hint="a name is used once: choose another, for instance with the year in it",
        )
    key = f"tb_{scope}_{secrets.token_urlsafe(_BYTES)}"
    session.add(
        KeyRow(name=name, scope=scope, digest=digest(key).hex(), created_at=now, created_by=actor)
    )
    session.flush()
    return key


def revoke(session: Session, name: str, *, now: datetime) -> KeyView:
    """Let a key open nothing any more, for good.

    Raises:
        UnknownKeyError: No key has this name.
        ConflictError: It is revoked already.
    """
    row = session.exec(select(KeyRow).where(KeyRow.name == name)).first()
    if row is None:
        known = [key.name for key in views(session) if key.revoked_at is None]
        raise UnknownKeyError(
            f"there is no key '{name}'",
            hint=f"there are {', '.join(known)}" if known else "no key was made yet",
        )
    if row.revoked_at is not None:
        raise ConflictError(
            f"the key '{name}' is revoked since {instant(row.revoked_at)}",
            hint="there is nothing to do",
        )
    row.revoked_at = now
    session.add(row)
    session.flush()
    return _view(row)


def views(session: Session) -> tuple[KeyView, ...]:
    """Return every key that was ever made, oldest first."""
    return tuple(_view(row) for row in session.exec(select(KeyRow).order_by(col(KeyRow.id))))


@dataclass(frozen=True, slots=True)
class Made:
    """The keys that people made: those in force, and whether there ever was one."""

    known: tuple[Known, ...] = ()
    ever: bool = False


def made(session: Session) -> Made:
    """Return the keys that open something, and whether one was ever made."""
    rows = session.exec(select(KeyRow).order_by(col(KeyRow.id))).all()
    known = tuple(
        Known(r.name, SCOPES[r.scope], bytes.fromhex(r.digest)) for r in rows if not r.revoked_at
    )
    return Made(known, ever=bool(rows))


def note_used(session: Session, used: Mapping[str, datetime]) -> None:
    """Keep when keys were used last; names of settings are no rows and are left out."""
    for row in session.exec(select(KeyRow).where(col(KeyRow.name).in_(list(used)))):
        row.last_used_at = used[row.name]
        session.add(row)


def _view(row: KeyRow) -> KeyView:
    return KeyView(
        name=row.name,
        scope=row.scope,
        created_at=row.created_at,
        created_by=row.created_by,
        last_used_at=row.last_used_at,
        revoked_at=row.revoked_at,
    )
