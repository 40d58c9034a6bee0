"""The engine as a whole, with the real control plane and a store whose numbers are planted."""

import contextlib
from datetime import timedelta
from threading import Barrier, Thread

import pytest

import guardrails.engine
import guardrails.look
from experiments.errors import (
    ConflictError,
    IllegalTransitionError,
    InvalidRequestError,
    ReshuffleError,
    SpecError,
    UnknownExperimentError,
    UnknownVariantError,
)
from experiments.lifecycle import Move
from experiments.repository import ChangedMeanwhileError
from guardrails import turning_back
from guardrails.outcome import Code, Outcome
from tests.engine_world import HOUR, SPEC, THREE, T, World


@pytest.fixture
def world():
    worlds = []

    def build(*args, **kwargs):
        worlds.append(World(*args, **kwargs))
        return worlds[-1]

    yield build
    for made in worlds:
        made.control.close()


def units_of(world, variant, count=20):
    found = (f"order-{n}" for n in range(10_000) if world.served(f"order-{n}").variant == variant)
    return [next(found) for _ in range(count)]


def test_a_harmful_treatment_is_turned_back_and_its_units_get_control(world):
    w = world(treatment=0.2)
    victims = units_of(w, "treatment")
    before = w.engine.serving().version
    w.hours(48)
    assert w.state_of("treatment") == "rolled_back"
    answers = [w.served(unit) for unit in victims]
    assert {(a.variant, a.reason.value, a.exposed) for a in answers} == {
        ("control", "DISABLED", False)
    }
    assert answers[0].value == {"steps": ["confirm"]}
    assert w.engine.serving().version != before
    (rollback,) = w.rollbacks()
    assert rollback.actor == "turnback"
    assert "Flow failure" in rollback.reason or "failure" in rollback.reason.lower()
    assert "100" in rollback.reason, "the effect is said: twice the rate is 100% higher"
    finding = rollback.evidence["finding"]
    assert finding["outcome"] == "breach"
    assert finding["windows"][0]["units"][0] >= 100


def test_a_harmless_treatment_stays(world):
    w = world(treatment=0.1)
    w.hours(200)
    assert w.rollbacks() == []
    assert w.state_of("treatment") == "live"
    assert {g.outcome for g in w.view().guardrails} <= {Outcome.PASS, Outcome.INCONCLUSIVE}


def test_a_rollback_is_told_once_whatever_happens_afterwards(world):
    w = world(treatment=0.3)
    w.hours(60)
    w.engine.deliver()
    told = [m for m in w.channel.told if m.kind == "rolled_back"]
    assert [(m.experiment, m.variant) for m in told] == [("cancel-page", "treatment")]
    assert told[0].key == "rolled_back:cancel-page/treatment/1/1"
    assert len(w.rollbacks()) == 1


def test_rolling_back_one_of_several_treatments_keeps_the_others_running(world):
    w = world(THREE, treatment=0.3)
    w.hours(60)
    assert (w.state_of("treatment"), w.state_of("other")) == ("rolled_back", "live")
    assert w.view().state == "running"
    assert {w.served(u).variant for u in units_of(w, "other", 5)} == {"other"}


def test_the_latch_survives_a_restart_and_a_reapplied_file(world, tmp_path):
    w = world(url=f"sqlite:///{tmp_path}/control.db", treatment=0.3)
    w.hours(60)
    w.engine.close()
    w.engine = w.new_engine()
    applied = w.engine.apply(SPEC + "\n# a comment\n", source="again.yaml", actor="tester")
    assert applied.result == "updated"
    assert w.state_of("treatment") == "rolled_back"
    w.hours(5)
    assert len(w.rollbacks()) == 1
    w.engine.close()


def test_a_raised_seed_starts_over_and_weights_may_change_only_then(world):
    w = world(treatment=0.3)
    w.hours(60)
    moved = SPEC.replace("control: {weight: 50%", "control: {weight: 60%").replace(
        "treatment: {weight: 50%", "treatment: {weight: 40%"
    )
    with pytest.raises(ReshuffleError, match="weight of control: 50% becomes 60%"):
        w.engine.apply(moved, source="x", actor="tester")
    applied = w.engine.apply("seed: 2\n" + moved, source="x", actor="tester")
    assert any("starts over" in words for words in applied.words)
    assert w.state_of("treatment") == "live"
    with pytest.raises(ConflictError, match="seed 1 is lower"):
        w.engine.apply(SPEC, source="x", actor="tester")


