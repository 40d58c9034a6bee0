"""Alerts in: what a notification of Alertmanager says, and what becomes of each of its alerts.

A notification is delivered at least once, by every instance of a cluster, and again every few hours
while an alert fires: an alert is known by its fingerprint and its beginning, and told once. What is
kept is judged at the next ring of the clock, which does not wait for the next scheduled check.
"""

import logging
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from threading import Lock, RLock
from typing import Annotated, Final, Literal

import msgspec
from sqlmodel import Session

from experiments.database import ControlPlane
from experiments.errors import InvalidRequestError, UnknownExperimentError
from experiments.language.reading import near
from experiments.lifecycle import OVER, State
from guardrails.alert_rows import AFTER, MOST_FIRING, firing, keep_firing, keep_resolved
from guardrails.channels.texts import one_line
from guardrails.clock import Clock
from guardrails.judge_alert import ToldAlert
from guardrails.loaded import Loaded
from guardrails.rules.alert import OWN
from guardrails.rules.common import Action
from guardrails.shelf import Shelf

logger = logging.getLogger("turnback.alerts")

ASKED: Final = (Action.ROLLBACK, Action.HOLD, Action.ALERT)
"""What an alert may ask for with its label ``action``; it never stops a whole experiment."""

MOST_ALERTS: Final = 1_000
"""Alerts of one notification."""

_LONGEST_VALUE: Final = 1_000
_MOST_LABELS: Final = 60


class Result(StrEnum):
    """What became of an alert."""

    FIRED = "fired"  # it is news, and counts from now on
    RESOLVED = "resolved"  # it no longer fires
    REPEATED = "repeated"  # it was told before
    IGNORED = "ignored"  # nothing follows from it, and the answer says why


class Posted(msgspec.Struct, frozen=True):
    """One alert of a notification, as Alertmanager sends it."""

    status: Literal["firing", "resolved"]
    labels: dict[str, str]
    startsAt: Annotated[datetime, msgspec.Meta(tz=True)]  # noqa: N815 - the sender's names
    fingerprint: Annotated[str, msgspec.Meta(pattern="^[0-9a-f]{16}$")]
    endsAt: Annotated[datetime, msgspec.Meta(tz=True)] | msgspec.UnsetType = msgspec.UNSET  # noqa: N815
    annotations: dict[str, str] = {}


class Notification(msgspec.Struct, frozen=True):
    """What a webhook of Alertmanager posts, version 4; what is not needed is not read."""

    version: Literal["4"]
    alerts: Annotated[list[Posted], msgspec.Meta(max_length=MOST_ALERTS)]
    truncatedAlerts: Annotated[float, msgspec.Meta(ge=0, le=1_000_000, multiple_of=1)] = 0  # noqa: N815 - 3.0 is an integer too


@dataclass(frozen=True, slots=True)
class Ignored:
    """An alert from which nothing follows, and why."""

    alert: str
    experiment: str
    reason: str


@dataclass(frozen=True, slots=True)
class Taken:
    """What became of a notification.

    Attributes:
        fired: Alerts that count from now on.
        resolved: Alerts that no longer fire.
        repeated: Alerts that were told before.
        ignored: The others, each with its reason.
    """

    fired: int
    resolved: int
    repeated: int
    ignored: tuple[Ignored, ...]


_decode = msgspec.json.Decoder(Notification)


def read_notification(body: bytes) -> Notification:
    """Return what a body says.

    Raises:
        InvalidRequestError: It is no notification of Alertmanager, version 4.
    """
    hint = "let Alertmanager send it: a receiver with webhook_configs, and this address as its url"
    try:
        return _decode.decode(body)
    except msgspec.ValidationError as error:
        _, _, where = str(error).partition(" - at `$")
        path = where.rstrip("`").removeprefix(".").replace("[...]", "[]")
        raise InvalidRequestError(
            f"this is no notification of Alertmanager's webhook, version 4: {path or 'the body'} "
            "is not as it sends it",
            hint=hint,
            path=path,
        ) from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidRequestError("the body is no JSON", hint=hint) from None


