"""One experiment after another through the whole service: its objects, with the clock of the demo.

Units are evaluated as OFREP does it, their exposures and events go through the buffers and the
group commit into the store, checks run when they are due, the ramp moves, and in the middle the
service is closed and opened again on its files.
"""

import gc
import logging
import shutil
from bisect import bisect_right
from collections import defaultdict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp

import numpy as np

from guardrails.backtest import rollback_kpi
from guardrails.planning.baselines import measured_baseline
from guardrails.planning.calendar import Traffic
from guardrails.planning.plan import plan
from guardrails.simulate_units import ratings_of
from guardrails.spec_file import load_spec
from metrics.cells import MICRO
from metrics.events import Event
from service import Settings, build

START = datetime(2026, 1, 5, tzinfo=UTC)
HOUR = timedelta(hours=1)
KEY = "product"
DAYS = 5
EVERY = 2  # hours between two checks
UNITS_PER_DAY = 3000
MARGIN = 0.03
SPEC = """\
experiment: product
title: The whole product
unit: order_id
variants:
  control: {{weight: 50%, flow: {{steps: [confirm]}}}}
  treatment: {{weight: 50%, flow: {{steps: [why, confirm]}}}}
ramp:
  - {{traffic: 20%, hold: 12h, min_units: 50}}
  - {{traffic: 100%}}
guardrails:
  - {{kpi: satisfaction, max_drop: {satisfaction}, windows: {{1h: 60%, 12h: 40%}}}}
  - {{kpi: flow_failure_rate, max_rise: {failures}, windows: {{1h: 100%}}}}
  - {{kpi: flow_dwell_seconds, max_rise: {dwell}, windows: {{1h: 100%}}}}
  - {{kpi: save_rate, max_drop: {saves}, windows: {{12h: 100%}}}}
ends: {{after: {days}d, observe_for: 12h}}
check_every: 2h
expect_units: 14000
"""
SCORES = np.array([0.035, 0.055, 0.115, 0.265, 0.53])
MEAN = float(np.arange(1, 6) @ SCORES)
BELOW = np.cumsum(SCORES)[:4].tolist()
LOWERED = MEAN / (
    1 - float(SCORES[0])
)  # share of scores above 1 to lower by 1, for all of the mean
SD = float(np.sqrt((np.arange(1, 6) - MEAN) ** 2 @ SCORES))
ANSWERING, AT_ONCE = 0.5, 0.8
FAILING, CANCELLING = 0.06, 0.6


def spec_of(*, margin=MARGIN, prove_past=None, days=DAYS):
    """Return the spec: the margin of satisfaction, or that of all guardrails where it is 0."""
    past = f", prove_past: {prove_past}" if prove_past is not None else ""
    first = f"{margin:.6%}{past}"
    rest = (first,) * 3 if margin == 0 else ("20%", "10%", "10%")
    names = ("satisfaction", "failures", "dwell", "saves")
    return SPEC.format(days=days, **dict(zip(names, (first, *rest), strict=True)))


def planned(times, *, seed=1):
    """Return what ``turnback plan`` announces of a drop of so many margins.

    It announces the harm of a whole margin. The same contrast under another name: of a margin as
    large as that drop, with as much less of it to be proven.
    """
    spec = load_spec(spec_of(margin=times * MARGIN, prove_past=0.5 / times), source="product.yaml")
    shares = {HOUR: ANSWERING * AT_ONCE, 12 * HOUR: ANSWERING}
    population = ratings_of(MEAN, SD, shares)
    counts = [round(share * 1_000_000) for share in population.shares]
    kind = spec.kpis["satisfaction"].kind
    known = {
        ("satisfaction", length): measured_baseline(
            kind, sum(counts), population.sums(length, counts)
        )
        for length in shares
    }
    done = plan(spec, Traffic(UNITS_PER_DAY), [known], seed=seed)
    return next(g for g in done.guardrails if g.kpi == "satisfaction").at_margin


@cache
def _prepared():
    """Return a folder with an empty control plane: its tables are made once in each process."""
    folder = Path(mkdtemp(prefix="turnback-product-"))
    build(Settings(data=folder, demo=True, demo_start=START)).close()
    return folder


@dataclass(frozen=True)
class Job:
    """One run: its seed, the relative drop of satisfaction, the spec and its days."""

    seed: int
    drop: float
    spec: str
    days: int = DAYS


