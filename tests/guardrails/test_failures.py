"""The table of failures: what follows from each, by default and as a file says."""

from dataclasses import replace
from datetime import timedelta

import pytest
from sqlmodel import select

from experiments.errors import ConflictError, SpecError
from guardrails.clock import SteppedClock
from guardrails.decide import decide
from guardrails.facts import Rule, Spell
from guardrails.models import EvaluationRow
from guardrails.outcome import Code, Outcome
from guardrails.questions import rests
from guardrails.rules.failures import Consequence, Open, Policies, Then
from guardrails.settings import QueryError
from guardrails.spec_file import load_spec
from guardrails.telemetry import EngineMetrics, Intake, StateCollector
from metrics.store import StoreError
from tests.engine_world import HOUR, SPEC, T, World
from tests.evidence_world import KEY as EVENT_KEY
from tests.evidence_world import SPEC as EVENT_SPEC
from tests.evidence_world import EventWorld
from tests.guardrails.test_decide import RULES, finding, standing
from tests.guardrails.test_promql import Planted
from tests.guardrails.test_promql import World as PromWorld

MINUTE = timedelta(minutes=1)
RULE = "  - {kpi: flow_failure_rate, max_rise: 10%}\n"
OFTEN = SPEC.replace("check_every: 1h", "check_every: 1m")
RAMP = "ramp:\n  - {traffic: 20%, hold: 3h}\n  - {traffic: 100%}\n"
TWO = OFTEN.replace(RULE, RULE + "  - {kpi: contact_rate, max_rise: 20%}\n") + RAMP


class Minutes(World):
    def minutes(self, count):
        reports = []
        for _ in range(count):
            self.clock.move_to(self.clock.now() + MINUTE)
            reports += self.engine.run_due()
        return reports

    def kinds(self):
        self.engine.deliver()
        return [m.kind for m in self.channel.told]

    def told(self, kind):
        self.engine.deliver()
        return [m for m in self.channel.told if m.kind == kind]


@pytest.fixture
def world():
    worlds = []

    def build(*args, **kwargs):
        worlds.append(Minutes(*args, **kwargs))
        return worlds[-1]

    yield build
    for made in worlds:
        made.control.close()


# source error: hold, alert after 3 in a row; after max_blind freeze the ramp and page


def test_source_error_holds_and_is_told_once_after_three_in_a_row(world):
    w = world(spec=TWO)
    w.store.broken = True
    w.minutes(2)
    assert w.kinds() == []
    w.minutes(20)
    (told,) = w.told("blind")
    assert told.title == (
        "cancel-page: flow_failure_rate, contact_rate, sample_ratio cannot be judged since "
        "2026-03-01 00:01 UTC"
    )
    assert told.text == (
        "The metric store could not be read: the disk is gone. The ramp stands still meanwhile; "
        "nobody is turned back by it."
    )
    assert w.kinds() == ["blind"]
    assert w.view().waiting.endswith("of treatment is error")
    assert (w.view().step, w.rollbacks()) == (0, [])


def test_source_error_in_between_begins_the_row_anew(world):
    w = world(spec=TWO)
    for _ in range(4):
        w.store.broken = True
        w.minutes(2)
        w.store.broken = False
        w.minutes(1)
    assert w.kinds() == []


def test_source_error_is_counted_across_a_restart(world, tmp_path):
    w = world(spec=TWO, url=f"sqlite:///{tmp_path / 'control.db'}")
    w.store.broken = True
    w.minutes(2)
    w.engine.close()
    w.engine = w.new_engine()
    w.minutes(1)
    assert w.kinds() == ["blind"]
    w.engine.close()
    w.engine = w.new_engine()
    w.minutes(5)
    assert w.kinds() == ["blind"]


