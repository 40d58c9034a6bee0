"""Running totals beside the store: a start reads only what is new, and never trusts what it finds."""

import json
import pydoc
import random
import re
import shutil
import subprocess
import sys
from contextlib import closing
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

from metrics.catalogue import load_catalogue
from metrics.store import EventsGoneError, StoreError
from metrics.stores import saved, totals
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.stores.frames import Dumped, FrameState
from metrics.stores.memory import MemoryMetricStore
from metrics.stores.plan import plan_of
from metrics.stores.saved import read, write
from metrics.stores.units import Units
from tests.contracts import histories
from tests.support import LATE, START, at, event, exposed, frame_of, put

ROOT = Path(__file__).resolve().parents[2]
FRAME = frame_of(*(kpi.key for kpi in load_catalogue()))


@pytest.fixture
def path(tmp_path):
    return tmp_path / "s.duckdb"


@pytest.fixture
def history():
    rng = random.Random(11)
    events = histories.events_of(rng, START, 40, 12)
    rng.shuffle(events)
    return events


def opened(path):
    return closing(DuckDBMetricStore(path))


def latest(path):
    (file,) = path.with_name(f"{path.name}.totals").glob("*.latest")
    return file


def expected(events, frame=FRAME, now=LATE):
    reference = MemoryMetricStore()
    reference.append(events, received_at=LATE)
    return reference.snapshot(frame, now=now)


def read_rows(store, monkeypatch):
    """Return a list to which the bounds of every reading of the log are added."""
    ranges = []
    read_log = store._log.read

    def noted(after, upto, *, since):
        ranges.append((after, upto))
        return read_log(after, upto, since=since)

    monkeypatch.setattr(store._log, "read", noted)
    return ranges


# --- a restart ------------------------------------------------------------------------------


def test_after_a_restart_only_new_events_are_read_and_the_integers_are_the_same(
    path, history, monkeypatch
):
    with opened(path) as store:
        store.append(history[:300], received_at=LATE)
        store.snapshot(FRAME, now=at(30))
    with opened(path) as store:
        store.append(history[300:], received_at=LATE)
        store._tail.clear()
        ranges = read_rows(store, monkeypatch)
        assert store.snapshot(FRAME, now=LATE) == expected(history)
        assert ranges == [(300, store.watermark())]
        assert store.rebuild([FRAME], now=LATE)[0].differences == ()


def test_totals_can_be_saved_while_the_store_goes_on(path, history, monkeypatch):
    monkeypatch.setattr(totals, "SAVE_EVERY", 100)
    with opened(path) as store:
        store.append(history[:300], received_at=LATE)
        store.snapshot(FRAME, now=LATE)
        store.save()
        first = latest(path).stat().st_mtime_ns
        store.append(history[300:350], received_at=LATE)
        store.snapshot(FRAME, now=LATE)
        store.save()  # too little is new
        assert latest(path).stat().st_mtime_ns == first
        assert read(latest(path))[0]["processed"] == 300


def test_what_is_restored_goes_on_like_what_was_never_stopped(path, history):
    """Late events, new phases, times before and after: after a restart as without one."""
    with opened(path) as store:
        store.append(history[:400], received_at=LATE)
        store.snapshot(FRAME, now=at(60))
    phased = replace(FRAME, phases=(at(20), at(50)))
    with opened(path) as store:
        assert store.snapshot(phased, now=at(70)) == expected(history[:400], phased, at(70))
        store.append(history[400:], received_at=LATE)
        for now in (at(80), at(40), LATE):
            assert store.snapshot(phased, now=now) == expected(history, phased, now)
        assert store.snapshot(FRAME, now=LATE, as_of=123) == replace(
            expected(history[:123]), watermark=123
        )


def test_every_part_of_a_state_is_saved():
    """A part that is added to a state must be saved too, or made again when it is restored."""
    state = FrameState(FRAME, lambda _: {})
    assert set(vars(state)) == {
        "processed", "_frame", "_ids_of", "_plan", "_units", "_reader", "_events", "_totals",
        "_ledger", "_now",
    }  # fmt: skip
    assert set(vars(state._reader)) == {
        "cases", "newest_exposure", "_frame", "_plan", "_codes", "_by_code",
    }  # fmt: skip
    assert isinstance(state._units, Units)
    assert set(vars(state._units)) == {
        "times", "variants", "position", "first", "variant", "count", "last", "chained",
        "pruned", "conflicted", "_reach",
    }  # fmt: skip
    assert set(vars(state._events)) == {
        "width", "at", "name", "flags", "seq", "previous", "heads", "numbers", "cases",
    }  # fmt: skip
    assert set(vars(state._totals)) == {"_plan", "counts", "sums", "large"}
    assert set(vars(state._ledger)) == {"rows", "_variants", "_cells", "_sorted"}


