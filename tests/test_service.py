import json
from functools import partial
from hashlib import sha256
from queue import Queue
from threading import Event, Timer

import httpx
import pytest

import service
from guardrails.api import AddressError
from metrics.store import StoreError
from tests.receivers import receiving
from tests.running import KEY, SPEC, START, running

KEYS = {"admin_key": "adm-1", "ingest_key": "ing-1", "client_key": "cli-1"}
CONTEXT = {"context": {"targetingKey": "u1"}}


@pytest.fixture(scope="module")
def local():
    with running() as it:
        assert it.apply().status_code == 201
        yield it


@pytest.fixture(scope="module")
def guarded():
    # the address decides what is open; the socket of the test listens on loopback all the same
    with running(host="0.0.0.0", **KEYS) as it:  # noqa: S104 - see above
        assert it.apply(headers={"X-API-Key": "adm-1"}).status_code == 201
        yield it


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        pytest.param({"host": "0.0.0.0"}, "without keys", id="public address without keys"),  # noqa: S104
        pytest.param(
            {"host": "10.0.0.1", "client_key": "c"}, "without keys", id="a client key alone"
        ),
        pytest.param({"ingest_key": "i"}, "no admin key", id="nobody could administer"),
    ],
)
def test_unsafe_settings_are_refused_with_what_to_do(tmp_path, settings, words):
    with pytest.raises(service.SettingsError, match=words) as refused:
        service.build(service.Settings(data=tmp_path / "x", **settings))
    assert "TURNBACK_ADMIN_KEY" in refused.value.hint
    assert not (tmp_path / "x").exists()


def test_settings_come_from_the_environment_and_never_show_a_key(monkeypatch):
    monkeypatch.setenv("TURNBACK_ADMIN_KEY", "very-secret")
    monkeypatch.setenv("TURNBACK_WEBHOOKS", '{"ops": "https://hooks.example/very-secret"}')
    settings = service.Settings()
    assert settings.admin_key is not None
    assert settings.admin_key.get_secret_value() == "very-secret"
    assert "very-secret" not in repr(settings)


@pytest.mark.parametrize("key", [None, "cli-1", "ing-1", "adm-1", "nobody's"])
@pytest.mark.parametrize(
    ("method", "path", "needs"),
    [
        ("POST", f"/ofrep/v1/evaluate/flags/{KEY}", "cli-1"),
        ("POST", "/ofrep/v1/evaluate/flags", "cli-1"),
        ("POST", "/api/v1/events", "cli-1"),
        ("GET", "/metrics", "ing-1"),
        ("GET", "/", "ing-1"),
        ("GET", "/api/v1/experiments", "ing-1"),
        ("GET", "/api/v1/quarantine", "ing-1"),
        ("GET", "/api/v1/received", "ing-1"),
        ("GET", "/api/v1/specs", "ing-1"),
        ("GET", f"/api/v1/experiments/{KEY}/revisions", "ing-1"),
        ("POST", "/api/v1/validate", "ing-1"),
        ("POST", "/api/v1/rehearse", "ing-1"),
        ("POST", "/api/v1/experiments", "adm-1"),
        ("POST", "/api/v1/experiments?dry_run=true", "adm-1"),
        ("POST", "/api/v1/demo/clock", "adm-1"),
    ],
)
def test_each_key_opens_its_scope_and_those_below(guarded, method, path, needs, key):
    order = [None, "cli-1", "ing-1", "adm-1"]
    body = {
        "/api/v1/events": [],
        "/api/v1/experiments": SPEC,
        "/api/v1/experiments?dry_run=true": SPEC,
        "/api/v1/validate": SPEC,
        "/api/v1/rehearse": {"files": [{"source": "a.yaml", "text": SPEC}]},
        "/api/v1/demo/clock": {"to": START.isoformat()},
    }.get(path, CONTEXT)
    content = body if isinstance(body, str) else json.dumps(body)
    headers = {"Content-Type": "application/json"}
    if key is not None:
        headers["Authorization"] = f"Bearer {key}"
    answer = guarded.http.request(
        method, path, content=content if method == "POST" else None, headers=headers
    )
    if key == "nobody's" or key is None:
        assert answer.status_code == 401
        assert "WWW-Authenticate" in answer.headers
        assert (key or "nothing") not in answer.text
    elif order.index(key) < order.index(needs):
        assert answer.status_code == 403
    else:
        assert answer.status_code == 200, answer.text


