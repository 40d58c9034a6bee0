"""The rule ``alert``: what Alertmanager tells once, several times, late, or never again."""

import json
from datetime import UTC, datetime, timedelta

import pytest

from experiments.database import ControlPlane
from experiments.errors import InvalidRequestError
from experiments.lifecycle import Move
from guardrails.alerts import Notification, Posted, read_notification
from guardrails.channels import Message
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.judge_alert import ToldAlert, judge_alert, plan_alerts
from guardrails.outcome import Code, Outcome
from guardrails.replay import Verdict
from guardrails.rules import Action
from guardrails.rules.alert import id_from, weaker
from guardrails.settings import EngineSettings
from guardrails.spec_file import load_spec
from guardrails.ticks import due_tick
from guardrails.words import outcome_words
from metrics.stores import open_store

T = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NEVER = datetime(1, 1, 1, tzinfo=UTC)
SPEC = """\
experiment: checkout
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 50%}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
  - {rule: alert, name: CheckoutErrors}
ends: {after: 10d, observe_for: 1d}
check_every: 1h
"""
TWO = SPEC.replace("  treatment: {weight: 50%}", "  one: {weight: 25%}\n  two: {weight: 25%}")
ID = "CheckoutErrors"


def told(variant="treatment", *, at=T, told_at=None, ended=None, asked=None, **labels):
    return ToldAlert(
        fingerprint="00000000000000ab",
        name=ID,
        variant=variant,
        labels={"alertname": ID, **labels},
        asked=asked,
        summary="5% of the checkouts fail",
        starts_at=at - MINUTE,
        received_at=at,
        told_at=told_at or at,
        ended_at=ended,
    )


def watch(spec=SPEC, treatment=0):
    return plan_alerts(load_spec(spec))[treatment]


@pytest.mark.parametrize(
    ("alerts", "outcome", "code"),
    [
        pytest.param([], Outcome.INCONCLUSIVE, Code.NO_ALERT, id="nothing was told"),
        pytest.param([told()], Outcome.BREACH, Code.ALERT_FIRES, id="one fires"),
        pytest.param([told(None)], Outcome.BREACH, Code.ALERT_FIRES, id="of the only treatment"),
        pytest.param([told(ended=T)], Outcome.PASS, Code.ALERT_RESOLVED, id="resolved"),
        pytest.param(
            [told(ended=T), told()], Outcome.BREACH, Code.ALERT_FIRES, id="one resolved, one not"
        ),
        pytest.param([told("other")], Outcome.INCONCLUSIVE, Code.NO_ALERT, id="about another"),
        pytest.param(
            [told(at=T + HOUR)], Outcome.INCONCLUSIVE, Code.NO_ALERT, id="told after the check"
        ),
        pytest.param(
            [told(at=T - HOUR)], Outcome.INCONCLUSIVE, Code.ALERT_FROM_BEFORE, id="from before"
        ),
        pytest.param(
            [told(at=T - HOUR, told_at=T)], Outcome.BREACH, Code.ALERT_FIRES, id="told again"
        ),
    ],
)
def test_what_was_told_decides_and_silence_decides_nothing(alerts, outcome, code):
    finding = judge_alert(watch(), alerts, since=T - MINUTE, at=T)
    assert (finding.outcome, finding.code) == (outcome, code)
    assert (finding.evidence >= 1) == (outcome is Outcome.BREACH)
    assert outcome_words(finding, watch(), "")
    # an alert is posted again every few hours: that nobody does so for days resolves nothing
    later = judge_alert(watch(), alerts, since=T - MINUTE, at=T + 50 * HOUR)
    assert later.outcome in {outcome, Outcome.BREACH}


def test_an_alert_counts_by_its_name_and_by_every_label_the_file_names():
    chosen = watch(SPEC.replace("CheckoutErrors}", "CheckoutErrors, labels: {team: a, page: 1}}"))
    for labels, counts in (
        ({"team": "a", "page": "1", "region": "x"}, True),
        ({"team": "a"}, False),
        ({"team": "b", "page": "1"}, False),
        ({}, False),
    ):
        assert chosen.counts(told(**labels)) is counts
    assert not watch(SPEC.replace("CheckoutErrors}", "CheckoutSlow}")).counts(told())


