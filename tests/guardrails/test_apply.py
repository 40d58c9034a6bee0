"""Applying files: drafts, layers, what is refused, what follows, and rehearsals."""

import re
from dataclasses import replace
from datetime import timedelta
from threading import Barrier, Thread

import pytest
from sqlalchemy import text as sql

from experiments.errors import (
    ConflictError,
    IllegalTransitionError,
    LayerConflictError,
    ReshuffleError,
    SpecError,
)
from experiments.lifecycle import Move
from tests.engine_world import HOUR, SPEC, THREE, T, World

DAY = timedelta(days=1)
RAMP = """\
ramp:
  - {traffic: 10%, hold: 2h}
  - {traffic: 50%, hold: 4h}
  - {traffic: 100%}
"""
AUDIENCE = """\
audience:
  platform: [ios, android]
  order_value: {at_least: 20}
"""
LATER = "starts: 2026-03-02T00:00:00Z\n"
MANUAL = "starts: manual\n"


@pytest.fixture
def world():
    worlds = []

    def build(*args, **kwargs):
        worlds.append(World(*args, **kwargs))
        return worlds[-1]

    yield build
    for made in worlds:
        made.control.close()


def dump(w):
    """Return every row of the control plane."""
    with w.control.engine.connect() as connection:
        tables = [
            name
            for (name,) in connection.execute(
                sql("select name from sqlite_master where type = 'table' order by name")
            )
        ]
        return {
            name: [tuple(row) for row in connection.execute(sql(f"select * from {name}"))]  # noqa: S608 - names of our own tables
            for name in tables
        }


def moves(w, key="cancel-page"):
    return [(t.before, t.after, t.actor) for t in w.engine.transitions(key)]


def arms(w, count=300, key="cancel-page"):
    assign = w.engine.serving().experiments[key].assign
    context = {"platform": "ios", "order_value": 30}
    return [assign({"targetingKey": f"u{n}", **context}).variant for n in range(count)]


def test_a_file_that_starts_later_makes_a_draft_that_the_clock_starts(world):
    w = world(LATER + SPEC)
    draft = w.view()
    assert (draft.state, draft.started_at, draft.checks) == ("draft", None, 0)
    assert draft.starts_at == T + DAY
    assert draft.ends_at == T + 11 * DAY
    assert draft.waiting == "starts at 2026-03-02 00:00 UTC"
    assert set(arms(w)) == {"control"}
    assert w.hours(23) == []
    (report,) = w.hours(1)
    assert (report.result, [t.after for t in report.transitions]) == ("started", ["running"])
    assert moves(w) == [("new", "draft", "tester"), ("draft", "running", "turnback")]
    assert (w.view().started_at, w.view().ends_at) == (T + DAY, T + 11 * DAY)
    assert set(arms(w)) == {"control", "treatment"}
    assert [m.kind for m in w.channel.told] == ["started"]
    w.hours(1)
    assert w.view().checks == 1


def test_a_draft_whose_time_passed_while_nobody_was_there_starts_at_the_next_ring(world):
    w = world(LATER + SPEC)
    late = T + DAY + timedelta(hours=30, minutes=7)
    w.clock.move_to(late)
    w.engine.run_due()
    assert (w.view().state, w.view().started_at) == ("running", late)
    assert w.view().ends_at == late + 10 * DAY


def test_a_draft_that_would_end_before_it_starts_stays_one_and_says_so(world):
    dates = LATER + SPEC.replace("ends: {after: 10d,", "ends: {at: 2026-03-12T00:00:00Z,")
    w = world(dates)
    assert w.view().ends_at == T + 11 * DAY
    w.clock.move_to(T + 12 * DAY)
    assert w.engine.run_due() == ()
    assert w.view().state == "draft"
    assert any("its end passed before it started" in words for words in w.view().attention)
    with pytest.raises(ConflictError, match="its end has passed"):
        w.engine.move("cancel-page", Move.START, reason="now", actor="ann")
    with pytest.raises(ConflictError, match="its end has passed"):
        w.apply(dates.replace("A test", "Another"))


def test_a_suspended_engine_starts_nothing_that_it_could_not_turn_back(world):
    w = world(LATER + SPEC)
    w.engine = w.new_engine(suspended=True)
    assert w.hours(30) == []
    assert (w.view().state, w.view().waiting) == ("draft", "was to start at 2026-03-02 00:00 UTC")
    w.engine = w.new_engine()
    w.hours(1)
    assert (w.view().state, w.view().started_at) == ("running", T + 31 * HOUR)


