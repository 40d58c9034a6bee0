"""A service in a process of its own, told to stop: what it began is finished and written."""

import json
import os
import signal
import socket
import subprocess
import sys
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import httpx
import pytest

import service
from tests.clients.contexts import soon
from tests.crowd import crowd
from tests.running import KEY, SPEC

ROOT = Path(__file__).parents[1]
COUNT = 40
CODE = """
import service
from experiments.streaming import Streams

Streams.__init__.__kwdefaults__["keep_alive"] = 0.2
service.serve(service.Settings(), ready=lambda r: print(r.url, flush=True))
"""


@contextmanager
def serving(folder):
    """Exposures wait for a minute before they are written, or for the end."""
    settings = {"TURNBACK_DATA": str(folder), "TURNBACK_PORT": "0"}
    process = subprocess.Popen(
        [sys.executable, "-c", CODE],
        cwd=ROOT,
        env={**os.environ, **settings, "TURNBACK_EXPOSURE_FLUSH_MS": "60000"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )
    try:
        yield process.stdout.readline().strip(), process
    finally:
        if process.poll() is None:
            process.kill()
        process.communicate()


def ratings():
    return json.dumps(
        [
            {
                "id": f"r-{number}",
                "name": "rating_given",
                "happened_at": datetime.now(UTC).isoformat(),
                "units": {"order_id": f"u-{number}"},
                "fields": {"score": 4},
            }
            for number in range(COUNT)
        ]
    ).encode()


def test_a_stopping_service_tells_its_streams_answers_what_it_began_and_writes_all(tmp_path):
    with serving(tmp_path) as (url, process), crowd(url) as them:
        host, port = url.removeprefix("http://").split(":")
        with httpx.Client(base_url=url) as http:
            assert http.post("/api/v1/experiments", content=SPEC).status_code == 201
            for number in range(COUNT):
                context = {"context": {"targetingKey": f"u-{number}"}}
                assert http.post(f"/ofrep/v1/evaluate/flags/{KEY}", json=context).is_success
        them.open(["/ofrep/v1/stream", "/sub/sdk-1"] * 5)
        soon(lambda: all(stream.comments >= 3 for stream in them.streams))  # ": open" is one
        assert {len(stream.events) for stream in them.streams} == {1}

        body = ratings()
        with socket.create_connection((host, int(port)), timeout=20) as begun:
            head = f"POST /api/v1/events HTTP/1.1\r\nHost: {host}\r\nContent-Length: {len(body)}"
            begun.sendall(f"{head}\r\nExpect: 100-continue\r\n\r\n".encode())
            assert begun.recv(100).startswith(b"HTTP/1.1 100 "), "the request is being answered"
            begun.sendall(body[:100])
            process.send_signal(signal.SIGTERM)
            soon(lambda: all(stream.ended for stream in them.streams))
            with pytest.raises(OSError, match="refused"):
                socket.create_connection((host, int(port)), timeout=5)
            assert process.poll() is None, "it did not wait for the request that it had begun"
            begun.sendall(body[100:])
            answer = answered(begun)
        assert answer["accepted"] == COUNT
        assert process.wait(20) in {0, -signal.SIGTERM}
    assert_written(tmp_path)


def answered(connection):
    """Return the body of the one answer; the service closes the connection behind it."""
    received = b""
    while part := connection.recv(65_536):
        received += part
    head, _, body = received.partition(b"\r\n\r\n")
    assert b" 200 " in head.splitlines()[0], head
    return json.loads(body)


def assert_written(folder):
    again = service.build(service.Settings(data=folder))
    try:
        assert len(again.store.exposed_units(KEY, 1)) == COUNT
        assert again.store.watermark() == 2 * COUNT  # the exposures and the ratings
    finally:
        again.close()
