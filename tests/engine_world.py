"""An engine with the real control plane and a store whose numbers are planted."""

from datetime import UTC, datetime, timedelta

from experiments.database import ControlPlane
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.settings import EngineSettings
from metrics.cells import MICRO, Cell, Reach, Snapshot, Sums
from metrics.store import StoreError

T = datetime(2026, 3, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
SPEC = """\
experiment: cancel-page
title: A test
unit: order_id
variants:
  control: {weight: 50%, flow: {steps: [confirm]}}
  treatment: {weight: 50%, flow: {steps: [why, confirm]}}
guardrails:
  - {kpi: flow_failure_rate, max_rise: 10%}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
expect_units: 50000
"""
THREE = SPEC.replace(
    "  treatment: {weight: 50%, flow: {steps: [why, confirm]}}\n",
    "  treatment: {weight: 25%, flow: {steps: [why, confirm]}}\n"
    "  other: {weight: 25%, flow: {steps: [coupon, confirm]}}\n",
)


class PlantedStore:
    """A store that knows one proportion: 100 units an hour and arm, failing at planted rates."""

    def __init__(self, **rates):
        self.rates = rates
        self.broken = False
        self.quiet_since = None
        self.conflicted = 0
        self.exposures = []
        self.met = {}  # units that were exposed, with their variant

    def stored_as(self, unit):
        return unit

    def exposed_units(self, experiment, seed):
        return self.met

    def erasures(self):
        return ()

    def failing(self, variant):
        return self.rates.get(variant, 0.1)

    def snapshot(self, frame, *, now, as_of=None):
        if self.broken:
            raise StoreError("the disk is gone")
        cells = {}
        for kpi, windows in frame.kpis:
            for window in windows:
                cells[kpi.key, window] = tuple(
                    self._cell(frame, variant, hours, now - window - frame.lag)
                    for variant in frame.variants
                    for hours in (12,)
                )
        reach = {v: self._reach(now, frame.origin) for v in frame.variants}
        if len(frame.variants) > len(("control", "treatment")):  # it has half of the traffic
            reach["control"] = self._reach(now, frame.origin, times=2)
        watermark = int((now - frame.origin) / HOUR * 100)
        return Snapshot(now, watermark, cells, reach, self.conflicted)

    def _cell(self, frame, variant, _hours, until):
        first = max((p for p in frame.phases), default=frame.origin)
        entered = max(0, int((until - first) / HOUR * 100))
        failed = round(entered * self.failing(variant))
        sums = Sums(
            entered,
            failed * MICRO,
            entered * MICRO,
            failed * MICRO**2,
            failed * MICRO**2,
            entered * MICRO**2,
            failed * 10**9,
            failed * 10**9,
            failed * 10**9,
            entered * 10**9,
        )
        return Cell(variant, len(frame.phases), 0, entered, sums)

    def _reach(self, now, origin, *, times=1):
        quiet = self.quiet_since
        since = 0 if quiet is None else int((now - quiet) / HOUR * 100)
        exposed = times * max(0, int((now - origin) / HOUR * 100))
        return Reach(exposed, 3 * exposed, now, quiet or now, since)

    def exposure_counts(self, experiment, seed, *, since, until):
        counts = {}
        for at, variant in self.exposures:
            if since <= at < until:
                counts[variant] = counts.get(variant, 0) + 1
        return counts


class Recording:
    def __init__(self):
        self.told = []

    def send(self, message):
        self.told.append(message)


class World:
    def __init__(self, spec=SPEC, url="sqlite://", settings=None, **rates):
        self.clock = SteppedClock(T)
        self.settings = settings or {}
        self.store = PlantedStore(**rates)
        self.channel = Recording()
        self.url = url
        self.control = ControlPlane(url)
        self.engine = self.new_engine()
        self.apply(spec)

    def new_engine(self, **settings):
        return Engine(
            control=ControlPlane(self.url) if self.url != "sqlite://" else self.control,
            store=self.store,
            clock=self.clock,
            settings=EngineSettings(
                **{"channels": {"log": self.channel}, "show_core": False} | self.settings | settings
            ),
        )

    def apply(self, text, **options):
        return self.engine.apply(text, source="test.yaml", actor="tester", **options)

    def hours(self, count):
        reports = []
        for _ in range(count):
            self.clock.move_to(self.clock.now() + HOUR)
            reports += self.engine.run_due()
        return reports

    def view(self):
        return self.engine.experiment("cancel-page")

    def judged(self):
        """Return the guardrails of the file: without what is watched unasked."""
        return tuple(g for g in self.view().guardrails if g.guardrail != "sample_ratio")

    def state_of(self, variant):
        return next(v.state for v in self.view().variants if v.name == variant)

    def served(self, unit):
        return self.engine.serving().experiments["cancel-page"].assign({"targetingKey": unit})

    def rollbacks(self):
        return [t for t in self.engine.transitions("cancel-page") if t.after == "rolled_back"]