def test_of_two_engines_one_starts_a_draft_and_hooks_hear_of_checks_alone(world, tmp_path):
    heard = []

    class Hook:
        def on_check(self, report):
            heard.append(report.result)

        def on_notification(self, channel, result):
            pass

    w = world(LATER + SPEC, url=f"sqlite:///{tmp_path}/c.db")
    engines = [w.engine, w.new_engine()]
    for engine in engines:
        engine._hooks = (Hook(),)
    w.clock.move_to(T + DAY)
    together, reports = Barrier(2), []

    def ring(engine):
        together.wait()
        reports.extend(engine.run_due())

    threads = [Thread(target=ring, args=(engine,)) for engine in engines]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert [r.result for r in reports] == ["started"]
    assert heard == []
    assert moves(w) == [("new", "draft", "tester"), ("draft", "running", "turnback")]
    engines[1].close()


def test_a_person_starts_a_draft_by_hand_or_ahead_of_time(world):
    for starts in (MANUAL, LATER):
        w = world(starts + SPEC)
        w.hours(5)
        assert w.view().state == "draft"
        w.engine.move("cancel-page", Move.START, reason="all is ready", actor="ann")
        assert (w.view().state, w.view().started_at) == ("running", T + 5 * HOUR)
        assert w.view().ends_at == T + 5 * HOUR + 10 * DAY
        with pytest.raises(IllegalTransitionError, match="cannot start while running"):
            w.engine.move("cancel-page", Move.START, reason="again", actor="ann")


def test_a_draft_that_waits_for_a_person_asks_for_one(world):
    w = world(MANUAL + SPEC)
    ask = '`turnback start cancel-page --reason "..."`'
    assert w.view().attention == (f"it waits until a person starts it: {ask}",)
    assert (w.view().starts_at, w.view().ends_at, w.view().actions) == (
        None,
        None,
        ("start", "stop"),
    )
    w.clock.move_to(T + 400 * DAY)
    assert w.engine.run_due() == ()


def test_anything_of_a_draft_may_be_changed(world):
    w = world(LATER + SPEC)
    other = THREE.replace("order_id", "user_id").replace("10d", "20d") + RAMP
    applied = w.apply(LATER.replace("02T", "03T") + other)
    assert applied.words[-1] == "it starts at 2026-03-03 00:00 UTC and ends at 2026-03-23 00:00 UTC"
    assert [v.name for v in w.view().variants] == ["control", "treatment", "other"]
    assert w.apply(LATER + SPEC).result == "updated"
    assert [v.name for v in w.view().variants] == ["control", "treatment"]
    w.hours(24)
    assert (w.view().state, w.view().revision) == ("running", 3)


def test_a_draft_that_is_applied_without_a_start_starts(world):
    w = world(MANUAL + SPEC)
    applied = w.apply(SPEC)
    assert "it starts now" in applied.words
    assert w.view().state == "running"
    assert ("draft", "running", "tester") in moves(w)


def test_nothing_can_be_turned_back_or_approved_in_a_draft(world):
    w = world(MANUAL + SPEC)
    for refused in (
        lambda: w.engine.roll_back("cancel-page", "treatment", reason="x", actor="ann"),
        lambda: w.engine.resume("cancel-page", "treatment", reason="x", actor="ann"),
        lambda: w.engine.approve("cancel-page", reason="x", actor="ann"),
    ):
        with pytest.raises(IllegalTransitionError) as error:
            refused()
        assert error.value.legal == ("start", "stop")


def test_a_seed_that_ran_is_used_up_also_for_a_draft(world):
    w = world()
    w.apply("seed: 3\n" + MANUAL + SPEC)
    assert (w.view().state, w.view().seed) == ("draft", 3)
    assert set(arms(w)) == {"control"}
    with pytest.raises(ConflictError, match="used before; the next is 2"):
        w.apply(MANUAL + SPEC)
    w.apply("seed: 2\n" + MANUAL + SPEC)
    assert w.view().seed == 2


def test_a_raised_seed_with_a_later_start_goes_back_to_control_until_then(world):
    w = world()
    w.hours(3)
    applied = w.apply("seed: 2\n" + LATER + SPEC)
    assert "it becomes a draft: everybody gets control until it starts" in applied.words
    assert set(arms(w)) == {"control"}
    assert moves(w)[-1] == ("running", "draft", "tester")
    assert w.hours(20) == []
    assert [r.result for r in w.hours(1)] == ["started"]


def test_a_pause_outlasts_a_new_seed_whatever_start_the_file_names(world):
    w = world()
    w.engine.pause("cancel-page", reason="incident", actor="ann")
    w.apply("seed: 2\n" + LATER + SPEC)
    assert w.view().state == "draft"
    w.hours(30)
    assert w.view().state == "draft", "a person paused it: a person starts it"
    w.apply("seed: 2\n" + LATER + SPEC.replace("A test", "B"))
    w.hours(2)
    assert w.view().state == "draft"
    w.apply("seed: 2\n" + SPEC)
    assert w.view().state == "running"


