"""Small things several tests share: real data, short ways to build events and frames."""

import os
import signal
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from metrics.catalogue import KpiDefinition, load_catalogue
from metrics.cells import MICRO, Sums
from metrics.events import Event
from metrics.store import Appended, Frame, MetricStore
from metrics.stores import STORES
from metrics.stores.passing import PassingMetricStore

START = datetime(2026, 3, 2, tzinfo=UTC)
DAY = timedelta(days=1)
LATE = START + timedelta(days=60)
"""After every window of units exposed on the first days has closed."""
ENGINES = {**STORES, "passing": lambda _: PassingMetricStore()}
"""Everything that must answer as a metric store does, with a path to be opened from."""


def data_dir() -> Path:
    """Return the folder with the real data sets, or skip with the reason."""
    default = Path(__file__).resolve().parents[2] / "shared" / "data"
    folder = Path(os.environ.get("TURNBACK_REAL_DATA", default))
    if not folder.is_dir():
        pytest.skip(f"real data not found in {folder}; set TURNBACK_REAL_DATA to their folder")
    return folder


def golden_dir() -> Path:
    """Return the folder with other people's reference numbers, or skip with the reason."""
    default = Path(__file__).resolve().parents[2] / "shared" / "golden"
    folder = Path(os.environ.get("TURNBACK_GOLDEN", default))
    if not folder.is_dir():
        pytest.skip(f"reference numbers not found in {folder}; set TURNBACK_GOLDEN to their folder")
    return folder


def at(hours: float) -> datetime:
    """Return the instant this many hours after START."""
    return START + timedelta(hours=hours)


def event(event_id, name, when, unit="o1", /, *, trusted=True, **fields) -> Event:
    """Return an event of one order; numbers (not booleans) are given as people write them."""
    exact = {
        key: round(value * 1_000_000)
        if isinstance(value, int | float) and not isinstance(value, bool)
        else value
        for key, value in fields.items()
    }
    return Event(event_id, name, at(when), {"order_id": unit}, exact, trusted)


def exposed(hours, unit="o1", variant="control", *, experiment="x", seed=1, tag="") -> Event:
    """Return an exposure of one order."""
    fields = {"experiment": experiment, "seed": seed, "variant": variant}
    return Event(
        f"e-{unit}-{variant}-{hours}-{seed}{tag}", "exposure", at(hours), {"order_id": unit}, fields
    )


def frame_of(
    *kpis: str | KpiDefinition,
    windows: Sequence[timedelta] | None = None,
    until: datetime | None = None,
    phases: Iterable[datetime] = (),
    unit: str = "order_id",
) -> Frame:
    """Return a frame of experiment x with two arms and cohorts of 12 hours from START."""
    catalogue = load_catalogue()
    chosen = [catalogue.get(kpi) if isinstance(kpi, str) else kpi for kpi in kpis]
    return Frame(
        experiment="x",
        seed=1,
        unit=unit,
        variants=("control", "treatment"),
        origin=START,
        cohort=timedelta(hours=12),
        until=until,
        phases=tuple(phases),
        kpis=tuple(
            (kpi, tuple(windows or [window.length for window in kpi.windows])) for kpi in chosen
        ),
    )


def put(store: MetricStore, *events: Event) -> Appended:
    """Append events to a store."""
    return store.append(list(events), received_at=LATE)


def value_of(store, kpi, window=None, *, now=LATE, variant="control", frame=None):
    """Return (entered, n, y, x) of one arm, the numbers as people read them."""
    frame = frame or frame_of(kpi)
    definition, windows = frame.kpis[0]
    cells = store.snapshot(frame, now=now).cells[definition.key, window or windows[0]]
    mine = [cell for cell in cells if cell.variant == variant]
    total = sum((cell.sums for cell in mine), Sums())
    return sum(cell.entered for cell in mine), total.n, total.y / MICRO, total.x / MICRO


def heeds_interrupts():
    """Undo what a shell does to jobs in the background: it makes them ignore SIGINT."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)
