"""What is wrong with an installation, and what to do. Nothing is written, nothing secret shown."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from console.client import ServiceClient
from console.doctor.files import Seen, examine_files
from console.doctor.findings import Finding, Status, warning, worst
from console.doctor.reach import (
    examine_channels,
    examine_place,
    examine_prometheus,
    examine_service,
    tallies_of,
)
from console.doctor.runs import (
    examine_received,
    examine_runs,
    examine_suspension,
    examine_views,
    few_refused,
    public_of,
)
from console.doctor.settings import (
    Given,
    examine_keys,
    examine_specs,
    read_settings,
    server_names,
)
from console.output import CommandError
from guardrails.keys import Made

__all__ = ["Asked", "Finding", "Status", "examine", "worst"]


@dataclass(frozen=True, slots=True)
class Asked:
    """What is examined.

    Attributes:
        client: Of the service, running or not.
        data: Folder of the service; that of the settings without.
        environment: Variables of the process.
        now: The current instant.
    """

    client: ServiceClient
    data: Path | None
    environment: Mapping[str, str]
    now: datetime


def examine(asked: Asked) -> tuple[Finding, ...]:
    """Return everything that was looked at, good or not, in the order in which to mend it."""
    options: dict[str, Any] = {} if asked.data is None else {"data": asked.data}
    given = read_settings(options, asked.environment)
    elsewhere = asked.data is None and bool(asked.environment.get("TURNBACK_URL"))
    reached = examine_service(asked.client, given.settings, expected=elsewhere)
    seen = examine_files(given.settings.data, answers=reached.answers, now=asked.now)
    made = seen.control.made if seen.control is not None else Made()
    findings = [*given.findings, *examine_keys(given.settings, made), *seen.findings]
    findings += [*examine_specs(given), *reached.findings]
    findings += (
        _running(asked, given, seen, demo=reached.demo)
        if reached.answers
        else _stopped(given, seen)
    )
    findings += examine_prometheus(given.settings, asked.now)
    return tuple(findings)


def _received(client: ServiceClient) -> Mapping[str, Any]:
    """Return what the service says came since its start; nothing of an older service."""
    try:
        return client.get("/api/v1/received")
    except CommandError:
        return {"received": []}


def _running(asked: Asked, given: Given, seen: Seen, *, demo: bool) -> list[Finding]:
    """Return what a service says of its experiments and its messages."""
    tallies = seen.control.tallies if seen.control is not None else None
    try:
        views = asked.client.get("/api/v1/experiments")["experiments"]
        now = None if demo else asked.now
        known = [each["key"] for each in views]
        received = _received(asked.client)
        public = public_of(asked.client.get("/api/v1/kpis")["kpis"], received["received"])
        findings = [
            *examine_place(asked.client.url, given.settings.data, seen, known),
            *examine_suspension(asked.client.get("/api/v1/suspension")),
            *examine_views(views, now, public),
            *examine_received(received),
        ]
    except CommandError as error:
        return [
            *examine_place(asked.client.url, given.settings.data, seen, None),
            warning("experiments", error.code, error.message, error.hint),
            *examine_channels(given.settings, tallies),
        ]
    try:
        tallies = tallies_of(asked.client.get("/api/v1/channels")["channels"])
    except CommandError as error:
        findings.append(warning("channels", error.code, error.message, error.hint))
    return [*findings, *examine_channels(given.settings, tallies)]


def _stopped(given: Given, seen: Seen) -> list[Finding]:
    """Return what the files say of experiments and messages."""
    findings: list[Finding] = []
    control = seen.control
    if control is not None and control.current:
        names = server_names(given.settings)
        findings += examine_runs(control, seen.store, given.catalogue, names)
    if seen.store is not None:
        findings += few_refused(seen.store)
    tallies = control.tallies if control is not None else None
    return [*findings, *examine_channels(given.settings, tallies)]
