"""The official JavaScript clients, installed from their registry as they are, driven over a pipe.

They go into a folder of the user's cache named after the lock file, so once per lock.
"""

import hashlib
import itertools
import json
import os
import shutil
import subprocess
from concurrent.futures import Future
from contextlib import ExitStack, contextmanager
from pathlib import Path
from tempfile import NamedTemporaryFile
from threading import Thread

import pytest

from tests.clients.contexts import KEY, NOBODY

NODE = Path(__file__).with_name("node")
OLDEST = 20


def packages(source: Path = NODE) -> Path:
    """Install the packages of a lock file where that was not done yet; skip without Node."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        pytest.skip("the JavaScript clients need `node` and `npm`, which are not installed")
    version = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(version.strip().lstrip("v").split(".")[0]) < OLDEST:
        pytest.skip(f"the JavaScript clients need Node {OLDEST} or newer, this is {version}")
    lock = (source / "package-lock.json").read_bytes()
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "turnback-clients" / hashlib.sha256(lock).hexdigest()[:16]
    if not (folder / "installed").exists():
        folder.mkdir(parents=True, exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(source / name, folder / name)
        quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
        done = subprocess.run(
            [npm, "ci", *quiet], cwd=folder, capture_output=True, text=True, check=False
        )
        if done.returncode:
            pytest.skip(f"the JavaScript clients could not be installed: {done.stderr[-500:]}")
        (folder / "installed").touch()
    return folder


@contextmanager
def _beside_packages(source):
    with NamedTemporaryFile("w", suffix=".mjs", dir=packages(), encoding="utf-8") as file:
        file.write(source)
        file.flush()
        yield Path(file.name)


@contextmanager
def script(source, **modules):
    """Start a program beside the packages, its pipes open; it is ended with the block.

    It may import ``./NAME.js`` for each ``NAME`` of the modules.
    """
    folder = packages()
    with ExitStack() as stack:
        for name, module in modules.items():
            at = stack.enter_context(_beside_packages(module))
            source = source.replace(f'"./{name}.js"', f'"./{at.name}"')
        file = stack.enter_context(_beside_packages(source))
        with subprocess.Popen(
            ["node", file],
            cwd=folder,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            encoding="utf-8",
            env={**os.environ, "NODE_ENV": "test", "NO_COLOR": "1"},
        ) as process:
            try:
                yield process
            finally:
                process.kill()


class Driver:
    """The clients in their process; every call returns what the client answered."""

    def __init__(self, process):
        self._process = process
        self._numbers = itertools.count()
        self._waiting: dict[int, Future] = {}
        Thread(target=self._read, daemon=True).start()

    def _read(self):
        for line in self._process.stdout:
            try:
                answer = json.loads(line)
            except ValueError:
                continue  # what a client says on the console
            waiting = self._waiting.pop(answer["id"])
            if "error" in answer:
                waiting.set_exception(AssertionError(answer["error"]))
            else:
                waiting.set_result(answer["result"])

    def ask(self, command, **given) -> Future:
        """Send a command; the future has its answer."""
        number = next(self._numbers)
        waiting = self._waiting[number] = Future()
        self._process.stdin.write(json.dumps({"id": number, "command": command, **given}) + "\n")
        self._process.stdin.flush()
        return waiting


@contextmanager
def driver():
    """Run the driver of the official clients."""
    with script((NODE / "driver.mjs").read_text(encoding="utf-8")) as process:
        yield Driver(process)


class JavaScriptClient:
    """One client of the driver, as `tests.clients.python_clients` has them."""

    exposes = True

    def __init__(self, driver, name, url, *, alias=None, **settings):
        self._driver, self._name = driver, alias or name
        given = {"client": name, "as": self._name, "url": url, "flag": KEY, "fallback": NOBODY}
        self._ask("open", **{**given, **settings})

    def _ask(self, command, timeout=300, **given):
        return self._driver.ask(command, **{"client": self._name, **given}).result(timeout)

    def arms(self, contexts):
        return self._ask("arms", contexts=contexts)

    def until(self, context, arm):
        """Return the time of day at which the client itself answered ``arm``."""
        return self._ask("until", context=context, arm=arm, timeout=120)

    def details(self, context):
        return self._ask("details", context=context)

    def log(self, context, name, properties):
        self._ask("log", context=context, name=name, properties=properties)

    def close(self):
        self._ask("close")


def names():
    """The clients the driver knows."""
    return ("growthbook", "growthbook for many users", "ofrep-provider", "ofrep-web-provider")