def test_hold_counts_from_when_turnback_was_told_and_from_when_the_arm_is_served():
    patient = watch(SPEC.replace("CheckoutErrors}", "CheckoutErrors, hold: 5m}"))
    for since, at, outcome in (
        (T - HOUR, T + 4 * MINUTE, Outcome.INCONCLUSIVE),
        (T - HOUR, T + 5 * MINUTE, Outcome.BREACH),
    ):
        finding = judge_alert(patient, [told()], since=since, at=at)
        assert finding.outcome is outcome
    again = told(told_at=T + HOUR)
    early = judge_alert(patient, [again], since=T + HOUR, at=T + HOUR + MINUTE)
    assert (early.code, early.detail["alert"]) == (Code.ALERT_NOT_HELD, ID)
    assert "5 min are asked for" in outcome_words(early, patient, "")


@pytest.mark.parametrize(
    ("allowed", "asked", "does"),
    [
        ("rollback", None, "rollback"),
        ("rollback", "hold", "hold"),
        ("rollback", "alert", "alert"),
        ("hold", "rollback", "hold"),
        ("alert", "rollback", "alert"),
        ("stop", None, "stop"),
        ("stop", "rollback", "rollback"),
    ],
)
def test_an_alert_may_ask_for_less_than_the_file_allows_and_never_for_more(allowed, asked, does):
    spec = SPEC.replace("CheckoutErrors}", f"CheckoutErrors, action: {allowed}}}")
    assert watch(spec).allowed(told(asked=asked)) == does
    assert weaker(Action(allowed), None if asked is None else Action(asked)) == does


def test_an_alert_about_no_variant_blames_none_of_several():
    one, two = plan_alerts(load_spec(TWO))
    for each in (one, two):
        finding = judge_alert(each, [told(None)], since=T, at=T)
        assert (finding.outcome, finding.detail["action"]) == (Outcome.BREACH, "hold")
        assert finding.detail["shared"] is True
        assert "names no variant and so blames none" in outcome_words(finding, each, "")
    assert judge_alert(one, [told("one")], since=T, at=T).detail["action"] == "rollback"
    assert judge_alert(two, [told("one")], since=T, at=T).code is Code.NO_ALERT
    stops = watch(TWO.replace("CheckoutErrors}", "CheckoutErrors, action: stop}"))
    assert stops.allowed(told(None)) is Action.STOP


def test_of_several_alerts_the_one_that_does_most_is_the_reason():
    found = judge_alert(watch(), [told(asked="alert"), told(at=T + MINUTE)], since=T, at=T + HOUR)
    assert (found.detail["action"], found.detail["alerts"]) == ("rollback", 2)
    assert "(and 1 more of this name)" in outcome_words(found, watch(), "")


def test_the_words_say_who_judged_and_that_nothing_is_proven():
    words = outcome_words(judge_alert(watch(), [told()], since=T, at=T), watch(), "")
    assert words == (
        "The alert CheckoutErrors, about treatment, fires since 2026-02-28 23:59 UTC; Turnback was "
        "told on 2026-03-01 00:00 UTC. It says: 5% of the checkouts fail. This is an alert of "
        "Alertmanager: nothing is proven, and it is no part of the guarantee."
    )


@pytest.mark.parametrize(
    ("name", "called"),
    [
        (ID, ID),
        ("Orders stand still!", "Orders-stand-still"),
        ("订单", "alert"),
        ("x" * 99, "x" * 64),
    ],
)
def test_a_guardrail_is_called_after_its_alert(name, called):
    assert id_from(name) == called


def test_news_is_due_at_once_and_the_schedule_goes_on():
    last, told_at = T, T + timedelta(minutes=7)
    early = due_tick(last, T + 8 * MINUTE, HOUR, started=T - HOUR, told=told_at)
    assert (early.at, early.missed) == (told_at, 0)
    assert due_tick(told_at, T + 9 * MINUTE, HOUR, started=T - HOUR, told=told_at) is None
    regular = due_tick(told_at, T + HOUR, HOUR, started=T - HOUR, told=told_at)
    assert (regular.at, regular.missed) == (T + HOUR, 0)
    late = due_tick(told_at, T + 3 * HOUR, HOUR, started=T - HOUR, told=told_at)
    assert (late.at, late.missed) == (T + 3 * HOUR, 2)
    assert due_tick(None, T, HOUR, started=T, told=T - HOUR) is None, "told before the start"
    back = due_tick(T, T - 5 * HOUR, HOUR, started=T - 9 * HOUR, told=T + timedelta(milliseconds=1))
    assert back.at > T, "a clock that went back does not keep an alert waiting"


