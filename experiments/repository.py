"""Loading and saving experiments. Rows go in and frozen records come out."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, TypeVar

from sqlalchemy import bindparam, delete, func, update
from sqlmodel import Session, col, select

from experiments.models import (
    ExperimentRow,
    PhaseRow,
    RevisionRow,
    TransitionRow,
    TreatmentRow,
)
from experiments.statements import columns

NOT_APPROVED: Final = -1
"""``approved`` while nobody has allowed the current ramp step to be left."""


@dataclass(frozen=True, slots=True)
class ExperimentRecord:
    """Where an experiment stands; ``version`` is what compare-and-set compares.

    Attributes:
        starts_at: When a draft starts by itself, ``None`` when a person starts it.
        approved: Index of the ramp step that a person allowed to be left, -1 for none.
        layer: Name of the layer whose buckets it owns, ``None`` for none.
        layer_buckets: Those buckets, [start, stop) pairs.
        holdout: Share of all units the global holdout keeps out, fixed when the seed began.
        shipped: Treatment that everybody gets once it is finished (``auto_ship``).
    """

    key: str
    version: int
    state: str
    seed: int
    revision: int
    step: int
    step_since: datetime
    step_exposed: Mapping[str, int]
    started_at: datetime
    ends_at: datetime
    observe_until: datetime
    checks: int
    last_tick_at: datetime | None
    watermark: int
    starts_at: datetime | None = None
    approved: int = NOT_APPROVED
    layer: str | None = None
    layer_buckets: Sequence[Sequence[int]] = ()
    holdout: float = 0.0
    shipped: str | None = None


@dataclass(frozen=True, slots=True)
class TreatmentRecord:
    """The newest attempt of a treatment under the current seed."""

    variant: str
    seed: int
    attempt: int
    state: str
    first_phase: int
    since: datetime
    rolled_back_at: datetime | None
    verify_after: datetime | None
    effective: bool | None
    rate_before: float | None
    rate_after: float | None


@dataclass(frozen=True, slots=True)
class TransitionRecord:
    """A recorded change of state."""

    id: int
    experiment: str
    variant: str | None
    before: str
    after: str
    at: datetime
    actor: str
    reason: str
    evaluation: int | None
    evidence: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class RevisionRecord:
    """One applied file."""

    number: int
    text: str
    sha256: str
    source: str
    actor: str
    at: datetime


T = TypeVar("T")


class ChangedMeanwhileError(Exception):
    """Somebody else changed the experiment between reading and writing; nothing was written."""


def _record(kind: type[T], row: Any) -> T:
    fields: Mapping[str, Any] = kind.__dataclass_fields__  # type: ignore[attr-defined]
    return kind(**{name: getattr(row, name) for name in fields})


def experiment_keys(session: Session) -> list[str]:
    """Return every experiment's key, oldest first."""
    return [record.key for record in load_experiments(session)]


_ITS = "experiment seed"
_EXPERIMENT = ExperimentRecord.__dataclass_fields__
_ALL_EXPERIMENTS = columns("experiment", _EXPERIMENT, order="started_at key")
_ONE_EXPERIMENT = columns("experiment", _EXPERIMENT, order="key", where="key")
_TREATMENT = TreatmentRecord.__dataclass_fields__
_ITS_TREATMENTS = columns("treatment", _TREATMENT, order="attempt", where=_ITS)
_ITS_PHASES = columns("phase", ["at"], order="number", where=_ITS)
_FACTS = ["key", "revision", "seed", "state", "step", "layer_buckets", "holdout", "shipped"]
_SERVED_EXPERIMENTS = columns("experiment", _FACTS, order="key")
_LATCH = "experiment variant seed attempt"
_SERVED_TREATMENTS = columns("treatment", [*_LATCH.split(), "state"], order=_LATCH)


def load_experiments(session: Session) -> list[ExperimentRecord]:
    """Return where every experiment stands, oldest first."""
    rows = session.connection().execute(_ALL_EXPERIMENTS)
    return [ExperimentRecord(*row) for row in rows]


