"""The rule ``promql``: named queries, bounded patience, and nothing proven by them."""

import json
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Event, Thread
from urllib.parse import parse_qs

import pytest

from experiments.database import ControlPlane
from experiments.errors import SpecError
from guardrails.clock import SteppedClock
from guardrails.engine import Engine
from guardrails.judge_query import judge_query, plan_queries
from guardrails.outcome import Code, Outcome
from guardrails.prometheus import PATIENCE, PrometheusClient
from guardrails.rules import Action
from guardrails.settings import EngineSettings, QueryError
from guardrails.spec_file import ServerNames, load_spec, load_spec_file
from guardrails.words import outcome_words
from metrics.cells import MICRO, Cell, Reach, Snapshot, Sums
from metrics.store import StoreError

T = datetime(2026, 3, 1, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PER_VARIANT = 'refund_p99{variant="$variant"}'
QUERIES = {"refund_p99": PER_VARIANT, "outage": "up{job='shop'}"}
SPEC = """\
experiment: refunds
unit: order_id
variants:
  control: {weight: 50%}
  treatment: {weight: 25%}
  other: {weight: 25%}
guardrails:
  - {kpi: flow_failure_rate, max_rise: 10%}
  - {rule: promql, query: refund_p99, max: 0.8, hold: 5m}
ends: {after: 10d, observe_for: 1d}
check_every: 1m
ramp: [{traffic: 10%, hold: 3m}, {traffic: 100%}]
"""
SHARED = SPEC.replace("query: refund_p99", "query: outage")


def watch(spec=SPEC, queries=QUERIES):
    return plan_queries(load_spec(spec), queries)[0]


def answer(*values, step=MINUTE):
    return (tuple((T + k * step, v) for k, v in enumerate(values)),)


def test_a_query_is_asked_about_each_treatment_at_every_check_interval():
    one, two = plan_queries(load_spec(SPEC), QUERIES)
    assert (one.text, two.text) == (
        'refund_p99{variant="treatment"}',
        'refund_p99{variant="other"}',
    )
    assert (one.hold, one.step, one.samples, one.shared) == (5 * MINUTE, MINUTE, 6, False)
    slow = watch(SPEC.replace("check_every: 1m", "check_every: 10m"))
    assert (slow.step, slow.samples) == (2.5 * MINUTE, 3)
    default = watch(SPEC.replace(", hold: 5m", ""))
    assert (default.hold, default.samples) == (2 * MINUTE, 3)
    long = watch(SPEC.replace("hold: 5m", "hold: 1d").replace("check_every: 1m", "check_every: 1s"))
    assert long.samples == 1001, "no answer has more samples than a person would look at"


@pytest.mark.parametrize(
    ("values", "outcome", "code"),
    [
        ([0.9] * 6, Outcome.BREACH, Code.BEYOND_LIMIT),
        ([0.8] * 6, Outcome.PASS, Code.WITHIN_LIMIT),
        ([0.9] * 5 + [0.7], Outcome.INCONCLUSIVE, Code.NOT_HELD),
        ([0.7, *[0.9] * 5], Outcome.INCONCLUSIVE, Code.NOT_HELD),
        ([0.9] * 5, Outcome.ERROR, Code.SOURCE_FAILED),
        ([0.9, float("nan"), 0.9, 0.9, 0.9, 0.9], Outcome.ERROR, Code.SOURCE_FAILED),
        ([float("inf")] * 6, Outcome.ERROR, Code.SOURCE_FAILED),
    ],
)
def test_all_samples_beyond_the_limit_are_a_breach_and_a_gap_is_an_error(values, outcome, code):
    finding = judge_query(watch(), answer(*values))
    assert (finding.outcome, finding.code) == (outcome, code)
    assert (finding.evidence >= 1) == (outcome is Outcome.BREACH)


def test_a_minimum_is_beyond_when_the_answer_is_below():
    low = watch(SPEC.replace("max: 0.8", "min: 0.8"))
    assert judge_query(low, answer(*[0.7] * 6)).outcome is Outcome.BREACH
    assert judge_query(low, answer(*[0.9] * 6)).outcome is Outcome.PASS


@pytest.mark.parametrize(
    ("series", "words"),
    [
        ((), "answers nothing"),
        (answer(0.9) * 3, "answers 3 series, and one is needed"),
        (answer(*[float("nan")] * 6), "answers nan, which is no number"),
        (answer(0.9, 0.9), "has 2 of 6 samples: there is a gap"),
    ],
)
def test_what_is_wrong_with_an_answer_is_said(series, words):
    assert words in outcome_words(judge_query(watch(), series), watch(), "")


def test_the_words_say_that_nothing_is_proven():
    breach = outcome_words(judge_query(watch(), answer(*[1.2] * 6)), watch(), "")
    assert breach == (
        "refund_p99 of treatment was above 0.8 at all 6 evaluations over 5 min, and is 1.2 now. "
        "This is a query of Prometheus: nothing is proven, and it is no part of the guarantee."
    )
    some = outcome_words(judge_query(watch(), answer(*[1.2] * 4, 0.5, 0.5)), watch(), "")
    assert some == "refund_p99 is 0.5, and was above 0.8 at 4 of 6 evaluations over 5 min"
    good = outcome_words(judge_query(watch(), answer(*[0.5] * 6)), watch(), "")
    assert good == "refund_p99 is 0.5, and within 0.8 at all 6 evaluations over 5 min"


@pytest.mark.parametrize(
    ("written", "text", "action"),
    [
        ("", PER_VARIANT, Action.ROLLBACK),
        ("", "up", Action.HOLD),
        ("", None, Action.ROLLBACK),
        (", action: stop", PER_VARIANT, Action.STOP),
        (", action: stop", "up", Action.STOP),
        (", action: alert", "up", Action.ALERT),
        (", action: rollback", "up", Action.HOLD),
        ("", "up_$variants", Action.HOLD),
    ],
)
def test_only_a_query_that_names_the_variant_can_turn_it_back(written, text, action):
    spec = load_spec(SPEC.replace("hold: 5m", f"hold: 5m{written}"))
    assert spec.guardrails[1].action_for(text) is action


def test_a_server_refuses_queries_it_has_not_and_rollbacks_that_blame_nobody():
    def problems(text):
        server = ServerNames(queries=QUERIES)
        with pytest.raises(SpecError) as caught:
            load_spec(text, source="s.yaml", server=server)
        return [str(p) for p in caught.value.problems]

    (unknown,) = problems(SPEC.replace("refund_p99", "refund_p98"))
    assert unknown == (
        "s.yaml:9:27: guardrails[1].query: the service has no query `refund_p98`; did you mean "
        "`refund_p99`?"
    )
    (blames,) = problems(SHARED.replace("hold: 5m", "hold: 5m, action: rollback"))
    assert blames == (
        "s.yaml:9:63: guardrails[1].action: `outage` says nothing of a single variant, so it "
        "cannot turn one back; use hold, alert or stop, or put `$variant` into the query in the "
        "service's settings"
    )


class Planted:
    """A ``QuerySource`` whose answers are planted, by a part of the query's text."""

    def __init__(self, **values):
        self.values_ = values
        self.asked = []
        self.broken = None
        self.meanwhile = lambda: None

    def values(self, query, *, start, stop, step):
        self.asked.append((query, start, stop, step))
        self.meanwhile()
        if self.broken is not None:
            raise self.broken
        value = next((v for part, v in self.values_.items() if part in query), None)
        if value is None:
            return ()
        count = int((stop - start) / step) + 1
        return (tuple((start + k * step, value) for k in range(count)),)


class Steady:
    """A store in which nothing is wrong: 100 units a minute and arm, one in ten failing."""

    broken = False

    def snapshot(self, frame, *, now, as_of=None):
        if self.broken:
            raise StoreError("the disk is gone")
        cells = {}
        for kpi, windows in frame.kpis:
            for window in windows:
                n = max(0, int((now - window - frame.lag - frame.origin) / MINUTE) * 100)
                x = n // 10
                sums = Sums(n, x * MICRO, n * MICRO, x * MICRO**2, x * MICRO**2, n * MICRO**2,
                            x * 10**9, x * 10**9, x * 10**9, n * 10**9)  # fmt: skip
                cells[kpi.key, window] = tuple(Cell(v, 0, 0, n, sums) for v in frame.variants)
        twice = len(frame.variants) > len(("control", "treatment"))  # it has half of the traffic
        units = {v: 2000 if twice and v == "control" else 1000 for v in frame.variants}
        return Snapshot(now, 1, cells, {v: Reach(n, 3 * n, now, now, 0) for v, n in units.items()})

    def exposure_counts(self, experiment, seed, *, since, until):
        return {}


class Recording:
    def __init__(self):
        self.told = []

    def send(self, message):
        self.told.append(message)


class World:
    def __init__(self, source, spec=SPEC, queries=QUERIES, url="sqlite://", **settings):
        # served for longer than any query must hold before the first check
        self.clock = SteppedClock(T - timedelta(minutes=10))
        self.channel = Recording()
        self.control = ControlPlane(url)
        self.store = Steady()
        self.engine = Engine(
            control=self.control,
            store=self.store,
            clock=self.clock,
            settings=EngineSettings(
                channels={"log": self.channel},
                show_core=False,
                queries=queries,
                prometheus=source,
                **settings,
            ),
        )
        self.key = load_spec(spec).experiment.key
        self.engine.apply(spec, source="test.yaml", actor="tester")
        self.clock.move_to(T)

    def minutes(self, count):
        reports = []
        for _ in range(count):
            self.clock.move_to(self.clock.now() + MINUTE)
            reports += self.engine.run_due()
        return reports

    def view(self):
        return self.engine.experiment(self.key)

    def states(self):
        return {v.name: v.state for v in self.view().variants}

    def guardrail(self, name="refund_p99", treatment="treatment"):
        found = [
            g for g in self.view().guardrails if (g.guardrail, g.treatment) == (name, treatment)
        ]
        return found[0]


@pytest.fixture
def world():
    worlds = []

    def build(*args, **kwargs):
        worlds.append(World(*args, **kwargs))
        return worlds[-1]

    yield build
    for made in worlds:
        made.control.close()


def test_a_treatment_whose_query_stays_beyond_its_limit_is_turned_back_alone(world):
    w = world(Planted(treatment=1.2, other=0.4))
    w.minutes(2)
    assert w.states() == {"control": "control", "treatment": "rolled_back", "other": "live"}
    rollback = [t for t in w.engine.transitions("refunds") if t.after == "rolled_back"]
    assert "refund_p99 of treatment was above 0.8" in rollback[0].reason
    assert rollback[0].evidence["finding"]["detail"]["promql"] == 'refund_p99{variant="treatment"}'
    assert [m.kind for m in w.channel.told if m.variant == "treatment"] == ["rolled_back"]
    good = w.guardrail(treatment="other")
    assert (good.outcome, good.rule, good.kpi, good.level) == (Outcome.PASS, "promql", None, None)
    assert "outside the guarantee" in good.limit
    told = " ".join(w.engine.explain("refunds").paragraphs)
    assert "outside statistics" in told


def test_the_question_is_about_the_hold_before_the_tick_and_shared_ones_are_asked_once(world):
    source = Planted(up=0.1)
    w = world(source, SHARED)
    w.minutes(1)
    assert source.asked == [("up{job='shop'}", T - 4 * MINUTE, T + MINUTE, MINUTE)]
    assert {g.outcome for g in w.view().guardrails if g.guardrail == "outage"} == {Outcome.PASS}


def test_a_query_of_the_whole_service_holds_the_ramp_and_is_told_once(world):
    w = world(source := Planted(up=5.0), SHARED)
    w.minutes(10)
    assert (w.view().step, set(w.states().values())) == (0, {"control", "live"})
    assert w.guardrail("outage").action == "hold"
    told = [m for m in w.channel.told if m.kind == "breach_told"]
    assert len(told) == 1
    assert "blames no variant" in told[0].text
    source.values_ = {"up": 0.1}
    w.minutes(1)
    assert w.view().step == 1


@pytest.mark.parametrize("spec", [SPEC, SHARED], ids=["of a variant", "of the service"])
def test_a_stop_ends_the_whole_experiment_with_its_reason(world, spec):
    w = world(Planted(treatment=1.2, other=0.1, up=5.0), spec.replace("5m}", "5m, action: stop}"))
    (report,) = w.minutes(1)
    assert report.decision.startswith("stop the experiment:")
    assert w.view().state == "stopped"
    last = w.engine.transitions("refunds")[-1]
    assert (last.before, last.after, last.actor) == ("running", "stopped", "turnback")
    assert "at all 6 evaluations" in last.reason
    assert last.evidence["finding"]["outcome"] == "breach"
    assert [m.kind for m in w.channel.told] == ["stopped"]
    assert w.minutes(5) == []
    served = w.engine.serving().experiments["refunds"]
    assert served.assign({"targetingKey": "order-1"}).variant == "control"


@pytest.mark.parametrize("changes", ["mode: shadow\n", ""])
def test_shadow_dry_run_and_suspended_engines_turn_nobody_back_by_a_query(world, changes):
    spec = changes + SPEC.replace("hold: 5m", "hold: 5m, action: stop")
    w = world(Planted(treatment=1.2, other=1.2), spec, suspended=not changes)
    w.minutes(5)
    assert w.view().state == "running"
    assert set(w.states().values()) == {"control", "live"}
    assert sorted(m.variant for m in w.channel.told) == ["other", "treatment"]


def test_without_an_answer_nobody_is_turned_back_the_ramp_holds_and_people_are_told_once(world):
    source = Planted(treatment=1.2, other=1.2)
    source.broken = QueryError("Prometheus cannot be reached (ConnectError)")
    w = world(source)
    w.minutes(2)
    assert w.channel.told == []
    w.minutes(8)
    assert (w.view().step, set(w.states().values())) == (0, {"control", "live"})
    blind = w.guardrail()
    assert (blind.outcome, blind.code, blind.blind_since) == (
        Outcome.ERROR,
        Code.SOURCE_FAILED,
        T + MINUTE,
    )
    assert "Prometheus cannot be reached" in blind.words
    assert {g.outcome for g in w.view().guardrails if g.rule == "regression"} == {
        Outcome.INCONCLUSIVE
    }, "the KPIs are judged as ever"
    (told,) = w.channel.told
    assert (told.kind, told.variant) == ("blind", None)
    assert "refund_p99 cannot be judged since 2026-03-01 00:01 UTC" in told.title
    source.broken = None
    w.minutes(4)  # what failed ten times is not asked at every check
    assert w.states()["treatment"] == "rolled_back", "the harm was there all the time"


def test_a_store_that_fails_does_not_blind_a_query_and_a_defect_is_an_error(world):
    w = world(Planted(treatment=1.2, other=0.1))
    w.store.broken = True
    w.minutes(1)
    assert w.states()["treatment"] == "rolled_back"
    broken = world(source := Planted())
    source.broken = ZeroDivisionError("a defect")
    broken.minutes(1)
    assert broken.guardrail().outcome is Outcome.ERROR
    assert "the query failed (ZeroDivisionError)" in broken.guardrail().words


def test_settings_that_lost_a_query_or_prometheus_are_an_error_and_never_a_rollback(world):
    w = world(None)
    w.minutes(1)
    assert "the service has no Prometheus" in w.guardrail().words
    w.engine = Engine(
        control=w.control,
        store=w.store,
        clock=w.clock,
        settings=EngineSettings(show_core=False, prometheus=Planted(refund=9.0)),
    )
    w.minutes(1)
    assert "the service's settings have no query `refund_p99`" in w.guardrail().words
    w.engine = Engine(
        control=w.control,
        store=w.store,
        clock=w.clock,
        settings=EngineSettings(
            show_core=False, prometheus=Planted(refund=9.0), queries={"refund_p99": "refund_p99"}
        ),
    )
    w.minutes(1)
    assert (w.guardrail().outcome, w.guardrail().action) == (Outcome.BREACH, "hold")
    assert w.states()["treatment"] == "live"


def test_the_example_of_the_design_is_applied_and_acted_upon(world):
    from pathlib import Path

    path = Path(__file__).parents[1] / "specs/good/design.yaml"
    assert load_spec_file(path).warnings == ()
    w = world(Planted(three_step=1.2), path.read_text(), {"refund_p99": PER_VARIANT})
    assert [g.rule for g in w.view().guardrails] == ["regression"] * 4 + [
        "limit",
        "promql",
        "sample_ratio",
    ]
    w.minutes(6)
    assert w.states()["three_step"] == "rolled_back"


@contextmanager
def serving(respond):
    """Answer POSTs on a free port; ``respond`` gets the form and returns (status, body).

    ``None`` instead closes the connection without an answer.
    """

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            form = parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
            answered = respond({k: v[0] for k, v in form.items()})
            if answered is None:
                return
            status, body = answered
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    thread = Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}"
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def ask(client, query="up"):
    return client.values(query, start=T, stop=T + 5 * MINUTE, step=MINUTE)


