"""All official clients over 10,000 contexts, and a thousand open streams for a minute."""

import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from statistics import median

import httpx
import pytest

from tests.clients import javascript
from tests.clients.javascript import JavaScriptClient, driver
from tests.clients.python_clients import CLIENTS, Async, Sync
from tests.clients.story import PHASES, UNITS, story
from tests.crowd import crowd
from tests.running import KEY, SPEC

pytestmark = [
    pytest.mark.acceptance(cores=2),
    # what the clients themselves leave open in threads of theirs
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
]

ROOT = Path(__file__).parents[2]
CONTEXTS = 10_000
CHANGES = 10
FLOOR = 1.0
"""Seconds from the commit of a rollback to a client's own changed answer."""

GOAL = 0.25
"""The same where the client streams."""

STREAMS = 1_000
SECONDS = 60
REACHED = 2.0


TOLD = SPEC.replace("flow: {", "flow: {arm: control, ", 1).replace(
    "flow: {steps: [why", "flow: {arm: treatment, steps: [why"
)
"""The specification whose flows name their arms."""


def streaming(node, url):
    """Open every client that is told of changes by a stream."""
    return {
        "growthbook, streaming": Sync(url, streaming=True),
        "growthbook, asynchronous": Async(url),
        **{
            f"JavaScript {name}": JavaScriptClient(node, name, url)
            for name in ("growthbook", "growthbook for many users", "ofrep-web-provider")
        },
    }


def checked(told, record_property):
    for name, client in told.told.items():
        for phase in PHASES:
            record_property(f"{name}: contexts {phase}", CONTEXTS)
            record_property(f"{name}: other arms than ours {phase}", len(client.wrong[phase]))
        record_property(f"{name}: rollbacks and ends of one seen", len(client.seconds))
        record_property(
            f"{name}: seconds to its changed answer, median", f"{median(client.seconds):.3f}"
        )
        record_property(
            f"{name}: seconds to its changed answer, longest", f"{max(client.seconds):.3f}"
        )
        within = sum(seconds <= GOAL for seconds in client.seconds)
        record_property(f"{name}: of them within {GOAL} s", within)
        record_property(f"{name}: exposures of its own kept", len(client.exposed))
    for name, client in told.told.items():
        assert client.wrong == {phase: [] for phase in PHASES}, name
        assert client.exposed == client.expected, name
        # one that asks again only once a second, as its setting says, needs that second too
        assert max(client.seconds) < FLOOR + (1.0 if name == "growthbook" else 0.0), name
    assert told.quarantined == 0


def test_python_clients_serve_our_arms_and_see_rollbacks_in_time(record_property):
    told = story(CLIENTS, count=CONTEXTS, seed=20261125, changes=CHANGES)
    checked(told, record_property)
    assert {len(client.exposed) for client in told.told.values()} == {UNITS}


def test_javascript_clients_serve_our_arms_and_see_rollbacks_in_time(record_property):
    with driver() as node:
        opened = {
            name: lambda url, name=name: JavaScriptClient(
                node, name, url, alias=f"JavaScript {name}"
            )
            for name in javascript.names()
        }
        opened = {f"JavaScript {name}": open_one for name, open_one in opened.items()}
        told = story(opened, count=CONTEXTS, seed=20261126, changes=CHANGES)
    checked(told, record_property)