def test_source_error_for_half_an_hour_freezes_the_ramp_and_pages(world):
    w = world(spec=TWO)
    w.hours(2)
    w.store.broken = True
    w.minutes(31)
    assert w.kinds() == ["blind", "blind_page"]
    assert w.told("blind_page")[0].title == (
        "cancel-page: flow_failure_rate, contact_rate, sample_ratio cannot be judged for 30 min: "
        "the ramp is frozen, and its step begins anew when it can be judged again"
    )
    assert w.view().waiting.endswith(
        "of treatment is error since 2026-03-01 02:01 UTC: the ramp is frozen"
    )
    w.minutes(60)
    assert w.view().step == 0, "its hold would be over"
    w.store.broken = False
    (report,) = w.minutes(1)
    assert report.decision.startswith("hold: ")
    assert report.decision.endswith("could not be judged for 91 min, so the step begins anew")
    w.minutes(1)
    assert w.kinds() == ["blind", "blind_page", "sight_back"]
    back = w.told("sight_back")[0]
    assert "can be judged again after 91 min" in back.title
    assert "The step of the ramp begins anew" in back.text
    w.minutes(170)
    assert w.view().step == 0
    w.minutes(15)
    assert w.view().step == 1
    assert w.rollbacks() == []


def test_sight_that_is_back_before_anybody_was_told_is_not_told_either(world):
    w = world(spec=TWO)
    w.store.broken = True
    w.minutes(2)
    w.store.broken = False
    w.minutes(5)
    assert w.kinds() == []


def test_a_short_spell_does_not_begin_the_step_anew(world):
    w = world(spec=TWO)
    w.hours(2)
    w.store.broken = True
    w.minutes(20)
    w.store.broken = False
    w.minutes(41)
    assert w.view().step == 1
    assert w.kinds() == ["blind", "sight_back"]


def test_blindness_never_rolls_back_and_the_harm_it_hid_is_found_when_it_ends(world):
    w = world(spec=TWO, treatment=0.1)
    w.hours(10)
    w.store.broken = True
    w.store.rates["treatment"] = 0.4
    w.minutes(300)
    assert w.rollbacks() == []
    w.store.broken = False
    w.minutes(1)
    assert w.state_of("treatment") == "rolled_back"


def test_source_error_only_alerts_where_the_file_says_so(world):
    w = world(spec=TWO + "on_source_error: {then: alert, alert_after: 5}\n")
    w.hours(2)
    w.store.broken = True
    w.minutes(4)
    assert w.kinds() == []
    w.minutes(70)
    assert w.kinds() == ["blind", "blind_page"]
    assert "it goes on" in w.told("blind_page")[0].title
    # nothing of this file waits for it, but the units of its steps cannot be counted either
    assert w.view().step == 1


@pytest.mark.parametrize(("then", "state"), [("pause", "paused"), ("stop", "stopped")])
def test_source_error_gives_everybody_control_after_the_deadline(world, then, state):
    w = world(spec=TWO + f"on_source_error: {{then: {then}, page_after: 10m}}\n")
    w.store.broken = True
    w.minutes(10)
    assert w.view().state == "running"
    w.minutes(1)
    assert w.view().state == state
    assert w.kinds() == ["blind", state]
    last = w.engine.transitions("cancel-page")[-1]
    assert (last.after, last.actor) == (state, "turnback")
    assert "could not be judged since 2026-03-01 00:01 UTC, 10 min ago" in last.reason
    assert w.served("order-1").variant == "control"
    w.minutes(30)
    assert w.kinds() == ["blind", state]
    assert w.rollbacks() == []


def test_after_a_pause_that_a_person_ended_the_deadline_counts_anew(world):
    w = world(spec=TWO + "on_source_error: {then: pause, page_after: 10m}\n")
    w.store.broken = True
    w.minutes(20)
    w.engine.move("cancel-page", "continue", reason="we know of it", actor="Ann")
    w.minutes(9)
    assert w.view().state == "running"
    w.minutes(2)
    assert w.view().state == "paused"
    assert [k for k in w.kinds() if k in {"blind", "paused"}] == ["blind", "paused", "paused"]


def test_an_engine_that_may_not_act_pauses_nothing_and_pages(world):
    w = world(
        spec=TWO + "on_source_error: {then: pause, page_after: 10m}\n",
        settings={"suspended": True},
    )
    w.store.broken = True
    w.minutes(20)
    assert w.view().state == "running"
    assert w.kinds() == ["blind", "blind_page"]


# no data: hold; one arm empty while others have data is a data-quality alarm