def test_a_browser_may_send_the_key_as_a_password(guarded):
    assert guarded.http.get("/", auth=("", "adm-1")).status_code == 200
    assert guarded.http.get("/", auth=("adm-1", "wrong")).status_code == 401


def test_health_needs_no_key(guarded):
    assert guarded.http.get("/healthz").json()["status"] == "ok"
    assert guarded.http.get("/readyz").json()["status"] == "ready"


def test_an_admin_key_alone_leaves_a_local_service_open_for_applications():
    with running(admin_key="adm-1") as it:
        assert it.apply().status_code == 401
        assert it.apply(headers={"X-API-Key": "adm-1"}).status_code == 201
        assert it.evaluate("u1").status_code == 200
        assert it.http.post("/api/v1/events", json=[]).status_code == 200
        assert it.http.get("/").status_code == 200


def test_pages_of_other_sites_change_nothing_in_a_service_without_keys(local):
    far = local.act("pause", reason="x").request
    answer = httpx.post(far.url, content=far.content, headers={"Origin": "https://evil.example"})
    assert answer.status_code == 403
    assert local.act("continue", reason="x").status_code == 200
    near = local.http.post(
        f"/api/v1/experiments/{KEY}/actions",
        json={"action": "pause", "reason": "x"},
        headers={"Origin": "http://localhost:3000"},
    )
    assert near.status_code == 200
    assert local.act("continue", reason="x").status_code == 200


@pytest.mark.parametrize(
    ("method", "path", "hint"),
    [
        ("POST", "/api/v1/event", "did you mean `POST /api/v1/events`?"),
        ("POST", "/api/v1/events/", "did you mean `POST /api/v1/events`?"),
        (
            "POST",
            "/ofrep/v1/evaluate/flag/three-step-cancel",
            "did you mean `POST /ofrep/v1/evaluate/flags/{key}`?",
        ),
        ("GET", "/kpis/", "did you mean `/kpis`?"),
        ("GET", "/<script>alert(1)</script>", "/docs has every address"),
        ("GET", "/" + "a" * 5000, "/docs has every address"),
    ],
)
def test_a_wrong_address_says_to_any_page_what_was_meant(local, method, path, hint):
    page = {"Origin": "https://shop.example"}
    answer = local.http.request(method, path, headers=page)
    assert (answer.status_code, answer.headers["content-type"]) == (404, "application/json")
    assert answer.json()["error"]["hint"].startswith(hint)
    assert answer.headers["access-control-allow-origin"] == "*"
    assert "location" not in answer.headers
    assert "script" not in answer.text
    before = local.http.options(path, headers={**page, "Access-Control-Request-Method": method})
    assert before.is_success
    assert "access-control-allow-headers" in before.headers


@pytest.mark.parametrize("path", ["/api/v1/experiments", "/api/v1/experiments/none", "/metrics"])
def test_what_is_there_is_not_shown_to_pages_of_other_sites(local, path):
    page = {"Origin": "https://shop.example"}
    assert "access-control-allow-origin" not in local.http.get(path, headers=page).headers
    before = local.http.options(path, headers=page)
    assert not before.is_success
    assert "access-control-allow-origin" not in before.headers
    other = local.http.delete(path, headers=page)
    assert "access-control-allow-origin" not in other.headers
    assert other.json()["error"]["hint"].startswith("this address takes GET")


