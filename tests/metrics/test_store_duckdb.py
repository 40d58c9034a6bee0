"""What only the embedded engine promises: files, failures, threads, and the cost of a check."""

import pydoc
import threading
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import duckdb
import pytest

from metrics.catalogue import load_catalogue
from metrics.events import Event, exposure
from metrics.store import Frame, StoreError
from metrics.stores import DuckDBMetricStore, MemoryMetricStore, connection, open_store
from metrics.stores.recent import EVERYTHING, SPAN, RecentIds
from metrics.stores.schema import SCHEMA_VERSION, STEPS
from metrics.stores.seen import SeenIds

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


def test_a_store_in_memory_is_never_a_file_of_that_name(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match="`memory:` keeps nothing on disk"):
        open_store("duckdb::memory:")
    assert list(tmp_path.iterdir()) == []


def test_a_file_of_a_newer_version_is_refused_with_what_to_do(tmp_path):
    path = tmp_path / "s.duckdb"
    open_store(path).close()
    with duckdb.connect(str(path)) as connection:
        connection.execute("UPDATE meta SET value = '99'")
    with pytest.raises(StoreError, match=r"newer version \(schema 99.*use a new file"):
        open_store(path)
    with duckdb.connect(str(path)) as connection:  # the refusal released the file
        connection.execute("UPDATE meta SET value = ?", [str(SCHEMA_VERSION)])
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
    recent.add([("a", 0), ("b", SPAN), ("a", 2 * SPAN), ("c", 2 * SPAN), ("d", 3 * SPAN)])
    assert recent.horizon == 2 * SPAN
    kept = {("b", SPAN), ("a", 2 * SPAN), ("c", 2 * SPAN), ("d", 3 * SPAN)}
    for event_id, at in kept:
        assert (at in recent.get(event_id)) == (at >= recent.horizon)
    assert 0 not in recent.get("a")
    recent.add([("late", 0)])
    assert recent.get("late") == ()


def test_an_id_with_several_times_keeps_those_that_have_not_left():
    recent = RecentIds(2, EVERYTHING)
    recent.add([("a", 1), ("a", 2), ("a", 5 * SPAN)])
    recent.add([("b", 5 * SPAN), ("c", 5 * SPAN)])
    assert recent.horizon == SPAN
    assert recent.get("a") == (5 * SPAN,)


def test_recent_ids_are_bounded_even_when_all_happened_at_once():
    recent = RecentIds(3, EVERYTHING)
    recent.add((f"a{number}", 5) for number in range(12))
    assert recent.horizon == EVERYTHING
    recent.add([("b", 5)])
    assert recent.horizon == SPAN
    assert recent.get("a1") == recent.get("b") == ()


def test_ids_that_were_stored_are_always_seen_and_new_ones_hardly_ever():
    seen = SeenIds(EVERYTHING)
    stored = [f"id-{number}" for number in range(700_000)]
    for start in range(0, len(stored), 50_000):
        seen.add(stored[start : start + 50_000], [start])
    assert len(seen._tables) == 2
    assert seen.maybe(stored) == stored
    assert seen.maybe([f"new-{number}" for number in range(100_000)]) == []
    assert seen.maybe(["id-3", "new", "id-699999", "id-3"]) == ["id-3", "id-699999", "id-3"]
    assert seen.maybe([]) == []
    assert seen.horizon == EVERYTHING


def test_seen_ids_let_the_oldest_go_and_say_from_when_on_they_are_complete():
    seen = SeenIds(EVERYTHING, capacity=600_000)
    for part in range(4):
        seen.add([f"{part}-{number}" for number in range(200_000)], [part * SPAN])
    assert seen.horizon == SPAN + 1
    assert seen.maybe(["0-1", "1-1", "2-1", "3-1"]) == ["2-1", "3-1"]


def test_only_ids_that_may_be_stored_are_looked_up(tmp_path, monkeypatch):
    store = DuckDBMetricStore(tmp_path / "s.duckdb", recent_ids=10)
    events = history(0, 3000)
    store.append(events[:4000], received_at=START)
    assert store._recent.horizon > EVERYTHING
    looked_up = []
    times_of = store._log.times_of

    def count(ids, since, until):
        looked_up.extend(ids)
        return times_of(ids, since, until)

    monkeypatch.setattr(store._log, "times_of", count)
    assert store.append(events[4000:], received_at=START).accepted == 2000
    assert looked_up == []
    assert store.append([*events[:3], *events[5999:]], received_at=START).duplicates == 4
    assert set(looked_up) <= {event.id for event in (*events[:3], events[5999])}
    assert len(looked_up) >= 3
    store.close()
    for at_start, expected in ((5_000_000, set()), (0, {"new"})):
        monkeypatch.setattr("metrics.stores.duckdb.SEEN_AT_START", at_start)
        store = DuckDBMetricStore(tmp_path / "s.duckdb", recent_ids=10)
        looked_up.clear()
        times_of = store._log.times_of
        monkeypatch.setattr(store._log, "times_of", count)
        new = replace(events[-1], id="new" if at_start == 0 else "newer")
        assert store.append([new], received_at=START).accepted == 1
        assert set(looked_up) == expected
        assert store.append([new, events[-1]], received_at=START).duplicates == 2
        store.close()