def served_facts(session: Session) -> tuple[tuple[object, ...], ...]:
    """Return everything that decides what applications are answered, in a comparable form."""
    connection = session.connection()
    experiments = connection.execute(_SERVED_EXPERIMENTS)
    treatments = connection.execute(_SERVED_TREATMENTS)
    return (
        *((*facts[:5], repr(facts[5]), *facts[6:]) for facts in map(tuple, experiments)),
        *map(tuple, treatments),
    )


def load_experiment(session: Session, key: str) -> ExperimentRecord | None:
    """Return where an experiment stands, ``None`` when it is not known."""
    row = session.connection().execute(_ONE_EXPERIMENT, {"its_key": key}).one_or_none()
    return None if row is None else ExperimentRecord(*row)


def insert_experiment(session: Session, record: ExperimentRecord) -> None:
    """Insert a new experiment."""
    values = {name: getattr(record, name) for name in ExperimentRecord.__dataclass_fields__}
    values["layer_buckets"] = [list(interval) for interval in record.layer_buckets]
    session.add(ExperimentRow(**values))
    session.flush()


def layer_members(
    session: Session, layer: str, *, besides: str, over: Collection[str]
) -> list[ExperimentRecord]:
    """Return the experiments that own buckets of a layer, by key.

    Args:
        session: The session.
        layer: Name of the layer.
        besides: Key of the experiment that asks.
        over: States whose experiments own nothing any more.
    """
    rows = session.exec(
        select(ExperimentRow)
        .where(
            ExperimentRow.layer == layer,
            ExperimentRow.key != besides,
            col(ExperimentRow.state).not_in(over),
        )
        .order_by(col(ExperimentRow.key))
    )
    return [_record(ExperimentRecord, row) for row in rows]


_TABLE = ExperimentRow.metadata.tables["experiment"]
_IF_UNCHANGED = update(_TABLE).where(
    _TABLE.c.key == bindparam("its_key"), _TABLE.c.version == bindparam("its_version")
)


def update_experiment(session: Session, record: ExperimentRecord, **changes: Any) -> None:
    """Compare and set: apply ``changes`` if nobody changed the experiment since ``record``.

    Raises:
        ChangedMeanwhileError: The version is no longer the one read.
    """
    session.flush()
    done = session.connection().execute(
        _IF_UNCHANGED.values(version=record.version + 1, **changes),
        {"its_key": record.key, "its_version": record.version},
    )
    if done.rowcount != 1:
        raise ChangedMeanwhileError(record.key)


def load_revision(session: Session, key: str, number: int) -> RevisionRow:
    """Return one applied file."""
    return session.exec(
        select(RevisionRow).where(RevisionRow.experiment == key, RevisionRow.number == number)
    ).one()


def load_revisions(session: Session, key: str) -> tuple[RevisionRecord, ...]:
    """Return every applied file of an experiment, oldest first."""
    rows = session.exec(
        select(RevisionRow).where(RevisionRow.experiment == key).order_by(col(RevisionRow.number))
    )
    return tuple(_record(RevisionRecord, row) for row in rows)


def newest_revisions(session: Session, over: Collection[str]) -> dict[str, RevisionRecord]:
    """Return the newest applied file of every experiment by key, but for those in some states."""
    rows = session.exec(
        select(RevisionRow)
        .join(ExperimentRow, col(ExperimentRow.key) == col(RevisionRow.experiment))
        .where(
            col(ExperimentRow.revision) == col(RevisionRow.number),
            col(ExperimentRow.state).not_in(list(over)),
        )
    )
    return {row.experiment: _record(RevisionRecord, row) for row in rows}


def insert_revision(
    session: Session,
    *,
    experiment: str,
    number: int,
    text: str,
    sha256: str,
    source: str,
    actor: str,
    at: datetime,
) -> None:
    """Keep an applied file for good."""
    session.add(
        RevisionRow(
            experiment=experiment,
            number=number,
            text=text,
            sha256=sha256,
            source=source,
            actor=actor,
            at=at,
        )
    )
    session.flush()


def load_treatments(session: Session, key: str, seed: int) -> dict[str, TreatmentRecord]:
    """Return the newest attempt of every treatment under ``seed``, by variant."""
    its = {"its_experiment": key, "its_seed": seed}
    rows = session.connection().execute(_ITS_TREATMENTS, its)
    return {row.variant: TreatmentRecord(*row) for row in rows}


