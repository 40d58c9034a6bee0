"""Every decision of a scenario can be recomputed, and a changed byte is noticed."""

import shutil
from pathlib import Path

import duckdb
import pytest
from sqlmodel import Session, select

from experiments.database import ControlPlane
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.evidence_rows import NotReplayableError
from guardrails.files import CONTROL, STORE
from guardrails.models import EvaluationRow, EvidenceRow, FindingRow, KeptRow
from guardrails.scenarios import load_scenario_file, play
from guardrails.settings import EngineSettings
from metrics.stores import open_store

FOLDER = Path(__file__).parent


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    """The files that a scenario with a rollback left behind."""
    folder = tmp_path_factory.mktemp("kept")
    scenario = load_scenario_file(FOLDER / "what-the-alert-says.yaml")
    result = play(scenario, folder=folder)
    assert result.passed
    return folder, scenario, result


def test_every_decision_follows_from_its_evidence_bit_for_bit(kept, tmp_path):
    _, scenario, result = kept
    with opened(kept, tmp_path) as (engine, _):
        ((newest, count),) = engine.newest_decisions()
        replayed = engine.replay(newest, from_start=True)
        back = next(t for t in engine.transitions(scenario.key) if t.after == "rolled_back")
        once = engine.replay(f"t{back.id}")
    assert count == result.replayed
    assert (replayed.verdict, replayed.exact, replayed.differences) == ("equal", True, ())
    assert (once.verdict, once.exact) == ("equal", True)


def changed_byte(text):
    """Return a text with one character changed, a digit or a letter near its end."""
    at = next(i for i in range(len(text) - 1, -1, -1) if text[i] in "0123456789abcd")
    return text[:at] + ("1" if text[at] != "1" else "2") + text[at + 1 :]


@pytest.mark.parametrize(
    "model", [EvidenceRow, KeptRow, FindingRow, EvaluationRow], ids=lambda m: m.__tablename__
)
def test_a_changed_byte_of_the_evidence_is_noticed(kept, tmp_path, model):
    with opened(kept, tmp_path) as (engine, control):
        ((newest, _),) = engine.newest_decisions()
        with Session(control.engine) as session:
            rows = session.exec(select(model)).all()
            row = rows[-1] if model is not EvaluationRow else session.get(model, int(newest[1:]))
            if model is EvaluationRow:
                row.decision = changed_byte(row.decision)
            elif model is FindingRow:
                row.body = {**row.body, "evidence": row.body["evidence"] + 2**-40}
            else:
                row.body = changed_byte(row.body)
            session.add(row)
            session.commit()
        try:
            verdict = engine.replay(newest, from_start=True).verdict
        except NotReplayableError:
            verdict = "different"  # it is no text that could be read any more
    assert verdict == "different"


def test_a_changed_event_of_the_log_is_noticed(kept, tmp_path):
    folder, _, _ = kept
    copy(folder, tmp_path)
    with duckdb.connect(str(tmp_path / STORE)) as log:
        log.execute("DELETE FROM events WHERE name = 'satisfaction_rated' AND seq % 7 = 0")
    with opened(kept, tmp_path, fresh=False) as (engine, _):
        ((newest, _),) = engine.newest_decisions()
        assert engine.replay(newest, from_start=True).verdict == "different"


def copy(folder, to):
    for path in folder.iterdir():
        (shutil.copytree if path.is_dir() else shutil.copy)(path, to / path.name)


class opened:  # noqa: N801 - reads as a verb
    """An engine on a copy of the files."""

    def __init__(self, kept, to, *, fresh=True):
        self.folder, self.scenario, _ = kept
        self.to = to
        if fresh:
            copy(self.folder, to)

    def __enter__(self):
        self.store = open_store(self.to / STORE)
        self.control = ControlPlane(f"sqlite:///{self.to / CONTROL}")
        clock = SteppedClock(self.scenario.starts + self.scenario.lasts)
        engine = Engine(
            control=self.control,
            store=self.store,
            clock=clock,
            settings=EngineSettings(show_core=False),
        )
        return engine, self.control

    def __exit__(self, *_):
        self.control.close()
        self.store.close()
