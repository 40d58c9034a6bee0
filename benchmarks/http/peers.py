"""The servers that are measured: ours, a bare route, and others' as they are published.

Others are installed into ``build/http-peers`` from pinned lists, once per list. Each serves one
flag of two equal arms, and is asked about another unit every time.
"""

import hashlib
import os
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from typing import Any, Self

import httpx

ROOT = Path(__file__).parents[2]
SERVICES = Path(__file__).with_name("services")
CACHE = ROOT / "build" / "http-peers"
FLAG = "three-step-cancel"
ARMS = ("control", "three_step")
UNIT = "@unit@"
"""What stands in a body for the id of the unit."""

OFREP = f"/ofrep/v1/evaluate/flags/{FLAG}"
OFREP_BODY = f'{{"context": {{"targetingKey": "{UNIT}"}}}}'
SECRET = "*:development.benchmark"  # noqa: S105 - of a server that lives for a minute
OLDEST_NODE = 20


class UnavailableError(Exception):
    """A peer cannot be measured here; the message says why."""


@dataclass(frozen=True)
class Target:
    """A server that answers.

    Attributes:
        url: Where a flag is evaluated, by POST.
        body: What is sent, with ``UNIT`` in place of an id.
        pid: Its process.
        headers: Sent beside the content type.
    """

    url: str
    body: str
    pid: int
    headers: Mapping[str, str] = field(default_factory=dict)

    def ask(self, unit: str) -> httpx.Response:
        return httpx.post(
            self.url,
            content=self.body.replace(UNIT, unit),
            headers={"Content-Type": "application/json", **self.headers},
            timeout=10,
        )


class Bench:
    """Starts servers; all of them are ended with it.

    Args:
        folder: For data and logs; it must outlive the bench.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._undo = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._undo.close()

    def run(self, name: str, command: list[Any], **settings: Any) -> subprocess.Popen[bytes]:
        """Start a server whose output goes to a file."""
        log = self._undo.enter_context(self.log(name).open("wb"))
        process = subprocess.Popen(command, stdout=log, stderr=log, **settings)
        self._undo.callback(_end, process)
        return process

    def later(self, call: Callable[[], Any]) -> None:
        self._undo.callback(call)

    def log(self, name: str) -> Path:
        return self.folder / f"{name}.log"

    def until(self, name: str, process: subprocess.Popen[bytes], holds: Callable[[], bool]) -> None:
        """Ask until it holds; a server that does not answer yet is asked again.

        Raises:
            UnavailableError: The server ended, or it did not hold within two minutes.
        """
        until = time.monotonic() + 120
        while process.poll() is None and time.monotonic() < until:
            try:
                if holds():
                    return
            except httpx.HTTPError:
                pass
            time.sleep(0.1)
        said = self.log(name).read_text(errors="replace").strip()[-500:]
        raise UnavailableError(f"it did not answer: {said or 'it said nothing'}")

    def answering(
        self, name: str, process: subprocess.Popen[bytes], target: Target, *, arms: tuple[str, ...]
    ) -> Target:
        """Return a target once it answered each of some arms."""
        seen: set[str] = set()
        units = (f"probe-{number}" for number in count())

        def both() -> bool:
            for _ in range(20):
                text = target.ask(next(units)).raise_for_status().text
                seen.update(arm for arm in arms if f'"{arm}"' in text)
            return len(seen) == len(arms)

        self.until(name, process, both)
        return target


OURS, BARE = "turnback serve", "bare Starlette route"
FAST, EVAL, UNLEASH = "fast-feature-ofrep", "GrowthBook proxy-eval", "unleash-server"


def turnback(bench: Bench, peers: Mapping[str, Target]) -> Target:
    del peers
    port = free_port()
    data = {"TURNBACK_DATA": str(bench.folder / "turnback"), "TURNBACK_PORT": str(port)}
    command = [sys.executable, "-m", "console.cli", "serve"]
    process = bench.run(OURS, command, cwd=ROOT, env={**os.environ, **data})
    url = f"http://127.0.0.1:{port}"
    bench.until(OURS, process, lambda: httpx.get(f"{url}/readyz", timeout=1).is_success)
    text = (ROOT / "examples" / f"{FLAG}.yaml").read_text(encoding="utf-8")
    httpx.post(f"{url}/api/v1/experiments", content=text, timeout=30).raise_for_status()
    target = Target(url + OFREP, OFREP_BODY, process.pid)
    return bench.answering(OURS, process, target, arms=ARMS)


def bare(bench: Bench, peers: Mapping[str, Target]) -> Target:
    del peers
    port = free_port()
    process = bench.run(BARE, [sys.executable, SERVICES / "bare.py", str(port)])
    target = Target(f"http://127.0.0.1:{port}{OFREP}", OFREP_BODY, process.pid)
    return bench.answering(BARE, process, target, arms=ARMS[:1])


def fast_feature(bench: Bench, peers: Mapping[str, Target]) -> Target:
    del peers
    port = free_port()
    command = [python_peers(), SERVICES / "fast_feature_ofrep.py", str(port)]
    process = bench.run(FAST, command)
    target = Target(f"http://127.0.0.1:{port}{OFREP}", OFREP_BODY, process.pid)
    return bench.answering(FAST, process, target, arms=ARMS)


def proxy_eval(bench: Bench, peers: Mapping[str, Target]) -> Target:
    """GrowthBook's evaluation of the payload that our service serves."""
    folder, port = node_peers(), free_port()
    payload = bench.folder / "payload.json"
    served = peers[OURS].url.removesuffix(OFREP)
    payload.write_bytes(httpx.get(f"{served}/api/features/sdk-1", timeout=10).content)
    command = ["node", folder / "proxy_eval.mjs", str(port), payload]
    process = bench.run(EVAL, command, env={**os.environ, "NODE_ENV": "production"})
    body = f'{{"attributes": {{"order_id": "{UNIT}"}}}}'
    target = Target(f"http://127.0.0.1:{port}/api/eval", body, process.pid)
    return bench.answering(EVAL, process, target, arms=ARMS)


