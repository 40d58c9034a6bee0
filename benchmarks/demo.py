"""Wall time of the demo, with and without its view, beside the limit of 60 seconds."""

import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LIMIT = 60.0
TURNBACK = Path(sys.executable).with_name("turnback")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def run(*options: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "turnback-data"
        begun = time.monotonic()
        done = subprocess.run(
            [TURNBACK, "demo", "--port", str(free_port()), "--data", data, *options],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "FORCE_COLOR": "1", "COLUMNS": "120", "LINES": "48"},
        )
        if "--json" in options:
            json.loads(done.stdout)
        return time.monotonic() - begun


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else 3
    for name, options in {"with its view": (), "without": ("--no-view", "--json")}.items():
        seconds = [run(*options) for _ in range(rounds)]
        median = statistics.median(seconds)
        print(
            f"demo {name:14} median {median:5.1f} s of {rounds} "
            f"(min {min(seconds):.1f}, max {max(seconds):.1f}); {median / LIMIT:.0%} of the limit"
        )


if __name__ == "__main__":
    main()
