"""The world of a scenario: a service on real files, and everything around it that can fail."""

import hashlib
import heapq
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, cast

from experiments.database import ControlPlane
from experiments.exposures import ExposureBuffer, screen_exposure
from guardrails.alerts import Notification, Posted
from guardrails.channels import DeliveryError, Message
from guardrails.engine import Engine
from guardrails.files import CONTROL, STORE
from guardrails.scenarios.values import Lost, PostedAlert, Scenario
from guardrails.settings import EngineSettings, QueryError
from guardrails.views import CheckReport
from metrics.catalogue import load_catalogue
from metrics.cells import Snapshot
from metrics.events import Event, EventLimits
from metrics.ingest import Ingest
from metrics.intake import Intake
from metrics.store import Appended, Frame, MetricStore, StoreError
from metrics.stores import open_store

Answer = float | str
"""A value, or ``NaN``, or why there is none: ``none``, ``several``, ``down``."""


@dataclass
class Clock:
    """The service's clock: the true time, and how far it is off."""

    true: datetime
    off: timedelta = timedelta(0)

    def now(self) -> datetime:
        """Return what the service takes for now."""
        return self.true + self.off


class Breakable:
    """A metric store that can be unreachable; else the real one answers.

    Args:
        real: The store.
    """

    def __init__(self, real: MetricStore) -> None:
        self._real = real
        self.broken = False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)

    def append(self, events: Sequence[Event], *, received_at: datetime) -> Appended:
        """Make events durable, as the real store, unless it is unreachable."""
        self._reached()
        return self._real.append(events, received_at=received_at)

    def snapshot(self, frame: Frame, *, now: datetime, as_of: int | None = None) -> Snapshot:
        """Return the cells, as the real store, unless it is unreachable."""
        self._reached()
        return self._real.snapshot(frame, now=now, as_of=as_of)

    def _reached(self) -> None:
        if self.broken:
            raise StoreError("the metric store cannot be reached")


@dataclass
class Mailbox:
    """Where messages arrive, unless delivery fails."""

    broken: bool = False
    messages: list[Message] = field(default_factory=list[Message])

    def send(self, message: Message) -> None:
        """Take a message; the same one twice is one."""
        if self.broken:
            raise DeliveryError("nobody answers", retryable=True)
        if all(message.key != other.key for other in self.messages):
            self.messages.append(message)


@dataclass
class Prometheus:
    """A Prometheus whose answers are told: each value holds until the next one is told."""

    told: dict[str, list[tuple[datetime, Answer]]] = field(
        default_factory=dict[str, list[tuple[datetime, Answer]]]
    )

    def tell(self, query: str, at: datetime, answer: Answer) -> None:
        """From ``at`` on a query is answered so."""
        self.told.setdefault(query, []).append((at, answer))

    def values(
        self, query: str, *, start: datetime, stop: datetime, step: timedelta
    ) -> Sequence[Sequence[tuple[datetime, float]]]:
        """Answer a range query.

        Raises:
            QueryError: It is down at ``stop``.
        """
        newest = self._at(query, stop)
        if newest == "down":
            raise QueryError("Prometheus cannot be reached (ConnectError)")
        instants = [start + k * step for k in range(int((stop - start) / step) + 1)]
        answers = [(at, self._at(query, at)) for at in instants]
        series = [(at, float(answer)) for at, answer in answers if _is_sample(answer)]
        if newest == "several":
            return ([(at, 0.0) for at in instants], [(at, 1.0) for at in instants])
        return (series,) if series else ()

    def _at(self, query: str, at: datetime) -> Answer:
        found: Answer = "none"
        for since, answer in self.told.get(query, ()):
            if since <= at:
                found = answer
        return found


def _is_sample(answer: Answer) -> bool:
    return answer == "NaN" or not isinstance(answer, str)


@dataclass(order=True)
class Sending:
    """An event on its way to the service."""

    due: datetime
    number: int
    event: Mapping[str, Any] = field(compare=False)
    trusted: bool = field(compare=False, default=True)


