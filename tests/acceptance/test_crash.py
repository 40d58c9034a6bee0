"""``kill -9`` at random moments under load: nothing acknowledged is lost or counted twice, no
rollback is lost or doubled. Real processes, real files, real HTTP."""

import contextlib
import json
import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import httpx
import pytest

from experiments.assignment import bucket_of, bucket_ranges
from tests.lives import ADMIN, Life, Nursery

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
UNITS = 130  # of each arm and experiment: just above the gate
SPEC = """\
experiment: {key}
unit: order_id
variants:
  control: {{weight: 50%, flow: {{steps: [confirm]}}}}
  treatment: {{weight: 50%, flow: {{steps: [why, confirm]}}}}
guardrails:
  - {{kpi: cancel_success_rate, max_drop: 5%}}
ends: {{after: 10d, observe_for: 2d}}
check_every: 1h
expect_units: 5000
"""


class Service:
    """The real service, forked again and again on the same files from a process that is warm."""

    def __init__(self, data: Path) -> None:
        self.nursery = Nursery(data.parent / "services.log")
        self.data = data
        self.life = None
        self.now = START

    @property
    def url(self) -> str:
        """Where the newest life answers: clients that retry find it here."""
        return self.life.url

    def start(self) -> None:
        self.life = Life(self.nursery, self.data, demo="1", demo_start=self.now.isoformat())
        assert self.life.ready(), self.nursery.log.read_text()[-3000:]

    def kill(self) -> None:
        self.life.end()

    def stop(self) -> None:
        self.life.end(signal.SIGTERM)
        self.nursery.close()


class Sender:
    """A client that retries until it is told; it remembers what it was told."""

    def __init__(self, service: Service) -> None:
        self.service = service
        self.acknowledged = set()
        self.lock = threading.Lock()
        self.local = threading.local()  # a client for each thread: connections are kept
        self.clients = []

    @property
    def client(self):
        if not hasattr(self.local, "client"):
            self.local.client = httpx.Client(timeout=20)
            with self.lock:
                self.clients.append(self.local.client)
        return self.local.client

    def close(self):
        for client in self.clients:
            client.close()

    def until(self, call, *, accept=(200,)):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                answer = call()
            except httpx.HTTPError:
                time.sleep(0.02)
                continue
            if answer.status_code in accept:
                return answer
            assert answer.status_code in {500, 503}, answer.text
            time.sleep(0.02)
        raise AssertionError("no answer within two minutes")

    def post(self, path, *, accept=(200,), **options):
        headers = {"Authorization": f"Bearer {ADMIN}", **options.pop("headers", {})}
        return self.until(
            lambda: self.client.post(self.service.url + path, headers=headers, **options),
            accept=accept,
        )

    def events(self, batch):
        answer = self.post("/api/v1/events", json=batch).json()
        assert answer["rejected"] == [], answer["rejected"][:3]
        assert answer["accepted"] + answer["duplicates"] == len(batch)
        with self.lock:
            self.acknowledged.update(event["id"] for event in batch)


def units(key):
    """Return ``UNITS`` order ids of each arm, by the hash that the service must agree with."""
    ranges = bucket_ranges((0.5, 0.5), 1.0)
    arms = {"control": [], "treatment": []}
    number = 0
    while min(map(len, arms.values())) < UNITS:
        unit = f"{key}-{number}"
        number += 1
        share = bucket_of(f"{key}:1", unit) / 10_000
        arm = "control" if ranges[0][0] <= share < ranges[0][1] else "treatment"
        if len(arms[arm]) < UNITS:
            arms[arm].append(unit)
    return arms


def story(key, at):
    """Return the events of one experiment: in the treatment nobody who starts gets out."""
    events = []
    for arm, ids in units(key).items():
        for unit in ids:

            def event(name, second, fields, unit=unit):
                return {
                    "id": f"{unit}/{name}",
                    "name": name,
                    "happened_at": (at + timedelta(seconds=second)).isoformat(),
                    "units": {"order_id": unit},
                    "fields": fields,
                }

            outcome = "cancelled" if arm == "control" else "kept"
            events += [
                event("exposure", 0, {"experiment": key, "variant": arm}),
                event("cancel_started", 5, {}),
                event("cancel_finished", 60, {"outcome": outcome, "seconds": 55}),
            ]
    return events


def noise(sender, stop, name):
    """Send batches as fast as they are acknowledged, each until it is."""
    number = 0
    while not stop.is_set():
        sender.events(
            [
                {
                    "id": f"noise-{name}-{number}-{k}",
                    "name": "page_seen",
                    "happened_at": (START + timedelta(seconds=number % 3000)).isoformat(),
                    "units": {"order_id": f"n-{name}-{number}-{k}"},
                    "fields": {},
                }
                for k in range(50)
            ]
        )
        number += 1
        stop.wait(0.02)  # enough to have batches under way at any moment


