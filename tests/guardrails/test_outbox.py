import json
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from threading import Thread

import pytest

from experiments.database import ControlPlane
from guardrails.channels import DeliveryError
from guardrails.channels.webhook import WebhookChannel
from guardrails.failpoints import Point, watched
from guardrails.outbox import LAST_TRY, backoff, deliver_due
from guardrails.outbox_rows import tallies, waiting_messages
from guardrails.rollback import message
from tests.engine_world import World

T = datetime(2026, 3, 1, tzinfo=UTC)


class Recording:
    """A channel that remembers what it was told and fails as scripted."""

    def __init__(self, *errors):
        self.errors = list(errors)
        self.told = []

    def send(self, message):
        if self.errors:
            raise self.errors.pop(0)
        self.told.append(message)


@pytest.fixture
def control():
    plane = ControlPlane("sqlite://")
    plane.create()
    yield plane
    plane.close()


def put(control, key="k", channels=("ops",)):
    with control.transaction() as session:
        message(
            session,
            key=key,
            kind="rolled_back",
            experiment="e",
            variant="t",
            at=T,
            title="t was turned back",
            text="because",
            evidence={"z": 3.2},
            channels=channels,
        )


def deliver(control, channel, now=T):
    results = []
    deliver_due(
        control,
        {"ops": channel},
        now=lambda: now,
        report=lambda name, result: results.append(result),
    )
    return results


def test_a_message_is_told_once(control):
    channel = Recording()
    put(control)
    assert deliver(control, channel) == ["delivered"]
    assert deliver(control, channel) == []
    assert [(m.key, m.at, m.evidence) for m in channel.told] == [("k", T, {"z": 3.2})]


def test_a_failing_channel_is_tried_again_later_with_the_same_key(control):
    channel = Recording(DeliveryError("500", retryable=True))
    put(control)
    assert deliver(control, channel) == ["retry"]
    assert deliver(control, channel) == [], "not due yet"
    assert deliver(control, channel, T + backoff(1)) == ["delivered"]
    assert [m.key for m in channel.told] == ["k"]


def test_a_permanent_error_is_given_up_and_kept_with_its_reason(control):
    put(control)
    assert deliver(control, Recording(DeliveryError("404", retryable=False))) == ["given_up"]
    with control.reading() as session:
        assert waiting_messages(session, "ops", T + timedelta(days=9)) == []


def test_a_channel_nobody_configured_is_given_up_with_its_name(control):
    put(control, channels=("nobody",))
    assert deliver(control, Recording()) == ["given_up"]


def test_a_defect_of_one_channel_does_not_stop_the_next_message(control):
    channel = Recording(ZeroDivisionError("oops"))
    put(control, key="first")
    put(control, key="second")
    assert deliver(control, channel) == ["retry", "delivered"]


class Killed(BaseException):
    """Ends a check where it is, as ``kill -9`` would."""


def killed_at(point):
    queued = []

    def met(step):
        queued.extend([step] if step is Point.MESSAGE else [])
        if queued and step is point:
            raise Killed

    return watched(met)


@pytest.mark.parametrize(
    ("point", "times"),
    [(Point.COMMITTED, 1), (Point.SERVED, 1), (Point.BEFORE_DELIVERY, 1), (Point.DELIVERED, 2)],
)
def test_what_a_killed_engine_left_is_told_by_the_next_at_once_with_the_same_key(point, times):
    w = World(treatment=0.9)
    with killed_at(point), pytest.raises(Killed):
        w.hours(48)
    later = w.new_engine()
    assert later.run_due() == (), "the check of this hour was committed"
    keys = [each.key for each in w.channel.told]
    assert keys == ["rolled_back:cancel-page/treatment/1/1"] * times
    w.control.close()


def test_waiting_doubles_up_to_half_an_hour_and_ends():
    assert [backoff(n).total_seconds() for n in (1, 2, 3, 12)] == [5, 10, 20, 1800]
    assert LAST_TRY == 50


def test_a_webhook_posts_the_message_with_its_key_and_tells_permanent_from_passing_errors():
    seen = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            seen.append((self.headers["Idempotency-Key"], body["kind"], body["variant"]))
            self.send_response({"/ok": 204, "/gone": 404, "/busy": 503}[self.path])
            self.end_headers()

        def log_message(self, *_args):
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    base = f"http://127.0.0.1:{server.server_port}"
    plane = ControlPlane("sqlite://")
    plane.create()
    try:
        for path, expected in (("/ok", "delivered"), ("/gone", "given_up"), ("/busy", "retry")):
            put(plane, key=path)
            assert deliver(plane, WebhookChannel(base + path, lambda: T)) == [expected]
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
        plane.close()
    assert seen == [(p, "rolled_back", "t") for p in ("/ok", "/gone", "/busy")]


def test_a_webhook_never_shows_its_url():
    channel = WebhookChannel("http://127.0.0.1:9/secret-token", lambda: T)
    assert "secret" not in repr(channel)
    plane = ControlPlane("sqlite://")
    plane.create()
    put(plane)
    assert deliver(plane, channel) == ["retry"]
    with plane.reading() as session:
        error = tallies(session, given_up_since=T)["ops"].error
        assert "127.0.0.1:9" in error
        assert "secret" not in error
    plane.close()