def test_odd_names_and_sums_beyond_64_bits_come_back(path):
    odd = ["\u0000", "取消", "👩‍👩‍👧", "a" * 256, "'", " ", '"']
    huge = [
        replace(event(f"p{n}", "order_placed", 1, unit), fields={"amount": 2**63 - 1})
        for n, unit in enumerate(odd)
    ]
    events = [*(exposed(0, unit) for unit in odd), *huge]
    with opened(path) as store:
        put(store, *events)
        whole = store.snapshot(FRAME, now=LATE)
    with opened(path) as store:
        (state,) = [saved_state(store, path)]
        assert list(state._units.position) == odd
        assert store.snapshot(FRAME, now=LATE) == whole == expected(events)


def saved_state(store, path):
    return store._totals._saved.open(latest(path))


# --- what cannot be trusted -----------------------------------------------------------------


def cut(file):
    file.write_bytes(file.read_bytes()[:-1000])


def empty(file):
    file.write_bytes(b"")


def flip(file):
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


def change(facts):
    """Return what rewrites a file with other facts and a digest that fits."""

    def rewrite(file):
        found, dumped = read(file)
        found.pop("sections")
        found.pop("state")
        write(file, {**found, **facts}, dumped)

    return rewrite


def lose_a_column(file):
    found, dumped = read(file)
    columns = {name: dict(each) for name, each in dumped.columns.items()}
    columns["units"] = {"strange": columns["units"]["first"]}
    found.pop("sections")
    found.pop("state")
    write(file, found, Dumped(dumped.facts, dumped.names, columns))


UNTRUSTED = [
    pytest.param(cut, "digest|cut short", id="cut short"),
    pytest.param(empty, "cut short", id="empty"),
    pytest.param(flip, "digest does not fit", id="one bit flipped"),
    pytest.param(change({"format": 0}), "has format 0", id="an older format"),
    pytest.param(change({"plan": "other"}), "another version", id="other columns"),
    pytest.param(change({"frame": "{}"}), "another version", id="a frame that cannot be read"),
    pytest.param(change({"opening": "0" * 16}), "another store", id="another store"),
    pytest.param(lose_a_column, "cannot be read", id="a part is missing"),
]


@pytest.mark.parametrize(("spoil", "words"), UNTRUSTED)
def test_totals_that_cannot_be_trusted_are_counted_again(  # noqa: PLR0917 - fixtures
    path, history, spoil, words, monkeypatch, caplog
):
    with opened(path) as store:
        store.append(history, received_at=LATE)
        store.snapshot(FRAME, now=LATE)
    spoil(latest(path))
    with opened(path) as store:
        (finding,) = store.verify(now=LATE).findings
        assert "it is not used, its events are counted again" in finding
        ranges = read_rows(store, monkeypatch)
        assert store.snapshot(FRAME, now=LATE) == expected(history)
        assert ranges == [(0, store.watermark())]
    assert re.search(words, caplog.text)


def test_a_changed_definition_of_a_kpi_is_counted_again(path, history):
    with opened(path) as store:
        store.append(history, received_at=LATE)
        store.snapshot(FRAME, now=LATE)
    kpi, windows = FRAME.kpis[6]
    changed = replace(
        FRAME, kpis=(*FRAME.kpis[:6], (replace(kpi, value="ratings"), windows), *FRAME.kpis[7:])
    )
    with opened(path) as store:
        assert store.snapshot(changed, now=LATE) == expected(history, changed)


def test_totals_saved_after_a_backup_was_made_are_not_those_of_the_restored_store(path, history):
    with opened(path) as store:
        store.append(history[:200], received_at=LATE)
        store.snapshot(FRAME, now=LATE)
        store._log.checkpoint()
        shutil.copy(path, backup := path.with_name("backup"))
        store.append(history[200:300], received_at=LATE)
        store.snapshot(FRAME, now=LATE)
    shutil.copy(backup, path)  # and the totals of 300 events lie beside it
    others = [*history[:200], *history[350:500]]
    with opened(path) as store:
        store.append(history[350:500], received_at=LATE)
        assert store.snapshot(FRAME, now=LATE) == expected(others)