def empty(w, arm):
    """Let no unit of an arm have a value."""
    real = w.store.snapshot

    def snapshot(frame, *, now, as_of=None):
        found = real(frame, now=now, as_of=as_of)
        cells = {
            key: tuple(replace(c, sums=type(c.sums)()) if c.variant == arm else c for c in every)
            for key, every in found.cells.items()
        }
        return replace(found, cells=cells)

    w.store.snapshot = snapshot


@pytest.mark.parametrize(("arm", "other"), [("treatment", "control"), ("control", "treatment")])
def test_one_arm_empty_while_the_other_has_data_is_told_and_holds_the_ramp(world, arm, other):
    w = world(spec=SPEC + RAMP)
    empty(w, arm)
    w.hours(20)
    (told,) = w.told("no_data")
    assert f"{arm} has no value of flow_failure_rate from " in told.text
    assert f"units, while {other} has " in told.text
    assert w.view().step == 0
    assert any("blind since" in line for line in w.view().attention)
    assert w.rollbacks() == []
    (found,) = w.judged()
    assert (found.outcome, found.code) == (Outcome.NO_DATA, Code.NO_VALUES)


def test_events_that_stop_are_told_once_for_all_guardrails(world):
    ramp = RAMP.replace("hold: 3h", "hold: 8h")
    w = world(spec=SPEC.replace(RULE, RULE + "  - {kpi: contact_rate, max_rise: 20%}\n") + ramp)
    w.hours(2)
    w.store.quiet_since = w.clock.now()
    w.hours(12)
    (told,) = w.told("no_data")
    assert "flow_failure_rate, contact_rate cannot be judged since" in told.title
    assert w.view().step == 0
    w.store.quiet_since = None
    w.hours(1)
    assert w.kinds() == ["no_data", "sight_back"]


def test_no_data_pages_and_stops_nothing_unless_the_file_names_a_deadline(world):
    w = world(spec=SPEC + RAMP)
    empty(w, "treatment")
    w.hours(30)
    assert w.kinds() == ["no_data"]
    late = world(spec=SPEC + RAMP + "on_no_data: {then: pause, page_after: 4h}\n")
    empty(late, "treatment")
    late.hours(30)
    assert late.view().state == "paused"
    assert late.kinds() == ["no_data", "paused"]


def test_a_guardrail_says_for_itself_what_follows(world):
    own = RULE.replace("10%", "10%, on_no_data: {then: alert, alert_after: 5, page_after: never}")
    w = world(spec=SPEC.replace(RULE, own) + RAMP + "on_no_data: {then: stop, page_after: 1h}\n")
    empty(w, "treatment")
    w.hours(30)
    assert w.view().state == "running"
    assert w.view().step == 1
    assert w.kinds() == ["no_data"]


# uneven split


def test_uneven_split_pauses_after_the_deadline_where_the_file_says_so(world):
    w = world(spec=SPEC + RAMP + "on_srm: {then: pause, page_after: 6h}\n")
    w.store.conflicted = 500
    w.hours(6)
    assert w.view().state == "running"
    w.hours(1)
    assert w.view().state == "paused"
    assert w.kinds() == ["uneven_split", "paused"]
    assert "found the arms unlike since" in w.engine.transitions("cancel-page")[-1].reason


def test_uneven_split_only_alerts_where_the_file_says_so(world):
    w = world(spec=SPEC + RAMP + "on_srm: alert\n")
    w.store.conflicted = 500
    w.hours(20)
    assert w.view().step == 1
    assert w.kinds() == ["uneven_split"]


# decisions, pure


def spell(code=Code.QUERY_FAILED, *, then=Then.PAUSE, since=T, checks=5, waits=True):
    after = Consequence(then=then, page_after=HOUR)
    return Spell("a", "t", "store", code, since, checks, after, waits)


