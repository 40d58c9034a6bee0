"""Event files in bulk: through a running service and into its files, once however often."""

import json
from datetime import timedelta

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
        assert f"{path}: happened_at is missing" in told.stderr
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
        ("broken.jsonl", b'{"id": 1}\n{"id":', "broken.jsonl:2: not an event"),
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
