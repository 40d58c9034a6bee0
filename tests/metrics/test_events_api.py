"""Events over HTTP: what is acknowledged, what is refused, and what a sender is told."""

import gzip
import json
import zlib
from datetime import timedelta
from itertools import count
from types import SimpleNamespace

import pytest

from metrics.asgi import BadEncodingError, unpack
from metrics.ingest import QueueFullError
from metrics.store import StoreError
from tests.running import KEY, START, running

NUMBERS = count()
URL = "/api/v1/events"


@pytest.fixture(scope="module")
def it():
    with running(max_body_bytes=20_000, max_batch_events=50) as service:
        service.apply()
        yield service


def event(name="cancel_started", hours=0.5, unit="o1", **fields):
    at = START + timedelta(hours=hours)
    return {
        "id": f"e{next(NUMBERS)}",
        "name": name,
        "happened_at": at.isoformat(),
        "units": {"order_id": unit},
        "fields": fields,
    }


def refused(it, batch, **kwargs):
    answer = it.http.post(URL, json=batch, **kwargs).json()
    return [(r["index"], r["code"], r["field"]) for r in answer["rejected"]]


def test_events_are_counted_once_however_often_they_are_sent(it):
    batch = [event(), event()]
    first = it.http.post(URL, json=batch).json()
    assert (first["accepted"], first["duplicates"], first["rejected"]) == (2, 0, [])
    again = it.http.post(URL, json=batch).json()
    assert (again["accepted"], again["duplicates"]) == (0, 2)
    assert again["watermark"] == first["watermark"] >= 2


def test_an_acknowledged_event_is_there_after_a_restart(tmp_path):
    batch = [event()]
    with running(data=tmp_path) as it:
        assert it.http.post(URL, json=batch).json()["accepted"] == 1
    with running(data=tmp_path) as it:
        assert it.http.post(URL, json=batch).json()["duplicates"] == 1


def test_newline_delimited_json_and_gzip_are_taken(it):
    lines = "\n".join(json.dumps(event()) for _ in range(3)).encode()
    headers = {"Content-Type": "application/x-ndjson; charset=utf-8", "Content-Encoding": "gzip"}
    answer = it.http.post(URL, content=gzip.compress(lines), headers=headers)
    assert answer.json()["accepted"] == 3
    halves = gzip.compress(lines[:100]) + gzip.compress(lines[100:])
    assert it.http.post(URL, content=halves, headers=headers).json()["duplicates"] == 3


def test_the_limits_of_an_event_are_settings(tmp_path):
    with running(data=tmp_path, max_event_fields=2, max_text_chars=5) as it:
        batch = [
            event("shown", a="12345", b=1),
            event("shown", a="123456"),
            event("shown", a=1, b=2, c=3),
        ]
        assert refused(it, batch) == [
            (1, "bad_length", "fields.a"),
            (2, "too_many", "fields"),
        ]


def test_a_bad_event_never_spoils_its_batch_and_is_kept(it):
    good, bad = event(), event("satisfaction_rated", score="five")
    answer = it.http.post(URL, json=[bad, good, "nonsense"]).json()
    assert answer["accepted"] == 1
    assert [(r["index"], r["field"]) for r in answer["rejected"]] == [(0, "fields.score"), (2, "")]
    assert answer["rejected"][0]["id"] == bad["id"]
    kept = it.http.get("/api/v1/quarantine?limit=2").json()["quarantine"]
    assert {k["id"] for k in kept} == {bad["id"], None}
    assert any('"five"' in k["event"] for k in kept)


def test_an_exposure_is_checked_against_the_hash(it):
    unit = it.unit_of("treatment")
    assert refused(
        it,
        [
            event("exposure", unit=unit, experiment=KEY, variant="treatment"),
            event("exposure", unit=unit, experiment=KEY, variant="control"),
            event("exposure", unit=unit, experiment="none", variant="control"),
        ],
    ) == [
        (1, "variant_mismatch", "fields.variant"),
        (2, "unknown_experiment", "fields.experiment"),
    ]
    # the accepted one counts for the seed in force, which it did not name
    assert it.services.store.exposed_units(KEY, 1)[unit] == "treatment"
    newest = it.http.get("/api/v1/quarantine?limit=1").json()["quarantine"][0]
    assert newest["code"] in {"unknown_experiment", "variant_mismatch"}
    assert '"exposure"' in newest["event"]


