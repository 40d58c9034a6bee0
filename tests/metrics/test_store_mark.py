"""Events that were acknowledged and are gone are noticed, whatever became of the engine's log."""

import shutil
from contextlib import closing

import pytest

from metrics.stores.duckdb import DuckDBMetricStore
from tests.running import SPEC, running
from tests.support import LATE, event, put


def opened(path):
    return closing(DuckDBMetricStore(path))


def append(store, *batches):
    for batch in batches:
        put(store, *(event(f"{batch}-{n}", "page_viewed", 1, f"o{n}") for n in range(20)))


def wal(path):
    return path.with_name(f"{path.name}.wal")


def mark(path):
    return path.with_name(f"{path.name}.mark")


@pytest.fixture
def died(tmp_path):
    """Make the files that a crash left after ten batches: all of them in the write-ahead log."""
    path = tmp_path / "died" / "metrics.duckdb"
    path.parent.mkdir()
    with opened(tmp_path / "s.duckdb") as store:
        append(store, *range(10))
        for name, copy in (("s.duckdb", path), ("s.duckdb.wal", wal(path))):
            shutil.copy(tmp_path / name, copy)
        shutil.copy(mark(tmp_path / "s.duckdb"), mark(path))
    return path


def cut_end(data):
    return data[:-100]


def cut_half(data):
    return data[: len(data) // 2]


def damage_first_byte(data):
    return bytes([data[0] ^ 0xFF]) + data[1:]


DAMAGES = [cut_end, cut_half, damage_first_byte, lambda _: b""]


@pytest.mark.parametrize("damage", DAMAGES)
def test_a_log_of_which_the_engine_leaves_out_the_end_is_noticed(died, damage, caplog):
    wal(died).write_bytes(damage(wal(died).read_bytes()))
    with opened(died) as store:
        held = store.watermark()
        assert held < 200
        (words,) = store.attention()
        assert f"{died}: events {held + 1} to 200 were acknowledged and are not in it" in words
        assert words in store.verify(now=LATE).findings
        assert words in caplog.text


def test_a_crash_alone_is_no_loss(died):
    with opened(died) as store:
        assert (store.watermark(), store.attention()) == (200, ())
        append(store, 10)
    with opened(died) as store:
        assert store.verify(now=LATE).findings == ()


def test_a_loss_is_told_until_events_came_and_the_store_was_opened_again(died):
    wal(died).unlink()
    for _ in range(2):
        with opened(died) as store:
            assert store.attention()
    with opened(died) as store:
        append(store, 0)
        assert store.attention()
    with opened(died) as store:
        assert store.attention() == ()


def test_a_new_store_in_the_place_of_an_old_one_has_lost_nothing(died):
    died.unlink()
    wal(died).unlink()
    with opened(died) as store:
        assert (store.watermark(), store.attention()) == (0, ())
    with opened(died) as store:
        assert store.attention() == ()


def test_another_store_in_the_place_of_an_old_one_has_lost_nothing(died, tmp_path):
    with opened(tmp_path / "other.duckdb") as store:
        append(store, 0)
    wal(died).unlink()
    shutil.copy(tmp_path / "other.duckdb", died)
    with opened(died) as store:
        assert (store.watermark(), store.attention()) == (20, ())


@pytest.mark.parametrize("text", ["", "nonsense", "0" * 16 + " 12\n"])
def test_a_mark_that_cannot_be_read_says_nothing_and_is_written_anew(died, text):
    mark(died).write_text(text)
    with opened(died) as store:
        assert store.attention() == ()
        append(store, 10)
    assert mark(died).read_text().endswith(" 00000000000000000220\n")


def test_a_mark_that_cannot_be_written_stops_no_event(tmp_path, caplog):
    path = tmp_path / "s.duckdb"
    with opened(path) as store:
        append(store, 0)
    mark(path).unlink()
    mark(path).mkdir()
    with opened(path) as store:
        append(store, 1, 2)
        assert store.watermark() == 60
    assert "lost events would not be noticed" in caplog.text


def test_a_loss_needs_attention_in_the_service(died):
    wal(died).unlink()
    with running(data=died.parent) as it:
        it.apply(SPEC)
        (words,) = it.http.get("/api/v1/experiments/cancel-page").json()["attention"]
        assert "events 1 to 200 were acknowledged" in words
        assert "events 1 to 200 were acknowledged" in it.http.get("/").text