@pytest.mark.parametrize(
    ("then", "changes", "become"),
    [
        pytest.param(Then.PAUSE, {}, "paused", id="pause"),
        pytest.param(Then.STOP, {}, "stopped", id="stop"),
        pytest.param(Then.HOLD, {}, None, id="hold"),
        pytest.param(Then.ALERT, {}, None, id="alert"),
        pytest.param(Then.STOP, {"acting": False}, None, id="suspended"),
        pytest.param(Then.STOP, {"state": "paused"}, None, id="nobody is served"),
        pytest.param(Then.STOP, {"running_since": T + HOUR}, None, id="runs again since"),
    ],
)
def test_a_deadline_gives_everybody_control_where_it_says_so(then, changes, become):
    now = T + HOUR + MINUTE
    stands = standing(spells={("a", "t"): spell(then=then)}, **changes)
    decision = decide([finding("a", "!")], stands, now=now)
    assert decision.become == become
    assert decision.rollbacks == ()
    assert not decision.advance
    before = decide([finding("a", "!")], stands, now=T + HOUR - MINUTE)
    assert before.become is None


def test_a_proven_breach_turns_back_in_the_check_that_pauses():
    stands = standing(spells={("a", "u"): replace(spell(), treatment="u")})
    found = [finding("b", "b"), finding("a", "!", "u")]
    decision = decide(found, stands, now=T + 2 * HOUR)
    assert [f.treatment for f in decision.rollbacks] == ["t"]
    assert decision.become == "paused"


def test_a_blind_guardrail_that_only_alerts_holds_nothing():
    quiet = Policies(on_source_error=Consequence(then=Then.ALERT))
    rules = RULES | {"a": Rule("a", "rollback", dry_run=False, policies=quiet)}
    now = T + 7 * HOUR
    assert decide([finding("a", "!")], standing(rules=rules), now=now).advance
    assert not decide([finding("a", "_")], standing(rules=rules), now=now).advance
    assert not decide([finding("a", "!")], standing(), now=now).advance


def test_a_step_that_was_not_watched_begins_anew_and_does_not_advance():
    now = T + 7 * HOUR
    long, short = spell(then=Then.HOLD), spell(then=Then.HOLD, since=now - MINUTE)
    assert decide([finding("a", "p")], standing(ended=(short,)), now=now).advance
    decision = decide([finding("a", "p")], standing(ended=(long,)), now=now)
    assert (decision.anew, decision.advance) == (True, False)
    alone = replace(long, waits=False)
    assert decide([finding("a", "p")], standing(ended=(alone,)), now=now).advance


# the words of the file


def test_the_defaults_are_those_of_the_table():
    spec = load_spec(SPEC)
    asked = spec.policies["flow_failure_rate"]
    assert asked == spec.default_policies == Policies()
    assert asked.on_source_error == Consequence(Then.HOLD, 3, timedelta(minutes=30))
    assert asked.on_no_data == Consequence(Then.HOLD, 3, None)
    assert asked.on_inconclusive is Open.KEEP_CONTROL


def test_an_entry_changes_what_the_file_says_part_by_part():
    own = RULE.replace("10%", "10%, on_no_data: {alert_after: 9}, on_source_error: alert")
    spec = load_spec(SPEC.replace(RULE, own) + "on_no_data: {then: stop, page_after: 2h}\n")
    asked = spec.policies["flow_failure_rate"]
    assert asked.on_no_data == Consequence(Then.STOP, 9, 2 * HOUR)
    assert asked.on_source_error == Consequence(Then.ALERT, 3, timedelta(minutes=30))
    assert spec.default_policies.on_no_data == Consequence(Then.STOP, 3, 2 * HOUR)


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        (
            "on_no_data: rollback",
            "a.yaml:12:13: on_no_data: must not be `rollback`: what cannot be seen proves no harm",
        ),
        (
            "on_source_error: {then: advance}",
            "a.yaml:12:25: on_source_error.then: must not be `advance`: what cannot be seen is not",
        ),
        (
            "on_no_data: {then: pause}",
            ":12:13: on_no_data: says `pause` and never when; write {then: pause, page_after: 30m}",
        ),
        (
            "on_inconclusive: ship",
            "proven; use keep_control or alert",
        ),
        ("on_nodata: hold", ":12:1: on_nodata: unknown key; did you mean `on_no_data`?"),
        ("on_srm: {page_after: 5}", "write 5s, 5m, 5h or 5d"),
    ],
)
def test_what_makes_no_sense_is_refused_where_it_stands(line, problem):
    with pytest.raises(SpecError) as refused:
        load_spec(SPEC + line + "\n", source="a.yaml")
    assert problem.removeprefix("write ") in str(refused.value)


