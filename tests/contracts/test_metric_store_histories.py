"""Random histories: every engine gives the integers of the readable one, whatever happens."""

import random
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from metrics.catalogue import Trust, load_catalogue
from metrics.stores import units
from metrics.stores.duckdb import DuckDBMetricStore
from metrics.stores.memory import MemoryMetricStore
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


def replay(seed, folder, monkeypatch):
    """Run one random history through both engines and compare every answer."""
    rng = random.Random(seed)
    events = histories.events_of(rng, START, rng.choice([3, 12, 40]), 10)
    frame = frame_of(*EVERY_KPI)
    if rng.random() < 0.5:
        trusting = tuple(
            (replace(kpi, trust=Trust.ANY), windows) for kpi, windows in frame.kpis[6:]
        )
        frame = replace(frame, kpis=frame.kpis[:6] + trusting)
    path = folder / f"{seed}.duckdb"
    reference = MemoryMetricStore()
    store = DuckDBMetricStore(path, recent_ids=rng.choice([5, 1_000_000]))
    phases = ()
    monkeypatch.setattr(units, "PRUNE_ABOVE", rng.choice([512, 15]))
    for step in histories.steps_of(rng, START, events):
        expected = reference.append(step.batch, received_at=step.now)
        assert store.append(step.batch, received_at=step.now) == expected
        if step.reopen:
            monkeypatch.setattr(units, "PRUNE_ABOVE", rng.choice([512, 15]))
            store.close()
            store = DuckDBMetricStore(path)
        if step.phases:
            phases = tuple(step.now - timedelta(hours=7 * n) for n in reversed(range(step.phases)))
        asked = replace(frame, phases=phases, until=at(50) if step.until else None)
        as_of = None if step.back is None else max(0, reference.watermark() - step.back)
        answer = reference.snapshot(asked, now=step.now, as_of=as_of)
        assert store.snapshot(asked, now=step.now, as_of=as_of) == answer
    store.close()
    rebuilt = DuckDBMetricStore(path)
    assert rebuilt.snapshot(asked, now=step.now) == answer
    rebuilt.close()
    return len(events), sum(cell.sums.n for cells in answer.cells.values() for cell in cells)


@pytest.mark.parametrize("block", range(6))
def test_random_histories_give_the_integers_of_the_specification(block, tmp_path, monkeypatch):
    counted = [replay(seed, tmp_path, monkeypatch) for seed in range(10 * block, 10 * block + 10)]
    assert sum(values for _, values in counted) > 1000  # the histories are not empty


@pytest.mark.acceptance
@pytest.mark.parametrize("block", range(50))
def test_many_random_histories_give_the_integers_of_the_specification(block, tmp_path, monkeypatch):
    for seed in range(1000 + 10 * block, 1010 + 10 * block):
        replay(seed, tmp_path, monkeypatch)
