"""The only place where real things are built and wired: settings, services, the application."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import cast

import uvicorn
from fastapi import Depends, FastAPI, Request
from prometheus_client import CollectorRegistry
from starlette.concurrency import run_in_threadpool
from starlette.routing import BaseRoute

import experiments.api as ofrep
import experiments.growthbook_api as growthbook
import guardrails.api as admin
import metrics.api as events
from experiments.changes import ChangeFeed
from experiments.exposures import ExposureBuffer, screen_exposure
from experiments.streaming import Streams
from guardrails.admission import LOOK_EVERY, Admission
from guardrails.api import Ready
from guardrails.assembly import Assembly, assemble
from guardrails.build import build_version
from guardrails.catalogue_reading import service_catalogue
from guardrails.channel_views import counted
from guardrails.clock import Clock, SteppedClock, SystemClock
from guardrails.copies import Copies, require_match, warn_alone
from guardrails.engine import Engine
from guardrails.failpoints import Point, arm, reached
from guardrails.files import CONTROL, STORE
from guardrails.keys import Made
from guardrails.served import ServedConfig
from guardrails.service_settings import DEMO_START, Settings, SettingsError
from guardrails.specs_view import SpecsView
from guardrails.telemetry import Intake, StateCollector, exposition
from guardrails.telemetry_doors import DoorCollector
from metrics.catalogue import Catalogue
from metrics.counting import EventCounts
from metrics.ingest import Ingest, settle
from metrics.intake import Intake as EventIntake
from metrics.kpis_api import kpis_router
from metrics.quarantine_api import quarantine_router
from metrics.received_api import received_router
from metrics.soundness import Rules
from metrics.store import MetricStore
from metrics.store_api import store_router
from metrics.stores import Units, Wanted, open_store

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
    admission: Admission
    guard: admin.Guard
    clock: Clock
    catalogue: Catalogue
    store: MetricStore
    ingest: Ingest
    exposures: ExposureBuffer
    guarding: Assembly
    registry: CollectorRegistry
    evaluations: ofrep.Evaluations
    copies: Copies
    flush: Callable[[], None]
    counts: EventCounts = field(default_factory=EventCounts)
    applied_valid: bool = True
    streams: dict[str, Streams] = field(default_factory=dict)

    @property
    def engine(self) -> Engine:
        """The engine."""
        return self.guarding.engine

    @property
    def config_valid(self) -> bool:
        """Whether the newest file sent and the whole followed folder are good."""
        return self.applied_valid and self.specs_view().valid

    def specs_view(self) -> SpecsView:
        """Return how the followed folder stands; an empty view where none is followed."""
        specs = self.guarding.specs
        return SpecsView(None) if specs is None else specs.view

    def start(self) -> None:
        """Apply the followed folder, begin to flush exposures, to tell people and to check.

        In a demo time is moved by hand, and nothing happens by itself.
        """
        self.exposures.start()
        self.guarding.start()

    def close(self) -> None:
        """Stop checks, write what waits, release the files; in that order, idempotent."""
        self.guarding.stop()
        self.exposures.close()
        self.ingest.close()
        self.guarding.close()
        self.store.close()

    @property
    def events(self) -> EventIntake:
        """What every way in for events works with."""
        return EventIntake(
            ingest=self.ingest,
            store=self.store,
            now=self.clock.now,
            limits=self.settings.event_limits(self.catalogue.events),
            screen=lambda e: screen_exposure(e, self.engine.serving().experiments),
            counts=self.counts,
            rules=Rules.of(self.catalogue),
            counted=lambda: self.engine.serving().counted,
        )

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
        SpecError: The catalogue file has problems.
        StoreError: The files cannot be opened, or another process holds them.
    """
    settings = settings.checked()
    if not (settings.data / CONTROL).exists():
        settings.checked_keys(Made())  # what is refused leaves nothing behind
    catalogue = service_catalogue(settings.catalogue)
    settings.data.mkdir(mode=0o700, parents=True, exist_ok=True)
    clock = SteppedClock(settings.demo_start) if settings.demo else SystemClock()
    with ExitStack() as undo:  # what was begun is ended, or its threads keep the files open
        fresh = Units.PLAIN if settings.demo else Units.KEYED_HASH
        store = open_store(settings.data / STORE, units=Wanted(settings.store_units, fresh))
        undo.callback(store.close)
        services = _built(settings, clock, store, catalogue, undo)
        undo.pop_all()
    return services


def _built(
    settings: Settings, clock: Clock, store: MetricStore, catalogue: Catalogue, undo: ExitStack
) -> Services:
    ingest = Ingest(store, clock=clock.now, capacity_events=settings.queue_events)
    undo.callback(ingest.close)
    exposures = ExposureBuffer(
        ingest.submit,
        now=clock.now,
        capacity=settings.exposure_buffer,
        interval=settings.exposure_flush_ms / 1000,
        stored_as=store.stored_as,
    )

    def flush() -> None:
        exposures.flush()
        ingest.flush()

    warn_alone(settings.data / CONTROL, store)
    guarding = assemble(settings, store=store, clock=clock, flush=flush, catalogue=catalogue)
    undo.callback(guarding.close)
    guarding.engine.notices = (*guarding.engine.notices, ingest.attention)
    require_match(guarding.control, store)
    admission = Admission(settings, guarding.control, clock.now)
    guarding.more["keys"] = (LOOK_EVERY, admission.look)
    serving = guarding.engine.serving
    _fill(exposures, serving(), store)
    services = Services(
        settings=settings,
        admission=admission,
        guard=admin.Guard(admission.ring, local=settings.local),
        clock=clock,
        catalogue=catalogue,
        store=store,
        ingest=ingest,
        exposures=exposures,
        guarding=guarding,
        registry=CollectorRegistry(),
        copies=Copies(guarding.control, store, now=clock.now, flush=flush),
        flush=flush,
        evaluations=ofrep.Evaluations(
            serving=serving,
            exposures=exposures,
            keys=admission.ring,
            body_limit=settings.max_context_bytes,
        ),
    )
    _measure(services)
    return services


