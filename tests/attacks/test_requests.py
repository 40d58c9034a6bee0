"""Requests of a hostile caller: each is refused in words, and nothing of it is kept."""

import gzip
import json
import zlib

import pytest

from tests.attacks.fortress import (
    ADMIN,
    CLIENT,
    INGEST,
    bearer,
    fortress,
    holds,
    in_one_shape,
    made,
    revoked,
)
from tests.running import KEY, SPEC, START, running

EVENTS, FLAGS, TRACK = "/api/v1/events", "/ofrep/v1/evaluate/flags", f"/track?client_key={CLIENT}"
ACTIONS, NOTES = f"/api/v1/experiments/{KEY}/actions", f"/api/v1/experiments/{KEY}/notes"
ROLL_BACK = {"action": "roll_back", "variant": "treatment", "reason": "because I can"}
EXPOSURE = {
    "id": "x1",
    "name": "cancel_started",
    "happened_at": START.isoformat(),
    "units": {"order_id": "o1"},
}


@pytest.fixture(scope="module")
def it():
    with fortress(max_body_bytes=50_000, max_batch_events=50) as it:
        yield it


@pytest.fixture(scope="module", autouse=True)
def still_up(it):
    yield
    assert it.http.get("/readyz").status_code == 200
    assert it.services.store.verify(now=it.services.clock.now()).findings == ()


def attacked(it, method, path, *, key=ADMIN, headers=None, **body):
    """Return the answer to a request of which nothing may be kept."""
    before = holds(it)
    answer = it.http.request(method, path, headers={**bearer(key), **(headers or {})}, **body)
    assert holds(it) == before, "something was kept"
    assert answer.status_code < 500, answer.text
    return answer


CHANGES = [
    ("POST", "/api/v1/experiments", {"content": SPEC.replace("cancel-page", "mine")}),
    ("POST", ACTIONS, {"json": ROLL_BACK}),
    ("POST", NOTES, {"json": {"text": "I was here"}}),
    ("POST", "/api/v1/suspension", {"json": {"suspended": True, "reason": "so that none sees"}}),
    ("POST", "/api/v1/store/forget", {"json": {"unit": "o1"}}),
    ("POST", "/api/v1/store/rebuild", {}),
    ("POST", f"/api/v1/experiments/{KEY}/rollbacks", {"json": {"reason": "x"}}),
    ("POST", "/api/v1/quarantine/resubmit", {"json": {"numbers": [1]}}),
    ("POST", "/api/v1/backup", {"json": {"to": "/nowhere/to/be/found"}}),
    ("POST", "/api/v1/export", {"json": {"to": "/nowhere/to/be/found"}}),
    ("POST", "/api/v1/channels/log/test", {}),
    (
        "POST",
        "/api/v1/channels/log/digests",
        {"json": {"key": "k", "title": "read this", "text": "and that"}},
    ),
    ("GET", "/api/v1/channels", {}),
    ("POST", "/api/v1/demo/clock", {"json": {"to": "2027-01-01T00:00:00Z"}}),
]


@pytest.mark.parametrize("key", [None, "nobody", CLIENT, INGEST])
@pytest.mark.parametrize(("method", "path", "body"), CHANGES, ids=lambda each: str(each)[:40])
def test_only_an_admin_key_changes_anything(it, method, path, body, key):
    answer = attacked(it, method, path, key=key, **body)
    assert answer.status_code == (401 if key in {None, "nobody"} else 403), answer.text
    assert in_one_shape(answer) in {"unauthorized", "forbidden"}
    assert str(key) not in answer.text


READS = [
    "/api/v1/experiments",
    f"/api/v1/experiments/{KEY}",
    "/api/v1/keys",
    "/api/v1/audit",
    "/api/v1/quarantine",
    "/api/v1/received",
    "/metrics",
    "/openapi.json",
    "/docs",
    "/",
    f"/experiments/{KEY}",
    f"/experiments/{KEY}.json",
]


