from datetime import timedelta

import pytest

from guardrails.levels import Comparison, WindowPlan
from guardrails.outcome import Code, Finding, Outcome, WindowFinding
from guardrails.words import (
    breach_words,
    duration,
    effect_words,
    limit_words,
    outcome_words,
    percent,
)
from metrics.catalogue import Kind

HOUR, DAY = timedelta(hours=1), timedelta(days=1)


def comparison(**changes):
    values = {
        "guardrail": "satisfaction",
        "kpi": "satisfaction",
        "kind": Kind.RATIO,
        "side": "drop",
        "margin": 0.03,
        "absolute": False,
        "prove_past": 0.5,
        "control": "control",
        "treatment": "three_step",
        "acts": True,
        "windows": (WindowPlan(HOUR, 0.00625, 1e5, 13),),
    }
    return Comparison(**(values | changes))


def window(length=HOUR, outcome=Outcome.INCONCLUSIVE, code=Code.UNDECIDED, **changes):
    values = {
        "level": 0.00625,
        "effect": -0.051,
        "effect_low": -0.073,
        "effect_high": -0.029,
        "units": (692, 739),
        "control_value": 4.2251,
        "treatment_value": 3.9452,
    }
    return WindowFinding(length, outcome=outcome, code=code, **(values | changes))


def finding(outcome, code, *windows):
    return Finding("satisfaction", "satisfaction", "three_step", outcome, code, windows)


@pytest.mark.parametrize(
    ("length", "words"),
    [(90, "90 s"), (3600, "1 h"), (5400, "90 min"), (86400, "1 d"), (1209600, "14 d")],
)
def test_lengths_are_said_as_people_say_them(length, words):
    assert duration(timedelta(seconds=length)) == words


def test_shares_are_said_without_needless_zeros_and_never_invented():
    assert [percent(s) for s in (0.05, 0.051, 1.0, 0.0, float("nan"))] == [
        "5%",
        "5.1%",
        "100%",
        "0%",
        "unknown",
    ]


def test_an_effect_is_said_with_its_interval_once_there_is_one():
    assert effect_words(window()) == "5.1% lower (between 7.3% lower and 2.9% lower)"
    assert effect_words(window(effect_high=float("inf"))) == "5.1% lower"
    assert effect_words(window(effect=0.0001)).startswith("unchanged")
    assert effect_words(window(effect=float("nan"))) == "not measured"


def test_the_promise_of_a_guardrail_is_a_sentence():
    assert limit_words(comparison(), "Satisfaction") == (
        "Satisfaction may not drop by more than 3% against control"
    )
    assert "may not rise at all" in limit_words(comparison(side="rise", margin=0.0), "Failures")
    assert "2 percentage points" in limit_words(comparison(margin=0.02, absolute=True), "Saves")


def test_a_breach_says_effect_interval_units_margin_look_and_level():
    text = breach_words(
        finding(
            Outcome.BREACH,
            Code.PROVEN_HARM,
            window(
                outcome=Outcome.BREACH,
                code=Code.PROVEN_HARM,
                z=3.7,
                boundary=3.59,
                look=12,
                evidence=1.03,
            ),
        ),
        comparison(),
        "Satisfaction",
    )
    for part in (
        "5.1% lower",
        "7.3% lower",
        "692 and 739",
        "3%",
        "1.5%",
        "look 12",
        "3.59",
        "0.625%",
    ):
        assert part in text, part


def test_harm_that_began_later_is_not_said_of_the_whole_run():
    late = window(
        outcome=Outcome.BREACH,
        code=Code.PROVEN_HARM,
        effect=-0.01,
        z=2.1,
        boundary=3.6,
        look=40,
        e_value=4000.0,
        evidence=1.2,
    )
    text = breach_words(
        finding(Outcome.BREACH, Code.PROVEN_HARM, late), comparison(), "Satisfaction"
    )
    assert "than control over the whole run" in text
    assert "among the units that came later, harm of more than 1.5% is proven" in text
    assert "evidence 4,000 to 1, needed 320 to 1" in text


def test_a_passed_window_is_not_hidden_by_one_that_is_still_open():
    text = outcome_words(
        finding(
            Outcome.INCONCLUSIVE,
            Code.WINDOW_OPEN,
            window(HOUR, Outcome.PASS, Code.PROVEN_SAFE, effect=0.017),
            window(DAY, Outcome.INCONCLUSIVE, Code.WINDOW_OPEN, effect=float("nan")),
        ),
        comparison(),
        "Satisfaction",
    )
    assert text.startswith("Satisfaction is 1.7% higher")
    assert "inside the margin over 1 h; over 1 d: no unit's window has closed yet" in text


@pytest.mark.parametrize("code", [c for c in Code if c is not Code.PROVEN_HARM])
def test_every_code_has_its_words(code):
    text = outcome_words(
        finding(Outcome.INCONCLUSIVE, code, window(code=code, effect=float("nan"))),
        comparison(),
        "Satisfaction",
    )
    assert " " in text
    assert code.value not in text