def _fill(exposures: ExposureBuffer, served: ServedConfig, store: MetricStore) -> None:
    for key, compiled in served.experiments.items():
        seed = compiled.spec.seed
        exposures.fill(key, seed, store.exposed_units(key, seed))


def _measure(services: Services) -> None:
    services.registry.register(services.guarding.measured)
    doors = DoorCollector(lambda: services.engine.inbox.counts, lambda: services.streams)
    services.registry.register(doors)
    services.registry.register(
        StateCollector(
            experiments=services.engine.experiments,
            intake=services.intake,
            now=services.clock.now,
            suspended=lambda: services.engine.suspension().suspended,
            config_valid=lambda: services.config_valid,
            messages=lambda: counted(
                services.guarding.control,
                now=services.clock.now(),
                known=services.engine.channels,
            ),
        )
    )


def _hot_routes(services: Services, feed: ChangeFeed) -> list[BaseRoute]:
    settings, ring = services.settings, services.admission.ring
    door = events.Door(ring, settings.max_body_bytes, settings.max_batch_events)
    serving, wall = services.engine.serving, SystemClock()
    track = growthbook.TrackEndpoint(services.events, door, serving, settings.default_unit)
    payloads, changes = growthbook.Payloads(serving, wall.now), ofrep.ChangeStream(feed, ring)
    subscription = growthbook.Subscription(payloads, feed, ring)
    services.streams = {"ofrep": changes.streams, "growthbook": subscription.streams}
    return [
        *ofrep.routes(services.evaluations, changes),
        *growthbook.growthbook_routes(payloads, subscription, track),
        *events.routes(services.events, door),
    ]


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
        feed = ChangeFeed(
            lambda: running.engine.serving().version,
            now=running.clock.now,
            told=lambda: reached(Point.STREAMED),
        )
        app.state.services, app.state.feed = running, feed
        running.engine.on_served(feed.notice)
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
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        dependencies=[Depends(admin.known_parameters)],
    )
    _admin_routes(app, settings)
    admin.install_errors(app)
    app.add_middleware(
        admin.Envelope,
        admission=lambda: _running(app).admission,
        now=lambda: _running(app).clock.now(),  # noqa: PLW0108 - there later
        local=settings.local,
    )
    admin.describe(app, None if services is None else services.catalogue)
    return app


def _running(app: FastAPI) -> Services:
    return cast("Services", app.state.services)


def _admin_routes(app: FastAPI, settings: Settings) -> None:
    def running() -> Services:
        return _running(app)

    def note_valid(valid: bool) -> None:  # noqa: FBT001 - a callback of one fact
        running().applied_valid = valid

    def engine() -> Engine:
        return running().engine

    def now() -> datetime:
        return running().clock.now()

    routers = [
        admin.router(engine, note_valid),
        admin.decisions_router(engine),
        admin.suspension_router(engine),
        quarantine_router(lambda: running().events),
        received_router(lambda: running().events, lambda: running().exposures.latest),
        kpis_router(lambda: [kpi.to_json() for kpi in engine().kpis()]),
        store_router(lambda: running().store, lambda: engine().frames(), now),
        admin.specs_router(lambda: running().specs_view()),
        admin.copies_router(lambda: running().copies),
        admin.keys_router(lambda: running().admission),
        admin.scrape_router(lambda accept: exposition(running().registry, accept)),
    ]
    if settings.demo:
        routers.append(admin.demo_router(engine, lambda: cast("SteppedClock", running().clock)))

    def guard(request: Request) -> None:
        running().guard.admit(request)

    for router in routers:
        app.include_router(router, dependencies=[Depends(guard)])

    for router in (admin.validation_router(engine), admin.document_router()):
        app.include_router(router, dependencies=[Depends(_may_read)])
    app.include_router(admin.channels_router(engine, lambda: running().guard))
    app.include_router(admin.alerts_router(engine, lambda: running().guard, settings))
    app.include_router(admin.health_router(engine, lambda: running().store, settings))


def _may_read(request: Request) -> None:
    _running(request.app).guard.may_read(request)


def server(
    app: FastAPI, settings: Settings, *, ready: Callable[[], None] | None = None
) -> uvicorn.Server:
    """Return a server for the application, not yet running; ``ready`` is called once it answers.

    A stopping server finishes the requests it has, for at most ten seconds.
    """
    limits = admin.Limits(
        connections=admin.room_for(settings.max_connections),
        header_bytes=settings.max_header_bytes,
        header_seconds=settings.header_seconds,
        body_seconds=settings.body_seconds,
    )
    return admin.QuietServer(app, settings.host, settings.port, limits=limits, ready=ready)


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
    arm(settings.failpoint)
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
