"""Rounds of checks for ``rollback.py``: many experiments with a history, and events that follow."""

import random
import resource
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from store_history import ARMS, HOUR, KINDS, _drawn, _fields

from experiments.database import ControlPlane
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.views import CheckReport
from metrics.events import Event, exposure
from metrics.stores.duckdb import DuckDBMetricStore

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = 24 * HOUR
OLDEST = timedelta(days=14)
YOUNGEST = timedelta(hours=3)
EVERY = timedelta(minutes=1)
WARM = (timedelta(hours=2), timedelta(minutes=61), timedelta(minutes=30), timedelta(minutes=2))
"""Checks this long before the first timed round: looks that wait for 2% more units are spread."""

GUARDRAILS = """\
  - {kpi: cancellation_rate, max_rise: 60%}
  - {kpi: save_rate, max_drop: 60%}
  - {kpi: flow_dwell_seconds, max_rise: 60%}
  - {kpi: reason_dwell_seconds, max_rise: 60%}
  - {kpi: flow_failure_rate, max_rise: 60%}
  - {kpi: repeat_complaint_rate, max_rise: 60%}
  - {kpi: satisfaction, max_drop: 60%}
  - {kpi: agent_efficiency, max_drop: 60%}
  - {kpi: first_contact_resolution_rate, max_drop: 60%}
  - {kpi: refund_hours, max_rise: 60%}
  - {kpi: repurchase_rate, max_drop: 60%}
  - {kpi: net_revenue, max_drop: 60%}
"""
SPEC = """\
experiment: {key}
title: Benchmark
unit: order_id
variants:
  control: {{weight: 34%, flow: {{steps: [confirm]}}}}
  one_step: {{weight: 33%, flow: {{steps: [why, confirm]}}}}
  three_step: {{weight: 33%, flow: {{steps: [why, offer, confirm]}}}}
guardrails:
{guardrails}ends: {{after: 28d, observe_for: 1d}}
check_every: 1m
expect_units: 100000
"""


@dataclass(frozen=True, slots=True)
class Size:
    """How much there is.

    Attributes:
        experiments: All of them running; every order takes part in all that have begun.
        units: Orders of the 14 days before the first timed round.
        events: Events of each of those orders.
        new: First exposures of each round, in every experiment.
        fresh: Other events of each round.
        rounds: Timed rounds.
    """

    experiments: int = 100
    units: int = 4_000
    events: int = 8
    new: int = 2
    fresh: int = 600
    rounds: int = 60


@dataclass
class Rounds:
    """What the timed rounds saw: seconds by the clock and of processor time, and their checks."""

    seconds: list[float] = field(default_factory=list)
    processor: list[float] = field(default_factory=list)
    reports: list[CheckReport] = field(default_factory=list)
    guardrails: int = 0
    outcomes: dict[str, int] = field(default_factory=dict)
    looks: int = 0
    states: dict[str, int] = field(default_factory=dict)

    @property
    def median(self) -> float:
        return statistics.median(self.seconds)

    @property
    def p99(self) -> float:
        """The slowest but of one in a hundred: of 60 rounds the slowest."""
        ordered = sorted(self.seconds)
        return ordered[min(len(ordered) - 1, int(0.99 * len(ordered)))]


def age_of(number: int, size: Size) -> timedelta:
    """Return how long an experiment runs before the first timed round: 3 hours to 14 days."""
    part = number / max(1, size.experiments - 1)
    return YOUNGEST + (OLDEST - YOUNGEST) * part


def unit_of(number: int) -> str:
    return f"order-{number:07d}"


def key_of(experiment: int) -> str:
    return f"bench-{experiment:03d}"


def micros(span: timedelta) -> int:
    return span // timedelta(microseconds=1)


