"""Reading everything kept of one rollback.

It stays readable after a resumption, a restart and when the events have left the log, since
evidence, findings and transitions are kept for good.
"""

import json
from collections.abc import Mapping
from datetime import datetime, timedelta

from sqlmodel import Session, col, select

from experiments.errors import TurnbackError
from experiments.lifecycle import OVER, State, possible
from experiments.models import RevisionRow, TransitionRow, TreatmentRow
from experiments.repository import (
    ExperimentRecord,
    TransitionRecord,
    TreatmentRecord,
    load_treatments,
)
from guardrails.evidence_rows import Kind, Reference, UnknownDecisionError, evaluation_of, reference
from guardrails.loaded import Loaded
from guardrails.models import EvidenceRow, FindingRow
from guardrails.outcome import Finding
from guardrails.present import transition_view
from guardrails.present_guardrails import guardrail_views
from guardrails.repository import Monitor, finding_from_json
from guardrails.rollback_views import ClientsSeen, RollbackStory, Since
from guardrails.settings import EngineSettings
from guardrails.shelf import Shelf
from guardrails.standing import pointless, winner_of
from guardrails.verify import WATCHED_FOR
from guardrails.views import GuardrailView, RollbackView, VariantView
from metrics.exposure_kinds import ExposureKind
from metrics.store import MetricStore, StoreError
from metrics.wording import gettext as _

_AFTER = timedelta(hours=12)
"""Looks shown after the rollback: what had entered went on being judged."""


class NoRollbackError(TurnbackError):
    """What has this id turned nobody back."""

    code = "no_rollback"
    status = 404


def rollback_id(session: Session, key: str, asked: str) -> str:
    """Return the id of the rollback an id leads to: of itself, of its check or of its finding.

    Raises:
        InvalidRequestError: It is no id.
        UnknownDecisionError: Nothing of this experiment has this id.
        NoRollbackError: It turned nobody back.
    """
    which = reference(asked)
    rows = _rows(session, key, which)
    if not rows:
        raise NoRollbackError(
            _("{id} of {experiment} turned nobody back", id=which, experiment=key),
            hint=_("{command} lists what happened", command=f"`turnback status {key}`"),
        )
    return f"t{rows[0].id}"


def _rows(session: Session, key: str, which: Reference) -> list[TransitionRow]:
    if which.kind is Kind.TRANSITION:
        row = session.get(TransitionRow, which.number)
        if row is None or row.experiment != key:
            raise UnknownDecisionError(
                _("no change of {experiment} has the id {id}", id=which, experiment=key),
                hint=_("{command} lists what happened", command=f"`turnback status {key}`"),
            )
        return [row] if row.after == "rolled_back" else []
    check = evaluation_of(session, which)
    rows = session.exec(
        select(TransitionRow)
        .where(
            TransitionRow.experiment == key,
            TransitionRow.evaluation == check,
            TransitionRow.after == "rolled_back",
        )
        .order_by(col(TransitionRow.id))
    ).all()
    if which.kind is Kind.FINDING:
        finding = session.get(FindingRow, which.number)
        rows = [r for r in rows if finding is not None and r.variant == finding.treatment]
    return list(rows)


def rollback_story(
    session: Session,
    shelf: Shelf,
    store: MetricStore,
    settings: EngineSettings,
    *,
    key: str,
    asked: str,
    now: datetime,
) -> RollbackStory:
    """Return everything kept of a rollback.

    Raises:
        UnknownExperimentError: No such experiment.
        InvalidRequestError: It is no id.
        UnknownDecisionError: Nothing of this experiment has this id.
        NoRollbackError: It turned nobody back.
        SpecError: This version cannot read the file of then any more.
    """
    record, current = shelf.known(session, key)
    number = reference(rollback_id(session, key, asked)).number
    row = session.get(TransitionRow, number)
    if row is None or row.variant is None:
        raise NoRollbackError(
            _("{id} of {experiment} turned nobody back", id=f"t{number}", experiment=key)
        )
    transition = _transition(row)
    treatment = _treatment(session, row)
    revision = _revision(session, row)
    loaded = shelf.as_of(session, key, revision, queries=settings.queries)
    exposed, counted_at = _exposed(session, key, treatment, row)
    later = _later(session, key, row)
    resumed = next((t.at for t in later if t.after == "live"), None)
    until = min(now, (treatment.verify_after or row.at) + WATCHED_FOR, resumed or now)
    spec = loaded.spec.experiment
    treatments = load_treatments(session, key, record.seed)
    return RollbackStory(
        transition=transition_view(transition),
        title=spec.title,
        owner=spec.owner,
        unit=spec.unit,
        control=spec.control,
        seed=treatment.seed,
        attempt=treatment.attempt,
        began=treatment.since,
        revision=revision,
        alpha=spec.alpha,
        variants=tuple(
            VariantView(
                name=v.name,
                state="control" if v.name == spec.control else "live",
                weight=v.weight,
                share=v.weight,
                exposed=exposed.get(v.name, 0),
                attempt=1,
                flow=v.flow,
            )
            for v in spec.variants
        ),
        counted_at=counted_at,
        guardrail=_guardrail(session, loaded, treatment, transition),
        rollback=_followed(treatment, row.at),
        clients=_clients(store, treatment, key, at=row.at, until=until),
        clients_until=until,
        since=_since(record, treatments, treatment),
        later=tuple(map(transition_view, later)),
        state=record.state,
        shipped=winner_of(record, treatments),
        actions=possible(State(record.state), pointless=pointless(record, current, treatments)),
        now=now,
        check=None if row.evaluation is None else f"c{row.evaluation}",
    )


