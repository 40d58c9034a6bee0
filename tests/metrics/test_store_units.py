"""Unit ids kept as keyed hashes: what belongs together still does, and no id is in the files."""

import stat
from datetime import UTC, datetime, timedelta

import pytest

from metrics.events import DERIVED, Event, Rejection, exposure
from metrics.store import StoreError
from metrics.stores import DuckDBMetricStore, Units, Wanted
from metrics.stores.unit_names import key_file

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
HASHED, PLAIN = Wanted(Units.KEYED_HASH), Wanted(Units.PLAIN)
UNIT = "anna.schmidt@example.com"


def event(number=1, unit=UNIT, at=NOW):
    return Event(f"e{number}", "cancel_started", at, {"order_id": unit, "user_id": unit}, {})


def opened(folder, units=Wanted()):  # noqa: B008 - a value
    return DuckDBMetricStore(folder / "metrics.duckdb", units=units)


def bytes_of(folder):
    return b"".join(each.read_bytes() for each in folder.rglob("*") if each.is_file())


def test_no_id_is_in_the_files_and_what_belongs_together_does(tmp_path):
    store = opened(tmp_path, HASHED)
    store.append([exposure("x", 1, "order_id", UNIT, "treatment", NOW)], received_at=NOW)
    store.append([event()], received_at=NOW)
    name = store.stored_as(UNIT)
    assert store.exposed_units("x", 1) == {name: "treatment"}
    assert len(name) == 32
    store.close()
    assert UNIT.encode() not in bytes_of(tmp_path)
    again = opened(tmp_path)
    assert again.stored_as(UNIT) == name
    assert again.append([event()], received_at=NOW).duplicates == 1
    later = exposure("x", 1, "order_id", UNIT, "treatment", NOW + timedelta(hours=1))
    assert again.append([later], received_at=NOW).duplicates == 1
    again.close()


def test_the_derived_id_of_an_exposure_gives_no_unit_away(tmp_path):
    made = exposure("x", 1, "order_id", UNIT, "treatment", NOW)
    store = opened(tmp_path, HASHED)
    store.append([made], received_at=NOW)
    store.close()
    assert made.id.startswith(DERIVED)
    assert made.id.encode() not in bytes_of(tmp_path)


def test_two_stores_call_one_unit_by_two_names(tmp_path):
    names = set()
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        store = opened(tmp_path / folder, HASHED)
        names.add(store.stored_as(UNIT))
        store.close()
        assert stat.S_IMODE(key_file(tmp_path / folder / "metrics.duckdb").stat().st_mode) == 0o600
    assert len(names) == 2


def test_a_unit_is_forgotten_by_its_own_name_in_log_and_quarantine(tmp_path):
    store = opened(tmp_path, HASHED)
    store.append([event(1), event(2, "o2")], received_at=NOW)
    kept = Rejection(0, "e9", "name", "missing", "missing", f'{{"unit": "{UNIT}"}}')
    store.quarantine([kept], received_at=NOW)
    erased = store.forget(UNIT, now=NOW)
    assert (erased.events, erased.quarantined) == (1, 1)
    assert store.forget("o2", now=NOW).events == 1
    store.close()


def test_what_the_store_refuses_is_kept_as_it_was_sent(tmp_path):
    store = opened(tmp_path, HASHED)
    store.append([event(1)], received_at=NOW)
    (refused,) = store.append([event(1, at=NOW + timedelta(hours=1))], received_at=NOW).rejected
    assert refused.code == "id_reused"
    assert UNIT in refused.event
    store.close()


@pytest.mark.parametrize(("first", "then"), [(PLAIN, HASHED), (HASHED, PLAIN)])
def test_a_store_keeps_its_way_and_says_so(tmp_path, first, then):
    store = opened(tmp_path, first)
    store.append([event()], received_at=NOW)
    store.close()
    with pytest.raises(StoreError, match="cannot be changed: leave TURNBACK_STORE_UNITS out"):
        opened(tmp_path, then)
    opened(tmp_path, first).close()
    opened(tmp_path, Wanted(fresh=Units.KEYED_HASH)).close()


def test_a_store_that_had_events_once_is_not_new(tmp_path):
    store = opened(tmp_path, PLAIN)
    store.append([event()], received_at=NOW)
    store.forget(UNIT, now=NOW)
    store.close()
    with pytest.raises(StoreError, match="kept as plain"):
        opened(tmp_path, HASHED)


@pytest.mark.parametrize("harm", ["gone", "another", "broken"])
def test_without_its_key_a_store_is_not_opened(tmp_path, harm):
    store = opened(tmp_path, HASHED)
    store.append([event()], received_at=NOW)
    store.close()
    key = key_file(tmp_path / "metrics.duckdb")
    if harm == "gone":
        key.unlink()
    else:
        key.write_text("00" * 32 if harm == "another" else "no key")
    with pytest.raises(StoreError, match=r"its key|the key of unit ids cannot be read"):
        opened(tmp_path)


def test_a_start_that_was_killed_after_it_made_the_key_goes_on_with_it(tmp_path):
    store = opened(tmp_path, HASHED)
    name = store.stored_as(UNIT)
    store.close()
    (tmp_path / "metrics.duckdb").unlink()
    again = opened(tmp_path, HASHED)
    assert again.stored_as(UNIT) == name
    again.close()
