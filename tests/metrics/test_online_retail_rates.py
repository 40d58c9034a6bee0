"""Real orders through the real store: the published rates, to the printed digits."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from console.commands.backtesting import load_events
from experiments.assignment import Serving, compile_experiment
from guardrails.spec_file import load_spec_file
from metrics.catalogue import load_catalogue
from metrics.events import exposure
from metrics.importers.files import write_events
from metrics.importers.online_retail import read
from metrics.store import Frame
from metrics.stores import open_store
from tests.support import data_dir

EXAMPLE = Path(__file__).parents[2] / "examples" / "online-retail.yaml"
FIRST = datetime(2010, 12, 1, tzinfo=UTC)
LAST_ORDER = datetime(2011, 12, 9, 12, 50, tzinfo=UTC)
DAY = timedelta(days=1)
WINDOWS = {
    "cancellation_rate": (7 * DAY, 30 * DAY, 374 * DAY),
    "repurchase_rate": (30 * DAY,),
}


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    path = tmp_path_factory.mktemp("online-retail") / "events.parquet"
    write_events(read(data_dir() / "online_retail").events, path)
    recorded, rejected = load_events(path)
    assert rejected == ()
    spec = load_spec_file(EXAMPLE).experiment
    assign = compile_experiment(spec, Serving("running", 1.0, frozenset())).assign
    opened = open_store(path.with_name("metrics.duckdb"))
    opened.append([dealt(event, spec.key, assign) for event in recorded], received_at=LAST_ORDER)
    yield opened
    opened.close()


def dealt(event, key, assign):
    """Return an exposure with the variant that the hash gives, any other event as it is."""
    if event.name != "exposure":
        return event
    unit = event.units["order_id"]
    variant = assign({"targetingKey": unit}).variant
    return exposure(key, 1, "order_id", unit, variant, event.happened_at)


def pooled(store, kpi, window, now):
    """Return (units, share) of both arms together."""
    catalogue = load_catalogue()
    spec = load_spec_file(EXAMPLE).experiment
    frame = Frame(
        experiment=spec.key,
        seed=1,
        unit="order_id",
        variants=tuple(v.name for v in spec.variants),
        origin=FIRST,
        cohort=14 * DAY,
        until=None,
        phases=(),
        kpis=tuple((catalogue.get(key), windows) for key, windows in WINDOWS.items()),
        lag=timedelta(0),
    )
    cells = store.snapshot(frame, now=now).cells[kpi, window]
    y, x = sum(c.sums.y for c in cells), sum(c.sums.x for c in cells)
    return sum(c.entered for c in cells), y / x


@pytest.mark.parametrize(
    ("kpi", "days", "now", "published"),
    [
        ("cancellation_rate", 7, LAST_ORDER + 400 * DAY, (18_536, "7.47%")),
        ("cancellation_rate", 30, LAST_ORDER + 400 * DAY, (18_536, "14.15%")),
        ("cancellation_rate", 374, LAST_ORDER + 400 * DAY, (18_536, "17.44%")),
        ("repurchase_rate", 30, LAST_ORDER, (15_797, "45.83%")),
    ],
)
def test_the_store_gives_the_published_rates(store, kpi, days, now, published):
    found, rate = pooled(store, kpi, days * DAY, now)
    assert (found, f"{rate:.2%}") == published
