"""Backup and export over HTTP: the service writes the files, on its own machine."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any

from fastapi import APIRouter, Response
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from guardrails.api import examples
from guardrails.api.answers import described, refusals, to_json
from guardrails.copies import BackupView, Copies
from metrics.stores.export import Exported

ABSOLUTE: dict[str, Any] = {"pattern": "^/"}


def _written(given: object) -> object:
    """Return a day as it was written; a number would be read as seconds since 1970."""
    if given is not None and not isinstance(given, str):
        raise ValueError("must be a day, written like 2026-01-31")
    return given


Day = Annotated[date, BeforeValidator(_written)]


class BackupRequest(BaseModel):
    """Where to: a new folder."""

    model_config = ConfigDict(extra="forbid")

    to: Path = Field(
        description="Absolute path of a folder that is not there yet.",
        json_schema_extra=ABSOLUTE,
    )


class ExportRequest(BaseModel):
    """Where to, and which days."""

    model_config = ConfigDict(extra="forbid")

    to: Path = Field(
        description="Absolute path of a folder; it may hold an earlier export.",
        json_schema_extra=ABSOLUTE,
    )
    since: Day | None = Field(None, description="First day, UTC.")
    until: Day | None = Field(None, description="The day after the last one.")


def copies_router(copies: Callable[[], Copies]) -> APIRouter:
    """Return the routes that copy what the service holds.

    Args:
        copies: Returns who makes copies.
    """
    api = APIRouter(prefix="/api/v1", tags=["operation"], responses=refusals())

    @api.post(
        "/backup",
        summary="Copy both files into a new folder while the service runs",
        responses=described(BackupView, examples.BACKUP),
    )
    def backup(asked: BackupRequest) -> Response:
        return to_json(copies().back_up(asked.to))

    @api.post(
        "/export",
        summary="Write days of events as Parquet",
        responses=described(Exported, examples.EXPORT),
    )
    def export(asked: ExportRequest) -> Response:
        return to_json(copies().export(asked.to, since=asked.since, until=asked.until))

    _ = (backup, export)
    return api