@pytest.mark.parametrize("reason", ["action: alert", "dry_run: true"])
def test_a_guardrail_that_holds_nothing_cannot_be_told_to(reason):
    own = RULE.replace("10%", f"10%, {reason}, on_no_data: hold")
    with pytest.raises(SpecError, match="says `hold` of a guardrail that holds nothing"):
        load_spec(SPEC.replace(RULE, own))


def test_on_srm_and_action_of_one_guardrail_are_one_too_many():
    own = RULE + "  - {rule: sample_ratio, action: alert, on_srm: pause, level: 1%}\n"
    with pytest.raises(SpecError, match="never when"):
        load_spec(SPEC.replace(RULE, own))
    own = own.replace("on_srm: pause", "on_srm: {then: pause, page_after: 1d}")
    with pytest.raises(SpecError, match="says what follows, and `action` does too"):
        load_spec(SPEC.replace(RULE, own))


# inconclusive at the end: keep control, offer to extend; never ship by itself


def test_inconclusive_at_the_end_keeps_control_and_offers_to_try_on(world):
    w = world(spec=SPEC, treatment=0.105)
    w.hours(24 * 11 + 2)
    assert w.view().state == "finished"
    assert w.served("order-1").variant == "control"
    (told,) = w.told("advice")
    assert "absence is proven by flow_failure_rate of treatment." in told.text
    assert "`seed" in told.text
    (line,) = [a for a in w.view().attention if "nothing is proven" in a]
    assert line.startswith("it ended and nothing is proven by flow_failure_rate. To try on")
    assert "`seed: 2`" in line
    w.hours(24 * 8)
    assert not [a for a in w.view().attention if "nothing is proven" in a]
    w.apply("seed: 2\n" + SPEC)
    assert w.view().state == "running"


def test_inconclusive_at_the_end_is_only_told_where_the_file_says_so(world):
    w = world(spec=SPEC + "on_inconclusive: alert\n", treatment=0.105)
    w.hours(24 * 11 + 2)
    (told,) = w.told("advice")
    assert "absence is proven by flow_failure_rate of treatment." in told.text
    assert "To try on" not in told.text
    assert not [a for a in w.view().attention if "nothing is proven" in a]


def test_what_was_proven_safe_is_not_told_as_open(world):
    w = world(spec=SPEC.replace("max_rise: 10%", "max_rise: 60%"), treatment=0.1)
    w.hours(24 * 11 + 2)
    assert w.view().state == "finished"
    assert "absence is proven" not in w.told("advice")[0].text


# clock jumps


def exported(w, *reports):
    counted = EngineMetrics()
    for report in reports:
        counted.on_check(report)
    collector = StateCollector(
        experiments=lambda: (w.view(),),
        intake=lambda: Intake(*[0] * 8),
        now=w.clock.now,
        suspended=lambda: False,
        config_valid=lambda: True,
    )
    return {
        s.name: s.value
        for family in (*collector.collect(), *counted.collect())
        for s in family.samples
        if len(s.labels) == 0
    }


def test_a_clock_set_back_is_told_counted_and_never_looks_twice(world):
    w = world(spec=OFTEN)
    w.hours(3)
    checks = w.view().checks
    assert exported(w)["turnback_clock_behind_seconds"] == 0
    w.clock = w.engine._clock = SteppedClock(T + 2 * HOUR)
    assert w.minutes(30) == []
    assert w.view().checks == checks
    assert (
        "the clock says 2026-03-01 02:30 UTC, before the newest check (2026-03-01 03:00 UTC): "
        "nothing is due until it has caught up"
    ) in w.view().attention
    assert exported(w)["turnback_clock_behind_seconds"] == 30 * 60
    w.minutes(31)
    assert w.view().checks == checks + 1
    assert not any("the clock says" in a for a in w.view().attention)


