"""``kill -9`` at every step of a check, a rollback, its delivery and its verification.

A real ``turnback serve`` kills itself at a step (``guardrails/failpoints.py``) and is started
again on its files. Afterwards the control plane must hold what it holds without any crash, row
for row; a real HTTP receiver must have been told at least once with one key; the served answer
must be the stored state; and a replay must be equal.

One database, with everything up to the breach in it, is made by HTTP and copied for every case.
"""

import contextlib
import json
import random
import shutil
import signal
import sqlite3
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from guardrails.failpoints import Point, watched
from tests.harm import BREACH, KEY, LATER, SPEC, START, UNITS, arms, story
from tests.lives import Life, nursery
from tests.receiver import receiving
from tests.running import running

SAME = (  # what a crash must not change, whenever it happens
    "SELECT experiment, at, watermark, missed, result, decision FROM evaluation ORDER BY at",
    "SELECT at, attempt, guardrail, treatment, outcome, evidence, body FROM finding ORDER BY id",
    "SELECT e.at, e.engine, e.sha256 FROM evidence e ORDER BY e.at",
    "SELECT experiment, variant, before, after, at, actor, reason, latch FROM transition",
    "SELECT * FROM treatment ORDER BY variant, attempt",
    "SELECT guardrail, treatment, checked_at, outcome, told, finding FROM monitor",
    "SELECT key, channel, body, delivered_at IS NULL, given_up_at FROM outbox ORDER BY id",
)


@dataclass
class World:
    """What all cases of one test share: the files to copy, and what they hold without a crash."""

    folder: object
    nursery: object
    receiver: object
    expected: list = field(default_factory=list)
    fault: str = "none"

    def life(self, data, at=START, **settings):
        hook = f"{self.receiver.url}/{data.name}"
        return Life(
            self.nursery,
            data,
            fault=self.fault,
            demo="1",
            demo_start=at.isoformat(),
            webhooks=json.dumps({"ops": hook}),
            **settings,
        )

    def copy(self, name):
        return shutil.copytree(self.folder / "before", self.folder / name)


@pytest.fixture(scope="module")
def it(tmp_path_factory):
    """Make the files by HTTP, and what a life without a crash leaves of them."""
    folder = tmp_path_factory.mktemp("matrix")
    with nursery(folder) as forked, receiving() as receiver:
        it = World(folder, forked, receiver)
        life = it.life(folder / "before")
        assert life.ready()
        assert life.http.post("/api/v1/experiments", content=SPEC).is_success
        told = life.http.post("/api/v1/events", json=list(story())).json()
        assert (told["accepted"], told["rejected"]) == (6 * UNITS + 30, [])
        life.end(signal.SIGTERM)
        data = it.copy("calm")
        calm = it.life(data)
        assert calm.ready()
        assert calm.move(BREACH)
        assert calm.move(LATER)
        calm.end(signal.SIGTERM)
        it.expected = held(data)
        assert len(receiver.keys("/calm")) == 1
        yield it


def held(data):
    with contextlib.closing(sqlite3.connect(data / "control.db")) as control:
        return [control.execute(query).fetchall() for query in SAME]


def crash(it, name, point, *, again=None):
    """Let a service kill itself at a step, start it again, and return what is wrong afterwards.

    Args:
        it: The world.
        name: Of the case.
        point: The step, as ``TURNBACK_FAILPOINT`` takes it.
        again: Kill the second life too, so many seconds after it was begun.
    """
    data = it.copy(name)
    first = it.life(data, failpoint=point)
    assert first.ready()
    at = BREACH
    if first.move(BREACH) and first.alive():
        time.sleep(0.15)  # the stream is told by a look every tenth of a second
        at = LATER if first.alive() else BREACH
        if first.alive():
            first.move(LATER)
    died = first.gone()
    first.end()
    if not died:
        return ["it never came to this step"]
    if again is not None:
        second = it.life(data, at)
        killer = threading.Timer(again, second.send)
        killer.start()
        if second.ready() and second.move(at):
            second.move(LATER)
        killer.cancel()  # it has done all it has to do, and is killed at once instead
        killer.join()
        second.end()
    return _after(it, data, at)


def _after(it, data, at):
    """Start the last life, ring what was being rung, and return what is wrong."""
    last = it.life(data, at)
    try:
        assert last.ready()
        if at < LATER:
            assert last.move(at)
            wrong = _served(last, "before the next check ")
            assert last.move(LATER)
        else:
            assert last.move(LATER)
            wrong = []
        assert last.move(LATER)  # what is due again after a failed try
        wrong += _served(last) + _replayed(last)
        if last.series("turnback_rollback_effective", experiment=KEY) != 1:
            wrong.append("the rollback is not verified")
    finally:
        last.end(signal.SIGTERM)
    return wrong + _stored(it, data)


def _served(life, when=""):
    """Compare what is served with what is stored, and both with what should be."""
    view = life.http.get(f"/api/v1/experiments/{KEY}").json()
    states = {v["name"]: v["state"] for v in view["variants"]}
    asked = {"context": {"targetingKey": arms()[1][0]}}
    answer = life.http.post(f"/ofrep/v1/evaluate/flags/{KEY}", json=asked).json()
    served = (answer["variant"], answer["reason"])
    if (states["treatment"], served) != ("rolled_back", ("control", "DISABLED")):
        return [f"{when}stored {states['treatment']}, served {served}"]
    return []


