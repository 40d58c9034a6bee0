"""The OFREP service as its clients see it, over HTTP and through the official provider."""

import json
import re
import warnings
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest

from experiments.ofrep import ContextError, context_of, entity_tag, not_found, tag_matches
from tests.running import KEY, SPEC, running

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    from openfeature.contrib.provider.ofrep import OFREPProvider
    from openfeature.evaluation_context import EvaluationContext
    from openfeature.exception import (
        FlagNotFoundError,
        InvalidContextError,
        TargetingKeyMissingError,
    )

FLAGS = "/ofrep/v1/evaluate/flags"
TYPED = """\
experiment: typed
unit: user_id
variants:
  control: {weight: 50%, flow: 1.0}
  treatment: {weight: 50%, flow: 2.0}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 10d}
audience:
  platform: ios
"""
HARMLESS = {"SPLIT", "TARGETING_MATCH", "STATIC", "DISABLED", "UNKNOWN"}


@pytest.fixture(scope="module")
def it():
    with running() as service:
        assert service.apply().status_code == 201
        assert service.apply(TYPED).status_code == 201
        yield service


def bulk(it, context, **headers):
    return it.http.post(FLAGS, json={"context": context}, headers=headers)


def test_a_single_answer_has_every_field_clients_need(it):
    unit = it.unit_of("treatment")
    assert it.evaluate(unit).json() == {
        "key": KEY,
        "value": {"steps": ["why", "confirm"]},
        "reason": "SPLIT",
        "variant": "treatment",
        "metadata": {
            "turnback.experiment": KEY,
            "turnback.state": "running",
            "turnback.exposed": True,
        },
    }


def test_a_unit_no_event_could_name_is_served_and_said_not_to_be_exposed(it):
    compiled = it.services.engine.serving().experiments[KEY]
    for tail in ("a", "b", "c", "d"):
        for length, exposed in ((256, True), (257, False), (5000, False)):
            unit = "é" * (length - 1) + tail
            answer = it.evaluate(unit).json()
            assert answer["metadata"]["turnback.exposed"] is exposed
            assert answer["variant"] == compiled.assign({"targetingKey": unit}).variant
            assert answer["reason"] == "SPLIT"
            (flag,) = [
                f for f in bulk(it, {"targetingKey": unit}).json()["flags"] if f["key"] == KEY
            ]
            assert flag == answer
    it.services.flush()
    recorded = it.services.store.exposed_units(KEY, 1)
    assert {len(unit) for unit in recorded if unit.startswith("é")} == {256}


@pytest.mark.parametrize(
    ("body", "code"),
    [
        pytest.param(b"{", "PARSE_ERROR", id="no JSON"),
        pytest.param(b"", "PARSE_ERROR", id="nothing"),
        pytest.param(b"[" * 5000, "PARSE_ERROR", id="nested beyond reason"),
        pytest.param(b'{"context": {"targetingKey": "\xff"}}', "PARSE_ERROR", id="no UTF-8"),
        pytest.param(b"[]", "INVALID_CONTEXT", id="no object"),
        pytest.param(b"{}", "INVALID_CONTEXT", id="no context"),
        pytest.param(b'{"context": []}', "INVALID_CONTEXT", id="context is no object"),
        pytest.param(b'{"context": {"targetingKey": 7}}', "INVALID_CONTEXT", id="key is a number"),
        pytest.param(b'{"context": {}}', "TARGETING_KEY_MISSING", id="no key"),
        pytest.param(b'{"context": {"targetingKey": ""}}', "TARGETING_KEY_MISSING", id="empty key"),
    ],
)
def test_a_bad_request_is_answered_with_key_code_and_details(it, body, code):
    answer = it.http.post(f"{FLAGS}/{KEY}", content=body)
    assert answer.status_code == 400
    assert answer.json()["key"] == KEY
    assert answer.json()["errorCode"] == code
    assert answer.json()["errorDetails"]


def test_the_id_of_the_unit_type_stands_for_the_targeting_key(it):
    unit = it.unit_of("treatment")
    context = {"targetingKey": "somebody", "order_id": unit}
    answer = it.http.post(f"{FLAGS}/{KEY}", json={"context": context})
    assert answer.json()["variant"] == "treatment"
    alone = it.http.post(f"{FLAGS}/{KEY}", json={"context": {"order_id": unit}})
    assert alone.json() == answer.json()


def test_an_unknown_flag_is_404_and_a_large_context_413(it):
    answer = it.evaluate("u1", key="none")
    assert (answer.status_code, answer.json()["errorCode"]) == (404, "FLAG_NOT_FOUND")
    assert answer.json()["key"] == "none"
    large = it.http.post(f"{FLAGS}/{KEY}", content=b'{"context": {"x": "' + b"x" * 70_000)
    assert (large.status_code, large.json()["errorCode"]) == (413, "GENERAL")


