"""Event files in bulk: through a running service and into its files, once however often."""

import gzip
import json
import random
from datetime import timedelta
from decimal import Decimal

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from console import cli
from metrics import loading
from metrics.importers.exported import wire_of
from metrics.importers.files import write_events
from tests.running import START, running


def events(count, **fields):
    return [
        {
            "id": f"l{n}",
            "name": "satisfaction_rated",
            "happened_at": START + timedelta(minutes=n % 1000),
            "units": {"order_id": f"o{n}"},
            "fields": {"score": 1 + n % 5, **fields},
        }
        for n in range(count)
    ]


def turnback(*arguments, url="http://127.0.0.1:9"):
    command = [str(each) for each in arguments]
    return CliRunner(env={"TURNBACK_URL": url}).invoke(cli.app, command)


@pytest.fixture
def files(tmp_path):
    folder = tmp_path / "files"
    folder.mkdir()
    everything = events(12_345)
    write_events(everything[:6_000], folder / "a.parquet")
    write_events(everything[6_000:], folder / "b.jsonl")
    return folder


def test_a_folder_of_both_formats_is_loaded_once_however_often(files):
    with running(max_body_bytes=8_000_000) as it:
        first = turnback("load", files, url=it.url)
        assert first.exit_code == 0, first.stderr
        assert first.stdout == "12,345 events: 12,345 new, 0 there already, 0 refused\n"
        again = json.loads(turnback("load", files, "--json", url=it.url).stdout)
        assert (again["accepted"], again["duplicates"]) == (0, 12_345)
        assert it.services.store.watermark() == 12_345


def test_bad_events_go_to_quarantine_and_stop_nothing(tmp_path):
    path = tmp_path / "some.jsonl"
    bad = [*events(3), {"id": "x", "name": "satisfaction_rated", "fields": {"score": 1}}]
    path.write_bytes(b"\n".join(map(msgspec.json.encode, bad)))
    with running() as it:
        told = turnback("load", path, url=it.url)
        assert told.exit_code == 1
        assert (
            "4 events: 3 new, 0 there already, 1 refused\n  1 x missing in happened_at"
            in told.stdout
        )
        assert f"{path}:4: happened_at is missing" in told.stderr
        assert "`turnback quarantine`" in told.stdout
        listed = turnback("quarantine", url=it.url)
        assert "1 events in quarantine: 1 missing" in listed.stdout
        assert "happened_at is missing" in listed.stdout
        refused = turnback("quarantine", "--resubmit", 1, url=it.url)
        assert refused.exit_code == 1
        assert "0 accepted, 0 there already, 1 still refused" in refused.stdout


def test_files_are_loaded_into_a_service_that_does_not_run(files, tmp_path):
    data = tmp_path / "data"
    with running(data=data):
        pass
    # the clock of a real service is the machine's: the events are not too old for it
    told = turnback("load", files, "--data", data)
    assert told.exit_code == 0, told.stderr
    with running(data=data) as it:
        assert it.services.store.watermark() == 12_345
        held = turnback("load", files, "--data", data)
        assert held.exit_code == 1
        assert "open" in held.stderr
        assert "leave out --data" in held.stderr