REFUSED = [
    pytest.param((), ("order_id", "user_id"), ReshuffleError, "unit order_id", id="the unit"),
    pytest.param(
        (),
        ("control: {weight: 50%", "control: {weight: 60%", "t: {weight: 50%", "t: {weight: 40%"),
        ReshuffleError,
        "weight of control",
        id="weights",
    ),
    pytest.param((), ("treatment:", "other:"), ReshuffleError, "variant other", id="a name"),
    pytest.param((), ("[why", "[what"), ConflictError, "flow of treatment", id="a flow"),
    pytest.param((), ("[confirm]", "[ok]"), ConflictError, "flow of control", id="control's flow"),
    pytest.param(
        (AUDIENCE,), ("[ios, android]", "[ios]"), ReshuffleError, "audience", id="fewer values"
    ),
    pytest.param((AUDIENCE,), ("20}", "30}"), ReshuffleError, "audience", id="a stricter bound"),
    pytest.param(
        (AUDIENCE,),
        ("audience:", "audience:\n  plan: plus"),
        ReshuffleError,
        "audience",
        id="another line",
    ),
    pytest.param(
        ("layer: {name: page, share: 60%}\n",),
        ("share: 60%", "share: 50%"),
        ReshuffleError,
        "shrinks",
        id="less of the layer",
    ),
    pytest.param(
        ("layer: {name: page, share: 60%}\n",),
        ("name: page", "name: other"),
        ReshuffleError,
        "layer page becomes other",
        id="another layer",
    ),
    pytest.param(
        ("layer: {name: page, share: 60%}\n",),
        ("layer: {name: page, share: 60%}\n", ""),
        ReshuffleError,
        "layer page becomes",
        id="out of the layer",
    ),
    pytest.param(
        ("holdout: false\n",), ("false", "true"), ReshuffleError, "holdout", id="the holdout"
    ),
    pytest.param(
        ("exposure: evaluate\n",), ("evaluate", "event"), ConflictError, "exposure", id="exposure"
    ),
    pytest.param(
        ("segments: [country]\n",),
        ("[country]", "[country, platform]"),
        ConflictError,
        "segments: platform is new",
        id="an attribute of which nothing is known so far",
    ),
    pytest.param((RAMP,), ("10%, hold: 2h", "5%, hold: 2h"), ReshuffleError, "jump", id="ramp"),
]


@pytest.mark.parametrize(("more", "change", "kind", "words"), REFUSED)
def test_what_units_have_met_is_changed_by_a_raised_seed_alone(world, more, change, kind, words):
    before = SPEC + "".join(more)
    if words == "jump":
        words = "no step with 10%"
    w = world(before)
    w.hours(1)
    kept, served = dump(w), w.engine.serving().version
    after = before
    for old, new in zip(change[::2], change[1::2], strict=True):
        assert old in after
        after = after.replace(old, new)
    for dry_run in (True, False):
        with pytest.raises(kind, match=words) as refused:
            w.apply(after, dry_run=dry_run)
        assert "raise `seed`" in refused.value.hint
    assert (dump(w), w.engine.serving().version) == (kept, served)
    assert w.apply("seed: 2\n" + after).result == "updated"


def test_everything_that_is_refused_is_refused_at_once(world):
    w = world(SPEC + AUDIENCE)
    with pytest.raises(ReshuffleError) as refused:
        w.apply((SPEC + AUDIENCE).replace("order_id", "user_id").replace("20}", "30}"))
    assert "unit order_id becomes user_id" in refused.value.message
    assert "the audience changes" in refused.value.message


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (
            ("{weight: 50%", "{weight: 60%", "t: {weight: 50%", "t: {weight: 40%"),
            "weight of control: 50% becomes 60%, weight of treatment: 50% becomes 40%",
        ),
        (("treatment:", "other:"), "variant other is new, variant treatment is gone"),
        (("at_least: 20", "at_least: 30"), "(audience order_value at_least: 20 becomes 30)"),
        (("  order_value", "  plan: plus\n  order_value"), "(audience plan: plus is new)"),
        (("[ios, android]", "[ios]"), "(audience platform: drops android)"),
        (("share: 60%", "share: 50%"), "its share of the layer shrinks: 60% becomes 50%"),
        (("holdout: false", "holdout: true"), "the experiment joins the global holdout"),
    ],
)
def test_a_refusal_names_what_changed(world, change, words):
    before = SPEC + AUDIENCE + "layer: {name: page, share: 60%}\nholdout: false\n"
    w = world(before)
    after = before
    for old, new in zip(change[::2], change[1::2], strict=True):
        assert old in after
        after = after.replace(old, new, 1)
    with pytest.raises(ReshuffleError) as refused:
        w.apply(after, dry_run=True)
    assert words in refused.value.message
    assert "its guardrails change" not in refused.value.message


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("[ios, android]", "[ios, android, web]"), id="another value"),
        pytest.param(("  platform: [ios, android]\n", ""), id="a line less"),
        pytest.param(("at_least: 20", "at_least: 10"), id="a looser bound"),
        pytest.param(("{steps: [confirm]}", "{'steps': ['confirm']}"), id="another spelling"),
        pytest.param(("A test", "Another"), id="the title"),
        pytest.param(("check_every: 1h", "check_every: 2h"), id="the interval of checks"),
        pytest.param(("check_every", "force: {qa-1: treatment}\ncheck_every"), id="overrides"),
        pytest.param(
            ("check_every", "freeze: [{days: [sat], zone: UTC, why: x}]\ncheck_every"), id="freeze"
        ),
    ],
)
def test_what_moves_nobody_may_change_at_any_time(world, change):
    w = world(SPEC + AUDIENCE)
    before = arms(w)
    assert w.apply((SPEC + AUDIENCE).replace(*change)).result == "updated"
    assert arms(w) == before