def test_a_broken_file_changes_nothing(world):
    w = world()
    with pytest.raises(SpecError):
        w.engine.apply(SPEC.replace("max_rise", "max_rize"), source="bad.yaml", actor="tester")
    assert w.view().revision == 1
    assert w.engine.apply(SPEC, source="same.yaml", actor="tester").result == "unchanged"


def test_a_channel_the_service_does_not_have_is_named_when_the_file_is_applied(world):
    w = world()
    applied = w.engine.apply(SPEC + "notify: [ops, log]\n", source="n.yaml", actor="tester")
    assert [words for words in applied.warnings if "`ops`" in words] == list(applied.warnings)
    assert len(applied.warnings) == 1


def test_a_resumed_treatment_counts_only_what_comes_after_at_a_fresh_level(world):
    w = world(treatment=0.3)
    w.hours(30)
    assert w.state_of("treatment") == "rolled_back"
    w.store.rates["treatment"] = 0.1
    w.engine.resume("cancel-page", "treatment", reason="the bug is mended", actor="ann")
    assert w.state_of("treatment") == "live"
    assert w.served(units_of(w, "treatment", 1)[0]).reason.value != "DISABLED"
    w.hours(48)
    assert w.state_of("treatment") == "live", "the harm of the first attempt is not held against it"
    w.store.rates["treatment"] = 0.4
    w.hours(100)
    assert w.state_of("treatment") == "rolled_back"
    assert [t.evidence["finding"]["treatment"] for t in w.rollbacks()] == ["treatment"] * 2
    keys = [m.key for m in w.channel.told if m.kind == "rolled_back"]
    assert keys == [f"rolled_back:cancel-page/treatment/1/{n}" for n in (1, 2)]


def test_by_hand_it_needs_a_reason_and_is_latched_all_the_same(world):
    w = world()
    with pytest.raises(InvalidRequestError, match="reason"):
        w.engine.roll_back("cancel-page", "treatment", reason=" ", actor="ann")
    w.engine.roll_back("cancel-page", "treatment", reason="support is flooded", actor="ann")
    with pytest.raises(ConflictError, match="already"):
        w.engine.roll_back("cancel-page", "treatment", reason="again", actor="bob")
    (rollback,) = w.rollbacks()
    assert (rollback.actor, rollback.reason) == ("ann", "support is flooded")


def test_unknown_names_are_answered_with_the_known_ones(world):
    w = world()
    with pytest.raises(UnknownExperimentError) as unknown:
        w.engine.experiment("cancel-pgae")
    assert unknown.value.hint == "known: cancel-page"
    with pytest.raises(UnknownVariantError) as variant:
        w.engine.roll_back("cancel-page", "control", reason="x", actor="ann")
    assert variant.value.hint == "its treatments: treatment"


def test_a_broken_store_is_an_error_that_neither_rolls_back_nor_passes(world):
    w = world(treatment=0.3)
    w.store.broken = True
    reports = w.hours(48)
    assert {r.result for r in reports} == {"error"}
    assert w.rollbacks() == []
    (guardrail,) = w.judged()
    assert (guardrail.outcome, guardrail.code) == (Outcome.ERROR, Code.QUERY_FAILED)
    assert any("blind since 2026-03-01 01:00" in words for words in w.view().attention)
    w.store.broken = False
    w.hours(1)
    assert w.state_of("treatment") == "rolled_back", "the harm was there all the time"


def test_a_defect_in_one_check_does_not_stop_the_checks_of_others(world, monkeypatch):
    w = world(treatment=0.3)
    w.engine.apply(SPEC.replace("cancel-page", "another"), source="x", actor="tester")
    real = guardrails.look.judge_each

    def judge(snapshot, asked, **options):
        if snapshot.watermark == 100:
            raise ZeroDivisionError("a defect")
        return real(snapshot, asked, **options)

    monkeypatch.setattr(guardrails.look, "judge_each", judge)
    assert [r.result for r in w.hours(1)] == ["error", "error"]
    assert [r.result for r in w.hours(1)] == ["ok", "ok"]


def test_events_that_stop_are_no_data_and_never_a_breach(world):
    w = world(treatment=0.1)
    w.hours(24)
    w.store.quiet_since = w.clock.now()
    w.hours(3)
    w.store.rates["treatment"] = 0.5
    w.hours(3)
    (guardrail,) = w.judged()
    assert (guardrail.outcome, guardrail.code) == (Outcome.NO_DATA, Code.EVENTS_STOPPED)
    assert w.rollbacks() == []