def test_a_new_store_beside_totals_of_an_old_one_counts_its_own_events(path, history):
    with opened(path) as store:
        store.append(history[:200], received_at=LATE)
        store.snapshot(FRAME, now=LATE)
    path.unlink()
    with opened(path) as store:
        store.append(history[200:], received_at=LATE)
        assert store.snapshot(FRAME, now=LATE) == expected(history[200:])


def test_totals_that_cannot_be_saved_do_not_stop_the_store_from_closing(path, history, caplog):
    path.with_name(f"{path.name}.totals").write_text("a file where the folder should be")
    with opened(path) as store:
        store.append(history, received_at=LATE)
        store.snapshot(FRAME, now=LATE)
        with pytest.raises(StoreError, match="totals could not be saved"):
            store._totals.save(every=1)
    assert "the next start counts from the log again" in caplog.text
    path.with_name(f"{path.name}.totals").unlink()
    with opened(path) as store:
        assert store.snapshot(FRAME, now=LATE) == expected(history)


def test_a_difference_is_found_told_and_replaced(path, history):
    with opened(path) as store:
        store.append(history, received_at=LATE)
        store.snapshot(FRAME, now=LATE)
        (state,) = store._frames.values()
        reach = state._units.reach()
        reach["control"] = replace(reach["control"], exposed=reach["control"].exposed + 1)
        (found,) = store.verify(now=LATE).findings
        assert "experiment x, seed 1: the running totals: control: exposed: " in found
        (again,) = store.rebuild([FRAME], now=LATE)
        assert [each.where for each in again.differences] == ["control: exposed"]
        assert store.snapshot(FRAME, now=LATE) == expected(history)
        assert store.verify(now=LATE).findings == ()


# --- what was carried over is the only copy -------------------------------------------------


def carried_store(path, history):
    """Make a store whose experiment is older than its events."""
    with opened(path) as store:
        store.append(history, received_at=LATE)
        erased = store.retain(at(48), running=[FRAME], now=LATE)
        assert erased.events > 50
        return store.snapshot(FRAME, now=LATE)


def carried_file(path):
    (file,) = path.with_name(f"{path.name}.totals").glob("*.carried")
    return file


def test_what_was_carried_over_survives_restarts_and_lost_copies(path, history):
    whole = carried_store(path, history)
    latest(path).unlink()
    with opened(path) as store:
        assert store.snapshot(FRAME, now=LATE) == whole == expected(history)


def zeroed(file):
    file.write_bytes(bytes(file.stat().st_size))


def from_another_store(file):
    """Put in place what another store carried over for an experiment of the same name."""
    with opened(file.parent / "other.duckdb") as other:
        put(other, exposed(1), exposed(50, "o2"))
        other.retain(at(48), running=[FRAME], now=LATE)
    other_file = carried_file(file.parent / "other.duckdb")
    shutil.copy(other_file, file)
    (file.parent / "other.duckdb").unlink()
    shutil.rmtree(other_file.parent)


UNUSABLE = [
    *UNTRUSTED,
    pytest.param(lambda file: file.unlink(), "it is not there", id="missing"),
    pytest.param(zeroed, "digest does not fit", id="only zeros"),
    pytest.param(from_another_store, "it was written as", id="a file of another store"),
]


@pytest.mark.parametrize(("spoil", "words"), UNUSABLE)
def test_damage_to_what_was_carried_over_is_told_and_never_counted(path, history, spoil, words):
    """It says which file and what to do, nothing is lost meanwhile, and put back all is well."""
    whole = carried_store(path, history)
    file = carried_file(path)
    shutil.copy(file, aside := path.with_name("aside"))
    latest(path).unlink()
    spoil(file)
    told = rf"{re.escape(str(file))}: .*({words}).*put the file back from a backup, or stop"
    with opened(path) as store:
        with pytest.raises(EventsGoneError, match=told):
            store.snapshot(FRAME, now=LATE)
        assert re.search(told, " ".join(store.verify(now=LATE).findings))
        assert re.search(told, store.rebuild([FRAME], now=LATE)[0].failure)
        with pytest.raises(StoreError, match=told):
            store.forget("u3", now=LATE, running=[FRAME])
        with pytest.raises(StoreError, match=f"no event was removed: {told}"):
            store.retain(at(72), running=[FRAME], now=LATE)
        put(store, event("fresh", "page_viewed", 1000))  # events are taken all the same
    shutil.copy(aside, file)
    with opened(path) as store:
        assert store.verify(now=LATE).findings == ()
        assert store.retain(at(72), running=[FRAME], now=LATE).events
        one_more = replace(whole, watermark=whole.watermark + 1)
        assert store.snapshot(FRAME, now=LATE) == one_more