def cycle(sender, service, key):
    """Run one experiment from its file to its rollback, whatever happens to the service."""
    at = service.now
    sender.post("/api/v1/experiments", content=SPEC.format(key=key), accept=(200, 201))
    batch = story(key, at)
    for start in range(0, len(batch), 100):
        sender.events(batch[start : start + 100])
    # a restarted service begins at the newest instant that was asked for
    service.now = at + 2 * HOUR
    answer = sender.post(
        "/api/v1/demo/clock", json={"to": service.now.isoformat()}, accept=(200, 400, 409, 422)
    )
    if answer.status_code != 200:
        # the service came back with its clock already there: ring once more, a little later
        service.now += HOUR
        sender.post("/api/v1/demo/clock", json={"to": service.now.isoformat()})
    else:
        service.now += HOUR
        sender.post("/api/v1/demo/clock", json={"to": service.now.isoformat()})


def run(folder, *, kills, seed):
    rng = random.Random(seed)
    data = folder / "data"
    data.mkdir()
    service = Service(data)
    service.start()
    sender = Sender(service)
    stop = threading.Event()
    loads = [
        threading.Thread(target=noise, args=(sender, stop, name), daemon=True) for name in "ab"
    ]
    for load in loads:
        load.start()
    keys = []
    longest = 1.5
    for number in range(kills):
        key = f"exp-{number}"
        keys.append(key)
        worker = threading.Thread(target=cycle, args=(sender, service, key))
        begun = time.monotonic()
        worker.start()
        worker.join(timeout=rng.uniform(0.0, longest))
        service.kill()
        service.start()
        worker.join(timeout=180)
        assert not worker.is_alive(), f"{key} never came to an end"
        longest = min(3.0, max(0.6, time.monotonic() - begun - 2.0))
    stop.set()
    for load in loads:
        load.join(timeout=60)
    check_served(service, sender, keys)
    sender.close()
    service.stop()
    return check_files(data, sender, keys)


def check_served(service, sender, keys):
    for key in keys:
        view = httpx.get(f"{service.url}/api/v1/experiments/{key}", timeout=20).json()
        states = {v["name"]: v["state"] for v in view["variants"]}
        assert states == {"control": "control", "treatment": "rolled_back"}, (
            key,
            view["guardrails"],
        )
        victim = units(key)["treatment"][0]
        answer = sender.post(
            f"/ofrep/v1/evaluate/flags/{key}", json={"context": {"targetingKey": victim}}
        ).json()
        assert (answer["variant"], answer["reason"]) == ("control", "DISABLED")


def check_files(data, sender, keys):
    with duckdb.connect(str(data / "metrics.duckdb"), read_only=True) as store:
        counts = Counter(
            dict(store.execute("SELECT id, count(*) FROM events GROUP BY id").fetchall())
        )
    lost = sender.acknowledged - set(counts)
    assert lost == set(), f"{len(lost)} acknowledged events are gone"
    twice = {event: n for event, n in counts.items() if n > 1}
    assert twice == {}, f"{len(twice)} events are counted twice"
    with contextlib.closing(sqlite3.connect(data / "control.db")) as control:
        rollbacks = Counter(
            row[0]
            for row in control.execute(
                "SELECT experiment FROM transition WHERE after = 'rolled_back'"
            )
        )
        told = Counter(
            row[0]
            for row in control.execute(
                "SELECT experiment FROM outbox WHERE channel = 'log' AND key LIKE 'rolled_back:%' "
                "AND delivered_at IS NOT NULL"
            )
        )
        evidence = [
            json.loads(row[0])
            for row in control.execute("SELECT evidence FROM transition WHERE after='rolled_back'")
        ]
    assert rollbacks == dict.fromkeys(keys, 1)
    assert told == dict.fromkeys(keys, 1)
    assert all(e["finding"]["outcome"] == "breach" for e in evidence)
    return {"acknowledged": len(sender.acknowledged), "rollbacks": sum(rollbacks.values())}


def test_three_kills_lose_no_event_and_no_rollback(tmp_path):
    done = run(tmp_path, kills=3, seed=11)
    assert done["rollbacks"] == 3
    assert done["acknowledged"] > 3 * 6 * UNITS


@pytest.mark.acceptance(cores=0.5)
def test_fifty_kills_at_random_moments_lose_no_event_and_no_rollback(tmp_path, record_property):
    done = run(tmp_path, kills=50, seed=50)
    assert done["rollbacks"] == 50
    record_property("kill -9 of the service", 50)
    record_property("events acknowledged, each present exactly once", done["acknowledged"])
    record_property("rollbacks, each recorded and told exactly once", done["rollbacks"])