@pytest.mark.parametrize(
    ("method", "path", "body", "status", "code"),
    [
        ("GET", "/nowhere", None, 404, "not_found"),
        ("DELETE", "/api/v1/experiments", None, 405, "method_not_allowed"),
        ("GET", "/api/v1/experiments/none", None, 404, "unknown_experiment"),
        ("GET", "/api/v1/experiments?limt=3", None, 400, "unknown_parameter"),
        ("GET", "/?page=2", None, 400, "unknown_parameter"),
        ("GET", "/api/v1/experiments/none/revisions", None, 404, "unknown_experiment"),
        ("GET", "/api/v1/specs?dir=/", None, 400, "unknown_parameter"),
        ("POST", "/api/v1/experiments?dryrun=true", SPEC, 400, "unknown_parameter"),
        ("POST", "/api/v1/experiments?dry_run=perhaps", SPEC, 422, "invalid_request"),
        ("POST", "/api/v1/experiments?dry_run=true", "experiment: [", 422, "invalid_spec"),
        ("POST", "/api/v1/validate?dry_run=true", SPEC, 400, "unknown_parameter"),
        ("POST", "/api/v1/validate", b"\xff\xfe", 400, "invalid_request"),
        ("POST", "/api/v1/validate", "x" * 1_000_001, 413, "too_large"),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "start", "reason": "x"}',
            409,
            "illegal_transition",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "approve", "reason": "x"}',
            409,
            "conflict",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "approve", "variant": "treatment", "reason": "x"}',
            400,
            "invalid_request",
        ),
        ("GET", "/api/v1/quarantine?limit=many", None, 422, "invalid_request"),
        ("POST", "/api/v1/experiments", "experiment: [", 422, "invalid_spec"),
        ("POST", "/api/v1/experiments", b"\xff\xfe", 400, "invalid_request"),
        ("POST", "/api/v1/experiments", "x" * 1_000_001, 413, "too_large"),
        ("POST", f"/api/v1/experiments/{KEY}/actions", "{", 422, "invalid_request"),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "dance"}',
            422,
            "invalid_request",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "roll_back", "reason": "x"}',
            400,
            "invalid_request",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "roll_back", "variant": "none", "reason": "x"}',
            404,
            "unknown_variant",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "continue", "reason": "x"}',
            409,
            "illegal_transition",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "pause", "reason": "\\ud800"}',
            422,
            "invalid_request",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "roll_back", "variant": "\\udfff", "reason": "x"}',
            422,
            "invalid_request",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            '{"action": "pause", "reason": "x", "\\ud800": 1}',
            422,
            "invalid_request",
        ),
        (
            "POST",
            f"/api/v1/experiments/{KEY}/actions",
            json.dumps({"action": "pause", "reason": "x" * 2_001}),
            422,
            "invalid_request",
        ),
        ("POST", "/api/v1/demo/clock", '{"to": "2001-01-01T00:00:00Z"}', 400, "invalid_request"),
        ("POST", "/api/v1/demo/clock", '{"to": "2030-01-01T00:00:00"}', 422, "invalid_request"),
    ],
)
def test_every_error_has_the_one_shape(local, method, path, body, *, status, code):
    headers = {"Content-Type": "application/json"}
    answer = local.http.request(method, path, content=body, headers=headers)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert error["code"] == code
    assert error["message"]
    assert {"code", "message", "hint", "path"} <= set(error)


ACTIONS = f"/api/v1/experiments/{KEY}/actions"


