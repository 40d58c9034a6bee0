"""What was told and still stands, for receivers that forget: told again, then told as over."""

import logging
from collections.abc import Callable, Mapping
from datetime import datetime, timedelta
from functools import partial
from threading import Event
from typing import Final

import msgspec
from sqlmodel import Session

from experiments.database import ControlPlane
from experiments.lifecycle import OVER, State
from experiments.repository import (
    ExperimentRecord,
    TreatmentRecord,
    load_experiment,
    load_treatments,
)
from guardrails.channels import Channel, DeliveryError, Message, Repeating
from guardrails.links import leading
from guardrails.monitors import load_monitors
from guardrails.outbox import Report
from guardrails.outbox_rows import Told, end_messages, told_messages
from guardrails.repository import Monitor
from guardrails.rollback import latch_key
from guardrails.suspension import is_suspended

logger = logging.getLogger("turnback.notify")

TOLD_AS_OVER: Final = timedelta(minutes=5)
"""How long the end of something is told again: a receiver may have been away."""

SOON: Final = timedelta(seconds=15)
"""When a receiver that could not be reached is tried again, at the latest."""

NEWS: Final = timedelta(minutes=5)
"""How long something stands that is over as soon as it happened, such as a start."""

STOPPED: Final = timedelta(days=1)
"""How long a stop by a breach stands: nothing else would end it."""


class StandingAlerts:
    """Tells channels whose receivers forget what stands, as often as each wants it.

    Args:
        control: The control plane.
        channels: Where messages go, by name; the others are left alone.
        now: The clock.
        report: Hears of every try that was not taken.
        suspended: Whether the setting suspends the engine.
        stopping: Set when the service stops.
        public_url: Where people reach the pages; empty for no links.
    """

    def __init__(
        self,
        control: ControlPlane,
        channels: Mapping[str, Channel],
        *,
        now: Callable[[], datetime],
        report: Report,
        suspended: bool,
        stopping: Event,
        public_url: str = "",
    ) -> None:
        self._control = control
        self._channels = {n: c for n, c in channels.items() if isinstance(c, Repeating)}
        self._now = now
        self._report = report
        self._suspended = suspended
        self._stopping = stopping
        self._public_url = public_url
        self._due: dict[str, datetime] = {}

    def ring(self) -> None:
        """Tell every channel again whose time has come."""
        for name, channel in self._channels.items():
            now = self._now()
            due = self._due.get(name)
            # a clock that was set back must not end the repeating
            if due is not None and now < due <= now + channel.every:
                continue
            self._due[name] = now + channel.every
            self._tell(name, channel, now)

    def _tell(self, name: str, channel: Repeating, now: datetime) -> None:
        told = self._look(name, now)
        # one alert may stand again while its last end is still told: what stands wins
        alerts: dict[tuple[tuple[str, str], ...], tuple[Message, datetime | None]] = {}
        for each in told:
            message = leading(msgspec.convert(each.body, Message), self._public_url)
            same = tuple(sorted(channel.labels(message).items()))
            if each.over_at is None or alerts.get(same, (message, now))[1] is not None:
                alerts[same] = message, each.over_at
        for message, over_at in alerts.values():
            if self._stopping.is_set():
                return
            try:
                channel.post(message, over_at=over_at)
            except DeliveryError as error:
                logger.warning("%s: %s could not be told again: %s", name, message.key, error)
                self._report(name, "retry")
                if error.retryable:  # the others would fare no better now
                    self._due[name] = now + min(channel.every, SOON)
                    return

    def _look(self, name: str, now: datetime) -> list[Told]:
        """Return what stands and what ended lately, the end of the latter recorded."""
        with self._control.reading() as session:
            told = told_messages(session, name, over_since=now - TOLD_AS_OVER)
            state = _State(session, now, by_setting=self._suspended)
            ends = {t.id: at for t in told if t.over_at is None and (at := state.over(t))}
        if ends:
            with self._control.transaction() as session:
                end_messages(session, ends)
        return [
            Told(t.id, t.key, t.created_at, t.over_at or ends.get(t.id), t.body)
            for t in told
            if (t.over_at or ends.get(t.id) or now) >= now - TOLD_AS_OVER
        ]


