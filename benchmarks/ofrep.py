"""Single evaluations a second through wrk, beside a bare route of the same framework."""

import os
import re
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import httpx

ROOT = Path(__file__).parents[1]
SECONDS = 8
CONNECTIONS = 16
BARE = """
import uvicorn
from starlette.applications import Starlette
from starlette.responses import Response
from starlette.routing import Route

async def answer(request):
    await request.body()
    return Response(b'{"key": "x", "value": true, "reason": "SPLIT", "variant": "control"}',
                    media_type="application/json")

uvicorn.run(Starlette(routes=[Route("/ofrep/v1/evaluate/flags/{key}", answer, methods=["POST"])]),
             port=PORT, log_level="warning")
"""
SCRIPT = """
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
local n = 0
request = function()
  n = n + 1
  return wrk.format(nil, nil, nil, '{"context": {"targetingKey": "order-' .. n .. '"}}')
end
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def wait(url: str) -> None:
    for _ in range(400):
        try:
            httpx.get(url, timeout=1)
        except httpx.HTTPError:
            time.sleep(0.05)
        else:
            return
    raise SystemExit(f"{url} did not come up")


def load(port: int, folder: Path) -> tuple[float, str]:
    script = folder / "evaluate.lua"
    script.write_text(SCRIPT)
    url = f"http://127.0.0.1:{port}/ofrep/v1/evaluate/flags/three-step-cancel"
    command = ["wrk", "-t1", f"-c{CONNECTIONS}", f"-d{SECONDS}s", "--latency", "-s", script, url]
    printed = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    if "Non-2xx" in printed:
        raise SystemExit(printed)
    rate = float(re.search(r"Requests/sec:\s+([\d.]+)", printed)[1])
    return rate, re.search(r"99%\s+(\S+)", printed)[1]


def main() -> None:
    if shutil.which("wrk") is None:
        raise SystemExit("wrk is not installed (Debian: apt-get install wrk)")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        port, peer_port = free_port(), free_port()
        environment = {
            **os.environ,
            "TURNBACK_DATA": str(folder / "data"),
            "TURNBACK_PORT": str(port),
        }
        command = [Path(sys.executable).with_name("turnback"), "serve"]
        ours = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
        bare = subprocess.Popen([sys.executable, "-c", BARE.replace("PORT", str(peer_port))])
        try:
            wait(f"http://127.0.0.1:{port}/readyz")
            wait(f"http://127.0.0.1:{peer_port}/")
            text = (ROOT / "examples" / "three-step-cancel.yaml").read_text()
            url = f"http://127.0.0.1:{port}/api/v1/experiments"
            httpx.post(url, content=text).raise_for_status()
            rate, p99 = load(port, folder)
            peer, peer_p99 = load(peer_port, folder)
        finally:
            for process in (ours, bare):
                process.terminate()
                process.wait(timeout=30)
    print(f"single evaluation {rate:7.0f}/s, p99 {p99}, {CONNECTIONS} connections, {SECONDS} s")
    print(f"bare route        {peer:7.0f}/s, p99 {peer_p99}; ours is {rate / peer:.0%} of it")


if __name__ == "__main__":
    main()
