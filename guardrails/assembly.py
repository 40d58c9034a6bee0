"""The engine as a service runs it: whom it asks, whom it tells, and what happens by itself."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event

from experiments.database import ControlPlane
from guardrails.channel_views import Untold
from guardrails.clock import Clock, SystemClock
from guardrails.engine import Engine
from guardrails.files import CONTROL
from guardrails.following import Following
from guardrails.gaps import Gaps
from guardrails.lanes import Lanes
from guardrails.prometheus import PrometheusClient
from guardrails.scheduler import Bell
from guardrails.service_settings import Settings
from guardrails.settings import EngineSettings
from guardrails.specs_folder import SpecsFolder
from guardrails.standing_alerts import StandingAlerts
from guardrails.telemetry import EngineMetrics
from guardrails.upkeep import LOOK_EVERY, SAVE_EVERY, Upkeep
from metrics.catalogue import Catalogue
from metrics.store import MetricStore


@dataclass(slots=True)
class Assembly:
    """The engine and what belongs to it; nothing happens by itself before ``start``.

    Attributes:
        settings: What the service is told.
        clock: Where now comes from.
        control: The control plane.
        store: The metric store.
        engine: The engine.
        measured: Its measurements, for Prometheus.
        prometheus: Answers named queries, ``None`` where no Prometheus is set up.
        specs: The folder that is followed, ``None`` for none.
        stopping: Set once the service stops: nobody is waited for any more.
        untold: What could not be told to people.
        more: What else is done at intervals, by name.
    """

    settings: Settings
    clock: Clock
    control: ControlPlane
    store: MetricStore
    engine: Engine
    measured: EngineMetrics
    prometheus: PrometheusClient | None
    specs: SpecsFolder | None
    stopping: Event
    untold: Untold
    more: dict[str, tuple[timedelta, Callable[[], object]]] = field(default_factory=dict)
    _bell: Bell | None = field(default=None, init=False)
    _following: Following | None = field(default=None, init=False)
    _lanes: Lanes | None = field(default=None, init=False)

    def start(self) -> None:
        """Apply the followed folder, begin to tell people and to check.

        In a demo time is moved by hand, and nothing happens by itself.
        """
        self.engine.begin()
        if self.settings.demo:
            if self.specs is not None:
                self.specs.look()
            return
        if self.specs is not None:
            every = timedelta(seconds=self.settings.specs_seconds)
            self._following = Following(self.specs.look, every)
            self._following.start()
        jobs: dict[str, tuple[timedelta, Callable[[], object]]] = {
            "deliveries": (timedelta(seconds=1), self._telling().ring),
            "alerts": (timedelta(seconds=1), self._repeating().ring),
        }
        upkeep = Upkeep(self.store, self.engine.frames, self.clock, self.settings.retain)
        self.engine.notices = (*self.engine.notices, upkeep.attention)
        jobs["retention"] = (LOOK_EVERY, upkeep.run_due)
        jobs["totals"] = (SAVE_EVERY, self.store.save)
        if self.settings.checks:
            jobs["checks"] = (timedelta(seconds=self.settings.ring_seconds), self._ring)
        self._bell = Bell(jobs | self.more)
        self._bell.start()

    def notices(self) -> tuple[str, ...]:
        """Return what a person should look at in the whole service, lost messages included."""
        general = (words for each in self.engine.notices for words in each())
        return (*general, *self.untold.nowhere())

    def _ring(self) -> None:
        self.engine.run_due()
        self.measured.rang(self.clock.now())

    def _telling(self) -> Lanes:
        self._lanes = Lanes(
            self.control,
            self.engine.channels,
            now=self.clock.now,
            report=self.engine.told,
            stopping=self.stopping,
            public_url=self.settings.public_url,
        )
        return self._lanes

    def _repeating(self) -> StandingAlerts:
        return StandingAlerts(
            self.control,
            self.engine.channels,
            now=self.clock.now,
            report=self.engine.told,
            suspended=self.settings.suspend,
            stopping=self.stopping,
            public_url=self.settings.public_url,
        )

    def stop(self) -> None:
        """End what happens by itself and wait for what is under way; idempotent."""
        self.stopping.set()
        if self._following is not None:
            self._following.close()
        if self._bell is not None:
            self._bell.close()
        if self._lanes is not None:
            self._lanes.close()

    def close(self) -> None:
        """Release the connections and the control plane; idempotent."""
        if self.prometheus is not None:
            self.prometheus.close()
        self.engine.close()


def assemble(
    settings: Settings,
    *,
    store: MetricStore,
    clock: Clock,
    flush: Callable[[], None],
    catalogue: Catalogue,
) -> Assembly:
    """Build the engine and what belongs to it, nothing of it started.

    Args:
        settings: What the service is told, checked.
        store: The metric store.
        clock: Where now comes from.
        flush: Called before every run of checks so that buffered events are counted.
        catalogue: KPIs known beside those of a file.
    """
    stopping = Event()
    wall = SystemClock()  # what is signed or dated on the way is so for the receiver's clock
    channels = {name: given.build(wall.now) for name, given in settings.all_channels().items()}
    url = settings.prometheus_url
    prometheus = PrometheusClient(url.get_secret_value()) if url is not None else None
    measured, gaps = EngineMetrics(("log", *channels)), Gaps(clock)
    control = ControlPlane(f"sqlite:///{settings.data / CONTROL}")
    engine = Engine(
        control=control,
        store=store,
        clock=clock,
        flush=flush,
        settings=EngineSettings(
            cooldown=settings.cooldown,
            suspended=settings.suspend,
            channels=channels,
            holdout=settings.holdout,
            queries=settings.queries,
            prometheus=prometheus,
            public_url=settings.public_url,
        ),
        catalogue=catalogue,
        hooks=(measured, gaps),
        deliver_inline=settings.demo,  # else a slow webhook would hold up checks and answers
    )
    untold = Untold(control, clock.now, engine.channels)
    engine.own_notices = untold.nowhere
    engine.notices = (store.attention, untold.attention)
    if not settings.demo:  # whose clock is moved by hand, as far as one likes
        engine.notices = (*engine.notices, gaps.attention)
    specs = _followed(settings, engine, clock)
    return Assembly(
        settings=settings,
        clock=clock,
        control=control,
        store=store,
        engine=engine,
        measured=measured,
        prometheus=prometheus,
        specs=specs,
        stopping=stopping,
        untold=untold,
    )


def _followed(settings: Settings, engine: Engine, clock: Clock) -> SpecsFolder | None:
    if settings.specs is None:
        return None
    late = timedelta(seconds=max(30.0, 10 * settings.specs_seconds))
    return SpecsFolder.of(settings.specs, engine, clock, late_after=None if settings.demo else late)
