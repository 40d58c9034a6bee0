"""Alerts against Debian's Alertmanager on loopback, and against receivers that misbehave."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from threading import Event

import pytest

from experiments.lifecycle import Move
from guardrails.channels import DeliveryError, Message
from guardrails.channels.alertmanager import AlertmanagerChannel, AlertmanagerConfig
from guardrails.standing_alerts import STOPPED, TOLD_AS_OVER, StandingAlerts
from tests.engine_world import SPEC, T, World
from tests.receivers import ABSENT, BINARY, alertmanager, free_port, receiving

needs_alertmanager = pytest.mark.skipif(BINARY is None, reason=ABSENT)
NOTIFIED = SPEC + "notify: [am]\n"
MESSAGE = Message(
    key="rolled_back:cancel-page/treatment/1/1",
    kind="rolled_back",
    experiment="cancel-page",
    variant="treatment",
    at=T,
    title="cancel-page: treatment was turned back to control",
    text="because",
    evidence=None,
    facts={"kpi": "流程失败率", "now": ""},
)


class Standing:
    """A world whose messages go to an Alertmanager, repeated when ``ring`` is called."""

    def __init__(self, url, spec=NOTIFIED, **rates):
        self.channel = AlertmanagerChannel((url,), lambda: datetime.now(UTC))
        self.world = World(spec, settings={"channels": {"am": self.channel}}, **rates)
        self.clock = self.world.clock
        self.alerts = StandingAlerts(
            self.world.control,
            self.world.engine.channels,
            now=self.clock.now,
            report=lambda *_: None,
            suspended=False,
            stopping=Event(),
        )

    def ring(self, after=timedelta(minutes=1)):
        self.clock.move_to(self.clock.now() + after)
        self.alerts.ring()


@pytest.fixture(scope="module")
def debian(tmp_path_factory):
    if BINARY is None:
        pytest.skip(ABSENT)
    with alertmanager(tmp_path_factory.mktemp("am")) as it:
        yield it


def test_a_rollback_stands_in_alertmanager_until_a_person_resumes_it(debian):
    it = Standing(debian.url, treatment=0.5)
    it.world.hours(30)
    assert it.world.state_of("treatment") == "rolled_back"
    alert = debian.until(lambda alerts: "TurnbackRolledBack" in alerts)["TurnbackRolledBack"]
    assert alert["labels"] == {
        "alertname": "TurnbackRolledBack",
        "severity": "warning",
        "experiment": "cancel-page",
        "variant": "treatment",
        "guardrail": "flow_failure_rate",
    }
    told = alert["annotations"]
    assert told["key"] == "rolled_back:cancel-page/treatment/1/1"
    assert "resume cancel-page treatment" in told["next"]
    assert {"effect", "interval", "units", "look", "budget", "margin", "now"} <= set(told)
    it.ring()
    again = debian.until(lambda a: a["TurnbackRolledBack"]["endsAt"] > alert["endsAt"])
    assert again["TurnbackRolledBack"]["fingerprint"] == alert["fingerprint"]
    it.world.engine.resume("cancel-page", "treatment", reason="mended", actor="ada")
    it.ring()
    left = debian.until(lambda alerts: "TurnbackRolledBack" not in alerts)
    assert "TurnbackResumed" in left


@pytest.mark.parametrize("severity", ["critical"])
def test_two_instances_are_both_told_and_a_dead_one_stops_nobody(debian, tmp_path, severity):
    dead = f"http://127.0.0.1:{free_port()}"
    with alertmanager(tmp_path / "second") as second:
        channel = AlertmanagerChannel((debian.url, dead, second.url), lambda: datetime.now(UTC))
        channel.send(replace(MESSAGE, kind="rollback_ineffective", experiment="two"))
        for instance in (debian, second):
            alert = instance.until(lambda a: "TurnbackRollbackIneffective" in a)
            assert alert["TurnbackRollbackIneffective"]["labels"]["severity"] == severity


def test_an_alert_whose_clock_is_ahead_is_taken(debian):
    channel = AlertmanagerChannel((debian.url,), lambda: datetime.now(UTC))
    channel.send(replace(MESSAGE, kind="late", at=datetime.now(UTC) + timedelta(days=9)))
    assert "TurnbackLate" in debian.until(lambda alerts: "TurnbackLate" in alerts)


def test_one_alert_is_sent_per_call_with_times_and_nothing_that_varies_in_its_labels():
    with receiving() as it:
        channel = AlertmanagerChannel(
            (it.url, f"{it.url}/prefix/"), lambda: T, headers={"Authorization": "Bearer knock"}
        )
        channel.send(MESSAGE)
        channel.post(MESSAGE, over_at=T + timedelta(hours=1))
    assert [path for path, _, _ in it.got[:2]] == ["/api/v2/alerts", "/prefix/api/v2/alerts"]
    assert {headers["Authorization"] for _, headers, _ in it.got} == {"Bearer knock"}
    ((standing,), _, (over,), _) = it.bodies()
    assert (standing["startsAt"], standing["endsAt"]) == (
        "2026-03-01T00:00:00.000Z",
        "2026-03-01T00:04:00.000Z",
    )
    assert over["endsAt"] == "2026-03-01T01:00:00.000Z"
    assert over["labels"] == standing["labels"]
    assert standing["annotations"]["kpi"] == "流程失败率"
    assert "now" not in standing["annotations"]


@pytest.mark.parametrize(("status", "retryable"), [(400, False), (503, True)])
def test_an_alert_that_no_instance_takes_is_not_delivered(status, retryable):
    with receiving(status=status, body=b"broken") as it, receiving(status=400) as other:
        channel = AlertmanagerChannel((it.url, other.url), lambda: T)
        with pytest.raises(DeliveryError, match=f"answered {status}: broken; ") as caught:
            channel.send(MESSAGE)
    assert caught.value.retryable is retryable


def told(it):
    """Return (alert, whether it stands) of everything posted since the last call."""
    now = datetime.now(UTC).isoformat()
    found = [(a["labels"]["alertname"], a["endsAt"] > now) for (a,) in it.bodies()]
    it.got.clear()
    return sorted(found)


def test_what_stands_is_told_again_and_again_and_its_end_for_five_minutes():
    with receiving() as it:
        w = Standing(it.url, treatment=0.5)
        w.world.hours(30)
        assert told(it) == [("TurnbackRolledBack", True)]
        w.alerts.ring()
        w.alerts.ring()
        assert told(it) == [("TurnbackRolledBack", True)], "not sooner than every minute"
        w.ring()
        assert told(it) == [("TurnbackRolledBack", True)]
        w.world.engine.stop("cancel-page", reason="enough", actor="ada")
        told(it)
        for _ in range(5):
            w.ring()
            assert ("TurnbackRolledBack", False) in told(it)
        w.ring(2 * TOLD_AS_OVER)
        w.ring()
        assert told(it) == []


def test_a_second_rollback_stands_although_the_end_of_the_first_is_still_told():
    with receiving() as it:
        w = Standing(it.url)
        for action in ("roll_back", "resume", "roll_back"):
            act = getattr(w.world.engine, action)
            act("cancel-page", "treatment", reason="a test", actor="ada")
        told(it)
        w.ring()
        assert told(it).count(("TurnbackRolledBack", True)) == 1
        w.ring()
        assert ("TurnbackRolledBack", False) not in told(it)


def test_news_is_over_by_itself():
    with receiving() as it:
        w = Standing(it.url)
        w.world.engine.pause("cancel-page", reason="a sale", actor="ada")
        w.world.engine.move("cancel-page", Move.CONTINUE, reason="it is over", actor="ada")
        assert told(it) == [("TurnbackContinued", True), ("TurnbackPaused", True)]
        w.ring(timedelta(minutes=6))
        assert told(it) == [("TurnbackContinued", False), ("TurnbackPaused", False)]


def test_a_suspension_stands_until_the_engine_acts_again():
    with receiving() as it:
        w = Standing(it.url)
        w.world.engine.suspend(reason="the store moves", actor="ada")
        assert told(it) == [("TurnbackSuspended", True)]
        w.ring(timedelta(hours=9))
        assert told(it) == [("TurnbackSuspended", True)]
        w.world.engine.suspend(on=False, reason="it has moved", actor="ada")
        told(it)
        w.ring()
        assert ("TurnbackSuspended", False) in told(it)


def test_a_breach_that_only_alerts_stands_until_it_is_none_any_more():
    spec = NOTIFIED.replace("max_rise: 10%}", "max_rise: 10%, action: alert}")
    with receiving() as it:
        w = Standing(it.url, spec=spec, treatment=0.5)
        w.world.hours(30)
        assert told(it) == [("TurnbackBreachTold", True)]
        w.ring()
        assert told(it) == [("TurnbackBreachTold", True)]
        w.world.engine.roll_back("cancel-page", "treatment", reason="a test", actor="ada")
        told(it)
        w.ring()
        assert ("TurnbackBreachTold", False) in told(it)


def test_an_instance_that_is_away_is_tried_again_soon():
    with receiving(status=503) as it:
        w = Standing(it.url)
        it.status = 200
        w.world.engine.roll_back("cancel-page", "treatment", reason="a test", actor="ada")
        told(it)
        it.status = 503
        w.ring()
        assert len(told(it)) == 1
        it.status = 200
        w.ring(timedelta(seconds=16))
        assert told(it) == [("TurnbackRolledBack", True)]


def test_a_clock_that_is_set_back_does_not_end_the_repeating():
    with receiving() as it:
        w = Standing(it.url)
        w.world.engine.roll_back("cancel-page", "treatment", reason="a test", actor="ada")
        w.alerts._due = {"am": w.clock.now() + timedelta(hours=1)}
        told(it)
        w.alerts.ring()
        assert told(it) == [("TurnbackRolledBack", True)]


def test_the_settings_take_one_address_or_all_of_a_cluster():
    one = AlertmanagerConfig.model_validate({"type": "alertmanager", "url": "http://a:9093"})
    assert one.build(lambda: T).urls == ("http://a:9093",)
    both = {"type": "alertmanager", "urls": ["http://a:9093", "http://b:9093"], "every": "30s"}
    built = AlertmanagerConfig.model_validate(both).build(lambda: T)
    assert (len(built.urls), built.every) == (2, timedelta(seconds=30))
    assert built.where == "http://a:9093, http://b:9093"
    basic = {"type": "alertmanager", "url": "http://a:9093", "user": "u", "password": "p"}
    assert AlertmanagerConfig.model_validate(basic).build(lambda: T).headers == {
        "Authorization": "Basic dTpw"
    }
    assert timedelta(days=1) == STOPPED
