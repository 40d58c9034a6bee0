"""The benchmark of evaluations over HTTP runs to its end in its small form; its rate is constant."""

import asyncio
import os
import re
import shutil
import subprocess
import sys
from itertools import repeat
from pathlib import Path

import pytest

from benchmarks.http.driver import Flow

ROOT = Path(__file__).parents[1]


@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_the_small_form_measures_ours_beside_the_bare_route():
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.http", "--quick"],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=True,
        timeout=170,
    )
    rows = re.findall(
        r"^(turnback serve|bare Starlette route) +([\d,]+) .*", done.stdout, re.MULTILINE
    )
    assert [name for name, _ in rows] == ["turnback serve", "bare Starlette route"]
    assert all(int(rate.replace(",", "")) > 0 for _, rate in rows)
    assert len(re.findall(r"^  floor 3,500: (?:pass|MISS)$", done.stdout, re.MULTILINE)) == 2
    assert len(re.findall(r"^  p99 under 30 ms: (?:pass|MISS)$", done.stdout, re.MULTILINE)) == 2
    assert done.stdout.count(" 0 refused, 0 unanswered") == 4
    assert "not measured" not in done.stdout


def test_a_stall_is_charged_to_every_request_that_was_due_in_it():
    stall, every, count = 0.3, 0.01, 60

    ended = asyncio.Event()

    async def answer(reader, writer):
        for number in range(count):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(stall if number == 5 else 0)
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
        writer.close()
        await writer.wait_closed()
        ended.set()

    async def story():
        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        flow = Flow(repeat(b"POST / HTTP/1.1\r\n\r\n"), 1 / every, lambda _: 1)
        async with server:
            await flow.connect("127.0.0.1", server.sockets[0].getsockname()[1], 1)
            begun = asyncio.get_running_loop().time()
            while (now := asyncio.get_running_loop().time()) < begun + count * every - every / 2:
                flow.due(begun, now)
                await asyncio.sleep(0.001)
            while flow.busy:  # noqa: ASYNC110 - as the driver does
                await asyncio.sleep(0.001)
            flow.close()
            await ended.wait()
            await asyncio.sleep(0)  # the other side is closed too
        return flow.measured

    measured = asyncio.run(story())
    assert measured.sent == len(measured.times) == measured.accepted == count
    # one stalled; the thirty that were due meanwhile waited for what was left of it
    waited = [seconds for seconds in measured.times if seconds > stall / 10]
    assert len(waited) >= 0.8 * stall / every
    assert max(measured.times) >= stall
