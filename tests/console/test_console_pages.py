"""Pages of rollbacks, KPIs, events, audit and health: what they say, as twins, in a browser."""

import json
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest

from console.views.audit import PAGE, audit_page
from console.views.health import Vitals, health_page
from console.views.rollback import rollback_page
from console.views.scale import scale_of
from guardrails.audit_reading import Entry, Sort
from guardrails.health_reading import Blind, ExperimentSight
from tests.harm import KEY, START, story
from tests.pages import UNSEEN, missing, token_of
from tests.running import running
from tests.views import T

NASTY = '<script>alert("x")</script><img src=x onerror=alert(1)>&{{ 7*7 }}'
QUOTED = json.dumps(NASTY)
EVIL = f"""\
experiment: {KEY}
title: {QUOTED}
hypothesis: {QUOTED}
owner: {QUOTED}
unit: order_id
variants:
  control: {{weight: 50%, flow: {{note: {QUOTED}}}}}
  treatment: {{weight: 50%, flow: {{note: {QUOTED}}}}}
kpis:
  own_kpi:
    title: {QUOTED}
    words: {QUOTED}
    kind: proportion
    better: lower
    windows: {{1h: 100%}}
    measures: {{failed: {{event: flow_failed}}}}
    value: failed > 0
guardrails:
  - {{kpi: cancel_success_rate, max_drop: 5%}}
  - {{kpi: own_kpi, max_rise: 50%, action: alert}}
ends: {{after: 10d, observe_for: 2d}}
check_every: 1h
expect_units: 5000
"""
PAGES = ("/kpis", "/events", "/audit", "/health")


@pytest.fixture(scope="module")
def it():
    """A treatment that lets nobody out was turned back; every text carries markup."""
    with running() as service:
        applied = service.apply(EVIL)
        assert applied.is_success, applied.text
        for part in (list(story())[n : n + 400] for n in range(0, 900, 400)):
            assert service.http.post("/api/v1/events", json=part).is_success
        bad = {"id": NASTY, "name": "satisfaction_rated", "happened_at": START.isoformat()}
        bad |= {"units": {"order_id": NASTY}, "fields": {"score": NASTY}}
        service.http.post("/api/v1/events", json=[bad, {"id": "b"}])
        headers = {"X-Turnback-Actor": "%3Cscript%3Ealert%3C/script%3E", "User-Agent": NASTY}
        note = f"/api/v1/experiments/{KEY}/notes"
        service.http.post(note, json={"text": NASTY}, headers=headers)
        for hours in (1, 2, 3):
            to = (START + timedelta(hours=hours)).isoformat()
            assert service.http.post("/api/v1/demo/clock", json={"to": to}).is_success
        yield service


@pytest.fixture(scope="module")
def back(it):
    """The address of the rollback's page."""
    (done,) = [t for t in it.services.engine.transitions(KEY) if t.after == "rolled_back"]
    return f"/experiments/{KEY}/rollbacks/t{done.id}"


def test_the_page_of_a_rollback_answers_six_questions(it, back):
    # the first drawing loads the engine that draws
    page, twin = it.http.get(back, timeout=90).text, it.http.get(f"{back}.json").json()
    assert (
        twin["headline"] == "treatment was turned back because cancel success rate fell by 100.0%."
    )
    assert [a["question"] for a in twin["answers"]] == [
        "What happened?",
        "How sure is it?",
        "Who was affected?",
        "What do clients get now?",
        "Is it effective?",
    ]
    assert "What to do next?" in page
    assert "130 units (order_id) had met treatment" in page
    assert "Everybody who had treatment gets control." in page
    assert f'href="/experiments/{KEY}/actions/resume/treatment"' in page
    assert page.count("<svg") >= 2, "the evidence and the effect are drawn"


def test_a_rollback_is_linked_from_the_experiment_and_from_every_timeline(it, back):
    for path in ("/", f"/experiments/{KEY}"):
        assert f'href="{back}"' in it.http.get(path).text
    check = it.http.get(f"{back}.json").json()["facts"][-1][1]
    other = it.http.get(f"/experiments/{KEY}/rollbacks/{check}", follow_redirects=False)
    assert (other.status_code, other.headers["location"]) == (303, back)


@pytest.mark.parametrize("wrong", ["t1", "t999", "x", "%2e%2e"])
def test_what_is_no_rollback_is_said_on_a_page(it, wrong):
    answer = it.http.get(f"/experiments/{KEY}/rollbacks/{wrong}")
    assert answer.status_code in {400, 404}
    assert answer.headers["content-type"].startswith("text/html")
    assert it.http.get(f"/experiments/none/rollbacks/{wrong}").status_code == 404