@pytest.mark.parametrize(
    ("method", "path", "body", "message", "at"),
    [
        ("POST", ACTIONS, "", "the body is missing", "body"),
        (
            "POST",
            ACTIONS,
            '{"action": }',
            "the body is no JSON (it breaks off or goes wrong at character 11)",
            "body",
        ),
        ("POST", ACTIONS, "[1]", "must be a JSON object, got [1]", "body"),
        ("POST", ACTIONS, '{"reason": "x"}', "is missing", "action"),
        (
            "POST",
            ACTIONS,
            '{"action": "dance"}',
            (
                "must be one of start, pause, continue, approve, extend, stop, roll_back, resume, "
                'got "dance"'
            ),
            "action",
        ),
        ("POST", ACTIONS, '{"action": "stop", "why": 1}', "is no known key here, got 1", "why"),
        ("POST", ACTIONS, '{"action": "stop", "reason": 1}', "must be text, got 1", "reason"),
        (
            "POST",
            ACTIONS,
            '{"action": "pause", "reason": "\\ud800"}',
            "must be valid Unicode text",
            "reason",
        ),
        (
            "POST",
            ACTIONS,
            json.dumps({"action": "pause", "reason": "x" * 2_001}),
            "must have at most 2,000 characters, got",
            "reason",
        ),
        ("GET", "/api/v1/quarantine?limit=many", "", 'must be a whole number, got "many"', "limit"),
        ("GET", "/api/v1/quarantine?limit=0", "", 'must be at least 1, got "0"', "limit"),
        (
            "POST",
            "/api/v1/experiments?dry_run=perhaps",
            SPEC,
            'must be true or false, got "perhaps"',
            "dry_run",
        ),
        (
            "POST",
            "/api/v1/demo/clock",
            '{"to": "soon"}',
            'must be an instant, got "soon"',
            "to",
        ),
        (
            "POST",
            "/api/v1/demo/clock",
            '{"to": "2030-01-01T00:00:00"}',
            'must be an instant with its offset, got "2030-01-01T00:00:00"',
            "to",
        ),
    ],
)
def test_what_does_not_fit_is_told_in_our_own_words(local, method, path, body, *, message, at):
    headers = {"Content-Type": "application/json"}
    answer = local.http.request(method, path, content=body or None, headers=headers)
    error = answer.json()["error"]
    assert (answer.status_code, error["path"]) == (422, at)
    assert error["message"].startswith(message)


def test_a_body_of_another_type_is_told_how_it_is_sent(local):
    answer = local.http.post(ACTIONS, content="action=pause", headers={"Content-Type": "text/x"})
    error = answer.json()["error"]
    assert error["message"] == 'must be a JSON object, got "action=pause"'
    assert "Content-Type: application/json" in error["hint"]


def test_a_broken_file_lists_every_problem_and_shows_in_the_series(local):
    broken = SPEC.replace("max_drop: 3%", "max_dropp: 3%").replace("title:", "titel:")
    answer = local.apply(broken)
    problems = answer.json()["error"]["problems"]
    assert len(problems) >= 2
    assert all(p["file"] == "spec.yaml" and p["line"] for p in problems)
    assert "turnback_config_valid 0.0" in local.http.get("/metrics").text
    assert local.apply().json()["result"] == "unchanged"
    assert "turnback_config_valid 1.0" in local.http.get("/metrics").text


def test_a_dry_run_changes_neither_the_experiment_nor_the_series(local):
    before = local.http.get(f"/api/v1/experiments/{KEY}").json()
    url = "/api/v1/experiments?dry_run=true&source=spec.yaml"
    done = local.http.post(url, content=SPEC.replace("Cancel page", "The page"))
    assert done.status_code == 200
    view = done.json()
    assert (view["result"], view["revision"], view["dry_run"]) == ("updated", 2, True)
    assert view["words"] == ["title: Cancel page becomes The page"]
    new = local.http.post(url, content=SPEC.replace(KEY, "not-there"))
    assert (new.status_code, new.json()["result"]) == (200, "created")
    assert local.http.post(url, content="experiment: [").status_code == 422
    assert local.http.get(f"/api/v1/experiments/{KEY}").json() == before
    assert local.http.get("/api/v1/experiments/not-there").status_code == 404
    assert "turnback_config_valid 1.0" in local.http.get("/metrics").text


