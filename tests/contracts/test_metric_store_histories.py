"""Random histories: every engine gives the integers of the readable one, whatever happens."""

import random
import shutil
from dataclasses import replace
from datetime import timedelta
from functools import partial

import numpy as np
import pytest

from metrics.catalogue import Trust, load_catalogue
from metrics.store import EventsGoneError
from metrics.stores import totals, units
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.stores.memory import MemoryMetricStore
from metrics.stores.passing import PassingMetricStore
from tests.contracts import histories
from tests.support import LATE, START, at, event, exposed, frame_of, put

EVERY_KPI = tuple(kpi.key for kpi in load_catalogue())


def test_a_robots_events_do_not_pile_up(tmp_path):
    store, reference = DuckDBMetricStore(tmp_path / "s.duckdb"), MemoryMetricStore()
    frame = frame_of(*EVERY_KPI)
    for engine in (store, reference):
        put(engine, exposed(1))
    for batch in range(12):
        many = [event(f"{batch}-{n}", "satisfaction_rated", 2 + n / 9, score=1) for n in range(500)]
        for engine in (store, reference):
            put(engine, *many)
        assert store.snapshot(frame, now=LATE) == reference.snapshot(frame, now=LATE)
    for engine in (store, reference):
        put(engine, exposed(0.5), event("late", "satisfaction_rated", 0.6, score=5))
    assert store.snapshot(frame, now=LATE) == reference.snapshot(frame, now=LATE)
    (state,) = store._frames.values()
    assert state._events.gather(np.array([0])).rows.size < 1100
    store.close()


# --- the same integers ----------------------------------------------------------------------


def frames_of(rng):
    """Return questions about orders, about customers, and of an experiment that began later."""
    orders = frame_of(*EVERY_KPI)
    if rng.random() < 0.5:
        trusting = tuple(
            (replace(kpi, trust=Trust.ANY), windows) for kpi, windows in orders.kpis[6:]
        )
        orders = replace(orders, kpis=orders.kpis[:6] + trusting)
    customers = frame_of(*rng.sample(EVERY_KPI, 3), unit="user_id")
    later = replace(frame_of(*rng.sample(EVERY_KPI, 3)), origin=at(rng.randrange(1, 72)))
    return orders, customers, later


class Engine:
    """The embedded store, and how it comes back after a stop or a crash."""

    def __init__(self, folder, rng):
        self._folder = folder
        self._lives = 0
        self._path = folder / "s0.duckdb"
        self.store = DuckDBMetricStore(self._path, recent_ids=rng.choice([5, 1_000_000]))

    def restart(self, how):
        if how is histories.Restart.CRASHED:
            self._lives += 1
            old, self._path = self._path, self._folder / f"s{self._lives}.duckdb"
            for suffix in ("", ".wal"):
                if (left := old.with_name(old.name + suffix)).exists():
                    shutil.copy(left, self._path.with_name(self._path.name + suffix))
            if (left := old.with_name(f"{old.name}.totals")).exists():
                shutil.copytree(left, self._path.with_name(f"{self._path.name}.totals"))
        self.store.close()
        if how is histories.Restart.FORGETFUL:
            for copy in self._folder.glob("*/*.latest"):
                copy.unlink()
        self.store = DuckDBMetricStore(self._path)


def told(store, *, frame, **asked):
    """Return the answer, or why there is none."""
    try:
        return store.snapshot(frame, **asked)
    except EventsGoneError as error:
        return str(error)


def split(store, *, frame, now):
    """Return the units by what was said of them, or why there is no answer."""
    asked = [(kpi.key, windows[-1]) for kpi, windows in frame.kpis[:3]]
    try:
        return store.segments(frame, by=["country", "a/b~c", "none"], asked=asked, now=now)
    except EventsGoneError as error:
        return str(error)


def same(ask, reference, *others):
    """Return what the reference answers, which the others must answer, too."""
    answer = ask(reference)
    for other in others:
        assert ask(other) == answer
    return answer


def values_in(answer):
    """Return how many values of units an answer holds."""
    cells = () if isinstance(answer, str) else answer.cells.values()
    return sum(cell.sums.n for each in cells for cell in each)


