"""Exported days are read by other programs as they are, exactly, and may be written again."""

import json
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal

import pyarrow as pa
import pyarrow.dataset as ds
import pyarrow.parquet as pq
import pytest

from metrics.events import Event, EventLimits, exposure, parse_event
from metrics.importers.files import EventFileError, read_events
from metrics.store import StoreError
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.stores.export import SCHEMA, export_days

START = datetime(2026, 3, 2, 22, tzinfo=UTC)
LARGEST = 2**63 - 1


def history():
    """Events around two midnights UTC: every type of field, any Unicode, the largest numbers."""
    made = []
    for n in range(300):
        at, unit = START + timedelta(minutes=12 * n, microseconds=n), f"bestellung-{n}-ü✓"
        made.append(exposure("x", 1, "order_id", unit, ("control", "treatment")[n % 2], at))
        units = {"order_id": unit, "user_id": f"u{n}"}
        fields = {"amount": 1_234_567 * n - 7, "addon": n % 3 == 0, "note": f"“{n}”\n"}
        made.append(Event(f"o{n}", "order_placed", at, units, fields, trusted=n % 2 == 0))
    extreme = {"largest": LARGEST, "smallest": -LARGEST, "tiny": 1, "none": 0}
    made.append(Event("extreme", "page_viewed", START, {}, extreme))
    made.append(Event("bare", "page_viewed", START, {"order_id": "o"}, {}))
    return made


@pytest.fixture
def store(tmp_path):
    with closing(DuckDBMetricStore(tmp_path / "s.duckdb")) as opened:
        opened.append(history(), received_at=START + timedelta(days=3))
        yield opened


def export(store, to, *, since=None, until=None):
    with store.frozen() as frozen:
        return export_days(frozen, to, since=since, until=until, now=START)


READ = """
import duckdb, json, sys
rows = duckdb.sql(f\"\"\"
    SELECT day::VARCHAR, count(*), count(*) FILTER (name = 'exposure'),
        sum(numbers['amount'])::VARCHAR, count(*) FILTER (booleans['addon']),
        count(DISTINCT units['order_id']), count(*) FILTER (trusted),
        min(epoch_us(happened_at)), max(epoch_us(happened_at))
    FROM read_parquet('{sys.argv[1]}/*/*.parquet', hive_partitioning = true)
    GROUP BY day ORDER BY day\"\"\").fetchall()
types = duckdb.sql(f"DESCRIBE SELECT * FROM read_parquet('{sys.argv[1]}/*/*.parquet')").fetchall()
print(json.dumps([rows, [row[:2] for row in types]]))
"""