@pytest.mark.parametrize(
    "closer", [[], [{"id": 7}]], ids=["read in one pass", "looked at one by one"]
)
def test_an_exposure_that_is_refused_is_kept_as_it_can_be_sent_again(tmp_path, closer):
    catalogue = tmp_path / "kpis.yaml"
    catalogue.write_text("events: {exposure: {depth: number}}\n")
    wrong = {
        "id": "x1",
        "name": "exposure",
        "happened_at": START.isoformat(),
        "units": {"order_id": "o1"},
        "fields": {"experiment": "other", "seed": 1, "depth": 12, "score": 0.1, "why": "\u00e9"},
    }
    with running(data=tmp_path / "data", catalogue=catalogue) as it:
        assert refused(it, [event(), wrong, *closer])[0][:2] == (1, "unknown_experiment")
        kept = it.services.store.quarantined()[-1]
        assert (kept.index, kept.trusted, json.loads(kept.event)) == (1, True, wrong)


def test_the_index_of_a_rejection_is_that_of_the_request(it):
    first = event()
    it.http.post(URL, json=[first])
    moved = {**first, "happened_at": (START + timedelta(hours=0.6)).isoformat()}
    # the bad event before it is sorted out earlier; the store finds the reused id later
    assert refused(it, ["bad", event(), moved]) == [
        (0, "wrong_type", ""),
        (2, "id_reused", refused(it, [moved])[0][2]),
    ]


def test_an_event_that_is_refused_late_is_not_counted_as_come_too(it):
    def counted():
        told = it.http.get("/api/v1/received").json()["received"]
        return next((r["server"], r["refused"]) for r in told if r["name"] == first["name"])

    first = event()
    it.http.post(URL, json=[first])
    came, turned_away = counted()
    moved = {**first, "happened_at": (START + timedelta(hours=0.6)).isoformat()}
    assert refused(it, [event(), moved])[0][1] == "id_reused"
    assert counted() == (came + 1, turned_away + 1)


def test_an_empty_batch_is_fine_and_a_batch_of_bad_events_too(it):
    assert it.http.post(URL, json=[]).json()["accepted"] == 0
    answer = it.http.post(URL, json=[{}])
    assert (answer.status_code, answer.json()["accepted"]) == (200, 0)
    assert len(answer.json()["rejected"]) == 1


@pytest.mark.parametrize(
    ("content", "headers", "status", "code"),
    [
        pytest.param(b"[", {}, 400, "malformed_body", id="no JSON"),
        pytest.param(b"7", {}, 400, "malformed_body", id="no array"),
        pytest.param(b" " * 20_001, {}, 413, "too_large", id="large"),
        pytest.param(
            gzip.compress(b" " * 20_001),
            {"Content-Encoding": "gzip"},
            413,
            "too_large",
            id="large once unpacked",
        ),
        pytest.param(
            gzip.compress(b"[]")[:-4], {"Content-Encoding": "gzip"}, 400, "bad_encoding", id="cut"
        ),
        pytest.param(b"[]", {"Content-Encoding": "br"}, 400, "bad_encoding", id="brotli"),
        pytest.param(
            json.dumps([1] * 51).encode(), {}, 413, "too_many_events", id="too many events"
        ),
        pytest.param(
            json.dumps([event() for _ in range(51)]).encode(),
            {},
            413,
            "too_many_events",
            id="too many good events",
        ),
    ],
)
def test_a_whole_request_that_cannot_be_taken_is_refused(it, content, headers, status, code):
    answer = it.http.post(URL, content=content, headers=headers)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
    assert answer.json()["error"]["message"]


