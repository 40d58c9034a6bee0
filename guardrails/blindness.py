"""Telling people that a source outside the store gives no usable answers."""

from collections.abc import Mapping, Sequence
from datetime import datetime

from sqlmodel import Session

from experiments.repository import ExperimentRecord
from guardrails.loaded import Loaded
from guardrails.outcome import Code, Finding
from guardrails.repository import Monitor, message_exists
from guardrails.rollback import message
from guardrails.words import instant, outcome_words

IN_A_ROW = 3
"""Checks without an answer after which people are told."""


def tell_blind(
    session: Session,
    record: ExperimentRecord,
    loaded: Loaded,
    monitors: Mapping[tuple[str, str, int], Monitor],
    findings: Sequence[Finding],
    *,
    at: datetime,
) -> None:
    """Put one message per guardrail and spell of blindness into the outbox.

    Args:
        session: The transaction of the check.
        record: The experiment.
        loaded: Its revision.
        monitors: What the last checks left behind, before this one.
        findings: What this one found.
        at: Its instant.
    """
    every = loaded.spec.experiment.check_every
    told: set[str] = set()
    for finding in findings:
        since = _blind_since(monitors, finding)
        if since is None or finding.guardrail in told or at - since < (IN_A_ROW - 1) * every:
            continue
        told.add(finding.guardrail)
        key = f"blind:{record.key}/{record.seed}/{finding.guardrail}@{since.isoformat()}"
        if message_exists(session, key):
            continue
        judged = loaded.comparison(finding.guardrail, finding.treatment)
        text = outcome_words(finding, judged, loaded.title(finding.kpi)) if judged else ""
        message(
            session,
            key=key,
            kind="blind",
            experiment=record.key,
            variant=None,
            at=at,
            title=f"{record.key}: {finding.guardrail} cannot be judged since {instant(since)}",
            text=f"{text}. The ramp stands still meanwhile, unless it only alerts; nobody is "
            "turned back by it.",
            evidence=None,
            channels=loaded.channels,
            guardrail=finding.guardrail,
            facts={"next": f"turnback status {record.key}"},
        )


def _blind_since(
    monitors: Mapping[tuple[str, str, int], Monitor], finding: Finding
) -> datetime | None:
    """Return since when a source failed, ``None`` where it answers or fails for the first time."""
    if finding.code is not Code.SOURCE_FAILED:
        return None
    known = [
        monitor
        for (guardrail, treatment, _), monitor in monitors.items()
        if (guardrail, treatment) == (finding.guardrail, finding.treatment)
    ]
    newest = max(known, key=lambda monitor: monitor.attempt, default=None)
    return newest.blind_since if newest is not None else None
