"""Suspending the engine: it watches and acts on nothing, until a person ends that.

Who did it, when and why is kept, and so is the end of it. A service that is started with the
setting is suspended whatever people said; that is kept too, as done by the setting.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from sqlmodel import Session, col, select

from experiments.errors import ConflictError
from experiments.statements import columns
from guardrails.asked import Asked
from guardrails.models import SuspensionRow
from guardrails.repository import message_exists
from guardrails.rollback import message
from guardrails.words import command, instant
from metrics.wording import gettext as _

SETTING: Final = "TURNBACK_SUSPEND"
"""The setting, and who acted where it did."""


@dataclass(frozen=True, slots=True)
class Suspending:
    """A suspension of the engine, or the end of one."""

    suspended: bool
    at: datetime
    actor: str
    reason: str


@dataclass(frozen=True, slots=True)
class SuspensionView:
    """Whether the engine acts on nothing now, in ``words``, and everything that led there.

    ``by_setting`` says that the service was started with ``TURNBACK_SUSPEND=1``: then only a start
    without it ends the suspension. ``history`` has the oldest first.
    """

    suspended: bool
    by_setting: bool
    words: str
    history: tuple[Suspending, ...] = ()


def history_of(session: Session) -> tuple[Suspending, ...]:
    """Return every suspension and its end, oldest first."""
    rows = session.exec(select(SuspensionRow).order_by(col(SuspensionRow.id)))
    return tuple(Suspending(row.suspended, row.at, row.actor, row.reason) for row in rows)


_ID = SuspensionRow.metadata.tables["suspension"].c.id
_NEWEST = columns("suspension", Suspending.__dataclass_fields__).order_by(_ID.desc()).limit(1)


def newest(session: Session) -> Suspending | None:
    """Return what is in force, ``None`` where nobody ever suspended the engine."""
    row = session.connection().execute(_NEWEST).one_or_none()
    return None if row is None else Suspending(*row)


def is_suspended(session: Session, *, by_setting: bool) -> bool:
    """Return whether the engine acts on nothing."""
    last = newest(session)
    return by_setting or (last is not None and last.suspended)


def suspended_words(session: Session, *, by_setting: bool) -> str | None:
    """Return in words that the engine acts on nothing, since when and why; ``None`` if it acts."""
    if not is_suspended(session, by_setting=by_setting):
        return None
    last = newest(session)
    said = _("the engine is suspended")
    if last is not None and last.suspended:
        said = _(
            "the engine is suspended since {at} by {actor} ({reason})",
            at=instant(last.at),
            actor=last.actor,
            reason=last.reason.rstrip("."),
        )
    end = _("a start without {setting}", setting=SETTING) if by_setting else _OFF
    return _("{suspended}: it watches and acts on nothing; {end} ends it", suspended=said, end=end)


_OFF: Final = f"`{command('suspend', '--off')}`"


def view_of(session: Session, *, by_setting: bool) -> SuspensionView:
    """Return whether the engine is suspended, as it is shown."""
    words = suspended_words(session, by_setting=by_setting)
    return SuspensionView(
        suspended=words is not None,
        by_setting=by_setting,
        words=words or "the engine acts",
        history=history_of(session),
    )


def change(session: Session, asked: Asked, *, suspend: bool, by_setting: bool) -> None:
    """Suspend the engine, or end that.

    Raises:
        ConflictError: It is so already, or the setting suspends it.
    """
    last = newest(session)
    if not suspend and by_setting:
        raise ConflictError(
            f"the service was started with {SETTING}=1, which suspends the engine",
            hint=f"start it without {SETTING}",
        )
    if is_suspended(session, by_setting=by_setting) == suspend:
        if not suspend:
            raise ConflictError("the engine is not suspended", hint="there is nothing to end")
        since = f" since {instant(last.at)} by {last.actor}" if last and last.suspended else ""
        raise ConflictError(f"the engine is suspended{since} already", hint=f"{_OFF} ends it")
    _record(session, Suspending(suspend, asked.at, asked.actor, asked.reason))


def follow_setting(session: Session, *, by_setting: bool, now: datetime) -> None:
    """Keep that a service was started with the setting, or without it after it had been."""
    last = newest(session)
    was = last is not None and last.suspended
    if by_setting and not was:
        _record(
            session,
            Suspending(True, now, SETTING, _("started with {setting}", setting=f"{SETTING}=1")),
        )
    elif not by_setting and was and last is not None and last.actor == SETTING:
        _record(
            session,
            Suspending(False, now, SETTING, _("started without {setting}", setting=SETTING)),
        )


def tell(session: Session, *, channels: Sequence[str]) -> None:
    """Put into the outbox that the engine was suspended, or acts again; once."""
    last = newest(session)
    if last is None:
        return
    kind = "suspended" if last.suspended else "awake"
    key = f"{kind}:{last.at.isoformat()}"
    if message_exists(session, key):
        return
    again = _("The engine acts again")
    message(
        session,
        key=key,
        kind=kind,
        experiment="",
        variant=None,
        at=last.at,
        title=_("The engine acts on nothing any more") if last.suspended else again,
        text=f"{last.reason} ({last.actor})",
        evidence=None,
        channels=channels,
        facts={"next": command("suspend", "--off")} if last.suspended else {},
    )


def _record(session: Session, done: Suspending) -> None:
    session.add(
        SuspensionRow(suspended=done.suspended, at=done.at, actor=done.actor, reason=done.reason)
    )
    session.flush()