def test_segments_may_be_fewer_at_any_time_and_more_with_a_raised_seed_alone(world):
    w = world(SPEC + "segments: [country, platform]\n")
    w.apply(SPEC + "segments: [platform, country]\n")
    w.apply(SPEC + "segments: [platform]\n")
    assert w.engine.serving().experiments["cancel-page"].spec.segments == ("platform",)
    with pytest.raises(ConflictError, match="country is new"):
        w.apply(SPEC + "segments: [platform, country]\n")


def test_the_flow_of_a_treatment_that_is_turned_back_may_be_mended(world):
    w = world(THREE)
    mended = THREE.replace("[why", "[what")
    with pytest.raises(ConflictError, match="flow of treatment") as refused:
        w.apply(mended)
    assert "turn it back first" in refused.value.hint
    w.engine.roll_back("cancel-page", "treatment", reason="a typing error", actor="ann")
    applied = w.apply(mended)
    assert "treatment stays rolled back: re-applying changes nothing about it" in applied.words
    assert w.state_of("treatment") == "rolled_back"
    with pytest.raises(ConflictError, match="flow of other"):
        w.apply(mended.replace("[coupon", "[voucher"))


def test_a_ramp_keeps_the_traffic_that_is_served(world):
    w = world(SPEC + RAMP)
    w.hours(3)
    assert (w.view().step, w.view().traffic) == (1, 0.5)
    inside = [arm for arm in arms(w) if arm == "treatment"]
    longer = RAMP.replace("  - {traffic: 10%", "  - {traffic: 5%, hold: 1h}\n  - {traffic: 10%")
    applied = w.apply(SPEC + longer)
    assert "traffic stays 50%" in applied.words
    assert (w.view().step, w.view().traffic) == (2, 0.5)
    with pytest.raises(ReshuffleError, match="without what the step asks for"):
        w.apply(SPEC + longer.replace("50%, hold", "60%, hold"))
    assert len([arm for arm in arms(w) if arm == "treatment"]) >= len(inside)


def test_checks_are_counted_anew_with_every_run(world):
    w = world()
    w.hours(4)
    assert (w.view().checks, w.view().last_check_at) == (4, T + 4 * HOUR)
    w.clock.move_to(w.clock.now() + HOUR / 2)
    w.apply("seed: 2\n" + SPEC)
    assert (w.view().checks, w.view().last_check_at) == (0, None)
    assert "No check yet" in " ".join(w.engine.explain("cancel-page").paragraphs)
    w.hours(1)
    assert w.view().checks == 1
    assert w.view().last_check_at is not None
    w.apply("seed: 3\n" + LATER + SPEC)
    assert (w.view().checks, w.view().last_check_at) == (0, None)


def test_a_start_that_has_passed_is_told(world):
    w = world()
    late = "starts: 2025-12-01T00:00Z\n" + SPEC.replace("cancel-page", "late")
    told = w.apply(late, dry_run=True).words
    assert told == ("late starts now with revision 1: its start, 2025-12-01 00:00 UTC, has passed",)
    w.apply(MANUAL + SPEC.replace("cancel-page", "late"))
    assert "it starts now: its start, 2025-12-01 00:00 UTC, has passed" in w.apply(late).words
    assert w.apply(SPEC.replace("cancel-page", "other")).words == (
        "other starts now with revision 1",
    )


def test_a_file_never_drops_an_approval_that_the_ramp_waits_for(world):
    asks = SPEC + "ramp:\n  - {traffic: 5%, hold: 2h, approval: true}\n  - {traffic: 100%}\n"
    w = world(asks)
    w.hours(3)
    kept = dump(w)
    for change in ((", approval: true", ""), ("hold: 2h", "hold: 1h")):
        for dry_run in (True, False):
            with pytest.raises(ReshuffleError, match="the step with 5%") as refused:
                w.apply(asks.replace(*change), dry_run=dry_run)
            assert "raise `seed`" in refused.value.hint
            assert "what it asks for" in refused.value.hint
    assert dump(w) == kept
    w.hours(2)
    assert w.view().traffic == 0.05
    w.engine.approve("cancel-page", reason="it looks well", actor="ann")
    assert w.apply(asks.replace(", approval: true", "")).result == "updated"
    w.hours(1)
    assert w.view().traffic == 1.0


