"""``kill -9`` under load from eight clients that retry: every acknowledged event is there exactly
once, and the running totals equal a recount. Real service, real files, real HTTP."""

import contextlib
import random
import threading
import time
from collections import Counter
from datetime import UTC, datetime, timedelta

import duckdb
import httpx
import pytest

from experiments.assignment import bucket_of, bucket_ranges
from metrics.catalogue import load_catalogue
from metrics.store import Frame
from metrics.stores import DuckDBMetricStore, MemoryMetricStore
from tests.lives import ADMIN, Life, Nursery

START = datetime(2026, 1, 5, tzinfo=UTC)
KEY = "kill"
SPEC = f"""\
experiment: {KEY}
unit: order_id
variants:
  control: {{weight: 50%}}
  treatment: {{weight: 50%}}
guardrails:
  - {{kpi: satisfaction, max_drop: 5%, action: alert}}
  - {{kpi: net_revenue, max_drop: 5%, action: alert}}
ends: {{after: 20d, observe_for: 1d}}
check_every: 1h
expect_units: 50000
"""
CLIENTS = 8
KPIS = ("satisfaction", "net_revenue", "refund_hours", "cancellation_rate")


class Lives:
    """One service after another on the same files, forked from a process that is warm."""

    def __init__(self, data, fault="none"):
        self.nursery = Nursery(data.parent / "service.log", fault)
        self.data = data
        self.life = None
        self.now = START
        self.url = ""

    def start(self):
        self.life = Life(self.nursery, self.data, demo="1", demo_start=self.now.isoformat())
        assert self.life.ready(), f"no life: {self.nursery.log.read_text()[-3000:]}"
        self.url = self.life.url  # clients that retry find the new life here

    def ask(self, path, **options):
        return self.life.http.post(path, **options)

    def kill(self):
        """Kill it and wait until it is gone, and with it its hold on the files."""
        if self.life is not None:
            self.life.end()

    def close(self):
        self.kill()
        self.nursery.close()


class Client(threading.Thread):
    """Sends batches, each until it is acknowledged; some again although they were."""

    def __init__(self, lives, name, stop):
        super().__init__(daemon=True)
        self.lives, self.name, self.stopped = lives, name, stop
        self.rng = random.Random(name)
        self.acknowledged = {}
        self.batches = 0
        self.failure = None

    def run(self):
        try:
            with httpx.Client(timeout=20, headers={"Authorization": f"Bearer {ADMIN}"}) as http:
                number, previous = 0, []
                while not self.stopped.is_set():
                    batch = self.batch(number)
                    self.send(http, batch)
                    if previous and number % 3 == 0:
                        self.send(http, previous)
                    previous, number = batch, number + 1
                    self.stopped.wait(0.03)
        except BaseException as error:  # noqa: BLE001 - told by the test, not by the thread
            self.failure = error

    def send(self, http, batch):
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            try:
                answer = http.post(self.lives.url + "/api/v1/events", json=batch)
            except httpx.HTTPError:
                time.sleep(0.01)
                continue
            if answer.status_code == 200:
                told = answer.json()
                assert told["rejected"] == [], told["rejected"][:2]
                assert told["accepted"] + told["duplicates"] == len(batch)
                self.acknowledged.update((event["id"], event["name"]) for event in batch)
                self.batches += 1
                return
            assert answer.status_code == 503, answer.text
            assert answer.headers["Retry-After"].isdecimal()
            time.sleep(0.05)
        raise AssertionError("no answer within two minutes")

    def batch(self, number):
        """Return the events of ten orders, some of them late or ahead of their exposure."""
        events = []
        for k in range(10):
            unit = f"{self.name}-{number}-{k}"
            at = self.lives.now + timedelta(seconds=self.rng.randrange(3600))
            events += [
                event(unit, "exposure", at, experiment=KEY, variant=arm_of(unit)),
                event(unit, "satisfaction_rated", at, 60, score=self.rng.randint(1, 5)),
                event(unit, "order_placed", at, 90, amount=self.rng.randrange(10_000) / 100),
                event(unit, "cancel_finished", at, 30, outcome=self.rng.choice(OUTCOMES)),
            ]
        self.rng.shuffle(events)
        return events


OUTCOMES = ("cancelled", "kept")


def event(unit, name, at, seconds=0, **fields):
    return {
        "id": f"{unit}/{name}",
        "name": name,
        "happened_at": (at + timedelta(seconds=seconds)).isoformat(),
        "units": {"order_id": unit},
        "fields": fields,
    }