def test_a_file_is_validated_against_what_the_service_has():
    hooks = {"ops": "http://127.0.0.1:9/"}
    with running(webhooks=hooks) as it:
        post = partial(it.http.post, "/api/v1/validate?source=a.yaml")
        assert post(content=SPEC + "notify: [ops]\n").json() == {
            "ok": True,
            "problems": [],
            "left_out": 0,
        }
        answer = post(content=SPEC + "notify: [opps]\n").json()
        (problem,) = answer["problems"]
        assert answer["ok"] is False
        assert (problem["file"], problem["line"]) == ("a.yaml", SPEC.count("\n") + 1)
        assert "`opps`" in problem["message"]
        assert "`ops`" in problem["hint"]
        many = post(content=SPEC + "".join(f"k{i}: 1\n" for i in range(5_000))).json()
        assert (len(many["problems"]), many["left_out"]) == (100, 4_900)
        assert it.http.get("/api/v1/experiments").json() == {"experiments": []}
        assert "turnback_config_valid 1.0" in it.http.get("/metrics").text


def test_every_applied_file_is_kept_word_for_word():
    with running() as it:
        second = SPEC.replace("Cancel page", "The page") + "# a comment\n"
        for text in (SPEC, second, second):
            assert it.apply(text, headers={"X-Turnback-Actor": "ada"}).is_success
        kept = it.http.get(f"/api/v1/experiments/{KEY}/revisions").json()["revisions"]
        assert [(r["number"], r["text"]) for r in kept] == [(1, SPEC), (2, second)]
        assert kept[1]["sha256"] == sha256(second.encode()).hexdigest()
        assert {(r["actor"], r["source"]) for r in kept} == {("ada", "spec.yaml")}


def test_a_draft_starts_and_a_step_is_approved_over_http():
    steps = "ramp: [{traffic: 10%, hold: 1h, approval: true}, {traffic: 100%}]\n"
    with running() as it:
        it.apply(SPEC + "starts: manual\n" + steps)
        assert it.evaluate("u1").json()["variant"] == "control"
        assert f'turnback_experiment_state{{experiment="{KEY}",state="draft"}} 1.0' in (
            it.http.get("/metrics").text
        )
        assert it.act("start").json()["after"] == "running"
        assert it.act("approve").status_code == 200
        assert it.act("approve").status_code == 409


def test_the_settings_of_rules_and_holdout_reach_the_engine(monkeypatch, tmp_path):
    monkeypatch.setenv("TURNBACK_HOLDOUT", "5%")
    monkeypatch.setenv("TURNBACK_QUERIES", '{"refund_p99": "max(refund{variant=\\"$variant\\"})"}')
    monkeypatch.setenv("TURNBACK_PROMETHEUS_URL", "http://user:secret@127.0.0.1:9")
    settings = service.Settings(data=tmp_path)
    assert "secret" not in repr(settings)
    built = service.build(settings)
    try:
        told = built.engine.settings
        assert told.holdout == 0.05
        assert dict(told.queries) == {"refund_p99": 'max(refund{variant="$variant"})'}
        assert told.prometheus is built.guarding.prometheus is not None
    finally:
        built.close()


def test_named_queries_need_a_prometheus(tmp_path):
    with pytest.raises(service.SettingsError, match="no Prometheus that answers") as refused:
        service.build(service.Settings(data=tmp_path / "x", queries={"a": "up"}))
    assert "TURNBACK_PROMETHEUS_URL" in refused.value.hint


def test_views_are_json_without_nan_and_with_lengths_as_iso_durations(local):
    view = local.http.get(f"/api/v1/experiments/{KEY}").json()
    assert view["check_every"] == "PT1H" or view["check_every"] == "PT3600S"
    assert local.http.get("/api/v1/experiments").json()["experiments"][0]["key"] == KEY
    assert local.http.get(f"/api/v1/experiments/{KEY}/transitions").json()["transitions"]
    assert local.http.get(f"/api/v1/experiments/{KEY}/explain").json()["headline"]


def test_the_clock_of_a_demo_is_moved_and_checks_run():
    with running() as it:
        it.apply()
        answer = it.http.post("/api/v1/demo/clock", json={"to": "2026-01-05T03:00:00Z"}).json()
        assert answer == {"now": "2026-01-05T03:00:00Z", "checks": 1, "transitions": []}
        assert 'turnback_checks_total{result="ok"} 1.0' in it.http.get("/metrics").text