def test_the_replay_button_computes_the_decision_again_and_says_equal(it, back):
    page = it.http.get(f"{back}/replay").text
    twin = it.http.get(f"{back}/replay.json").json()
    assert twin["verdict"] == "equal"
    assert twin["headline"] == "Equal: the same counts, the same evidence, the same decision."
    assert missing(page, twin) == []
    assert f'href="{back}/replay"' in it.http.get(back).text


@pytest.mark.parametrize("language", ["en", "zh"])
@pytest.mark.parametrize("path", PAGES)
def test_a_page_says_what_its_twin_says(it, path, language):
    headers = {"Accept-Language": language}
    twin = it.http.get(f"{path}.json", headers=headers).json()
    page = it.http.get(path, headers=headers)
    assert page.status_code == 200
    assert page.headers["content-language"] == language
    unseen = {"source", "next", "code", "last_at"} if path == "/events" else {"key", "core", "id"}
    assert missing(page.text, twin, unseen=UNSEEN | unseen) == []
    assert it.http.get(f"{path}?no_such=1").status_code == 400


@pytest.mark.parametrize("language", ["en", "zh"])
def test_the_page_of_a_rollback_says_what_its_twin_says(it, back, language):
    headers = {"Accept-Language": language}
    twin = it.http.get(f"{back}.json", headers=headers).json()
    page = it.http.get(back, headers=headers).text
    unseen = UNSEEN | {"key", "variant", "control", "at_words", "actor", "flow", "scale"}
    assert missing(page, twin, unseen=unseen) == []


def test_markup_in_any_text_is_shown_as_text(it, back):
    for path in (*PAGES, back, f"/experiments/{KEY}", "/", f"/experiments/{KEY}/actions/stop"):
        text = it.http.get(path).text
        assert "<script>alert" not in text, path
        assert "<img src=x" not in text, path
        assert "&amp;49" not in text, path


def test_events_are_chosen_by_reason_and_paged(it):
    twin = it.http.get("/events.json").json()
    assert twin["headline"] == "2 events are in quarantine: they count nowhere."
    assert {c["code"] for c in twin["codes"]} == {"wrong_type", "missing"}
    one = it.http.get("/events.json?code=missing").json()
    assert [s["code"] for s in one["samples"]] == ["missing"]
    assert "turnback quarantine --resubmit-code missing" in it.http.get("/events?code=missing").text
    assert it.http.get("/events.json?before=1").json()["samples"] == []
    assert it.http.get("/events?before=x").status_code == 400


def test_the_audit_is_chosen_by_kind_and_person(it):
    changes = it.http.get("/audit.json?sort=change").json()["rows"]
    assert {r["sort"] for r in changes} == {"change"}
    assert NASTY in {r["reason"] for r in changes}
    calls = it.http.get("/audit.json?sort=call").json()["rows"]
    assert any(r["what"] == f"POST /api/v1/experiments/{KEY}/notes" for r in calls)
    assert not any("demo/clock" in r["what"] for r in calls), "time is no decision"
    actor = calls[0]["actor"]
    mine = it.http.get("/audit.json", params={"actor": actor}).json()["rows"]
    assert {r["actor"] for r in mine} == {actor}
    assert it.http.get("/audit?sort=nothing").status_code == 400
    assert it.http.get("/audit?before=yesterday").status_code == 400
    assert it.http.get("/audit.json", params={"before": START.isoformat()}).json()["rows"] == []


def test_the_audit_is_paged_by_instants():
    entries = [Entry(START - timedelta(hours=n), Sort.CALL, "ann") for n in range(PAGE + 1)]
    page = audit_page(entries, sort="", actor="")
    assert len(page.rows) == PAGE
    assert page.next == entries[PAGE - 1].at.isoformat()
    assert audit_page(entries[:3], sort="", actor="").next == ""
    assert audit_page([], sort="", actor="").headline == "Nothing is recorded here yet."


def test_kpis_say_who_guards_by_them(it):
    twin = it.http.get("/kpis.json").json()
    assert len(twin["core"]) == 12
    by_key = {k["key"]: k for k in (*twin["core"], *twin["others"])}
    (guard,) = by_key["cancel_success_rate"]["guards"]
    assert guard["experiment"] == KEY
    assert guard["acts"] == "turns back"
    assert by_key["own_kpi"]["title"] == NASTY
    chinese = it.http.get("/kpis.json", headers={"Accept-Language": "zh"}).json()
    assert "用户满意度" in {k["title"] for k in chinese["core"]}