def arm_of(unit):
    ranges = bucket_ranges((0.5, 0.5), 1.0)
    share = bucket_of(f"{KEY}:1", unit) / 10_000
    return "control" if ranges[0][0] <= share < ranges[0][1] else "treatment"


def live_and_die(folder, *, kills, seed, fault="none"):
    """Kill the service again and again; return the clients and the path of the store."""
    rng = random.Random(seed)
    data = folder / "data"
    data.mkdir()
    lives, stop = Lives(data, fault), threading.Event()
    clients = [Client(lives, f"c{number}", stop) for number in range(CLIENTS)]
    try:
        lives.start()
        applied = lives.ask("/api/v1/experiments", content=SPEC)
        assert applied.status_code in {200, 201}, applied.text
        for client in clients:
            client.start()
        for number in range(kills):
            until_taken(clients, rng.randrange(40))
            time.sleep(rng.uniform(0.0, 0.05))
            if number % 4 == 3:  # a check counts, so running totals are in use when it dies
                lives.now += timedelta(hours=1)
                with contextlib.suppress(httpx.HTTPError):
                    lives.ask("/api/v1/demo/clock", json={"to": lives.now.isoformat()})
            lives.kill()
            lives.start()
        stop.set()
        for client in clients:
            client.join(timeout=180)
            assert not client.is_alive()
    finally:
        stop.set()
        lives.close()
    for client in clients:
        if client.failure is not None:
            raise client.failure
    return clients, data / "metrics.duckdb", lives.now


def until_taken(clients, batches):
    """Wait until the clients together were told of so many more batches."""
    goal = sum(client.batches for client in clients) + batches
    deadline = time.monotonic() + 60
    while sum(client.batches for client in clients) < goal and time.monotonic() < deadline:
        assert all(client.is_alive() for client in clients), [c.failure for c in clients]
        time.sleep(0.005)


def findings(clients, path):
    """Return what is wrong with the log: acknowledged events that are gone, and doubled ones."""
    acknowledged = {event_id for client in clients for event_id in client.acknowledged}
    with duckdb.connect(str(path), read_only=True) as store:
        rows = store.execute("SELECT id, count(*) FROM events GROUP BY id").fetchall()
    counts = Counter(dict(rows))
    lost = len(acknowledged - set(counts))
    return {
        "acknowledged": len(acknowledged),
        "lost": lost,
        "twice": sum(n > 1 for n in counts.values()),
    }


def check(clients, path, now):
    found = findings(clients, path)
    assert (found["lost"], found["twice"]) == (0, 0), found
    catalogue = load_catalogue()
    frame = Frame(
        experiment=KEY,
        seed=1,
        unit="order_id",
        variants=("control", "treatment"),
        origin=START,
        cohort=timedelta(hours=12),
        until=None,
        phases=(),
        kpis=tuple(
            (kpi, tuple(window.length for window in kpi.windows))
            for kpi in map(catalogue.get, KPIS)
        ),
    )
    later = now + timedelta(days=40)
    store, recount = DuckDBMetricStore(path), MemoryMetricStore()
    try:
        running = store.snapshot(frame, now=later)
        for chunk in store._log.stamped("seq <= ?", [store.watermark()]):
            recount.append([each for _, _, each in chunk], received_at=later)
        counted = recount.snapshot(frame, now=later)
    finally:
        store.close()
    assert running.cells == counted.cells
    assert running.reach == counted.reach
    entered = {cell.entered for cells in running.cells.values() for cell in cells}
    assert sum(entered) > 0
    return found


def test_eight_clients_and_six_kills_lose_nothing_and_count_nothing_twice(tmp_path):
    found = check(*live_and_die(tmp_path, kills=6, seed=6))
    assert found["acknowledged"] > 1_000


@pytest.mark.parametrize("fault", ["acknowledge-early", "forget-ids"])
def test_a_store_with_a_planted_defect_is_noticed(tmp_path, fault):
    clients, path, _ = live_and_die(tmp_path, kills=4, seed=8, fault=fault)
    found = findings(clients, path)
    assert found["lost" if fault == "acknowledge-early" else "twice"] > 0


@pytest.mark.acceptance(cores=0.5)
def test_two_hundred_kills_under_load_lose_nothing_and_count_nothing_twice(
    tmp_path, record_property
):
    found = check(*live_and_die(tmp_path, kills=200, seed=200))
    record_property("kill -9 of the service under load from 8 clients", 200)
    record_property("events acknowledged, each present exactly once", found["acknowledged"])
    record_property("running totals equal to a recount, in every cell", True)