def test_a_jump_of_a_day_is_one_check_and_what_it_missed_is_recorded(world):
    w = world(spec=OFTEN)
    w.minutes(5)
    checks = w.view().checks
    w.clock.move_to(w.clock.now() + 24 * HOUR)
    (report,) = w.engine.run_due()
    assert report.missed == 24 * 60 - 1
    assert w.view().checks == checks + 1
    assert w.engine.run_due() == ()
    assert exported(w, report)["turnback_checks_missed_total"] == 24 * 60 - 1
    with w.control.reading() as session:
        newest = session.exec(select(EvaluationRow).order_by(EvaluationRow.id.desc())).first()
    assert newest.missed == 24 * 60 - 1


# every decision of a failure is computed again alike


def test_what_a_deadline_decided_is_replayed(tmp_path):
    spec = EVENT_SPEC.replace("check_every: 1h", "check_every: 1h\non_no_data: {then: pause, "
                              "page_after: 3h}\non_source_error: {then: pause, page_after: 3h}")  # fmt: skip
    w = EventWorld(tmp_path, spec=spec)
    w.hours(4)
    real = w.store.snapshot
    w.store.snapshot = _broken
    w.hours(4)
    w.store.snapshot = real
    view = w.engine.experiment(EVENT_KEY)
    assert view.state == "paused"
    (pause,) = [t for t in view.transitions if t.after == "paused"]
    replayed = w.engine.replay(f"t{pause.id}")
    assert (replayed.verdict, replayed.differences) == ("equal", ())
    assert replayed.decision == "the experiment becomes paused"
    w.close()


def _broken(*_args, **_kwargs):
    raise StoreError("the disk is gone")


# flapping is impossible


def test_what_the_engine_turned_back_is_not_resumed_before_it_has_cooled_down(world):
    w = world(spec=OFTEN, treatment=0.5)
    while w.state_of("treatment") == "live":
        w.minutes(10)
    at = w.rollbacks()[0].at
    with pytest.raises(ConflictError, match="a cooldown of 15 min holds") as refused:
        w.engine.resume("cancel-page", "treatment", reason="surely a mistake", actor="Ann")
    assert "resume it after" in refused.value.hint
    assert w.state_of("treatment") == "rolled_back"
    w.clock.move_to(at + 15 * MINUTE)
    w.engine.resume("cancel-page", "treatment", reason="mended", actor="Ann")
    assert w.state_of("treatment") == "live"


def test_what_a_person_turned_back_is_undone_at_once(world):
    w = world(spec=OFTEN)
    w.minutes(3)
    w.engine.roll_back("cancel-page", "treatment", reason="a doubt", actor="Ann")
    w.engine.resume("cancel-page", "treatment", reason="no doubt any more", actor="Ann")
    assert w.state_of("treatment") == "live"


def test_the_cooldown_is_a_setting(world):
    w = world(spec=OFTEN, treatment=0.5, settings={"cooldown": timedelta(0)})
    while w.state_of("treatment") == "live":
        w.minutes(10)
    w.engine.resume("cancel-page", "treatment", reason="at once", actor="Ann")
    assert w.state_of("treatment") == "live"


# a source that fails is asked again with backoff


@pytest.mark.parametrize(
    ("every", "asked"),
    [
        (MINUTE, [0, 1, 2, 4, 6, 8, 12, 15, 20, 25]),
        (2 * MINUTE, [0, 1, 2, 4, 6, 8, 10, 12, 14, 16, 18, 20, 22, 24]),
        (HOUR, list(range(26))),
    ],
)
def test_source_error_is_retried_with_backoff_and_at_least_every_five_minutes(every, asked):
    assert [checks for checks in range(26) if not rests(checks, every)] == asked


def test_a_source_that_rests_keeps_its_error_and_is_seen_again_soon():
    source = Planted(treatment=0.1, other=0.1)
    source.broken = QueryError("Prometheus cannot be reached (ConnectError)")
    w = PromWorld(source)
    w.minutes(20)
    assert len(source.asked) < 2 * 20
    assert "Prometheus cannot be reached" in w.guardrail().words
    assert [m.kind for m in w.channel.told if "refund_p99" in m.title][:1] == ["blind"]
    source.broken = None
    w.minutes(5)
    assert w.guardrail().outcome is Outcome.PASS
    w.control.close()
