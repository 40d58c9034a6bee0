"""The drawn cells behind the tests of the plan against the whole engine, on identical units.

The units that a simulated experiment drew become exposures and events of single units. They go
through a real store, real ticks, the control plane and a real rollback: the treatment is turned
back at the very check at which the shortcut finds it.
"""

import itertools
import math
from datetime import UTC, datetime, timedelta

import pytest

import guardrails.simulate
from guardrails.backtest import backtest
from metrics.events import Event
from tests.planned import CASES, HEAD, HOUR, LIMITS, simulated_once

pytestmark = pytest.mark.statistical

START = datetime(2026, 1, 1, tzinfo=UTC)
SEED = 20260401
FAILING = [c for c in (*CASES, *LIMITS) if c.name in {"failures-two-windows", "failures-limit"}]


@pytest.fixture
def batches(monkeypatch):
    """Every span of first exposures that is drawn, and its units by arm and kind."""
    drawn, original = [], guardrails.simulate._Drawn._batch

    def recorded(self, begin, until, rng):
        batch = original(self, begin, until, rng)
        drawn.append((begin, until, batch.kinds))
        return batch

    monkeypatch.setattr("guardrails.simulate._Drawn._batch", recorded)
    return drawn


def events_of(batches):
    """Return the exposure of every unit, and its failure in the first window that shows one."""
    number = itertools.count()
    for begin, until, kinds in batches:
        (arms,) = kinds.values()  # one KPI
        for variant, (population, counts) in arms.items():
            for kind, count in zip(population.kinds, counts.tolist(), strict=True):
                failed = sorted(at for at, (y, _) in kind.values.items() if y)
                for _ in range(count):
                    unit = next(number)
                    at = START + (begin + (until - begin) / 2 if unit else timedelta(0))
                    units = {"order_id": f"u{unit}"}
                    yield Event(f"x{unit}", "exposure", at, units, {"variant": variant})
                    if failed:  # within the first hour, or after it
                        later = HOUR / 2 if failed[0] == HOUR else 2 * HOUR
                        yield Event(f"f{unit}", "flow_failed", at + later, units, {})


@pytest.mark.parametrize("repetition", range(2))
@pytest.mark.parametrize("case", FAILING, ids=str)
def test_the_engine_turns_back_when_the_drawn_cells_do(case, repetition, batches):
    hours = simulated_once(case, repetition, SEED)
    assert math.isfinite(hours)
    text = HEAD.format(name=case.name) + case.body
    result = backtest(text, list(events_of(batches)), every=HOUR)
    assert result.rolled_back
    assert (result.variant, result.kpi) == ("changed", "flow_failure_rate")
    assert (result.at - START) / HOUR == hours