def test_duckdb_reads_the_days_in_a_process_of_its_own_exactly(store, tmp_path):
    done = export(store, tmp_path / "out")
    read = subprocess.run(
        [sys.executable, "-c", READ, tmp_path / "out"], capture_output=True, text=True, check=True
    )
    rows, types = json.loads(read.stdout)
    expected = []
    for day in done.days:
        mine = [e for e in history() if f"{e.happened_at.date()}" == day]
        amounts = [e.fields["amount"] for e in mine if "amount" in e.fields]
        micros = [(e.happened_at - datetime(1970, 1, 1, tzinfo=UTC)) for e in mine]
        micros = [each // timedelta(microseconds=1) for each in micros]
        expected.append(
            [
                day,
                len(mine),
                sum(e.name == "exposure" for e in mine),
                f"{Decimal(sum(amounts)).scaleb(-6):f}",
                sum(e.fields.get("addon") is True for e in mine),
                len({e.units["order_id"] for e in mine if "order_id" in e.units}),
                sum(e.trusted for e in mine),
                min(micros),
                max(micros),
            ]
        )
    assert rows == expected
    assert dict(types)["happened_at"] == "TIMESTAMP WITH TIME ZONE"
    assert dict(types)["numbers"] == "MAP(VARCHAR, DECIMAL(25,6))"
    assert done.days == ("2026-03-02", "2026-03-03", "2026-03-04", "2026-03-05")
    assert done.events == len(history())


def test_pyarrow_reads_the_folder_as_a_partitioned_dataset(store, tmp_path):
    export(store, tmp_path / "out")
    days = ds.partitioning(pa.schema([("day", pa.date32())]), flavor="hive")
    table = ds.dataset(tmp_path / "out", format="parquet", partitioning=days).to_table()
    assert table.schema.field("happened_at").type == pa.timestamp("us", tz="UTC")
    rows = {row["id"]: row for row in table.to_pylist()}
    assert len(rows) == table.num_rows == len(history())
    for event in history():
        row = rows[event.id]
        assert row["day"] == event.happened_at.date()
        assert row["happened_at"] == event.happened_at
        assert dict(row["units"]) == event.units
        assert dict(row["texts"]) == {k: v for k, v in event.fields.items() if type(v) is str}
        assert dict(row["booleans"]) == {k: v for k, v in event.fields.items() if type(v) is bool}
        for key, value in row["numbers"]:
            # the seed of an exposure is a whole number, every other is kept in millionths
            exact = event.fields[key] * (1_000_000 if key == "seed" else 1)
            assert value.scaleb(6) == exact
    assert dict(rows["extreme"]["numbers"])["largest"] == Decimal("9223372036854.775807")


def test_files_are_compressed_and_hold_no_surprise_for_readers(store, tmp_path):
    export(store, tmp_path / "out")
    for path in (tmp_path / "out").glob("day=*/*.parquet"):
        about = pq.ParquetFile(path)
        assert about.schema_arrow == SCHEMA
        group = about.metadata.row_group(0)
        assert {group.column(n).compression for n in range(group.num_columns)} == {"ZSTD"}
    names = {p.name for p in (tmp_path / "out").iterdir() if not p.name.startswith("day=")}
    assert names == {"_manifest.json"}  # readers leave out what begins with an underscore


def test_writing_days_again_changes_nothing_but_what_is_new(store, tmp_path):
    to = tmp_path / "out"
    export(store, to)
    before = {p: p.read_bytes() for p in to.rglob("*.parquet")}
    export(store, to)
    assert {p: p.read_bytes() for p in to.rglob("*.parquet")} == before
    late = Event("late", "page_viewed", START, {"order_id": "o"}, {})
    store.append([late], received_at=START + timedelta(days=4))
    (to / "day=2026-03-02" / "part-00001.parquet").write_bytes(b"of another version")
    done = export(store, to, since=date(2026, 3, 2), until=date(2026, 3, 3))
    assert done.days == ("2026-03-02",)
    changed = {p for p in to.rglob("*.parquet") if before.get(p) != p.read_bytes()}
    assert changed == {to / "day=2026-03-02" / "part-00000.parquet"}
    manifest = json.loads((to / "_manifest.json").read_text())
    assert manifest["events"] == len(history()) + 1
    assert [d["watermark"] for d in manifest["days"].values()] == [603, 602, 602, 602]


def test_days_that_retention_has_cut_are_left_as_they_are(store, tmp_path):
    to = tmp_path / "out"
    export(store, to)
    archived = (to / "day=2026-03-02" / "part-00000.parquet").read_bytes()
    cut = int(datetime(2026, 3, 3, 12, tzinfo=UTC).timestamp()) * 10**6
    connection = store._log._connection
    connection.execute("DELETE FROM events WHERE happened_at < ?", [cut])
    connection.execute("INSERT INTO erasures VALUES (1, 0, 'retention', ?, 100, 1, 100)", [cut])
    done = export(store, to)
    assert done.days == ("2026-03-04", "2026-03-05")
    assert (done.removed, done.incomplete_before) == ((), "2026-03-04")
    assert (to / "day=2026-03-02" / "part-00000.parquet").read_bytes() == archived
    assert pq.read_table(to / "day=2026-03-03").num_rows > 200


def test_a_day_of_which_everything_was_erased_goes_from_the_export(store, tmp_path):
    to = tmp_path / "out"
    export(store, to)
    start = int(datetime(2026, 3, 5, tzinfo=UTC).timestamp()) * 10**6
    store._log._connection.execute("DELETE FROM events WHERE happened_at >= ?", [start])
    assert export(store, to, until=date(2026, 3, 5)).removed == ()
    assert export(store, to).removed == ("2026-03-05",)
    assert not (to / "day=2026-03-05").exists()


def test_an_export_that_breaks_off_leaves_whole_days(store, tmp_path, monkeypatch):
    to = tmp_path / "out"
    export(store, to)
    before = {p: p.read_bytes() for p in to.rglob("*.parquet")}
    calls = []

    def fail(batch):
        calls.append(batch)
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("metrics.stores.export._typed", fail)
    with pytest.raises(OSError, match="No space left"):
        export(store, to)
    assert {p: p.read_bytes() for p in to.rglob("*.parquet")} == before
    monkeypatch.undo()
    export(store, to)
    assert not (to / "_writing").exists()


def test_an_export_sees_one_instant(store, tmp_path):
    with store.frozen() as frozen:
        store.append(
            [Event("after", "page_viewed", START, {"order_id": "o"}, {})], received_at=START
        )
        done = export_days(frozen, tmp_path / "out", since=None, until=None, now=START)
    assert (done.events, done.watermark) == (602, 602)


def test_an_export_can_be_loaded_back(store, tmp_path):
    export(store, tmp_path / "out")
    loaded, now = {}, START + timedelta(days=3)
    for path in sorted((tmp_path / "out").glob("day=*/*.parquet"))[1:]:
        for raw in read_events(path):
            wire = {**raw, "happened_at": raw["happened_at"].isoformat()}
            event = parse_event(wire, index=0, now=now, limits=EventLimits(), trusted=True)
            loaded[event.id] = event
    sent = [event for event in history() if event.happened_at.date() > START.date()]
    assert len(loaded) == len(sent) > 500
    for event in sent:
        assert loaded[event.id] == replace(event, trusted=True)


def test_a_number_that_json_cannot_carry_is_not_loaded_back_changed(store, tmp_path):
    export(store, tmp_path / "out")
    with pytest.raises(EventFileError, match=r"extreme: largest: 9223372036854\.775807 has more"):
        list(read_events(tmp_path / "out" / "day=2026-03-02" / "part-00000.parquet"))


def test_a_store_that_cannot_be_read_says_so(store, tmp_path):
    with store.frozen() as frozen, pytest.raises(StoreError, match="could not be read"):
        frozen.rows("SELECT * FROM nothing")
