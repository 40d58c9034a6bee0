"""Loading and saving checks, evidence and messages."""

import base64
import math
from array import array
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import msgspec
from sqlalchemy import Text, bindparam, delete, func, insert, update
from sqlalchemy import cast as as_type
from sqlalchemy import select as columns
from sqlmodel import Session, col, select

from experiments.models import ExperimentRow, TransitionRow, TreatmentRow
from experiments.repository import ExperimentRecord, TransitionRecord
from guardrails.models import (
    AuditRow,
    EvaluationRow,
    FindingRow,
    MonitorRow,
    OutboxRow,
    SnapshotRow,
    SuspensionRow,
)
from guardrails.outcome import Finding, WindowState
from metrics.cells import Snapshot

_SNAPSHOT = SnapshotRow.metadata.tables["snapshot"]
_INSERT_EVALUATION = insert(EvaluationRow.metadata.tables["evaluation"])
_INSERT_SNAPSHOT = insert(_SNAPSHOT)
_UPDATE_SNAPSHOT = (
    update(_SNAPSHOT)
    .where(_SNAPSHOT.c.experiment == bindparam("its_experiment"))
    .values(at=bindparam("at"), body=bindparam("body"))
)


def activity(session: Session) -> str:
    """Return a token that is another one after every check and every change of state."""
    row = session.connection().execute(_ACTIVITY).one()
    return "-".join(str(part) for part in row)


def load_changes(
    session: Session, experiments: Collection[str]
) -> dict[str, list[TransitionRecord]]:
    """Return every change of state of many experiments by key, oldest first."""
    names = TransitionRecord.__dataclass_fields__
    asked = columns(*(TransitionRow.metadata.tables["transition"].c[name] for name in names))
    its = col(TransitionRow.experiment).in_(experiments)
    found: dict[str, list[TransitionRecord]] = {key: [] for key in experiments}
    for row in session.connection().execute(asked.where(its).order_by(col(TransitionRow.id))):
        found[row.experiment].append(TransitionRecord(*row))
    return found


def activities(session: Session) -> dict[str, str]:
    """Return the same of each experiment by key, oldest first."""
    connection = session.connection()
    newest = {row[0]: row[1] for row in connection.execute(_TRANSITIONS)}
    served: dict[str, list[str]] = {}
    for key, *facts in connection.execute(_TREATMENTS):
        served.setdefault(key, []).append(repr(facts))
    return {
        row[0]: f"{row[1:]}-{newest.get(row[0], 0)}-{''.join(served.get(row[0], ()))}"
        for row in connection.execute(_EXPERIMENTS)
    }


_EXPERIMENTS = columns(
    col(ExperimentRow.key),
    col(ExperimentRow.version),
    col(ExperimentRow.checks),
    col(ExperimentRow.revision),
    col(ExperimentRow.ends_at),
).order_by(col(ExperimentRow.started_at), col(ExperimentRow.key))
_TRANSITIONS = columns(col(TransitionRow.experiment), func.max(col(TransitionRow.id))).group_by(
    col(TransitionRow.experiment)
)
_TREATMENTS = columns(
    col(TreatmentRow.experiment),
    col(TreatmentRow.seed),
    col(TreatmentRow.attempt),
    col(TreatmentRow.state),
    col(TreatmentRow.effective),
)
_ACTIVITY = columns(
    func.count(),
    func.coalesce(func.sum(col(ExperimentRow.version)), 0),
    func.coalesce(func.sum(col(ExperimentRow.checks)), 0),
    columns(func.coalesce(func.max(col(TransitionRow.id)), 0)).scalar_subquery(),
    columns(func.coalesce(func.max(col(SuspensionRow.id)), 0)).scalar_subquery(),
    columns(func.coalesce(func.max(col(AuditRow.id)), 0)).scalar_subquery(),
).select_from(ExperimentRow)


@dataclass(frozen=True, slots=True)
class Monitor:
    """What the last check of one guardrail and attempt left behind."""

    treatment: str
    attempt: int
    guardrail: str
    checked_at: datetime
    stored_at: datetime | None
    outcome: str
    blind_since: datetime | None
    told: bool
    states: Mapping[str, WindowState]
    finding: Finding
    blind_checks: int = 0


def finding_to_json(finding: Finding) -> dict[str, Any]:
    """Return a finding as plain JSON: what is not finite becomes text, states are left out."""
    body = msgspec.to_builtins(finding)
    body["states"] = {}
    return _finite(body)


def finding_from_json(body: Mapping[str, Any]) -> Finding:
    """Return the finding that ``finding_to_json`` wrote."""
    return msgspec.convert(body, Finding, strict=False)


