"""A rollback is a fact, not an intention: is the arm really no longer met?"""

import logging
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlmodel import Session, select

from experiments.models import TransitionRow
from experiments.repository import ExperimentRecord, TreatmentRecord, save_verification
from guardrails.effective import verify_rollback
from guardrails.failpoints import Point, reached
from guardrails.links import rollback_link
from guardrails.rollback import latch_key, message
from metrics.store import MetricStore
from metrics.wording import gettext as _

logger = logging.getLogger("turnback.verify")


WATCHED_FOR = timedelta(days=1)
"""A rollback found effective is watched this long: clients may come back with old answers."""


@dataclass(frozen=True, slots=True)
class Verified:
    """What one look at one rolled back arm found; rates are exposures an hour."""

    treatment: TreatmentRecord
    rate_before: float | None
    rate_after: float | None
    effective: bool | None


def verify_rollbacks(
    store: MetricStore,
    record: ExperimentRecord,
    treatments: Mapping[str, TreatmentRecord],
    *,
    at: datetime,
) -> tuple[Verified, ...]:
    """Look at every rolled back arm whose grace is over. Only reads; blindness proves nothing."""
    done: list[Verified] = []
    for treatment in treatments.values():
        back, after = treatment.rolled_back_at, treatment.verify_after
        if back is None or after is None or at <= after:
            continue
        if treatment.effective is True and at - back > WATCHED_FOR:
            continue
        since = max(treatment.since, back - timedelta(days=1))
        try:
            before = store.exposure_counts(record.key, record.seed, since=since, until=back)
            later = store.exposure_counts(record.key, record.seed, since=after, until=at)
        except Exception:  # as in a check: what cannot be seen is not known
            logger.exception("%s: the rollback could not be verified", record.key)
            continue
        arm = later.get(treatment.variant, 0)
        verdict = verify_rollback(
            before=before.get(treatment.variant, 0),
            hours_before=(back - since) / timedelta(hours=1),
            after=arm,
            others_after=sum(later.values()) - arm,
            hours_after=(at - after) / timedelta(hours=1),
        )
        if verdict[2] is None and treatment.effective is not None:
            continue  # silence does not take back what was seen
        done.append(Verified(treatment, *verdict))
    return tuple(done)


def store_verified(
    session: Session,
    record: ExperimentRecord,
    verified: Sequence[Verified],
    *,
    channels: Sequence[str],
    at: datetime,
    public_url: str = "",
) -> None:
    """Record what was found, and tell once when an arm is still being shown."""
    for item in verified:
        treatment = item.treatment
        save_verification(
            session,
            experiment=record.key,
            treatment=treatment,
            effective=item.effective,
            rate_before=item.rate_before,
            rate_after=item.rate_after,
        )
        reached(Point.VERIFIED)
        if item.effective is False and treatment.effective is not False:
            rate = item.rate_after if item.rate_after is not None else math.nan
            message(
                session,
                key=f"ineffective:{latch_key(record.key, treatment)}",
                kind="rollback_ineffective",
                experiment=record.key,
                variant=treatment.variant,
                at=at,
                title=_(
                    "{experiment}: {variant} is still being shown",
                    experiment=record.key,
                    variant=treatment.variant,
                ),
                text=f"{treatment.variant} was turned back, but {rate:.1f} units an hour still "
                "meet it: some clients do not follow the served configuration",
                evidence=None,
                channels=channels,
                facts={"next": f"turnback status {record.key}"},
                link=_link(session, public_url, record.key, latch_key(record.key, treatment)),
            )


def _link(session: Session, public_url: str, key: str, latch: str) -> str:
    """Return where the page of the rollback is that a latch belongs to."""
    number = session.exec(select(TransitionRow.id).where(TransitionRow.latch == latch)).first()
    return "" if number is None else rollback_link(public_url, key, number)
