"""What came since the service was started, by name and key, over HTTP: who sends what, and how."""

from collections.abc import Callable, Mapping

import msgspec
from fastapi import APIRouter, Response

from metrics.counting import Arrived, together
from metrics.intake import Intake
from metrics.openapi import answer, content

_COUNT = {"type": "integer", "minimum": 0}
_TEXT = {"type": "string"}
_LAST = {"type": ["string", "null"], "format": "date-time"}
_EVENT = {"name": _TEXT, "server": _COUNT, "client": _COUNT, "refused": _COUNT, "last_at": _LAST}
_EXPOSED = {"experiment": _TEXT, "count": _COUNT, "last_at": _LAST}
_PROBLEM = {
    "event": _TEXT,
    "field": _TEXT,
    "code": _TEXT,
    "given": _TEXT,
    "words": _TEXT,
    "count": _COUNT,
    "last_at": _LAST,
}


def _list(properties: Mapping[str, object]) -> dict[str, object]:
    item = {"type": "object", "required": [*properties], "properties": properties}
    return {"type": "array", "items": item}


_ANSWER = {
    "type": "object",
    "required": ["received", "exposures", "warnings"],
    "properties": {
        "received": _list(_EVENT),
        "exposures": _list(_EXPOSED),
        "warnings": _list(_PROBLEM),
    },
}
_AT = "2026-03-02T11:59:59Z"
_EXAMPLE = {
    "received": [
        {"name": "satisfaction_rated", "server": 0, "client": 412, "refused": 3, "last_at": _AT}
    ],
    "exposures": [{"experiment": "cancel-page", "count": 208, "last_at": _AT}],
    "warnings": [],
}


def received_router(
    intake: Callable[[], Intake], evaluated: Callable[[], Mapping[str, Arrived]]
) -> APIRouter:
    """Return the route of what came.

    Args:
        intake: Returns what every way in for events works with.
        evaluated: Returns first exposures that evaluations made, by experiment.
    """
    api = APIRouter(prefix="/api/v1", tags=["events"])

    @api.get(
        "/received",
        summary="Events since the start, by name and by the kind of key they came with",
        description="`server` came with a secret key and feed every KPI; `client` came with a "
        "client key, which anybody holds, and feed KPIs with trust `any` alone; `refused` are in "
        "quarantine. Repeats count. `exposures` are those that came or were recorded by "
        "evaluations, by experiment. `warnings` count accepted events that feed nothing as they "
        "are, of the first 100 of every request.",
        responses={200: answer("By name", content(_ANSWER, _EXAMPLE))},
    )
    def received() -> Response:
        return Response(
            msgspec.json.encode(_told(intake(), evaluated())), media_type="application/json"
        )

    _ = received
    return api


def _told(intake: Intake, evaluated: Mapping[str, Arrived]) -> dict[str, object]:
    counts, counted = intake.counts, intake.counted()
    named = sorted(counts.by_name.copy().items())
    problems = counts.problems.copy().items()
    exposures = together(counts.exposed, evaluated)
    return {
        "received": [
            {
                "name": name,
                "server": each.server,
                "client": each.client,
                "refused": each.refused,
                "last_at": each.last_at,
            }
            for name, each in named
        ],
        "exposures": [
            {"experiment": key, "count": each.count, "last_at": each.last_at}
            for key, each in sorted(exposures.items())
        ],
        "warnings": [
            {
                "event": problem.event,
                "field": problem.field,
                "code": problem.code,
                "given": problem.given,
                "words": words,
                "count": each.count,
                "last_at": each.last_at,
            }
            for problem, each in sorted(problems, key=lambda pair: -pair[1].count)
            if (words := intake.rules.words(problem, counted))
        ],
    }
