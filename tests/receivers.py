"""Receivers of messages behind real sockets: HTTP that misbehaves as told, SMTP, Alertmanager."""

import json
import shutil
import socket
import subprocess
import time
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread

import httpx

BINARY = shutil.which("prometheus-alertmanager") or shutil.which("alertmanager")
ABSENT = "no Alertmanager here: apt-get install prometheus-alertmanager"


@dataclass
class Receiver:
    """What an HTTP receiver got, and what it answers: ``answer(request)`` or a status."""

    url: str = ""
    status: int = 200
    headers: dict = field(default_factory=dict)
    body: bytes = b"ok"
    slowly: float = 0.0
    hold: Event | None = None
    asked: Event = field(default_factory=Event)
    got: list = field(default_factory=list)

    def keys(self):
        return [headers["Idempotency-Key"] for _, headers, _ in self.got]

    def bodies(self):
        return [json.loads(body) for _, _, body in self.got]


class Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_POST(self):
        receiver = self.server.receiver
        body = self.rfile.read(int(self.headers["Content-Length"]))
        receiver.got.append((self.path, self.headers, body))
        receiver.asked.set()
        if receiver.hold is not None:
            receiver.hold.wait(30)
        try:
            self.answer(receiver)
        except OSError:  # who asked went away
            self.close_connection = True

    def answer(self, receiver):
        self.send_response(receiver.status)
        for name, value in receiver.headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(receiver.body)))
        self.end_headers()
        if not receiver.slowly:
            self.wfile.write(receiver.body)
            return
        for byte in receiver.body:  # always something, never enough
            self.wfile.write(bytes([byte]))
            self.server.over.wait(receiver.slowly)

    def log_message(self, *_args):
        pass


class Server(ThreadingHTTPServer):
    daemon_threads = True
    block_on_close = False

    def handle_error(self, request, client_address):
        pass


@contextmanager
def receiving(**script):
    """Run an HTTP receiver until the block ends."""
    server = Server(("127.0.0.1", 0), Handler)
    receiver = Receiver(url=f"http://127.0.0.1:{server.server_port}", **script)
    server.receiver, server.over = receiver, Event()
    thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.over.set()
        if receiver.hold is not None:
            receiver.hold.set()
        server.shutdown()
        thread.join()
        server.server_close()


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as held:
        return held.getsockname()[1]


@dataclass
class Alertmanager:
    url: str

    def alerts(self):
        """Return what stands, by name."""
        found = httpx.get(f"{self.url}/api/v2/alerts", timeout=5).json()
        return {a["labels"]["alertname"]: a for a in found}

    def until(self, condition, *, seconds=20):
        """Return the alerts once they are as wanted."""
        end = time.monotonic() + seconds
        while not condition(alerts := self.alerts()):
            assert time.monotonic() < end, alerts
            time.sleep(0.05)
        return alerts


@contextmanager
def alertmanager(
    folder, text="route: {receiver: nobody}\nreceivers: [{name: nobody}]\n", *, port=0
):
    """Run Debian's Alertmanager alone on loopback, with a configuration, until the block ends."""
    folder.mkdir(parents=True, exist_ok=True)
    config = folder / "alertmanager.yml"
    config.write_text(text)
    port = port or free_port()
    command = [
        BINARY,
        f"--config.file={config}",
        f"--storage.path={folder / 'data'}",
        f"--web.listen-address=127.0.0.1:{port}",
        "--cluster.listen-address=",
    ]
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log)
    try:
        it = Alertmanager(f"http://127.0.0.1:{port}")
        end = time.monotonic() + 20
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            try:
                if httpx.get(f"{it.url}/-/ready", timeout=1).is_success:
                    break
            except httpx.HTTPError:
                pass
            time.sleep(0.05)
        yield it
    finally:
        process.terminate()
        process.wait(20)