class _State:
    """Says of every message since when what it told is over, from what is stored."""

    def __init__(self, session: Session, now: datetime, *, by_setting: bool) -> None:
        self._session = session
        self._now = now
        self._by_setting = by_setting
        self._records: dict[str, ExperimentRecord | None] = {}
        self._treatments: dict[str, Mapping[str, TreatmentRecord]] = {}
        self._monitors: dict[str, list[Monitor]] = {}

    def over(self, told: Told) -> datetime | None:
        """Return since when it is over, ``None`` while it stands."""
        message = msgspec.convert(told.body, Message)
        if message.kind == "stopped" and message.evidence is not None:
            return self._passed(told.created_at + STOPPED)
        if message.kind == "suspended":
            stands = is_suspended(self._session, by_setting=self._by_setting)
            return None if stands else self._now
        stands_while = {
            "rolled_back": self._rolled_back,
            "rollback_ineffective": partial(self._rolled_back, still_shown=True),
            "breach_told": self._breached,
            "uneven_split": self._breached,
            "blind": self._blind,
            "blind_page": self._blind,
            "no_data": self._blind,
            "approval_wanted": self._waits,
        }.get(message.kind)
        if stands_while is None:
            return self._passed(told.created_at + NEWS)
        record = self._record(message.experiment)
        if record is None or State(record.state) in OVER:
            return self._now
        return None if stands_while(record, message) else self._now

    def _passed(self, at: datetime) -> datetime | None:
        return at if at <= self._now else None

    def _rolled_back(
        self, record: ExperimentRecord, message: Message, *, still_shown: bool = False
    ) -> bool:
        treatment = self._of(record).get(message.variant or "")
        if treatment is None or treatment.state == "live":
            return False
        same = message.key.partition(":")[2] == latch_key(record.key, treatment)
        return same and (not still_shown or treatment.effective is False)

    def _breached(self, record: ExperimentRecord, message: Message) -> bool:
        treatment = self._of(record).get(message.variant or "")
        if treatment is None or treatment.state != "live":
            return False
        return any(
            m.outcome == "breach"
            for m in self._watched(record, message.guardrail)
            if (m.treatment, m.attempt) == (treatment.variant, treatment.attempt)
        )

    def _blind(self, record: ExperimentRecord, message: Message) -> bool:
        newest = {(t.variant, t.attempt) for t in self._of(record).values()}
        return any(
            m.blind_since is not None or (message.kind == "blind_page" and m.outcome == "breach")
            for m in self._watched(record, message.guardrail)
            if (m.treatment, m.attempt) in newest
        )

    def _waits(self, record: ExperimentRecord, message: Message) -> bool:
        since = record.step_since.isoformat()
        asked = f"approval:{record.key}/{record.seed}/{record.step}@{since}/"
        return message.key.startswith(asked) and record.approved != record.step

    def _record(self, key: str) -> ExperimentRecord | None:
        if key not in self._records:
            self._records[key] = load_experiment(self._session, key)
        return self._records[key]

    def _of(self, record: ExperimentRecord) -> Mapping[str, TreatmentRecord]:
        if record.key not in self._treatments:
            found = load_treatments(self._session, record.key, record.seed)
            self._treatments[record.key] = found
        return self._treatments[record.key]

    def _watched(self, record: ExperimentRecord, guardrail: str | None) -> list[Monitor]:
        if record.key not in self._monitors:
            self._monitors[record.key] = load_monitors(self._session, record.key, record.seed)
        return [m for m in self._monitors[record.key] if m.guardrail == guardrail]
