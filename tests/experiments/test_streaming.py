"""Open streams: told of every change, of nothing twice, and cut off when nobody reads."""

import asyncio
import json
import socket
from contextlib import ExitStack, suppress
from datetime import UTC, datetime, timedelta

import pytest

from experiments.changes import AT_ONCE, PACED, ChangeFeed
from experiments.growthbook_api import Payload, Payloads
from experiments.streaming import ABORT, Streams
from tests.clients.contexts import soon
from tests.crowd import crowd
from tests.running import running

START = datetime(2026, 3, 2, tzinfo=UTC)


class Served:
    """A version that tests change, and a clock that stands still."""

    def __init__(self):
        self.version = "v0"
        self.feed = ChangeFeed(lambda: self.version, now=lambda: START)

    def change(self, version):
        self.version = version
        self.feed.look()


class Wire:
    """An ASGI connection whose client may stop reading."""

    def __init__(self, *, headers=(), reads=True):
        self.scope = {"headers": list(headers), "extensions": {ABORT: self.abort}}
        self.sent, self.aborted, self.reads = [], False, reads
        self.arrived, self.gone = asyncio.Event(), asyncio.Event()

    def abort(self):
        self.aborted = True
        self.gone.set()

    async def receive(self):
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def send(self, message):
        if not self.reads and self.sent:
            await asyncio.Event().wait()
        self.sent.append(message)
        self.arrived.set()

    async def until(self, count):
        while len(self.bodies) < count:
            self.arrived.clear()
            async with asyncio.timeout(20):
                await self.arrived.wait()
        return self.bodies

    @property
    def bodies(self):
        return [message["body"] for message in self.sent if "body" in message]


def streams_of(served, **settings):
    given = {"paced": False, "keep_alive": 60.0, "patience": 60.0, **settings}
    return Streams(served.feed, lambda: served.version.encode(), **given)  # noqa: PLW0108 - the version changes


def run(story):
    asyncio.run(story())


def test_a_stream_begins_with_what_is_served_and_brings_changes():
    async def story():
        served, wire = Served(), Wire()
        streams = streams_of(served)
        task = asyncio.create_task(streams.serve(wire.scope, wire.receive, wire.send))
        bodies = await wire.until(2)
        assert bodies[0].startswith(b": open\nretry: ")
        assert bodies[1] == b"v0"
        served.change("v1")
        assert (await wire.until(3))[2] == b"v1"
        assert (streams.open, served.feed.listeners) == (1, 1)
        wire.gone.set()
        await task
        assert (streams.open, served.feed.listeners) == (0, 0)

    run(story)


def test_a_change_is_put_into_words_once_for_all_streams():
    async def story():
        served, wires, made = Served(), [Wire() for _ in range(20)], []

        def event():
            made.append(served.version)
            return served.version.encode()

        streams = Streams(served.feed, event, paced=False)
        tasks = [
            asyncio.create_task(streams.serve(wire.scope, wire.receive, wire.send))
            for wire in wires
        ]
        for number in range(3):
            served.change(f"v{number}")
            told = [(await wire.until(2 + number))[1:] for wire in wires]
            assert told == [[b"v%d" % n for n in range(number + 1)]] * len(wires)
        assert made == ["v0", "v1", "v2"]
        for wire in wires:
            wire.gone.set()
        await asyncio.gather(*tasks)

    run(story)


def test_who_names_the_last_event_is_told_only_what_is_new():
    async def story():
        served, wire = Served(), Wire(headers=[(b"last-event-id", b"v0")])
        task = asyncio.create_task(streams_of(served).serve(wire.scope, wire.receive, wire.send))
        await wire.until(1)
        served.change("v1")
        assert (await wire.until(2))[1] == b"v1"
        wire.gone.set()
        await task

    run(story)


def test_a_slow_client_misses_what_lies_between_and_gets_what_is_newest():
    async def story():
        served, wire = Served(), Wire()
        task = asyncio.create_task(streams_of(served).serve(wire.scope, wire.receive, wire.send))
        await wire.until(2)
        for number in range(1, 100):
            served.change(f"v{number}")
        assert (await wire.until(3))[2:] == [b"v99"]
        await asyncio.sleep(0)
        assert len(wire.bodies) == 3
        wire.gone.set()
        await task

    run(story)


def test_a_client_that_does_not_read_is_cut_off():
    async def story():
        served, wire = Served(), Wire(reads=False)
        streams = streams_of(served, patience=0.01)
        await streams.serve(wire.scope, wire.receive, wire.send)
        assert (wire.aborted, streams.dropped, streams.open) == (True, 1, 0)
        assert served.feed.listeners == 0

    run(story)