def test_damaged_totals_of_an_experiment_that_is_over_leave_with_the_next_removal(path, history):
    carried_store(path, history)
    flip(carried_file(path))
    with opened(path) as store:
        assert store.retain(at(72), running=[], now=LATE).events
        assert store.verify(now=LATE).findings == ()
        store.forget("u3", now=LATE)
    assert not list(path.with_name(f"{path.name}.totals").glob("*.carried"))


def test_a_file_that_was_put_back_is_not_gone_on_from_when_more_events_left_since(path, history):
    """What left after it was written is not in it: it would be missing from the totals."""
    carried_store(path, history)
    file = carried_file(path)
    shutil.copy(file, aside := path.with_name("aside"))
    with opened(path) as store:
        named = dict(store._record.carried)
        put(store, exposed(60, "fresh"))
        store.retain(at(72), running=[FRAME], now=LATE)
    carried_file(path).unlink()
    latest(path).unlink()
    shutil.copy(aside, file)
    spoiled(path, f"UPDATE meta SET value = '{json.dumps(named)}' WHERE key = 'carried'")  # noqa: S608 - our own names
    with opened(path) as store, pytest.raises(EventsGoneError, match="it cannot be counted"):
        store.snapshot(FRAME, now=LATE)


def test_what_another_store_carried_over_is_no_leftover_of_this_one(path, history, caplog):
    """A new file where the old one should be takes nothing from the old one."""
    whole = carried_store(path, history)
    path.rename(aside := path.with_name("aside"))
    with opened(path) as store:
        put(store, exposed(1))
        store.retain(at(48), running=[FRAME], now=LATE)
    assert "it belongs to another store, and is left as it is" in caplog.text
    aside.rename(path)
    with opened(path) as store:
        assert store.snapshot(FRAME, now=LATE) == whole


def test_latest_totals_alone_are_no_answer_when_nothing_was_carried_over(path, history):
    carried_store(path, history)
    carried_file(path).unlink()
    with opened(path) as store, pytest.raises(EventsGoneError):
        store.snapshot(FRAME, now=LATE)


def test_totals_older_than_a_retention_are_not_gone_on_from(path, history):
    """A copy from before the retention would miss the events that left after it."""
    with opened(path) as store:
        store.append(history[:100], received_at=LATE)
        store.snapshot(FRAME, now=LATE)
    shutil.copy(latest(path), old := path.with_name("old"))
    with opened(path) as store:
        store.append(history[100:], received_at=LATE)
        store.retain(at(48), running=[FRAME], now=LATE)
    shutil.copy(old, latest(path))
    with opened(path) as store:
        assert store.snapshot(FRAME, now=LATE) == expected(history)


# --- crashes between any two steps ----------------------------------------------------------


class Crash(BaseException):
    """The process ends here: what follows does not happen."""


def image(path, folder):
    """Copy the files as they are at this moment, as a crash would leave them."""
    folder.mkdir()
    for name in (path.name, f"{path.name}.wal"):
        if (file := path.with_name(name)).exists():
            shutil.copy(file, folder / name)
    if (totals_folder := path.with_name(f"{path.name}.totals")).exists():
        shutil.copytree(totals_folder, folder / totals_folder.name)
    return folder / path.name


BOTH = [
    ("metrics.stores.saved.write", "before"),
    ("metrics.stores.saved.write", "after"),
    ("metrics.stores.record.Record._note", "before"),
    ("metrics.stores.record.Record._note", "after"),
    ("metrics.stores.record.Record._remember", "before"),
    ("metrics.stores.saved.SavedTotals.clean", "before"),
    ("metrics.stores.saved.SavedTotals.clean", "after"),
    ("metrics.stores.log.EventLog.checkpoint", "before"),
]
STEPS = [
    *(("retain", *step) for step in BOTH),
    ("retain", "metrics.stores.totals.Totals.after_retention", "after"),
    *(("forget", *step) for step in BOTH),
    ("forget", "metrics.stores.saved.SavedTotals.drop_latest", "before"),
    ("forget", "metrics.stores.saved.SavedTotals.drop_latest", "after"),
    ("forget", "metrics.stores.totals.Totals.forget", "after"),
]