@pytest.mark.parametrize("changes", ["mode: shadow\n", None])
def test_shadow_and_suspended_engines_watch_tell_once_and_act_on_nothing(world, changes):
    w = world((changes or "") + SPEC, treatment=0.3)
    if changes is None:
        w.engine = w.new_engine(suspended=True)
    w.hours(48)
    assert w.rollbacks() == []
    assert [m.kind for m in w.channel.told] == ["breach_told"]
    assert w.view().guardrails[0].outcome is Outcome.BREACH


ASKED_STEP = "ramp:\n  - {traffic: 5%, hold: 1h, approval: true}\n  - {traffic: 100%}\n"


def test_shadow_mode_asks_nobody_for_an_approval_and_says_that_its_ramp_stands_still(world):
    w = world(SPEC + ASKED_STEP + "mode: shadow\n")
    w.hours(3)
    with pytest.raises(ConflictError, match="shadow mode: its ramp stands still") as refused:
        w.engine.approve("cancel-page", reason="ok", actor="ann")
    assert "without `mode: shadow`" in refused.value.hint
    assert w.view().attention == ()
    assert w.view().waiting == "the ramp stands still in shadow mode"
    told = " ".join(w.engine.explain("cancel-page").paragraphs)
    assert "probability" not in told
    assert "nobody is turned back by a guardrail, and the ramp stands still" in told
    w.apply(SPEC + ASKED_STEP)
    w.engine.approve("cancel-page", reason="ok", actor="ann")
    w.hours(1)
    assert w.view().traffic == 1.0


def test_a_suspended_engine_says_why_the_ramp_stands_still(world):
    w = world(SPEC + ASKED_STEP)
    w.engine = w.new_engine(suspended=True)
    w.hours(3)
    assert w.view().waiting == "the ramp stands still while the engine is suspended"


def test_a_rollback_is_verified_by_the_exposures_that_follow(world):
    w = world(treatment=0.3)
    for hour in range(200):
        for arm in ("control", "treatment"):
            w.store.exposures += [(T + (hour + 0.5) * HOUR, arm)] * 10
    w.hours(30)
    (rollback,) = w.view().rollbacks
    assert rollback.effective is False, "the arm is still met at its old rate"
    assert any("still being shown" in words for words in w.view().attention)
    assert [m.kind for m in w.channel.told].count("rollback_ineffective") == 1
    back = rollback.at
    w.store.exposures = [e for e in w.store.exposures if e[1] == "control" or e[0] < back]
    w.hours(1)
    (rollback,) = w.view().rollbacks
    assert (rollback.effective, rollback.rate_after) == (True, 0.0)
    assert rollback.rate_before == pytest.approx(10, rel=0.2)


def test_two_engines_on_one_control_plane_record_every_tick_and_rollback_once(world, tmp_path):
    w = world(url=f"sqlite:///{tmp_path}/control.db", treatment=0.3)
    engines = [w.engine, w.new_engine()]
    results = []
    for _ in range(30):
        w.clock.move_to(w.clock.now() + HOUR)
        together = Barrier(2)

        def ring(engine, together=together):
            together.wait()
            results.extend(r.result for r in engine.run_due())

        threads = [Thread(target=ring, args=(engine,)) for engine in engines]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(w.rollbacks()) == 1
    assert w.view().checks == 30
    assert results.count("ok") == 30
    assert [m.kind for m in w.channel.told].count("rolled_back") >= 1
    assert len({m.key for m in w.channel.told if m.kind == "rolled_back"}) == 1
    for engine in engines:
        engine.close()


def test_states_of_the_looks_survive_a_restart_bit_for_bit(world, tmp_path):
    def run(restart):
        w = world(url=f"sqlite:///{tmp_path}/{restart}.db", treatment=0.12)
        for _ in range(20):
            w.hours(1)
            if restart:
                w.engine.close()
                w.engine = w.new_engine()
        windows = w.view().guardrails[0].windows
        w.engine.close()
        return [repr((x.z, x.boundary, x.spent, x.look, x.evidence)) for x in windows]

    assert run(restart=True) == run(restart=False)