@pytest.mark.parametrize(
    ("known", "words"),
    [
        ("", "none is yet: `turnback apply FILE`"),
        ("ba", "served: `a`, `b`"),
        ("edcba", "served: `a`, `b`, `c`, `d`, `e`"),
        ("abcdef", "`turnback status` lists them"),
    ],
)
def test_a_flag_like_no_other_is_told_the_few_there_are(known, words):
    assert not_found("zzz", dict.fromkeys(known)) == f"no experiment 'zzz' is served here; {words}"


def test_a_misspelt_flag_is_told_which_one_was_meant_and_a_foreign_one_which_there_are(it):
    misspelt = KEY.replace("-", "_")
    assert it.evaluate("u1", key=misspelt).json()["errorDetails"] == (
        f"no experiment '{misspelt}' is served here; did you mean `{KEY}`?"
    )
    foreign = it.evaluate("u1", key="zzz").json()["errorDetails"]
    flags = it.http.post(FLAGS, json={"context": {"targetingKey": "u1"}}).json()["flags"]
    assert foreign.startswith("no experiment 'zzz' is served here; ")
    named = set(re.findall("`(.+?)`", foreign))
    assert named == {each["key"] for each in flags} or named == {"turnback status"}


def test_floats_stay_floats_on_the_wire(it):
    context = {"targetingKey": "u1", "platform": "ios"}
    text = it.http.post(f"{FLAGS}/typed", json={"context": context}).text
    assert '"value":1.0' in text or '"value":2.0' in text


def test_who_is_not_in_the_audience_gets_control_and_is_not_exposed(it):
    answer = it.evaluate("u1", key="typed").json()
    assert (answer["variant"], answer["reason"]) == ("control", "TARGETING_MATCH")
    assert answer["metadata"]["turnback.exposed"] is False


def test_bulk_answers_every_flag_sorted_and_names_the_stream(it):
    answer = bulk(it, {"targetingKey": "u1", "platform": "ios"}).json()
    assert [f["key"] for f in answer["flags"]] == [KEY, "typed"]
    assert all(f["reason"] in HARMLESS and f["variant"] and "value" in f for f in answer["flags"])
    assert answer["eventStreams"][0]["endpoint"]["requestUri"].startswith("/ofrep/v1/stream")


def test_bulk_without_any_id_is_an_invalid_context(it):
    answer = bulk(it, {"platform": "ios"})
    assert (answer.status_code, answer.json()["errorCode"]) == (400, "INVALID_CONTEXT")


def test_in_bulk_a_flag_that_lacks_its_id_fails_alone(it):
    flags = {f["key"]: f for f in bulk(it, {"order_id": "o1"}).json()["flags"]}
    assert flags[KEY]["variant"] in {"control", "treatment"}
    assert flags["typed"]["errorCode"] == "TARGETING_KEY_MISSING"


@pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*", 'W/"a", W/{} , "b"'])
def test_an_answer_the_client_holds_is_304_without_a_body(it, form):
    first = bulk(it, {"targetingKey": "u1"})
    tag = first.headers["etag"]
    again = bulk(it, {"targetingKey": "u1"}, **{"If-None-Match": form.format(tag)})
    assert (again.status_code, again.content) == (304, b"")
    assert again.headers["etag"] == tag


def test_the_tag_depends_on_the_whole_context_not_only_on_the_configuration(it):
    tag = bulk(it, {"targetingKey": "u1", "platform": "ios"}).headers["etag"]
    # a 304 here would leave the client with the flags of another context
    other = bulk(it, {"targetingKey": "u1", "platform": "web"}, **{"If-None-Match": tag})
    assert other.status_code == 200
    assert other.headers["etag"] != tag


def test_hints_of_a_change_never_make_a_304(it):
    url = f'{FLAGS}?flagConfigEtag="abc"&flagConfigLastModified=1771622898'
    assert it.http.post(url, json={"context": {"targetingKey": "u1"}}).status_code == 200
    answer = it.http.post(f"{FLAGS}?flagConfigTag=x", json={"context": {"targetingKey": "u1"}})
    assert answer.status_code == 400


@pytest.mark.parametrize(
    ("given", "same"),
    [
        ('"a"', True),
        ("a", True),
        ('W/"a"', True),
        ('"b","a"', True),
        ("*", True),
        ('"b"', False),
        ('"ab"', False),
        ("", False),
        (None, False),
    ],
)
def test_tags_are_compared_weakly(given, same):
    assert tag_matches(given, '"a"') is same


