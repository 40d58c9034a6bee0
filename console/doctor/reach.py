"""Whether others can be reached: the service, its port, Prometheus, and where messages go."""

import os
import socket
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from console.client import ServiceClient
from console.doctor.files import Seen
from console.doctor.findings import Finding, good, warning, wrong
from console.doctor.settings import addresses_of
from console.output import CommandError, ExitCode
from guardrails.build import build_version
from guardrails.channels.texts import one_line
from guardrails.outbox_rows import Tally
from guardrails.prometheus import PrometheusClient
from guardrails.service_settings import Settings
from guardrails.settings import QueryError
from metrics.access import LOOPBACK

PATIENCE: Final = 3.0
"""Seconds for every connection."""


@dataclass(frozen=True, slots=True)
class Reached:
    """What was found at a service's address.

    Attributes:
        findings: In the order in which to mend them.
        answers: Whether a service answers there.
        demo: Whether it says that its clock is moved by hand.
    """

    findings: list[Finding]
    answers: bool = False
    demo: bool = False


def examine_service(
    client: ServiceClient, settings: Settings, *, expected: bool = False
) -> Reached:
    """Return what answers at the address, and what was found.

    Args:
        client: Of the service.
        settings: Of a service that would be started here.
        expected: One should answer: silence is a fault.
    """
    area = "service"
    try:
        health = client.get("/healthz", timeout=PATIENCE)
    except CommandError as error:
        if error.exit_code == ExitCode.UNREACHABLE and error.code != "not_turnback":
            silent = _stopped(client.url, expected=expected)
            return Reached([silent, *_port(settings, client.url)])
        return Reached([wrong(area, error.code, error.message, error.hint)])
    told, ours = str(health.get("version")), build_version()
    findings = [good(area, f"{client.url} answers, version {told}")]
    if told != ours:
        words = f"the service is of version {told}, this command of {ours}"
        findings = [warning("version", "other_version", words, "upgrade the older one")]
    demo = False
    try:
        demo = bool(client.get("/readyz", timeout=PATIENCE).get("demo"))
    except CommandError as error:
        findings.append(wrong(area, "not_ready", error.message, error.hint))
    return Reached(findings, answers=True, demo=demo)


def examine_place(
    url: str, data: Path, seen: Seen, known: Collection[str] | None
) -> Iterable[Finding]:
    """Yield that the service runs on another folder, where that is sure.

    The service does not tell its folder. It holds its store as long as it runs, so it is another
    folder where nobody holds the store; of another machine or account this says nothing.

    Args:
        url: Where the service answers.
        data: The folder that was looked at before.
        seen: What is in it.
        known: Keys of the service's experiments; ``None`` where it does not tell them.
    """
    if urlsplit(url).hostname not in LOOPBACK:
        return
    runs = seen.control.runs if seen.control is not None and known is not None else ()
    strange = {run.key for run in runs} - set(known or ())
    if (seen.held or seen.unread) and not strange:
        return
    words = f"the service at {url} runs on other files than {data}"
    yield warning(
        "data folder",
        "other_folder",
        words,
        "give its folder: --data DIR, as `turnback serve --data DIR` was told; what is said here "
        "of files and keys is of another one",
    )


def _stopped(url: str, *, expected: bool) -> Finding:
    kind = wrong if expected else warning
    return kind(
        "service",
        "no_service",
        f"no service answers at {url}",
        "start one with `turnback serve`, or say where it is with --url or TURNBACK_URL",
    )


def _port(settings: Settings, url: str) -> Iterable[Finding]:
    """Yield whether a service could listen where the settings say."""
    host, port = settings.host, settings.port
    if "port" not in settings.model_fields_set and (asked := _asked_of(url)) is not None:
        port = asked  # where nothing says where to listen, the address that is asked does
    at = f"port {port} of {host}"
    if port == 0:
        return
    try:
        kind = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.create_server((host, port), family=kind).close()
    except OSError as error:
        words = f"{at} cannot be used ({os.strerror(error.errno or 0).lower()})"
        hint = "give another one with --port or TURNBACK_PORT, or end what listens there"
        hint += f"; is it a service, and {url} the wrong address?"
        yield wrong("port", "port_taken", words, hint)
        return
    yield good("port", f"{at} is free")