def test_only_the_last_step_of_a_ramp_may_grow(world):
    w = world(SPEC + "ramp:\n  - {traffic: 20%, hold: 1h}\n  - {traffic: 50%}\n")
    w.hours(2)
    grown = (
        "ramp:\n  - {traffic: 20%, hold: 1h}\n  - {traffic: 60%, hold: 4h}\n  - {traffic: 100%}\n"
    )
    applied = w.apply(SPEC + grown)
    assert "traffic is 60% now, and the step's hold begins anew" in applied.words
    w.hours(3)
    assert w.view().traffic == 0.6, "its hold of four hours began when the file was applied"
    w.hours(1)
    assert w.view().traffic == 1.0


def test_a_rehearsal_says_all_of_it_and_writes_nothing(world):
    w = world()
    kept, served = dump(w), w.engine.serving().version
    rehearsed = w.apply("seed: 2\n" + SPEC, dry_run=True)
    assert (rehearsed.dry_run, rehearsed.result, rehearsed.revision) == (True, "updated", 2)
    new = w.apply(SPEC.replace("cancel-page", "another"), dry_run=True)
    assert (new.dry_run, new.result) == (True, "created")
    assert w.apply(SPEC, dry_run=True).result == "unchanged"
    assert (dump(w), w.engine.serving().version) == (kept, served)
    applied = w.apply("seed: 2\n" + SPEC)
    assert (applied.words, applied.dry_run) == (rehearsed.words, False)


def test_words_are_the_differences_and_then_what_follows(world):
    alert = "  - {kpi: cancellation_rate, max_rise: 10%, action: alert}\n"
    w = world(SPEC.replace("ends:", alert + "ends:"))
    w.hours(2)
    wider = alert.replace("10%", "20%")
    assert w.apply(SPEC.replace("ends:", wider + "ends:")).words == (
        "guardrail cancellation_rate max_rise: 10% becomes 20%",
        "monitors of cancellation_rate start over",
    )
    assert w.apply("seed: 2\n" + SPEC.replace("ends:", wider + "ends:")).words == (
        "seed: 2 is new",
        "the analysis starts over with seed 2",
    )
    assert w.apply("# why\nseed: 2\n" + SPEC.replace("ends:", wider + "ends:")).words == (
        "only comments or layout change",
    )


def test_every_revision_is_kept_as_it_was_applied(world):
    w = world()
    second = SPEC.replace("A test", "B")
    w.apply(second)
    w.apply(second)
    first, newest = w.engine.revisions("cancel-page")
    assert (first.number, first.text, first.actor) == (1, SPEC, "tester")
    assert (newest.number, newest.text, newest.source) == (2, second, "test.yaml")


def test_a_start_in_a_running_experiment_changes_nothing(world):
    w = world()
    applied = w.apply(MANUAL + SPEC)
    assert "it has started already: `starts` changes nothing before a raised seed" in applied.words
    assert (w.view().state, w.view().started_at) == ("running", T)


def layered(key, share="60%", name="page", **changes):
    text = SPEC.replace("cancel-page", key) + f"layer: {{name: {name}, share: {share}}}\n"
    for old, new in changes.items():
        text = text.replace(old, new)
    return text


def owned(w, key):
    return w.engine.experiment(key).layer.buckets


def test_experiments_of_a_layer_share_no_unit(world):
    w = world(layered("cancel-page"))
    w.apply(layered("b", "30%"))
    assert (owned(w, "cancel-page"), owned(w, "b")) == (((0, 6000),), ((6000, 9000),))
    with pytest.raises(LayerConflictError) as full:
        w.apply(layered("c", "20%"))
    assert full.value.message == (
        "20% of the layer page is asked for, 10% is free: b has 30% (running), "
        "cancel-page has 60% (running)"
    )
    assert full.value.hint.startswith("ask for at most 10%")
    assert full.value.path == "layer.share"
    w.apply(layered("elsewhere", "100%", name="other"))


def test_room_in_a_layer_is_free_again_when_an_experiment_is_over(world):
    w = world(layered("cancel-page"))
    with pytest.raises(LayerConflictError):
        w.apply(layered("b", "100%"))
    w.engine.stop("cancel-page", reason="not needed", actor="ann")
    w.apply(layered("b", "100%"))
    assert owned(w, "b") == ((0, 10_000),)
    assert w.engine.experiment("cancel-page").layer.released
    with pytest.raises(LayerConflictError, match="0% is free"):
        w.apply("seed: 2\n" + layered("cancel-page"))