def _replayed(life):
    moves = life.http.get(f"/api/v1/experiments/{KEY}/transitions").json()
    back = [m["id"] for m in moves["transitions"] if m["after"] == "rolled_back"]
    if len(back) != 1:
        return [f"{len(back)} transitions"]
    told = life.http.get(f"/api/v1/decisions/t{back[0]}/replay").json()
    return [] if told["verdict"] == "equal" else [f"replay: {told}"]


def _stored(it, data):
    wrong = []
    for query, should, is_ in zip(SAME, it.expected, held(data), strict=True):
        if should != is_:
            wrong.append(f"{query.split(' FROM ')[1]}: {is_} instead of {should}")
    return wrong + _once(it, data)


def _once(it, data):
    """Return what is not there exactly once: the rollback, its evidence, the key of its message."""
    wrong = []
    with contextlib.closing(sqlite3.connect(data / "control.db")) as control:
        counted = control.execute(
            "SELECT (SELECT count(*) FROM \"transition\" WHERE after = 'rolled_back'), "
            '(SELECT count(*) FROM evidence v JOIN "transition" t ON t.evaluation = v.evaluation '
            "WHERE t.after = 'rolled_back')"
        ).fetchone()
    if counted != (1, 1):
        wrong.append(f"{counted[0]} rollbacks, {counted[1]} evidence records")
    keys = it.receiver.keys(f"/{data.name}")
    if set(keys) != {f"rolled_back:{KEY}/treatment/1/1"}:
        wrong.append(f"told {keys}")
    return wrong


def cases():
    """Return every step; messages go to the log first and to the receiver second."""
    of_messages = (Point.BEFORE_DELIVERY, Point.DELIVERED, Point.MARKED)
    return [*Point, *(f"{point}:2" for point in of_messages)]


def all_of(it, points, *, times=1, seed=0):
    """Run cases three at a time, since each often waits; return what is wrong by case."""
    rng = random.Random(seed)
    jobs = [
        (
            f"{it.fault}-{times}-{point.replace(':', '-')}-{n}",
            point,
            rng.uniform(0, 1.5) if times > 1 else None,
        )
        for point in map(str, points)
        for n in range(times)
    ]
    with ThreadPoolExecutor(3) as pool:
        done = pool.map(lambda job: crash(it, job[0], job[1], again=job[2]), jobs)
        return {job[0]: wrong for job, wrong in zip(jobs, done, strict=True) if wrong}


def test_a_crash_at_every_step_leaves_what_no_crash_would_have_left(it):
    assert all_of(it, cases()) == {}


@pytest.mark.parametrize(
    ("fault", "points"),
    [
        ("split-commit", [Point.LATCH, Point.BEFORE_COMMIT]),
        ("mark-first", [f"{Point.BEFORE_DELIVERY}:2"]),
        ("new-key-each-time", [f"{Point.DELIVERED}:2"]),
    ],
)
def test_a_planted_defect_is_found(it, fault, points):
    found = all_of(replace(it, fault=fault), points)
    assert len(found) == len(points), found


@pytest.mark.parametrize("point", [Point.BEFORE_COMMIT, Point.COMMITTED, f"{Point.DELIVERED}:2"])
def test_the_same_holds_where_checks_ring_by_themselves(it, point):
    name = f"ringing-{point.replace(':', '-')}"
    data = it.copy(name)
    settings = {
        "webhooks": json.dumps({"ops": f"{it.receiver.url}/{name}"}),
        "ring_seconds": "0.05",
        "fault": "fast-clock",
    }
    first = Life(it.nursery, data, clock=(START, 3600), failpoint=str(point), **settings)
    assert first.gone(within=60), "it never came to this step"
    first.end()
    second = Life(it.nursery, data, clock=(BREACH, 3600), **settings)
    assert second.ready()
    deadline = time.monotonic() + 60
    while _served(second) or not it.receiver.keys(f"/{name}"):
        assert time.monotonic() < deadline, _served(second)
        time.sleep(0.05)
    assert _replayed(second) == []
    second.end(signal.SIGTERM)
    assert _once(it, data) == []


def test_every_step_is_met_by_one_rollback_and_its_verification_and_in_order():
    lists = []
    with running(webhooks={"ops": "http://127.0.0.1:9"}) as it:
        assert it.http.post("/api/v1/experiments", content=SPEC).is_success
        assert it.http.post("/api/v1/events", json=list(story())).is_success
        for instant in (BREACH, LATER):
            lists.append([])
            with watched(lists[-1].append):
                at = {"to": instant.isoformat()}
                assert it.http.post("/api/v1/demo/clock", json=at).is_success
                time.sleep(0.3)  # the stream looks every tenth of a second
    assert {point for met in lists for point in met} == set(Point)
    order = list(Point)
    for met in lists:
        first = [p for n, p in enumerate(met) if p not in met[:n] and p is not Point.STREAMED]
        assert all(order.index(a) < order.index(b) for a, b in pairwise(first)), first


@pytest.mark.acceptance(cores=2)
def test_ten_crashes_at_every_step_leave_what_no_crash_would_have_left(it, record_property):
    assert all_of(it, cases(), times=10, seed=10) == {}
    record_property("steps at which the service killed itself", len(cases()))
    record_property("kill -9 at a step, each followed by one at random", 10 * len(cases()))
    record_property("of them with exactly what no crash would have left", 10 * len(cases()))