class Box:
    """A channel that keeps what it is sent."""

    def __init__(self):
        self.messages = []

    def send(self, message: Message):
        self.messages.append(message)


class World:
    def __init__(self, folder, spec=SPEC):
        self.clock, self.box = SteppedClock(T), Box()
        self.store = open_store(folder / "store.duckdb")
        self.control = ControlPlane(f"sqlite:///{folder / 'control.sqlite'}")
        self.engine = Engine(
            control=self.control,
            store=self.store,
            clock=self.clock,
            settings=EngineSettings(show_core=False, channels={"log": self.box}),
        )
        self.engine.apply(spec, source="spec.yaml", actor="test")

    def go(self, **more):
        self.clock.move_to(self.clock.now() + timedelta(**more))
        return self.engine.run_due()

    def post(self, *alerts):
        return self.engine.inbox.take(Notification(version="4", alerts=list(alerts)))

    def arm(self, name="treatment"):
        view = self.engine.experiment("checkout")
        return next(v.state for v in view.variants if v.name == name)

    def guardrail(self, treatment="treatment"):
        view = self.engine.experiment("checkout")
        (found,) = (g for g in view.guardrails if (g.guardrail, g.treatment) == (ID, treatment))
        return found


@pytest.fixture
def world(tmp_path, request):
    it = World(tmp_path, getattr(request, "param", SPEC))
    yield it
    it.engine.close()
    it.store.close()


def posted(status="firing", *, starts=T, ends=NEVER, fingerprint="00000000000000ab", **labels):
    named = {"alertname": ID, "experiment": "checkout", **labels}
    return Posted(
        status=status,
        labels={name: value for name, value in named.items() if value is not None},
        startsAt=starts,
        endsAt=ends,
        fingerprint=fingerprint,
        annotations={"summary": "5% of the checkouts fail\x1b[31m\n<b>now</b>"},
    )


def test_an_alert_turns_its_arm_back_at_once_and_says_why(world):
    world.go(minutes=61)
    taken = world.post(posted(variant="treatment"))
    assert (taken.fired, taken.resolved, taken.repeated, taken.ignored) == (1, 0, 0, ())
    (report,) = world.engine.run_due()
    assert report.decision == "turn back treatment: CheckoutErrors is breached"
    assert world.arm() == "rolled_back"
    view = world.guardrail()
    assert (view.outcome, view.level, view.title) == (Outcome.BREACH, None, ID)
    assert "may not fire (an alert of Alertmanager, outside the guarantee)" in view.limit
    assert "5% of the checkouts fail [31m <b>now</b>" in view.words
    explained = world.engine.explain("checkout")
    assert "fires since 2026-03-01 00:00 UTC" in str(explained)
    assert "somebody else's judgement" in str(explained)
    (message,) = (m for m in world.box.messages if m.kind == "rolled_back")
    assert message.facts["kpi"] == "CheckoutErrors, an alert of Alertmanager"
    assert message.facts["budget"].startswith("none")
    transition = next(t for t in world.engine.transitions("checkout") if t.variant == "treatment")
    assert transition.evidence["finding"]["detail"]["labels"]["variant"] == "treatment"
    replayed = world.engine.replay(f"t{transition.id}", from_start=True)
    assert (replayed.verdict, replayed.differences) == (Verdict.EQUAL, ())
    assert any("Alertmanager" in note for note in replayed.notes)


def test_evidence_about_an_alert_that_somebody_changed_is_noticed(world):
    world.go(minutes=61)
    world.post(posted())
    (report,) = world.engine.run_due()
    text = "UPDATE evidence SET body = replace(body, '5% of the checkouts', '1% of the checkouts')"
    with world.control.engine.begin() as connection:
        connection.exec_driver_sql(text)
    found = world.engine.replay(f"t{report.transitions[0].id}")
    assert found.verdict is Verdict.DIFFERENT
    assert any("hash" in change.where for change in found.differences)