def test_a_draft_has_its_room_reserved(world):
    w = world(MANUAL + layered("cancel-page"))
    with pytest.raises(LayerConflictError, match=r"cancel-page has 60% \(draft\)"):
        w.apply(layered("b", "50%"))
    w.apply(MANUAL + layered("cancel-page", "40%"))
    w.apply(layered("b", "50%"))
    assert owned(w, "b") == ((4000, 9000),)


def test_a_share_may_grow_where_there_is_room_and_a_raised_seed_takes_it_anew(world):
    w = world(layered("cancel-page", "30%"))
    w.apply(layered("b", "30%"))
    w.apply(layered("cancel-page", "50%"))
    assert owned(w, "cancel-page") == ((0, 3000), (6000, 8000))
    w.engine.stop("b", reason="done", actor="ann")
    w.apply("seed: 2\n" + layered("cancel-page", "50%"))
    assert owned(w, "cancel-page") == ((0, 5000),)


def test_a_layer_deals_one_type_of_unit(world):
    w = world(layered("cancel-page"))
    with pytest.raises(LayerConflictError, match="deals user_id, but cancel-page of the layer"):
        w.apply(layered("b", "10%", order_id="user_id"))


def test_the_holdout_is_fixed_when_a_seed_begins(world):
    w = world(settings={"holdout": 0.2})
    assert w.view().holdout == 0.2
    kept = arms(w, 500)
    w.engine = w.new_engine(holdout=0.5)
    w.apply(SPEC.replace("A test", "B"))
    assert w.view().holdout == 0.2
    assert arms(w, 500) == kept
    w.apply("seed: 2\n" + SPEC)
    assert w.view().holdout == 0.5
    w.apply("seed: 3\nholdout: false\n" + SPEC)
    assert w.view().holdout == 0.0


def test_validate_knows_the_service(world):
    w = world(layered("cancel-page"), settings={"queries": {"p99": "up"}})
    assert w.engine.validate(SPEC.replace("cancel-page", "a"), source="a.yaml") == ()
    text = layered("b", "50%") + "notify: [opps]\n"
    (channel, _full) = w.engine.validate(text, source="b.yaml")
    assert (channel.path, channel.line) == ("notify[0]", 13)
    (full,) = w.engine.validate(layered("b", "50%"), source="b.yaml")
    assert (full.path, full.line, full.column) == ("layer.share", 12, 28)
    assert w.engine.validate(layered("cancel-page", "90%"), source="b.yaml") == ()
    assert [p.path for p in w.engine.validate("experiment: x\n", source="c.yaml")] != []


def rehearsed(w, **texts):
    return {one.source: one for one in w.engine.rehearse(texts, actor="ann")}


@pytest.mark.parametrize(
    ("changes", "path", "line", "words"),
    [
        ({"control: {weight: 50": "control: {weight: 60", "treatment: {weight: 50": "treatment: {weight: 40"}, "variants", 5, "weight of control: 50% becomes 60%"),
        ({"max_rise: 10%": "max_rise: 20%"}, "guardrails", 8, "budget"),
        ({"[why, confirm]": "[coupon]"}, "variants.treatment.flow", 6, "units so far have met another"),
        ({"expect_units": "seed: 1\nexpect_units"}, "seed", 11, "seed 1 is lower than 2"),
    ],
)  # fmt: skip
def test_what_applying_refuses_is_a_problem_of_the_file_at_its_place(
    world, changes, path, line, words
):
    w = world()
    if path == "seed":
        w.apply(f"{SPEC}seed: 2\n")
    text = SPEC
    for old, new in changes.items():
        text = text.replace(old, new)
    before = dump(w)
    (problem, *others) = w.engine.validate(text, source="a.yaml")
    assert (problem.path, problem.line, others) == (path, line, [])
    assert words in problem.message
    assert "seed" in problem.hint
    with pytest.raises(ConflictError, match=re.escape(problem.message)):
        w.engine.apply(text, source="a.yaml", actor="ann", dry_run=True)
    assert dump(w) == before


def test_a_new_file_whose_end_has_passed_is_a_problem_at_its_end(world):
    w = world()
    past = "starts: 2026-01-01T00:00:00Z\nends: {at: 2026-02-01T00:00:00Z}\n"
    text = re.sub("ends: .*\n", past, SPEC.replace("cancel-page", "late"))
    (problem,) = w.engine.validate(text, source="a.yaml")
    assert (problem.path, problem.line, problem.column) == ("ends.at", 10, 12)
    assert "would end before it starts" in problem.message


def test_what_runs_unchanged_is_no_problem_even_when_it_is_over_or_its_layer_is_full(world):
    w = world(layered("cancel-page"))
    assert w.engine.validate(layered("cancel-page"), source="a.yaml") == ()
    w.engine.stop("cancel-page", reason="over", actor="ann")
    w.apply(layered("b", "90%"))
    assert w.engine.validate(layered("cancel-page"), source="a.yaml") == ()