def test_a_busy_service_is_asked_again_after_the_time_it_says(files, monkeypatch):
    waited = []
    monkeypatch.setattr("console.commands.loading.time.sleep", waited.append)
    with running() as it:
        submit, refused = it.services.ingest.submit, [3, 2]

        def busy(batch):
            from metrics.ingest import QueueFullError

            if refused:
                raise QueueFullError(refused.pop())
            return submit(batch)

        monkeypatch.setattr(it.services.ingest, "submit", busy)
        assert turnback("load", files, url=it.url).exit_code == 0
        assert waited == [2, 3]
        assert it.services.store.watermark() == 12_345


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("nothing.jsonl", None, "no such file or folder"),
        ("sixteen.jsonl", '{"id": 1}\n'.encode("utf-16"), "sixteen.jsonl:1: this is UTF-16"),
        ("bare.jsonl", b"\n\0" + '{"id": 1}'.encode("utf-16-le"), "bare.jsonl:2: this is UTF-16"),
        (
            "packed.jsonl",
            gzip.compress(b"{}", mtime=0),
            "packed.jsonl:1: this is compressed with gzip",
        ),
        ("array.jsonl", b'[\n{"id": 1}\n]', "array.jsonl:1: this is a JSON array; write one"),
        ("marked.jsonl", b"\xef\xbb\xbf[{}]", "marked.jsonl:1: this is a JSON array"),
        ("text.csv", b"a,b", "name it *.parquet or *.jsonl"),
        ("broken.parquet", b"PAR", "cannot be read as Parquet"),
        ("folder", "", "no event files"),
    ],
)
def test_a_file_that_cannot_be_read_says_where_and_what_to_do(tmp_path, name, content, words):
    path = tmp_path / name
    if content == "":
        path.mkdir()
    elif content is not None:
        path.write_bytes(content)
    with running() as it:
        told = turnback("load", path, url=it.url)
    assert told.exit_code == 1
    assert words in told.stderr
    assert "are not counted twice" in told.stderr


def test_a_batch_holds_as_many_events_as_said(files):
    sizes = []

    def send(batch, *, trusted):
        sizes.append(len(batch))
        return loading.Answer(len(batch), 0, ())

    done = loading.load(loading.event_files([files]), send)
    assert done.events == done.accepted == 12_345
    assert sizes == [5_000, 1_000, 5_000, 1_345]


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_what_was_untrusted_stays_untrusted_when_it_is_loaded(tmp_path, suffix):
    path = tmp_path / f"mixed.{suffix}"
    flags = [True, False, None]
    mixed = [{**event, "trusted": flag} for event, flag in zip(events(3), flags, strict=True)]
    if suffix == "jsonl":
        write_events(mixed, path)
    else:
        texts = [{**e, "units": json.dumps(e["units"]), "fields": "{}"} for e in mixed]
        pq.write_table(pa.Table.from_pylist(texts), path)
    with running() as it:
        told = turnback("load", path, url=it.url)
        assert told.exit_code == 0, told.stderr
        store = it.services.store
        flags = store._log.rows("SELECT id, trusted FROM events ORDER BY id", [])
        assert flags == [("l0", True), ("l1", False), ("l2", False)]
        answer = it.http.post(
            "/api/v1/events",
            json=[{**events(4)[3], "happened_at": START.isoformat()}],
            headers={"X-Turnback-Trust": "any"},
        )
        assert answer.json()["accepted"] == 1
        assert store._log.rows("SELECT trusted FROM events WHERE id = 'l3'", []) == [(False,)]


def test_a_row_of_an_export_says_whether_it_was_trusted():
    row = {"id": "a", "name": "n", "happened_at": START, "units": [], "numbers": []}
    row |= {"texts": [], "booleans": []}
    assert [wire_of({**row, "trusted": flag})["trusted"] for flag in (True, False)] == [True, False]


def test_batches_a_service_finds_too_large_are_sent_in_halves(tmp_path):
    path = tmp_path / "large.jsonl"
    write_events(events(300, note="x" * 1_000), path)
    with running(max_body_bytes=50_000) as it:
        told = turnback("load", path, url=it.url)
        assert told.exit_code == 0, told.stderr
        assert told.stdout == "300 events: 300 new, 0 there already, 0 refused\n"


def loaded(path, tmp_path, *, offline=False, **settings):
    """Load a file; return what was said, what is in quarantine and which events are kept."""
    data = tmp_path / "service"
    with running(data=data, **settings) as it:
        told = None if offline else turnback("load", path, url=it.url)
    if offline:
        told = turnback("load", path, "--data", data)
    with running(data=data) as it:
        kept = it.services.store.quarantined()
        ids = it.services.store._log.rows("SELECT id FROM events ORDER BY id", [])
    assert "defect" not in told.stderr
    assert "Traceback" not in told.output
    return told, kept[::-1], [each for (each,) in ids]


def line(n, **changes):
    (event,) = msgspec.to_builtins(events(n + 1)[n:])
    return json.dumps({**event, **changes}).encode()


