"""The pages: what they say, that markup stays text, and that nothing comes from elsewhere."""

import re
import shutil
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from console.views import words
from console.views.experiment import experiment_page
from console.views.headlines import headline
from console.views.lines import KpiText, transition_line
from console.views.overview import overview
from guardrails.outcome import Code, Outcome, WindowFinding
from guardrails.views import KpiView, RampStepView, RollbackView, TransitionView, VariantView
from tests.running import KEY, SPEC, running
from tests.views import T, rolled_back, view

NASTY = '<script>alert("x")</script>&<b>'
MARKUP = f"""\
experiment: cancel-page
title: '{NASTY}'
hypothesis: '{NASTY}'
owner: '{NASTY}'
unit: order_id
variants:
  control: {{weight: 50%, flow: '{NASTY}'}}
  treatment: {{weight: 50%, flow: plain}}
guardrails:
  - {{kpi: satisfaction, max_drop: 3%}}
ends: {{after: 10d, observe_for: 1d}}
"""


@pytest.fixture(scope="module")
def it():
    with running() as service:
        applied = service.apply(MARKUP)
        assert applied.status_code == 201, applied.text
        service.http.post("/api/v1/demo/clock", json={"to": "2026-01-05T02:00:00Z"})
        service.act("roll_back", variant="treatment", reason=NASTY)
        yield service


def window(**changes):
    hour = timedelta(hours=1)
    return WindowFinding(hour, 0.05, Outcome.INCONCLUSIVE, Code.UNDECIDED, **changes)


def judged(outcome, evidence, *windows, **changes):
    return replace(
        view().guardrails[0],
        outcome=outcome,
        code=Code.UNDECIDED,
        evidence=evidence,
        windows=windows,
        **changes,
    )


def page_of(changed=None, **changes):
    return experiment_page(changed or view(**changes), {})


def turned_back(*guardrails):
    return view(
        variants=(
            VariantView("control", "control", 0.5, 1.0, 10, 1, None),
            VariantView("b", "rolled_back", 0.5, 0.0, 11, 1, None),
        ),
        guardrails=guardrails,
        transitions=(rolled_back(),),
        last_check_at=T,
    )


@pytest.mark.parametrize("path", ["/", f"/experiments/{KEY}", "/docs", "/experiments/none"])
def test_markup_in_texts_is_shown_as_text(it, path):
    answer = it.http.get(path)
    assert answer.status_code == (404 if path.endswith("none") else 200)
    assert "<script>alert" not in answer.text
    assert "<b>" not in answer.text
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    if KEY in path:
        assert answer.text.count("&lt;script&gt;alert") >= 4


@pytest.mark.parametrize(
    "path", ["/", f"/experiments/{KEY}", "/docs", "/static/style.css", "/static/page.js"]
)
def test_nothing_is_loaded_from_elsewhere(it, path):
    text = it.http.get(path).text
    addresses = re.findall(r"""(?:src|href|url|import)\s*[=(]\s*["']?([^"')\s>]+)""", text)
    # charts name the namespaces of SVG, which nobody fetches
    far = [a for a in addresses if "//" in a and "www.w3.org" not in a]
    assert far == []


def test_the_policy_forbids_what_the_pages_do_not_need(it):
    policy = it.http.get("/").headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "script-src 'self'" in policy
    assert "<script src=" in it.http.get("/").text


def test_a_page_says_what_the_goal_is():
    page = page_of(goal={"kpi": "save_rate", "expect": 0.1, "words": "Save rate +10%"})
    assert dict(page.facts)["Goal"] == "Save rate +10%"
    assert "Goal" not in dict(page_of().facts)


def test_a_page_and_its_twin_say_the_same(it):
    twin = it.http.get(f"/experiments/{KEY}.json").json()
    page = it.http.get(f"/experiments/{KEY}").text
    assert twin["headline"] == "treatment was turned back by api."
    assert twin["headline"] in page
    assert all(v["share_words"] in page for v in twin["variants"])
    first = it.http.get("/overview.json").json()
    assert first["experiments"][0]["headline"] == twin["headline"]
    assert first["headline"] == "1 experiment running, 1 variant turned back."
    assert first["headline"] in it.http.get("/").text


def test_an_unchanged_page_is_answered_with_304(it):
    tag = it.http.get("/").headers["etag"]
    assert it.http.get("/", headers={"If-None-Match": tag}).status_code == 304


def test_charts_are_asked_for_by_guardrail_and_treatment(it):
    path = f"/experiments/{KEY}/charts/satisfaction"
    early = it.http.get(f"{path}/treatment/evidence.svg")
    assert (early.status_code, early.json()["error"]["code"]) == (404, "not_found")
    assert "after the second look" in early.json()["error"]["hint"]
    answer = it.http.get(f"{path}/none/evidence.svg")
    assert (answer.status_code, answer.json()["error"]["code"]) == (404, "unknown_guardrail")
    assert it.http.get(f"{path}/treatment/weather.svg").status_code == 404
    assert it.http.get(f"{path}/treatment/evidence.svg?size=huge").status_code == 400
    assert it.http.get("/static/secrets.txt").status_code == 404


