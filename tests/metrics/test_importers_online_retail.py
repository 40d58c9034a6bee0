"""The importer reproduces what is known of the data, and says what it left out."""

import gzip
import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from metrics.importers.files import EventFileError, read_events, write_events
from metrics.importers.online_retail import SourceError, read

DATA = Path(os.environ.get("TURNBACK_REAL_DATA", Path(__file__).parents[3] / "shared" / "data"))

ORDERS = "InvoiceNo,CustomerID,ordered_at,value,first_cancel_at,next_order_at"
CREDITS = "credit_note,refunded_at,purchase_invoice,hours_to_refund,refund_value"


def folder(tmp_path, orders, credits_=()):
    for name, head, rows in (
        ("orders.csv.gz", ORDERS, orders),
        ("credit_notes.csv.gz", CREDITS, credits_),
    ):
        with gzip.open(tmp_path / name, "wt") as out:
            out.write("\n".join([head, *rows]) + "\n")
    return tmp_path


A = "1,c,2011-01-01 10:00:00,12.5,2011-01-03 10:00:00,2011-01-20 09:00:00"
B = "2,c,2011-01-20 09:00:00,0,,"
PAID = "C9,2011-01-03 10:00:00,1,48,4.5"


def test_the_real_files_give_the_published_rates():
    source = DATA / "online_retail"
    if not source.is_dir():
        pytest.skip(f"{source} is absent: set TURNBACK_REAL_DATA to the folder of real data")
    imported = read(source)
    s = imported.summary
    assert (s.orders, s.customers, s.credits, s.zero_value) == (18_536, 4_339, 8_905, 4)
    assert (s.matched, s.skipped) == (7_570, 1_335)
    assert f"{s.cancelled:.2%} {s.cancelled_7d:.2%} {s.cancelled_30d:.2%}" == "17.44% 7.47% 14.15%"
    assert (s.followed_30d, f"{s.repurchase_30d:.2%}") == (15_797, "45.83%")
    assert f"{s.refund_hours_median:,.0f} {s.refund_hours_p90:,.0f}" == "223 1,657"
    assert s.events == len(imported.events) == len({event["id"] for event in imported.events})
    times = [event["happened_at"] for event in imported.events]
    assert times == sorted(times)


def test_an_order_becomes_the_events_of_its_unit(tmp_path):
    events = read(folder(tmp_path, [A, B], [PAID])).events
    of_first = [e for e in events if e["units"]["order_id"] == "1"]
    assert [(e["name"], e["happened_at"].day, e["fields"]) for e in of_first] == [
        ("exposure", 1, {}),
        ("cancel_started", 1, {"order_id": "1"}),
        ("refund_requested", 1, {"amount": 4.5}),
        ("cancel_finished", 3, {"outcome": "cancelled"}),
        ("refund_paid", 3, {"amount": 4.5, "hours": 48.0}),
        ("order_placed", 20, {"order_id": "2", "amount": 0.0}),
    ]
    assert {e["units"]["user_id"] for e in events} == {"c"}


def test_credits_without_invoice_or_paid_before_the_order_are_left_out_and_counted(tmp_path):
    unmatched = "C10,2011-01-03 10:00:00,,,4.5"
    early = "C11,2010-12-03 10:00:00,1,-700,4.5"
    imported = read(folder(tmp_path, [A, B], [PAID, unmatched, early]))
    assert (imported.summary.credits, imported.summary.matched, imported.summary.skipped) == (
        3,
        1,
        2,
    )
    assert sum(e["name"] == "refund_paid" for e in imported.events) == 1


def test_identical_credit_lines_are_different_refunds(tmp_path):
    imported = read(folder(tmp_path, [A, B], [PAID, PAID]))
    paid = [e["id"] for e in imported.events if e["name"] == "refund_paid"]
    assert len(set(paid)) == 2


@pytest.mark.parametrize(
    ("orders", "words"),
    [
        ([], "no orders in it"),
        (["1,c,yesterday,1,,"], "1: ordered_at is not a time: 'yesterday'"),
        (["1,c,2011-01-01 10:00:00,1,,2011-02-01 10:00:00"], "no invoice then"),
    ],
)
def test_broken_rows_are_named(tmp_path, orders, words):
    with pytest.raises(SourceError, match=words):
        read(folder(tmp_path, orders))


def test_a_missing_file_and_a_missing_column_are_named(tmp_path):
    with pytest.raises(SourceError, match=r"orders\.csv\.gz: no such file; give the folder"):
        read(tmp_path)
    with gzip.open(tmp_path / "orders.csv.gz", "wt") as out:
        out.write("InvoiceNo,value\n")
    with pytest.raises(SourceError, match="column CustomerID, ordered_at"):
        read(tmp_path)


@pytest.mark.parametrize("suffix", [".parquet", ".jsonl"])
def test_an_event_file_gives_back_what_was_written(tmp_path, suffix):
    events = [
        {
            "id": "e1",
            "name": "refund_paid",
            "happened_at": datetime(2011, 1, 3, 10, 0, 0, 250, tzinfo=UTC),
            "units": {"order_id": "Ünïcode-1"},
            "fields": {"amount": 4.5, "first": True},
        }
    ]
    path = tmp_path / f"events{suffix}"
    write_events(events, path)
    back = list(read_events(path))
    for event in back:
        at = event["happened_at"]
        event["happened_at"] = datetime.fromisoformat(at) if isinstance(at, str) else at
    assert back == events
    assert [p.name for p in tmp_path.iterdir()] == [path.name]


def test_event_files_of_another_kind_are_refused_with_a_way_out(tmp_path):
    with pytest.raises(EventFileError, match=r"name it \*\.parquet or \*\.jsonl"):
        write_events([], tmp_path / "events.csv")
    with pytest.raises(EventFileError, match="no such file; `turnback import"):
        list(read_events(tmp_path / "events.jsonl"))
    (tmp_path / "broken.jsonl").write_text('{"id": "a"}\n{"id"\n')
    with pytest.raises(EventFileError, match=r"broken\.jsonl:2: not an event"):
        list(read_events(tmp_path / "broken.jsonl"))
    (tmp_path / "broken.parquet").write_text("no parquet")
    with pytest.raises(EventFileError, match="cannot be read as Parquet"):
        list(read_events(tmp_path / "broken.parquet"))
