"""Lanes, order, waiting and what is shown of messages that do not arrive."""

from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from experiments.database import ControlPlane
from guardrails.channel_views import channel_views, counted
from guardrails.channels import DeliveryError
from guardrails.channels.log import LogChannel
from guardrails.channels.webhook import WebhookChannel
from guardrails.lanes import Lanes
from guardrails.outbox import JITTER, backoff, deliver_due, wait_after
from guardrails.outbox_rows import STEP_ASIDE
from guardrails.rollback import message
from tests.receivers import receiving

T = datetime(2026, 3, 1, tzinfo=UTC)
BUSY = "busy"


class Scripted:
    """Takes messages, except those it refuses."""

    def __init__(self, *, broken=False, poison=(), retry_after=None):
        self.broken, self.poison, self.retry_after = broken, set(poison), retry_after
        self.told, self.tried = [], []

    def send(self, message):
        self.tried.append(message.key)
        if self.broken or message.key in self.poison:
            raise DeliveryError(BUSY, retryable=True, retry_after=self.retry_after)
        self.told.append(message.key)


@pytest.fixture
def control(tmp_path):
    plane = ControlPlane(f"sqlite:///{tmp_path / 'control.db'}")
    plane.create()
    yield plane
    plane.close()


def put(control, *keys, channels=("ops",), at=T):
    with control.transaction() as session:
        for key in keys:
            message(
                session,
                key=key,
                kind="rolled_back",
                experiment="e",
                variant="t",
                at=at,
                title="t was turned back",
                text="because",
                evidence=None,
                channels=channels,
            )


def deliver(control, now, **channels):
    deliver_due(control, channels, now=lambda: now, report=lambda *_: None)


def test_the_order_is_kept_while_the_first_tries_fail(control):
    channel = Scripted(poison=["a"])
    put(control, "a", "b", "c")
    deliver(control, T, ops=channel)
    deliver(control, T + timedelta(seconds=1), ops=channel)
    assert channel.tried == ["a"], "nobody hears the end before the beginning"
    channel.poison.clear()
    deliver(control, T + backoff(1), ops=channel)
    assert channel.told == ["a", "b", "c"]


def test_a_message_that_is_never_taken_steps_aside_and_is_given_up_in_the_end(control):
    channel, now = Scripted(poison=["a"]), T
    put(control, "a", "b")
    for tries in range(1, STEP_ASIDE + 1):
        deliver(control, now, ops=channel)
        assert (channel.told == ["b"]) is (tries == STEP_ASIDE)
        now += backoff(tries)
    for _ in range(60):
        deliver(control, now, ops=channel)
        now += timedelta(minutes=31)
    assert channel.tried.count("a") == 50
    assert counted(control, now=now - timedelta(hours=5))["ops"].given_up == 1


def test_once_a_receiver_answers_again_all_that_waits_is_told_at_once(control):
    channel, now = Scripted(broken=True), T
    put(control, "a", "b", "c")
    for _ in range(30):
        deliver(control, now, ops=channel)
        now += timedelta(minutes=3)
    channel.broken = False
    while not channel.told:
        deliver(control, now, ops=channel)
        now += timedelta(minutes=1)
    deliver(control, now, ops=channel)
    assert set(channel.told) == {"a", "b", "c"}


def test_a_receiver_that_asks_for_time_is_left_alone_with_everything(control):
    channel = Scripted(broken=True, retry_after=timedelta(minutes=10))
    put(control, "a", "b")
    deliver(control, T, ops=channel)
    channel.broken = False
    deliver(control, T + timedelta(minutes=9), ops=channel)
    assert channel.told == []
    deliver(control, T + timedelta(minutes=10), ops=channel)
    assert channel.told == ["a", "b"]


def test_waits_are_spread_and_the_same_every_time():
    waits = {wait_after(3, f"k{n}") for n in range(50)}
    assert len(waits) == 50
    assert all(backoff(3) * (1 - JITTER) <= wait <= backoff(3) for wait in waits)
    assert wait_after(3, "k") == wait_after(3, "k")
    assert wait_after(1, "k", timedelta(minutes=5)) == timedelta(minutes=5)


def test_a_channel_that_hangs_delays_no_other_and_keeps_its_own_order(control):
    stopping, taken = Event(), Event()
    with receiving(hold=Event()) as slow, receiving() as quick:
        channels = {
            "slow": WebhookChannel(slow.url, lambda: T),
            "quick": WebhookChannel(quick.url, lambda: T),
            "log": LogChannel(),
        }
        results = []

        def report(name, result):
            results.append((name, result))
            if results.count(("quick", "delivered")) == 20 and ("log", "delivered") in results:
                taken.set()

        lanes = Lanes(control, channels, now=lambda: T, report=report, stopping=stopping)
        put(control, *(f"k{n}" for n in range(20)), channels=("slow", "quick", "log"))
        lanes.ring()
        lanes.ring()
        assert slow.asked.wait(5)
        assert taken.wait(10), results
        assert ("slow", "delivered") not in results
        stopping.set()
        slow.hold.set()
        lanes.close()
        lanes.ring()
    assert quick.keys() == [f"k{n}" for n in range(20)]
    assert slow.keys() == ["k0"], "a stopping service went on telling"
    assert counted(control, now=T)["slow"].waiting == 19


def test_what_waits_and_what_was_given_up_is_counted_by_channel(control):
    broken = Scripted(broken=True)
    put(control, "a", "b", channels=("ops", "gone", "log"))
    deliver(control, T, ops=broken, log=LogChannel())
    views = {v.name: v for v in channel_views(control, {"log": LogChannel(), "ops": broken}, now=T)}
    assert list(views) == ["log", "ops", "gone"]
    ops, gone, log = views["ops"], views["gone"], views["log"]
    assert (ops.waiting, ops.failing, ops.given_up, ops.error) == (2, 1, 0, BUSY)
    assert (gone.type, gone.waiting, gone.given_up) == ("missing", 0, 2)
    assert "no channel named 'gone'" in gone.error
    assert (log.waiting, log.delivered_at) == (0, T)
    later = channel_views(control, {"log": LogChannel()}, now=T + timedelta(days=2))
    assert "gone" not in {v.name for v in later}, "what was given up is shown for a day"
