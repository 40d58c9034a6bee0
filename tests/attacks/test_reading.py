"""A service on this machine with keys: what a proxy or another site's page brings reads nothing."""

import httpx
import pytest

from tests.attacks.fortress import ADMIN, CLIENT, INGEST, bearer, in_one_shape
from tests.running import KEY, SPEC, running

LISTED = (
    "/api/v1/experiments",
    f"/api/v1/experiments/{KEY}",
    "/api/v1/audit",
    "/api/v1/keys",
    "/api/v1/kpis",
    "/api/v1/quarantine",
    "/metrics",
    "/openapi.json",
    "/",
    "/events",
    "/audit",
    f"/experiments/{KEY}",
    f"/experiments/{KEY}.json",
    "/live",
)
ELSEWHERE = (
    {"Host": "shop.example"},
    {"Host": "127.0.0.1.shop.example:8300"},
    {"Host": ""},
    {"X-Forwarded-For": "203.0.113.9"},
    {"X-Forwarded-Proto": "https"},
    {"Forwarded": "for=203.0.113.9"},
    {"X-Real-IP": "203.0.113.9"},
    {"Via": "1.1 shop"},
    {"Host": "localhost", "x-forwarded-host": "shop.example"},
)


@pytest.fixture(scope="module")
def it():
    with running(admin_key=ADMIN, ingest_key=INGEST, client_key=CLIENT) as it:
        assert it.apply(SPEC, headers=bearer(ADMIN)).status_code == 201
        yield it


def asked(it, path, headers):
    """Return status and, where it was refused, the code; a stream is not read to its end."""
    with it.http.stream("GET", path, headers=headers) as answer:
        if answer.status_code < 400:
            return answer.status_code, ""
        answer.read()
        return answer.status_code, in_one_shape(answer)


@pytest.mark.parametrize("headers", ELSEWHERE, ids=str)
def test_what_comes_from_elsewhere_reads_only_with_a_secret_key(it, headers):
    path = "/api/v1/audit"
    assert asked(it, path, headers) == (401, "unauthorized")
    assert asked(it, path, {**headers, **bearer(CLIENT)}) == (403, "forbidden")
    for key in (INGEST, ADMIN):
        assert asked(it, path, {**headers, **bearer(key)}) == (200, "")


@pytest.mark.parametrize("path", LISTED)
def test_a_program_on_this_machine_alone_reads_without_a_key(it, path):
    assert asked(it, path, {"Host": "shop.example"}) == (401, "unauthorized")
    assert asked(it, path, {"Via": "1.1 shop"}) == (401, "unauthorized")
    assert asked(it, path, {"X-API-Key": "wrong"}) == (401, "unauthorized")
    assert asked(it, path, bearer(CLIENT)) == (403, "forbidden")
    assert asked(it, path, {}) == (200, "")


@pytest.mark.parametrize("host", ["localhost:8300", "[::1]:8300", "LOCALHOST"])
def test_every_name_of_this_machine_is_its_own(it, host):
    assert asked(it, "/api/v1/audit", {"Host": host}) == (200, "")


@pytest.mark.parametrize("key", ["wrong", ADMIN + "x", "\u00c3\u00a4", "Basic Og=="])
def test_a_wrong_key_is_refused_where_none_is_needed(it, key):
    for sent in (bearer(key), {"X-API-Key": key}, {"Authorization": key}):
        assert asked(it, "/api/v1/audit", as_bytes(sent)) == (401, "unauthorized"), sent


def as_bytes(headers):
    return {name: value.encode("latin-1") for name, value in headers.items()}


def test_a_browser_is_asked_for_a_key(it):
    answer = it.http.get("/", headers={"Host": "shop.example"})
    assert answer.headers["www-authenticate"].startswith("Basic ")
    auth = httpx.BasicAuth("anna", INGEST)
    assert it.http.get("/", headers={"Host": "shop.example"}, auth=auth).status_code == 200


def test_a_file_is_not_checked_for_somebody_from_elsewhere(it):
    headers = {"X-Forwarded-For": "203.0.113.9"}
    answer = it.http.post("/api/v1/validate", content=SPEC, headers=headers)
    assert answer.status_code == 401


def test_an_admin_key_alone_opens_no_reading_to_elsewhere():
    with running(admin_key=ADMIN) as it:
        assert asked(it, "/api/v1/audit", {"Host": "shop.example"}) == (401, "unauthorized")
        assert asked(it, "/api/v1/audit", {"Via": "1.1 shop", **bearer(ADMIN)}) == (200, "")
        assert asked(it, "/api/v1/audit", {}) == (200, "")


def test_without_any_key_a_proxy_of_this_machine_reads():
    with running() as it:
        assert asked(it, "/api/v1/experiments", {"X-Forwarded-For": "127.0.0.1"}) == (200, "")
        assert asked(it, "/api/v1/experiments", {"Host": "shop.example"}) == (403, "forbidden")