class Inbox:
    """Takes notifications of Alertmanager; safe from any thread.

    Args:
        control: The control plane.
        shelf: Revisions.
        clock: Where now comes from.
        lock: Held while something is kept, so that no check runs between now and then.
    """

    def __init__(self, control: ControlPlane, shelf: Shelf, clock: Clock, lock: RLock) -> None:
        self._control = control
        self._shelf = shelf
        self._clock = clock
        self._lock = lock
        self._counting = Lock()
        self._counts = Counter(dict.fromkeys(Result, 0))

    @property
    def counts(self) -> Mapping[str, int]:
        """What became of alerts since the service was started."""
        with self._counting:
            return {result.value: count for result, count in self._counts.items()}

    def take(self, notification: Notification) -> Taken:
        """Keep what is news, all of a notification or nothing, and say what became of it."""
        counts, ignored = Counter[Result](), list[Ignored]()
        with self._lock, self._control.transaction() as session:
            for alert in notification.alerts:
                found = self._one(session, alert)
                if isinstance(found, Result):
                    counts[found] += 1
                else:
                    name, key = (alert.labels.get(n, "") for n in ("alertname", "experiment"))
                    ignored.append(Ignored(one_line(name, 100), one_line(key, 100), found))
        counts[Result.IGNORED] = len(ignored)
        with self._counting:
            self._counts.update(counts)
        self._log(notification, counts, ignored)
        return Taken(
            counts[Result.FIRED],
            counts[Result.RESOLVED],
            counts[Result.REPEATED],
            tuple(ignored),
        )

    @staticmethod
    def _log(
        notification: Notification, counts: Mapping[Result, int], ignored: Sequence[Ignored]
    ) -> None:
        if counts[Result.FIRED] or counts[Result.RESOLVED]:
            logger.info(
                "%d alerts fire, %d are resolved", counts[Result.FIRED], counts[Result.RESOLVED]
            )
        for each in ignored:
            logger.warning(
                "the alert %r about %r is ignored: %s", each.alert, each.experiment, each.reason
            )
        if notification.truncatedAlerts:
            logger.warning(
                "%d alerts were left out by Alertmanager: remove max_alerts from the webhook",
                notification.truncatedAlerts,
            )

    def _one(self, session: Session, posted: Posted) -> Result | str:
        """Keep one alert; return what became of it, or why it is ignored."""
        key = posted.labels.get("experiment", "")
        reason = _unusable(posted)
        if reason is not None:
            return reason
        try:
            record, loaded = self._shelf.known(session, key)
        except UnknownExperimentError as error:
            return f"there is no such experiment; {error.hint}" if error.hint else str(error)
        if State(record.state) in OVER:
            return f"the experiment is {record.state}"
        last, now = record.last_tick_at, self._clock.now()
        if last is not None and now <= last:
            now = last + AFTER  # the newest check has not seen it, whatever the clock says
        alert = _told(posted, now)
        return _unasked(alert, loaded) or _keep(session, key, alert, posted)


def _keep(session: Session, key: str, alert: ToldAlert, posted: Posted) -> Result | str:
    """Keep an alert that counts; return what became of it, or why it cannot be kept."""
    if posted.status == "resolved":
        ended = replace(alert, ended_at=alert.received_at)
        until = alert.received_at if posted.endsAt is msgspec.UNSET else posted.endsAt
        news = keep_resolved(session, key, ended, ends_at=until)
        return Result.RESOLVED if news else Result.REPEATED
    if firing(session, key) >= MOST_FIRING:
        return f"{MOST_FIRING} alerts fire about this experiment already"
    return Result.FIRED if keep_firing(session, key, alert) else Result.REPEATED


def _told(posted: Posted, now: datetime) -> ToldAlert:
    said = posted.annotations.get("summary") or posted.annotations.get("description", "")
    return ToldAlert(
        fingerprint=posted.fingerprint,
        name=posted.labels["alertname"],
        variant=posted.labels.get("variant") or None,
        labels=posted.labels,
        asked=posted.labels.get("action") or None,
        summary=one_line(said, 300),
        starts_at=posted.startsAt,
        received_at=now,
        told_at=now,
    )


def _unusable(posted: Posted) -> str | None:
    """Return why nothing can follow from an alert, whatever any file says."""
    labels = posted.labels
    if not labels.get("alertname"):
        return "it has no name (the label `alertname`)"
    if not labels.get("experiment"):
        return "it names no experiment: give its rule the label `experiment`"
    if labels["alertname"].startswith(OWN):
        return "it is an alert of Turnback's own, which decides nothing"
    asked = labels.get("action")
    if asked and asked not in ASKED:
        return f"`{one_line(asked, 50)}` is nothing to ask for; known: {', '.join(ASKED)}"
    if len(labels) > _MOST_LABELS or any(len(v) > _LONGEST_VALUE for v in labels.values()):
        return f"it has more than {_MOST_LABELS} labels, or one longer than {_LONGEST_VALUE:,}"
    return None


def _unasked(alert: ToldAlert, loaded: Loaded) -> str | None:
    """Return why the file of an experiment gives an alert nothing to do."""
    experiment = loaded.spec.experiment
    if alert.variant == experiment.control:
        return f"{alert.variant} is control: there is nothing to turn back"
    if alert.variant is not None and alert.variant not in experiment.treatments:
        hint = near(alert.variant, experiment.treatments, otherwise="there is")
        return f"it has no treatment `{one_line(alert.variant, 50)}`; {hint}"
    if any(watch.counts(alert) for watch in loaded.alerts):
        return None
    names = list(dict.fromkeys(watch.name for watch in loaded.alerts))
    if alert.name in names:
        return f"the guardrail on `{alert.name}` in its file asks for other labels"
    there = f"; it has one on {', '.join(names)}" if names else ""
    return f"its file has no guardrail of rule `alert` on this alert{there}"