def crash_at(name, when, path, folder, monkeypatch):
    """Make the files be copied before or after a step, and the work stop there."""
    step = pydoc.locate(name)
    images = []

    def stopped(*args, **kwargs):
        if when == "after":
            step(*args, **kwargs)
        if not images:
            images.append(image(path, folder))
        raise Crash

    monkeypatch.setattr(name, stopped)
    return images


def with_older_totals(store):
    """Save totals, then let more events come, and all of them leave."""
    put(store, exposed(1), event("f1", "flow_failed", 1.5))
    store.snapshot(FRAME, now=LATE)
    store._totals.save(every=1)
    put(store, exposed(2, "o2"), event("f2", "flow_failed", 2.5, "o2"))
    store.snapshot(FRAME, now=LATE)


def test_saved_totals_leave_when_newer_ones_are_carried_over(path):
    with opened(path) as store:
        with_older_totals(store)
        assert latest(path).exists()
        before = store.snapshot(FRAME, now=LATE)
        store.retain(at(24), running=[FRAME], now=LATE)
        assert not list(path.with_name(f"{path.name}.totals").glob("*.latest"))
        assert store.verify(now=LATE).findings == ()
        store._totals.save()
        assert not list(path.with_name(f"{path.name}.totals").glob("*.latest"))
    with opened(path) as store:
        assert latest(path).exists()  # closing saved them
        assert store.snapshot(FRAME, now=LATE) == before


def test_saved_totals_older_than_what_was_carried_over_are_no_finding(path, tmp_path):
    with opened(path) as store:
        with_older_totals(store)
        name, aside = latest(path), tmp_path / "aside"
        shutil.copy(name, aside)
        store.retain(at(24), running=[FRAME], now=LATE)
        shutil.copy(aside, name)  # a crash came before it was removed
        assert store.verify(now=LATE).findings == ()


@pytest.mark.parametrize(("what", "name", "when"), STEPS)
def test_a_crash_between_any_two_steps_leaves_all_or_nothing(  # noqa: PLR0917 - fixtures
    path, history, name, when, what, tmp_path, monkeypatch
):
    unit = "u3"

    def erase(store, now):
        if what == "retain":
            store.retain(at(60), running=[FRAME], now=now)
        else:
            store.forget(unit, now=now)

    reference = MemoryMetricStore()
    reference.append(history, received_at=LATE)
    with opened(path) as store:
        store.append(history, received_at=LATE)
        for each in (reference, store):
            each.retain(at(30), running=[FRAME], now=at(100))
        store._totals.save(every=1)
        before = reference.snapshot(FRAME, now=LATE)
        assert store.snapshot(FRAME, now=LATE) == before
        with monkeypatch.context() as broken:
            images = crash_at(name, when, path, tmp_path / "image", broken)
            with pytest.raises(Crash):
                erase(store, at(200))
        # what was not a crash but a failure: the store goes on, in the one state or the other
        answers = [store.snapshot(FRAME, now=LATE)]
        assert store.verify(now=LATE).findings == ()
    erase(reference, at(200))
    with opened(images[0]) as store:
        answers.append(store.snapshot(FRAME, now=LATE))
        found = store.verify(now=LATE)
        assert found.findings == ()
        erase(store, at(200))  # and it can be done (again)
        assert store.snapshot(FRAME, now=LATE) == reference.snapshot(FRAME, now=LATE)
        files = list(images[0].with_name(f"{path.name}.totals").glob("*.carried"))
        assert [file.name for file in files] == list(store._record.carried.values())
    assert all(answer in (before, reference.snapshot(FRAME, now=LATE)) for answer in answers)


