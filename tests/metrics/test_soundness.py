"""Accepted events that feed nothing, or are not as documented: told at once, and never lost."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

from console import cli
from console.doctor.runs import examine_received
from guardrails.ticks import first_seen_by
from metrics.access import AccessError, Keys, Role
from metrics.catalogue import load_catalogue
from metrics.counting import MOST_PROBLEMS, EventCounts
from metrics.events import Event, EventLimits, Rejection, parse_event
from metrics.soundness import LOOKED_AT, Counted, Doubt, Problem, Rules, near_name
from tests.running import KEY, START, running

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULES = Rules.of(load_catalogue())
UNITS = frozenset({"order_id"})


def event(name, *, trusted=True, units=None, **fields):
    raw = {
        "id": "e1",
        "name": name,
        "happened_at": "2026-03-02T11:59:59Z",
        "units": {"order_id": "A-1"} if units is None else units,
        "fields": fields,
    }
    read = parse_event(raw, index=0, now=NOW, limits=EventLimits(), trusted=trusted)
    assert isinstance(read, Event), read
    return read


def found(*events, keys=None, units=UNITS, own=frozenset()):
    counted = Counted(units, own)
    doubts = RULES.doubts(list(enumerate(events)), counted, keys)
    return [(d.problem.code, RULES.words(d.problem, counted)) for d in doubts]


@pytest.mark.parametrize(
    ("sent", "code", "said"),
    [
        pytest.param(
            event("satisfaction_rated", score=9), "out_of_range", "1 to 5", id="beyond the scale"
        ),
        pytest.param(event("satisfaction_rated"), "missing_field", "`score`", id="no score"),
        pytest.param(
            event("cancel_finished", outcome="canceled"),
            "unknown_value",
            "said outcome `canceled`, which no KPI knows; did you mean `cancelled`?",
            id="American spelling",
        ),
        pytest.param(
            event("cancel_finished", outcome="xyz"),
            "unknown_value",
            "known: cancelled, kept, abandoned",
            id="a value unlike any",
        ),
        pytest.param(
            event("case_opened", units={}), "no_units", '"units": {"order_id":', id="no unit"
        ),
        pytest.param(
            event("case_opened", units={"orderId": "A-1"}),
            "unknown_unit",
            "names orderId, and experiments here count order_id",
            id="a unit nobody counts",
        ),
        pytest.param(
            event("satisfaction_rated", trusted=False, score=4),
            "client_key",
            "with an ingest key",
            id="the public key",
        ),
        pytest.param(
            event("cancelFinished", outcome="kept"),
            "unknown_name",
            "did you mean `cancel_finished`?",
            id="another spelling of a name",
        ),
    ],
)
def test_what_feeds_nothing_is_named_with_what_to_do(sent, code, said):
    ((told, words),) = found(sent)
    assert told == code
    assert said in words


def test_an_unknown_key_at_the_top_is_named_with_the_one_that_was_meant():
    sent = event("case_opened")
    ((code, words),) = found(sent, keys={0: ["id", "name", "happenedAt", "happened_at"]})
    assert (code, words.endswith("did you mean `happened_at`?")) == ("unknown_key", True)
    ((_, words),) = found(sent, keys={0: ["colour"]})
    assert words.endswith("put it under `fields`")


def test_nothing_is_said_of_sound_events_and_of_other_peoples_own():
    plan = RULES.plan.values()
    examples = [e.example for e in plan if e.example is not None and e.name != "exposure"]
    sound = [
        parse_event(each, index=0, now=NOW, limits=EventLimits(), trusted=True) for each in examples
    ]
    assert len(sound) > 10
    assert found(*sound) == []
    assert found(event("warehouse_lit", trusted=False), event("exposure")) == []
    assert found(event("case_opened", units={"user_id": "U"}), units=frozenset()) == []
    assert found(event("case_opened", units={"user_id": "U", "order_id": "A"})) == []
    assert not near_name("cancel_finished", tuple(RULES.plan))


def test_the_first_hundred_events_of_a_batch_are_looked_at():
    many = [event("satisfaction_rated", score=9)] * (LOOKED_AT + 50)
    assert len(found(*many)) == LOOKED_AT
    assert Rules().doubts(list(enumerate(many)), Counted(UNITS)) == ()


def test_a_slip_in_the_name_of_an_event_that_an_experiment_reads_is_told():
    own = frozenset({"help_opened"})
    said = "no KPI reads events called `help_opend`; did you mean `help_opened`?"
    assert found(event("help_opend"), own=own) == [("unknown_name", said)]
    assert found(event("help_opened"), own=own) == found(event("help_opend")) == []
    slip = Problem("unknown_name", "help_opend", "name", "help_opend")
    assert not RULES.words(slip), "no experiment reads such an event any more"


def test_invented_problems_fill_no_memory():
    counts = EventCounts()
    made = [
        Problem("unknown_value", "cancel_finished", "fields.outcome", f"v{n}") for n in range(999)
    ]
    counts.doubted([Doubt(n, "e", each) for n, each in enumerate(made)], NOW)
    counts.doubted([Doubt(0, "e", made[0])], NOW)
    assert len(counts.problems) == MOST_PROBLEMS
    assert counts.problems[made[0]].count == 2


def test_refused_events_are_counted_by_the_name_they_say():
    counts = EventCounts()
    texts = ['{"name": "case_opened"}', '{"name": 5}', "{", '{"name": "case_opened", "id": 7}']
    counts.turned_away([Rejection(0, None, "", "", "", text) for text in texts], NOW)
    assert {name: each.refused for name, each in counts.by_name.items()} == {
        "case_opened": 2,
        "": 2,
    }
    assert counts.by_name["case_opened"].last_at == NOW


@pytest.fixture(scope="module")
def it():
    with running() as service:
        service.apply()
        yield service


def raw(number, **parts):
    return {
        "id": f"s{number}",
        "name": "satisfaction_rated",
        "happened_at": START.isoformat(),
        "units": {"order_id": "o"},
        "fields": {"score": 4},
        **parts,
    }


def send(it, *events, **kwargs):
    return it.http.post("/api/v1/events", json=list(events), **kwargs).json()


def test_the_answer_warns_of_accepted_events_and_says_nothing_of_good_ones(it):
    assert "warnings" not in send(it, raw(1))
    told = send(
        it,
        raw(2, happenedAt="x"),
        raw(3, fields={"score": "four"}),
        raw(4, fields={}),
        raw(5, units={"orderId": "o"}),
    )
    assert (told["accepted"], [each["index"] for each in told["rejected"]]) == (3, [1])
    assert [(w["index"], w["id"], w["field"], w["code"]) for w in told["warnings"]] == [
        (0, "s2", "happenedAt", "unknown_key"),
        (2, "s4", "fields.score", "missing_field"),
        (3, "s5", "units", "unknown_unit"),
    ]
    assert told["more_warnings"] == 0
    ((warning,)) = send(it, raw(6, happenedAt="x"))["warnings"]  # read in one pass
    assert "did you mean `happened_at`?" in warning["words"]


def test_twenty_warnings_are_told_and_the_others_counted(it):
    told = send(it, *(raw(100 + n, fields={"score": 9}) for n in range(33)))
    assert told["accepted"] == 33
    assert (len(told["warnings"]), told["more_warnings"]) == (20, 13)


def test_what_came_is_told_by_name_key_and_experiment(it):
    unit = it.unit_of("treatment")
    shown = {"experiment": KEY, "variant": "treatment"}
    send(it, raw(200, name="exposure", units={"order_id": unit}, fields=shown))
    send(it, raw(201, name="flow_failed", fields={}), headers={"X-Turnback-Trust": "any"})
    send(it, raw(202, name="flow_failed", fields=5))
    told = it.http.get("/api/v1/received").json()
    (failed,) = [each for each in told["received"] if each["name"] == "flow_failed"]
    assert (failed["server"], failed["client"], failed["refused"]) == (0, 1, 1)
    assert datetime.fromisoformat(failed["last_at"]) == it.services.clock.now()
    (exposed,) = told["exposures"]
    assert (exposed["experiment"], exposed["count"]) == (KEY, 1)
    it.evaluate("somebody-else")
    assert it.http.get("/api/v1/received").json()["exposures"][0]["count"] == 2
    (warned,) = [w for w in told["warnings"] if w["event"] == "flow_failed"]
    assert (warned["code"], warned["count"]) == ("client_key", 1)


def test_the_page_of_events_shows_what_came_by_name_and_what_feeds_nothing(it):
    send(it, raw(300, name="cancel_finished", fields={"outcome": "canceled"}))
    twin = it.http.get("/events.json").json()
    (row,) = [each for each in twin["names"] if each["name"] == "cancel_finished"]
    assert (row["server"], row["client"], row["refused"]) == (1, 0, 0)
    assert any("did you mean `cancelled`?" in words for words in twin["doubts"])
    assert "<code>cancel_finished</code>" in it.http.get("/events").text
    chinese = it.http.get("/events?lang=zh").text
    it.http.cookies.clear()
    assert "您是指 `cancelled` 吗" in chinese.replace("<code>cancelled</code>", "`cancelled`")
    assert "使用客户端密钥" in chinese


def test_exposures_that_came_are_announced_until_a_check_counts_them(it):
    arrived, last, every = START + timedelta(minutes=20), START, timedelta(hours=1)
    assert first_seen_by(arrived, last, every) == START + every
    assert first_seen_by(arrived, None, every) == START + every
    assert first_seen_by(arrived, arrived, every) is None
    assert first_seen_by(None, last, every) is None
    it.evaluate("one-more")
    said = f"counted at the next check, {START + every:%Y-%m-%d %H:%M} UTC"
    assert said in it.http.get(f"/experiments/{KEY}").text
    status = CliRunner().invoke(cli.app, ["status", KEY, "--url", it.url]).stdout
    assert said in " ".join(status.split())


@pytest.mark.parametrize(
    ("parts", "said"),
    [
        ({"fields": {"score": "4"}}, "expected number, got text; send 4, without quotes"),
        ({"fields": {"score": "good"}}, "send for instance 4.5"),
        ({"happened_at": 17}, 'write the instant as "2026-01-31T12:00:00Z"'),
        ({"name": "exposure", "fields": {}}, "`experiment` is missing under `fields`"),
        (
            {"name": "exposure", "fields": {"experiment": "cancel-pag", "variant": "control"}},
            f"did you mean '{KEY}'?",
        ),
        (
            {"name": "exposure", "fields": {"experiment": KEY, "variant": "blue"}},
            "the variants are control, treatment",
        ),
    ],
)
def test_a_refusal_says_what_to_send_instead(it, parts, said):
    (rejected,) = send(it, raw(400, **parts, units={"order_id": it.unit_of("control")}))["rejected"]
    assert said in rejected["reason"]


def test_a_wrapped_batch_is_told_to_be_a_bare_array(it):
    told = it.http.post("/api/v1/events", json={"events": [raw(401)]}).json()
    assert "send the bare array" in told["rejected"][0]["reason"]


def test_a_backend_without_a_key_is_told_which_scope_to_take():
    keys = Keys.of(host="0.0.0.0", client="c" * 20)  # noqa: S104 - nothing listens
    with pytest.raises(AccessError) as refused:
        keys.require(Role.CLIENT, None, None)
    assert "'ingest' (servers) or 'client' (pages)" in refused.value.hint


def test_the_doctor_tells_what_a_running_service_refused_and_took_in_vain(it):
    told = it.http.get("/api/v1/received").json()
    found = {each.code: each.words for each in examine_received(told)}
    assert "events were refused since the service was started" in found["events_refused"]
    assert "events_doubtful" in found
    assert list(examine_received({"received": []})) == []