@contextmanager
def client_of(url, **options):
    client = PrometheusClient(url, **options)
    try:
        yield client
    finally:
        client.close()


def matrix(*series):
    result = [{"metric": {}, "values": [[at, str(v)] for at, v in one]} for one in series]
    return json.dumps(
        {"status": "success", "data": {"resultType": "matrix", "result": result}}
    ).encode()


def test_the_client_asks_for_the_span_and_returns_every_series():
    seen = []

    def respond(form):
        seen.append(form)
        return 200, matrix([(T.timestamp(), 0.5), (T.timestamp() + 60, "NaN")], [(0, "+Inf")])

    with serving(respond) as url, client_of(url + "/") as client:
        first, second = ask(client, 'up{a="b"}')
    assert seen[0]["query"] == 'up{a="b"}'
    assert float(seen[0]["end"]) - float(seen[0]["start"]) == 300
    assert float(seen[0]["step"]) == 60
    assert first[0] == (T, 0.5)
    assert first[1][1] != first[1][1]
    assert second[0][1] == float("inf")


@pytest.mark.parametrize(
    ("status", "body", "words"),
    [
        (400, b'{"status":"error","error":"parse error: unexpected end"}', "parse error"),
        (502, b"<html>", "Prometheus answered 502"),
        (200, b"<html>", "is this Prometheus?"),
        (200, b"[]", "is this Prometheus?"),
        (200, b'{"status":"success","data":{"resultType":"vector","result":[]}}', "range query"),
        (
            200,
            b'{"status":"success","data":{"resultType":"matrix","result":[{}]}}',
            "cannot be read",
        ),
        (200, matrix([(1e300, 1)]), "cannot be read"),
        (200, b" " * 4_000_001, "more than 4,000,000 bytes"),
    ],
)
def test_every_wrong_answer_is_a_query_error_in_words(status, body, words):
    with (
        serving(lambda _: (status, body)) as url,
        client_of(url) as client,
        pytest.raises(QueryError, match=words.replace("?", r"\?")),
    ):
        ask(client)