def _asked_of(url: str) -> int | None:
    """Return the port of an address of this machine; ``None`` of any other."""
    try:
        parts = urlsplit(url)
        port = parts.port
    except ValueError:
        return None
    return port if parts.hostname in LOOPBACK else None


def examine_prometheus(settings: Settings, now: datetime) -> Iterable[Finding]:
    """Yield whether Prometheus answers, and each named query."""
    area = "Prometheus"
    if settings.prometheus_url is None:
        return
    client = PrometheusClient(settings.prometheus_url.get_secret_value(), timeout=PATIENCE)
    step = timedelta(minutes=1)
    try:
        client.values("vector(1)", start=now - step, stop=now, step=step)
    except QueryError as error:
        hint = "does TURNBACK_PROMETHEUS_URL lead to it, and may this machine reach it?"
        yield wrong(area, "prometheus_unreachable", str(error), hint)
        return
    finally:
        client.close()
    asking = PrometheusClient(settings.prometheus_url.get_secret_value(), timeout=PATIENCE)
    try:
        faults = [f for n, q in settings.queries.items() for f in _query(asking, n, q, now)]
    finally:
        asking.close()
    count = len(settings.queries)
    words = f"answers, and so do {count} named queries" if count > 1 else "answers"
    yield from faults or [good(area, words)]


def _query(client: PrometheusClient, name: str, query: str, now: datetime) -> Iterable[Finding]:
    filled = query.replace("$variant", "control")
    step = timedelta(minutes=1)
    try:
        series = client.values(filled, start=now - 5 * step, stop=now, step=step)
    except QueryError as error:
        hint = "mend it in TURNBACK_QUERIES"
        yield wrong("Prometheus", "query_refused", f"the query {name}: {error}", hint)
        return
    if not series:
        words = f"the query {name} has no sample of the last five minutes"
        hint = "a guardrail on it will see nothing: does the application export the series?"
        yield warning("Prometheus", "query_empty", words, hint)


def examine_channels(settings: Settings, tallies: Mapping[str, Tally] | None) -> list[Finding]:
    """Return whether everything that messages go to takes a connection; nothing is sent.

    Args:
        settings: The settings.
        tallies: How messages fared, where that is known.
    """
    addresses = addresses_of(settings)
    findings: list[Finding] = []
    for name, (where, hosts) in addresses.items():
        refused = [f"{host}:{port} ({_silent(host, port)})" for host, port in hosts]
        refused = [each for each in refused if not each.endswith("()")]
        if refused:
            findings.append(
                wrong(
                    "channels",
                    "channel_refused",
                    f"{name} ({where}): no connection to {', '.join(refused)}",
                    f"mend its address; then `turnback channels test {name}` sends a message",
                )
            )
    findings += _fared(tallies or {}, known=settings.all_channels())
    if addresses and not findings:
        findings.append(good("channels", f"{', '.join(addresses)}: take connections"))
    elif not findings:
        words = "none is set up: rollbacks are told in the service's log alone"
        findings.append(good("channels", words))
    return findings


def _silent(host: str, port: int) -> str:
    """Return why a connection fails; empty where it is taken."""
    try:
        socket.create_connection((host, port), timeout=PATIENCE).close()
    except TimeoutError:
        return f"no answer within {PATIENCE:g} s"
    except (OSError, UnicodeError) as error:
        return str(getattr(error, "strerror", None) or error).lower()
    return ""


def _fared(tallies: Mapping[str, Tally], *, known: Collection[str]) -> Iterable[Finding]:
    for name, tally in tallies.items():
        if not tally.failing and not tally.given_up:
            continue
        error = f": {one_line(tally.error)}" if tally.error else ""
        fate = f"{tally.waiting:,} waiting, {tally.given_up:,} given up within a day"
        hint = f"`turnback channels test {name}` tries it"
        if name not in known:
            hint = "`turnback channels list` says whether the service has it: TURNBACK_CHANNELS"
        yield wrong("channels", "messages_failing", f"messages to {name}: {fate}{error}", hint)


def tallies_of(channels: Sequence[Mapping[str, Any]]) -> Mapping[str, Tally]:
    """Return how messages fare, as a service tells it."""
    return {
        each["name"]: Tally(
            waiting=each["waiting"],
            failing=each["failing"],
            given_up=each["given_up"],
            error=each["error"],
        )
        for each in channels
    }