def test_time_cannot_be_moved_outside_of_a_demo():
    with running(demo=False, checks=False) as it:
        answer = it.http.post("/api/v1/demo/clock", json={"to": "2030-01-01T00:00:00Z"})
        assert answer.status_code == 404


def test_the_actor_of_an_action_is_kept(local):
    body = {"action": "pause", "reason": "a sale begins"}
    url = f"/api/v1/experiments/{KEY}/actions"
    done = local.http.post(url, json=body, headers={"X-Turnback-Actor": "ada"}).json()
    assert (done["actor"], done["reason"], done["after"]) == ("ada", "a sale begins", "paused")
    assert local.act("continue").json()["actor"] == "api"


@pytest.mark.parametrize("actor", [b"\xff", b"", b"a" * 201])
def test_an_actor_that_is_no_short_text_is_refused(local, actor):
    answer = local.http.post(
        f"/api/v1/experiments/{KEY}/actions",
        json={"action": "pause", "reason": "x"},
        headers={"X-Turnback-Actor": actor},
    )
    assert answer.status_code == 422
    assert answer.json()["error"]["path"] == "X-Turnback-Actor"


def test_any_language_and_2000_characters_are_kept(local):
    body = {"action": "pause", "reason": "\u6539" * 2_000}
    url = f"/api/v1/experiments/{KEY}/actions"
    headers = {b"X-Turnback-Actor": "Zo\u00eb \u6731".encode()}
    done = local.http.post(url, json=body, headers=headers)
    assert done.status_code == 200, done.text
    assert (done.json()["actor"], done.json()["reason"]) == ("Zo\u00eb \u6731", body["reason"])
    assert local.act("continue").status_code == 200


def test_a_file_full_of_problems_is_answered_briefly(local):
    answer = local.apply(SPEC + "".join(f"k{i}: 1\n" for i in range(5_000)))
    error = answer.json()["error"]
    assert answer.status_code == 422
    assert len(error["problems"]) == 100
    assert error["left_out"] >= 4_900
    assert error["message"].endswith(f"and {error['left_out']:,} more problems; mend these first")
    assert len(answer.content) < 100_000


def test_a_slow_receiver_delays_neither_answers_nor_checks_nor_the_end(monkeypatch):
    rings, run_due = Queue(), service.Engine.run_due

    with receiving(hold=Event()) as slow, receiving() as quick:

        def counted(engine):
            reports = run_due(engine)
            rings.put(slow.asked.is_set())
            return reports

        monkeypatch.setattr(service.Engine, "run_due", counted)
        hooks = {"ops": slow.url, "others": quick.url}
        with running(demo=False, ring_seconds=0.05, webhooks=hooks) as it:
            assert it.apply(SPEC + "notify: [ops, others]\n").status_code == 201
            for action in ("roll_back", "resume", "roll_back"):
                assert it.act(action, variant="treatment").status_code == 200
            assert slow.asked.wait(10), "nobody was told"
            assert it.act("resume", variant="treatment").status_code == 200
            while not rings.get(timeout=10):  # checks that end while the receiver has not answered
                pass
            assert quick.asked.wait(10), "a slow channel delays another"
            assert len(slow.got) == 1
            Timer(0.5, slow.hold.set).start()
        assert len(slow.got) == 1, "a stopping service went on telling"


def test_the_description_names_the_hot_routes_too(local):
    paths = local.http.get("/openapi.json").json()["paths"]
    assert {"/api/v1/events", "/ofrep/v1/evaluate/flags/{key}", "/metrics"} <= set(paths)


OURS = ("experiments", "validate", "rehearse", "specs")


def described(local):
    paths = local.http.get("/openapi.json").json()["paths"]
    for path, methods in paths.items():
        for method, about in methods.items():
            if path.startswith(tuple(f"/api/v1/{name}" for name in OURS)):
                yield f"{method} {path}", about