@pytest.mark.parametrize("key", [None, "nobody", CLIENT])
@pytest.mark.parametrize("path", READS)
def test_only_a_secret_key_reads(it, path, key):
    answer = attacked(it, "GET", path, key=key)
    assert answer.status_code in {401, 403}
    assert KEY not in answer.text.replace(path, "")


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("POST", EVENTS, {"json": [EXPOSURE]}),
        ("POST", FLAGS, {"json": {"context": {"targetingKey": "o1"}}}),
        ("POST", f"{FLAGS}/{KEY}", {"json": {"context": {"targetingKey": "o1"}}}),
        ("GET", "/ofrep/v1/stream", {}),
        ("GET", "/ofrep/v1/stream?token=guessed", {}),
        ("GET", "/api/features/nobody", {}),
        ("GET", "/sub/nobody", {}),
        ("POST", "/track?client_key=nobody", {"json": []}),
        ("POST", "/track", {"json": []}),
    ],
    ids=str,
)
@pytest.mark.parametrize("key", [None, "nobody", "CLI-1", "cli-1\tx", "cli-1,cli-1"])
def test_without_a_known_key_nothing_is_answered(it, method, path, body, key):
    answer = attacked(it, method, path, key=key, **body)
    assert answer.status_code == 401, answer.text
    in_one_shape(answer)


@pytest.mark.parametrize(
    "headers",
    [
        {"Authorization": "Basic !!!"},
        {"Authorization": "Basic YWRtLTE="},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer adm-1 adm-1"},
        {"Authorization": "Negotiate adm-1"},
        {"Authorization": "Bearer " + "a" * 10_000},
        {"X-API-Key": "\xff\xfe"},
        {"X-API-Key": "adm-1,adm-1"},
        {"Cookie": "key=adm-1; session=adm-1; turnback=adm-1"},
        {"X-Forwarded-For": "127.0.0.1", "X-Real-IP": "127.0.0.1", "Host": "127.0.0.1"},
        {"X-Original-URL": "/healthz", "X-Rewrite-URL": "/healthz"},
        {"X-HTTP-Method-Override": "GET"},
    ],
    ids=str,
)
def test_no_header_stands_for_a_key(it, headers):
    sent = {name: value.encode("latin-1") for name, value in headers.items()}
    answer = attacked(it, "POST", ACTIONS, key=None, headers=sent, json=ROLL_BACK)
    assert answer.status_code == 401, answer.text
    in_one_shape(answer)


def test_a_revoked_key_opens_nothing(it):
    key = made(it, "visitor", "admin")
    assert it.http.get("/api/v1/experiments", headers=bearer(key)).status_code == 200
    revoked(it, "visitor")
    for method, path, body in CHANGES:
        assert attacked(it, method, path, key=key, **body).status_code == 401
    for path in READS:
        assert attacked(it, "GET", path, key=key).status_code == 401
    assert attacked(it, "POST", EVENTS, key=key, json=[EXPOSURE]).status_code == 401


def test_a_secret_key_in_an_address_is_refused_there(it):
    for key in (ADMIN, INGEST):
        for path in (f"/api/features/{key}", f"/sub/{key}"):
            assert attacked(it, "GET", path, key=None).status_code == 403
        assert attacked(it, "POST", f"/track?client_key={key}", key=None).status_code == 403


def nested(depth, start="[", end="]"):
    return (start * depth + end * depth).encode()


DEEP = {
    "arrays": nested(20_000),
    "objects": b'{"a":' * 8_000 + b"1" + b"}" * 8_000,
    "unclosed": b"[" * 40_000,
    "context": b'{"context":{"targetingKey":"u","x":' + nested(20_000) + b"}}",
}


@pytest.mark.parametrize("name", DEEP)
@pytest.mark.parametrize(
    "path", [EVENTS, TRACK, FLAGS, f"{FLAGS}/{KEY}", ACTIONS, NOTES, "/api/v1/rehearse"]
)
def test_what_is_nested_too_deeply_is_refused(it, path, name):
    headers = {"Content-Type": "application/json"}
    answer = attacked(it, "POST", path, headers=headers, content=DEEP[name])
    assert answer.status_code in {400, 422}, answer.text
    in_one_shape(answer)