def test_the_tag_of_an_answer_is_quoted_and_stable():
    assert entity_tag(b"x") == entity_tag(b"x") != entity_tag(b"y")
    assert entity_tag(b"x").startswith('"')
    assert context_of(b'{"context": {"targetingKey": null, "a": 1}}') == {
        "targetingKey": None,
        "a": 1,
    }


@pytest.mark.parametrize(
    ("key", "words"),
    [
        (b"7", "a number"),
        (b"1.5", "a number"),
        (b"true", "a boolean"),
        (b"[]", "a list"),
        (b"{}", "an object"),
    ],
)
def test_what_a_targeting_key_is_instead_of_a_text_is_told_in_words_of_json(key, words):
    with pytest.raises(ContextError) as caught:
        context_of(b'{"context": {"targetingKey": ' + key + b"}}")
    quoted = ', in quotes: {"targetingKey": "20391"}' * (words == "a number")
    assert caught.value.details == f"context.targetingKey is {words}; send a string{quoted}"


def test_browsers_are_let_in_and_may_read_the_tag(it):
    asked = {"Origin": "https://shop.example", "Access-Control-Request-Method": "POST"}
    preflight = it.http.options(FLAGS, headers=asked)
    assert preflight.status_code == 204
    allowed = preflight.headers["access-control-allow-headers"]
    for name in ("content-type", "if-none-match", "authorization", "x-api-key", "traceparent"):
        assert name in allowed
    assert "tracestate" in allowed
    answer = bulk(it, {"targetingKey": "u1"}, Origin="https://shop.example")
    assert answer.headers["access-control-allow-origin"] == "*"
    assert {"ETag", "Retry-After"} <= set(
        answer.headers["access-control-expose-headers"].split(", ")
    )


def test_the_official_provider_sees_the_rollback():
    with running() as it:
        it.apply()
        unit = it.unit_of("treatment")
        provider = OFREPProvider(it.url)
        default = {"steps": []}

        def evaluated(key=KEY, context=None):
            context = context or EvaluationContext(targeting_key=unit)
            return provider.resolve_object_details(key, default, context)

        before = evaluated()
        assert (before.variant, before.reason) == ("treatment", "SPLIT")
        assert before.value == {"steps": ["why", "confirm"]}
        assert it.act("roll_back", variant="treatment").status_code == 200
        after = evaluated()
        assert (after.variant, after.reason) == ("control", "DISABLED")
        assert after.value == {"steps": ["confirm"]}
        assert after.flag_metadata["turnback.state"] == "rolled_back"
        assert it.act("resume", variant="treatment").status_code == 200
        assert evaluated().variant == "treatment"
        with pytest.raises(FlagNotFoundError):
            evaluated("none")
        with pytest.raises(TargetingKeyMissingError):
            evaluated(context=EvaluationContext(attributes={"platform": "ios"}))
        with pytest.raises(InvalidContextError):
            evaluated(context=EvaluationContext(targeting_key=7))
        provider.session.close()


def test_a_flow_of_null_is_the_codes_own_default_and_the_variant_is_kept():
    with running() as it:
        it.apply(SPEC.replace("flow: {steps: [confirm]}", "flow: null")).raise_for_status()
        control, treatment = it.unit_of("control"), it.unit_of("treatment")
        assert "value" not in it.evaluate(control).json()
        provider, default = OFREPProvider(it.url), {"steps": ["as ever"]}

        def told(unit):
            details = provider.resolve_object_details(KEY, default, EvaluationContext(unit))
            return details.variant, details.reason, details.value

        assert told(control) == ("control", "SPLIT", default)
        assert told(treatment) == ("treatment", "SPLIT", {"steps": ["why", "confirm"]})
        it.act("roll_back", variant="treatment").raise_for_status()
        assert told(treatment) == ("control", "DISABLED", default)
        provider.session.close()


def test_the_official_provider_takes_floats_and_keys():
    with running(host="0.0.0.0", admin_key="adm", client_key="cli") as it:  # noqa: S104 - see test_service
        it.apply(TYPED, headers={"X-API-Key": "adm"})
        context = EvaluationContext("u1", {"platform": "ios"})
        for headers in ({"X-API-Key": "cli"}, {"Authorization": "Bearer cli"}):
            provider = OFREPProvider(it.url, headers_factory=lambda given=headers: given)
            assert provider.resolve_float_details("typed", 0.0, context).value in {1.0, 2.0}
            provider.session.close()


