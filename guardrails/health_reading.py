"""How well the engine sees, and what could not be told: sums over everything that is recorded."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import func
from sqlmodel import Session, col, select

from experiments.lifecycle import CHECKED, State
from experiments.repository import ExperimentRecord, load_experiments
from guardrails.models import EvaluationRow, FindingRow, MonitorRow, OutboxRow
from guardrails.outcome import Outcome
from guardrails.shelf import Shelf

_BLIND = frozenset({Outcome.NO_DATA.value, Outcome.ERROR.value})
_OK = "ok"


@dataclass(frozen=True, slots=True)
class Blind:
    """How long a guardrail could not judge a treatment, over the whole run.

    ``since`` is set while it cannot.
    """

    guardrail: str
    treatment: str
    length: timedelta
    since: datetime | None


@dataclass(frozen=True, slots=True)
class ExperimentSight:
    """How well one experiment was seen, over its present run.

    Attributes:
        key: The experiment.
        state: Where it stands.
        checked: Whether it is checked now.
        check_every: Between two checks.
        last_check_at: The newest check, ``None`` before the first.
        checks: Checks that ran.
        failed: Of them, those that could not read the store.
        missed: Checks that were due while nothing ran.
        blind: Guardrails that could not judge for a while, the longest first.
    """

    key: str
    state: str
    checked: bool
    check_every: timedelta
    last_check_at: datetime | None
    checks: int
    failed: int
    missed: int
    blind: tuple[Blind, ...]

    @property
    def unchecked(self) -> timedelta:
        """Time in which checks were due and none ran, or none could read the store."""
        return (self.missed + self.failed) * self.check_every


@dataclass(frozen=True, slots=True)
class UntoldMessage:
    """A message that waits, or was given up; its experiment may be over."""

    channel: str
    experiment: str
    kind: str
    title: str
    created_at: datetime
    attempts: int
    due_at: datetime
    given_up_at: datetime | None
    error: str


def sights(session: Session, shelf: Shelf, *, now: datetime) -> tuple[ExperimentSight, ...]:
    """Return how well every experiment was seen, oldest first."""
    return tuple(_sight(session, shelf, record, now) for record in load_experiments(session))


def _sight(
    session: Session, shelf: Shelf, record: ExperimentRecord, now: datetime
) -> ExperimentSight:
    mine = (EvaluationRow.experiment == record.key, EvaluationRow.seed == record.seed)
    rows = session.exec(
        select(EvaluationRow.result, func.count(), func.sum(EvaluationRow.missed))
        .where(*mine)
        .group_by(EvaluationRow.result)
    ).all()
    return ExperimentSight(
        key=record.key,
        state=record.state,
        checked=State(record.state) in CHECKED,
        check_every=shelf.load(session, record).spec.experiment.check_every,
        last_check_at=record.last_tick_at,
        checks=sum(count for _, count, _ in rows),
        failed=sum(count for result, count, _ in rows if result != _OK),
        missed=sum(int(missed or 0) for _, _, missed in rows),
        blind=_blind(session, record, now),
    )


def _blind(session: Session, record: ExperimentRecord, now: datetime) -> tuple[Blind, ...]:
    """Return spells without sight, summed up: an outcome is kept whenever it changes."""
    found = session.exec(
        select(FindingRow.guardrail, FindingRow.treatment, FindingRow.outcome, FindingRow.at)
        .where(FindingRow.experiment == record.key, FindingRow.seed == record.seed)
        .order_by(FindingRow.guardrail, FindingRow.treatment, col(FindingRow.id))
    )
    lengths = _spells(found)
    standing = session.exec(
        select(MonitorRow.guardrail, MonitorRow.treatment, MonitorRow.blind_since).where(
            MonitorRow.experiment == record.key,
            MonitorRow.seed == record.seed,
            col(MonitorRow.blind_since).is_not(None),
        )
    ).all()
    checked = State(record.state) in CHECKED
    since = {(g, t): at for g, t, at in standing} if checked else {}
    for pair, at in since.items():
        # the newest kept look may be up to an hour old: the spell goes on until now
        kept, last = lengths.get(pair, (timedelta(0), None))
        lengths[pair] = kept + (now - (last or at or now)), last
    return tuple(
        sorted(
            (
                Blind(guardrail, treatment, length, since.get((guardrail, treatment)))
                for (guardrail, treatment), (length, _) in lengths.items()
                if length or (guardrail, treatment) in since
            ),
            key=lambda each: each.length,
            reverse=True,
        )
    )


_Spells = dict[tuple[str, str], tuple[timedelta, datetime | None]]


def _spells(found: Iterable[tuple[str, str, str, datetime]]) -> _Spells:
    """Return by guardrail and treatment how long it was blind, and the newest blind look."""
    lengths: _Spells = {}
    before: tuple[str, str, str, datetime] | None = None
    for row in found:
        pair, (_, _, outcome, at) = row[:2], row
        if before is not None and before[:2] == pair and before[2] in _BLIND:
            length, _ = lengths.get(pair, (timedelta(0), None))
            lengths[pair] = length + (at - before[3]), None
        if outcome in _BLIND:
            length, _ = lengths.get(pair, (timedelta(0), None))
            lengths[pair] = length, at
        before = row
    return lengths


def untold_messages(session: Session, *, most: int) -> tuple[UntoldMessage, ...]:
    """Return messages that wait or were given up, newest first."""
    rows = session.exec(
        select(OutboxRow)
        .where(col(OutboxRow.delivered_at).is_(None))
        .order_by(col(OutboxRow.id).desc())
        .limit(most)
    )
    return tuple(
        UntoldMessage(
            channel=row.channel,
            experiment=row.experiment,
            kind=str(row.body.get("kind", "")),
            title=str(row.body.get("title", "")),
            created_at=row.created_at,
            attempts=row.attempts,
            due_at=row.due_at,
            given_up_at=row.given_up_at,
            error=row.last_error or "",
        )
        for row in rows
    )
