"""One process per store, and nothing acknowledged is lost or doubled by a crash."""

import random
import subprocess
import sys
from pathlib import Path

import pytest

from metrics.store import StoreError, StoreLockedError
from metrics.stores import open_store
from metrics.stores.duckdb import DuckDBMetricStore

ROOT = Path(__file__).resolve().parents[2]

# --- one process, crashes -------------------------------------------------------------------


def test_a_store_opened_twice_in_one_process_says_so(tmp_path):
    first = open_store(tmp_path / "s.duckdb")
    with pytest.raises(StoreLockedError, match="this process"):
        open_store(tmp_path / "s.duckdb")
    first.close()
    open_store(tmp_path / "s.duckdb").close()


def test_a_store_held_by_another_process_names_it_and_says_what_to_do(tmp_path):
    path = tmp_path / "s.duckdb"
    with writer(path) as child:
        child.stdout.readline()
        with pytest.raises(StoreLockedError, match=rf"process \(PID {child.pid}\); stop") as it:
            open_store(path)
    assert "http" not in str(it.value)


def test_an_unknown_engine_is_an_error_that_lists_the_known_ones():
    with pytest.raises(StoreError, match=r"unknown store engine .spark..*known: memory, duckdb"):
        open_store("spark:somewhere")


WRITER = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
from datetime import UTC, datetime, timedelta
from metrics.events import Event
from metrics.stores import open_store

start = datetime(2026, 3, 2, tzinfo=UTC)
store = open_store(Path(sys.argv[1]))
batch = store.watermark() + 1
while True:
    names = [f"{batch}-{n}" for n in range(20)]
    store.append(
        [Event(n, "page_viewed", start, {"order_id": n}, {}) for n in names], received_at=start
    )
    sys.stdout.write(" ".join(names) + "\\n")
    sys.stdout.flush()
    batch += 1
"""


class writer:  # noqa: N801 - reads as a function
    """A process that appends and prints what was acknowledged; killed on the way out."""

    def __init__(self, path):
        self.path = path

    def __enter__(self):
        self.child = subprocess.Popen(
            [sys.executable, "-c", WRITER, str(self.path), str(ROOT)],
            stdout=subprocess.PIPE,
            text=True,
        )
        return self.child

    def __exit__(self, *_):
        self.child.kill()
        self.child.wait()
        self.child.stdout.close()


def test_after_kill_9_every_acknowledged_event_is_there_once(tmp_path):
    path = tmp_path / "s.duckdb"
    rng = random.Random(9)
    acknowledged = []
    for _ in range(3):
        with writer(path) as child:
            acknowledged += [
                name
                for _ in range(rng.randrange(5, 60))
                for name in child.stdout.readline().split()
            ]
            child.kill()
            acknowledged += [name for line in child.stdout for name in line.split()]
        store = DuckDBMetricStore(path)
        stored = [event_id for event_id, _ in store._log.ids()]
        assert len(stored) == len(set(stored)) == store.watermark()
        assert set(acknowledged) <= set(stored)
        assert len(stored) - len(acknowledged) <= 3 * 20  # at most the batch in flight, each time
        store.close()
