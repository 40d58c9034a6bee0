"""Files as earlier versions wrote them: experiments are served on, evidence stays readable."""

import sqlite3
from contextlib import closing, contextmanager
from datetime import timedelta
from pathlib import Path

import duckdb
import pytest

import service
from experiments.migrations import NEWEST
from metrics.events import Event

PREVIOUS = Path(__file__).parent / "previous"
VERSIONS = sorted(path.name for path in PREVIOUS.iterdir())
KEY = "cancel-page"
UNITS = 12


def written_by(version, folder):
    """Make the two files of a folder again from what that version wrote."""
    folder.mkdir(exist_ok=True)
    with closing(sqlite3.connect(folder / "control.db")) as control:
        control.executescript((PREVIOUS / version / "control.sql").read_text(encoding="utf-8"))
    with duckdb.connect(str(folder / "metrics.duckdb")) as metrics:
        metrics.execute((PREVIOUS / version / "metrics.sql").read_text(encoding="utf-8"))
    return folder


@contextmanager
def opened(folder):
    settings = service.Settings(data=folder, demo=True)
    services = service.build(settings)
    try:
        services.clock.move_to(service.DEMO_START + timedelta(hours=3))
        yield services
    finally:
        services.close()


@pytest.fixture(params=VERSIONS)
def folder(request, tmp_path):
    return written_by(request.param, tmp_path / "data")


def assignments(services):
    compiled = services.engine.serving().experiments[KEY]
    return {n: compiled.assign({"targetingKey": f"order-{n}"}) for n in range(UNITS)}


def test_experiments_are_served_on(folder):
    with opened(folder) as services:
        view = services.engine.experiment(KEY)
        assert {v.name: v.state for v in view.variants} == {
            "control": "control",
            "treatment": "rolled_back",
        }
        given = assignments(services)
        exposed = services.store.exposed_units(KEY, 1)
        assert {n: exposed[f"order-{n}"] for n in range(UNITS)} == {
            n: decision.assigned for n, decision in given.items()
        }
        # a treatment that was turned back stays so: every unit gets control
        assert {decision.variant for decision in given.values()} == {"control"}


def test_evidence_and_the_story_are_readable(folder):
    with opened(folder) as services:
        told = services.engine.transitions(KEY)
        assert [(t.variant, t.after, t.actor) for t in told] == [
            (None, "running", "ann"),
            ("treatment", "rolled_back", "ann"),
        ]
        words = "\n".join(services.engine.explain(KEY).paragraphs)
        assert "complaints" in words
        view = services.engine.experiment(KEY)
        guardrail, _split = view.guardrails
        assert guardrail.outcome == "inconclusive"
        assert [r.number for r in services.engine.revisions(KEY)] == [1]


def test_checks_and_events_go_on(folder):
    with opened(folder) as services:
        before = services.engine.experiment(KEY)
        (done,) = services.engine.run_due()
        assert done.result == "ok"
        after = services.engine.experiment(KEY)
        assert after.watermark == before.watermark == 2 * UNITS
        at = services.clock.now()
        event = Event("later", "satisfaction_rated", at, {"order_id": "order-1"}, {"score": 1})
        assert services.store.append([event], received_at=at).watermark == 2 * UNITS + 1
        again = Event(
            "r0",
            "satisfaction_rated",
            service.DEMO_START + timedelta(minutes=5),
            {"order_id": "order-0"},
            {"score": 4_500_000},
        )
        assert services.store.append([again], received_at=at).duplicates == 1
        assert (
            services.engine.resume(KEY, "treatment", reason="mended", actor="ann").after == "live"
        )


def test_opened_once_it_has_the_newest_schema_and_opens_again(folder):
    with opened(folder):
        pass
    with closing(sqlite3.connect(folder / "control.db")) as control:
        assert control.execute("SELECT version_num FROM alembic_version").fetchall() == [(NEWEST,)]
    with opened(folder) as services:
        assert services.engine.experiment(KEY).key == KEY