class Run:
    """The service of one run, and what its units will still do."""

    def __init__(self, job, folder):
        self.job, self.folder = job, folder
        self.rng = np.random.default_rng([20260401, job.seed])
        self.waiting = defaultdict(list)  # events by the hour at whose end they are sent
        self.units = 0
        shutil.copytree(_prepared(), folder, dirs_exist_ok=True)
        (folder / "metrics.duckdb").unlink(missing_ok=True)
        self.services = build(Settings(data=folder, demo=True, demo_start=START))
        self.services.engine.apply(job.spec, source="product.yaml", actor="test")

    def reopened(self):
        """Close the service and open it on the same files, as a restart does."""
        now = self.services.clock.now()
        self.services.close()
        self.services = build(Settings(data=self.folder, demo=True, demo_start=now))

    def hour(self, number):
        """Let an hour pass: units come in its middle, what happened is sent before a check."""
        clock, services = self.services.clock, self.services
        middle = START + number * HOUR + HOUR / 2
        clock.move_to(middle)
        self._evaluate(middle, number)
        clock.move_to(START + (number + 1) * HOUR)
        if (number + 1) % EVERY:
            return ()
        happened = [
            e for each in range(number - EVERY + 1, number + 1) for e in self.waiting.pop(each, ())
        ]
        services.events.submit(happened).result()
        return services.engine.run_due()

    def _evaluate(self, now, number):
        count = int(self.rng.poisson(UNITS_PER_DAY / 24))
        evaluator, exposures = self.services.evaluations.evaluator(), self.services.exposures
        compiled = evaluator.experiments[KEY]
        spec = compiled.spec
        drawn = self.rng.random((count, 10)).tolist()
        for own in drawn:
            unit = f"order-{self.job.seed}-{self.units}"
            self.units += 1
            found = evaluator.evaluate(compiled, {"targetingKey": unit})
            if found is None or found.unit is None:
                continue
            exposures.record(spec.key, spec.seed, spec.unit, found.unit, found.variant)
            self._happens(unit, now, number, own, treated=found.variant == "treatment")

    def _happens(self, unit, now, number, own, *, treated):
        """Draw what a unit does; everything but its score is the same in both arms."""
        units = {"order_id": unit}

        def send(name, minutes, **fields):
            at = now + timedelta(minutes=minutes)
            hour = max(number, int((at - START) / HOUR))
            event = Event(f"{unit}-{name}", name, at, units, fields)
            self.waiting[hour].append(event)

        left = "cancelled" if own[0] < CANCELLING else "kept"
        seconds = round((20 + 80 * own[1] ** 2) * MICRO)
        send("cancel_finished", 2 + own[2], outcome=left, seconds=seconds, reason="other")
        if own[3] < FAILING:
            send("flow_failed", 1 + own[2], code="timeout")
        if own[4] < ANSWERING:
            soon = own[5] < AT_ONCE
            minutes = 4 + 50 * own[6] if soon else 60 + 600 * own[6]
            score = 1 + bisect_right(BELOW, own[7])
            lowered = LOWERED * self.job.drop if treated else 0.0
            score -= score > 1 and own[8] < lowered
            send("satisfaction_rated", minutes, score=score * MICRO)

    def play(self):
        """Play until the treatment is turned back or the experiment is over."""
        reopen = {20, 30 + self.job.seed % 40}
        checks = 0
        for number in range(self.job.days * 24 + 12 + EVERY):
            reports = self.hour(number)
            checks += len(reports)
            back = [t for r in reports for t in r.transitions if t.after == "rolled_back"]
            if back:
                return self._told(back[0], checks)
            if number in reopen:
                self.reopened()
        return self._told(None, checks)

    def _told(self, back, checks):
        view = self.services.engine.experiment(KEY)
        return {
            "seed": self.job.seed,
            "rolled_back": back is not None,
            "kpi": rollback_kpi(back) if back is not None else None,
            "hours": (back.at - START) / HOUR if back is not None else None,
            "state": view.state,
            "checks": checks,
            "looks": max(w.look for g in view.guardrails for w in g.windows),
            "units": self.units,
        }


def quietly():
    """Let the channel ``log`` of so many services say nothing, and what was imported be."""
    logging.getLogger("turnback").setLevel(logging.CRITICAL)
    gc.freeze()
    gc.set_threshold(50_000, 10, 50)


def played(job):
    """Return how one run ended."""
    memory = Path("/dev/shm")  # noqa: S108 - thousands of commits need no disk
    where = memory if memory.is_dir() else None
    with TemporaryDirectory(prefix="turnback-", dir=where) as folder:
        run = Run(job, Path(folder))
        try:
            return run.play()
        finally:
            run.services.close()