def test_a_thousand_open_streams_hear_of_every_rollback_within_two_seconds(
    tmp_path, record_property
):
    with (
        serving(tmp_path) as (url, process),
        crowd(url) as them,
        httpx.Client(base_url=url) as http,
    ):
        assert http.post("/api/v1/experiments?source=spec.yaml", content=SPEC).is_success
        act(http, "roll_back")  # what is made at the first change is made
        act(http, "resume")
        alone = resident(process.pid)
        them.open(["/sub/sdk-1", "/ofrep/v1/stream"] * (STREAMS // 2))
        opened, begun, sizes = resident(process.pid), time.monotonic(), []
        fastest, slowest = [], []
        while time.monotonic() - begun < SECONDS:
            for action in ("roll_back", "resume"):
                known = len(them.streams[0].events)
                committed = act(http, action)
                late = them.told(known + 1, within=20)
                assert late == [], f"{len(late)} streams heard nothing"
                told = [s.events[known][0] - committed for s in them.streams]
                fastest.append(min(told))
                slowest.append(max(told))
                sizes.append(resident(process.pid))
            time.sleep(1)
        record_property("streams open", len(them.streams))
        record_property("seconds", SECONDS)
        record_property("rollbacks and ends of one", len(slowest))
        # up to the first it is the request, the decision and its commit; then it is the crowd
        record_property("seconds to the first stream, median", f"{median(fastest):.3f}")
        record_property("seconds to the first stream, longest", f"{max(fastest):.3f}")
        record_property("seconds to the last stream, median", f"{median(slowest):.3f}")
        record_property("seconds to the last stream, longest", f"{max(slowest):.3f}")
        record_property("kB of memory for each stream", f"{(opened - alone) / STREAMS:.0f}")
        record_property("MB of memory with all open", f"{opened / 1000:.0f}")
        record_property("MB of memory at the end", f"{sizes[-1] / 1000:.0f}")
        assert not any(stream.ended for stream in them.streams)
        assert max(slowest) < REACHED
        early, late = sizes[: len(sizes) // 3], sizes[-(len(sizes) // 3) :]
        assert median(late) < median(early) * 1.05 + 2_000, "memory grows"
        process.send_signal(signal.SIGTERM)
        process.wait(20)
    assert all(stream.ended for stream in them.streams)


def test_streaming_clients_see_a_rollback_of_a_service_beside_them_in_time(
    tmp_path, record_property
):
    """The service in a process of its own, the time from before the request to the answer."""
    unit = {"order_id": "A-20391"}  # the hash gives it `treatment`
    with (
        driver() as node,
        ExitStack() as undo,
        serving(tmp_path) as (url, _),
        httpx.Client(base_url=url) as http,
    ):
        assert http.post("/api/v1/experiments?source=spec.yaml", content=TOLD).is_success
        for name, client in streaming(node, url).items():
            undo.callback(client.close)
            seconds = []
            client.until(unit, "treatment")
            for _ in range(CHANGES):
                for action, arm in (("roll_back", "control"), ("resume", "treatment")):
                    begun = act(http, action)
                    seconds.append(client.until(unit, arm) - begun)
            record_property(f"{name}: seconds, median", f"{median(seconds):.3f}")
            record_property(f"{name}: seconds, longest", f"{max(seconds):.3f}")
            within = sum(each <= GOAL for each in seconds)
            record_property(f"{name}: within {GOAL} s", f"{within} of {len(seconds)}")
            assert max(seconds) < FLOOR, name


def test_streaming_clients_come_back_after_a_restart(tmp_path, record_property):
    unit = {"order_id": "A-20391"}  # the hash gives it `treatment`
    with driver() as node, ExitStack() as undo:
        with serving(tmp_path) as (url, process), httpx.Client(base_url=url) as http:
            assert http.post("/api/v1/experiments?source=spec.yaml", content=TOLD).is_success
            clients = streaming(node, url)
            for client in clients.values():
                undo.callback(client.close)
                client.until(unit, "treatment")
            process.send_signal(signal.SIGTERM)
            process.wait(30)
        port = url.rsplit(":", 1)[1]
        with serving(tmp_path, port=port) as (url, _), httpx.Client(base_url=url) as http:
            begun = act(http, "roll_back")
            with ThreadPoolExecutor(len(clients)) as each:  # some wait longer than others
                back = each.map(lambda client: client.until(unit, "control"), clients.values())
                for name, seen in zip(clients, back, strict=True):
                    record_property(f"{name}: seconds after the restart", f"{seen - begun:.1f}")


class serving:  # noqa: N801 - used as a function is
    """The real service in a process of its own."""

    def __init__(self, folder, *, port="0"):
        self._environment = {**os.environ, "TURNBACK_DATA": str(folder), "TURNBACK_PORT": port}

    def __enter__(self):
        code = (
            "import service; "
            "service.serve(service.Settings(), ready=lambda r: print(r.url, flush=True))"
        )
        self._process = subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            env=self._environment,
            stdout=subprocess.PIPE,
            text=True,
        )
        return self._process.stdout.readline().strip(), self._process

    def __exit__(self, *_):
        if self._process.poll() is None:
            self._process.kill()
        self._process.wait()
        self._process.stdout.close()


def act(http, action):
    """Do it; return a moment before it was committed."""
    before = time.time()
    body = {"action": action, "variant": "treatment", "reason": "a test"}
    http.post(f"/api/v1/experiments/{KEY}/actions", json=body).raise_for_status()
    return before


def resident(pid):
    """Memory in kB."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="utf-8").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS"))
