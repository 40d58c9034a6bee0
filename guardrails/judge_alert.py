"""Judging the rule ``alert``: what Alertmanager told so far. Pure, outside statistics.

Breach while an alert that counts fires, pass after it was resolved. Silence proves neither: an
alert is posted again every few hours while it fires, and one that was never posted may have had
nobody to post it.

Source: DESIGN 9.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from guardrails.outcome import Code, Finding, Outcome
from guardrails.rules import Alert
from guardrails.rules.alert import strength, weaker
from guardrails.rules.common import Action
from guardrails.spec_file import SpecFile


@dataclass(frozen=True, slots=True)
class ToldAlert:
    """One alert as Alertmanager told it: from when it fired until it was resolved.

    Attributes:
        fingerprint: By which Alertmanager knows its labels.
        name: Its label ``alertname``.
        variant: The treatment it is about, ``None`` where it names none.
        labels: All of its labels.
        asked: The most it asks for, ``None`` where it asks for nothing in particular.
        summary: What it says of itself, one line; may be empty.
        starts_at: Since when it fires, as it says itself.
        received_at: When Turnback was first told.
        told_at: When Turnback was last told that it fires.
        ended_at: When Turnback was told that it is resolved, ``None`` while it fires.
    """

    fingerprint: str
    name: str
    variant: str | None
    labels: Mapping[str, str]
    asked: str | None
    summary: str
    starts_at: datetime
    received_at: datetime
    told_at: datetime
    ended_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class AlertWatch:
    """One guardrail of rule ``alert`` and treatment, ready to be judged.

    Attributes:
        guardrail: Id of the guardrail.
        name: Of the alerts that count.
        labels: What their other labels must be.
        hold: For how long one must have been firing.
        action: The most that one does.
        treatment: Arm judged.
        alone: Whether it is the only treatment: an alert that names no variant blames it.
    """

    guardrail: str
    name: str
    labels: Mapping[str, str]
    hold: timedelta
    action: Action
    treatment: str
    alone: bool

    def counts(self, alert: ToldAlert) -> bool:
        """Return whether an alert counts for this guardrail and treatment."""
        return (
            alert.name == self.name
            and alert.variant in {None, self.treatment}
            and all(alert.labels.get(name) == value for name, value in self.labels.items())
        )

    def allowed(self, alert: ToldAlert) -> Action:
        """Return what an alert does: what it asks for, and no more than the file allows."""
        asked = None if alert.asked is None else Action(alert.asked)
        found = weaker(self.action, asked)
        if alert.variant is None and not self.alone and found is Action.ROLLBACK:
            return Action.HOLD  # it blames no treatment
        return found


def plan_alerts(spec: SpecFile) -> tuple[AlertWatch, ...]:
    """Return which alerts a file wants to hear of, by treatment, in the file's order."""
    treatments = spec.experiment.treatments
    return tuple(
        AlertWatch(
            guardrail=guardrail.id,
            name=guardrail.name,
            labels=guardrail.labels,
            hold=guardrail.hold,
            action=guardrail.action,
            treatment=treatment,
            alone=len(treatments) == 1,
        )
        for guardrail in spec.guardrails
        if isinstance(guardrail, Alert)
        for treatment in treatments
    )


def judge_alert(
    watch: AlertWatch, alerts: Iterable[ToldAlert], *, since: datetime, at: datetime
) -> Finding:
    """Judge what was told of the alerts that count for a guardrail and treatment.

    Args:
        watch: Which alerts count.
        alerts: What was told up to ``at``.
        since: From when the treatment is served. An alert that began before counts once it was
            told again: only then it speaks of this attempt.
        at: Instant of the check.
    """
    mine = [alert for alert in alerts if watch.counts(alert) and alert.received_at <= at]
    firing = [a for a in mine if a.ended_at is None or a.ended_at > at]
    told = [a for a in firing if a.told_at >= since]
    held = [a for a in told if at - max(a.received_at, since) >= watch.hold]
    if held:
        return _found(watch, Outcome.BREACH, Code.ALERT_FIRES, held)
    if told:
        return _found(watch, Outcome.INCONCLUSIVE, Code.ALERT_NOT_HELD, told)
    if firing:
        return _found(watch, Outcome.INCONCLUSIVE, Code.ALERT_FROM_BEFORE, firing)
    if mine:
        return _found(watch, Outcome.PASS, Code.ALERT_RESOLVED, mine)
    return _found(watch, Outcome.INCONCLUSIVE, Code.NO_ALERT, ())


def _found(watch: AlertWatch, outcome: Outcome, code: Code, alerts: Sequence[ToldAlert]) -> Finding:
    """Return a finding; of several alerts the one that does most is told, the oldest of these."""
    first = min(alerts, key=lambda a: (-strength(watch.allowed(a)), a.received_at), default=None)
    if code is Code.ALERT_RESOLVED:
        first = max(alerts, key=lambda a: (a.ended_at or a.received_at, a.fingerprint))
    return Finding(
        guardrail=watch.guardrail,
        kpi=None,
        treatment=watch.treatment,
        outcome=outcome,
        code=code,
        evidence=1.0 if outcome is Outcome.BREACH else 0.0,
        detail={} if first is None else _detail(watch, first, len(alerts)),
    )


def _detail(watch: AlertWatch, alert: ToldAlert, count: int) -> dict[str, Any]:
    return {
        "alert": alert.name,
        "fingerprint": alert.fingerprint,
        "labels": dict(alert.labels),
        "summary": alert.summary,
        "starts_at": alert.starts_at.isoformat(),
        "received_at": alert.received_at.isoformat(),
        "told_at": alert.told_at.isoformat(),
        "ended_at": None if alert.ended_at is None else alert.ended_at.isoformat(),
        "action": watch.allowed(alert).value,
        "alerts": count,
        # what blames no treatment of several is told once
        "shared": alert.variant is None and not watch.alone,
    }