@pytest.mark.parametrize("recent_ids", [10, 300_000])
def test_a_batch_after_which_the_engine_gave_up_is_recognised(tmp_path, monkeypatch, recent_ids):
    path = tmp_path / "s.duckdb"
    store = DuckDBMetricStore(path, recent_ids=recent_ids)
    events = history(0, 100)
    store.append(events[:150], received_at=START)
    write = store._log.write

    def committed_and_given_up(*args):
        write(*args)
        connection.note(path, duckdb.FatalException("the checkpoint failed"))
        raise StoreError("it is not known whether the batch was kept")

    monkeypatch.setattr(store._log, "write", committed_and_given_up)
    with pytest.raises(StoreError):
        store.append(events[150:], received_at=START)
    monkeypatch.setattr(store._log, "write", write)
    assert store.append(events[150:], received_at=START).duplicates == 50
    assert store.append(events[:10], received_at=START).duplicates == 10
    assert store.watermark() == 200
    store.close()


def test_a_file_is_not_opened_again_under_those_who_read_it(tmp_path, monkeypatch):
    monkeypatch.setattr("metrics.stores.log._PATIENCE", 0)
    with closing(DuckDBMetricStore(tmp_path / "s.duckdb")) as store:
        store.append(history(0, 10), received_at=START)
        reading = store._log.read(0, 20, since=0)
        assert len(next(reading)) == 20
        with pytest.raises(StoreError, match="still being read"):
            store._log.reopen()
        reading.close()
        store._log.reopen()
        assert sum(map(len, store._log.read(0, 20, since=0))) == 20


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

    def count(ledger, kpi, positions, *, take_away):
        booked.append(positions.shape[0])
        book(ledger, kpi, positions, take_away=take_away)

    monkeypatch.setattr(state, "_book", count)
    monkeypatch.setattr(store._log, "read", None)  # the log is not touched
    store.append(history(2000, 2003), received_at=START)
    store.snapshot(frame(), now=now + timedelta(minutes=3))
    assert sum(booked) <= 3 * len(state._plan.kpis)
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


def late(first, last):
    """Return ratings of known units that arrive after their windows closed."""
    return [
        Event(
            f"late{number}",
            "satisfaction_rated",
            START + timedelta(minutes=number, seconds=30),
            {"order_id": f"o{number}"},
            {"score": 2_000_000},
        )
        for number in range(first, last)
    ]


def tied(unit, count):
    """Return so many ratings of one unit at one instant that ids must break the tie."""
    at = START + timedelta(seconds=1)
    return [
        Event(f"t{n}", "satisfaction_rated", at, {"order_id": unit}, {"score": n % 5 * 1_000_000})
        for n in range(count)
    ]


@pytest.mark.parametrize("call", [1, 2, 7, 12])
@pytest.mark.parametrize(
    ("module", "name"),
    [
        ("metrics.stores.frames", "total_values"),
        ("metrics.stores.ledger.Ledger", "book"),
        ("metrics.stores.ledger", "add_up"),
    ],
)
def test_a_failure_in_the_middle_of_a_snapshot_leaves_no_trace(
    tmp_path, monkeypatch, module, name, call
):
    store, reference = DuckDBMetricStore(tmp_path / "s.duckdb"), MemoryMetricStore()
    now, later = START + timedelta(days=60), START + timedelta(days=61)
    for each in (store, reference):
        each.append(history(0, 10), received_at=START)
    store.snapshot(frame(), now=now)
    for each in (store, reference):
        each.append([*late(0, 10), *history(10, 14)], received_at=START)
    calls = []
    found = pydoc.locate(f"{module}.{name}")

    def fail(*args, **kwargs):
        calls.append(args)
        if len(calls) == call:
            raise MemoryError
        return found(*args, **kwargs)

    with monkeypatch.context() as broken:
        broken.setattr(f"{module}.{name}", fail)
        with pytest.raises(StoreError, match="next snapshot counts from the log") as raised:
            store.snapshot(frame(), now=later)
    assert isinstance(raised.value.__cause__, MemoryError)
    assert store.snapshot(frame(), now=later) == reference.snapshot(frame(), now=later)
    assert store.snapshot(frame(), now=now) == reference.snapshot(frame(), now=now)
    store.close()


def test_ids_that_cannot_be_looked_up_leave_no_trace(tmp_path, monkeypatch):
    store, reference = DuckDBMetricStore(tmp_path / "s.duckdb"), MemoryMetricStore()
    now = START + timedelta(days=60)
    for each in (store, reference):
        each.append(history(0, 4), received_at=START)
    store.snapshot(frame(), now=now)
    for each in (store, reference):
        each.append(tied("o0", 30), received_at=START)
    with monkeypatch.context() as broken:
        broken.setattr(store._log, "_connection", BrokenConnection())
        with pytest.raises(StoreError, match="the disk is gone"):
            store.snapshot(frame(), now=now)
    assert store.snapshot(frame(), now=now) == reference.snapshot(frame(), now=now)
    store.close()