def test_half_a_file_is_never_read(path, history, monkeypatch):
    with opened(path) as store:
        store.append(history, received_at=LATE)
        store.snapshot(FRAME, now=LATE)
        store._totals.save(every=1)
        whole = latest(path).read_bytes()
        half = latest(path).with_name(f"{latest(path).name}.new")
        half.write_bytes(whole[: len(whole) // 2])
        copy = image(path, path.parent / "image")
    with opened(copy) as store:
        assert not copy.with_name(f"{copy.name}.totals").joinpath(half.name).exists()
        assert store.snapshot(FRAME, now=LATE) == expected(history)


CHILD = """
import sys
from pathlib import Path
sys.path[:0] = [sys.argv[2]]
import random
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.stores import totals
from tests.contracts import histories
from tests.metrics.test_saved_totals import FRAME
from tests.support import LATE, START, at

totals.SAVE_EVERY = 1
rng = random.Random(int(sys.argv[3]))
events = histories.events_of(rng, START, 40, 12)
store = DuckDBMetricStore(Path(sys.argv[1]))
print("ready", flush=True)
day = 0
while True:
    store.append(rng.choices(events, k=40), received_at=LATE)
    store.snapshot(FRAME, now=LATE)
    store.save()
    if rng.random() < 0.2:
        store.retain(at(day := min(day + 3, 90)), running=[FRAME], now=LATE)
    if rng.random() < 0.2:
        store.forget(f"u{rng.randrange(40)}", now=LATE, running=[FRAME])
    print("step", flush=True)
"""


def test_after_kill_9_at_any_moment_totals_equal_the_recount(path):
    rng = random.Random(5)
    for life in range(8):
        command = [sys.executable, "-c", CHILD, str(path), str(ROOT), str(life)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
            for _ in range(rng.randrange(2, 9)):
                assert child.stdout.readline()
            child.kill()
        with opened(path) as store:
            assert store.verify(now=LATE).findings == ()
            running = store.snapshot(FRAME, now=LATE)
            (again,) = store.rebuild([FRAME], now=LATE)
            assert (again.differences, again.failure) == ((), "")
            assert store.snapshot(FRAME, now=LATE) == running


# --- what a check finds ---------------------------------------------------------------------


def spoiled(path, *statements):
    with duckdb.connect(str(path)) as connection:
        for statement in statements:
            connection.execute(statement)


ROW = "(SELECT * REPLACE ({}) FROM events WHERE seq = 2)"


@pytest.mark.parametrize(
    ("statement", "words"),
    [
        pytest.param(
            f"INSERT INTO events {ROW.format('seq AS seq')}", "does not follow", id="number twice"
        ),
        pytest.param(
            f"INSERT INTO events {ROW.format('9 AS seq')}", "is kept 2 times", id="event twice"
        ),
        pytest.param(
            "UPDATE events SET units = 'no json' WHERE seq = 2",
            "event 2 cannot be read",
            id="units that cannot be read",
        ),
        pytest.param(
            "UPDATE events SET fields = '{\"a\": 1.5}' WHERE seq = 2",
            "event 2 cannot be read",
            id="a number that is not exact",
        ),
        pytest.param(
            "INSERT INTO meta VALUES ('horizon', '99000000000000000')",
            "should have left",
            id="events that should have left",
        ),
        pytest.param(
            "INSERT INTO quarantine SELECT 1, 0, 0, 'b', 'id', 'r', 'c', '{}', FALSE FROM range(2)",
            "two refused events have the number 1",
            id="a number of the quarantine twice",
        ),
        pytest.param(
            "UPDATE events SET fields = '{\"code\": \"other\"}', name = 'page_viewed' WHERE seq = 2",
            "the saved totals: flow_failure_rate over 1:00:00, control, phase 0, cohort 0: y",
            id="saved totals that differ from the log",
        ),
    ],
)
def test_a_check_says_what_is_wrong_in_words(path, statement, words):
    frame = frame_of("flow_failure_rate")
    with opened(path) as store:
        put(store, exposed(1), event("f", "flow_failed", 1.5, code="t"), exposed(2, "o2"))
        store.snapshot(frame, now=LATE)
    spoiled(path, statement)
    with opened(path) as store:
        assert words in "\n".join(store.verify(now=LATE).findings)


def test_many_events_that_cannot_be_read_are_counted_and_not_listed(path):
    with opened(path) as store:
        put(store, *(exposed(1, f"o{n}") for n in range(12)))
    spoiled(path, "UPDATE events SET units = ''")
    with opened(path) as store:
        findings = store.verify(now=LATE).findings
    assert len([each for each in findings if "cannot be read" in each]) == 6
    assert "7 more events cannot be read" in findings


def test_the_digest_of_a_plan_changes_with_what_columns_mean():
    changed = [
        frame_of("satisfaction", "flow_failure_rate"),
        frame_of("flow_failure_rate", "satisfaction"),
        frame_of("satisfaction", "flow_failure_rate", windows=[timedelta(hours=2)]),
    ]
    assert len({saved.plan_digest(frame) for frame in changed}) == 3
    assert saved.plan_digest(FRAME) == saved.plan_digest(FRAME)
    assert json.dumps(saved.plan_digest(FRAME))
    assert plan_of(FRAME).kpis