def test_a_quiet_stream_is_kept_alive():
    async def story():
        served, wire = Served(), Wire()
        streams = streams_of(served, keep_alive=0.01)
        task = asyncio.create_task(streams.serve(wire.scope, wire.receive, wire.send))
        assert (await wire.until(4))[2:4] == [b": still here\n\n"] * 2
        wire.gone.set()
        await task

    run(story)


def test_a_stopping_service_ends_every_stream_and_opens_none():
    async def story():
        served, wires = Served(), [Wire() for _ in range(5)]
        streams = streams_of(served)
        tasks = [
            asyncio.create_task(streams.serve(wire.scope, wire.receive, wire.send))
            for wire in wires
        ]
        for wire in wires:
            await wire.until(2)
        await served.feed.close()
        await asyncio.gather(*tasks)
        assert [wire.sent[-1] for wire in wires] == [
            {"type": "http.response.body", "body": b""}
        ] * 5
        assert streams.full

    run(story)


@pytest.mark.parametrize("rate", [AT_ONCE, PACED])
def test_a_crowd_is_told_in_turn_and_within_the_time_its_rate_says(rate):
    async def story():
        served, loop = Served(), asyncio.get_running_loop()
        delays = []
        loop.call_later = lambda delay, call: delays.append(delay)
        for _ in range(1000):
            served.feed._listeners[asyncio.Event()] = rate
        served.change("v1")
        at_once = [wake for wake in served.feed._listeners if wake.is_set()]
        assert len(at_once) == rate // 100
        assert len(at_once) + len(delays) == 1000
        assert delays == sorted(delays)
        assert max(delays) < 1000 / rate

    run(story)


def test_changes_have_dates_of_their_own_though_the_clock_stands_still():
    async def story():
        served = Served()
        dates = [served.feed.changed_at]
        for number in range(3):
            served.change(f"w{number}")
            dates.append(served.feed.changed_at)
        assert dates == [START + timedelta(milliseconds=n) for n in range(4)]

    run(story)


def test_a_change_told_from_another_thread_wakes_the_streams_without_a_look_of_their_own():
    async def story():
        served, wire = Served(), Wire()
        watching = asyncio.create_task(served.feed.run())
        task = asyncio.create_task(streams_of(served).serve(wire.scope, wire.receive, wire.send))
        await wire.until(2)
        served.feed._every = 3600
        served.version = "v1"
        await asyncio.to_thread(served.feed.notice)
        assert (await wire.until(3))[2] == b"v1"
        wire.gone.set()
        watching.cancel()
        await task

    run(story)


COUNT = 50


def test_a_rollback_reaches_every_open_stream_of_both_kinds():
    with ExitStack() as later:
        with running() as it:
            it.apply()
            them = later.enter_context(crowd(it.url))
            them.open(["/sub/sdk-1", "/ofrep/v1/stream"] * (COUNT // 2))
            assert {len(s.events) for s in them.streams} == {1}
            assert it.act("roll_back", variant="treatment").is_success
            assert them.told(2, within=20) == []
            payload = it.http.get("/api/features/sdk-1").content
            told = {s.events[1][1] for s in them.streams if s.path.startswith("/sub")}
            assert told == {payload}
            kinds = {json.loads(s.events[1][1]).get("type") for s in them.streams}
            assert kinds == {None, "refetchEvaluation"}
        soon(lambda: all(stream.ended for stream in them.streams))


def test_a_connection_whose_client_reads_nothing_is_closed_by_the_service(monkeypatch):
    made, begin = [], Streams.__init__

    def hasty(streams, *given, **settings):
        begin(streams, *given, **{**settings, "patience": 0.2, "keep_alive": 0.05})
        made.append(streams)

    huge = Payload(b"x" * 20_000_000, b'"huge"')
    monkeypatch.setattr(Streams, "__init__", hasty)
    monkeypatch.setattr(Payloads, "current", lambda _: huge)
    with running() as it, socket.socket() as deaf:
        deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf.connect(("127.0.0.1", int(it.url.rsplit(":", 1)[1])))
        deaf.sendall(b"GET /sub/sdk-1 HTTP/1.1\r\nHost: localhost\r\n\r\n")
        soon(lambda: sum(streams.dropped for streams in made) == 1)
        soon(lambda: not any(streams.open for streams in made))
        received = 0
        with suppress(ConnectionResetError):
            while part := deaf.recv(1 << 20):
                received += len(part)
        assert received < len(huge.body)