BAD_LINES = [
    (b'{"id": "b", ', "malformed", "no JSON ("),
    (line(1, fields={"score": float("nan")}), "out_of_range", "fields.score: nan"),
    (line(1, fields={"score": -1e400}), "out_of_range", "fields.score: -inf"),
    (line(1, fields={"score": 10**30}), "out_of_range", "fields.score: 100000"),
    (b'{"id": "caf\xe9"}', "malformed", "byte 12 is 0xe9, which is no UTF-8: save or send"),
    (line(1, id="\ud800"), "bad_text", "half a surrogate pair"),
    (b"[" * 50_000 + b"]" * 50_000, "malformed", "nested too deeply"),
    # one of the two sides may find this nested too deeply
    (line(1, happened_at=7)[:-1] + b', "x": ' + b"[" * 900 + b"]" * 900 + b"}", None, ""),
    (line(1, happened_at="-1199-01-01T00:00:00Z"), "bad_time", "'-1199-01-01T00:00:00Z' is no"),
    (b'{"id": ["a"]}', "missing", "name is missing"),
    (b'["a"]', "wrong_type", "expected an object, got a list"),
    (b"7", "wrong_type", "expected an object, got a number"),
]


@pytest.mark.parametrize("offline", [False, True], ids=["service", "data"])
def test_bad_lines_are_kept_with_their_reasons_and_the_others_are_loaded(
    tmp_path, monkeypatch, *, offline
):
    monkeypatch.setattr(loading, "SHOWN", 100)
    path = tmp_path / "some.jsonl"
    lines = [b"\xef\xbb\xbf" + line(0), *(bad for bad, _, _ in BAD_LINES), b"", line(2)]
    path.write_bytes(b"\r\n".join(lines))
    told, kept, ids = loaded(path, tmp_path, offline=offline)
    assert told.exit_code == 1
    count = len(BAD_LINES)
    assert f"{count + 2} events: 2 new, 0 there already, {count} refused\n" in told.stdout
    assert "  they are in quarantine: `turnback quarantine`\n" in told.stdout
    assert ids == ["l0", "l2"]
    for number, ((bad, code, words), each) in enumerate(zip(BAD_LINES, kept, strict=True), 2):
        assert each.code == (code or each.code), bad[:80]
        assert words in each.reason
        assert each.event[:5] == bad[:5].decode()
        shown = [one for one in told.stderr.splitlines() if f"{path}:{number}: " in one]
        assert len(shown) == 1
        assert words in shown[0]
        if offline and each.code == "malformed":
            assert f"{path}:{number}: " in each.reason


def test_a_carriage_return_ends_a_line_or_stands_between_the_parts_of_one(tmp_path):
    path = tmp_path / "old.jsonl"
    apart = line(2).replace(b", ", b",\r")
    path.write_bytes(line(0) + b"\r" + line(1) + b"\r{\n" + apart + b"\n")
    told, kept, ids = loaded(path, tmp_path)
    assert "4 events: 3 new, 0 there already, 1 refused" in told.stdout
    assert ids == ["l0", "l1", "l2"]
    assert [each.event for each in kept] == ["{"]


def test_an_untrusted_line_stays_untrusted_however_it_is_written(tmp_path):
    path = tmp_path / "some.jsonl"
    hidden = line(1, trusted=False).replace(b"trusted", b"\\u0074rusted")
    bad = line(2, trusted=False, fields={"score": float("nan")})
    path.write_bytes(b"\n".join([line(0, trusted=False), hidden, bad, line(3, why="trusted")]))
    with running() as it:
        turnback("load", path, url=it.url)
        rows = it.services.store._log.rows("SELECT id, trusted FROM events ORDER BY id", [])
        assert rows == [("l0", False), ("l1", False), ("l3", True)]
        assert [each.trusted for each in it.services.store.quarantined()] == [False]


def parquet(path, **columns):
    whole = {
        "id": pa.array(["l0", "l1", "l2"]),
        "name": pa.array(["satisfaction_rated"] * 3),
        "happened_at": pa.array([START] * 3, pa.timestamp("us", tz="UTC")),
        "units": pa.array(['{"order_id": "o1"}'] * 3),
        "fields": pa.array(['{"score": 4}'] * 3),
        **columns,
    }
    pq.write_table(pa.table({name: each for name, each in whole.items() if each is not None}), path)