def state_to_json(state: WindowState) -> dict[str, Any]:
    """Return a state as JSON; the density is kept bit for bit."""
    return {
        "looks": state.looks,
        "information": state.information,
        "spent": state.spent,
        "boundary": _number(state.boundary),
        "grid": _packed(state.grid),
        "mass": _packed(state.mass),
        "crossed": state.crossed,
        "watermark": state.watermark,
    }


def state_from_json(body: Mapping[str, Any]) -> WindowState:
    """Return the state that ``state_to_json`` wrote."""
    return WindowState(
        looks=body["looks"],
        information=body["information"],
        spent=body["spent"],
        boundary=float(body["boundary"]),
        grid=_unpacked(body["grid"]),
        mass=_unpacked(body["mass"]),
        crossed=body["crossed"],
        watermark=body["watermark"],
    )


def _packed(values: Sequence[float]) -> str:
    return base64.b64encode(array("d", values).tobytes()).decode("ascii")


def _unpacked(text: str) -> tuple[float, ...]:
    values = array("d")
    values.frombytes(base64.b64decode(text))
    return tuple(values)


def _number(value: float) -> float | str:
    return value if math.isfinite(value) else str(value)


def _finite(value: Any) -> Any:
    kind = type(value)
    if kind is float:
        return _number(value)
    if kind is dict:
        return {k: _finite(item) if type(item) in _MAY_HOLD else item for k, item in value.items()}
    if kind is list or kind is tuple:
        return [_finite(item) for item in value]
    return value


_MAY_HOLD = frozenset({float, dict, list, tuple})
"""Types of plain JSON in which a number that is not finite may be: asked first, it is cheaper."""


def insert_evaluation(
    session: Session,
    *,
    experiment: str,
    seed: int,
    at: datetime,
    watermark: int,
    missed: int,
    result: str,
    decision: str,
) -> int:
    """Record a tick; the database refuses a second record of the same one.

    Returns:
        Its id.

    Raises:
        sqlalchemy.exc.IntegrityError: The tick was recorded by somebody else.
    """
    done = session.connection().execute(
        _INSERT_EVALUATION,
        {
            "experiment": experiment,
            "seed": seed,
            "at": at,
            "watermark": watermark,
            "missed": missed,
            "result": result,
            "decision": decision,
        },
    )
    key = done.inserted_primary_key
    if key is None or key[0] is None:
        raise RuntimeError("the database gave the evaluation no id")
    return key[0]


def missed_checks(session: Session, experiment: str) -> int:
    """Return how many ticks of an experiment nobody ran, over all its checks."""
    total = select(func.sum(EvaluationRow.missed)).where(EvaluationRow.experiment == experiment)
    return int(session.exec(total).one() or 0)


def evaluation_exists(session: Session, experiment: str, at: datetime) -> bool:
    """Return whether a tick was recorded."""
    query = select(EvaluationRow.id).where(
        EvaluationRow.experiment == experiment, EvaluationRow.at == at
    )
    return session.exec(query).first() is not None


def running_since(session: Session, record: ExperimentRecord) -> datetime:
    """Return when an experiment was last started or continued."""
    newest = session.exec(
        select(TransitionRow.at)
        .where(
            TransitionRow.experiment == record.key,
            col(TransitionRow.variant).is_(None),
            TransitionRow.after == "running",
        )
        .order_by(col(TransitionRow.id).desc())
        .limit(1)
    ).first()
    return record.started_at if newest is None else max(newest, record.started_at)


def forget_monitors(session: Session, experiment: str, seed: int, guardrails: set[str]) -> None:
    """Drop the states of guardrails that now mean something else; their evidence stays."""
    session.exec(
        delete(MonitorRow)
        .where(
            col(MonitorRow.experiment) == experiment,
            col(MonitorRow.seed) == seed,
            col(MonitorRow.guardrail).in_(guardrails),
        )
        .execution_options(synchronize_session=False)
    )


def insert_finding(
    session: Session,
    finding: Finding,
    *,
    evaluation: int,
    experiment: str,
    seed: int,
    attempt: int,
    at: datetime,
) -> None:
    """Keep the evidence of one guardrail and treatment for good."""
    session.add(
        FindingRow(
            evaluation=evaluation,
            experiment=experiment,
            seed=seed,
            attempt=attempt,
            guardrail=finding.guardrail,
            treatment=finding.treatment,
            at=at,
            outcome=finding.outcome.value,
            evidence=finding.evidence if math.isfinite(finding.evidence) else 1e308,
            body=finding_to_json(finding),
        )
    )


