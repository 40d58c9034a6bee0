"""Keeping what checks decided from, and finding it again by the ids that people are shown."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlmodel import Session, col, func, select

from experiments.errors import InvalidRequestError, TurnbackError
from experiments.models import TransitionRow
from experiments.repository import TransitionRecord
from guardrails.evidence import Account, sha256
from guardrails.models import EvaluationRow, EvidenceRow, FindingRow, KeptRow

_AT_ONCE = 500


class Kind(StrEnum):
    """What an id names; its letter comes before the number."""

    CHECK = "c"
    FINDING = "f"
    TRANSITION = "t"


@dataclass(frozen=True, slots=True)
class Reference:
    """The id of a check, a finding or a transition, as people are shown it: ``c12``, ``t3``."""

    kind: Kind
    number: int

    def __str__(self) -> str:
        return f"{self.kind.value}{self.number}"


class UnknownDecisionError(TurnbackError):
    """Nothing has this id."""

    code = "unknown_decision"
    status = 404


class NotReplayableError(TurnbackError):
    """There is nothing to compute again."""

    code = "not_replayable"
    status = 409


def reference(text: str) -> Reference:
    """Return what an id names.

    Raises:
        InvalidRequestError: It is no id.
    """
    found = re.fullmatch(r"([cft])([0-9]{1,18})", text.strip().lower(), re.ASCII)
    if found is None:
        raise InvalidRequestError(
            f"{text[:40]!r} is no id of a decision",
            hint="`turnback status KEY` shows them: t3 is a transition, f12 a finding, c12 a check",
            path="id",
        )
    return Reference(Kind(found[1]), int(found[2]))


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept of one check.

    Attributes:
        evaluation: Number of the check.
        experiment: Key.
        seed: Its seed.
        at: Instant of the check.
        engine: Version that decided.
        sha256: Hash of ``body`` when it was written.
        body: The account.
        check: What the table of checks says of it: watermark, missed, result, decision.
    """

    evaluation: int
    experiment: str
    seed: int
    at: datetime
    engine: str
    sha256: str
    body: str
    check: Mapping[str, Any]


def insert_account(
    session: Session,
    account: Account,
    *,
    evaluation: int,
    experiment: str,
    seed: int,
    at: datetime,
    engine: str,
) -> None:
    """Keep the account of a check and the parts that are not kept yet."""
    known = set(load_parts(session, experiment, account.parts))
    for sha, body in account.parts.items():
        if sha not in known:
            session.add(KeptRow(experiment=experiment, sha256=sha, body=body))
    session.add(
        EvidenceRow(
            evaluation=evaluation,
            experiment=experiment,
            seed=seed,
            at=at,
            engine=engine,
            sha256=sha256(account.body),
            body=account.body,
        )
    )
    session.flush()


def load_parts(session: Session, experiment: str, wanted: Iterable[str]) -> dict[str, str]:
    """Return the texts that are kept under these hashes."""
    found: dict[str, str] = {}
    names = sorted(set(wanted))
    for start in range(0, len(names), _AT_ONCE):
        some = names[start : start + _AT_ONCE]
        rows = session.exec(
            select(KeptRow.sha256, KeptRow.body).where(
                KeptRow.experiment == experiment, col(KeptRow.sha256).in_(some)
            )
        )
        found |= dict(rows.all())
    return found


def evaluation_of(session: Session, asked: Reference) -> int:
    """Return the number of the check that an id leads to.

    Raises:
        UnknownDecisionError: Nothing has this id.
        NotReplayableError: A person, or the clock alone, decided: there are no numbers.
    """
    if asked.kind is Kind.CHECK:
        if session.get(EvaluationRow, asked.number) is None:
            raise _unknown(asked)
        return asked.number
    if asked.kind is Kind.FINDING:
        finding = session.get(FindingRow, asked.number)
        if finding is None:
            raise _unknown(asked)
        return finding.evaluation
    transition = session.get(TransitionRow, asked.number)
    if transition is None:
        raise _unknown(asked)
    if transition.evaluation is None:
        raise NotReplayableError(
            f"{asked} ({transition.before} to {transition.after}) was no check's decision: "
            f"{transition.actor} did it",
            hint=f"the reason given: {transition.reason}",
        )
    return transition.evaluation


