"""An engine on both real stores: units come, fail and rate, and every decision is kept."""

from datetime import timedelta

from experiments.database import ControlPlane
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.settings import EngineSettings
from metrics.events import Event
from metrics.stores import open_store
from tests.engine_world import HOUR, Recording, T

KEY = "cancel-page"
SPEC = """\
experiment: cancel-page
title: A test
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 50%}
guardrails:
  - {kpi: flow_failure_rate, max_rise: 10%, windows: {1h: 100%}}
  - {kpi: satisfaction, max_drop: 10%, windows: {1h: 50%, 2h: 50%}, action: alert}
  - {rule: limit, kpi: flow_failure_rate, max: 60%, windows: {1h: 100%}, id: failing}
  - {rule: promql, query: errors, max: 0.8, hold: 2h, action: alert}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
expect_units: 5000
"""
QUERIES = {"errors": 'errors{variant="$variant"}'}


class Answering:
    """A Prometheus that answers one value."""

    value = 0.5

    def values(self, query, *, start, stop, step):
        count = int((stop - start) / step) + 1
        return (tuple((start + k * step, self.value) for k in range(count)),)


class EventWorld:
    """Units come hour by hour, 60 of each arm; every ``failing[variant]``-th fails."""

    def __init__(self, folder, spec=SPEC, **failing):
        self.url = f"sqlite:///{folder / 'control.db'}"
        self.path = folder / "metrics.duckdb"
        self.failing = {"control": 10, "treatment": 10} | failing
        self.clock = SteppedClock(T)
        self.prometheus = Answering()
        self.units = 0
        self.open()
        self.engine.apply(spec, source="test.yaml", actor="tester")

    def open(self, **settings):
        """Open both files, as a start of the service does."""
        self.store = open_store(self.path)
        self.control = ControlPlane(self.url)
        self.engine = Engine(
            control=self.control,
            store=self.store,
            clock=self.clock,
            settings=EngineSettings(
                **{
                    "channels": {"log": Recording()},
                    "show_core": False,
                    "queries": QUERIES,
                    "prometheus": self.prometheus,
                }
                | settings
            ),
        )

    def close(self):
        self.engine.close()
        self.store.close()

    def restart(self, **settings):
        self.close()
        self.open(**settings)

    def hours(self, count):
        """Let hours pass: units come and a check runs at the end of each."""
        for _ in range(count):
            self.store.append(list(self.coming()), received_at=self.clock.now())
            self.clock.move_to(self.clock.now() + HOUR)
            self.engine.run_due()

    def coming(self):
        for _ in range(60):
            for variant, every in self.failing.items():
                self.units += 1
                name, at = f"o{self.units}", self.clock.now() + timedelta(minutes=1)
                unit = {"order_id": name}
                fields = {"experiment": KEY, "seed": 1, "variant": variant}
                yield Event(f"e-{name}", "exposure", at, unit, fields)
                later = at + timedelta(minutes=5)
                if (self.units // 2) % every == 0:
                    yield Event(f"f-{name}", "flow_failed", later, unit, {"code": "x"})
                score = 1_000_000 * (1 + self.units // 2 % 5)
                yield Event(f"s-{name}", "satisfaction_rated", later, unit, {"score": score})

    def transitions(self, after):
        return [t for t in self.engine.transitions(KEY) if t.after == after]

    def kept(self):
        """Return the ids of every check whose evidence is kept."""
        with self.control.engine.connect() as connection:
            rows = connection.exec_driver_sql("SELECT evaluation FROM evidence ORDER BY 1")
            return [f"c{number}" for (number,) in rows]

    def change(self, statement, *values):
        """Change the control plane behind the engine's back; returns how many rows."""
        with self.control.engine.begin() as connection:
            return connection.exec_driver_sql(statement, values).rowcount