def test_late_checks_collapse_and_the_gap_is_recorded(world):
    w = world()
    w.hours(2)
    w.clock.move_to(T + 10 * HOUR)
    (report,) = w.engine.run_due()
    assert report.at == T + 10 * HOUR
    assert w.view().checks == 3
    assert w.engine.run_due() == ()


def test_an_experiment_ends_by_the_clock_and_serves_control(world):
    w = world()
    w.hours(240)
    assert w.view().state == "observing"
    assert {w.served(f"order-{n}").variant for n in range(50)} == {"control"}
    w.hours(24)
    assert w.view().state == "finished"
    assert w.hours(3) == []


def test_pause_gives_control_to_everybody_and_stop_is_for_good(world):
    w = world()
    w.engine.pause("cancel-page", reason="sale weekend", actor="ann")
    assert {w.served(f"order-{n}").variant for n in range(50)} == {"control"}
    w.engine.stop("cancel-page", reason="not needed", actor="ann")
    with pytest.raises(IllegalTransitionError, match="stopped"):
        w.engine.pause("cancel-page", reason="x", actor="ann")
    assert w.hours(2) == []


def test_a_ramp_raises_traffic_and_never_moves_a_unit(world):
    ramp = "ramp:\n  - {traffic: 10%, hold: 6h}\n  - {traffic: 100%}\n"
    w = world(SPEC + ramp)
    first = {n: w.served(f"order-{n}") for n in range(3000)}
    inside = {n: a.variant for n, a in first.items() if a.exposed}
    assert 200 < len(inside) < 400
    w.hours(6)
    assert w.view().step == 1
    later = {n: w.served(f"order-{n}") for n in range(3000)}
    assert all(later[n].variant == variant for n, variant in inside.items())
    assert all(a.exposed for a in later.values())


def test_a_configuration_that_could_not_be_made_is_made_at_the_next_ring(world, monkeypatch):
    w = world(treatment=0.3)
    victim = units_of(w, "treatment", 1)[0]
    real, failures = guardrails.engine.compile_all, [MemoryError()] * 3

    def compile_all(standings, before):
        if any(s.rolled_back for s in standings) and failures:
            raise failures.pop()
        return real(standings, before)

    monkeypatch.setattr(guardrails.engine, "compile_all", compile_all)
    with contextlib.suppress(MemoryError):
        w.hours(30)
    while w.state_of("treatment") == "live" or failures:
        with contextlib.suppress(MemoryError):
            w.hours(1)
    w.hours(1)
    assert w.served(victim).reason.value == "DISABLED"


def test_a_change_compiles_the_experiment_that_changed_and_no_other(world):
    w = world()
    w.engine.apply(SPEC.replace("cancel-page", "another"), source="x", actor="tester")
    before = dict(w.engine.serving().experiments)
    w.engine.pause("cancel-page", reason="a look", actor="ann")
    after = w.engine.serving().experiments
    assert after["another"] is before["another"]
    assert after["cancel-page"].serving.state == "paused"


def test_another_engine_on_the_same_database_serves_the_rollback_too(world, tmp_path):
    w = world(url=f"sqlite:///{tmp_path}/control.db", treatment=0.3)
    other = w.new_engine()
    victim = units_of(w, "treatment", 1)[0]
    w.hours(40)
    assert w.state_of("treatment") == "rolled_back"
    other.run_due()
    answer = other.serving().experiments["cancel-page"].assign({"targetingKey": victim})
    assert answer.reason.value == "DISABLED"
    other.close()
    w.engine.close()


@pytest.mark.parametrize(
    "change",
    [
        ("max_rise: 10%", "max_rise: 12%"),
        (
            "flow_failure_rate, max_rise: 10%",
            "repeat_complaint_rate, id: flow_failure_rate, max_rise: 10%",
        ),
        ("flow_failure_rate, max", "flow_failure_rate, id: renamed, max"),
        ("ends: {after: 10d", "ends: {after: 20d"),
        ("expect_units: 50000", "expect_units: 90000"),
        ("check_every: 1h", "check_every: 1h\nalpha: 10%"),
    ],
)
def test_what_the_budget_was_split_over_changes_only_with_a_new_seed(world, change):
    w = world()
    w.hours(5)
    with pytest.raises(ConflictError, match="another plan"):
        w.engine.apply(SPEC.replace(*change), source="x", actor="tester")
    assert w.engine.apply("seed: 2\n" + SPEC.replace(*change), source="x", actor="t").revision == 2


