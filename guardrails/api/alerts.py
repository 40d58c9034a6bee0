"""Alerts in: the receiver of Alertmanager's webhook."""

from collections.abc import Callable
from typing import Any, Final

from fastapi import APIRouter, Depends, Request, Response
from starlette.concurrency import run_in_threadpool

from guardrails.alerts import MOST_ALERTS, Taken, read_notification
from guardrails.api.access import Guard
from guardrails.api.answers import described, refusals, to_json
from guardrails.engine import Engine
from guardrails.service_settings import Settings
from metrics.asgi import read_body

_TAKEN: Final = {
    "fired": 1,
    "resolved": 0,
    "repeated": 2,
    "ignored": [
        {
            "alert": "DiskFull",
            "experiment": "three-step-cancel",
            "reason": "its file has no guardrail of rule `alert` on this alert; it has one on "
            "CheckoutErrors",
        }
    ],
}
_TEXTS: Final = {"type": "object", "additionalProperties": {"type": "string"}}
_INSTANT: Final = {"type": "string", "format": "date-time"}
_ALERT: Final = {
    "type": "object",
    "required": ["status", "labels", "startsAt", "fingerprint"],
    "properties": {
        "status": {"enum": ["firing", "resolved"]},
        "labels": _TEXTS,
        "annotations": _TEXTS,
        "startsAt": _INSTANT,
        "endsAt": _INSTANT,
        "fingerprint": {"type": "string", "pattern": "^[0-9a-f]{16}$"},
    },
}
_BODY: Final[dict[str, Any]] = {
    "requestBody": {
        "required": True,
        "content": {
            "application/json": {
                "schema": {
                    "type": "object",
                    "required": ["version", "alerts"],
                    "properties": {
                        "version": {"const": "4"},
                        "alerts": {"type": "array", "maxItems": MOST_ALERTS, "items": _ALERT},
                        "truncatedAlerts": {"type": "integer", "minimum": 0, "maximum": 1_000_000},
                    },
                },
                "example": {
                    "version": "4",
                    "alerts": [
                        {
                            "status": "firing",
                            "labels": {
                                "alertname": "CheckoutErrors",
                                "experiment": "three-step-cancel",
                                "variant": "three_step",
                            },
                            "annotations": {"summary": "5% of the checkouts fail"},
                            "startsAt": "2026-03-02T10:31:41.642Z",
                            "endsAt": "0001-01-01T00:00:00Z",
                            "fingerprint": "7e181b80ca2ff6a1",
                        }
                    ],
                },
            }
        },
    }
}


def alerts_router(
    engine: Callable[[], Engine], guard: Callable[[], Guard], settings: Settings
) -> APIRouter:
    """Return the route to which Alertmanager posts.

    What nothing follows from is answered with 200 and its reason: a 4xx would be posted again at
    every `group_interval`, for ever.

    Args:
        engine: Returns the running engine.
        guard: Returns who may do what.
        settings: Of the service: the largest body.
    """

    def admit(request: Request) -> None:
        guard().may_report(request)

    api = APIRouter(
        prefix="/api/v1/alerts",
        tags=["operation"],
        responses=refusals(),
        dependencies=[Depends(admit)],
    )

    def taken(body: bytes) -> Taken:
        found = engine().inbox.take(read_notification(body))
        if settings.demo and (found.fired or found.resolved):
            engine().run_due()  # no bell rings where time is moved by hand
        return found

    @api.post(
        "",
        summary="Take a notification of Alertmanager (webhook, version 4)",
        description="Each alert needs the label `experiment`; `variant` where there are several "
        "treatments; `action` (rollback, hold or alert) asks for less than the file allows. The "
        "same notification again changes nothing.",
        openapi_extra=_BODY,
        responses=described(Taken, _TAKEN, what="What became of every alert"),
    )
    async def take(request: Request) -> Response:
        body = await read_body(request.receive, settings.max_body_bytes)
        return to_json(await run_in_threadpool(taken, body))

    _ = take
    return api
