"""A full disk: nothing acknowledged is lost, nothing is half written, the same process recovers."""

import json
import os
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]

CHILD = """
import json, os, random, resource, sys
from datetime import timedelta
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from metrics.events import Event
from metrics.store import StoreError
from metrics.stores import connection, duckdb, log, memory
from tests.support import LATE, START, exposed, frame_of

path, checkpoint, full, empty = Path(sys.argv[2]), int(sys.argv[3]), sys.argv[4], sys.argv[5]
connection.CHECKPOINT_MB = log.CHECKPOINT_MB = checkpoint
connection._BATCH_MB = 0
rng = random.Random(4)
frame = frame_of("satisfaction", "cancellation_rate")

def limit(size):
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

def batch(number):
    made = []
    for each in range(100):
        unit = f"{number}-{each}"
        noise = rng.randbytes(300).hex()  # so that it takes room on disk
        made.append(exposed(0, unit, ("control", "treatment")[each % 2]))
        made.append(Event(f"r-{unit}", "satisfaction_rated", START + timedelta(minutes=each),
                          {"order_id": unit}, {"score": rng.randrange(5_000_001), "why": noise}))
    return made

def append(to, events):
    return to.append(events, received_at=START)

store, reference = duckdb.DuckDBMetricStore(path), memory.MemoryMetricStore()
told = {"acknowledged": 0, "refused": 0, "errors": [], "readable_while_full": 0}
first = batch(0)
append(store, first)
append(reference, first)
store.snapshot(frame, now=LATE)
exec(full)
number, waiting = 0, None
while told["refused"] < 6:
    if waiting is None:
        number += 1
        waiting = batch(number)
    try:
        append(store, waiting)
    except StoreError as error:
        told["refused"] += 1
        told["errors"].append(str(error))
        try:
            told["readable_while_full"] += store.snapshot(frame, now=LATE).watermark > 0
        except StoreError as unread:
            told["errors"].append("read: " + str(unread))
        continue
    append(reference, waiting)
    told["acknowledged"] += 1
    waiting = None
exec(empty)
answers = [append(store, waiting)]  # the batch that was refused, sent again
append(reference, waiting)
for _ in range(5):
    number += 1
    more = batch(number)
    answers.append(append(store, more))
    append(reference, more)
told["again"] = [answers[0].accepted, answers[0].duplicates]
told["later"] = sum(answer.accepted for answer in answers[1:])
told["same_cells"] = store.snapshot(frame, now=LATE) == reference.snapshot(frame, now=LATE)
told["watermarks"] = [store.watermark(), reference.watermark()]
store.close()
store = duckdb.DuckDBMetricStore(path)
ids = [event_id for event_id, _ in store._log.ids()]
told["ids"] = [len(ids), len(set(ids)), 200 * (number + 1)]
told["same_cells_again"] = store.snapshot(frame, now=LATE) == reference.snapshot(frame, now=LATE)
store.close()
print(json.dumps(told))
"""


def run(path, *, checkpoint_mb, full, empty):
    done = subprocess.run(
        [sys.executable, "-c", CHILD, ROOT, path, str(checkpoint_mb), full, empty],
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
        cwd=ROOT,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    return json.loads(done.stdout)


def recovered(told):
    assert told["acknowledged"] > 0
    assert told["refused"] == 6
    assert sum(told["again"]) == 200
    assert told["later"] == 1000
    assert told["watermarks"][0] == told["watermarks"][1]
    assert told["ids"] == [told["ids"][2]] * 3, "an event is missing or there twice"
    assert told["same_cells"]
    assert told["same_cells_again"]
    return True


def limited(megabytes):
    return {"full": f"limit({megabytes} * 2**20)", "empty": "limit(resource.RLIM_INFINITY)"}


def test_a_log_that_cannot_grow_refuses_and_takes_events_again_when_it_can(tmp_path):
    told = run(tmp_path / "s.duckdb", checkpoint_mb=1000, **limited(3))
    assert recovered(told)
    assert told["readable_while_full"] == 6
    assert all("nothing of the batch was kept" in error for error in told["errors"])


def test_a_checkpoint_that_cannot_be_written_makes_the_store_open_its_file_again(tmp_path):
    told = run(tmp_path / "s.duckdb", checkpoint_mb=1, **limited(3))
    assert recovered(told)
    assert any("autocheckpoint failed" in error for error in told["errors"])


@contextmanager
def small_disk(folder, size):
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "tmpfs", folder]
    done = subprocess.run(mount, capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"a small disk cannot be mounted here: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


@pytest.mark.parametrize("checkpoint_mb", [1, 1000], ids=["checkpoints often", "at 1 GB"])
def test_a_full_disk_keeps_a_reserve_for_decisions_and_recovers(tmp_path, checkpoint_mb):
    with small_disk(tmp_path / "disk", "4m") as disk:
        empty = f"os.system('mount -o remount,size=200m {disk}')"
        told = run(disk / "s.duckdb", checkpoint_mb=checkpoint_mb, full="", empty=empty)
        assert recovered(told)
        assert all("the disk is full" in error for error in told["errors"]), told["errors"]


def test_a_store_that_ends_on_a_full_disk_leaves_the_reserve_and_loses_nothing(tmp_path):
    from metrics.stores import connection
    from metrics.stores.duckdb import DuckDBMetricStore
    from tests.support import START, exposed

    with small_disk(tmp_path / "disk", "8m") as disk:
        store = DuckDBMetricStore(disk / "s.duckdb")
        store.append([exposed(0, f"u{n}") for n in range(100)], received_at=START)
        room, reserve = connection._room(disk / "s.duckdb")
        (disk / "other").write_bytes(b"x" * (room - reserve))
        store.close()
        assert connection._room(disk / "s.duckdb")[0] >= reserve - 2**16
        store = DuckDBMetricStore(disk / "s.duckdb")
        assert store.watermark() == 100
        (disk / "other").unlink()
        store.close()
        assert not (disk / "s.duckdb.wal").exists()


def test_the_last_of_a_disk_is_kept_from_events(tmp_path, monkeypatch):
    from metrics.store import StoreError
    from metrics.stores import connection

    real = os.statvfs(tmp_path)
    fields = {"f_bavail": 10, "f_frsize": 2**20, "f_blocks": 100_000}
    small = type(
        "Disk", (), {**{k: getattr(real, k) for k in dir(real) if k[:2] == "f_"}, **fields}
    )
    monkeypatch.setattr(connection.os, "statvfs", lambda _: small)
    with pytest.raises(StoreError, match=r"10\.0 MiB free, the last 64\.0 are kept for decisions"):
        connection.require_room(tmp_path / "s.duckdb")
    small.f_bavail = 66
    connection.require_room(tmp_path / "s.duckdb")