def test_an_alert_may_change_at_any_time_and_starts_afresh(world):
    alert = "  - {kpi: cancellation_rate, max_rise: 10%, id: extra, action: alert}\n"
    w = world(SPEC.replace("ends:", alert + "ends:"), treatment=0.105)
    w.hours(48)
    other = alert.replace("cancellation_rate", "repeat_complaint_rate")
    w.engine.apply(SPEC.replace("ends:", other + "ends:"), source="x", actor="tester")
    w.hours(1)
    extra = next(g for g in w.view().guardrails if g.guardrail == "extra")
    assert (extra.kpi, max(x.look for x in extra.windows)) == ("repeat_complaint_rate", 1)


def test_few_exposures_do_not_verify_a_rollback(world):
    w = world(treatment=0.3)
    for hour in range(100):
        w.store.exposures += [(T + (hour + 0.5) * HOUR, arm) for arm in ("control", "treatment")]
    while not w.view().rollbacks:
        w.hours(1)
    w.hours(2)
    assert w.view().rollbacks[0].effective is not True
    w.hours(10)
    assert w.view().rollbacks[0].effective is False


def test_a_late_tick_records_the_rollback_when_it_happens(world):
    w = world(treatment=0.3)
    late = timedelta(minutes=50)
    w.clock.move_to(T + late)
    while not w.rollbacks():
        w.hours(1)
    (rollback,) = w.rollbacks()
    assert rollback.at == w.clock.now()
    assert w.view().rollbacks[0].verify_after == w.clock.now() + timedelta(minutes=15)


def test_a_breach_that_is_only_told_is_told_once_per_attempt(world):
    alert = SPEC.replace("max_rise: 10%", "max_rise: 10%, action: alert")
    w = world(alert, treatment=0.125)
    w.hours(200)
    assert [m.kind for m in w.channel.told] == ["breach_told"]
    w.engine.roll_back("cancel-page", "treatment", reason="enough", actor="ann")
    w.engine.resume("cancel-page", "treatment", reason="mended, we hope", actor="ann")
    w.store.rates["treatment"] = 0.3
    w.hours(36)
    assert [m.kind for m in w.channel.told].count("breach_told") == 2


def test_a_ramp_goes_on_with_the_arms_that_are_left(world):
    ramp = "ramp:\n  - {traffic: 10%, hold: 40h, min_units: 50}\n  - {traffic: 100%}\n"
    w = world(THREE + ramp, treatment=0.3)
    w.hours(60)
    assert (w.state_of("treatment"), w.view().step) == ("rolled_back", 1)


def test_a_suspended_engine_does_not_raise_traffic(world):
    ramp = "ramp:\n  - {traffic: 10%, hold: 2h}\n  - {traffic: 100%}\n"
    w = world(SPEC + ramp)
    w.engine = w.new_engine(suspended=True)
    w.hours(10)
    assert w.view().step == 0


def test_a_clock_that_went_back_is_said(world):
    w = world()
    w.hours(1)
    w.engine.run_due(now=T + 200 * HOUR)
    w.engine.run_due(now=T + 2 * HOUR)
    assert any("nothing is due until" in words for words in w.view().attention)


def test_a_pause_outlasts_a_new_seed_and_a_paused_experiment_still_ends(world):
    w = world()
    w.engine.pause("cancel-page", reason="incident", actor="ann")
    w.engine.apply("seed: 2\n" + SPEC, source="x", actor="bob")
    assert w.view().state == "paused"
    w.hours(241)
    assert w.view().state == "observing"


APPROVED = """\
ramp:
  - {traffic: 10%, hold: 2h, approval: true}
  - {traffic: 50%, hold: 2h}
  - {traffic: 100%}
"""


def test_a_step_that_wants_approval_waits_for_it_and_asks_once(world):
    w = world(SPEC + APPROVED)
    w.hours(1)
    assert w.channel.told == []
    w.hours(20)
    assert w.view().step == 0
    assert [m.kind for m in w.channel.told] == ["approval_wanted"]
    assert "from 10% to 50%" in w.channel.told[0].title
    assert w.view().waiting == 'waits for approval: turnback approve cancel-page --reason "..."'
    assert any("turnback approve cancel-page" in words for words in w.view().attention)
    w.engine.approve("cancel-page", reason="looks good", actor="ann")
    assert w.view().ramp[0].approved
    w.hours(1)
    assert w.view().step == 1
    assert ("step 1", "step 1 approved", "ann") in [
        (t.before, t.after, t.actor) for t in w.engine.transitions("cancel-page")
    ]