MICROS = int(START.timestamp() * 1e6)
OLD = -100_000_000_000_000_000
"""The year -1199 in microseconds."""
BAD_ROWS = [
    ({"happened_at": OLD}, "bad_time", "'-1199-"),
    ({"happened_at": None}, "missing", "happened_at is missing"),
    ({"fields": '{"score": NaN}'}, "out_of_range", "fields.score: nan"),
    ({"fields": "{"}, "wrong_type", "fields: expected an object, got text"),
    ({"units": "[" * 5_000}, "wrong_type", "units: expected an object of ids, got text"),
    ({"id": None}, "missing", "id is missing"),
    ({"id": b"\xff"}, "malformed", "id is no UTF-8"),
]
MAP = pa.map_(pa.string(), pa.float64())


@pytest.mark.parametrize("offline", [False, True], ids=["service", "data"])
def test_bad_rows_are_kept_with_their_reasons_and_the_others_are_loaded(tmp_path, *, offline):
    path = tmp_path / "some.parquet"
    rows = [{}, *(changes for changes, _, _ in BAD_ROWS), {}]
    ids = [row.get("id", f"l{n}".encode()) for n, row in enumerate(rows)]
    parquet(
        path,
        id=pa.array(ids, pa.binary()).view(pa.string()),
        name=pa.array(["satisfaction_rated"] * len(rows)),
        happened_at=pa.array(
            [row.get("happened_at", MICROS) for row in rows], pa.timestamp("us", tz="UTC")
        ),
        units=pa.array([row.get("units") for row in rows], pa.string()),
        fields=pa.array([row.get("fields", '{"score": 4}') for row in rows]),
    )
    told, kept, ids = loaded(path, tmp_path, offline=offline)
    assert "9 events: 2 new, 0 there already, 7 refused\n" in told.stdout, told.stderr
    assert ids == ["l0", "l8"]
    for number, ((_, code, words), each) in enumerate(zip(BAD_ROWS, kept, strict=True), 2):
        assert each.code == code
        (shown,) = [one for one in told.stderr.splitlines() if f"{path}: row {number}: " in one]
        assert words in shown
        assert words in each.event if code == "malformed" else words in each.reason


def maps(*numbers, kind=MAP):
    empty = pa.array([[]] * len(numbers), pa.map_(pa.string(), pa.string()))
    return {
        "fields": None,
        "units": pa.array([[("order_id", "o1")]] * len(numbers), empty.type),
        "numbers": pa.array(numbers, kind),
        "texts": empty,
        "booleans": pa.array([None] * len(numbers), pa.map_(pa.string(), pa.bool_())),
    }


def test_the_numbers_of_a_row_may_be_doubles(tmp_path):
    path = tmp_path / "doubles.parquet"
    numbers = [[("score", 4.0)], [("score", float("nan"))], [("score", 4.25)]]
    parquet(path, **maps(*numbers))
    told, kept, ids = loaded(path, tmp_path)
    assert "3 events: 2 new, 0 there already, 1 refused" in told.stdout, told.stderr
    assert ids == ["l0", "l2"]
    assert [(each.id, each.code) for each in kept] == [("l1", "out_of_range")]


def test_a_number_that_json_cannot_carry_spoils_only_its_own_row(tmp_path):
    path = tmp_path / "exact.parquet"
    exact = Decimal("9223372036854.775807")
    numbers = [[("score", Decimal(4))], [("score", exact)], [("score", Decimal("4.25"))]]
    parquet(path, **maps(*numbers, kind=pa.map_(pa.string(), pa.decimal128(25, 6))))
    told, kept, ids = loaded(path, tmp_path)
    assert "3 events: 2 new, 0 there already, 1 refused" in told.stdout, told.stderr
    assert f"{path}: row 2: score: {exact} has more digits" in told.stderr
    assert ids == ["l0", "l2"]
    assert str(exact) in kept[0].event