def replay(seed, folder, monkeypatch):
    """Run one random history through all engines and compare every answer.

    Returns how many values were counted in all answers, and how many answers were refused.
    """
    rng = random.Random(seed)
    folder = folder / str(seed)
    folder.mkdir()
    events = histories.events_of(rng, START, rng.choice([3, 12, 40]), 10)
    frames = frames_of(rng)
    reference, passing, engine = MemoryMetricStore(), PassingMetricStore(), Engine(folder, rng)
    monkeypatch.setattr(units, "PRUNE_ABOVE", rng.choice([512, 15]))
    monkeypatch.setattr(totals, "SAVE_EVERY", 1)
    asked, counted, refused = frames, 0, 0
    for step in histories.steps_of(rng, START, events):
        store = engine.store
        same(lambda one, s=step: one.append(s.batch, received_at=s.now), reference, passing, store)
        if step.save:
            store.save()
        if step.restart:
            monkeypatch.setattr(units, "PRUNE_ABOVE", rng.choice([512, 15]))
            engine.restart(step.restart)
            store = engine.store
        for each in (reference, passing, store) if step.retain else ():
            running = [frame for n, frame in enumerate(asked) if step.running >> n & 1]
            each.retain(step.retain, running=running, now=step.now)
        for each in (reference, passing, store) if step.forget else ():
            each.forget(step.forget, now=step.now, running=asked)
        assert store.erasures() == reference.erasures()
        phases = tuple(step.now - timedelta(hours=7 * n) for n in reversed(range(step.phases)))
        until = at(50) if step.until else None
        asked = tuple(
            replace(frame, phases=phases or old.phases, until=until)
            for frame, old in zip(frames, asked, strict=True)
        )
        as_of = None if step.back is None else max(0, reference.watermark() - step.back)
        for frame in asked:
            asking = partial(told, frame=frame, now=step.now, as_of=as_of)
            answer = same(asking, reference, passing, store)
            refused += isinstance(answer, str)
            counted += values_in(answer)
        # in a few steps of each history: it takes its time
        for frame in asked if not reference.watermark() % 4 else ():
            same(partial(split, frame=frame, now=step.now), reference, passing, store)
        if step.rebuild:
            for again in store.rebuild(asked, now=step.now):
                assert again.differences == ()
    found = engine.store.verify(now=step.now)
    assert found.findings == ()
    engine.store.close()
    shutil.rmtree(folder)
    return counted, refused


def replay_all(seeds, folder, monkeypatch):
    """Replay histories; returns all that was counted, and how many answers were refused."""
    done = [replay(seed, folder, monkeypatch) for seed in seeds]
    return sum(values for values, _ in done), sum(refused for _, refused in done)


@pytest.mark.parametrize("block", range(6))
def test_random_histories_give_the_integers_of_the_specification(block, tmp_path, monkeypatch):
    values, _ = replay_all(range(8 * block, 8 * block + 8), tmp_path, monkeypatch)
    assert values > 1000  # the histories are not empty


def test_the_histories_hold_everything_that_makes_counting_hard(tmp_path, monkeypatch):
    rng = random.Random(1)
    steps = [
        step
        for _ in range(48)
        for step in histories.steps_of(rng, START, histories.events_of(rng, START, 12, 10))
    ]
    for restart in histories.Restart:
        assert sum(step.restart is restart for step in steps) > 10
    assert sum(step.retain is not None for step in steps) > 10
    assert sum(step.forget is not None for step in steps) > 10
    assert sum(step.back is not None for step in steps) > 10
    _, refused = replay_all(range(3), tmp_path, monkeypatch)
    assert refused > 0  # some ask for what is gone


def forget_late_events(state, batch, changes):
    return {}


def keep_what_was_counted(units, changes, apply=units.Units.apply):
    apply(units, changes)
    return np.zeros(0, np.int64)


@pytest.mark.parametrize(
    ("broken", "replacement"),
    [
        pytest.param(
            "metrics.stores.frames.FrameState._touched",
            forget_late_events,
            id="totals that are not revised when events come late",
        ),
        pytest.param(
            "metrics.stores.units.Units.apply",
            keep_what_was_counted,
            id="earlier events that are not counted when the exposure comes",
        ),
    ],
)
def test_a_broken_engine_is_found(broken, replacement, tmp_path, monkeypatch):
    monkeypatch.setattr(broken, replacement)
    with pytest.raises(AssertionError):
        replay_all(range(20), tmp_path, monkeypatch)


@pytest.mark.acceptance
@pytest.mark.parametrize("block", range(50))
def test_many_random_histories_give_the_integers_of_the_specification(
    block, tmp_path, monkeypatch, record_property
):
    seeds = range(1000 + 10 * block, 1010 + 10 * block)
    values, refused = replay_all(seeds, tmp_path, monkeypatch)
    record_property("histories", len(seeds))
    record_property("values", values)
    record_property("refused", refused)
