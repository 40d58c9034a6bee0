"""Backups of a service that goes on, what they restore, and the refusal of files that do not fit."""

import json
import shutil
import sqlite3
import statistics
import subprocess
import sys
import threading
import time
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

import service
from experiments.database import ControlPlane
from experiments.errors import ConflictError, ControlPlaneError, InvalidRequestError
from guardrails.api import encoded
from guardrails.copies import Copies, check_backup, require_match
from metrics.events import Event, Rejection
from metrics.store import StoreError
from metrics.stores import MemoryMetricStore, open_store
from metrics.stores.duckdb import DuckDBMetricStore
from tests.running import KEY, running
from tests.support import LATE, START, exposed, frame_of

ROOT = Path(__file__).resolve().parents[2]


def turnback(*words):
    done = subprocess.run(
        [sys.executable, "-m", "console.cli", *map(str, words)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


def rating(name, unit, at=START):
    return Event(name, "satisfaction_rated", at, {"order_id": unit}, {"score": 4_000_000})


@pytest.fixture
def pair(tmp_path):
    """Return a control plane, a store, and what copies them."""
    control = ControlPlane(f"sqlite:///{tmp_path / 'data' / 'control.db'}")
    (tmp_path / "data").mkdir()
    control.create()
    store = DuckDBMetricStore(tmp_path / "data" / "metrics.duckdb")
    yield control, store, Copies(control, store, now=lambda: START)
    store.close()
    control.close()


def cells(services):
    frame = replace(
        frame_of("satisfaction", "cancellation_rate"),
        experiment=KEY,
        origin=service.DEMO_START,
    )
    return services.store.snapshot(frame, now=service.DEMO_START + timedelta(days=5)).cells


def fill(store, units, first=0):
    for start in range(first, first + units, 500):
        made = []
        for n in range(start, min(start + 500, first + units)):
            made.append(exposed(0, f"u{n}", ("control", "treatment")[n % 2]))
            made.append(rating(f"r{n}", f"u{n}"))
        store.append(made, received_at=START)


def test_a_restored_service_serves_the_same_assignments_and_the_same_cells(tmp_path):
    to, copy = tmp_path / "backup", tmp_path / "copy"
    with running() as it:
        assert it.apply().is_success
        given = {n: it.evaluate(f"u{n}").json()["variant"] for n in range(40)}
        it.services.flush()
        sent = [
            {
                "id": f"e{n}",
                "name": "satisfaction_rated",
                "happened_at": "2026-01-05T00:00:00Z",
                "unit": f"u{n}",
                "fields": {"score": n % 5 + 1},
            }
            for n in range(40)
        ]
        assert it.http.post("/api/v1/events", json=sent).json()["accepted"] == 40
        it.services.clock.move_to(service.DEMO_START + timedelta(hours=30))
        (report,) = it.services.engine.run_due()
        assert report.result == "ok"
        before = cells(it.services)
        code, out, _ = turnback("backup", to, "--url", it.url, "--json")
        assert code == 0
        told = json.loads(out)
        assert (told["watermark"], told["control_watermark"]) == (80, 80)
        assert it.http.post("/api/v1/events", json=[{**sent[0], "id": "later"}]).is_success
        seen = encoded(it.services.engine.experiment(KEY))  # NaN is not equal to itself
    shutil.copytree(to, copy)
    settings = service.Settings(data=copy, demo=True)
    restored = service.build(settings)
    try:
        restored.clock.move_to(service.DEMO_START + timedelta(hours=30))
        compiled = restored.engine.serving().experiments[KEY]
        assert {n: compiled.assign({"targetingKey": f"u{n}"}).variant for n in given} == given
        assert encoded(restored.engine.experiment(KEY)) == seen
        assert restored.store.watermark() == 80  # without what came after the backup
        assert cells(restored) == before
        again = rating("e0", "u0", service.DEMO_START)
        assert restored.store.append([again], received_at=START).duplicates == 1
    finally:
        restored.close()


def test_nothing_acknowledged_before_a_backup_is_missing_from_it(pair, tmp_path):
    _, store, copies = pair
    fill(store, 2000)
    acknowledged, stop, errors = [], threading.Event(), []

    def write(thread):
        number = 0
        while not stop.is_set():
            names = [f"t{thread}-{number}-{n}" for n in range(20)]
            try:
                store.append([rating(n, n) for n in names], received_at=START)
            except StoreError as error:
                errors.append(error)
                return
            acknowledged.extend(names)
            number += 1

    threads = [threading.Thread(target=write, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    kept = []
    for number in range(3):
        before = list(acknowledged)
        view = copies.back_up(tmp_path / f"b{number}")
        kept.append((before, view))
    stop.set()
    for thread in threads:
        thread.join()
    assert errors == []
    assert len(acknowledged) > len(kept[-1][0]) > len(kept[0][0])
    for number, (before, view) in enumerate(kept):
        with closing(DuckDBMetricStore(tmp_path / f"b{number}" / "metrics.duckdb")) as copy:
            ids = [event_id for event_id, _ in copy._log.ids()]
            assert set(before) <= set(ids)
            assert len(ids) == len(set(ids)) == copy.watermark() == view.watermark


def test_writers_hardly_wait_for_a_backup(pair, tmp_path, record_property):
    _, store, copies = pair
    fill(store, 30_000)
    seconds, begun, done = [], threading.Event(), threading.Event()

    def write():
        number = 0
        while not done.is_set():
            started = time.monotonic()
            store.append([rating(f"w{number}", f"u{number}")], received_at=START)
            seconds.append((time.monotonic() - started, begun.is_set()))
            number += 1

    thread = threading.Thread(target=write)
    thread.start()
    begun.set()
    started = time.monotonic()
    copies.back_up(tmp_path / "b")
    took = time.monotonic() - started
    done.set()
    thread.join()
    during = [each for each, meanwhile in seconds if meanwhile]
    record_property("backup_seconds", round(took, 3))
    record_property("longest_wait_ms", round(1000 * max(during), 1))
    record_property("median_wait_ms", round(1000 * statistics.median(during), 2))
    assert len(during) > 5
    assert max(during) < took / 2, "a writer waited for the copy"


def test_a_copy_holds_one_instant_of_the_store_whatever_is_written_meanwhile(pair, tmp_path):
    _, store, _ = pair
    fill(store, 100)
    frame = frame_of("satisfaction")
    expected = store.snapshot(frame, now=LATE)
    from metrics.stores.copying import copy_store

    with store.frozen() as frozen:
        fill(store, 100, first=100)
        copy_store(frozen, tmp_path / "copy.duckdb")
    with closing(open_store(tmp_path / "copy.duckdb")) as copy:
        assert copy.snapshot(frame, now=LATE) == expected
        assert copy.watermark() == 200
    assert store.watermark() == 400


def test_saved_totals_are_copied_as_they_were(pair, tmp_path):
    _, store, copies = pair
    folder = tmp_path / "data" / "metrics.duckdb.totals"
    folder.mkdir()
    (folder / "a.npz").write_bytes(b"as it was")
    (folder / "half.tmp").write_bytes(b"half")
    from metrics.stores.copying import copy_store

    with store.frozen() as frozen:
        (folder / "new").write_bytes(b"newer")
        (folder / "new").replace(folder / "a.npz")
        copy_store(frozen, tmp_path / "c.duckdb")
    kept = {p.name: p.read_bytes() for p in (tmp_path / "c.duckdb.totals").iterdir()}
    assert kept == {"a.npz": b"as it was"}
    view = copies.back_up(tmp_path / "b")
    assert "metrics.duckdb.totals/a.npz" in view.files


def test_a_backup_is_checked_by_its_digests(pair, tmp_path):
    _, store, copies = pair
    fill(store, 10)
    view = copies.back_up(tmp_path / "b")
    assert check_backup(tmp_path / "b") == view
    code, out, _ = turnback("backup", tmp_path / "b", "--check")
    assert (code, "a whole backup" in out) == (0, True)
    with (tmp_path / "b" / "control.db").open("r+b") as file:
        file.seek(100)
        file.write(b"x")
    with pytest.raises(InvalidRequestError, match=r"control\.db: not as it was written"):
        check_backup(tmp_path / "b")
    (tmp_path / "b" / "manifest.json").unlink()
    code, _, err = turnback("backup", tmp_path / "b", "--check")
    assert (code, "no whole backup" in err) == (1, True)


def test_a_backup_that_fails_leaves_nothing_and_harms_nothing(pair, tmp_path, monkeypatch):
    _, store, copies = pair
    fill(store, 10)

    def fail(*_args):
        raise OSError(28, "No space left on device", str(tmp_path / "b" / "metrics.duckdb"))

    with monkeypatch.context() as broken:
        broken.setattr("guardrails.copies.copy_store", fail)
        with pytest.raises(InvalidRequestError, match=r"cannot be written \(No space left"):
            copies.back_up(tmp_path / "b")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["data"]
    fill(store, 10, first=10)
    assert copies.back_up(tmp_path / "b").watermark == 40


def test_a_target_without_room_does_not_stop_the_store(tmp_path):
    code = """
import resource, sys
from pathlib import Path
sys.path[:0] = [sys.argv[1]]
from guardrails.api import encoded
from guardrails.copies import Copies
from experiments.database import ControlPlane
from metrics.store import StoreError
from metrics.stores.duckdb import DuckDBMetricStore
from tests.guardrails.test_copies import START, fill
folder = Path(sys.argv[2])
control = ControlPlane(f"sqlite:///{folder / 'control.db'}")
control.create()
store = DuckDBMetricStore(folder / "metrics.duckdb")
fill(store, 20_000)
store._log._connection.execute("CHECKPOINT")
resource.setrlimit(resource.RLIMIT_FSIZE, (1_000_000, resource.RLIM_INFINITY))
try:
    Copies(control, store, now=lambda: START).back_up(folder / "backup")
except StoreError as error:
    print("refused", "could not be written" in str(error), (folder / "backup").exists())
fill(store, 10, first=20_000)
print(store.watermark(), store._log.lost)
"""
    done = subprocess.run(
        [sys.executable, "-c", code, ROOT, tmp_path],
        capture_output=True,
        text=True,
        check=False,
        cwd=ROOT,
    )
    assert done.stdout.splitlines() == ["refused True False", "40020 False"], done.stderr[-2000:]


@pytest.mark.parametrize("what", ["file", "full folder"])
def test_a_folder_that_is_there_is_not_written_over(pair, tmp_path, what):
    _, _, copies = pair
    to = tmp_path / "b"
    if what == "file":
        to.write_text("mine")
    else:
        to.mkdir()
        (to / "mine").write_text("mine")
    with pytest.raises(InvalidRequestError, match="is there already"):
        copies.back_up(to)
    assert (to if what == "file" else to / "mine").read_text() == "mine"


def test_a_path_that_is_not_absolute_is_refused(pair):
    with pytest.raises(InvalidRequestError, match="no absolute path"):
        pair[2].back_up(Path("backup"))
    with pytest.raises(InvalidRequestError, match="no absolute path"):
        pair[2].export(Path("export"), since=None, until=None)


def test_a_path_that_the_databases_would_read_as_another_is_refused(pair, tmp_path):
    with pytest.raises(InvalidRequestError, match="holds a backslash"):
        pair[2].back_up(tmp_path / "monday\\tuesday")
    assert not [each for each in tmp_path.rglob("*") if "monday" in each.name]


def test_one_copy_is_made_at_a_time(pair, tmp_path):
    control, store, _ = pair
    told = []

    def meanwhile():
        try:
            copies.back_up(tmp_path / "other")
        except ConflictError as error:
            told.append(str(error))

    copies = Copies(control, store, now=lambda: datetime.now(UTC), flush=meanwhile)
    copies.back_up(tmp_path / "b")
    assert told == ["a copy is being made already; wait until it is done"]
    assert not (tmp_path / "other").exists()


def test_a_store_in_memory_says_that_it_has_no_history_to_copy(pair, tmp_path):
    copies = Copies(pair[0], MemoryMetricStore(), now=lambda: START)
    with pytest.raises(StoreError, match="in memory alone"):
        copies.back_up(tmp_path / "b")


def test_the_files_of_a_stopped_service_are_copied_with_data(tmp_path):
    settings = service.Settings(data=tmp_path / "data", demo=True)
    services = service.build(settings)
    fill(services.store, 10)
    code, _, err = turnback("backup", tmp_path / "b", "--data", tmp_path / "data")
    assert code == 1
    assert "held by another process (PID" in err
    assert "leave out --data to ask the service" in err
    services.close()
    assert turnback("backup", tmp_path / "b", "--data", tmp_path / "data")[0] == 0
    assert check_backup(tmp_path / "b").watermark == 20
    code, _, err = turnback("backup", tmp_path / "c", "--data", tmp_path / "nothing")
    assert (code, "there is no control.db with metrics.duckdb" in err) == (1, True)


def behind(tmp_path):
    """Return a folder whose control plane has counted events that its store does not hold."""
    shutil.copytree(ROOT / "tests" / "previous" / "first-loop", tmp_path / "sql")
    data = tmp_path / "data"
    data.mkdir()
    with closing(sqlite3.connect(data / "control.db")) as control:
        control.executescript((tmp_path / "sql" / "control.sql").read_text(encoding="utf-8"))
    return data


def test_a_control_plane_newer_than_its_store_is_refused_with_what_to_do(tmp_path):
    data = behind(tmp_path)
    with closing(open_store(data / "metrics.duckdb")) as store:
        store.append([rating("only", "u")], received_at=START)
    with pytest.raises(ControlPlaneError, match=r"rests on 24 events.*holds only 1:") as refused:
        service.build(service.Settings(data=data))
    assert "put back control.db and metrics.duckdb of one backup" in refused.value.hint
    code, _, err = turnback("serve", "--data", data, "--port", 1)
    assert (code, "rests on 24 events" in err, "leaked" in err) == (1, True, False)
    code, _, err = turnback("store", "check", "--data", data)
    assert (code, "rests on 24 events" in err, "leaked" in err) == (1, True, False)
    assert "turnback-ingest" not in {thread.name for thread in threading.enumerate()}
    with closing(open_store(data / "metrics.duckdb")) as store:  # and it was released
        assert store.watermark() == 1


def test_a_copy_has_no_byte_of_a_unit_that_was_forgotten(tmp_path):
    kept = '{"id": "r", "name": "odd", "units": {"user_id": "ann-of-arrakis"}}'
    data = tmp_path / "data"
    with running(data=data) as it:
        store = it.services.store
        fill(store, 3_000)
        store.append([rating("hers", "ann-of-arrakis")], received_at=START)
        refused = [Rejection(n, "r", "", "why", "unknown_event", kept) for n in range(200)]
        store.quarantine(refused, received_at=START)
    code, out, _ = turnback("forget", "ann-of-arrakis", "--yes", "--data", data)
    assert (code, out.splitlines()[0]) == (0, "forgotten: 1 event, 200 from quarantine")
    assert "`turnback backup DIR`, then serve a copy of DIR" in out
    assert turnback("backup", tmp_path / "b", "--data", data)[0] == 0
    files = [each for each in (tmp_path / "b").rglob("*") if each.is_file()]
    assert {"metrics.duckdb", "control.db"} <= {each.name for each in files}
    assert not [each for each in files if b"ann-of-arrakis" in each.read_bytes()]


def filled(data):
    """Write a folder with an experiment and events, and no service on it."""
    with running(data=data) as it:
        assert it.apply().is_success
        fill(it.services.store, 10)
    return data


@pytest.mark.parametrize("where", [0, 4096])
def test_a_damaged_control_plane_says_what_to_put_back(tmp_path, where):
    data = filled(tmp_path / "data")
    damaged = bytearray((data / "control.db").read_bytes())
    damaged[where : where + 4096] = b"x" * 4096
    (data / "control.db").write_bytes(damaged)
    with pytest.raises(ControlPlaneError, match="the control plane is damaged") as refused:
        service.build(service.Settings(data=data))
    assert "put back control.db and metrics.duckdb of one backup" in refused.value.hint
    code, _, err = turnback("serve", "--data", data, "--port", 1)
    assert (code, "the control plane is damaged" in err, "defect" in err) == (1, True, False)


@pytest.mark.parametrize("how", ["not there", "empty"])
def test_a_lost_control_plane_beside_a_full_store_is_told(tmp_path, how, caplog):
    data = filled(tmp_path / "data")
    service.build(service.Settings(data=data)).close()
    assert caplog.text == ""
    (data / "control.db").unlink()
    if how == "empty":
        (data / "control.db").touch()
    service.build(service.Settings(data=data)).close()
    assert f"control.db is {how}, and the metric store beside it holds 20 events" in caplog.text
    assert "put back control.db and metrics.duckdb of one backup" in caplog.text


@pytest.mark.parametrize("part", ["header", "block", "log"])
def test_a_damaged_store_says_what_to_put_back(tmp_path, part):
    path = tmp_path / "s.duckdb"
    with closing(open_store(path)) as store:
        fill(store, 2_000)
        log = path.with_name("s.duckdb.wal").read_bytes()
        early = path.read_bytes()
    if part == "log":
        path.write_bytes(early)
        damaged, at = path.with_name("s.duckdb.wal"), len(log) // 2
        damaged.write_bytes(log)
    else:
        damaged, at = path, 0 if part == "header" else 20_000
    content = bytearray(damaged.read_bytes())
    content[at : at + 64] = bytes(255 - byte for byte in content[at : at + 64])
    damaged.write_bytes(content)
    with (
        pytest.raises(StoreError, match="the file is damaged: put back the control plane and"),
        closing(open_store(path)) as store,
    ):
        store.verify(now=LATE)


def test_a_store_newer_than_its_control_plane_is_served(tmp_path):
    data = behind(tmp_path)
    with closing(open_store(data / "metrics.duckdb")) as store:
        fill(store, 12)
        with closing(ControlPlane(f"sqlite:///{data / 'control.db'}")) as control:
            control.create()
            require_match(control, store)
        fill(store, 12, first=12)
        newest = store.watermark()
    with closing(service.build(service.Settings(data=data, demo=True))) as services:
        assert services.store.watermark() == newest > 12
        assert services.config_valid
