"""``kill -9`` of a real process at every step of a removal and of a forgetting.

A step is whatever reaches the disk: each statement to the engine, each file of totals that is
opened, written to, renamed or removed. The process dies before the n-th of them, for every n.
"""

import os
import shutil
import signal
import subprocess
import sys
from contextlib import closing
from pathlib import Path

import pytest

from metrics.stores import totals_file
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.stores.memory import MemoryMetricStore
from tests.support import LATE, at, event, exposed, frame_of, put

ROOT = Path(__file__).resolve().parents[2]
FRAMES = [frame_of("flow_failure_rate", "satisfaction"), frame_of("net_revenue")]
UNIT = "o3"
NAME = "s.duckdb"


def fill(store):
    """Put six days of an experiment, of which the first has left already."""
    for day in range(6):
        for n in range(5):
            hour = 24 * day + n
            unit = f"o{5 * day + n}"
            put(
                store,
                exposed(hour, unit, "control" if n % 2 else "treatment"),
                event(f"f{unit}", "flow_failed", hour + 0.5, unit, code="x"),
                event(f"p{unit}", "order_placed", hour + 0.7, unit, amount=n),
            )
        put(store, event(f"again{day}", "flow_failed", 24 * day + 5, UNIT, code="x"))
        if day == 1:
            store.retain(at(24), running=FRAMES, now=at(40))
    for frame in FRAMES:
        store.snapshot(frame, now=LATE)


def erase(what, store):
    if what == "retain":
        return store.retain(at(72), running=FRAMES, now=at(200))
    return store.forget(UNIT, now=at(200), running=FRAMES)


def answers(store):
    return [store.snapshot(frame, now=LATE) for frame in FRAMES]


class Steps:
    """Counts the steps, and ends the process before a certain one."""

    def __init__(self, last):
        self.last = last
        self.count = 0
        self.writes = 0

    def step(self):
        self.count += 1
        if self.count == self.last:
            os.kill(os.getpid(), signal.SIGKILL)

    def audit(self, name, args):
        if name in {"open", "os.rename", "os.remove"} and ".totals/" in str(args[0]):
            self.step()

    def watch(self, store):
        store._log._connection = Watched(store._log._connection, self)
        write = totals_file._Hashed.write

        def counted(file, data):
            self.writes += 1
            if self.writes % 8 == 0:  # a part of the file is there
                file._file.flush()
                self.step()
            return write(file, data)

        totals_file._Hashed.write = counted
        sys.addaudithook(self.audit)


class Watched:
    """A connection of which each statement is a step."""

    def __init__(self, connection, steps):
        self._connection = connection
        self._steps = steps

    def __getattr__(self, name):
        return getattr(self._connection, name)

    def execute(self, *args):
        self._steps.step()
        return self._connection.execute(*args)


def live(what, path, last):
    """Erase in this process, which dies before a step; returns how many there were if not."""
    store = DuckDBMetricStore(path)
    answers(store)
    steps = Steps(last)
    steps.watch(store)
    erase(what, store)
    count = steps.count
    steps.last = -1
    return count


def nursery():
    """Fork a life for each line that is read: what, path, step; print its steps or its end."""
    for line in sys.stdin:
        what, path, last = line.split()
        told, tell = os.pipe()
        child = os.fork()
        if child == 0:
            os.write(tell, str(live(what, Path(path), int(last))).encode())
            os._exit(0)
        os.close(tell)
        _, status = os.waitpid(child, 0)
        count = os.read(told, 20).decode()
        os.close(told)
        sys.stdout.write(f"{count or -os.WTERMSIG(status)}\n")
        sys.stdout.flush()


@pytest.fixture(scope="module")
def template(tmp_path_factory):
    folder = tmp_path_factory.mktemp("template")
    with closing(DuckDBMetricStore(folder / NAME)) as store:
        fill(store)
    return folder


@pytest.fixture(scope="module")
def lives():
    """Return what runs a life in a process of its own."""
    command = [
        sys.executable,
        "-c",
        "from tests.metrics.test_store_killed import nursery; nursery()",
    ]
    with subprocess.Popen(
        command,
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:

        def run(what, path, last):
            process.stdin.write(f"{what} {path} {last}\n")
            process.stdin.flush()
            return int(process.stdout.readline())

        yield run
        process.stdin.close()


def reference(what):
    memory = MemoryMetricStore()
    fill(memory)
    before = answers(memory)
    left = {row.id for _, row in memory._log}
    erase(what, memory)
    return before, answers(memory), left, {row.id for _, row in memory._log}


def check(what, path):
    """Open what a dead process left: all of it is there once, or has left; then do it again."""
    before, after, had, keeps = reference(what)
    with closing(DuckDBMetricStore(path)) as store:
        assert answers(store) in (before, after)
        assert store.verify(now=LATE).findings == ()
        ids = [key for key, _ in store._log.ids()]
        assert len(ids) == len(set(ids))
        assert set(ids) in (had, keeps)
        erase(what, store)
        assert answers(store) == after
        assert {key for key, _ in store._log.ids()} == keeps
        assert all(again.differences == () for again in store.rebuild(FRAMES, now=LATE))
        assert len(store.erasures()) == 2
        if what == "forget":
            assert UNIT not in store.exposed_units("x", 1)
            states = [store._totals._saved.open_carried(n) for n in store._record.carried.values()]
            assert not any(state.knows(UNIT) for state in states)
    files = {each.name for each in path.with_name(f"{NAME}.totals").glob("*.carried")}
    assert files == set(store._record.carried.values())


def kill_at_steps(what, template, lives, folder, *, every):
    """Die before each ``every``-th step and check what is left; returns how many deaths."""
    before, after, *_ = reference(what)
    assert (before == after) is (what == "retain")
    whole = shutil.copytree(template, folder / "whole")
    steps = lives(what, whole / NAME, 0)
    assert steps > 20
    check(what, whole / NAME)
    deaths = range(1, steps + 1, every)
    for last in deaths:
        one = shutil.copytree(template, folder / f"{last}")
        assert lives(what, one / NAME, last) == -signal.SIGKILL, last
        check(what, one / NAME)
        shutil.rmtree(one)
    return len(deaths)


@pytest.mark.parametrize("what", ["retain", "forget"])
def test_killed_at_some_steps_nothing_is_lost_or_counted_twice(what, template, lives, tmp_path):
    assert kill_at_steps(what, template, lives, tmp_path, every=9) > 3


@pytest.mark.acceptance
@pytest.mark.parametrize("what", ["retain", "forget"])
def test_killed_before_every_step_nothing_is_lost_or_counted_twice(
    what, template, lives, tmp_path, record_property
):
    deaths = kill_at_steps(what, template, lives, tmp_path, every=1)
    record_property(f"kill -9 inside {what}, before each of its steps", deaths)
    record_property("totals equal to those of a run without a crash", True)