def write_history(store: DuckDBMetricStore, size: Size) -> None:
    """Write the past in bulk: orders come evenly, their events within six hours.

    An order is exposed in every experiment that has begun when it comes.
    """
    connection = store._log._connection  # noqa: SLF001 - the bulk way in is no part of the store
    begin = int(START.timestamp()) * 1_000_000
    end = begin + micros(OLDEST)
    names = " ".join(f"WHEN {n} THEN '{name}'" for n, (name, _) in enumerate(KINDS))
    fields = " ".join(f"WHEN {n} THEN {_fields(text)}" for n, (_, text) in enumerate(KINDS))
    arms = ", ".join(f"'{arm}'" for arm in ARMS)
    first = f"({begin} + unit * {micros(OLDEST)} // {size.units})"
    order = "'{\"order_id\":\"order-' || lpad(unit::VARCHAR, 7, '0') || '\"}'"
    seq = 0
    for number in range(size.experiments):
        age = micros(age_of(number, size))
        skipped = -(-(micros(OLDEST) - age) * size.units // micros(OLDEST))
        connection.execute(f"""
            INSERT INTO events SELECT {seq} + unit - {skipped} + 1, 'exposure:{number}-' || unit,
                {first}, {end}, 'exposure', {order},
                '{{"experiment":"{key_of(number)}","seed":1,"variant":"'
                    || ([{arms}])[1 + (hash(unit * 131 + {number}) % 3)::BIGINT]
                    || '","source":"evaluation"}}', TRUE
            FROM range({skipped}, {size.units}) t(unit)""")  # noqa: S608 - our own numbers
        seq += size.units - skipped
    count = size.units * size.events
    connection.execute(f"""
        INSERT INTO events
        WITH drawn AS (SELECT i, i % {size.units} AS unit,
            (hash(i) % 1000000007)::BIGINT AS r1, (hash(i * 7 + 1) % 1000000007)::BIGINT AS r2,
            (hash(i * 11 + 2) % 1000000007)::BIGINT AS r3 FROM range({count}) t(i))
        SELECT {seq} + i + 1, 'event-' || i, least({end}, {first} + r1 * 20), {end},
            CASE r3 % {len(KINDS)} {names} END, {order}, CASE r3 % {len(KINDS)} {fields} END, TRUE
        FROM drawn ORDER BY i""")  # noqa: S608 - as above


def fresh_events(size: Size, turn: int, now: datetime, rng: random.Random) -> list[Event]:
    """Return what happened in the minute before ``now``: new orders, and events of recent ones."""
    made: list[Event] = []
    for count in range(size.new):
        new = unit_of(size.units + turn * size.new + count)
        at = now - timedelta(seconds=rng.random() * 60)
        for number in range(size.experiments):
            arm = ARMS[rng.randrange(3)]
            made.append(exposure(key_of(number), 1, "order_id", new, arm, at))
    for count in range(size.fresh):
        unit = rng.randrange(size.units // 2, size.units + turn * size.new)
        name, fields = _drawn(rng, unit)
        at = now - timedelta(seconds=rng.random() * 60)
        made.append(Event(f"n{turn}-{count}", name, at, {"order_id": unit_of(unit)}, fields))
    return made


class World:
    """The engine, the control plane and the store of the service, with a clock moved by hand."""

    def __init__(self, folder: Path, size: Size) -> None:
        self.size = size
        path = folder / "metrics.duckdb"
        store = DuckDBMetricStore(path)
        write_history(store, size)
        store.close()
        self.store = DuckDBMetricStore(path)
        self.control = ControlPlane(f"sqlite:///{folder / 'control.db'}")
        self.clock = SteppedClock(START)
        self.engine = Engine(control=self.control, store=self.store, clock=self.clock)
        self.end = START + OLDEST + timedelta(seconds=1)
        for number in reversed(range(size.experiments)):
            self.clock.move_to(self.end - age_of(number, size))
            text = SPEC.format(key=key_of(number), guardrails=GUARDRAILS)
            self.engine.apply(text, source="bench.yaml", actor="benchmark")

    def warm(self) -> None:
        """Run checks ahead of the timed ones: totals are counted, most first looks are over."""
        for before in WARM:
            self.clock.move_to(self.end - before)
            self.engine.run_due()

    def rounds(self) -> Rounds:
        """Run the timed rounds, each after its fresh events were appended."""
        seen, rng = Rounds(), random.Random(3)
        for turn in range(self.size.rounds):
            now = self.end + (turn + 1) * EVERY
            batch = fresh_events(self.size, turn, now, rng)
            self.clock.move_to(now)
            for start in range(0, len(batch), 5_000):
                self.store.append(batch[start : start + 5_000], received_at=now)
            begun, worked = time.perf_counter(), time.process_time()
            reports = self.engine.run_due()
            seen.seconds.append(time.perf_counter() - begun)
            seen.processor.append(time.process_time() - worked)
            seen.reports += reports
        self._look(seen)
        return seen

    def _look(self, seen: Rounds) -> None:
        for number in range(self.size.experiments):
            view = self.engine.experiment(key_of(number))
            seen.states[view.state] = seen.states.get(view.state, 0) + 1
            for guardrail in view.guardrails:
                seen.guardrails += 1
                outcome = str(guardrail.outcome)
                seen.outcomes[outcome] = seen.outcomes.get(outcome, 0) + 1

    def close(self) -> None:
        self.engine.close()
        self.store.close()


def memory() -> float:
    """Return the most memory this process ever had, in GiB."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20


def names(values: Sequence[tuple[str, int]]) -> str:
    return ", ".join(f"{name} {count:,}" for name, count in values)