def test_a_gzip_bomb_is_not_unpacked(it):
    bomb = gzip.compress(b"\0" * 15_000_000)
    assert len(bomb) < 20_000
    answer = it.http.post(URL, content=bomb, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 413


@pytest.mark.parametrize("members", [101, 150_000])
def test_gzip_of_countless_members_is_refused_after_a_few(monkeypatch, members):
    opened = []

    def counted(**kwargs):
        opened.append(kwargs)
        return zlib.decompressobj(**kwargs)

    monkeypatch.setattr(
        "metrics.asgi.zlib", SimpleNamespace(decompressobj=counted, error=zlib.error)
    )
    with pytest.raises(BadEncodingError, match="more than 100 gzip members"):
        unpack(gzip.compress(b"") * members, "gzip", 8_000_000)
    assert len(opened) == 100


def test_gzip_of_a_hundred_members_is_one_body():
    assert unpack(gzip.compress(b"[") + gzip.compress(b"]") * 99, "gzip", 999) == b"[" + b"]" * 99


def test_too_many_gzip_members_are_a_bad_request(it):
    body = gzip.compress(b"") * 500 + gzip.compress(b"[]")
    answer = it.http.post(URL, content=body, headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "bad_encoding")


@pytest.mark.parametrize(
    ("origin", "headers", "trusted"),
    [
        pytest.param(None, {}, True, id="no page"),
        pytest.param("http://127.0.0.1:5173", {}, True, id="a page of this machine"),
        pytest.param("http://localhost", {}, True, id="a page of localhost"),
        pytest.param("http://[::1]:8080", {}, True, id="a page of this machine, IPv6"),
        pytest.param("https://shop.example", {}, False, id="another page"),
        pytest.param("https://localhost.shop.example", {}, False, id="a name like ours"),
        pytest.param("null", {}, False, id="a page that hides its origin"),
        pytest.param("http://[", {}, False, id="no address"),
        pytest.param("https://shop.example", {"X-API-Key": "made up"}, False, id="a stray key"),
        pytest.param("https://shop.example", {"Authorization": "Bearer"}, False, id="no key"),
    ],
)
def test_pages_of_other_sites_are_not_trusted_without_a_key(
    it, monkeypatch, origin, headers, trusted
):
    sent = [] if origin is None else [("Origin", origin)]
    taken = spied(it, monkeypatch)
    answer = it.http.post(URL, json=[event()], headers=[*headers.items(), *sent])
    assert answer.json()["accepted"] == 1
    assert [e.trusted for e in taken] == [trusted]


def test_a_page_of_another_site_is_trusted_with_a_key_that_is(monkeypatch):
    foreign = {"Origin": "https://shop.example"}
    with running(admin_key="a") as it:
        taken = spied(it, monkeypatch)
        assert it.http.post(URL, json=[event()]).status_code == 200
        assert it.http.post(URL, json=[event()], headers=foreign).status_code == 200
        assert it.http.post(URL, json=[event()], headers={**foreign, "X-API-Key": "a"}).is_success
        assert it.http.post(URL, json=[event()], headers={**foreign, "X-API-Key": "b"}).is_error
        assert [e.trusted for e in taken] == [True, False, True]


def spied(it, monkeypatch):
    taken = []
    submit = it.services.ingest.submit

    def watched(events):
        taken.extend(events)
        return submit(events)

    monkeypatch.setattr(it.services.ingest, "submit", watched)
    return taken


def test_one_endless_number_spoils_only_its_own_event(it):
    text = json.dumps([event("satisfaction_rated", score=0), event()])
    body = text.replace('"score": 0', '"score": ' + "9" * 5000)
    answer = it.http.post(URL, content=body).json()
    assert answer["accepted"] == 1
    assert [(r["index"], r["code"]) for r in answer["rejected"]] == [(0, "out_of_range")]


def test_unknown_parameters_and_methods_are_refused(it):
    answer = it.http.post(f"{URL}?trusted=1", json=[])
    assert (answer.status_code, answer.json()["error"]["code"]) == (400, "unknown_parameter")
    assert it.http.get(URL).status_code == 405
    assert it.http.options(URL).headers["access-control-allow-origin"] == "*"


def test_a_full_queue_acknowledges_nothing_and_says_when_to_come_back(it, monkeypatch):
    def full(_events):
        raise QueueFullError(7)

    batch = [event()]
    with monkeypatch.context() as patched:
        patched.setattr(it.services.ingest, "submit", full)
        answer = it.http.post(URL, json=[*batch, "bad"])
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "7")
    assert answer.json()["error"]["code"] == "queue_full"
    assert it.http.post(URL, json=batch).json()["accepted"] == 1


def test_a_store_that_fails_acknowledges_nothing(it, monkeypatch):
    def broken(_events, **_kwargs):
        raise StoreError("no space left on /var/secret")

    batch = [event()]
    with monkeypatch.context() as patched:
        patched.setattr(it.services.store, "append", broken)
        answer = it.http.post(URL, json=batch)
    assert answer.status_code == 503
    assert int(answer.headers["retry-after"]) >= 1
    assert "secret" not in answer.text
    assert it.http.post(URL, json=batch).json()["accepted"] == 1


def test_a_client_key_sends_untrusted_events(monkeypatch):
    with running(host="0.0.0.0", admin_key="a", ingest_key="i", client_key="c") as it:  # noqa: S104 - keys decide
        taken = []
        submit = it.services.ingest.submit

        def watched(events):
            taken.extend(events)
            return submit(events)

        monkeypatch.setattr(it.services.ingest, "submit", watched)
        for key in "cia":
            it.http.post(URL, json=[event()], headers={"X-API-Key": key})
        assert [e.trusted for e in taken] == [False, True, True]


def test_what_became_of_events_is_counted():
    with running() as it:
        it.http.post(URL, json=[event(), "bad"])
        it.http.post(URL, content=b"[")
        text = it.http.get("/metrics").text
        assert 'turnback_events_total{result="accepted"} 1.0' in text
        assert 'turnback_events_total{result="quarantined"} 1.0' in text
        assert 'turnback_events_total{result="refused"} 1.0' in text
