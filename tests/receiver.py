"""A real HTTP receiver of messages on loopback, which remembers them and answers as it is told."""

import json
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


@dataclass(frozen=True)
class Received:
    path: str
    key: str
    body: dict


class Receiver:
    """Everything that was posted, in order; ``statuses`` says what is answered next.

    The last status is answered for good; ``hang`` is set to let no request be answered.
    """

    def __init__(self):
        self.got = []
        self.statuses = [200]
        self.hang = threading.Event()
        self.released = threading.Event()
        receiver = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self):
                body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                key = self.headers["Idempotency-Key"]
                receiver.got.append(Received(self.path, key, body))
                if receiver.hang.is_set():
                    receiver.released.wait(60)
                statuses = receiver.statuses
                status = statuses.pop(0) if len(statuses) > 1 else statuses[0]
                self.send_response(status)
                self.send_header("Content-Length", "0")
                self.end_headers()

            def log_message(self, *args):
                pass

        class Server(ThreadingHTTPServer):
            daemon_threads = True

            def handle_error(self, *args):
                pass  # who asks is killed again and again

        self.server = Server(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}"

    def keys(self, path):
        """Return the key of every message that came to a path, in order, repeats included."""
        return [each.key for each in self.got if each.path == path]


@contextmanager
def receiving():
    """Run a receiver until the block ends."""
    it = Receiver()
    thread = threading.Thread(target=it.server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield it
    finally:
        it.released.set()
        it.server.shutdown()
        it.server.server_close()
        thread.join(20)
