"""``python -m benchmarks.http.driver``: requests at a constant rate, whatever the answers take.

An open loop: a request is due at its own instant and its time is counted from there, also while
it waits for one of the connections, so a server that stalls is charged for everybody it keeps
waiting. Evaluations and events are sent by one process; what it measured is printed as JSON.
"""

import argparse
import asyncio
import json
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import uvloop

EVENTS = 100
"""Events of one request."""

TICK = 0.0005
CONNECTIONS = {"evaluations": 64, "events": 8}
DRAIN = 30.0


@dataclass
class Measured:
    """What one kind of request saw.

    Attributes:
        sent: Requests.
        refused: Answers other than 200.
        accepted: What was taken: evaluations, or events.
        times: Seconds from the instant a request was due to its answer.
        late: Seconds by which this process itself sent too late, a connection being free.
    """

    sent: int = 0
    refused: int = 0
    accepted: int = 0
    times: list[float] = field(default_factory=list)
    late: list[float] = field(default_factory=list)

    def to_json(self) -> dict[str, Any]:
        return {
            "sent": self.sent,
            "answered": len(self.times),
            "refused": self.refused,
            "accepted": self.accepted,
            "p50": quantile(self.times, 0.5),
            "p99": quantile(self.times, 0.99),
            "longest": max(self.times, default=float("nan")),
            "late_p99": quantile(self.late, 0.99),
        }


def quantile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[int(share * (len(ordered) - 1))] if ordered else float("nan")


class Connection(asyncio.Protocol):
    """One kept connection with at most one request under way."""

    def __init__(self, flow: "Flow") -> None:
        self._flow, self._received, self._due = flow, b"", 0.0
        self._transport: Any = None

    def connection_made(self, transport: Any) -> None:
        self._transport = transport

    def send(self, request: bytes, due: float) -> None:
        self._due = due
        self._transport.write(request)

    def close(self) -> None:
        self._transport.close()

    def data_received(self, data: bytes) -> None:
        self._received += data
        head, found, body = self._received.partition(b"\r\n\r\n")
        if not found:
            return
        length = int(head.lower().partition(b"content-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._received = b""
            self._flow.answered(self, self._due, ok=b" 200 " in head[:15], body=body)


class Flow:
    """Requests of one kind at one rate over a fixed number of connections."""

    def __init__(self, requests: Iterator[bytes], rate: float, accepted: Callable[[bytes], int]):
        self.measured = Measured()
        self._requests, self._rate, self._accepted = requests, rate, accepted
        self._idle: deque[Connection] = deque()
        self._waiting: deque[float] = deque()
        self._open = 0
        self._made = 0

    async def connect(self, host: str, port: int, connections: int) -> None:
        loop = asyncio.get_running_loop()
        for _ in range(connections):
            _, connection = await loop.create_connection(lambda: Connection(self), host, port)
            self._idle.append(connection)

    def due(self, begun: float, now: float) -> None:
        """Send what is due by now, or let it wait for a connection."""
        while (instant := begun + self._made / self._rate) <= now:
            self._made += 1
            if len(self._idle) > len(self._waiting):
                self.measured.late.append(now - instant)
            self._waiting.append(instant)
        self._send()

    def answered(self, connection: Connection, due: float, *, ok: bool, body: bytes) -> None:
        self.measured.times.append(time.perf_counter() - due)
        self.measured.refused += not ok
        self.measured.accepted += self._accepted(body) if ok else 0
        self._open -= 1
        self._idle.append(connection)
        self._send()

    def close(self) -> None:
        for connection in self._idle:
            connection.close()

    @property
    def busy(self) -> bool:
        return bool(self._open or self._waiting)

    def _send(self) -> None:
        while self._waiting and self._idle:
            instant = self._waiting.popleft()
            # in turn: a connection that never asks is closed by the service
            self._idle.popleft().send(next(self._requests), instant)
            self.measured.sent += 1
            self._open += 1


def request(url: str, body: bytes) -> bytes:
    parts = urlsplit(url)
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    return head.encode() + body


def evaluations(url: str, run: str) -> Iterator[bytes]:
    """Requests about units that nobody asked about before."""
    number = 0
    while True:
        number += 1
        yield request(url, b'{"context":{"targetingKey":"%b-%d"}}' % (run.encode(), number))


def events(url: str, run: str) -> Iterator[bytes]:
    """Batches of ratings of the units that are evaluated beside."""
    number = 0
    while True:
        now = datetime.now(UTC).isoformat().replace("+00:00", "Z")
        batch = []
        for _ in range(EVENTS):
            number += 1
            batch.append(
                f'{{"id":"{run}-{number}","name":"rating_given","happened_at":"{now}",'
                f'"units":{{"order_id":"{run}-{number}"}},"fields":{{"score":{number % 5 + 1}}}}}'
            )
        yield request(url, f"[{','.join(batch)}]".encode())


async def drive(asked: argparse.Namespace) -> dict[str, Any]:
    place = urlsplit(asked.evaluate)
    flows = {
        "evaluations": Flow(evaluations(asked.evaluate, asked.run), asked.rate, lambda _: 1),
        "events": Flow(
            events(f"http://{place.netloc}/api/v1/events", asked.run),
            asked.events / EVENTS,
            lambda body: json.loads(body)["accepted"],
        ),
    }
    for name, flow in flows.items():
        await flow.connect(str(place.hostname), place.port or 80, CONNECTIONS[name])
    spent, begun = time.process_time(), time.perf_counter()
    while (now := time.perf_counter()) - begun < asked.seconds:
        for flow in flows.values():
            flow.due(begun, now)
        await asyncio.sleep(TICK)
    until = time.perf_counter() + DRAIN
    while any(flow.busy for flow in flows.values()) and time.perf_counter() < until:  # noqa: ASYNC110 - the same clock ends it
        await asyncio.sleep(TICK)
    seconds = time.perf_counter() - begun
    for flow in flows.values():
        flow.close()
    found = {name: flow.measured.to_json() for name, flow in flows.items()}
    return {**found, "seconds": seconds, "cores": (time.process_time() - spent) / seconds}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--evaluate", required=True, help="address of one flag")
    parser.add_argument("--rate", type=float, required=True, help="evaluations a second")
    parser.add_argument("--events", type=float, required=True, help="events a second")
    parser.add_argument("--seconds", type=float, required=True)
    parser.add_argument("--run", required=True, help="begins the ids: no two runs have one")
    json.dump(uvloop.run(drive(parser.parse_args())), sys.stdout)


if __name__ == "__main__":
    main()