def test_every_route_describes_its_answer_and_the_shape_of_errors(local):
    names = dict(described(local))
    assert {"post /api/v1/validate", "get /api/v1/specs"} < set(names)
    assert "get /api/v1/experiments/{key}/revisions" in names
    for name, about in names.items():
        assert about["summary"], name
        good = [r for status, r in about["responses"].items() if status in {"200", "201"}]
        assert all("$ref" in r["content"]["application/json"]["schema"] for r in good), name
        error = about["responses"]["4XX"]["content"]["application/json"]
        assert error["schema"]["$ref"].endswith("/ErrorAnswer"), name
        assert {"code", "message"} <= set(error["example"]["error"]), name


def test_examples_of_the_description_are_what_the_service_answers():
    with running() as it:
        about = dict(described(it))
        apply = about["post /api/v1/experiments"]
        body = apply["requestBody"]["content"]["application/yaml"]["example"]
        example = apply["responses"]["201"]["content"]["application/json"]["example"]
        assert it.apply(body).json() == example
        act = about["post /api/v1/experiments/{key}/actions"]
        moved = act["responses"]["200"]["content"]["application/json"]["example"]
        for name, given in act["requestBody"]["content"]["application/json"]["examples"].items():
            answer = it.http.post(f"/api/v1/experiments/{KEY}/actions", json=given["value"])
            assert answer.status_code in {200, 409}, name
            if answer.is_success:
                assert answer.json().keys() >= moved.keys()
        for name, key in (("revisions", "revisions"), ("transitions", "transitions")):
            shown = about[f"get /api/v1/experiments/{{key}}/{name}"]["responses"]["200"]
            (one,) = shown["content"]["application/json"]["example"][key]
            answer = it.http.get(f"/api/v1/experiments/{KEY}/{name}").json()[key]
            assert answer[0].keys() >= one.keys()
        rehearse = about["post /api/v1/rehearse"]
        shown = rehearse["responses"]["200"]["content"]["application/json"]["example"]
        files = {"files": [{"source": "specs/cancel-page.yaml", "text": body}]}
        answer = it.http.post("/api/v1/rehearse", json=files).json()
        assert (answer.keys(), answer["ok"]) == (shown.keys(), True)
        assert answer["files"][0].keys() >= shown["files"][0].keys()
        assert answer["files"][0]["applied"]["result"] == "unchanged"
        twice = it.http.post("/api/v1/rehearse", json={"files": [*files["files"]] * 2})
        assert (twice.status_code, twice.json()["error"]["path"]) == (422, "files")
        for path, post in (("/api/v1/specs", None), ("/api/v1/validate", "experiment: [")):
            method = "get" if post is None else "post"
            shown = about[f"{method} {path}"]["responses"]["200"]["content"]["application/json"]
            answer = it.http.request(method, path, content=post).json()
            assert answer.keys() >= shown["example"].keys()


def test_kpis_are_told_in_words(local):
    kpis = {k["key"]: k for k in local.http.get("/api/v1/kpis").json()["kpis"]}
    assert kpis["satisfaction"]["words"]
    assert kpis["satisfaction"]["better"] == "higher"


def test_a_second_service_on_the_same_files_is_refused(local):
    with pytest.raises(StoreError):
        service.build(service.Settings(data=local.services.settings.data))


@pytest.mark.parametrize(
    ("host", "port", "words"),
    [
        ("192.0.2.1", 8300, "192.0.2.1:8300 is no address of this machine"),
        ("nobody.invalid", 8300, "nobody.invalid is no known address"),
    ],
)
def test_an_address_that_cannot_be_had_is_told_and_the_files_are_released(
    tmp_path, host, port, words
):
    settings = service.Settings(data=tmp_path, host=host, port=port, **KEYS)
    with pytest.raises(AddressError, match=words) as refused:
        service.serve(settings)
    assert "--host" in refused.value.hint
    service.build(settings).close()