def highest_seed(session: Session, key: str, *, besides: int) -> int | None:
    """Return the highest seed, other than ``besides``, that an experiment ever had treatments of.

    ``None`` where there is no other.
    """
    query = select(func.max(TreatmentRow.seed)).where(
        TreatmentRow.experiment == key, TreatmentRow.seed != besides
    )
    return session.exec(query).one()


def forget_treatments(session: Session, key: str, seed: int) -> None:
    """Drop the treatments of a draft: nobody has met them, and its file may name others now."""
    session.exec(
        delete(TreatmentRow)
        .where(col(TreatmentRow.experiment) == key, col(TreatmentRow.seed) == seed)
        .execution_options(synchronize_session=False)
    )


def insert_treatment(
    session: Session,
    *,
    experiment: str,
    variant: str,
    seed: int,
    attempt: int,
    first_phase: int,
    since: datetime,
) -> None:
    """Begin an attempt of a treatment, live."""
    session.add(
        TreatmentRow(
            experiment=experiment,
            variant=variant,
            seed=seed,
            attempt=attempt,
            first_phase=first_phase,
            since=since,
        )
    )
    session.flush()


def close_latch(
    session: Session,
    *,
    experiment: str,
    treatment: TreatmentRecord,
    at: datetime,
    verify_after: datetime,
) -> None:
    """Turn a live attempt into a rolled back one, once.

    Raises:
        ChangedMeanwhileError: It is not live any more.
    """
    done = session.exec(
        update(TreatmentRow)
        .where(
            col(TreatmentRow.experiment) == experiment,
            col(TreatmentRow.variant) == treatment.variant,
            col(TreatmentRow.seed) == treatment.seed,
            col(TreatmentRow.attempt) == treatment.attempt,
            col(TreatmentRow.state) == "live",
        )
        .values(state="rolled_back", rolled_back_at=at, verify_after=verify_after)
        .execution_options(synchronize_session=False)
    )
    if done.rowcount != 1:
        raise ChangedMeanwhileError(f"{experiment}/{treatment.variant}")


def save_verification(
    session: Session,
    *,
    experiment: str,
    treatment: TreatmentRecord,
    effective: bool | None,
    rate_before: float | None,
    rate_after: float | None,
) -> None:
    """Record what the verification of a rollback found."""
    row = session.get(
        TreatmentRow, (experiment, treatment.variant, treatment.seed, treatment.attempt)
    )
    if row is None:
        raise ChangedMeanwhileError(f"{experiment}/{treatment.variant}")
    row.effective, row.rate_before, row.rate_after = effective, rate_before, rate_after
    session.add(row)
    session.flush()


def load_phases(session: Session, key: str, seed: int) -> tuple[datetime, ...]:
    """Return the instants at which a new phase began, ascending."""
    its = {"its_experiment": key, "its_seed": seed}
    return tuple(session.connection().execute(_ITS_PHASES, its).scalars())


def insert_phase(
    session: Session, *, experiment: str, seed: int, number: int, at: datetime, reason: str
) -> None:
    """Begin a new phase."""
    session.add(PhaseRow(experiment=experiment, seed=seed, number=number, at=at, reason=reason))
    session.flush()


def insert_transition(
    session: Session,
    *,
    experiment: str,
    variant: str | None,
    before: str,
    after: str,
    at: datetime,
    actor: str,
    reason: str,
    evaluation: int | None = None,
    evidence: dict[str, Any] | None = None,
    latch: str | None = None,
) -> TransitionRecord:
    """Record a change of state; the database refuses a second one for the same ``latch``."""
    row = TransitionRow(
        experiment=experiment,
        variant=variant,
        before=before,
        after=after,
        at=at,
        actor=actor,
        reason=reason,
        evaluation=evaluation,
        evidence=evidence,
        latch=latch,
    )
    session.add(row)
    session.flush()
    return _record(TransitionRecord, row)


def load_transitions(session: Session, key: str) -> tuple[TransitionRecord, ...]:
    """Return every change of state of an experiment, oldest first."""
    rows = session.exec(
        select(TransitionRow).where(TransitionRow.experiment == key).order_by(col(TransitionRow.id))
    )
    return tuple(_record(TransitionRecord, row) for row in rows)