def _unknown(asked: Reference) -> UnknownDecisionError:
    return UnknownDecisionError(
        f"no decision has the id {asked}", hint="`turnback status KEY` and `explain KEY` show ids"
    )


def load_kept(session: Session, evaluation: int) -> Kept:
    """Return what is kept of a check.

    Raises:
        NotReplayableError: Nothing is.
    """
    row, check = session.get(EvidenceRow, evaluation), session.get(EvaluationRow, evaluation)
    if row is None or check is None:
        raise NotReplayableError(
            f"what the check c{evaluation} decided from was not kept",
            hint="it is kept at looks, at changes and once an hour; early versions kept less",
        )
    return _kept(row, check)


def load_history(session: Session, kept: Kept) -> tuple[Kept, ...]:
    """Return what is kept of the same run's checks up to one, oldest first."""
    rows = session.exec(
        select(EvidenceRow, EvaluationRow)
        .join(EvaluationRow, col(EvaluationRow.id) == col(EvidenceRow.evaluation))
        .where(
            EvidenceRow.experiment == kept.experiment,
            EvidenceRow.seed == kept.seed,
            col(EvidenceRow.evaluation) <= kept.evaluation,
        )
        .order_by(col(EvidenceRow.evaluation))
    )
    return tuple(_kept(row, check) for row, check in rows)


def newest_of_runs(session: Session) -> tuple[tuple[str, int], ...]:
    """Return the id of the newest kept check of every run, and how many are kept of the run.

    A run is an experiment under one seed.
    """
    rows = session.exec(
        select(func.max(EvidenceRow.evaluation), func.count())
        .group_by(col(EvidenceRow.experiment), col(EvidenceRow.seed))
        .order_by(func.max(EvidenceRow.evaluation))
    )
    return tuple((f"c{newest}", count) for newest, count in rows)


def _kept(row: EvidenceRow, check: EvaluationRow) -> Kept:
    return Kept(
        evaluation=row.evaluation,
        experiment=row.experiment,
        seed=row.seed,
        at=row.at,
        engine=row.engine,
        sha256=row.sha256,
        body=row.body,
        check={
            "experiment": check.experiment,
            "seed": check.seed,
            "at": check.at.isoformat(),
            "watermark": check.watermark,
            "missed": check.missed,
            "result": check.result,
            "decision": check.decision,
        },
    )


def findings_of(session: Session, evaluation: int) -> list[FindingRow]:
    """Return the findings kept of a check."""
    rows = session.exec(
        select(FindingRow).where(FindingRow.evaluation == evaluation).order_by(col(FindingRow.id))
    )
    return list(rows)


def transitions_of(session: Session, evaluation: int) -> Sequence[TransitionRecord]:
    """Return what a check changed."""
    rows = session.exec(
        select(TransitionRow)
        .where(TransitionRow.evaluation == evaluation)
        .order_by(col(TransitionRow.id))
    )
    names = TransitionRecord.__dataclass_fields__
    return [TransitionRecord(**{name: getattr(row, name) for name in names}) for row in rows]


def newest_findings(
    session: Session, experiment: str, seed: int
) -> dict[tuple[str, str, int], int]:
    """Return the number of the newest kept finding of every (guardrail, treatment, attempt)."""
    rows = session.exec(
        select(
            FindingRow.guardrail, FindingRow.treatment, FindingRow.attempt, func.max(FindingRow.id)
        )
        .where(FindingRow.experiment == experiment, FindingRow.seed == seed)
        .group_by(FindingRow.guardrail, FindingRow.treatment, col(FindingRow.attempt))
    )
    return {(guardrail, treatment, attempt): n for guardrail, treatment, attempt, n in rows if n}