def test_what_a_file_watches_is_marked_on_its_page():
    with running() as it:
        assert it.apply(SPEC + "watch: [repurchase_rate]\n").is_success
        rows = it.http.get(f"/experiments/{KEY}.json").json()["kpis"]
        assert [row["kpi"] for row in rows if row["watched"]] == ["repurchase_rate"]
        assert it.http.get(f"/experiments/{KEY}").text.count(">watched</span>") == 1


def test_an_empty_service_says_how_to_begin():
    with running() as it:
        text = it.http.get("/").text
        assert "No experiment yet." in text
        assert "turnback apply" in text


def test_the_twelve_kpis_have_a_row_before_any_data(it):
    rows = it.http.get(f"/experiments/{KEY}.json").json()["kpis"]
    core = [kpi.key for kpi in it.services.catalogue.core]
    shown = [r["kpi"] for r in rows]
    assert shown[0] == "satisfaction", "what a guardrail judges comes first"
    assert len(core) == 12
    assert shown[:12] == sorted(core, key=lambda key: key != "satisfaction")
    assert {r["empty"] for r in rows} == {"not enough yet: no window has closed"}


def test_the_headline_of_a_rollback_names_variant_kpi_and_effect():
    breach = judged(Outcome.BREACH, 1.04, window(effect=-0.051, evidence=1.04))
    page = page_of(turned_back(breach))
    assert page.headline == "b was turned back because satisfaction fell by 5.1%."
    assert page.tone == "bad"
    assert "until a person resumes it" in page.lead
    assert page.guardrails[0].evidence_words == "harm is proven"
    assert page.variants[1].gets == "control's experience, turned back"


@pytest.mark.parametrize(
    ("changes", "stands"),
    [
        ({"state": "stopped"}, "The experiment is over: everybody gets control."),
        (
            {"state": "observing"},
            "Its units get control from then on, for good: no new units come.",
        ),
        (
            {"state": "finished", "shipped": "c"},
            "The experiment is over; the audience gets c.",
        ),
    ],
)
def test_of_an_experiment_that_is_over_nobody_is_asked_to_resume_it(changes, stands):
    page = page_of(replace(turned_back(judged(Outcome.INCONCLUSIVE, 0.2)), **changes))
    assert page.lead.endswith(stands)
    assert "resumes" not in page.lead


def test_a_rollback_without_a_measured_effect_still_has_a_headline():
    assert page_of(turned_back(judged(Outcome.INCONCLUSIVE, 0.2))).headline == (
        "b was turned back."
    )


def test_a_running_experiment_says_what_is_nearest_to_its_limit():
    near = judged(Outcome.INCONCLUSIVE, 0.999, window(effect=-0.02))
    page = page_of(last_check_at=T, guardrails=(near,))
    assert page.headline == (
        "No harm is proven for b. Nearest to its limit is satisfaction, with 99% of the evidence "
        "that would turn it back."
    )
    safe = judged(Outcome.PASS, 0.0, window(effect=0.01))
    both = page_of(last_check_at=T, guardrails=(near, safe))
    assert both.headline == "No harm is proven for b. 1 of 2 guardrails is proven safe."
    assert page_of().headline == "b has just started; the first check is still to come."


def test_blindness_is_said_and_is_no_harm():
    blind = replace(judged(Outcome.NO_DATA, 0.0), code=Code.EVENTS_STOPPED)
    page = page_of(last_check_at=T, guardrails=(blind,))
    assert page.tone == "warn"
    assert page.headline == (
        "Events no longer arrive: the engine cannot judge satisfaction. Nothing was turned back."
    )
    assert page.guardrails[0].evidence_words == "cannot be judged now"
    both = page_of(last_check_at=T, guardrails=(blind, blind))
    assert "cannot judge any guardrail" in both.headline


def test_unknown_numbers_are_words_never_zero():
    page = page_of(
        kpis=(
            KpiView("k", "K", "lower", "control", timedelta(hours=1), 0.5, 10, 10, None),
            KpiView("k", "K", "lower", "b", timedelta(hours=1), None, 0, 12, None),
        )
    )
    cell = page.kpis[0].cells[1]
    assert (cell.value, cell.effect, cell.units) == ("not enough yet", "", "no unit has a value")
    assert page.guardrails[0].effect_words == words.UNKNOWN
    assert dict(page.facts)["Last check"] == "none yet"
    assert dict(page.facts)["Watched until"] == words.UNKNOWN