def test_an_approval_may_be_given_ahead_of_time_and_waits_for_the_rest(world):
    w = world(SPEC + APPROVED)
    w.engine.approve("cancel-page", reason="on leave tomorrow", actor="ann")
    with pytest.raises(ConflictError, match="approved already"):
        w.engine.approve("cancel-page", reason="again", actor="ann")
    w.hours(1)
    assert w.view().step == 0
    w.hours(1)
    assert w.view().step == 1
    with pytest.raises(ConflictError, match="step 2 of cancel-page needs no approval"):
        w.engine.approve("cancel-page", reason="x", actor="ann")
    w.hours(2)
    with pytest.raises(ConflictError, match="last step"):
        w.engine.approve("cancel-page", reason="x", actor="ann")
    assert [m.kind for m in w.channel.told] == ["approved"]


def test_every_live_treatment_is_turned_back_at_once_or_none_is(world):
    w = world(THREE)
    w.engine.roll_back("cancel-page", "other", reason="complaints", actor="ann")
    w.engine.resume("cancel-page", "other", reason="mended", actor="ann")
    done = w.engine.roll_back_all("cancel-page", reason="the shop is down", actor="bob")
    assert [(t.variant, t.after, t.actor) for t in done] == [
        ("treatment", "rolled_back", "bob"),
        ("other", "rolled_back", "bob"),
    ]
    assert {v.name: v.state for v in w.view().variants} == {
        "control": "control",
        "treatment": "rolled_back",
        "other": "rolled_back",
    }
    told = [m.variant for m in w.channel.told if m.kind == "rolled_back"]
    assert told == ["other", "treatment", "other"]
    with pytest.raises(ConflictError, match="no treatment of cancel-page is live"):
        w.engine.roll_back_all("cancel-page", reason="again", actor="bob")
    with pytest.raises(InvalidRequestError, match="a reason is needed"):
        w.engine.roll_back_all("cancel-page", reason=" ", actor="bob")


def test_where_one_treatment_cannot_be_turned_back_none_is(world, monkeypatch):
    w, real = world(THREE), turning_back.record_rollback

    def fails_at_the_second(session, record, treatment, **given):
        if treatment.variant == "other":
            raise ChangedMeanwhileError("somebody else was faster")
        return real(session, record, treatment, **given)

    monkeypatch.setattr(turning_back, "record_rollback", fails_at_the_second)
    with pytest.raises(ConflictError):
        w.engine.roll_back_all("cancel-page", reason="the shop is down", actor="bob")
    assert {v.state for v in w.view().variants} == {"control", "live"}
    assert not w.channel.told


def test_a_raised_seed_needs_its_own_approval(world):
    w = world(SPEC + APPROVED)
    w.engine.approve("cancel-page", reason="yes", actor="ann")
    w.engine.apply("seed: 2\n" + SPEC + APPROVED, source="x", actor="ann")
    w.hours(5)
    assert w.view().step == 0
    w.engine.pause("cancel-page", reason="lunch", actor="ann")
    w.engine.approve("cancel-page", reason="yes again", actor="ann")
    w.hours(2)
    assert w.view().step == 0, "a paused ramp stands"
    w.engine.stop("cancel-page", reason="enough", actor="ann")
    with pytest.raises(IllegalTransitionError, match="cannot approve while stopped"):
        w.engine.approve("cancel-page", reason="x", actor="ann")


def test_time_in_a_pause_is_no_part_of_a_hold(world):
    w = world(SPEC + "ramp:\n  - {traffic: 10%, hold: 6h}\n  - {traffic: 100%}\n")
    w.hours(2)
    w.engine.pause("cancel-page", reason="incident", actor="ann")
    w.hours(10)
    assert w.view().ramp[0].hold_left == 4 * HOUR
    w.engine.move("cancel-page", Move.CONTINUE, reason="over", actor="ann")
    w.hours(3)
    assert (w.view().step, w.view().ramp[0].hold_left) == (0, HOUR)
    w.hours(1)
    assert w.view().step == 1


