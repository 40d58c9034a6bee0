"""Moving the end of a run to later: what it may do to the promise, and what it may not. Pure words.

Extending is sound because nothing about the budget depends on when a run stops. The whole-run
boundary spends at most its level at any information: the horizon it was tuned for decides only how
early it spends, and a reserve is kept for what comes past it. The e-process of restarts is an
average over the number that was fixed when the file was applied, and no restart is added; the last
one counts everything that comes later. Limits and catastrophes hold at every look by
construction. So levels, windows, horizon and cohorts stay those of the revision, and only the last
exposure and the last look come later. Windows that were left out when the file was applied, since
too few units would close them before the planned end, stay left out.

Source: STATISTICS 0a, 1(b); DESIGN 9.
"""

from datetime import datetime, timedelta
from typing import Final

from sqlmodel import Session

from experiments.errors import ConflictError, InvalidRequestError
from experiments.lifecycle import OVER, State, require
from experiments.repository import (
    ExperimentRecord,
    TransitionRecord,
    load_treatments,
    update_experiment,
)
from guardrails.asked import Asked, noted, told
from guardrails.loaded import Loaded
from guardrails.plain_words import again_words, instant
from guardrails.standing import pointless
from guardrails.tidings import after_extension
from metrics.wording import gettext as _

LONGEST: Final = timedelta(days=366)
"""How far one call may move an end: more is a typing error, or another experiment."""

_ENDS: Final = "ends "


def ends_at(end: str) -> datetime | None:
    """Return the instant of an end as a transition says it, ``None`` where it says none."""
    if not end.startswith(_ENDS):
        return None
    try:
        return datetime.fromisoformat(end.removeprefix(_ENDS))
    except ValueError:
        return None


def extension_words(before: str, after: str, actor: str, reason: str) -> str:
    """Return until when units come in and who moved that; empty for no such transition.

    Args:
        before: State before, as a transition says it.
        after: State after, likewise.
        actor: Who moved the end.
        reason: Why, in their words.
    """
    old, new = ends_at(before), ends_at(after)
    if old is None or new is None:
        return ""
    return _(
        "It takes units in until {until}, moved from {before} by {actor}: {reason}.",
        until=instant(new),
        before=instant(old),
        actor=actor,
        reason=reason.rstrip("."),
    )


def extend(
    session: Session,
    record: ExperimentRecord,
    loaded: Loaded,
    asked: Asked,
    *,
    until: datetime | None = None,
    by: timedelta | None = None,
) -> TransitionRecord:
    """Let units come in for longer; units are watched as long after that as planned.

    Args:
        session: The transaction.
        record: Where the experiment stands.
        loaded: Its newest revision; it stays the same, and so do levels, windows and horizon.
        asked: Who asks, when and why.
        until: The new instant of the last exposure.
        by: How much later than so far, where ``until`` is not given.

    Raises:
        InvalidRequestError: Neither or both are given, or it is no later end.
        IllegalTransitionError: It is no run that takes units in.
        ConflictError: Its end has come.
        ChangedMeanwhileError: Somebody else changed the experiment.
    """
    _require_open(session, record, loaded, asked.at)
    later = _wanted(record, until=until, by=by)
    done = noted(
        session,
        record,
        asked,
        before=f"{_ENDS}{record.ends_at.isoformat()}",
        after=f"{_ENDS}{later.isoformat()}",
    )
    told(
        session,
        record,
        loaded,
        asked,
        key=f"extended:{record.key}/{record.seed}/t{done.id}",
        kind="extended",
        title=_("{experiment} takes units in until {at}", experiment=record.key, at=instant(later)),
        facts=after_extension(record.key, instant(record.ends_at)),
    )
    observed = record.observe_until - record.ends_at
    update_experiment(session, record, ends_at=later, observe_until=later + observed)
    return done


def _require_open(
    session: Session, record: ExperimentRecord, loaded: Loaded, now: datetime
) -> None:
    state = State(record.state)
    if state is State.DRAFT:
        raise ConflictError(
            _("{experiment} has not started: its end is what its file says", experiment=record.key),
            hint=_("apply the file with another `ends`"),
        )
    if state is State.OBSERVING or state in OVER:
        raise ConflictError(
            _(
                "{experiment} is {state}: nobody new was let in for a while, and those units "
                "cannot be had back",
                experiment=record.key,
                state=state.value,
            ),
            hint=again_words(record.seed),
        )
    treatments = load_treatments(session, record.key, record.seed)
    require(state, "extend", pointless=pointless(record, loaded, treatments))
    if record.ends_at <= now:
        raise ConflictError(
            _(
                "the end of {experiment} has come ({at})",
                experiment=record.key,
                at=instant(record.ends_at),
            ),
            hint=again_words(record.seed),
        )


def _wanted(record: ExperimentRecord, *, until: datetime | None, by: timedelta | None) -> datetime:
    if (until is None) == (by is None):
        raise InvalidRequestError(
            _("say until when, or by how much, and not both"),
            hint=_("for instance `by: 7d`, or `until: 2026-12-01T09:00:00Z`"),
            path="until",
        )
    path = "by" if until is None else "until"
    if by is not None and by > LONGEST:
        later = None
    else:
        later = until if until is not None else record.ends_at + (by or timedelta(0))
    if later is None or later - record.ends_at > LONGEST:
        raise InvalidRequestError(
            _("an end is moved by at most {number} days at a time", number=LONGEST.days),
            hint=_("it is {at} now", at=instant(record.ends_at)),
            path=path,
        )
    if later <= record.ends_at:
        raise InvalidRequestError(
            _(
                "{experiment} ends at {at}: an end can only come later",
                experiment=record.key,
                at=instant(record.ends_at),
            ),
            hint=_("`turnback stop` ends it now, `turnback pause` gives everybody control for now"),
            path=path,
        )
    return later