def test_the_same_notification_again_or_from_another_instance_makes_nothing_twice(world):
    world.go(minutes=61)
    assert world.post(posted(), posted()).repeated == 1
    assert len(world.engine.run_due()) == 1
    for minute in range(3):
        assert world.post(posted()).repeated == 1
        assert world.go(minutes=1) == (), f"a repetition is no reason to check ({minute})"
    assert len([m for m in world.box.messages if m.kind == "rolled_back"]) == 1
    gone = posted("resolved", ends=T + HOUR)
    assert world.post(gone).resolved == 1
    assert [world.post(gone).repeated, world.post(posted()).repeated] == [1, 1]
    assert world.engine.inbox.counts == {"fired": 1, "resolved": 1, "repeated": 6, "ignored": 0}


HOLD = SPEC.replace("CheckoutErrors}", "CheckoutErrors, action: hold}").replace(
    "check_every: 1h", "check_every: 1h\nramp: [{traffic: 10%, hold: 2h}, {traffic: 100%}]"
)


@pytest.mark.parametrize("world", [HOLD], indirect=True)
def test_a_resolved_alert_lets_the_ramp_go_on_and_a_new_one_stops_it_again(world):
    world.go(minutes=61)
    world.post(posted(action="rollback"))
    (report,) = world.engine.run_due()
    assert report.decision == "hold: CheckoutErrors of treatment is breach"
    assert world.arm() == "live"
    world.go(hours=5)
    assert world.engine.experiment("checkout").step == 0
    world.post(posted("resolved", ends=world.clock.now()))
    (report,) = world.engine.run_due()
    assert report.decision == "the ramp advances one step"
    assert world.guardrail().code is Code.ALERT_RESOLVED
    world.post(posted(starts=world.clock.now()))
    world.go(minutes=1)
    assert world.guardrail().outcome is Outcome.BREACH
    told_ = [m for m in world.box.messages if m.kind == "breach_told"]
    assert len(told_) == 2, "each time it fires it is told once"


def test_what_arrives_in_the_wrong_order_ends_as_it_was(world):
    world.go(minutes=61)
    world.post(posted("resolved", starts=T, ends=T + MINUTE), posted(starts=T))
    world.engine.run_due()
    assert world.guardrail().code is Code.ALERT_RESOLVED, "it was over before it was told"
    world.post(posted(starts=T + HOUR, fingerprint="00000000000000cd", action="alert"))
    world.post(posted(starts=T + 2 * HOUR, fingerprint="00000000000000cd", action="alert"))
    world.post(posted("resolved", starts=T + HOUR, ends=T + HOUR + MINUTE,
                      fingerprint="00000000000000cd", action="alert"))  # fmt: skip
    world.engine.run_due()
    assert world.guardrail().outcome is Outcome.BREACH, "the older one is over, the newer fires"


def test_an_alert_that_another_prometheus_saw_earlier_is_the_same_and_one_end_ends_it(world):
    world.go(minutes=61)
    world.post(posted(starts=T + MINUTE, action="alert"))
    assert world.post(posted(starts=T, action="alert")).repeated == 1
    assert world.post(posted("resolved", starts=T, ends=T + HOUR, action="alert")).resolved == 1
    world.engine.run_due()
    assert world.guardrail().code is Code.ALERT_RESOLVED


@pytest.mark.parametrize(
    ("labels", "why"),
    [
        ({"alertname": None}, "it has no name (the label `alertname`)"),
        ({"experiment": None}, "it names no experiment"),
        ({"experiment": "chekout"}, "there is no such experiment; known: checkout"),
        ({"variant": "control"}, "control is control: there is nothing to turn back"),
        ({"variant": "treatmnt"}, "it has no treatment `treatmnt`; did you mean `treatment`"),
        ({"alertname": "DiskFull"}, "on this alert; it has one on CheckoutErrors"),
        ({"alertname": "TurnbackSuspended"}, "an alert of Turnback's own, which decides nothing"),
        ({"action": "stop"}, "`stop` is nothing to ask for; known: rollback, hold, alert"),
        ({"note": "x" * 1001}, "one longer than 1,000"),
    ],
)
def test_what_nothing_follows_from_is_told_with_its_reason(world, labels, why, caplog):
    world.go(minutes=61)
    before = world.engine.experiment("checkout").last_check_at
    (ignored,) = world.post(posted(**labels)).ignored
    assert why in ignored.reason
    assert ignored.reason in caplog.text
    assert world.engine.run_due() == ()
    assert world.engine.experiment("checkout").last_check_at == before
    assert world.engine.inbox.counts["ignored"] == 1