def test_a_frozen_ramp_stands_and_a_rollback_does_not_wait_for_it(world):
    ramp = "ramp:\n  - {traffic: 10%, hold: 2h}\n  - {traffic: 100%}\n"
    freeze = (
        "freeze:\n"
        "  - {from: 2026-03-01T00:00:00Z, to: 2026-03-01T08:00:00Z, why: a sale}\n"
        "  - {days: [mon], zone: UTC, why: mondays}\n"
    )
    w = world(SPEC + ramp + freeze)
    w.hours(7)
    assert (w.view().step, w.view().frozen) == (0, "frozen until 2026-03-01 08:00 UTC (a sale)")
    assert w.view().waiting == w.view().frozen
    w.hours(1)
    assert w.view().step == 1
    harmful = world(SPEC + freeze.replace("T08", "T23"), treatment=0.4)
    harmful.hours(20)
    assert harmful.state_of("treatment") == "rolled_back"


def test_the_view_shows_where_the_ramp_stands(world):
    steps = "  - {traffic: 50%, hold: 6h, min_units: 900}\n  - {traffic: 100%}\n"
    w = world(SPEC + "ramp:\n  - {traffic: 10%, hold: 2h}\n" + steps)
    w.hours(4)
    done, current, following = w.view().ramp
    assert [s.state for s in (done, current, following)] == ["done", "current", "next"]
    assert (current.hold, current.hold_left) == (6 * HOUR, 4 * HOUR)
    assert (current.min_units, current.units) == (900, {"control": 200, "treatment": 200})
    assert "hold of 6 h is not over" in w.view().waiting
    w.hours(4)
    assert w.view().waiting == "600 of 900 units per arm are in"
    w.hours(3)
    assert w.view().step == 2
    assert w.view().waiting == "runs at its last step until 2026-03-11 00:00 UTC"


def test_explain_says_what_happened_in_words(world):
    w = world(treatment=0.3)
    w.hours(48)
    told = w.engine.explain("cancel-page")
    assert told.headline.startswith("treatment was turned back to control on 2026-03-0")
    assert "is proven at look" in told.paragraphs[0]
    assert "5%" in told.paragraphs[-1]
    assert told.evidence["revision"] == 1


RAMPED = SPEC.replace(
    "guardrails:",
    "ramp:\n  - {traffic: 10%, hold: 1h, approval: true}\n  - {traffic: 50%, hold: 1h}\n"
    "  - {traffic: 100%}\nguardrails:",
)


def test_a_stopped_experiment_shows_no_planned_end_step_or_approval(world):
    world = world(RAMPED)
    world.hours(3)
    before = world.view()
    assert [step.state for step in before.ramp] == ["current", "next", "next"]
    assert before.ends_at is not None
    assert any("wants approval" in words for words in before.attention)
    world.engine.stop("cancel-page", actor="ann", reason="wrong price")
    over = world.view()
    assert (over.started_at, over.ends_at, over.observe_until) == (T, None, None)
    assert [(step.number, step.state) for step in over.ramp] == [(1, "done")]
    assert (over.attention, over.waiting) == ((), "")


def test_a_run_that_ended_by_its_plan_shows_the_ends_it_had(world):
    world = world()
    world.hours(24 * 12)
    over = world.view()
    assert over.state == "finished"
    assert over.ends_at == T + timedelta(days=10)
    assert over.observe_until is not None
    assert [step.state for step in over.ramp] == ["done"]


def test_a_draft_that_was_stopped_never_started(world):
    world = world(SPEC + "starts: manual\n")
    world.engine.stop("cancel-page", actor="ann", reason="not wanted")
    over = world.view()
    assert (over.state, over.started_at, over.ends_at, over.ramp) == ("stopped", None, None, ())


@pytest.mark.parametrize(
    ("goal", "words"),
    [
        ("{kpi: save_rate, expect: +10%}", "Save rate +10%"),
        ("{kpi: save_rate, expect: +2pp}", "Save rate +2pp"),
        ("{kpi: refund_hours, expect: -2.5%}", "Hours until the refund -2.5%"),
        ("{kpi: repurchase_rate}", "Repurchase rate"),
    ],
)
def test_what_is_believed_hoped_for_and_whom_to_ask_is_shown_and_explained(world, goal, words):
    meant = f"hypothesis: Less is more.\nowner: ann@example.com\ngoal: {goal}\n"
    w = world(SPEC + meant + "acknowledge: [fewer-cancellations]\n")
    view = w.view()
    assert view.goal is not None
    assert view.goal["words"] == words
    paragraphs = w.engine.explain("cancel-page").paragraphs
    assert paragraphs[:3] == (
        "Hypothesis: Less is more.",
        f"Goal: {words}.",
        "Owner: ann@example.com.",
    )
