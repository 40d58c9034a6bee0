"""The OpenAPI document against the service that serves it, over HTTP."""

import shutil

import pytest
from starlette.routing import Route

from tests.described import CLIENT, FOLDER, KEY, run
from tests.running import SPEC, running

PROTOCOLS = ("/ofrep/", "/api/features/", "/sub/", "/track")


@pytest.fixture(scope="module")
def it():
    # the address decides that everything wants a key; the socket of the test is on loopback
    with running(demo=False, host="0.0.0.0", admin_key=KEY, client_key=CLIENT) as it:  # noqa: S104 - see above
        it.http.headers["X-API-Key"] = KEY
        assert it.apply(SPEC).status_code == 201
        try:
            yield it
        finally:
            shutil.rmtree(FOLDER, ignore_errors=True)


@pytest.fixture(scope="module")
def paths(it):
    return it.http.get("/openapi.json").json()["paths"]


def test_schemathesis_finds_nothing(it):
    found = run(it.url, examples=2, phases=("examples", "fuzzing", "stateful"))
    assert found.words() == ""
    assert found.cases.total() > 150
    described = {
        f"{method.upper()} {path}"
        for path, methods in it.http.get("/openapi.json").json()["paths"].items()
        for method in methods
    }
    assert found.operations == described
    assert it.http.get("/readyz").status_code == 200


def test_the_hot_routes_are_described_too(it, paths):
    assert len(served(it)) >= 7
    assert served(it) - set(paths) == set()


def served(it):
    """Return the addresses of routes that are neither the framework's, nor pages for people."""
    return {
        route.path
        for route in it.app.routes
        if type(route) is Route and not route.endpoint.__module__.startswith("console.")
    }


def test_an_address_that_does_not_take_a_method_names_those_it_takes(it):
    answer = it.http.delete("/api/v1/experiments")
    assert (answer.status_code, answer.headers["allow"]) == (405, "GET, POST")


def operations(paths):
    for path, methods in paths.items():
        for method, about in methods.items():
            yield f"{method.upper()} {path}", path, about


def test_every_route_says_what_it_takes_and_answers_with_an_example(paths):
    for name, path, about in operations(paths):
        assert about["summary"], name
        assert about["tags"], name
        assert about["operationId"], name
        assert "security" in about, name
        bodies = [r for s, r in about["responses"].items() if s in {"200", "201"}]
        assert bodies, name
        for body in bodies:
            for media, shown in body["content"].items():
                assert shown["schema"], (name, media)
                streamed = media == "text/event-stream"
                whole = path in {"/api/v1/experiments/{key}", "/api/v1/experiments/{key}/baselines"}
                assert streamed or whole or "example" in shown, (name, media)
        if "requestBody" in about:
            assert about["requestBody"]["content"], name


def test_every_refusal_has_the_one_shape_except_where_a_protocol_has_its_own(paths):
    for name, path, about in operations(paths):
        for status, refused in about["responses"].items():
            if status[0] not in "45" or path.startswith(PROTOCOLS):
                continue
            (body,) = refused["content"].values()
            ours = body["schema"].get("$ref", "").endswith("/ErrorAnswer")
            assert ours or "error" in body["schema"]["properties"], (name, status)
            assert body["example"]["error"]["message"], (name, status)
            if status in {"429", "503"}:
                assert refused["headers"]["Retry-After"]["required"], (name, status)


def test_every_text_in_an_address_is_bounded(paths):
    for name, _, about in operations(paths):
        for each in about.get("parameters", ()):
            schema = each["schema"]
            assert each.get("description"), (name, each["name"])
            if each["in"] == "path":
                assert "maxLength" in schema, (name, each["name"])


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/healthz"),
        ("GET", "/readyz"),
        ("GET", "/metrics"),
        ("GET", "/openapi.json"),
        ("GET", "/docs"),
        ("GET", "/"),
        ("GET", "/api/v1/kpis"),
        ("GET", "/api/v1/keys"),
        ("POST", "/api/v1/store/forget"),
        ("POST", "/api/v1/events"),
        ("POST", "/ofrep/v1/evaluate/flags"),
        ("POST", "/ofrep/v1/evaluate/flags/cancel-page"),
        ("GET", "/ofrep/v1/stream"),
        ("GET", f"/api/features/{CLIENT}"),
        ("GET", f"/sub/{CLIENT}"),
        ("POST", f"/track?client_key={CLIENT}"),
    ],
)
@pytest.mark.parametrize("query", ["limt=3", "x", "=", "%00=1"])
def test_an_unknown_query_parameter_is_refused_on_every_route(it, method, path, query):
    url = f"{path}{'&' if '?' in path else '?'}{query}"
    answer = it.http.request(method, url, json={} if method == "POST" else None)
    assert answer.status_code == 400, answer.text
    assert "unknown query parameter" in answer.text