def test_new_phases_that_cannot_be_booked_leave_no_trace(tmp_path, monkeypatch):
    store, reference = DuckDBMetricStore(tmp_path / "s.duckdb"), MemoryMetricStore()
    now = START + timedelta(days=60)
    for each in (store, reference):
        each.append(history(0, 10), received_at=START)
    store.snapshot(frame(), now=now)
    phased = replace(frame(), phases=(START + timedelta(minutes=5),))

    def fail(*_args):
        raise MemoryError

    with monkeypatch.context() as broken:
        broken.setattr("metrics.stores.frames.unit_values", fail)
        with pytest.raises(StoreError):
            store.snapshot(phased, now=now)
    assert store.snapshot(phased, now=now) == reference.snapshot(phased, now=now)
    store.close()


def test_a_store_whose_start_fails_is_released(tmp_path, monkeypatch):
    DuckDBMetricStore(tmp_path / "s.duckdb").close()

    def fail(_log):
        raise StoreError("the disk is gone")

    with monkeypatch.context() as broken:
        broken.setattr("metrics.stores.log.EventLog.ids", fail)
        with pytest.raises(StoreError, match="the disk is gone"):
            DuckDBMetricStore(tmp_path / "s.duckdb")
    DuckDBMetricStore(tmp_path / "s.duckdb").close()


class BrokenConnection:
    """A connection whose every use fails as the engine fails."""

    def __getattr__(self, name):
        def fail(*_args, **_kwargs):
            raise duckdb.IOException("the disk is gone")

        return fail


@pytest.mark.parametrize(
    "ask",
    [
        pytest.param(lambda s: s.append(history(5, 6), received_at=START), id="append"),
        pytest.param(lambda s: s.quarantined(), id="quarantined"),
        pytest.param(lambda s: s.snapshot(frame(), now=START), id="snapshot"),
        pytest.param(
            lambda s: s.exposure_counts("x", 1, since=START, until=START), id="exposure counts"
        ),
        pytest.param(lambda s: s.exposed_units("x", 1), id="exposed units"),
        pytest.param(lambda s: s._log.one("SELECT 1"), id="one number"),
        pytest.param(lambda s: s._log.ids(), id="ids"),
        pytest.param(lambda s: s._log.ids_of([1]), id="ids of events"),
        pytest.param(lambda s: s._log.times_of(["a"], 0, 1), id="times of ids"),
        pytest.param(lambda s: list(s._log.read(0, 9, since=0)), id="read"),
        pytest.param(lambda s: s._log.reader().__enter__(), id="reader"),
    ],
)
def test_a_failure_of_the_engine_is_a_failure_of_the_store(tmp_path, monkeypatch, ask):
    store = DuckDBMetricStore(tmp_path / "s.duckdb")
    store.append(history(0, 3), received_at=START)
    store._tail.clear()  # as after a restart: the rows are in the file alone
    with monkeypatch.context() as broken:
        broken.setattr(store._log, "_connection", BrokenConnection())
        with pytest.raises(StoreError, match="the disk is gone") as raised:
            ask(store)
    assert isinstance(raised.value.__cause__, duckdb.Error)
    store.close()


def test_a_file_with_other_tables_is_refused_as_a_store(tmp_path):
    with duckdb.connect(str(tmp_path / "s.duckdb")) as connection:
        connection.execute("CREATE TABLE meta (something BIGINT)")
    with pytest.raises(StoreError, match="cannot be opened"):
        open_store(tmp_path / "s.duckdb")
    with pytest.raises(StoreError, match="cannot be opened"):  # and no longer held
        open_store(tmp_path / "s.duckdb")


def test_a_file_of_the_first_schema_is_brought_up_to_date_and_keeps_its_events(
    tmp_path: Path,
) -> None:
    path = tmp_path / "s.duckdb"
    with duckdb.connect(str(path)) as connection:
        for statement in STEPS[0]:
            connection.execute(statement)
        connection.execute("CREATE TABLE meta (key VARCHAR, value VARCHAR)")
        connection.execute("INSERT INTO meta VALUES ('schema', '1')")
        connection.execute(
            "INSERT INTO events VALUES (1, 'a', 0, 0, 'flow_failed', '{\"order_id\":\"o\"}', "
            "'{}', TRUE)"
        )
        connection.execute("INSERT INTO quarantine VALUES (1, 0, 0, 'b', 'id', 'r', 'c', '{}')")
    with closing(open_store(path)) as store:
        assert store.watermark() == 1
        assert [refused.id for refused in store.quarantined()] == ["b"]
    with duckdb.connect(str(path)) as connection:
        query = "SELECT value FROM meta WHERE key = 'schema'"
        assert connection.execute(query).fetchall() == [(str(SCHEMA_VERSION),)]