def test_a_kpi_is_shown_over_the_longest_window_every_variant_has():
    def kpi(variant, hours, value, effect=None):
        length = timedelta(hours=hours)
        return KpiView("k", "K", "lower", variant, length, value, 1, 12, effect)

    text = KpiText("K", "share", "lower", "Words.", timedelta(hours=1), core=False)
    changed = view(
        kpis=(
            kpi("control", 1, 0.1),
            kpi("b", 1, 0.2),
            kpi("control", 24, 0.3),
            kpi("b", 24, 0.36, 0.2),
            kpi("control", 48, 0.3),
            kpi("b", 48, None),
        )
    )
    row = experiment_page(changed, {"k": text}).kpis[0]
    assert row.window == "1 day"
    assert [c.value for c in row.cells] == ["30.0%", "36.0%"]
    assert (row.cells[1].effect, row.cells[1].tone, row.cells[1].units) == (
        "20.0% higher",
        "quiet",
        "1 unit",
    )


@pytest.mark.parametrize(
    ("better", "low", "high", "tone"),
    [
        ("lower", 0.1, 0.3, "worse"),
        ("higher", 0.1, 0.3, "better"),
        ("lower", -0.3, -0.1, "better"),
        ("higher", -0.3, -0.1, "worse"),
        ("either", 0.1, 0.3, "quiet"),
        ("lower", -0.1, 0.3, "quiet"),
        ("lower", None, None, "quiet"),
    ],
)
def test_a_difference_has_a_colour_once_it_is_no_chance(better, low, high, tone):
    day = timedelta(days=1)
    middle = 0.2 if low is None else (low + high) / 2
    kpis = (
        KpiView("k", "K", better, "control", day, 0.3, 900, 900, None),
        KpiView("k", "K", better, "b", day, 0.36, 900, 900, middle, low, high),
    )
    cell = experiment_page(view(kpis=kpis), {}).kpis[0].cells[1]
    assert cell.tone == tone
    assert cell.interval == ("" if low is None else words.interval(low, high))
    assert (cell.bar is None) is (low is None)
    if cell.bar is not None:
        assert cell.bar.margin is None
        assert 0 < cell.bar.low < cell.bar.at < cell.bar.high < 100
        assert (cell.bar.low > 50) is (low > 0)


@pytest.mark.parametrize(
    ("effective", "tone", "said"),
    [
        (None, "quiet", "is verified after 1 Mar 2026, 12:00 UTC"),
        (
            True,
            "good",
            "Verified: clients follow (units an hour meeting b: 90 before, 0 since)",
        ),
        (False, "bad", "NOT effective"),
    ],
)
def test_whether_clients_follow_a_rollback_is_said(effective, tone, said):
    rates = (None, None) if effective is None else (90.0, 0.0)
    rollback = RollbackView("b", 1, T, T, effective, *rates)
    line = page_of(rollbacks=(rollback,)).rollbacks[0]
    assert line.tone == tone
    assert said in line.words


def test_the_overview_puts_what_was_turned_back_first():
    calm = replace(view(last_check_at=T), key="calm")
    page = overview([calm, turned_back()], now=T)
    assert [c.key for c in page.experiments] == ["x", "calm"]
    assert page.headline == "2 experiments running, 1 variant turned back."
    assert page.recent[0].what == "b was turned back"


def test_an_absolute_margin_is_drawn_relative_to_control():
    known = judged(Outcome.INCONCLUSIVE, 0.2, window(effect=0.1, control_value=0.25))
    rise = replace(known, absolute=True, margin=0.05, side="rise")
    assert page_of(guardrails=(rise,)).guardrails[0].margin == pytest.approx(0.2)
    unknown = replace(rise, windows=())
    assert page_of(guardrails=(unknown,)).guardrails[0].margin is None
    assert page_of().guardrails[0].margin == -0.03


@pytest.mark.parametrize(
    ("said", "expected"),
    [
        (words.effect(-0.0514), "5.1% lower"),
        (words.effect(float("nan")), words.UNKNOWN),
        (words.effect(0.0001), "unchanged"),
        (words.interval(-0.073, -0.029), "\u22127.3% to \u22122.9%"),
        (words.interval(-float("inf"), 0.1), ""),
        (words.interval(-0.25, 136.5), "\u221225.0% to more than +1,000%"),
        (words.share(0.125), "12.5%"),
        (words.share(1.0), "100%"),
        (words.value(None, "share"), words.UNKNOWN),
        (words.value(0.0123, "share"), "1.2%"),
        (words.value(3.456, "hours"), "3.46 h"),
        (words.duration(timedelta(days=14)), "14 days"),
        (words.duration(timedelta(seconds=90)), "90 seconds"),
        (words.joined(("a", "b", "c")), "a, b and c"),
        (words.units(1), "1 unit"),
    ],
)
def test_numbers_are_written_as_people_read_them(said, expected):
    assert said == expected