def test_a_rehearsed_file_meets_what_those_before_it_took_and_leaves_nothing(world):
    w = world(layered("cancel-page"))
    before = dump(w)
    alone = rehearsed(w, one=layered("one", "25%"), two=layered("two", "30%"))
    assert [one.problems for one in alone.values()] != [(), ()]
    assert alone["one"].view.result == "created"
    assert alone["two"].problems[0].path == "layer.share"
    assert "one has 25%" in alone["two"].problems[0].message
    with pytest.raises(LayerConflictError):
        _ = alone["two"].applied
    # a refused one takes nothing, and the next finds the room
    room = rehearsed(w, one=layered("one", "90%"), two=layered("two", "30%"))
    assert [room["one"].view, room["two"].problems] == [None, ()]
    assert dump(w) == before
    w.apply(layered("one", "25%").replace("A test", "Another test"))
    assert w.engine.experiment("one").title == "Another test", (
        "nothing of a rehearsal is remembered"
    )


@pytest.mark.parametrize(
    ("key", "meant"),
    [("cancel_page", True), ("Cancel-Page", True), ("cancelpages", True), ("checkout", False)],
)
def test_a_new_key_that_nearly_runs_already_is_told(world, key, meant):
    w = world()
    text = SPEC.replace("cancel-page", key)
    told = w.engine.validate(text, source="a.yaml")
    assert len(told) == meant
    view = w.engine.apply(text, source="a.yaml", actor="ann", dry_run=True)
    assert view.warnings == tuple(map(str, told))
    for problem in told:
        assert (problem.line, problem.column, problem.severity) == (1, 13, "warning")
        assert problem.message == f"nothing runs under `{key}`"
        assert problem.hint.startswith("did you mean `cancel-page`?")


def test_a_key_of_its_own_is_no_misspelling(world):
    w = world(SPEC.replace("cancel-page", "cancel-1"))
    other = SPEC.replace("cancel-page", "cancel_1")
    assert w.engine.validate(SPEC.replace("cancel-page", "cancel-2"), source="a.yaml") == ()
    both = rehearsed(w, a=SPEC.replace("cancel-page", "cancel-1"), b=other)
    assert [one.problems for one in both.values()] == [(), ()]
    w.engine.stop("cancel-1", reason="over", actor="ann")
    assert w.engine.validate(other, source="a.yaml") == (), "what is over is not meant"


def test_what_is_possible_names_only_what_would_do_something(world):
    def named(w):
        with pytest.raises(IllegalTransitionError) as refused:
            w.engine.move("cancel-page", Move.START, reason="r", actor="ann")
        assert refused.value.legal == w.view().actions
        return w.view().actions

    plain = world()
    assert named(plain) == ("pause", "extend", "stop", "roll_back")
    plain.engine.roll_back("cancel-page", "treatment", reason="r", actor="ann")
    assert named(plain) == ("pause", "extend", "stop", "resume")
    plain.engine.pause("cancel-page", reason="r", actor="ann")
    assert named(plain) == ("continue", "extend", "stop", "resume")
    assert named(world(SPEC + RAMP)) == ("pause", "extend", "stop", "roll_back"), "no step asks"
    asking = world(SPEC + RAMP.replace("hold: 2h", "hold: 2h, approval: true"))
    assert named(asking) == ("pause", "approve", "extend", "stop", "roll_back")
    asking.engine.approve("cancel-page", reason="r", actor="ann")
    assert named(asking) == ("pause", "extend", "stop", "roll_back"), "it is approved"
    three = world(THREE)
    three.engine.roll_back("cancel-page", "other", reason="r", actor="ann")
    assert named(three) == ("pause", "extend", "stop", "roll_back", "resume")
    three.engine.stop("cancel-page", reason="r", actor="ann")
    assert named(three) == ()


def test_a_query_that_the_service_does_not_have_is_refused(world):
    w = world(settings={"queries": {"p99": "up{v='$variant'}"}})
    query = "  - {rule: promql, query: p99, max: 0.8}\n"
    text = SPEC.replace("cancel-page", "b").replace("ends:", query + "ends:")
    with pytest.raises(SpecError, match="p98"):
        w.apply(text.replace("p99", "p98"))
    assert w.apply(text + "notify: [ops]\n").result == "created"


def test_two_experiments_that_want_the_same_room_at_once_do_not_both_get_it(world, tmp_path):
    w = world(layered("cancel-page", "10%"), url=f"sqlite:///{tmp_path}/c.db")
    other = w.new_engine()
    w.apply(layered("a", "60%"))
    with pytest.raises(LayerConflictError):
        other.apply(layered("b", "60%"), source="x", actor="bob")
    other.close()


def looks_of(w, guardrail):
    monitors = [m for m in w.engine._all_of("cancel-page").monitors if m.guardrail == guardrail]
    return [(s.looks, s.spent) for m in monitors for s in m.states.values()]