def load_findings(
    session: Session, experiment: str, seed: int, *, limit: int = 2000
) -> list[tuple[datetime, int, Finding]]:
    """Return stored evidence as (at, attempt, finding), oldest first, the newest ``limit``."""
    rows = session.connection().execute(
        # as text: decoded at once into what is shown
        columns(col(FindingRow.at), col(FindingRow.attempt), as_type(col(FindingRow.body), Text))
        .where(col(FindingRow.experiment) == experiment, col(FindingRow.seed) == seed)
        .order_by(col(FindingRow.id).desc())
        .limit(limit)
    )
    return [(at, attempt, _finding.decode(body)) for at, attempt, body in reversed(rows.all())]


_finding = msgspec.json.Decoder(Finding, strict=False)


def snapshot_to_json(snapshot: Snapshot) -> dict[str, Any]:
    """Return what is shown of a snapshot: exact totals per KPI, window and variant."""
    kpis: list[dict[str, Any]] = []
    instants = (reach.last_event_at for reach in snapshot.reach.values())
    newest = max((at for at in instants if at is not None), default=None)
    for (kpi, window), cells in snapshot.cells.items():
        phases: dict[str, dict[int, list[int]]] = {}
        for cell in cells:
            mine = phases.setdefault(cell.variant, {}).setdefault(cell.phase, [0] * 5)
            sums = cell.sums
            for place, more in enumerate((cell.entered, sums.n, sums.x, sums.xx, sums.y)):
                mine[place] += more
        for variant, own in phases.items():
            entered, n, x, _, y = map(sum, zip(*own.values(), strict=True))
            kpis.append(
                {
                    "kpi": kpi,
                    "window": int(window.total_seconds()),
                    "variant": variant,
                    "entered": entered,
                    "n": n,
                    "y": str(y),
                    "x": str(x),
                    # by phase: units entered, units with a denominator, its sum and squares
                    "denominators": {
                        str(phase): [e, n, str(x), str(xx)]
                        for phase, (e, n, x, xx, _) in own.items()
                    },
                }
            )
    return {
        "watermark": snapshot.watermark,
        "conflicted": snapshot.conflicted,
        "exposed": {variant: reach.exposed for variant, reach in snapshot.reach.items()},
        "newest_event": None if newest is None else newest.isoformat(),
        "kpis": kpis,
    }


def save_snapshot(session: Session, experiment: str, at: datetime, body: dict[str, Any]) -> None:
    """Replace what the newest check saw."""
    values = {"at": at, "body": body}
    connection = session.connection()
    done = connection.execute(_UPDATE_SNAPSHOT, {"its_experiment": experiment, **values})
    if done.rowcount == 0:
        connection.execute(_INSERT_SNAPSHOT, {"experiment": experiment, **values})


def forget_snapshot(session: Session, experiment: str) -> None:
    """Drop what the newest check saw: a new seed has seen nothing yet."""
    session.exec(
        delete(SnapshotRow)
        .where(col(SnapshotRow.experiment) == experiment)
        .execution_options(synchronize_session=False)
    )


def load_snapshot(session: Session, experiment: str) -> tuple[datetime, Mapping[str, Any]] | None:
    """Return (at, what the newest check saw), ``None`` before any check."""
    row = session.get(SnapshotRow, experiment)
    return None if row is None else (row.at, row.body)


def load_snapshots(
    session: Session, experiments: Collection[str]
) -> dict[str, tuple[datetime, Mapping[str, Any]]]:
    """Return the same of many experiments, by key."""
    asked = columns(col(SnapshotRow.experiment), col(SnapshotRow.at), col(SnapshotRow.body))
    its = col(SnapshotRow.experiment).in_(experiments)
    return {key: (at, body) for key, at, body in session.connection().execute(asked.where(its))}


def newest_watermark(session: Session) -> int:
    """Return the highest sequence number any check has counted up to, 0 without checks."""
    asked = (func.max(EvaluationRow.watermark), func.max(ExperimentRow.watermark))
    return max(session.exec(select(each)).one() or 0 for each in asked)


def enqueue(
    session: Session,
    *,
    key: str,
    channels: Sequence[str],
    experiment: str,
    at: datetime,
    body: dict[str, Any],
) -> None:
    """Put one message into the outbox of every channel, in the transaction that causes it."""
    for channel in channels:
        session.add(
            OutboxRow(
                key=key,
                channel=channel,
                experiment=experiment,
                created_at=at,
                due_at=at,
                body=body,
            )
        )


def message_exists(session: Session, key: str) -> bool:
    """Return whether a message was put into the outbox, delivered or not."""
    return session.exec(select(OutboxRow.id).where(OutboxRow.key == key)).first() is not None
