"""`POST /api/v1/alerts` behind a real socket: who may post, and what is answered."""

import base64
import json
import time
from datetime import timedelta
from pathlib import Path

import pytest

import service
from tests.running import KEY, SPEC, running

PROTOCOL = Path(__file__).with_name("alertmanager_webhook.json")
PATH = "/api/v1/alerts"
KEYS = {name: name[0] * 24 for name in ("admin_key", "ingest_key", "client_key")}
SPEC = SPEC.replace("max_drop: 3%}", "max_drop: 3%}\n  - {rule: alert, name: CheckoutErrors}")


def notification(status="firing", **labels):
    body = json.loads(PROTOCOL.read_text(encoding="utf-8"))
    (alert,) = body["alerts"]
    given = {"alertname": "CheckoutErrors", "experiment": KEY, "variant": "treatment", **labels}
    alert["labels"] = {name: value for name, value in given.items() if value}
    alert["status"] = body["status"] = status
    if status == "resolved":
        alert["endsAt"] = "2026-11-22T11:00:00Z"
    return body


@pytest.fixture(scope="module")
def closed():
    with running(**KEYS) as it:
        it.http.headers["Authorization"] = f"Bearer {KEYS['admin_key']}"
        assert it.apply(SPEC).is_success
        it.services.clock.move_to(service.DEMO_START + timedelta(hours=2))
        it.services.engine.run_due()
        yield it


@pytest.fixture
def opened():
    with running() as it:
        assert it.apply(SPEC).is_success
        it.services.clock.move_to(service.DEMO_START + timedelta(hours=2))
        it.services.engine.run_due()
        yield it


def basic(key):
    return "Basic " + base64.b64encode(f"alertmanager:{key}".encode()).decode()


@pytest.mark.parametrize(
    ("authorization", "status"),
    [
        ("", 401),
        (f"Bearer {KEYS['client_key']}", 403),
        ("Bearer wrong", 401),
        (basic("wrong"), 401),
        (f"Bearer {KEYS['ingest_key']}", 200),
        (basic(KEYS["ingest_key"]), 200),
        (f"Bearer {KEYS['admin_key']}", 200),
    ],
)
def test_an_alert_needs_a_key_that_may_send_events_as_bearer_or_basic(
    closed, authorization, status
):
    # what nothing follows from, so that every case meets the same service
    body = notification(alertname="DiskFull")
    answer = closed.http.post(PATH, json=body, headers={"Authorization": authorization})
    assert answer.status_code == status
    if status == 200:
        (ignored,) = answer.json()["ignored"]
        assert ignored["alert"] == "DiskFull"
        assert answer.headers["X-Request-ID"]
    else:
        assert set(answer.json()["error"]) == {"code", "message", "hint", "path"}
        assert KEYS["ingest_key"] not in answer.text


def test_what_was_let_in_is_recorded_with_its_key(closed):
    headers = {"Authorization": f"Bearer {KEYS['ingest_key']}"}
    assert closed.http.post(PATH, json=notification(alertname="X"), headers=headers).is_success
    end = time.monotonic() + 10
    while (call := closed.services.admission.calls(1)[0]).key != "TURNBACK_INGEST_KEY":
        assert time.monotonic() < end, call  # it is kept after it was answered
        time.sleep(0.02)
    assert (call.path, call.key, call.status) == (PATH, "TURNBACK_INGEST_KEY", 200)


def test_an_alert_turns_a_variant_back_and_the_page_and_the_series_say_so(opened):
    series = opened.http.get("/metrics").text
    for result in ("fired", "resolved", "repeated", "ignored"):
        assert f'turnback_alerts_total{{result="{result}"}} 0.0' in series, "born at 0"
    refused = opened.http.post(
        PATH, json=notification(), headers={"Origin": "https://evil.example"}
    )
    assert refused.status_code in {401, 403}, "no page of another site is let in without a key"
    body = notification()
    body["alerts"][0]["annotations"] = {"summary": "<script>alert(1)</script>{{7*7}}"}
    first = opened.http.post(PATH, json=body)
    assert first.json() == {"fired": 1, "resolved": 0, "repeated": 0, "ignored": []}
    assert opened.http.post(PATH, json=notification()).json()["repeated"] == 1
    unit = opened.unit_of("treatment")
    assert opened.evaluate(unit).json()["variant"] == "control"
    page = opened.http.get(f"/experiments/{KEY}", headers={"Accept": "text/html"}).text
    assert "treatment was turned back because the alert CheckoutErrors fires." in page
    assert "nothing is proven, and it is no part of the guarantee" in page
    assert "&lt;script&gt;alert(1)&lt;/script&gt;{{7*7}}" in page
    assert "<script>alert(1)" not in page
    series = opened.http.get("/metrics").text
    assert 'turnback_alerts_total{result="fired"} 1.0' in series
    assert (
        'turnback_guardrail_outcome{experiment="cancel-page",guardrail="CheckoutErrors",'
        'outcome="breach",variant="treatment"} 1.0' in series
    )
    resolved = opened.http.post(PATH, json=notification("resolved"))
    assert resolved.json()["resolved"] == 1


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        (b"", 400, "invalid_request"),
        (b"{}", 400, "invalid_request"),
        (b'{"version": "3", "alerts": []}', 400, "invalid_request"),
        (b"[" * 50_000, 400, "invalid_request"),
        (b" " * 8_000_001, 413, "too_large"),
    ],
)
def test_what_is_no_notification_is_refused_in_the_one_shape(closed, body, status, code):
    answer = closed.http.post(PATH, content=body)
    assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)


def test_an_unknown_query_parameter_and_other_methods_are_refused(closed):
    assert closed.http.post(f"{PATH}?force=1", json=notification()).status_code == 400
    assert closed.http.get(PATH).status_code == 405