def test_no_alert_acts_on_a_file_without_a_guardrail_for_it_or_on_what_is_over(world):
    world.engine.apply(
        SPEC.replace("  - {rule: alert, name: CheckoutErrors}\n", ""), source="s", actor="test"
    )
    (ignored,) = world.post(posted()).ignored
    assert ignored.reason == "its file has no guardrail of rule `alert` on this alert"
    world.engine.apply(SPEC, source="s", actor="test")
    world.engine.move("checkout", Move.STOP, reason="enough", actor="test")
    (ignored,) = world.post(posted()).ignored
    assert ignored.reason == "the experiment is stopped"


def test_an_alert_that_was_kept_before_a_crash_is_judged_by_the_next_process(world, tmp_path):
    world.go(minutes=61)
    world.post(posted())
    control = ControlPlane(f"sqlite:///{tmp_path / 'control.sqlite'}")
    settings = EngineSettings(show_core=False)
    after = Engine(control=control, store=world.store, clock=world.clock, settings=settings)
    (report,) = after.run_due()
    assert "turn back treatment" in report.decision
    after.close()


def test_while_suspended_an_alert_is_told_and_nobody_turned_back(world):
    world.go(minutes=61)
    world.engine.suspend(reason="a sale", actor="test")
    world.post(posted())
    world.engine.run_due()
    assert world.arm() == "live"
    assert [m.kind for m in world.box.messages][-1] == "breach_told"
    world.engine.suspend(on=False, reason="over", actor="test")
    world.go(hours=1)
    assert world.arm() == "rolled_back"


GOOD = {
    "version": "4",
    "status": "firing",
    "groupKey": "{}",
    "alerts": [
        {
            "status": "firing",
            "labels": {"alertname": ID},
            "annotations": {},
            "startsAt": "2026-11-22T10:31:41.642939123Z",
            "endsAt": "0001-01-01T00:00:00Z",
            "generatorURL": "",
            "fingerprint": "7e181b80ca2ff6a1",
        }
    ],
}


def test_what_alertmanager_sends_is_read():
    (alert,) = read_notification(json.dumps(GOOD).encode()).alerts
    assert (alert.status, alert.labels["alertname"]) == ("firing", ID)
    assert alert.startsAt == datetime(2026, 11, 22, 10, 31, 41, 642939, tzinfo=UTC)


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"version": "3"}, "version"),
        ({"alerts": "none"}, "alerts"),
        ({"alerts": [{**GOOD["alerts"][0], "labels": {"a": 1}}]}, "alerts[0].labels[]"),
        ({"alerts": [{**GOOD["alerts"][0], "fingerprint": "x"}]}, "alerts[0].fingerprint"),
        ({"alerts": [{**GOOD["alerts"][0], "startsAt": "now"}]}, "alerts[0].startsAt"),
        ({"alerts": [{**GOOD["alerts"][0], "status": "new"}]}, "alerts[0].status"),
        ({"alerts": GOOD["alerts"] * 1001}, "alerts"),
        ({"truncatedAlerts": 1.5}, "truncatedAlerts"),
    ],
)
def test_what_alertmanager_does_not_send_is_refused_with_the_place(change, path):
    with pytest.raises(InvalidRequestError) as caught:
        read_notification(json.dumps(GOOD | change).encode())
    assert caught.value.path == path
    assert f"{path} is not as it sends it" in str(caught.value)
    assert "msgspec" not in str(caught.value)


def test_a_whole_number_is_read_however_it_is_written():
    body = json.dumps(GOOD | {"truncatedAlerts": 3.0}).encode()
    assert read_notification(body) == read_notification(body.replace(b"3.0", b"3"))


@pytest.mark.parametrize("body", [b"", b"{", b"\xff", b"[" * 100_000, b"[]"])
def test_what_is_no_json_or_no_object_is_refused(body):
    with pytest.raises(InvalidRequestError):
        read_notification(body)
