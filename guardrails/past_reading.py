"""Reading what was known of an experiment at an instant of the past."""

from datetime import datetime

from sqlmodel import Session, col, func, select

from experiments.errors import InvalidRequestError, SpecError
from experiments.models import TreatmentRow
from experiments.repository import TreatmentRecord, load_revisions, load_transitions
from guardrails.loaded import Loaded
from guardrails.models import EvaluationRow, FindingRow
from guardrails.past import Past, Seen
from guardrails.replay import gone_since
from guardrails.repository import finding_from_json
from guardrails.settings import EngineSettings
from guardrails.shelf import Shelf
from guardrails.suspension import history_of
from guardrails.words import instant
from metrics.store import MetricStore


def past_of(
    session: Session,
    shelf: Shelf,
    store: MetricStore,
    settings: EngineSettings,
    *,
    key: str,
    at: datetime,
    now: datetime,
) -> Past:
    """Return what was known of an experiment at an instant.

    Raises:
        UnknownExperimentError: No such experiment.
        InvalidRequestError: It was not there yet, or the instant is still to come.
    """
    shelf.known(session, key)
    if at > now:
        raise InvalidRequestError(
            f"{instant(at)} is still to come", hint=f"it is {instant(now)}", path="at"
        )
    revisions = [r for r in load_revisions(session, key) if r.at <= at]
    if not revisions:
        first = load_revisions(session, key)[0]
        raise InvalidRequestError(
            f"{key} was not there yet on {instant(at)}",
            hint=f"its first file was applied on {instant(first.at)}",
            path="at",
        )
    revision = revisions[-1]
    treatments = _treatments(session, key, at)
    checks, last, watermark = _checks(session, key, at)
    return Past(
        key=key,
        at=at,
        revision=revision,
        loaded=_loaded(session, shelf, settings, key, revision.number),
        transitions=[t for t in load_transitions(session, key) if t.at <= at],
        treatments=treatments,
        seen=_seen(session, key, treatments, at),
        checks=checks,
        last_check=last,
        suspensions=[s for s in history_of(session) if s.at <= at],
        gone=gone_since(store.erasures(), at=at, watermark=watermark),
    )


def _loaded(
    session: Session, shelf: Shelf, settings: EngineSettings, key: str, number: int
) -> Loaded | None:
    try:
        return shelf.as_of(session, key, number, queries=settings.queries)
    except SpecError:
        return None


def _treatments(session: Session, key: str, at: datetime) -> list[TreatmentRecord]:
    """Return the newest attempt of every treatment, of the seed that was analysed then."""
    rows = session.exec(
        select(TreatmentRow)
        .where(TreatmentRow.experiment == key, col(TreatmentRow.since) <= at)
        .order_by(col(TreatmentRow.seed), col(TreatmentRow.attempt))
    ).all()
    seed = max((row.seed for row in rows), default=None)
    names = TreatmentRecord.__dataclass_fields__
    newest = {row.variant: row for row in rows if row.seed == seed}
    return [
        TreatmentRecord(**{name: getattr(row, name) for name in names}) for row in newest.values()
    ]


def _checks(session: Session, key: str, at: datetime) -> tuple[int, datetime | None, int]:
    """Return how many checks had run, the last, and up to which event they had counted."""
    query = select(
        func.count(col(EvaluationRow.id)),
        func.max(EvaluationRow.at),
        func.max(EvaluationRow.watermark),
    ).where(EvaluationRow.experiment == key, col(EvaluationRow.at) <= at)
    count, last, watermark = session.exec(query).one()
    return count, last, watermark or 0


def _seen(
    session: Session, key: str, treatments: list[TreatmentRecord], at: datetime
) -> list[Seen]:
    found: list[Seen] = []
    for treatment in treatments:
        newest = (
            select(func.max(FindingRow.id))
            .where(
                FindingRow.experiment == key,
                FindingRow.seed == treatment.seed,
                FindingRow.treatment == treatment.variant,
                FindingRow.attempt == treatment.attempt,
                col(FindingRow.at) <= at,
            )
            .group_by(FindingRow.guardrail)
        )
        for number in session.exec(newest).all():
            row = session.get(FindingRow, number)
            if row is not None and number is not None:
                found.append(Seen(number, row.at, finding_from_json(row.body)))
    return sorted(found, key=lambda seen: seen.number)
