"""A decision is computed again from the log: equal, or exactly what differs, or what is gone."""

import shutil
from dataclasses import replace
from datetime import timedelta

import duckdb
import pytest

from experiments.errors import InvalidRequestError
from guardrails import conclude, judge_regression, replaying
from guardrails.evidence import PROCEDURE
from guardrails.evidence_rows import NotReplayableError, UnknownDecisionError, reference
from guardrails.outcome import Code, Finding, Outcome, WindowState
from guardrails.replay import gone_since, same_schedule
from metrics.upkeep import Erasure, ErasureKind
from tests.engine_world import HOUR, T
from tests.evidence_world import KEY, EventWorld


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A run with a rollback, a resumption and a query that turns bad, as it lies on the disk."""
    folder = tmp_path_factory.mktemp("run")
    w = EventWorld(folder, treatment=3)
    w.hours(8)
    assert len(w.transitions("rolled_back")) == 1
    w.engine.resume(KEY, "treatment", reason="mended", actor="ann")
    w.failing["treatment"] = 10
    w.prometheus.value = 0.9
    w.hours(6)
    w.close()
    return folder, w


@pytest.fixture
def world(told, tmp_path):
    """The same run, opened again after a restart; each test has files of its own."""
    folder, past = told
    for path in folder.iterdir():
        copy = shutil.copytree if path.is_dir() else shutil.copy
        copy(path, tmp_path / path.name)
    w = EventWorld.__new__(EventWorld)
    w.__dict__ |= past.__dict__
    w.url, w.path = f"sqlite:///{tmp_path / 'control.db'}", tmp_path / "metrics.duckdb"
    w.open()
    yield w
    w.close()


def rollback_of(w):
    (back,) = w.transitions("rolled_back")
    return f"t{back.id}"


def differing(replayed):
    return [d.where for d in replayed.differences]


def test_every_decision_of_a_run_is_equal_after_a_restart(world):
    kept = world.kept()
    assert len(kept) > 6
    for decision in kept:
        replayed = world.engine.replay(decision)
        assert (replayed.verdict, replayed.differences) == ("equal", ())
        assert replayed.recomputed == replayed.decision
        assert replayed.exact
        assert replayed.cells == 3
        assert replayed.findings in {0, 5} or decision == kept[-1]


def test_a_transition_leads_to_the_check_that_decided_it(world):
    replayed = world.engine.replay(rollback_of(world))
    assert replayed.decision == "turn back treatment: flow_failure_rate is breached"
    assert replayed.check == f"c{world.transitions('rolled_back')[0].evaluation}"
    assert replayed.experiment == KEY
    assert replayed.revision == 1
    (number,) = {
        g.decision for g in world.engine.experiment(KEY).guardrails if g.guardrail == "errors"
    }
    found = world.engine.replay(number)
    assert found.verdict == "equal"
    assert any("Prometheus" in note for note in found.notes)


def test_every_look_is_computed_again_from_the_first(world):
    last = world.engine.replay(world.kept()[-1], from_start=True)
    assert (last.verdict, last.differences) == ("equal", ())
    assert last.looks > 4
    assert world.engine.replay(world.kept()[-1]).looks is None


def test_another_engine_version_is_named_and_may_differ_by_a_rounding(world, monkeypatch):
    real = conclude.judge_all

    def rounded(*args, **kwargs):
        return tuple(
            replace(
                f,
                evidence=f.evidence * (1 + 1e-12),
                windows=tuple(replace(w, z=w.z + 1e-12) for w in f.windows),
            )
            for f in real(*args, **kwargs)
        )

    monkeypatch.setattr(conclude, "judge_all", rounded)
    same = world.engine.replay(rollback_of(world))
    assert same.verdict == "different"
    assert any(where.endswith(": z") for where in differing(same))
    world.restart(version="9.9")
    other = world.engine.replay(rollback_of(world))
    assert (other.verdict, other.exact, other.replayed_with) == ("equal", False, "9.9")
    assert other.engine == same.engine != "9.9"


@pytest.mark.parametrize("from_start", [False, True])
def test_another_procedure_is_named_and_its_numbers_are_not_compared(
    world, monkeypatch, from_start
):
    monkeypatch.setattr(replaying, "PROCEDURE", 99)
    monkeypatch.setattr(judge_regression, "LOOK_GROWTH", 2.0)  # numbers do differ
    other = world.engine.replay(rollback_of(world), from_start=from_start)
    assert other.verdict == "different"
    assert {(d.where.split(": ")[-1], d.kept, d.found) for d in other.differences} == {
        ("procedure of deciding", str(PROCEDURE), "99")
    }
    assert other.cells
    assert (other.findings, other.looks or 0) == (0, 0)
    assert other.recomputed
    assert "its counts are compared, its evidence and boundaries are not" in other.notes[0]


def test_another_engine_version_that_decides_otherwise_is_different(world, monkeypatch):
    nothing = Finding("flow_failure_rate", "flow_failure_rate", "treatment", Outcome.PASS,
                      Code.PROVEN_SAFE)  # fmt: skip
    monkeypatch.setattr(conclude, "judge_all", lambda *_a, **_k: (nothing,))
    world.restart(version="9.9")
    other = world.engine.replay(rollback_of(world))
    assert other.verdict == "different"
    assert "flow_failure_rate of treatment: outcome" in differing(other)
    assert "decision: rollbacks" in differing(other)
    assert "satisfaction of treatment" in differing(other)


@pytest.mark.parametrize(
    ("statement", "where"),
    [
        pytest.param(
            "UPDATE evidence SET body = replace(body, '\"suspended\":false', '\"suspended\":true') "
            "WHERE evaluation = {check}",
            "hash of what c{check} kept",
            id="the account",
        ),
        pytest.param(
            "UPDATE finding SET body = replace(body, '\"look\": ', '\"look\": 1') "
            "WHERE evaluation = {check} AND guardrail = 'flow_failure_rate'",
            "finding of flow_failure_rate of treatment",
            id="a finding",
        ),
        pytest.param(
            "UPDATE finding SET outcome = 'pass' "
            "WHERE evaluation = {check} AND guardrail = 'flow_failure_rate'",
            "finding of flow_failure_rate of treatment: outcome",
            id="its outcome",
        ),
        pytest.param(
            "UPDATE transition SET reason = reason || '.' WHERE evaluation = {check}",
            "transition t{transition}: reason",
            id="a reason",
        ),
        pytest.param(
            "UPDATE evaluation SET watermark = watermark + 1 WHERE id = {check}",
            "watermark of c{check}",
            id="the watermark",
        ),
        pytest.param("DELETE FROM finding WHERE evaluation = {check}",
                     "finding of flow_failure_rate of treatment", id="no finding"),
        pytest.param(
            "UPDATE revision SET text = replace(text, 'A test', 'A Test')", "the file", id="a file"
        ),
    ],
)  # fmt: skip
def test_a_changed_byte_is_noticed(world, statement, where):
    (back,) = world.transitions("rolled_back")
    names = {"check": back.evaluation, "transition": back.id}
    assert world.change(statement.format(**names)) >= 1
    replayed = world.engine.replay(f"t{back.id}")
    assert replayed.verdict == "different"
    assert where.format(**names) in differing(replayed)


def test_a_changed_schedule_of_looks_is_noticed(world):
    changed = "UPDATE kept SET body = replace(body, '\"looks\":1', '\"looks\":7')"
    assert world.change(changed) >= 1
    verdicts = {world.engine.replay(each).verdict for each in world.kept()}
    assert "different" in verdicts


def test_an_account_that_cannot_be_read_is_said_to_be_so(world):
    check = world.transitions("rolled_back")[0].evaluation
    world.change("UPDATE evidence SET body = 'nothing' WHERE evaluation = ?", check)
    with pytest.raises(NotReplayableError, match="no account any more"):
        world.engine.replay(f"c{check}")
    world.change("UPDATE evidence SET body = '{\"check\": 1}' WHERE evaluation = ?", check)
    with pytest.raises(NotReplayableError, match="text was changed"):
        world.engine.replay(f"c{check}")


def test_a_changed_event_is_noticed_and_every_count_that_differs_is_named(world):
    back = rollback_of(world)
    world.store.close()
    with duckdb.connect(str(world.path)) as file:
        file.execute("DELETE FROM events WHERE id = 'f-o6'")
    world.engine.close()
    world.open()
    replayed = world.engine.replay(back)
    assert replayed.verdict == "different"
    assert replayed.gone == ()
    counts = {d.where: (d.kept, d.found) for d in replayed.differences}
    (failed,) = [v for k, v in counts.items() if "flow_failure_rate" in k and k.endswith(": y")]
    assert int(failed[0]) - int(failed[1]) == 1_000_000


def test_after_a_unit_was_forgotten_it_says_what_is_gone(world):
    erased = world.store.forget("o6", now=world.clock.now())
    assert erased.events == 3
    replayed = world.engine.replay(rollback_of(world))
    assert replayed.verdict == "gone"
    (gone,) = replayed.gone
    assert "3 events of a unit that was forgotten on 2026-03-01" in gone
    assert "o6" not in gone
    # what was kept of a decision that acted is enough to decide again
    assert replayed.recomputed == replayed.decision
    assert any("counts that were kept with it" in note for note in replayed.notes)
    later = world.engine.replay(world.kept()[-1])
    assert later.verdict == "gone"
    assert any("as a hash" in where for where in differing(later))


def test_a_forgotten_unit_that_no_decision_counted_changes_nothing(world):
    back = rollback_of(world)
    world.store.forget(f"o{world.units}", now=world.clock.now())
    assert world.engine.replay(back).verdict == "equal"


def test_after_a_retention_it_says_what_is_gone(world):
    now = world.clock.now()
    world.store.retain(now - HOUR, running=world.engine.frames(), now=now)
    replayed = world.engine.replay(rollback_of(world))
    assert replayed.verdict == "gone"
    (gone,) = replayed.gone
    assert "by the retention of" in gone
    assert "numbers 1 to" in gone
    assert replayed.recomputed == replayed.decision
    assert replayed.differences == ()
    first = world.engine.replay(world.kept()[0])
    assert (first.verdict, first.recomputed) == ("gone", None)
    assert any("only their hash" in note for note in first.notes)
    # the newest check counted up to where the totals were carried over
    last = world.engine.replay(world.kept()[-1])
    assert last.verdict == "equal"
    assert any("carried over" in note for note in last.notes)
    assert world.engine.replay(world.kept()[-1], from_start=True).verdict == "gone"


def test_what_no_check_decided_is_said_to_be_so(world):
    (resumed,) = [t for t in world.engine.transitions(KEY) if t.after == "live"]
    with pytest.raises(NotReplayableError, match="ann did it") as refused:
        world.engine.replay(f"t{resumed.id}")
    assert "mended" in refused.value.hint


def test_what_an_earlier_version_decided_says_that_too_little_was_kept(world):
    world.change("DELETE FROM evidence")
    with pytest.raises(NotReplayableError, match="was not kept"):
        world.engine.replay(rollback_of(world))


@pytest.mark.parametrize("given", ["", "12", "x4", "t", "t-1", "c1.0", "t٣"])
def test_an_id_that_is_none_is_refused_with_where_to_find_one(given):
    with pytest.raises(InvalidRequestError, match="is no id of a decision") as refused:
        reference(given)
    assert "turnback status" in refused.value.hint


@pytest.mark.parametrize("given", ["t999", "f999", "c999"])
def test_an_id_that_nothing_has_is_refused(world, given):
    with pytest.raises(UnknownDecisionError, match=given):
        world.engine.replay(given.upper())


def test_a_check_that_could_not_read_the_store_is_equal_to_itself(tmp_path, monkeypatch):
    w = EventWorld(tmp_path)
    with monkeypatch.context() as broken:
        broken.setattr(w.store, "snapshot", lambda *_a, **_k: 1 / 0)
        w.hours(1)
    (first,) = w.kept()
    replayed = w.engine.replay(first)
    assert (replayed.verdict, replayed.cells) == ("equal", 0)
    assert any("could not be read then" in note for note in replayed.notes)
    w.close()


def test_only_what_a_check_had_counted_and_what_left_after_it_is_gone():
    late = Erasure(T + HOUR, ErasureKind.FORGOTTEN, None, 2, 5, 9)
    assert gone_since([late], at=T, watermark=5) != ()
    assert gone_since([late], at=T, watermark=4) == ()
    assert gone_since([late], at=T + 2 * HOUR, watermark=9) == ()
    one = Erasure(T + HOUR, ErasureKind.RETENTION, T - timedelta(days=1), 1, 1, 1)
    (words,) = gone_since([one], at=T, watermark=5)
    assert words == (
        "1 event from before 2026-02-28 00:00 UTC, by the retention of 2026-03-01 01:00 UTC "
        "(numbers 1 to 1)"
    )


def test_schedules_are_close_or_bit_for_bit_the_same():
    one = WindowState(2, 10.0, 1e-3, 3.0, (0.1,), (0.5,))
    near = replace(one, boundary=3.0 + 1e-12, crossed=True)
    assert same_schedule(one, near, exact=False)
    assert not same_schedule(one, near, exact=True)
    assert not same_schedule(one, replace(one, looks=3), exact=False)
    assert not same_schedule(one, replace(one, boundary=3.001), exact=False)


def test_rules_without_windows_are_replayed_from_the_start_too(tmp_path):
    from tests.evidence_world import SPEC

    watches = "  - {rule: sample_ratio}\n  - {rule: freshness, max_age: 6h}\n"
    w = EventWorld(tmp_path, SPEC.replace("ends:", f"{watches}ends:"))
    w.hours(4)
    replayed = w.engine.replay(w.kept()[-1], from_start=True)
    assert (replayed.verdict, differing(replayed)) == ("equal", [])
    w.change("UPDATE kept SET body = replace(body, 'information', 'Information')")
    changed = w.engine.replay(w.kept()[-1])
    assert changed.verdict == "different"
    w.close()