def test_a_dead_prometheus_is_an_error_that_shows_no_password():
    with client_of("http://user:secret@127.0.0.1:9") as client:
        assert "secret" not in repr(client)
        with pytest.raises(QueryError, match="cannot be reached") as caught:
            ask(client)
    assert "secret" not in str(caught.value)
    assert caught.value.__cause__ is None


def test_slow_answers_use_up_the_patience_and_later_questions_are_refused_at_once():
    now = [0.0]
    asked = []

    def respond(_form):
        asked.append(now[0])
        now[0] += 4.0  # as slow as is just allowed
        return 200, matrix()

    with serving(respond) as url, client_of(url, clock=lambda: now[0]) as client:
        refused: list[str] = []
        for _ in range(3000):  # fifty minutes of a question a second
            now[0] += 1.0
            try:
                ask(client)
            except QueryError as error:
                refused.append(str(error))
    waited = 4.0 * len(asked)
    assert len(asked) > 100, "it is asked again and again"
    assert waited <= PATIENCE + 0.21 * now[0], "and costs a fifth of the time at most"
    assert len(refused) == 3000 - len(asked)
    assert all("too slow lately" in words for words in refused)


def test_a_drop_by_drop_answer_is_cut_off():
    ticks = iter(range(0, 10_000, 3))
    with (
        serving(lambda _: (200, matrix())) as url,
        client_of(url, clock=lambda: float(next(ticks)), timeout=1.0) as client,
        pytest.raises(QueryError, match="within 1 s"),
    ):
        ask(client)