def chunks(size):
    for _ in range(size // 10_000):
        yield b"[" * 10_000


@pytest.mark.parametrize("sent", ["at once", "in chunks"])
@pytest.mark.parametrize(
    ("path", "size"),
    [
        (EVENTS, 60_000),
        (TRACK, 60_000),
        (FLAGS, 70_000),
        (f"{FLAGS}/{KEY}", 70_000),
        (ACTIONS, 16_010_000),
        ("/api/v1/experiments", 1_010_000),
        ("/api/v1/validate", 1_010_000),
    ],
)
def test_what_is_too_large_is_refused(it, path, size, sent):
    body = b"[" * size if sent == "at once" else chunks(size)
    answer = attacked(it, "POST", path, content=body)
    assert answer.status_code == 413, answer.text
    assert in_one_shape(answer) in {"too_large", "GENERAL"}


def bomb(size=500_000_000):
    packed = zlib.compressobj(9, wbits=31)
    part = packed.compress(b" " * 1_000_000)
    return (
        part
        + b"".join(packed.compress(b" " * 1_000_000) for _ in range(size // 10**6))
        + (packed.flush())
    )


PACKED = {
    "bomb": (lambda: bomb(40_000_000), {400, 413}),
    "many members": (lambda: gzip.compress(b"") * 2_000, {400, 413}),
    "truncated": (lambda: gzip.compress(b"[]" * 100)[:-9], {400}),
    "no gzip": (lambda: b"[]", {400}),
    "trailing": (lambda: gzip.compress(b"[]") + b"garbage", {400}),
    "twice": (lambda: gzip.compress(gzip.compress(json.dumps([EXPOSURE]).encode())), {400}),
    "wrong sum": (lambda: gzip.compress(b"[]")[:-8] + b"\0" * 8, {400}),
}


@pytest.mark.parametrize("name", PACKED)
@pytest.mark.parametrize("path", [EVENTS, TRACK])
def test_packed_bodies_unpack_to_no_more_than_the_limit(it, path, name):
    make, expected = PACKED[name]
    answer = attacked(it, "POST", path, headers={"Content-Encoding": "gzip"}, content=make())
    assert answer.status_code in expected, answer.text
    in_one_shape(answer)


@pytest.mark.parametrize("encoding", ["deflate", "br", "zstd", "gzip, gzip", "gzip,br", "x", "*"])
def test_an_encoding_that_is_not_known_is_refused(it, encoding):
    headers = {"Content-Encoding": encoding}
    answer = attacked(it, "POST", EVENTS, headers=headers, content=gzip.compress(b"[]"))
    assert answer.status_code == 400, answer.text
    assert in_one_shape(answer) == "bad_encoding"


PATHS = [
    "/static/../../../../etc/passwd",
    "/static/..%2f..%2f..%2fetc%2fpasswd",
    "/static/%2e%2e/%2e%2e/control.db",
    "/static/%2e%2e%2fcontrol.db",
    "/static/..%5c..%5ccontrol.db",
    "/static/%00",
    "/static/page.js%00.css",
    "/static//etc/passwd",
    "/static/" + "a" * 20_000,
    "//etc/passwd",
    "/%2fetc%2fpasswd",
    "/experiments/..%2f..%2fetc%2fpasswd",
    "/experiments/%2e%2e",
    f"/experiments/{KEY}%00",
    f"/experiments/{KEY}%0d%0aSet-Cookie:%20a=b",
    f"/experiments/{KEY}%2f",
    f"/experiments//{KEY}",
    f"/experiments/{KEY}/charts/..%2f..%2fx/treatment",
    f"/experiments/{KEY}/charts/satisfaction%00/treatment",
    "/experiments/" + "%F0%9F%92%A9" * 3_000,
    "/api/v1/experiments/%2e%2e%2f%2e%2e%2fkeys",
    "/api/v1/experiments/..%2fkeys",
    f"/api/v1/experiments/{KEY}%00",
    "/api/v1/experiments/%ff%fe",
    "/api/v1/experiments/%ED%A0%80",
    "/api/v1/experiments/" + "a" * 5_000,
    "/api/v1/experiments/'%20or%20'1'='1",
    "/api/v1/experiments/$%7Bjndi:ldap:%2f%2fevil%7D",
    "/api/v1/decisions/t1%27--/replay",
    "/api/v1/decisions/t99999999999999999999/replay",
    "/api/v1/decisions/t-1/replay",
    "/api/v1/decisions/%00/replay",
    f"/api/features/{CLIENT}%00",
    f"/api/features/{CLIENT}%2f..%2f..",
    "/API/V1/KEYS",
    "/api/v1/keys/",
    "/api/v1//keys",
    "/api/v1/keys;a=b",
    "/.git/config",
    "/.env",
    "/metrics.duckdb",
    "/control.db",
]


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path[:50])
def test_no_path_leads_anywhere_else(it, path):
    answer = attacked(it, "GET", path)
    assert answer.status_code in {307, 400, 401, 403, 404, 422}, (answer.status_code, answer.text)
    assert "set-cookie" not in answer.headers
    assert not answer.content.startswith((b"SQLite", b"root:"))
    if answer.status_code == 307:
        assert answer.headers["location"].startswith(it.url + "/")
    elif "json" in answer.headers["content-type"]:
        in_one_shape(answer)
    else:
        assert "<script>" not in answer.text
        assert "sc" + "ript-src 'self'" in answer.headers["content-security-policy"]


@pytest.mark.parametrize("path", ["%2e%2e%2fkeys", "a" * 5_000, "%00", "%0d%0aX:y", "../../keys"])
def test_no_flag_leads_anywhere_else(it, path):
    body = {"context": {"targetingKey": "u"}}
    answer = attacked(it, "POST", f"{FLAGS}/{path}", key=CLIENT, json=body)
    assert answer.status_code in {404, 405}, answer.text
    in_one_shape(answer)


INJECTED = [
    "a\r\nSet-Cookie: b=c",
    "a%0d%0aSet-Cookie:%20b=c",
    "é\u2028",
    "x" * 200,
    "",
    "a b",
]


@pytest.mark.parametrize("text", INJECTED, ids=ascii)
def test_nothing_a_caller_names_itself_becomes_a_header(it, text):
    name = text.encode().replace(b"\r\n", b"%0D%0A")
    headers = {"X-Request-ID": name, "X-Turnback-Actor": name or b"x", "If-None-Match": name}
    for path in ("/api/v1/experiments", "/", "/healthz", f"/api/features/{CLIENT}"):
        answer = attacked(it, "GET", path, headers={**headers, "Last-Event-ID": name})
        assert "set-cookie" not in answer.headers
        echoed = answer.headers.get("x-request-id", "0" * 32)
        assert len(echoed) == 32
        assert echoed.isalnum()
    found = in_one_shape(attacked(it, "POST", ACTIONS, headers=headers, json={"action": "dance"}))
    assert found == "invalid_request"


@pytest.mark.parametrize("method", ["PUT", "PATCH", "DELETE", "TRACE", "PROPFIND", "CONNECT", "X"])
@pytest.mark.parametrize(
    "path", ["/api/v1/experiments", EVENTS, FLAGS, f"/sub/{CLIENT}", "/", "/metrics"]
)
def test_a_method_that_means_nothing_does_nothing(it, method, path):
    answer = attacked(it, method, path)
    assert answer.status_code in {400, 405}, answer.text
    in_one_shape(answer)
    assert "adm-1" not in answer.text


def test_pages_of_other_sites_read_no_answer_that_wants_a_secret_key(it):
    headers = {"Origin": "https://evil.example", "Access-Control-Request-Method": "POST"}
    for path in ("/api/v1/experiments", ACTIONS, "/", "/metrics", "/api/v1/keys"):
        for method in ("OPTIONS", "GET"):
            answer = attacked(it, method, path, headers=headers)
            assert "access-control-allow-origin" not in answer.headers


@pytest.fixture(scope="module")
def keyless():
    """Return a service as it runs on a laptop: no key, and a browser beside it."""
    with running() as it:
        assert it.apply(SPEC).status_code == 201
        yield it


@pytest.mark.parametrize(
    "origin", ["https://evil.example", "null", "http://127.0.0.1.evil.example"]
)
@pytest.mark.parametrize("kind", ["application/json", "text/plain"])
def test_pages_of_other_sites_change_nothing_where_there_are_no_keys(keyless, origin, kind):
    before = holds(keyless)
    headers = {"Origin": origin, "Content-Type": kind}
    for _, path, body in CHANGES:
        content = body.get("content") or json.dumps(body.get("json", {}))
        answer = keyless.http.post(path, content=content, headers=headers)
        assert answer.status_code in {403, 405}, (path, answer.text)
        assert "access-control-allow-origin" not in answer.headers
    assert holds(keyless) == before


@pytest.mark.parametrize("host", ["evil.example", "evil.example:8300", "127.0.0.1.evil.example"])
def test_a_name_that_another_site_lets_stand_for_this_machine_reads_nothing(keyless, host):
    for path in ("/", "/api/v1/experiments", "/metrics", f"/experiments/{KEY}.json", "/docs"):
        answer = keyless.http.get(path, headers={"Host": host})
        assert answer.status_code == 403, (path, answer.text)
        assert in_one_shape(answer) == "forbidden"
    assert keyless.http.get("/", headers={"Host": "localhost:8300"}).status_code == 200