def unleash(bench: Bench, peers: Mapping[str, Target]) -> Target:
    del peers
    folder, port, database = node_peers(), free_port(), free_port()
    postgres(bench, database)
    command = ["node", folder / "unleash.mjs", str(port), str(database), SECRET]
    process = bench.run(UNLEASH, command, env={**os.environ, "NODE_ENV": "production"})
    url = f"http://127.0.0.1:{port}"
    _unleash_flag(bench, process, url)
    body = f'{{"context": {{"userId": "{UNIT}"}}}}'
    target = Target(f"{url}/api/frontend", body, process.pid, {"Authorization": SECRET})
    return bench.answering(UNLEASH, process, target, arms=ARMS)


def _unleash_flag(bench: Bench, process: subprocess.Popen[bytes], url: str) -> None:
    """Make the flag: everybody gets one of two equal arms."""
    features = "/api/admin/projects/default/features"
    here = f"{features}/{FLAG}/environments/development"
    arms = [
        {"name": arm, "weight": 500, "weightType": "variable", "stickiness": "default"}
        for arm in ARMS
    ]
    rollout = {"rollout": "100", "stickiness": "default", "groupId": FLAG}
    strategy = {"name": "flexibleRollout", "parameters": rollout, "variants": arms}
    with httpx.Client(base_url=url, timeout=30) as http:
        bench.until(UNLEASH, process, lambda: http.get("/health").is_success)
        try:
            http.post(features, json={"name": FLAG, "type": "experiment"}).raise_for_status()
            http.post(f"{here}/strategies", json=strategy).raise_for_status()
            http.post(f"{here}/on").raise_for_status()
        except httpx.HTTPError as error:
            said = bench.log(UNLEASH).read_text(errors="replace").strip()[-300:]
            raise UnavailableError(f"its flag could not be made: {error}; {said}") from None


PEERS: dict[str, Callable[[Bench, Mapping[str, Target]], Target]] = {
    OURS: turnback,
    BARE: bare,
    FAST: fast_feature,
    EVAL: proxy_eval,
    UNLEASH: unleash,
}


# --- what they need --------------------------------------------------------------------------


