"""Loading and saving what Alertmanager told."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import func
from sqlmodel import Session, col, select

from guardrails.judge_alert import AlertWatch, ToldAlert
from guardrails.models import AlertRow

MOST_FIRING: Final = 200
"""Alerts of one experiment that may fire at once; more are no news."""

_RESOLVED: Final = 20
"""Resolved alerts that a check is told of, the newest."""

AFTER: Final = timedelta(milliseconds=1)
"""How long after the newest check something came that it has not seen."""


_NEWEST_TOLD = select(
    AlertRow.experiment, func.max(col(AlertRow.received_at)), func.max(col(AlertRow.ended_at))
).group_by(col(AlertRow.experiment))


def newest_told(session: Session) -> Mapping[str, datetime]:
    """Return when there was news of an alert last, by experiment: it fired or was resolved."""
    rows = session.connection().execute(_NEWEST_TOLD)
    return {key: max(at for at in instants if at is not None) for key, *instants in rows}


def alerts_told(
    session: Session, experiment: str, watches: Sequence[AlertWatch]
) -> tuple[ToldAlert, ...]:
    """Return what was told that some guardrail asks about, in the order it was received."""
    if not watches:
        return ()
    mine = select(AlertRow).where(AlertRow.experiment == experiment)
    firing = session.exec(mine.where(col(AlertRow.ended_at).is_(None))).all()
    resolved = session.exec(
        mine.where(col(AlertRow.ended_at).is_not(None))
        .order_by(col(AlertRow.ended_at).desc())
        .limit(_RESOLVED)
    ).all()
    told = [_told(row) for row in (*firing, *resolved)]
    asked = [alert for alert in told if any(watch.counts(alert) for watch in watches)]
    return tuple(sorted(asked, key=lambda a: (a.received_at, a.fingerprint)))


def firing(session: Session, experiment: str) -> int:
    """Return how many alerts of an experiment fire."""
    counted = select(func.count()).where(
        AlertRow.experiment == experiment, col(AlertRow.ended_at).is_(None)
    )
    return session.exec(counted).one()


def keep_firing(session: Session, experiment: str, alert: ToldAlert) -> bool:
    """Keep that an alert fires; return whether that is news.

    One that began later replaces an older one of the same labels: it was resolved in between,
    and nobody told. One that began earlier, as an instance merges what two Prometheus told, is the
    same alert.
    """
    rows = _of(session, experiment, alert.fingerprint)
    same = next((row for row in rows if row.starts_at == alert.starts_at), None)
    open_ = [row for row in rows if row.ended_at is None]
    known = same or next((row for row in open_ if row.starts_at > alert.starts_at), None)
    if known is not None:
        if known.ended_at is None:
            known.told_at = alert.told_at
            session.add(known)
        return False
    for row in open_:
        row.ended_at = alert.received_at
        session.add(row)
    session.add(_row(experiment, alert))
    session.flush()
    return True


def keep_resolved(
    session: Session, experiment: str, alert: ToldAlert, *, ends_at: datetime
) -> bool:
    """Keep that an alert is resolved; return whether that is news.

    Args:
        session: A transaction.
        experiment: Key.
        alert: Which; its ``ended_at`` is set.
        ends_at: Until when it fired, as it says itself: what began later goes on.
    """
    rows = _of(session, experiment, alert.fingerprint)
    over = [r for r in rows if r.ended_at is None and r.starts_at <= max(ends_at, alert.starts_at)]
    for row in over:
        row.ended_at = alert.ended_at
        session.add(row)
    if over:
        return True
    if all(row.starts_at != alert.starts_at for row in rows):
        session.add(_row(experiment, alert))  # that it fired may come later, from another instance
        session.flush()
        return True
    return False


def _of(session: Session, experiment: str, fingerprint: str) -> Sequence[AlertRow]:
    return session.exec(
        select(AlertRow).where(
            AlertRow.experiment == experiment, AlertRow.fingerprint == fingerprint
        )
    ).all()


def _row(experiment: str, alert: ToldAlert) -> AlertRow:
    return AlertRow(
        experiment=experiment,
        fingerprint=alert.fingerprint,
        starts_at=alert.starts_at,
        name=alert.name,
        variant=alert.variant,
        labels=dict(alert.labels),
        asked=alert.asked,
        summary=alert.summary,
        received_at=alert.received_at,
        told_at=alert.told_at,
        ended_at=alert.ended_at,
    )


def _told(row: AlertRow) -> ToldAlert:
    return ToldAlert(
        fingerprint=row.fingerprint,
        name=row.name,
        variant=row.variant,
        labels=row.labels,
        asked=row.asked,
        summary=row.summary,
        starts_at=row.starts_at,
        received_at=row.received_at,
        told_at=row.told_at,
        ended_at=row.ended_at,
    )