def test_what_a_query_said_before_a_treatment_was_served_is_not_held_against_it(world):
    w = world(Planted(treatment=1.2, other=0.4), cooldown=timedelta(0))
    w.minutes(2)
    assert w.states()["treatment"] == "rolled_back"
    w.engine.resume("refunds", "treatment", reason="mended", actor="ann")
    w.minutes(3)
    waiting = w.guardrail()
    assert (waiting.outcome, waiting.code) == (Outcome.INCONCLUSIVE, Code.NOT_SERVED_YET)
    assert w.states()["treatment"] == "live"
    w.minutes(4)
    assert w.states()["treatment"] == "rolled_back", "it was served for five minutes by then"


def test_a_person_turns_a_treatment_back_while_prometheus_hangs(world, tmp_path):
    asked, let_go = Event(), Event()

    def respond(_form):
        asked.set()
        let_go.wait(60)

    with serving(respond) as url, client_of(url, timeout=60) as client:
        w = world(client, url=f"sqlite:///{tmp_path / 'control.db'}")
        w.clock.move_to(T + MINUTE)
        reports = []
        checking = Thread(target=lambda: reports.extend(w.engine.run_due()))
        checking.start()
        try:
            assert asked.wait(60)
            done = w.engine.roll_back("refunds", "other", reason="complaints", actor="ann")
            answered_first = not reports and not let_go.is_set()
        finally:
            let_go.set()
            checking.join(60)
    assert (done.variant, done.after, done.actor) == ("other", "rolled_back", "ann")
    assert answered_first, "the check was still waiting for Prometheus"
    (report,) = reports
    assert report.result == "ok"
    assert w.states() == {"control": "control", "treatment": "live", "other": "rolled_back"}
    blind = w.guardrail()
    assert (blind.outcome, blind.code) == (Outcome.ERROR, Code.SOURCE_FAILED)
    assert "Prometheus cannot be reached" in blind.words