@pytest.mark.parametrize("bad", [False, True])
def test_an_event_larger_than_the_service_takes_is_told_and_stops_nothing(tmp_path, bad):
    path = tmp_path / "large.jsonl"
    rng = random.Random(1)  # no gzip makes it small: the body is refused while it is sent
    large = line(7, note=rng.randbytes(1_000_000).hex())
    lines = [line(n) for n in range(5)]
    lines[3:3] = [large[:-9] if bad else large]
    path.write_bytes(b"\n".join(lines))
    told, kept, ids = loaded(path, tmp_path, max_body_bytes=50_000)
    assert told.exit_code == 1
    assert told.stdout == (
        "6 events: 5 new, 0 there already, 1 refused\n"
        "  1 x too_large\n"
        "  they are too large for the service and kept nowhere\n"
    )
    assert f"{path}:4: this event has {len(lines[3]):,} bytes" in told.stderr
    assert "the body is larger than 50000 bytes" in told.stderr
    assert "TURNBACK_MAX_BODY_BYTES" in told.stderr
    assert (len(ids), kept) == (5, [])


def test_every_refused_event_of_a_halved_batch_is_told_with_its_own_line(tmp_path):
    path = tmp_path / "large.jsonl"
    lines = [line(n, note="x" * 1_000) for n in range(40)]
    lines[11], lines[33], lines[37] = b"{", line(33, name=""), line(37, note="x" * 20_000)
    path.write_bytes(b"\n".join(lines))
    with running(max_body_bytes=9_000) as it:
        told = turnback("load", path, "--json", url=it.url)
    done = json.loads(told.stdout)
    assert (done["accepted"], done["rejected"], done["left_out"]) == (37, 3, 1)
    where = {code: each[0].removeprefix(f"{path}:")[:3] for code, each in done["examples"].items()}
    assert where == {"malformed": "12:", "bad_length": "34:", "too_large": "38:"}


def test_a_proxy_that_finds_a_batch_too_large_is_sent_halves(tmp_path, monkeypatch):
    path = tmp_path / "some.jsonl"
    write_events(events(8), path)
    with running() as it:
        from console.client import ServiceClient
        from console.output import CommandError

        send, sizes = ServiceClient.send_events, []

        def small(self, body, *, trusted=True):
            sizes.append(gzip.decompress(body).count(b"\n") + 1)
            if sizes[-1] > 2:
                raise CommandError("the service answered 413", code="413")
            return send(self, body, trusted=trusted)

        monkeypatch.setattr(ServiceClient, "send_events", small)
        told = turnback("load", path, url=it.url)
    assert told.stdout == "8 events: 8 new, 0 there already, 0 refused\n"
    assert sizes == [8, 4, 2, 2, 4, 2, 2]


def test_large_events_are_sent_in_smaller_batches_from_the_start(tmp_path):
    path = tmp_path / "large.jsonl"
    write_events(events(10, note="x" * 1_500_000), path)
    sizes = []

    def send(batch, *, trusted):
        sizes.append(len(batch))
        return loading.Answer(len(batch), 0, ())

    assert loading.load([path], send).accepted == 10
    assert sizes == [2] * 5


def test_a_code_that_nothing_in_quarantine_has_is_no_code(tmp_path):
    path = tmp_path / "some.jsonl"
    path.write_bytes(b"\n".join([line(0), b"{", b"{{", line(1, happened_at=None)]))
    with running() as it:
        quiet = turnback("quarantine", "--resubmit-code", "malfromed", url=it.url)
        assert (quiet.exit_code, quiet.stdout) == (
            0,
            "0 accepted, 0 there already, 0 still refused\n",
        )
        turnback("load", path, url=it.url)
        told = turnback("quarantine", "--resubmit-code", "malfromed", url=it.url)
        assert told.exit_code == 1
        assert "no event in quarantine has the code 'malfromed'" in told.stderr
        assert "there are: malformed (2), missing (1)" in told.stderr
        asked = turnback("quarantine", "--resubmit-code", "missing", url=it.url)
        assert "0 accepted, 0 there already, 1 still refused" in asked.stdout