def test_a_rollback_reaches_an_open_stream():
    with running() as it:
        it.apply()
        stream = bulk(it, {"targetingKey": "u"}).json()["eventStreams"][0]["endpoint"]
        with ThreadPoolExecutor(1) as pool, it.http.stream("GET", stream["requestUri"]) as open_one:
            assert open_one.headers["content-type"].startswith("text/event-stream")
            assert open_one.headers["access-control-allow-origin"] == "*"
            events = data_of(open_one.iter_lines())
            first = next(events)
            assert first["type"] == "refetchEvaluation"
            acted = pool.submit(it.act, "roll_back", variant="treatment")
            second = next(events)
            assert acted.result().status_code == 200
            assert second["etag"] != first["etag"]
            assert second["etag"].strip('"') == it.services.engine.serving().version
            assert isinstance(second["lastModified"], int)


def data_of(lines):
    for line in lines:
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))


def test_a_stream_that_names_the_last_event_is_told_only_what_is_new():
    with running() as it:
        it.apply()
        headers = {"Last-Event-ID": it.services.engine.serving().version}
        with (
            ThreadPoolExecutor(1) as pool,
            it.http.stream("GET", "/ofrep/v1/stream", headers=headers) as stream,
        ):
            pool.submit(it.act, "pause")
            told = next(data_of(stream.iter_lines()))
        assert told["etag"].strip('"') != headers["Last-Event-ID"]


def test_a_stream_is_opened_by_the_token_of_its_address():
    with running(host="0.0.0.0", admin_key="adm", client_key="cli") as it:  # noqa: S104 - see test_service
        assert it.http.get("/ofrep/v1/stream").status_code == 401
        assert it.http.get("/ofrep/v1/stream?token=guessed").status_code == 401
        answer = bulk(it, {"targetingKey": "u"}, **{"X-API-Key": "cli"})
        path = answer.json()["eventStreams"][0]["endpoint"]["requestUri"]
        assert "cli" not in path
        with it.http.stream("GET", path) as stream:
            assert stream.status_code == 200
        again = bulk(it, {"targetingKey": "u"}, **{"X-API-Key": "cli"})
        assert again.headers["etag"] == answer.headers["etag"]


def test_an_ended_or_paused_experiment_answers_control_even_without_an_id():
    with running() as it:
        it.apply()
        it.act("pause")
        paused = it.http.post(f"{FLAGS}/{KEY}", json={"context": {}}).json()
        assert (paused["variant"], paused["reason"]) == ("control", "DISABLED")
        it.act("stop")
        stopped = it.http.post(f"{FLAGS}/{KEY}", json={"context": {}}).json()
        assert (stopped["variant"], stopped["reason"]) == ("control", "STATIC")
        assert stopped["metadata"]["turnback.state"] == "stopped"


def test_an_evaluation_is_recorded_once_and_a_bulk_one_never(tmp_path):
    with running(data=tmp_path) as it:
        it.apply()
        unit = it.unit_of("treatment")
        for _ in range(3):
            it.evaluate(unit)
        bulk(it, {"targetingKey": "another"})
        it.services.flush()
        assert it.services.store.exposed_units(KEY, 1) == {unit: "treatment"}
        assert it.services.store.watermark() == 1
    with running(data=tmp_path) as it:
        it.evaluate(unit)
        it.services.flush()
        assert it.services.store.watermark() == 1, "the first-seen set is filled from the store"


def test_units_of_a_rolled_back_arm_are_exposed_no_more():
    with running() as it:
        it.apply()
        unit = it.unit_of("treatment")
        it.act("roll_back", variant="treatment")
        it.evaluate(unit)
        it.services.flush()
        assert it.services.store.exposed_units(KEY, 1) == {}


def test_methods_that_mean_nothing_are_405(it):
    answer = it.http.get(f"{FLAGS}/{KEY}")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")
    assert it.http.post("/ofrep/v1/stream").status_code == 405


def test_an_applied_file_changes_answers_at_once(it):
    changed = "seed: 2\n" + SPEC.replace("[why, confirm]", "[why, really, confirm]")
    assert it.apply(changed).json()["result"] == "updated"
    unit = it.unit_of("treatment")
    assert it.evaluate(unit).json()["value"] == {"steps": ["why", "really", "confirm"]}


def test_evaluations_keep_their_speed_with_many_clients(it):
    with ThreadPoolExecutor(4) as pool, httpx.Client(base_url=it.url) as http:

        def ask(n):
            return http.post(f"{FLAGS}/{KEY}", json={"context": {"targetingKey": f"m{n}"}})

        answers = list(pool.map(ask, range(200)))
    assert {a.status_code for a in answers} == {200}
    assert {a.json()["variant"] for a in answers} == {"control", "treatment"}