def test_a_prometheus_that_hangs_is_an_error_which_holds_the_ramp_and_turns_nobody_back(world):
    let_go = Event()
    with (
        serving(lambda _: let_go.wait(60) and None) as url,
        client_of(url, timeout=0.1) as client,
    ):
        w = world(client)
        try:
            w.minutes(5)
        finally:
            let_go.set()
    assert (w.view().step, set(w.states().values())) == (0, {"control", "live"})
    blind = w.guardrail()
    assert (blind.outcome, blind.code) == (Outcome.ERROR, Code.SOURCE_FAILED)
    assert "did not answer within 0.1 s" in blind.words


MEANWHILE = {
    "another file": lambda w: w.engine.apply(
        SPEC.replace("max: 0.8", "max: 0.9"), source="new.yaml", actor="ann"
    ),
    "another state": lambda w: w.engine.pause("refunds", reason="look", actor="ann"),
    "another attempt": lambda w: (
        w.engine.roll_back("refunds", "treatment", reason="look", actor="ann"),
        w.engine.resume("refunds", "treatment", reason="looked", actor="ann"),
    ),
}


@pytest.mark.parametrize("change", MEANWHILE.values(), ids=MEANWHILE)
def test_an_answer_whose_experiment_changed_meanwhile_is_not_used(world, change):
    w = world(source := Planted(treatment=1.2, other=0.4))

    def meanwhile():
        source.meanwhile = lambda: None
        change(w)

    source.meanwhile = meanwhile
    w.minutes(1)
    assert w.states()["treatment"] == "live"
    assert (w.guardrail().outcome, w.guardrail().code) == (Outcome.ERROR, Code.SOURCE_FAILED)
    assert "the experiment changed while Prometheus was asked" in w.guardrail().words
    w.minutes(6)
    assert w.states()["treatment"] == "rolled_back", "the next checks asked again"


def test_what_a_person_does_to_one_treatment_spoils_no_answer_about_another(world):
    w = world(source := Planted(treatment=1.2, other=0.4))

    def meanwhile():
        source.meanwhile = lambda: None
        w.engine.roll_back("refunds", "other", reason="complaints", actor="ann")

    source.meanwhile = meanwhile
    w.minutes(1)
    assert set(w.states().values()) == {"control", "rolled_back"}


def test_experiments_that_ask_the_same_at_the_same_tick_ask_once(world):
    w = world(source := Planted(up=5.0), SHARED)
    twin = SHARED.replace("experiment: refunds", "experiment: twin")
    w.engine.apply(twin, source="twin.yaml", actor="tester")
    w.minutes(6)
    source.asked.clear()
    assert len(w.minutes(1)) == 2
    assert len(source.asked) == 1
    for key in ("refunds", "twin"):
        found = [g for g in w.engine.experiment(key).guardrails if g.guardrail == "outage"]
        assert {g.outcome for g in found} == {Outcome.BREACH}