def _transition(row: TransitionRow) -> TransitionRecord:
    names = TransitionRecord.__dataclass_fields__
    return TransitionRecord(**{name: getattr(row, name) for name in names})


def _treatment(session: Session, row: TransitionRow) -> TreatmentRecord:
    """Return the attempt that was turned back: the latch names it."""
    _whose, seed, attempt = (row.latch or "/1/1").rsplit("/", 2)
    found = session.get(TreatmentRow, (row.experiment, row.variant, int(seed), int(attempt)))
    if found is None:
        said = _("what {id} turned back is not known any more", id=f"t{row.id}")
        raise NoRollbackError(said)
    names = TreatmentRecord.__dataclass_fields__
    return TreatmentRecord(**{name: getattr(found, name) for name in names})


def _revision(session: Session, row: TransitionRow) -> int:
    """Return the revision that was in force."""
    told = (row.evidence or {}).get("revision")
    if isinstance(told, int):
        return told
    newest = session.exec(
        select(RevisionRow.number)
        .where(RevisionRow.experiment == row.experiment, col(RevisionRow.at) <= row.at)
        .order_by(col(RevisionRow.number).desc())
    ).first()
    return newest or 1


def _exposed(
    session: Session, key: str, treatment: TreatmentRecord, row: TransitionRow
) -> tuple[Mapping[str, int], datetime | None]:
    """Return how many units had met each arm, and at which kept check that was counted."""
    kept = session.exec(
        select(EvidenceRow)
        .where(
            EvidenceRow.experiment == key,
            EvidenceRow.seed == treatment.seed,
            col(EvidenceRow.at) <= row.at,
        )
        .order_by(col(EvidenceRow.evaluation).desc())
        .limit(1)
    ).first()
    if kept is None:
        return {}, None
    try:
        reach = json.loads(kept.body)["snapshot"]["reach"]
        return {str(v): int(r["exposed"]) for v, r in reach.items()}, kept.at
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}, None  # the store could not be read then, or the account is not whole


def _guardrail(
    session: Session, loaded: Loaded, treatment: TreatmentRecord, transition: TransitionRecord
) -> GuardrailView | None:
    body = (transition.evidence or {}).get("finding")
    if body is None:
        return None
    finding = finding_from_json(body)
    rows = session.exec(
        select(FindingRow)
        .where(
            FindingRow.experiment == transition.experiment,
            FindingRow.seed == treatment.seed,
            FindingRow.guardrail == finding.guardrail,
            FindingRow.treatment == finding.treatment,
            FindingRow.attempt == treatment.attempt,
            col(FindingRow.at) <= transition.at + _AFTER,
        )
        .order_by(col(FindingRow.id))
    ).all()
    stored = [(row.at, row.attempt, finding_from_json(row.body)) for row in rows]
    decided = [row.id for row in rows if row.evaluation == transition.evaluation]
    key = finding.guardrail, finding.treatment, treatment.attempt
    views = guardrail_views(
        loaded,
        [_monitor(finding, treatment, transition.at)],
        stored,
        {key: decided[0]} if decided and decided[0] is not None else {},
    )
    named = (v for v in views if (v.guardrail, v.treatment) == key[:2])
    return next(named, None)


def _monitor(finding: Finding, treatment: TreatmentRecord, at: datetime) -> Monitor:
    return Monitor(
        treatment=finding.treatment,
        attempt=treatment.attempt,
        guardrail=finding.guardrail,
        checked_at=at,
        stored_at=at,
        outcome=finding.outcome.value,
        blind_since=None,
        blind_checks=0,
        told=False,
        states=finding.states,
        finding=finding,
    )


def _followed(treatment: TreatmentRecord, at: datetime) -> RollbackView:
    return RollbackView(
        variant=treatment.variant,
        attempt=treatment.attempt,
        at=treatment.rolled_back_at or at,
        verify_after=treatment.verify_after or at,
        effective=treatment.effective,
        rate_before=treatment.rate_before,
        rate_after=treatment.rate_after,
    )


def _clients(
    store: MetricStore, treatment: TreatmentRecord, key: str, *, at: datetime, until: datetime
) -> tuple[ClientsSeen, ...] | None:
    """Return exposures by kind of client; ``None`` where they have left the log."""
    begun = max(treatment.since, at - timedelta(days=1))
    if any(e.before is not None and e.before > begun for e in store.erasures()):
        return None
    grace = treatment.verify_after or at
    try:
        before = store.exposure_kinds(key, treatment.seed, since=begun, until=at)
        after = store.exposure_kinds(key, treatment.seed, since=grace, until=max(grace, until))
    except StoreError:
        return None
    mine = treatment.variant
    return tuple(
        ClientsSeen(kind.value, before.get((mine, kind), 0), after.get((mine, kind), 0))
        for kind in ExposureKind
        if before.get((mine, kind)) or after.get((mine, kind))
    )


def _later(session: Session, key: str, row: TransitionRow) -> list[TransitionRecord]:
    rows = session.exec(
        select(TransitionRow)
        .where(
            TransitionRow.experiment == key,
            TransitionRow.variant == row.variant,
            col(TransitionRow.id) > (row.id or 0),
        )
        .order_by(col(TransitionRow.id))
    )
    return [_transition(each) for each in rows]


def _since(
    record: ExperimentRecord,
    treatments: Mapping[str, TreatmentRecord],
    treatment: TreatmentRecord,
) -> Since:
    if record.seed != treatment.seed:
        return Since.NEW_SEED
    if State(record.state) in OVER:
        return Since.OVER
    newest = treatments.get(treatment.variant, treatment)
    if newest.attempt == treatment.attempt:
        return Since.LATCHED
    return Since.RESUMED if newest.state == "live" else Since.BACK_AGAIN
