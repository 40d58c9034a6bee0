"""The first page and the page of an experiment, from values: rows, needs, bars, revisions."""

from dataclasses import replace
from datetime import timedelta

import pytest

from console.i18n import in_language
from console.views.bars import bar_of
from console.views.experiment import experiment_page
from console.views.overview import Asked, overview
from console.views.revisions import file_of, loader
from guardrails.outcome import Code, Outcome, WindowFinding
from guardrails.views import NeedKind, NeedView, RevisionView, RollbackView, VariantView
from metrics.catalogue import load_catalogue
from tests.crowded import page_costs
from tests.running import KEY, SPEC, running
from tests.views import T, rolled_back, view

HOUR = timedelta(hours=1)
APPROVAL = NeedView(NeedKind.APPROVAL, "step 1 of the ramp wants approval")
SUSPENDED = NeedView(NeedKind.SUSPENDED, "the engine is suspended")


@pytest.fixture(scope="module")
def it():
    with running() as service:
        service.apply()
        service.apply(SPEC.replace("cancel-page", "courier").replace("Cancel page", "Courier map"))
        service.act("pause", key="courier")
        yield service


def back(**changes):
    arms = (
        VariantView("control", "control", 0.5, 1.0, 10, 1, None),
        VariantView("b", "rolled_back", 0.5, 0.0, 11, 1, None),
    )
    return view(variants=arms, transitions=(rolled_back(),), **changes)


def test_what_needs_a_person_is_told_once_the_worst_first():
    asks = view(key="a", title="A", needs=(SUSPENDED, APPROVAL))
    blind = view(key="b", title="B", needs=(SUSPENDED, NeedView(NeedKind.BLIND, "x is blind")))
    waits = replace(back(rollbacks=(RollbackView("b", 1, T, T, None, None, None),)), key="c")
    page = overview([asks, blind, waits], now=T, attention=("spec.yaml is not valid",))
    assert [(n.kind, n.experiment) for n in page.needs] == [
        ("suspended", ""),
        ("config", ""),
        ("blind", "b"),
        ("approval", "a"),
        ("unverified", "c"),
    ]
    assert page.needs[0].words == "The engine is suspended"
    assert page.needs[3].words.startswith("Step 1")


def test_a_row_says_age_last_check_traffic_and_what_is_blind():
    blind = replace(
        view().guardrails[0], outcome=Outcome.NO_DATA, code=Code.EVENTS_STOPPED, evidence=0.0
    )
    near = replace(
        view().guardrails[0], title="Refund hours", outcome=Outcome.INCONCLUSIVE, evidence=0.4
    )
    known = view(guardrails=(blind, near), last_check_at=T + 4 * HOUR, owner="ann@example.com")
    (row,) = overview([known], now=T + 5 * HOUR).experiments
    assert (row.age_words, row.last_check_words) == ("5 hours", "1 hour ago")
    assert row.blind == ("Satisfaction",)
    assert row.nearest.title == "Refund hours"
    assert row.nearest.history == ()
    assert (row.traffic_words, row.owner) == ("100% of traffic", "ann@example.com")
    new = overview([view(state="draft", started_at=None)], now=T).experiments[0]
    assert (new.age_words, new.last_check_words) == ("not started", "none yet")


def test_who_only_waits_for_a_person_is_not_amiss():
    (row,) = overview([view(needs=(APPROVAL,), attention=("x",))], now=T).experiments
    assert row.tone == "good"


@pytest.mark.parametrize(
    ("asked", "keys"),
    [
        (Asked(), ["x", "y", "z"]),
        (Asked(state="rolled_back"), ["y"]),
        (Asked(state="paused"), ["z"]),
        (Asked(owner="ann"), ["z"]),
        (Asked(q="COURIER"), ["z"]),
        (Asked(q="courier", state="running"), []),
    ],
)
def test_experiments_are_found_by_state_owner_and_text(asked, keys):
    views = [
        view(),
        replace(back(), key="y"),
        view(key="z", state="paused", owner="ann", hypothesis="A courier helps."),
    ]
    page = overview(views, now=T, asked=asked)
    assert sorted(card.key for card in page.experiments) == keys
    assert (page.found, page.total) == (len(keys), 3)
    assert page.headline == "2 experiments running, 1 variant turned back.", "of all of them"
    assert {state: count for state, _, count in page.states} == {
        "running": 2,
        "paused": 1,
        "rolled_back": 1,
    }