@dataclass
class World:
    """A service on the files of a folder, and the pipes that lead to it.

    Attributes:
        scenario: What is played.
        folder: Where the files are.
        clock: The service's.
        engines: One or more, on the same files; the first serves.
        mailbox: Where messages arrive.
        prometheus: Answers queries.
        pipe: Events on their way.
        lost: What is lost on the way now.
        delay: By how much events are late now.
        silent: Whether no events are sent now.
        copies: How often every event is sent now.
        stale: Whether clients keep showing a treatment that was turned back.
        asleep: Whether the process is paused.
        traffic: Units an hour now.
        met: Units exposed, by the arm they met.
        reports: Every tick that was run.
        text: The file that was applied last.
        alerts: Since when the alerts fire that do, by fingerprint.
    """

    scenario: Scenario
    folder: Path
    clock: Clock
    mailbox: Mailbox = field(default_factory=Mailbox)
    prometheus: Prometheus = field(default_factory=Prometheus)
    pipe: list[Sending] = field(default_factory=list[Sending])
    lost: Lost = field(default_factory=Lost)
    delay: timedelta = timedelta(0)
    silent: bool = False
    copies: int = 1
    stale: bool = False
    asleep: bool = False
    traffic: float = 0.0
    met: dict[str, list[str]] = field(default_factory=dict[str, list[str]])
    reports: list[CheckReport] = field(default_factory=list[CheckReport])
    text: str = ""
    alerts: dict[str, datetime] = field(default_factory=dict[str, datetime])
    engines: list[Engine] = field(default_factory=list[Engine], init=False)
    _open: ExitStack = field(default_factory=ExitStack, init=False)
    _numbers: int = field(default=0, init=False)

    def open(self, engines: int = 1) -> None:
        """Open both files, as a start of the service does."""
        self._open = ExitStack()
        real = open_store(self.folder / STORE)
        self._open.callback(real.close)
        self.store = Breakable(real)
        self._metrics = cast("MetricStore", self.store)  # what it has not, the real one has
        self.ingest = Ingest(self._metrics, clock=self.clock.now)
        self._open.callback(self.ingest.close)
        self.exposures = ExposureBuffer(self.ingest.submit, now=self.clock.now)
        self.engines = [self._engine() for _ in range(engines)]
        served = self.engine.serving().experiments
        for key, compiled in served.items():
            seed = compiled.spec.seed
            self.exposures.fill(key, seed, self.store.exposed_units(key, seed))
        self.intake = Intake(
            ingest=self.ingest,
            store=self._metrics,
            now=self.clock.now,
            limits=EventLimits(schema=load_catalogue().events),
            screen=lambda event: screen_exposure(event, self.engine.serving().experiments),
        )

    def _engine(self) -> Engine:
        scenario = self.scenario
        plane = ControlPlane(f"sqlite:///{self.folder / CONTROL}")
        self._open.callback(plane.close)
        channels = dict.fromkeys(scenario.spec.experiment.notify, self.mailbox)
        engine = Engine(
            control=plane,
            store=self._metrics,
            clock=self.clock,
            flush=self.flush,
            settings=EngineSettings(
                grace=scenario.service.grace,
                suspended=scenario.service.suspended,
                holdout=scenario.service.holdout,
                channels={**channels, "log": self.mailbox},
                show_core=False,
                queries={n: query_text(n, each=each) for n, each in scenario.queries.items()},
                prometheus=self.prometheus if scenario.queries else None,
            ),
        )
        engine.begin()
        return engine

    @property
    def engine(self) -> Engine:
        """The engine that serves."""
        return self.engines[0]

    @property
    def after(self) -> timedelta:
        """Time since the start of the scenario."""
        return self.clock.true - self.scenario.starts

    def flush(self) -> None:
        """Let everything that was received be counted."""
        self.exposures.flush()
        self.ingest.flush()

    def close(self) -> None:
        """End the service: what waits is written, both files are released."""
        self.exposures.close()
        self._open.close()

    def restart(self, *, engines: int) -> None:
        """End the service and start it on the same files."""
        broken = self.store.broken
        self.close()
        self.open(engines)
        self.store.broken = broken

    def put(self, event: Mapping[str, Any], due: datetime, *, trusted: bool = True) -> None:
        """Send an event; it arrives once the time has come."""
        self._numbers += 1
        heapq.heappush(self.pipe, Sending(due, self._numbers, event, trusted))

    def deliver(self) -> None:
        """Let arrive what is due; what the service cannot keep is sent again later."""
        for trusted in (True, False):
            due = list(self._due(trusted=trusted))
            if not due:
                continue
            try:
                self.intake.take([each.event for each in due], trusted=trusted)
            except StoreError:
                for each in due:
                    heapq.heappush(self.pipe, each)

    def _due(self, *, trusted: bool) -> Iterator[Sending]:
        kept: list[Sending] = []
        while self.pipe and self.pipe[0].due <= self.clock.true:
            each = heapq.heappop(self.pipe)
            if each.trusted is trusted:
                yield each
            else:
                kept.append(each)
        for each in kept:
            heapq.heappush(self.pipe, each)

    def post_alert(self, posted: PostedAlert) -> None:
        """Let both instances of a cluster post an alert; it keeps its beginning while it fires."""
        named = {"experiment": self.scenario.key, "variant": posted.variant}
        labels = {"alertname": posted.name, **named, **posted.labels}
        labels = {name: str(value) for name, value in labels.items() if value is not None}
        known = hashlib.sha256(repr(sorted(labels.items())).encode()).hexdigest()[:16]
        begun = self.alerts.setdefault(known, self.clock.true)
        if posted.status == "resolved":
            del self.alerts[known]
        alert = Posted(
            status=cast("Any", posted.status),
            labels=labels,
            startsAt=begun,
            endsAt=self.clock.true,
            fingerprint=known,
            annotations={"summary": posted.summary},
        )
        for _ in range(2):
            self.engine.inbox.take(Notification(version="4", alerts=[alert]))

    def check(self) -> None:
        """Run every check that is due, by every engine."""
        for engine in self.engines:
            self.reports += engine.run_due()


def query_text(name: str, *, each: bool) -> str:
    """Return the text of a query: per variant, or of the whole service."""
    return f'{name}{{variant="$variant"}}' if each else name
