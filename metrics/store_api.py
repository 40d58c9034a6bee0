"""Looking after the store over HTTP: recount, check, forget. Long work tells how far it is."""

import logging
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict, Field
from starlette.responses import StreamingResponse

from metrics.api import error_body
from metrics.openapi import Part, answer, content
from metrics.store import Frame, MetricStore, StoreError
from metrics.upkeep import Erasure, Progress, Rebuilt, Verified

logger = logging.getLogger("turnback.store")

_QUIET = 5.0
"""Seconds after which a line is sent even if nothing is new: the connection is not dead."""


_INSTANT_OR_NULL = {"type": ["string", "null"], "format": "date-time"}
_ERASURE: Part = {
    "type": "object",
    "properties": {
        "at": {"type": "string", "format": "date-time"},
        "kind": {"enum": ["retention", "forgotten"]},
        "before": _INSTANT_OR_NULL,
        "events": {"type": "integer", "minimum": 0},
        "first_seq": {"type": "integer", "minimum": 0},
        "last_seq": {"type": "integer", "minimum": 0},
        "quarantined": {"type": "integer", "minimum": 0},
    },
}
_ERASURE["required"] = [*_ERASURE["properties"]]
_ERASED = {
    "at": "2026-01-05T10:00:00Z",
    "kind": "forgotten",
    "before": None,
    "events": 12,
    "first_seq": 401,
    "last_seq": 8_113,
    "quarantined": 1,
}
_ERASURES = {
    "type": "object",
    "required": ["erasures"],
    "properties": {"erasures": {"type": "array", "items": _ERASURE}},
}


class Lines(StreamingResponse):
    """One JSON object a line."""

    media_type = "application/x-ndjson"


def _long(line: str) -> Part:
    words = "Lines of JSON: `progress`, and in the end `result` or `error`"
    return answer(words, content({"type": "string"}, line, media="application/x-ndjson"))


class Forgotten(BaseModel):
    """Who is forgotten."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [{"unit": "u-81"}]})

    unit: Annotated[str, Field(min_length=1, max_length=1024, description="Id, of any unit type.")]


def rebuilt_to_json(rebuilt: Sequence[Rebuilt]) -> dict[str, Any]:
    """Return what a recount found, as the service and the command line tell it."""
    return {
        "ok": all(not each.differences and not each.failure for each in rebuilt),
        "experiments": [
            {
                "experiment": each.experiment,
                "seed": each.seed,
                "events": each.events,
                "whole": each.whole,
                "failure": each.failure,
                "differences": [msgspec.to_builtins(one) for one in each.differences],
            }
            for each in rebuilt
        ],
    }


def verified_to_json(verified: Verified) -> dict[str, Any]:
    """Return what a check found, as the service and the command line tell it."""
    return {"ok": not verified.findings, **msgspec.to_builtins(verified)}


def erasure_to_json(erasure: Erasure) -> dict[str, Any]:
    """Return what left, as the service and the command line tell it."""
    return msgspec.to_builtins(erasure)


def store_router(
    store: Callable[[], MetricStore],
    frames: Callable[[], Sequence[Frame]],
    now: Callable[[], datetime],
) -> APIRouter:
    """Return the routes that look after the store.

    Args:
        store: The store.
        frames: The frames of the experiments that run now.
        now: The clock.
    """
    api = APIRouter(prefix="/api/v1/store", tags=["store"])

    recounted = _long('{"result": {"ok": true, "experiments": []}}\n')
    looked = _long('{"result": {"ok": true, "events": 48377, "findings": []}}\n')
    gone = answer("What left", content(_ERASURE, _ERASED))
    left = answer("What left, oldest first", content(_ERASURES, {"erasures": [_ERASED]}))

    @api.post(
        "/rebuild",
        summary="Count running experiments again from the log, and compare",
        response_class=Lines,
        responses={200: recounted},
    )
    def rebuild() -> Response:
        return _streamed(
            lambda progress: rebuilt_to_json(
                store().rebuild(frames(), now=now(), progress=progress)
            )
        )

    @api.post(
        "/check",
        summary="Look at everything in the store, and say what is wrong",
        response_class=Lines,
        responses={200: looked},
    )
    def check() -> Response:
        return _streamed(
            lambda progress: verified_to_json(store().verify(now=now(), progress=progress))
        )

    @api.post(
        "/forget", summary="Remove everything about one unit, for good", responses={200: gone}
    )
    def forget(who: Forgotten) -> Response:
        erased = store().forget(who.unit, now=now(), running=frames())
        return _json(erasure_to_json(erased))

    @api.get(
        "/erasures",
        summary="What ever left the log on purpose, oldest first",
        responses={200: left},
    )
    def erasures() -> Response:
        return _json({"erasures": [erasure_to_json(each) for each in store().erasures()]})

    _ = (rebuild, check, forget, erasures)
    return api


def _json(value: Any) -> Response:
    return Response(msgspec.json.encode(value), media_type="application/json")


def _streamed(work: Callable[[Progress], dict[str, Any]]) -> Response:
    """Answer with one JSON object a line: progress, and in the end the result or an error.

    The work goes on when whoever asked has gone away.
    """
    lines: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()

    def progress(what: str, done: int, total: int) -> None:
        lines.put({"progress": {"what": what, "done": done, "total": total}})

    def run() -> None:
        try:
            lines.put({"result": work(progress)})
        except StoreError as error:
            lines.put(msgspec.json.decode(error_body("store_unavailable", str(error))))
        except Exception:
            logger.exception("looking after the store failed")
            hint = "the service's log says why"
            lines.put(msgspec.json.decode(error_body("internal", "this failed", hint)))

    threading.Thread(target=run, name="turnback-store", daemon=True).start()
    return Lines(_lines(lines))


def _lines(lines: "queue.SimpleQueue[dict[str, Any]]") -> Iterator[bytes]:
    last: dict[str, Any] = {"progress": {"what": "waiting", "done": 0, "total": 0}}
    while True:
        try:
            last = lines.get(timeout=_QUIET)
            while "progress" in last:
                last = lines.get_nowait()  # only the newest is worth sending
        except queue.Empty:
            pass
        yield msgspec.json.encode(last) + b"\n"
        if "progress" not in last:
            return