def python_peers() -> Path:
    """Return the Python of an environment that has the Python peer."""
    pinned = (SERVICES / "requirements.txt").read_bytes()
    with installing("python", pinned) as (folder, missing):
        if missing:
            _install([sys.executable, "-m", "venv", folder])
            quiet = ["--quiet", "--disable-pip-version-check"]
            listed = SERVICES / "requirements.txt"
            _install([folder / "bin" / "python", "-m", "pip", "install", *quiet, "-r", listed])
    return folder / "bin" / "python"


def node_peers() -> Path:
    """Return a folder that has the Node peers, and the programs that start them."""
    node, npm = shutil.which("node"), shutil.which("npm")
    if node is None or npm is None:
        raise UnavailableError("it needs `node` and `npm`, which are not installed")
    said = subprocess.run([node, "--version"], capture_output=True, text=True, check=True).stdout
    if int(said.strip().lstrip("v").split(".")[0]) < OLDEST_NODE:
        raise UnavailableError(f"it needs Node {OLDEST_NODE} or newer, this is {said.strip()}")
    with installing("node", (SERVICES / "package-lock.json").read_bytes()) as (folder, missing):
        if missing:
            for name in ("package.json", "package-lock.json"):
                shutil.copy(SERVICES / name, folder / name)
            quiet = ["--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
            _install([npm, "ci", *quiet], cwd=folder)
    for program in SERVICES.glob("*.mjs"):
        shutil.copy(program, folder / program.name)
    return folder


@contextmanager
def installing(kind: str, pinned: bytes) -> Iterator[tuple[Path, bool]]:
    """Give the folder for a pinned list, and whether it is still to be filled."""
    folder = CACHE / f"{kind}-{hashlib.sha256(pinned).hexdigest()[:16]}"
    done = folder / "installed"
    missing = not done.exists()
    if missing:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    yield folder, missing
    done.touch()


def _install(command: list[Any], **settings: Any) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False, **settings)
    if done.returncode:
        raise UnavailableError(f"it could not be installed: {done.stderr.strip()[-300:]}")


def postgres(bench: Bench, port: int) -> None:
    """Start a database of its own; PostgreSQL refuses to run as root, so then as another user."""
    programs = _postgres_programs()
    folder = bench.folder / "postgres"
    folder.mkdir()
    who: dict[str, Any] = {}
    if os.geteuid() == 0:
        try:
            shutil.chown(folder, "postgres", "postgres")
        except LookupError:
            raise UnavailableError("PostgreSQL needs a user `postgres` when root runs it") from None
        bench.folder.chmod(0o755)
        who = {"user": "postgres", "group": "postgres", "extra_groups": []}
    data = folder / "data"
    quiet: dict[str, Any] = {"capture_output": True, "text": True, "cwd": "/"}
    made = subprocess.run(
        [programs / "initdb", "-D", data, "-A", "trust", "-U", "unleash", "--no-sync"],
        check=False,
        **who,
        **quiet,
    )
    if made.returncode:
        raise UnavailableError(f"its database could not be made: {made.stderr.strip()[-300:]}")
    settings = f"-p {port} -k {folder} -c listen_addresses=127.0.0.1"
    control = [programs / "pg_ctl", "-D", data, "-w", "-l", folder / "log"]
    begun = subprocess.run(
        [*control, "-o", settings, "start"], stdout=subprocess.DEVNULL, check=False, cwd="/", **who
    )
    if begun.returncode:
        raise UnavailableError(f"its database did not start: {(folder / 'log').read_text()[-300:]}")
    stop = [*control, "-m", "fast", "stop"]
    bench.later(lambda: subprocess.run(stop, check=False, **who, **quiet))
    new = [programs / "createdb", "-h", "127.0.0.1", "-p", str(port), "-U", "unleash", "unleash"]
    subprocess.run(new, check=True, **quiet)


def _postgres_programs() -> Path:
    """Return the folder of PostgreSQL's programs, the newest where there are several."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=_number_in)
    on_path = shutil.which("initdb")
    if not found and on_path is None:
        raise UnavailableError("it needs PostgreSQL's programs (Debian: postgresql-15)")
    return found[-1].parent if found else Path(str(on_path)).parent


def _number_in(path: Path) -> float:
    return float(path.parts[-3]) if path.parts[-3].replace(".", "").isdigit() else 0.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=30)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
