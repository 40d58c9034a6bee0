"""Routes for whoever keeps the service running, and the stepped clock of a demo."""

import logging
from collections.abc import Callable
from datetime import UTC, datetime

from fastapi import APIRouter, Request, Response
from pydantic import AwareDatetime, BaseModel, ConfigDict

from experiments.errors import InvalidRequestError, UnavailableError
from guardrails.api.answers import refusals, to_json
from guardrails.build import build_version
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from metrics.store import MetricStore

logger = logging.getLogger("turnback.service")


class DemoTime(BaseModel):
    """Where to move the demo's clock."""

    model_config = ConfigDict(extra="forbid")

    to: AwareDatetime


def demo_router(engine: Callable[[], Engine], clock: Callable[[], SteppedClock]) -> APIRouter:
    """Return the route that moves time; it exists in demo mode alone.

    Everything received before is durable and counted when it answers: the engine flushes
    before its checks.

    Args:
        engine: Returns the running engine.
        clock: Returns its clock.
    """
    api = APIRouter(prefix="/api/v1/demo", tags=["demo"], responses=refusals())

    @api.post("/clock", summary="Move the demo's clock forward and run the checks that are due")
    def move(time: DemoTime) -> Response:
        try:
            clock().move_to(time.to.astimezone(UTC))
        except ValueError as error:
            raise InvalidRequestError(str(error), path="to") from None
        reports = engine().run_due()
        now: datetime = clock().now()
        moved = [t for report in reports for t in report.transitions]
        return to_json({"now": now, "checks": len(reports), "transitions": moved})

    _ = move
    return api


def scrape_router(scrape: Callable[[str], tuple[bytes, str]]) -> APIRouter:
    """Return ``/metrics``.

    Args:
        scrape: Answers an ``Accept`` header with a body and its content type.
    """
    api = APIRouter(tags=["operation"], responses=refusals())

    @api.get("/metrics", summary="Prometheus series")
    def metrics(request: Request) -> Response:
        body, media_type = scrape(request.headers.get("accept", ""))
        return Response(body, headers={"Content-Type": media_type})

    _ = metrics
    return api


def health_router(
    engine: Callable[[], Engine], store: Callable[[], MetricStore], instance: str = ""
) -> APIRouter:
    """Return the routes for whoever keeps the service running; they need no key.

    Args:
        engine: Returns the running engine.
        store: Returns the metric store.
        instance: Told by ``/readyz``, so that whoever started a service knows it.
    """
    api = APIRouter(tags=["operation"], responses=refusals())

    @api.get("/healthz", summary="Whether the process answers")
    def healthz() -> Response:
        return to_json({"status": "ok", "version": build_version()})

    @api.get("/readyz", summary="Whether it can do its work")
    def readyz() -> Response:
        try:
            watermark, known = store().watermark(), len(engine().experiments())
        except Exception as error:
            logger.exception("not ready")
            raise UnavailableError(
                f"the files cannot be read ({type(error).__name__})", hint="see the service's log"
            ) from error
        state = {"status": "ready", "watermark": watermark, "experiments": known}
        return to_json({**state, "instance": instance or None})

    _ = (healthz, readyz)
    return api
