"""``turnback serve`` as processes on the same files, forked from one that has everything imported.

For tests that kill, stop and starve real services.
"""

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import httpx
from typer.testing import CliRunner

from console.cli import app

ROOT = Path(__file__).parents[1]
ADMIN = "lives-admin-key"


class Nursery:
    """A warm process that forks services; safe from several threads.

    Args:
        log: File that everything they say is appended to.
        fault: Defects to plant into all of them, by their names in ``acceptance/nursery.py``.
    """

    def __init__(self, log, fault="none"):
        self.log = log
        self._lock = threading.Lock()
        with log.open("ab") as opened:
            self._process = subprocess.Popen(
                [sys.executable, str(ROOT / "tests" / "acceptance" / "nursery.py"), fault],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=opened,
                text=True,
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
            )

    def bear(self, environment, fault="none"):
        with self._lock:
            settings = {"environment": environment, "fault": fault}
            self._process.stdin.write(json.dumps(settings) + "\n")
            self._process.stdin.flush()
            return int(self._process.stdout.readline())

    def close(self):
        self._process.stdin.close()
        self._process.wait(timeout=30)
        self._process.stdout.close()


@contextlib.contextmanager
def nursery(folder, fault="none"):
    """Run a nursery until the block ends."""
    it = Nursery(folder / "services.log", fault)
    try:
        yield it
    finally:
        it.close()


class Life:
    """One ``turnback serve`` on a folder, from its start to its end.

    Args:
        nursery: Where it is born.
        data: The folder of its files.
        fault: Defects to plant into this one.
        clock: With ``fast-clock``, where the clock starts and how fast it goes.
        settings: ``TURNBACK_*`` variables, without the prefix and in lower case.
    """

    def __init__(self, nursery, data, *, fault="none", clock=None, **settings):
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            port = probe.getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.data = data
        self._log = nursery.log
        given = {"data": str(data), "port": str(port), "admin_key": ADMIN, **settings}
        environment = {f"TURNBACK_{k.upper()}": v for k, v in given.items()}
        if clock is not None:
            environment |= {"CLOCK_FROM": clock[0].isoformat(), "CLOCK_RATE": str(clock[1])}
        self.pid = nursery.bear(environment, fault)
        self.http = httpx.Client(
            base_url=self.url,
            timeout=90,
            headers={"Authorization": f"Bearer {ADMIN}"},
            verify=False,  # noqa: S501 - no TLS, and certificates take as long as ten requests
        )

    def alive(self):
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, 0)
            return True
        return False

    def ready(self, *, within=60):
        """Wait until it answers; ``False`` when it ended before."""
        deadline = time.monotonic() + within
        while time.monotonic() < deadline:
            with contextlib.suppress(httpx.HTTPError):
                if self.http.get("/readyz", timeout=5).status_code == 200:
                    return True
            if not self.alive():
                return False
            time.sleep(0.01)
        raise AssertionError(f"no answer: {self._log.read_text()[-3000:]}")

    def gone(self, *, within=20):
        """Wait until it has ended, and with it its hold on the files."""
        deadline = time.monotonic() + within
        while self.alive() and time.monotonic() < deadline:
            time.sleep(0.005)
        return not self.alive()

    def send(self, how=signal.SIGKILL):
        """Send it a signal, if it lives."""
        with contextlib.suppress(ProcessLookupError):
            os.kill(self.pid, how)

    def end(self, how=signal.SIGKILL):
        """End it, if it lives, and wait until it is gone."""
        self.send(signal.SIGCONT)
        self.send(how)
        assert self.gone(within=60), "the service did not end"
        self.http.close()

    def move(self, instant):
        """Move the clock of a demo; ``False`` when it died of it."""
        try:
            answer = self.http.post("/api/v1/demo/clock", json={"to": instant.isoformat()})
        except httpx.HTTPError:
            return False
        assert answer.status_code == 200, answer.text
        return True

    def series(self, name, **labels):
        """Return the value of one Prometheus series, ``None`` where there is none."""
        for line in self.http.get("/metrics").text.splitlines():
            head, _, value = line.rpartition(" ")
            start = head.partition("{")[0]
            if start == name and all(f'{k}="{v}"' in head for k, v in labels.items()):
                return float(value)
        return None

    def status(self, *arguments):
        """Return what ``turnback status`` prints of it."""
        given = [*arguments, "--url", self.url, "--key", ADMIN]
        done = CliRunner(env={"COLUMNS": "200"}).invoke(app, ["status", *given])
        assert done.exit_code == 0, done.output
        return done.stdout
