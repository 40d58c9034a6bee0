"""Routes for whoever keeps the service running, and the stepped clock of a demo."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Protocol

from fastapi import APIRouter, Request, Response
from fastapi.responses import PlainTextResponse
from pydantic import AwareDatetime, BaseModel, ConfigDict

from experiments.errors import InvalidRequestError, UnavailableError
from guardrails.api import examples
from guardrails.api.answers import described, refusals, to_json
from guardrails.build import build_version
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.views import TransitionView
from metrics.openapi import answer, content
from metrics.store import MetricStore

logger = logging.getLogger("turnback.service")


class DemoTime(BaseModel):
    """Where to move the demo's clock."""

    model_config = ConfigDict(extra="forbid")

    to: AwareDatetime


@dataclass(frozen=True, slots=True)
class Moved:
    """Where the demo's clock stands, and what happened on the way."""

    now: datetime
    checks: int
    transitions: tuple[TransitionView, ...]


@dataclass(frozen=True, slots=True)
class Health:
    """A process that answers."""

    status: str
    version: str


@dataclass(frozen=True, slots=True)
class Readiness:
    """A service that can do its work.

    Attributes:
        status: ``ready``.
        watermark: Sequence number of the newest event.
        experiments: How many it knows.
        instance: What it was told to be known by.
        demo: Whether its clock is moved by hand, and its story simulated.
    """

    status: str
    watermark: int
    experiments: int
    instance: str | None
    demo: bool = False


def demo_router(engine: Callable[[], Engine], clock: Callable[[], SteppedClock]) -> APIRouter:
    """Return the route that moves time; it exists in demo mode alone.

    Everything received before is durable and counted when it answers: the engine flushes
    before its checks.

    Args:
        engine: Returns the running engine.
        clock: Returns its clock.
    """
    api = APIRouter(prefix="/api/v1/demo", tags=["demo"], responses=refusals())

    @api.post(
        "/clock",
        summary="Move the demo's clock forward and run the checks that are due",
        responses=described(Moved, examples.MOVED),
    )
    def move(time: DemoTime) -> Response:
        try:
            clock().move_to(time.to.astimezone(UTC))
        except ValueError as error:
            raise InvalidRequestError(str(error), path="to") from None
        reports = engine().run_due()
        moved = tuple(t for report in reports for t in report.transitions)
        return to_json(Moved(clock().now(), len(reports), moved))

    _ = move
    return api


def scrape_router(scrape: Callable[[str], tuple[bytes, str]]) -> APIRouter:
    """Return ``/metrics``.

    Args:
        scrape: Answers an ``Accept`` header with a body and its content type.
    """
    api = APIRouter(tags=["operation"], responses=refusals())

    series = answer("Series", content({"type": "string"}, examples.SERIES, media="text/plain"))

    @api.get(
        "/metrics",
        summary="Prometheus series",
        response_class=PlainTextResponse,
        responses={200: series},
    )
    def metrics(request: Request) -> Response:
        body, media_type = scrape(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type})

    _ = metrics
    return api


class Known(Protocol):
    """What a service was told of itself."""

    @property
    def instance(self) -> str:
        """What it is to be known by; empty for nothing."""
        ...

    @property
    def demo(self) -> bool:
        """Whether its clock is moved by hand, and its story simulated."""
        ...


def health_router(
    engine: Callable[[], Engine],
    store: Callable[[], MetricStore],
    settings: Known | None = None,
) -> APIRouter:
    """Return the routes for whoever keeps the service running; they need no key.

    Args:
        engine: Returns the running engine.
        store: Returns the metric store.
        settings: Told by ``/readyz``, so that whoever started a service knows it.
    """
    api = APIRouter(tags=["operation"], responses=refusals())

    instance = (settings.instance or None) if settings is not None else None
    demo = settings is not None and settings.demo

    @api.get(
        "/healthz",
        summary="Whether the process answers",
        responses=described(Health, examples.HEALTH),
    )
    def healthz() -> Response:
        return to_json(Health("ok", build_version()))

    @api.get(
        "/readyz",
        summary="Whether it can do its work",
        responses=described(Readiness, examples.READY, what="Snapshot and store are there"),
    )
    def readyz() -> Response:
        try:
            engine().serving()
            watermark, known = store().watermark(), len(engine().experiments())
        except Exception as error:
            logger.exception("not ready")
            raise UnavailableError(
                f"the files cannot be read ({type(error).__name__})", hint="see the service's log"
            ) from error
        return to_json(Readiness("ready", watermark, known, instance, demo))

    _ = (healthz, readyz)
    return api
