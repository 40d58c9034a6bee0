"""Logs as one JSON object a line, with what a record belongs to."""

import logging
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any, Literal

import msgspec

request_id: ContextVar[str] = ContextVar("request_id", default="")
"""Id of the request that is being answered; empty outside of one."""

Format = Literal["text", "json"]
_CARRIED = ("experiment", "variant", "tick", "key")


class JsonFormatter(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``logger``, ``message`` and what is known.

    ``request``, ``experiment``, ``variant``, ``tick`` and ``key`` are there where the record has
    them, ``error`` with the traceback where there is one.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, without its end."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
        }
        if request := request_id.get():
            line["request"] = request
        line |= {name: str(v) for name in _CARRIED if (v := getattr(record, name, None))}
        if record.exc_info:
            line["error"] = self.formatException(record.exc_info)
        return msgspec.json.encode(line).decode()


class TextFormatter(logging.Formatter):
    """One line for people: when (UTC), how serious, and the message."""

    def format(self, record: logging.LogRecord) -> str:
        """Return one line, and the traceback under it where there is one."""
        at = datetime.fromtimestamp(record.created, UTC).isoformat(timespec="seconds")
        return f"{at.removesuffix('+00:00')}Z {record.levelname}: {super().format(record)}"


def set_up(form: Format) -> None:
    """Write the service's log to standard error, as JSON where that is asked for."""
    handler = logging.StreamHandler()
    handler.setFormatter(JsonFormatter() if form == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    if form == "json":
        root.setLevel(logging.INFO)
        for name in ("uvicorn", "uvicorn.error", "uvicorn.access"):
            logging.getLogger(name).handlers.clear()
            logging.getLogger(name).propagate = True
