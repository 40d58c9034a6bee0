"""The HTTP half of ``store.py``: a service under load, and what it is measured against."""

import json
import os
import random
import selectors
import socket
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path

import duckdb
import httpx
from store_history import ARMS, KINDS, WORDS

from experiments.assignment import Serving, compile_experiment
from guardrails.spec_file import load_spec
from metrics.catalogue import load_catalogue
from metrics.events import Event, EventLimits, read_events, to_micros
from metrics.stores.connection import CHECKPOINT_MB
from metrics.stores.log_rows import event_table
from metrics.stores.schema import STEPS

BATCH = 500
CONNECTIONS = 8
TEMPLATES = 32
ROUNDS = 6
SPEC = f"""\
experiment: bench
title: Benchmark
unit: order_id
variants:
  {ARMS[0]}: {{weight: 34%, flow: {{steps: [confirm]}}}}
  {ARMS[1]}: {{weight: 33%, flow: {{steps: [why, confirm]}}}}
  {ARMS[2]}: {{weight: 33%, flow: {{steps: [why, offer, confirm]}}}}
guardrails:
  - {{kpi: satisfaction, max_drop: 3%}}
ends: {{after: 20d, observe_for: 1d}}
check_every: 10s
expect_units: 1000000
"""


@dataclass
class Load:
    """What one run of the load saw."""

    seconds: float = 0.0
    accepted: int = 0
    sent: int = 0
    latencies: list[float] = field(default_factory=list)

    @property
    def rate(self) -> float:
        return self.accepted / self.seconds

    @property
    def p99(self) -> float:
        return statistics.quantiles(self.latencies, n=100)[98]


