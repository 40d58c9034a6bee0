"""What only the embedded engine promises: files, failures, threads, and the cost of a check."""

import threading
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import duckdb
import pytest

from metrics.catalogue import load_catalogue
from metrics.events import Event, exposure
from metrics.store import Frame, StoreError
from metrics.stores import DuckDBMetricStore, MemoryMetricStore, open_store
from metrics.stores.recent import EVERYTHING, HOUR, RecentIds

START = datetime(2026, 3, 2, tzinfo=UTC)


def frame():
    return Frame(
        experiment="x",
        seed=1,
        unit="order_id",
        variants=("control", "treatment"),
        origin=START,
        cohort=timedelta(hours=12),
        until=None,
        phases=(),
        kpis=tuple(
            (kpi, tuple(window.length for window in kpi.windows)) for kpi in load_catalogue().core
        ),
    )


def history(first, last):
    made = []
    for number in range(first, last):
        at, unit = START + timedelta(minutes=number), f"o{number}"
        variant = ("control", "treatment")[number % 2]
        made.append(exposure("x", 1, "order_id", unit, variant, at))
        made.append(
            Event(f"s{number}", "satisfaction_rated", at, {"order_id": unit}, {"score": 4_000_000})
        )
    return made


def test_a_file_of_another_version_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "s.duckdb"
    open_store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET value = '99'")
    with pytest.raises(StoreError, match=r"another version \(schema 99.*use a new file"):
        open_store(path)
    with duckdb.connect(str(path)) as connection:  # the refusal released the file
        connection.execute("UPDATE meta SET value = '1'")
    open_store(path).close()


def test_a_path_that_cannot_be_a_store_says_so(tmp_path):
    (tmp_path / "s.duckdb").write_text("no database, but long enough to look like a file" * 99)
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path / "s.duckdb")


def test_folders_are_created(tmp_path):
    open_store(f"duckdb:{tmp_path / 'a' / 'b' / 's.duckdb'}").close()
    assert (tmp_path / "a" / "b" / "s.duckdb").is_file()


def test_memory_is_an_engine():
    assert isinstance(open_store("memory:"), MemoryMetricStore)
    assert isinstance(open_store("memory"), MemoryMetricStore)


def test_a_write_that_fails_keeps_nothing_and_can_be_repeated(tmp_path, monkeypatch):
    store = DuckDBMetricStore(tmp_path / "s.duckdb")
    store.append(history(0, 3), received_at=START)
    insert = store._log._insert

    def fail(table, rows):
        insert(table, rows)
        raise duckdb.IOException("disk full")

    monkeypatch.setattr(store._log, "_insert", fail)
    with pytest.raises(StoreError, match=r"nothing of the batch was kept \(disk full\)"):
        store.append(history(3, 6), received_at=START)
    assert store.watermark() == 6
    monkeypatch.undo()
    answer = store.append(history(3, 6), received_at=START)
    assert (answer.accepted, answer.duplicates, answer.watermark) == (6, 0, 12)
    assert len(store._log.ids()) == 12
    store.close()


def test_repeats_are_recognised_beyond_the_ids_kept_in_memory(tmp_path):
    store = DuckDBMetricStore(tmp_path / "s.duckdb", recent_ids=10)
    events = history(0, 4000)
    store.append(events, received_at=START)
    assert store._recent.horizon > EVERYTHING
    assert store.append(events, received_at=START).duplicates == len(events)
    store.close()
    store = DuckDBMetricStore(tmp_path / "s.duckdb", recent_ids=10)
    assert store.append(events[::7], received_at=START).accepted == 0
    store.close()


def test_recent_ids_are_complete_from_their_horizon_on():
    recent = RecentIds(3, EVERYTHING)
    recent.add([("a", 0), ("b", HOUR), ("a", 2 * HOUR), ("c", 2 * HOUR), ("d", 3 * HOUR)])
    assert recent.horizon == 2 * HOUR
    kept = {("b", HOUR), ("a", 2 * HOUR), ("c", 2 * HOUR), ("d", 3 * HOUR)}
    for event_id, at in kept:
        assert (at in recent.get(event_id)) == (at >= recent.horizon)
    assert 0 not in recent.get("a")
    recent.add([("late", 0)])
    assert recent.get("late") == ()


def test_appends_and_snapshots_from_many_threads_agree_at_the_end(tmp_path):
    store, reference = DuckDBMetricStore(tmp_path / "s.duckdb"), MemoryMetricStore()
    now = START + timedelta(days=60)
    errors = []

    def work(thread):
        try:
            for part in range(10):
                first = (thread * 10 + part) * 20
                store.append(history(first, first + 20), received_at=START)
                seen = store.snapshot(frame(), now=now - timedelta(days=part % 3))
                assert seen.watermark <= store.watermark()
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    reference.append(history(0, 800), received_at=START)
    assert store.snapshot(frame(), now=now) == reference.snapshot(frame(), now=now)
    store.close()


def test_a_check_reads_only_what_is_new(tmp_path, monkeypatch):
    store = DuckDBMetricStore(tmp_path / "s.duckdb")
    store.append(history(0, 2000), received_at=START)
    now = START + timedelta(minutes=2000)
    store.snapshot(frame(), now=now)
    (state,) = store._frames.values()
    booked = []
    book = state._book

    def count(ledger, window, positions, *, take_away):
        booked.append(positions.shape[0])
        book(ledger, window, positions, take_away=take_away)

    monkeypatch.setattr(state, "_book", count)
    monkeypatch.setattr(store._log, "read", None)  # the log is not touched
    store.append(history(2000, 2003), received_at=START)
    store.snapshot(frame(), now=now + timedelta(minutes=3))
    windows = len(state._plan.by_window)
    assert sum(booked) <= 3 * windows
    store.close()


def test_a_changed_definition_of_a_kpi_counts_from_the_log_again(tmp_path):
    store = DuckDBMetricStore(tmp_path / "s.duckdb")
    store.append(history(0, 10), received_at=START)
    now = START + timedelta(days=60)
    whole = store.snapshot(frame(), now=now)
    kpi, windows = frame().kpis[6]
    counted = replace(frame(), kpis=((replace(kpi, value="ratings"), windows),))
    key = ("satisfaction", windows[0])
    assert store.snapshot(counted, now=now).cells[key][0].sums.y == 5_000_000
    assert whole.cells[key][0].sums.y == 20_000_000
    store.close()