def test_looks_that_were_taken_stay_taken_whatever_is_written_otherwise(world):
    w = world()
    w.hours(30)
    (guardrail,) = {g.guardrail for g in w.judged()}
    before = looks_of(w, guardrail)
    assert max(looks for looks, _spent in before) > 5
    for more in (", weight: 2", ", weight: 3", ""):
        text = re.sub(r"(max_rise: 10%)", rf"\1{more}", SPEC)
        assert w.apply(text).result == "updated"
        assert looks_of(w, guardrail) == before, more


OWN_KPI = """kpis:
  help_rate:
    title: Help
    kind: proportion
    better: lower
    unit: share
    windows: {1h: 100%}
    words: Share of units that opened the help page.
    measures: {opened: {event: help_opened}}
    value: opened > 0
"""


def test_what_a_guarded_kpi_means_is_part_of_the_plan(world):
    before = SPEC + OWN_KPI
    before = before.replace("guardrails:\n", "guardrails:\n  - {kpi: help_rate, max_rise: 20%}\n")
    w = world(before)
    w.hours(3)
    with pytest.raises(ConflictError, match="split over another plan"):
        w.apply(before.replace("value: opened > 0", "value: opened > 3"))
    assert w.apply(before.replace("title: Help", "title: Help page")).result == "updated"


@pytest.mark.parametrize(
    ("end", "other"), [("28d", "14d"), ("28d", "21d"), ("28d", "42d"), ("14d", "7d"), ("7d", "14d")]
)
def test_the_end_of_a_run_is_part_of_its_plan(world, end, other):
    before = re.sub("ends: .*", f"ends: {{after: {end}, observe_for: 7d}}", SPEC)
    w = world(before + RAMP)
    w.hours(3)
    with pytest.raises(ConflictError, match=f"ends after: {end} becomes {other}") as refused:
        w.apply(before.replace(end, other, 1) + RAMP, dry_run=True)
    assert "raise `seed`" in refused.value.hint


def test_a_refused_plan_is_told_by_what_changed(world):
    w = world()
    w.hours(1)
    with pytest.raises(ConflictError, match=r"alpha: .*5% becomes 4%|alpha"):
        w.apply(SPEC + "alpha: 4%\n")


def test_an_override_never_moves_a_unit_that_was_exposed(world):
    w = world()
    w.store.met = {"order-1": "control"}
    with pytest.raises(ReshuffleError, match="would move it: order-1"):
        w.apply(SPEC + "force: {order-1: treatment}\n")
    assert w.apply(SPEC + "force: {qa-1: treatment}\n").result == "updated"


def test_a_raised_seed_says_that_a_rolled_back_arm_is_served_again(world):
    w = world()
    w.hours(1)
    w.engine.roll_back("cancel-page", "treatment", reason="bad", actor="ann")
    words = w.apply(SPEC + "seed: 2\n").words
    assert "treatment, turned back under seed 1, is served again under seed 2" in words


def test_a_draft_takes_the_holdout_of_its_start(world):
    w = world(SPEC + "starts: manual\n")
    w.engine.settings = replace(w.engine.settings, holdout=0.5)
    w.engine._ring._settings = w.engine.settings
    w.engine.move("cancel-page", Move.START, reason="go", actor="ann")
    assert w.view().holdout == 0.5


def test_a_resumed_treatment_begins_its_ramp_step_anew(world):
    ramp = "ramp:\n  - {traffic: 10%, hold: 6h, approval: true}\n  - {traffic: 100%}\n"
    w = world(SPEC + ramp)
    w.hours(4)
    w.engine.approve("cancel-page", reason="it looks well", actor="ann")
    w.engine.roll_back("cancel-page", "treatment", reason="bad", actor="ann")
    w.hours(20)
    w.engine.resume("cancel-page", "treatment", reason="mended", actor="ann")
    w.hours(5)
    assert w.view().step == 0, "the hold began with the new attempt"
    w.hours(3)
    assert w.view().step == 0, "the approval was given to the old attempt"
    w.engine.approve("cancel-page", reason="again", actor="ann")
    w.hours(1)
    assert w.view().step == 1


def test_a_late_check_does_not_advance_a_ramp_that_is_frozen_by_now(world):
    start = T + HOUR * 5.5
    freeze = (
        f"freeze: [{{from: '{start:%Y-%m-%dT%H:%MZ}', to: '{start + 9 * HOUR:%Y-%m-%dT%H:%MZ}'}}]\n"
    )
    w = world(SPEC + RAMP.replace("hold: 2h", "hold: 5h") + freeze)
    w.hours(4)
    w.clock.move_to(T + HOUR * 5.75)
    (report,) = w.engine.run_due()
    assert report.at == T + 5 * HOUR
    assert w.view().step == 0
