"""The service as a child process of the demo: started, waited for, always ended."""

import errno
import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path

import httpx

import console
from console.output import CommandError

MARKER = ".turnback-demo"
"""File that says a folder was made by a demo, and by which process it is used."""

_LOG = "service.log"
_READY_SECONDS = 120.0
_END_SECONDS = 15.0


def fresh_folder(path: Path) -> None:
    """Make an empty folder for a run; one that a demo made before is replaced.

    Raises:
        CommandError: The folder holds something else, or a service still runs in it.
    """
    marker = path / MARKER
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        raise CommandError(
            f"{path} is no folder", hint="give another one with --data", code="not_a_demo"
        )
    if marker.is_file():
        pid = marker.read_text(encoding="ascii").strip()
        if _serves(pid):
            raise CommandError(
                f"the service of an earlier demo still runs in {path} (process {pid})",
                hint=f"end it with `kill {pid}`, or give another folder with --data",
                code="in_use",
            )
        shutil.rmtree(path)
    elif path.is_dir() and any(path.iterdir()):
        raise CommandError(
            f"{path} was not made by a demo and is not touched",
            hint="give another folder with --data; the demo replaces only its own",
            code="not_a_demo",
        )
    path.mkdir(mode=0o700, parents=True, exist_ok=True)
    marker.write_text("", encoding="ascii")


def made_by_demo(path: Path) -> bool:
    """Return whether a folder is a demo's: its clock stands at the end of a simulated story."""
    return (path / MARKER).is_file()


def _serves(pid: str) -> bool:
    """Return whether process ``pid`` runs and is a service; ids are reused, so it is looked at."""
    if not pid.isdigit():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return False  # somebody else's process: the id was reused
    command = Path(f"/proc/{pid}/cmdline")
    return not command.exists() or b"console.cli" in command.read_bytes()


def require_free_port(port: int) -> None:
    """Make sure that a service can listen on a port of 127.0.0.1.

    Raises:
        CommandError: Something listens there already, or it may not be used.
    """
    try:
        socket.create_server(("127.0.0.1", port)).close()
    except OSError as error:
        taken = error.errno == errno.EADDRINUSE
        what = "is taken" if taken else f"cannot be used ({error.strerror})"
        raise CommandError(
            f"port {port} of 127.0.0.1 {what}",
            hint=(
                "choose another with --port, or end what listens there: an earlier "
                "`turnback demo --keep` or `turnback serve`?"
            ),
            code="port_taken" if taken else "port",
        ) from error


class ServiceProcess:
    """``turnback serve`` on 127.0.0.1, its log in the data folder.

    It has a session of its own, so that Ctrl-C ends the demo first and the demo ends it.

    Args:
        data: Folder of the run.
        port: TCP port.
        environment: Settings beside those of this process.
    """

    def __init__(self, *, data: Path, port: int, environment: Mapping[str, str]) -> None:
        self.url = f"http://127.0.0.1:{port}"
        self.log = data / _LOG
        command = [sys.executable, "-m", "console.cli", "serve"]
        command += ["--host", "127.0.0.1", "--port", str(port), "--data", str(data.resolve())]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("TURNBACK_")}
        root = str(Path(console.__file__).resolve().parent.parent)
        path = os.pathsep.join(filter(None, [root, os.environ.get("PYTHONPATH", "")]))
        self._instance = secrets.token_hex(16)
        mine = {"TURNBACK_INSTANCE": self._instance, "PYTHONPATH": path}
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(  # noqa: S603 - our own command line
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={**inherited, **environment, **mine},
                start_new_session=True,
            )
        (data / MARKER).write_text(str(self.pid), encoding="ascii")

    @property
    def pid(self) -> int:
        """Process id."""
        return self._process.pid

    def wait_ready(self) -> None:
        """Wait until the service answers: this one, not another that holds its port.

        Raises:
            CommandError: It ended, or did not answer in time; its last words are told.
        """
        deadline = time.monotonic() + _READY_SECONDS
        with httpx.Client(base_url=self.url, timeout=2.0) as http:
            while time.monotonic() < deadline:
                if self._process.poll() is not None:
                    raise self._failed("ended before it was ready")
                if self._answers(http):
                    return
                time.sleep(0.05)
        raise self._failed(f"was not ready after {_READY_SECONDS:.0f} s")

    def _answers(self, http: httpx.Client) -> bool:
        """Return whether the answer is this process's own: it alone knows its instance."""
        try:
            answer = http.get("/readyz")
            return answer.is_success and answer.json()["instance"] == self._instance
        except (httpx.HTTPError, ValueError, KeyError, TypeError):
            return False

    def wait(self) -> None:
        """Wait until the process ends by itself."""
        self._process.wait()

    def end(self) -> None:
        """Ask the process to end, and make it if it does not; idempotent."""
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
            try:
                self._process.wait(_END_SECONDS)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()

    def last_words(self, lines: int = 8) -> str:
        """Return the end of the service's log."""
        text = self.log.read_text(encoding="utf-8", errors="replace")
        return "\n".join(text.strip().splitlines()[-lines:])

    def _failed(self, what: str) -> CommandError:
        port = self.url.rpartition(":")[2]
        hint = f"is port {port} taken? choose another with --port; the log is {self.log}"
        words = self.last_words()
        return CommandError(f"the service {what}\n{words}".strip(), hint=hint, code="not_ready")


def hold(service: ServiceProcess, tell: Callable[[], None]) -> None:
    """Let people look until they press Ctrl-C, which is no failure: the story has been told."""
    with suppress(KeyboardInterrupt):
        tell()
        service.wait()


def interrupt(_number: int, _frame: object) -> None:
    """Treat a signal as Ctrl-C."""
    raise KeyboardInterrupt


@contextmanager
def terminated() -> Generator[None]:
    """Let SIGTERM end the block as Ctrl-C does, so that the child is ended too."""
    before = signal.signal(signal.SIGTERM, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