@contextmanager
def service(folder: Path) -> Iterator[tuple[str, int, int]]:
    """Run the real service until the block ends; gives its host, port and process id."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    environment = {**os.environ, "TURNBACK_DATA": str(folder), "TURNBACK_PORT": str(port)}
    command = [sys.executable, "-m", "console.cli", "serve"]
    root = Path(__file__).parents[1]
    child = subprocess.Popen(command, env=environment, cwd=root, stderr=subprocess.DEVNULL)
    try:
        for _ in range(400):
            try:
                httpx.get(f"http://127.0.0.1:{port}/readyz", timeout=1)
                break
            except httpx.HTTPError:
                time.sleep(0.05)
        else:
            raise SystemExit("the service did not come up")
        yield "127.0.0.1", port, child.pid
    finally:
        child.terminate()
        child.wait(timeout=120)


def templates(rng: random.Random) -> list[bytes]:
    """Return bodies of 500 events in which ids and units still have a place to fill.

    ``@@@@@@@@`` is the number of the batch, ``##`` a round: units are met again every few
    batches, and no two events have one id.
    """
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    made = []
    for template in range(TEMPLATES):
        events = []
        for number in range(BATCH):
            name, text = rng.choice(KINDS)
            for mark, value in (
                ("$word", rng.choice(WORDS)),
                ("$small", str(rng.randrange(60_000_000) / 1e6)),
                ("$large", str(rng.randrange(90_000) / 100)),
                ("$score", str(rng.randrange(1, 6))),
                ("$case", f"{template}-{number}-##"),
            ):
                text = text.replace(mark, value)
            unit = f"order-{template:04d}-{number:04d}-##"
            events.append(
                f'{{"id":"@@@@@@@@-{rng.getrandbits(64):016x}-{number:03d}","name":"{name}",'
                f'"happened_at":"{now}","units":{{"order_id":"{unit}"}},"fields":{text}}}'
            )
        made.append(("[" + ",".join(events) + "]").encode())
    return made


def body_of(made: list[bytes], number: int) -> bytes:
    body = made[number % TEMPLATES].replace(b"@@@@@@@@", b"%08d" % number)
    return body.replace(b"##", b"%02d" % (number // TEMPLATES % ROUNDS))


def exposures(turns: int) -> Iterator[bytes]:
    """Return bodies with first exposures of units in some turns, dealt as the service does it."""
    compiled = compile_experiment(
        load_spec(SPEC, source="bench.yaml", catalogue=load_catalogue()).experiment,
        Serving("running"),
    )
    now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
    for template in range(TEMPLATES):
        for turn in range(turns):
            events = []
            for number in range(BATCH):
                unit = f"order-{template:04d}-{number:04d}-{turn:02d}"
                fields = {
                    "experiment": "bench",
                    "seed": 1,
                    "variant": compiled.assign({"targetingKey": unit, "order_id": unit}).variant,
                }
                events.append(
                    {
                        "id": f"exposed-{unit}",
                        "name": "exposure",
                        "happened_at": now,
                        "units": {"order_id": unit},
                        "fields": fields,
                    }
                )
            yield json.dumps(events).encode()


def drive(host: str, port: int, bodies: Iterator[bytes], *, seconds: float | None) -> Load:
    """Send bodies over 8 connections, each waiting for its answer, until the time is over."""
    load, chooser, open_ = Load(), selectors.DefaultSelector(), 0
    head = f"POST /api/v1/events HTTP/1.1\r\nHost: {host}:{port}\r\nContent-Type: application/json"
    begun = time.perf_counter()

    def send(connection: socket.socket) -> bool:
        body = next(bodies, None)
        if body is None or (seconds is not None and time.perf_counter() - begun >= seconds):
            chooser.unregister(connection)
            connection.close()
            return False
        sent[connection] = time.perf_counter()
        connection.sendall(f"{head}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body)
        load.sent += 1
        return True

    sent: dict[socket.socket, float] = {}
    for _ in range(CONNECTIONS):
        connection = socket.create_connection((host, port))
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        chooser.register(connection, selectors.EVENT_READ)
        open_ += send(connection)
    while open_:
        for key, _ in chooser.select(timeout=30):
            answer = _answer(key.fileobj)
            load.latencies.append(time.perf_counter() - sent[key.fileobj])
            load.accepted += answer["accepted"]
            if answer["accepted"] != BATCH:
                raise SystemExit(f"not everything was accepted: {answer}")
            open_ -= not send(key.fileobj)
    load.seconds = time.perf_counter() - begun
    return load


def _answer(connection: socket.socket) -> dict:
    """Return one answer; it is small and mostly comes in one piece."""
    received = b""
    while b"\r\n\r\n" not in received:
        received += _more(connection)
    head, _, body = received.partition(b"\r\n\r\n")
    length = int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0])
    while len(body) < length:
        body += _more(connection)
    if not head.startswith(b"HTTP/1.1 200"):
        raise SystemExit(f"refused: {head.splitlines()[0].decode()} {body.decode()}")
    return json.loads(body)


def _more(connection: socket.socket) -> bytes:
    part = connection.recv(65_536)
    if not part:
        raise SystemExit("the service closed a connection")
    return part


def processor(pid: int) -> float:
    """Return the seconds of processor time a process has had."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def checks_of(host: str, port: int) -> tuple[int, float]:
    """Return how many checks ran and how long they took on average."""
    text = httpx.get(f"http://{host}:{port}/metrics", timeout=30).text
    found = {
        line.split()[0]: float(line.split()[1])
        for line in text.splitlines()
        if line.startswith("turnback_check_duration_seconds_")
    }
    count = int(found.get("turnback_check_duration_seconds_count", 0))
    return count, found.get("turnback_check_duration_seconds_sum", 0.0) / max(count, 1)


# --- beside ----------------------------------------------------------------------------------


def decoding(made: list[bytes], batches: int) -> tuple[float, list[Event]]:
    """Return events a second of decoding and checking alone, and the events."""
    limits, now = EventLimits(), datetime.now(UTC)
    bodies = [body_of(made, number) for number in range(batches)]
    events: list[Event] = []
    begun = time.perf_counter()
    for body in bodies:
        events += read_events(body, ndjson=False, now=now, limits=limits, trusted=True) or []
    return len(events) / (time.perf_counter() - begun), events


def bulk_append(path: Path, events: list[Event]) -> float:
    """Return rows a second of the database's own append of one Arrow table, committed."""
    table = event_table([(n, to_micros(e.happened_at), e) for n, e in enumerate(events, 1)], 1)
    config = {"checkpoint_threshold": f"{CHECKPOINT_MB}MB"}
    with duckdb.connect(str(path), config=config) as connection:
        connection.execute(STEPS[0][0])
        connection.register("incoming", table)
        begun = time.perf_counter()
        connection.execute("INSERT INTO events BY NAME SELECT * FROM incoming")
        return len(events) / (time.perf_counter() - begun)
