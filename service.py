"""The only place where real things are built and wired: settings, services, the application."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import timedelta
from threading import Event
from typing import cast

import uvicorn
from fastapi import Depends, FastAPI, Request
from prometheus_client import CollectorRegistry
from pydantic import SecretStr
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute

import experiments.api as ofrep
import guardrails.api as admin
import metrics.api as events
from experiments.changes import ChangeFeed
from experiments.database import ControlPlane
from experiments.exposures import ExposureBuffer, screen_exposure
from guardrails.api import Ready
from guardrails.channels.stopping import WhileRunning
from guardrails.channels.webhook import WebhookChannel
from guardrails.clock import Clock, SteppedClock, SystemClock
from guardrails.engine import Engine
from guardrails.following import Following
from guardrails.prometheus import PrometheusClient
from guardrails.scheduler import Bell
from guardrails.service_settings import DEMO_START, Settings, SettingsError
from guardrails.settings import EngineSettings
from guardrails.specs_folder import SpecsFolder
from guardrails.specs_view import SpecsView
from guardrails.telemetry import (
    EngineMetrics,
    Intake,
    StateCollector,
    build_version,
    exposition,
)
from metrics.access import Keys
from metrics.catalogue import Catalogue, load_catalogue
from metrics.events import EventLimits
from metrics.ingest import Ingest, settle
from metrics.store import MetricStore
from metrics.stores import open_store

__all__ = [
    "DEMO_START",
    "Ready",
    "Services",
    "Settings",
    "SettingsError",
    "build",
    "create_app",
    "serve",
    "server",
]


@dataclass(slots=True)
class Services:
    """Everything that runs, built once by ``build`` and closed once by ``close``."""

    settings: Settings
    keys: Keys
    guard: admin.Guard
    clock: Clock
    catalogue: Catalogue
    store: MetricStore
    ingest: Ingest
    exposures: ExposureBuffer
    engine: Engine
    registry: CollectorRegistry
    evaluations: ofrep.Evaluations
    flush: Callable[[], None]
    specs: SpecsFolder | None = None
    prometheus: PrometheusClient | None = None
    counts: events.EventCounts = field(default_factory=events.EventCounts)
    applied_valid: bool = True
    bell: Bell | None = None
    following: Following | None = None
    stopping: Event = field(default_factory=Event)

    @property
    def config_valid(self) -> bool:
        """Whether the newest file sent and the whole followed folder are good."""
        return self.applied_valid and self.specs_view().valid

    def specs_view(self) -> SpecsView:
        """Return how the followed folder stands; an empty view where none is followed."""
        return SpecsView(None) if self.specs is None else self.specs.view

    def start(self) -> None:
        """Apply the followed folder, begin to flush exposures, to tell people and to check.

        In a demo time is moved by hand, and nothing happens by itself.
        """
        self.exposures.start()
        if self.settings.demo:
            if self.specs is not None:
                self.specs.look()
            return
        if self.specs is not None:
            every = timedelta(seconds=self.settings.specs_seconds)
            self.following = Following(self.specs.look, every)
            self.following.start()
        jobs: dict[str, tuple[timedelta, Callable[[], object]]] = {
            "deliveries": (timedelta(seconds=1), self.engine.deliver)
        }
        if self.settings.checks:
            jobs["checks"] = (timedelta(seconds=self.settings.ring_seconds), self.engine.run_due)
        self.bell = Bell(jobs)
        self.bell.start()

    def close(self) -> None:
        """Stop checks, write what waits, release the files; in that order, idempotent."""
        self.stopping.set()
        if self.following is not None:
            self.following.close()
        if self.bell is not None:
            self.bell.close()
        self.exposures.close()
        self.ingest.close()
        if self.prometheus is not None:
            self.prometheus.close()
        self.engine.close()
        self.store.close()

    def intake(self) -> Intake:
        """Return how events fare, for Prometheus."""
        counts = self.counts
        return Intake(
            accepted=counts.accepted,
            duplicate=counts.duplicate,
            quarantined=counts.quarantined,
            refused=counts.refused,
            waiting=self.ingest.queued,
            exposures_waiting=self.exposures.waiting,
            exposures_failed=self.exposures.failures,
            evaluations=self.evaluations.count,
        )


def build(settings: Settings) -> Services:
    """Build everything that runs, nothing of it started.

    Raises:
        SettingsError: The settings are not safe to run with.
        StoreError: The files cannot be opened, or another process holds them.
    """
    settings = settings.checked()
    settings.data.mkdir(parents=True, exist_ok=True)
    clock = SteppedClock(settings.demo_start) if settings.demo else SystemClock()
    store = open_store(settings.data / "metrics.duckdb")
    try:
        return _built(settings, clock, store)
    except BaseException:
        store.close()
        raise


def _built(settings: Settings, clock: Clock, store: MetricStore) -> Services:
    keys = Keys.of(
        host=settings.host,
        admin=_secret(settings.admin_key),
        ingest=_secret(settings.ingest_key),
        client=_secret(settings.client_key),
    )
    catalogue = load_catalogue()
    registry = CollectorRegistry()
    control = ControlPlane(f"sqlite:///{settings.data / 'control.db'}")
    ingest = Ingest(store, clock=clock.now, capacity_events=settings.queue_events)
    exposures = ExposureBuffer(
        ingest.submit,
        now=clock.now,
        capacity=settings.exposure_buffer,
        interval=settings.exposure_flush_ms / 1000,
    )
    stopping = Event()
    channels = {
        name: WhileRunning(WebhookChannel(url.get_secret_value()), stopping)
        for name, url in settings.webhooks.items()
    }

    def flush() -> None:
        exposures.flush()
        ingest.flush()

    url = settings.prometheus_url
    prometheus = PrometheusClient(url.get_secret_value()) if url is not None else None
    measured = EngineMetrics(("log", *channels))
    registry.register(measured)
    engine = Engine(
        control=control,
        store=store,
        clock=clock,
        flush=flush,
        settings=EngineSettings(
            suspended=settings.suspend,
            channels=channels,
            holdout=settings.holdout,
            queries=settings.queries,
            prometheus=prometheus,
        ),
        catalogue=catalogue,
        hooks=(measured,),
        deliver_inline=settings.demo,  # else a slow webhook would hold up checks and answers
    )
    for key, compiled in engine.serving().experiments.items():
        seed = compiled.spec.seed
        exposures.fill(key, seed, store.exposed_units(key, seed))
    services = Services(
        settings=settings,
        keys=keys,
        guard=admin.Guard(keys, local=settings.local),
        clock=clock,
        catalogue=catalogue,
        store=store,
        ingest=ingest,
        exposures=exposures,
        engine=engine,
        registry=registry,
        flush=flush,
        specs=_followed(settings, engine, clock),
        prometheus=prometheus,
        stopping=stopping,
        evaluations=ofrep.Evaluations(
            serving=engine.serving,
            exposures=exposures,
            keys=keys,
            body_limit=settings.max_context_bytes,
        ),
    )
    registry.register(
        StateCollector(
            experiments=engine.experiments,
            intake=services.intake,
            now=clock.now,
            suspended=settings.suspend,
            config_valid=lambda: services.config_valid,
        )
    )
    return services


def _followed(settings: Settings, engine: Engine, clock: Clock) -> SpecsFolder | None:
    if settings.specs is None:
        return None
    late = timedelta(seconds=max(30.0, 10 * settings.specs_seconds))
    return SpecsFolder.of(settings.specs, engine, clock, late_after=None if settings.demo else late)


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


def _hot_routes(services: Services, feed: ChangeFeed) -> list[BaseRoute]:
    settings = services.settings
    # the demo's clock stands at the start of the hour whose events are being sent
    ahead = timedelta(days=2) if settings.demo else timedelta(seconds=settings.clock_skew_seconds)
    intake = events.Intake(
        ingest=services.ingest,
        store=services.store,
        keys=services.keys,
        now=services.clock.now,
        limits=EventLimits(
            default_unit=settings.default_unit,
            clock_skew=ahead,
            retention=timedelta(days=settings.retention_days),
        ),
        screen=lambda e: screen_exposure(e, services.engine.serving().experiments),
        body_limit=settings.max_body_bytes,
        batch_limit=settings.max_batch_events,
        counts=services.counts,
    )
    stream = ofrep.ChangeStream(feed, services.keys)
    return [*ofrep.routes(services.evaluations, stream), *events.routes(intake)]


Pages = Callable[[FastAPI, Services], None]


def create_app(
    settings: Settings, *, services: Services | None = None, pages: Sequence[Pages] = ()
) -> FastAPI:
    """Return the application; its lifespan builds (unless given), starts and closes everything.

    Args:
        settings: What the service is told.
        services: Built already, for callers that want errors before a server starts.
        pages: Each is called with the application and the services before the first request,
            for instance ``console.dashboard.attach``.
    """
    settings.checked()

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncGenerator[None]:
        running = services or await run_in_threadpool(build, settings)
        feed = ChangeFeed(lambda: running.engine.serving().version, now=running.clock.now)
        app.state.services, app.state.feed = running, feed
        app.router.routes[0:0] = _hot_routes(running, feed)
        for page in pages:
            page(app, running)
        await run_in_threadpool(running.start)
        watching = asyncio.create_task(feed.run())
        try:
            yield
        finally:
            await feed.close()
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching
            await run_in_threadpool(running.close)

    app = FastAPI(
        title="Turnback",
        version=build_version(),
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(admin.known_parameters)],
    )
    _admin_routes(app, settings)
    admin.install_errors(app)
    # the hot routes are no routes of FastAPI's: their description is our own
    app.openapi()["paths"].update({**ofrep.DESCRIBED, **events.DESCRIBED})
    return app


def _admin_routes(app: FastAPI, settings: Settings) -> None:
    def running() -> Services:
        return cast("Services", app.state.services)

    def note_valid(valid: bool) -> None:  # noqa: FBT001 - a callback of one fact
        running().applied_valid = valid

    def engine() -> Engine:
        return running().engine

    def stepped() -> SteppedClock:
        return cast("SteppedClock", running().clock)

    routers = [
        admin.router(engine, note_valid),
        events.router(lambda: running().store, lambda: running().catalogue),
        admin.specs_router(lambda: running().specs_view()),
        admin.scrape_router(lambda accept: exposition(running().registry, accept)),
    ]
    if settings.demo:
        routers.append(admin.demo_router(engine, stepped))

    def guard(request: Request) -> None:
        running().guard.admit(request)

    for router in routers:
        app.include_router(router, dependencies=[Depends(guard)])

    def may_read(request: Request) -> None:
        running().guard.may_read(request)

    app.include_router(admin.validation_router(engine), dependencies=[Depends(may_read)])
    health = admin.health_router(engine, lambda: running().store, settings.instance)
    app.include_router(health)


def server(
    app: FastAPI, settings: Settings, *, ready: Callable[[], None] | None = None
) -> uvicorn.Server:
    """Return a server for the application, not yet running; ``ready`` is called once it answers.

    A stopping server finishes the requests it has, for at most ten seconds.
    """
    return admin.QuietServer(app, settings.host, settings.port, ready=ready)


def serve(
    settings: Settings,
    *,
    pages: Sequence[Pages] = (),
    ready: Callable[[Ready], None] | None = None,
) -> None:
    """Run the service until it is interrupted or terminated; everything received is written.

    Args:
        settings: What the service is told.
        pages: As for ``create_app``.
        ready: Called once the service answers.

    Raises:
        SettingsError: The settings are not safe to run with.
        StoreError: The files cannot be opened, or another process holds them.
        AddressError: The service cannot listen where it is told to.
    """
    services = build(settings)
    try:
        with admin.listening(settings.host, settings.port) as sockets:
            url = f"http://{admin.address_of(settings.host, int(sockets[0].getsockname()[1]))}"

            def begun() -> None:
                if ready is not None:
                    known = len(services.engine.serving().experiments)
                    ready(Ready(url, settings.data, known, settings.specs))

            app = create_app(settings, services=services, pages=pages)
            settle()
            server(app, settings, ready=begun).run(sockets)
    finally:
        services.close()