def test_health_knows_blind_time_messages_and_what_it_is_made_of(it):
    twin = it.http.get("/health.json").json()
    (row,) = twin["sights"]
    assert (row["experiment"], row["checks"], row["missed"]) == (KEY, "3", "0")
    assert dict(twin["versions"])["Turnback"]
    assert dict(twin["facts"])["Events stored"] != "0"
    assert {light["name"] for light in twin["lights"]} == {
        "Checks",
        "Acting",
        "Files",
        "Messages",
        "Intake",
    }


def test_health_sums_the_time_nobody_looked():
    vitals = Vitals(
        now=T,
        started_at=T,
        wall=T,
        pid=7,
        demo=False,
        checks_on=True,
        suspended="suspended by ann",
        config=("a.yaml: broken",),
        store_bytes=2_400_000,
        control_bytes=999,
        free_bytes=10**12,
        events=5,
        waiting=0,
        room=10,
        versions=(),
        notices=(),
        retain=timedelta(days=400),
    )
    hour = timedelta(hours=1)
    sight = ExperimentSight(
        "x", "running", True, hour, T - 3 * hour, 10, 1, 4, (Blind("g", "b", 26 * hour, T),)
    )
    page = health_page(vitals, [sight], (), ())
    assert page.sights[0].unchecked == "5 hours"
    assert page.sights[0].blind == ("g of b: 1 day 2 hours, still",)
    assert page.sights[0].tone == "bad", "its last check is three hours ago"
    assert [light.tone for light in page.lights] == ["bad", "warn", "warn", "good", "good"]
    assert dict(page.facts)["Metric store"] == "2.4 MB"
    demo = health_page(replace(vitals, demo=True), [sight], (), ())
    assert demo.sights[0].tone == "warn", "its time stands still: nothing is late"


def test_the_picture_of_an_effect_stays_inside_its_frame(it, back):
    twin = it.http.get(f"{back}.json").json()
    scale = twin["scale"]
    assert scale["harm_left"]
    assert 0 <= scale["low"] <= scale["effect"] <= scale["high"] <= 100
    assert scale["margin"] < scale["proof"] < scale["zero"] == 50
    story_of = it.services.engine.rollback(KEY, back.rsplit("/", 1)[1])
    window = story_of.guardrail.windows[0]
    assert scale_of(window, None, story_of.guardrail) is None
    assert scale_of(replace(window, effect=float("nan")), -0.05, story_of.guardrail) is None
    wide = scale_of(
        replace(window, effect_low=float("-inf"), effect_high=float("inf")),
        -0.05,
        story_of.guardrail,
    )
    assert (wide.low, wide.high) == (0, 100)
    bare = replace(story_of, guardrail=None, check=None)
    page = rollback_page(bare, titles={}, units={})
    assert (page.scale, page.value_words, page.replayable) == (None, "", False)


def test_pages_work_in_a_browser_with_the_keyboard_alone(it, back):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        try:
            page = browser.new_page(viewport={"width": 360, "height": 700})
            complaints, asked = [], []
            page.on("console", lambda m: complaints.append(m.text) if m.type == "error" else None)
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.on("dialog", lambda d: (complaints.append(d.message), d.dismiss()))
            page.on("request", lambda r: asked.append(r.url))
            for path in (*PAGES, "/session", back):
                page.goto(it.url + path)
                assert page.evaluate("document.documentElement.scrollWidth") == 360, path
            page.get_by_role("link", name="resume treatment").focus()
            page.keyboard.press("Enter")
            page.get_by_label("Reason").wait_for()
            page.get_by_label("Reason").focus()
            page.keyboard.type("the cause is mended")
            page.keyboard.press("Tab")
            page.keyboard.type("ann")
            page.keyboard.press("Tab")
            page.keyboard.press("Enter")
            page.locator("#done").wait_for()
            assert "treatment was resumed" in page.locator("#done").inner_text()
            assert "the cause is mended" in page.locator("#done").inner_text()
            page.goto(f"{it.url}/experiments/{KEY}/actions/pause")
            page.get_by_label("Reason").fill(NASTY)
            page.get_by_label("Your name").fill("ann")
            page.get_by_role("button", name="Pause").click()
            page.locator("#done").wait_for()
            assert "The experiment was paused" in page.locator("#done").inner_text()
            assert NASTY in page.locator("#done").inner_text()
            assert complaints == []
            assert {u.split("/")[2] for u in asked if not u.startswith("data:")} == {
                it.url.split("/")[2]
            }
            assert token_of(page.goto(f"{it.url}/session").text())
        finally:
            browser.close()