def test_templates_and_assets_are_part_of_the_package(it):
    assert it.http.get("/static/style.css").headers["content-type"].startswith("text/css")
    assert "cancel-page" in SPEC
    assert it.http.get("/static/page.js").headers["content-type"].startswith("text/javascript")


def test_a_page_keeps_itself_current_and_fits_a_phone():
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with running() as it, sync_api.sync_playwright() as playwright:
        it.apply()
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        try:
            page = browser.new_page(viewport={"width": 360, "height": 700})
            complaints = []
            page.on("console", lambda message: complaints.append(message.text))
            page.on("pageerror", lambda error: complaints.append(str(error)))
            page.goto(f"{it.url}/experiments/{KEY}")
            opened = page.locator("details[data-keep=file]")
            opened.locator("summary").first.focus()
            page.keyboard.press("Enter")
            assert opened.get_attribute("open") is not None
            it.act("roll_back", variant="treatment")
            page.get_by_role("heading", name="treatment was turned back by api.").wait_for()
            assert opened.get_attribute("open") is not None
            focused = "document.activeElement.matches('details[data-keep=file] summary')"
            assert page.evaluate(focused), "what was focused still is"
            assert page.evaluate("document.documentElement.scrollWidth") == 360
            assert complaints == []
        finally:
            browser.close()


def test_a_draft_says_when_it_starts_and_judges_nothing():
    at = datetime(2026, 12, 1, 9, tzinfo=UTC)
    draft = replace(view(), state="draft", started_at=None)
    assert headline(draft) == "Draft: everybody gets control until a person starts it."
    assert headline(replace(draft, starts_at=at)).endswith("starts on 1 Dec 2026, 09:00 UTC.")


def test_a_ramp_shows_each_step_and_what_it_still_asks_for():
    hold = timedelta(hours=6)
    steps = (
        RampStepView(1, "done", 0.05, hold, 0, approval=True, advance="unharmed", approved=True),
        RampStepView(
            2,
            "current",
            0.25,
            hold,
            500,
            approval=True,
            advance="proven",
            hold_left=timedelta(hours=1, seconds=61),
            units={"control": 130, "b": 120},
        ),
        RampStepView(3, "next", 1.0, timedelta(0), 0, approval=False, advance="unharmed"),
    )
    ramped = replace(view(), ramp=steps, steps=3, waiting="the step's hold is not over")
    page = experiment_page(ramped, {})
    assert [(s.traffic_words, s.state_words) for s in page.ramp] == [
        ("5%", "done"),
        ("25%", "now"),
        ("100%", "to come"),
    ]
    assert page.ramp[0].asks == ("6 hours", "approved")
    assert page.ramp[1].asks == (
        "6 hours, 62 minutes left",
        "500 units per arm, 120 in",
        "a person's approval",
        "every guardrail proven safe",
    )
    assert page.ramp[2].asks == ("stays until the end",)
    assert page.waiting == "The step's hold is not over."
    assert experiment_page(replace(view(), ramp=steps[2:]), {}).ramp == ()
    ended = replace(ramped, state="finished", ramp=(steps[0], replace(steps[1], state="done")))
    assert [(s.state_words, s.asks) for s in experiment_page(ended, {}).ramp] == [("done", ())] * 2


STOP = TransitionView(
    3, "x", None, "running", "stopped", T + timedelta(days=2), "ann", "wrong price", None, None
)


def test_a_stopped_experiment_says_when_and_plans_nothing():
    stopped = replace(view(), state="stopped", ends_at=None, transitions=(STOP,))
    facts = dict(experiment_page(stopped, {}).facts)
    assert facts["Stopped"] == "3 Mar 2026, 12:00 UTC"
    assert facts.keys().isdisjoint({"New units until", "Watched until"})


@pytest.mark.parametrize(
    ("variant", "before", "after", "what"),
    [
        (None, "new", "draft", "The experiment was applied as a draft"),
        (None, "draft", "running", "The experiment started"),
        (None, "running", "paused", "The experiment was paused"),
        (None, "paused", "running", "The experiment went on"),
        (None, "running", "stopped", "The experiment was stopped"),
        (None, "observing", "finished", "The experiment is finished"),
        (None, "step 1", "step 1 approved", "Step 1 of the ramp was approved"),
        (None, "traffic 0.05", "traffic 0.25", "The ramp went from 5% to 25% of the traffic"),
        (None, "revision 1", "revision 2", "Revision 2 was applied"),
        (None, "stopped", "draft", "The experiment was applied as a draft"),
        ("b", "live", "rolled_back", "b was turned back"),
        ("b", "rolled_back", "live", "b was resumed"),
    ],
)
def test_what_happened_is_told_in_sentences(variant, before, after, what):
    change = replace(STOP, variant=variant, before=before, after=after)
    assert transition_line(change).what == what