def test_the_address_filters_page_and_twin_alike(it):
    page, twin = it.http.get("/?q=courier&state=paused"), "/overview.json?q=courier&state=paused"
    assert [c["key"] for c in it.http.get(twin).json()["experiments"]] == ["courier"]
    assert "1 of 2 shown" in page.text
    assert f'/experiments/{KEY}"' not in page.text
    assert it.http.get("/?q=" + "x" * 300).status_code == 400


def test_an_experiment_is_read_again_only_where_it_changed(it):
    first = it.http.get("/overview.json").json()
    assert it.http.get("/overview.json").json()["experiments"] == first["experiments"]
    it.act("continue", key="courier")
    states = {c["key"]: c["state"] for c in it.http.get("/overview.json").json()["experiments"]}
    assert states == {"courier": "running", KEY: "running"}
    it.http.post("/api/v1/suspension", json={"suspended": True, "reason": "a test"})
    needs = it.http.get("/overview.json").json()["needs"]
    assert [n["kind"] for n in needs].count("suspended") <= 1


def finding(effect, low, high):
    return WindowFinding(
        HOUR,
        0.05,
        Outcome.INCONCLUSIVE,
        Code.UNDECIDED,
        effect=effect,
        effect_low=low,
        effect_high=high,
    )


@pytest.mark.parametrize(
    ("effect", "low", "high", "margin", "tone"),
    [
        (-0.05, -0.08, -0.02, -0.03, "bad"),
        (0.0, -0.01, 0.01, -0.03, "good"),
        (-0.02, -0.05, 0.01, -0.03, "quiet"),
        (0.2, 0.1, 0.3, 0.1, "bad"),
        (0.0, -0.05, 0.05, 0.1, "good"),
    ],
)
def test_a_bar_says_on_which_side_of_the_margin_the_interval_is(effect, low, high, margin, tone):
    bar = bar_of(finding(effect, low, high), margin, margin / 2)
    assert bar.tone == tone
    assert bar.low <= bar.at <= bar.high
    assert bar.margin == pytest.approx(50 + 50 / 3 * (1 if margin > 0 else -1), abs=0.01)
    assert abs(bar.past - 50) == pytest.approx(abs(bar.margin - 50) / 2, abs=0.01)


def test_a_bar_is_cut_at_its_ends_and_says_so():
    bar = bar_of(finding(-0.05, float("-inf"), 0.5), -0.03, None)
    assert (bar.low, bar.high, bar.cut_low, bar.cut_high) == (0, 100, True, True)
    assert "still open" in bar.words
    assert bar_of(finding(float("nan"), 0, 0), -0.03, None) is None
    assert bar_of(finding(0.1, 0, 0), None, None) is None


def revision(number, text):
    return RevisionView(number, "", "spec.yaml", "ann", T, text)


def test_revisions_say_what_each_changed():
    second = SPEC.replace("max_drop: 3%", "max_drop: 5%")
    file = file_of(
        [revision(1, SPEC), revision(2, second), revision(3, f"# why\n{second}"), revision(4, "?")],
        loader(load_catalogue()),
    )
    changes = {each.number: each.changes for each in file.revisions}
    assert [each.number for each in file.revisions] == [4, 3, 2, 1]
    assert changes[1] == ()
    assert any("5%" in text for text in changes[2])
    assert changes[3] == ("Only its layout or its comments changed.",)
    assert "cannot be said" in changes[4][0]
    assert file_of([], loader(load_catalogue())) is None


def test_an_audience_is_said_in_words():
    text = SPEC.replace(
        "variants:", "audience: {platform: [ios, android], order_value: {at_least: 20}}\nvariants:"
    )
    load = loader(load_catalogue())
    assert file_of([revision(1, text)], load).audience == (
        "platform is ios or android",
        "order_value is at least 20",
    )
    with in_language("zh"):
        said = file_of([revision(1, text)], load).audience
    assert said == ("platform 为 ios 或 android", "order_value 不小于 20")


def test_what_was_refused_of_an_experiment_is_a_finding():
    page = experiment_page(view(conflicted=3), {}, quarantined={"wrong_arm": 2})
    assert [(f.tone, f.words) for f in page.data][:2] == [
        ("warn", "3 units seen in two variants: dropped from both."),
        ("warn", "2 of its exposures refused: wrong_arm."),
    ]
    sound = experiment_page(view(last_check_at=T), {})
    assert {f.tone for f in sound.data} == {"good"}
    assert "declares no segments" in sound.segments.headline


def test_a_page_of_many_experiments_costs_little():
    assert max(page_costs(20).values()) < 0.2
