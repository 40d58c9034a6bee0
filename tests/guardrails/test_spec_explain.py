"""`validate --explain`: every key and every default, in words, at most 100 columns wide."""

import json
import math
import re
from dataclasses import asdict
from pathlib import Path

import pytest

from experiments.language.source import ListNode, MappingNode, parse_yaml
from guardrails.language.spec_explain import explained, explanation_lines
from guardrails.language.spec_keys import SPEC_KEYS
from guardrails.levels import plan_comparisons
from guardrails.spec_file import load_spec, load_spec_file

ROOT = Path(__file__).parents[2]
FILES = sorted([*(ROOT / "examples").glob("*.yaml"), *(ROOT / "tests/specs/good").glob("*.yaml")])
BASE = """\
experiment: coupon-reminder
unit: order_id
variants: {control: {weight: 50%}, reminder: {weight: 50%}}
"""


def of(more="ends: {after: 14d}\nguardrails: {use: [cancellation-defaults]}\n"):
    return {key.path: key for key in explained(load_spec(BASE + more))}


def scalars(node, path=""):
    if isinstance(node, MappingNode):
        for entry in node.entries:
            yield from scalars(entry.value, f"{path}.{entry.key}" if path else entry.key)
    elif isinstance(node, ListNode):
        for index, item in enumerate(node.items):
            yield from scalars(item, f"{path}[{index}]")
    else:
        yield path


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_every_key_of_a_file_is_explained_within_100_columns(path):
    spec = load_spec_file(path)
    keys = {key.path.partition(" (")[0] for key in explained(spec)}
    node, _ = parse_yaml(spec.text, file="")
    for scalar in scalars(node):
        parents = {scalar[:i] for i in range(len(scalar) + 1)}
        assert parents & keys, f"{scalar} is not explained"
    lines = explanation_lines(spec)
    assert max(map(len, lines)) <= 100
    assert all(line == line.rstrip() for line in lines)
    for key in explained(spec):
        assert key.value, key.path
        assert key.meaning.endswith("."), key.path
    json.dumps([asdict(key) for key in explained(spec)])


def test_text_that_would_be_a_number_without_its_quotes_is_explained_with_them():
    audience = 'audience: {app: {version_at_least: "3.10"}, zip: ["0123"], plan: "true"}\n'
    shown = of(
        f"{audience}title: '12'\nowner: a b\nends: {{after: 14d}}\nguardrails: {{use: [cancellation-defaults]}}\n"
    )
    assert shown["audience"].value == (
        '{app: {version_at_least: "3.10"}, zip: ["0123"], plan: "true"}'
    )
    assert (shown["title"].value, shown["owner"].value) == ('"12"', "a b")


def test_every_key_that_a_file_may_have_is_explained_as_a_default():
    tops = {re.split(r"[.\[ ]", path)[0] for path in of()}
    assert {key.name for key in SPEC_KEYS} - tops == {"freeze", "kpis", "acknowledge"}


def test_a_default_is_told_as_one():
    keys = of()
    assert (keys["alpha"].given, keys["alpha"].value) == (False, "5%")
    assert (keys["ends.after"].given, keys["ends.after"].value) == (True, "14d")
    # refunds are watched for 14 days, and events may come 5 minutes late
    assert (keys["ends.observe_for"].given, keys["ends.observe_for"].value) == (False, "14d5m")
    assert "  lag: 5m  (default)" in explanation_lines(load_spec_file(FILES[0]))


def test_the_split_of_the_alpha_is_that_of_the_plan():
    text = """\
ends: {after: 14d, observe_for: 1d}
alpha: 6%
guardrails:
  - {kpi: satisfaction, max_drop: 3%, weight: 2}
  - {kpi: cancel_success_rate, max_drop: 2pp, prove_past: 1}
  - {kpi: agent_efficiency, max_drop: 10%, action: alert}
"""
    keys, spec = of(text), load_spec(BASE + text)
    levels = {c.guardrail: c.windows for c in plan_comparisons(spec)}
    assert math.fsum(w.level for w in levels["satisfaction"]) == pytest.approx(0.04)
    windows = keys["guardrails[0].windows"]
    assert windows.meaning.startswith("Its part of the alpha is 4%: 2.5% after 1h, 1.5% after 1d.")
    assert "The window of 14d is dropped: it closes in time for 7% of" in windows.meaning
    assert keys["guardrails[1]"].meaning.endswith(
        "by more than 2 percentage points against control."
    )
    assert "more than 2 percentage points is proven" in keys["guardrails[1].prove_past"].meaning
    assert keys["guardrails[2].windows"].meaning.startswith("It takes nothing of the alpha")
    assert "split over 2 guardrails that can turn back" in keys["alpha"].meaning


def test_a_guardrail_of_a_set_is_told_at_the_name_of_the_set():
    keys = [
        key
        for key in explained(
            load_spec(
                BASE + "ends: {after: 14d}\nguardrails: {use: [offer-costs], add: "
                "[{rule: limit, kpi: flow_failure_rate, max: 5%}, "
                "{rule: promql, query: refund_p99, max: 0.8, hold: 5m}]}\n"
            )
        )
        if key.path.startswith("guardrails")
    ]
    assert [(k.path, k.value) for k in keys[:2]] == [
        ("guardrails.use[0] (offer-costs)", "net_revenue"),
        ("guardrails.use[0] (offer-costs)", "repurchase_rate"),
    ]
    told = {key.path: key.meaning for key in keys}
    assert told["guardrails.add[0]"] == "Flow failure rate of a treatment may not be more than 5%."
    assert "outside statistics and outside the alpha" in told["guardrails.add[1]"]
    assert "guardrails.add[1].windows" not in told


RAMP = """\
ends: {after: 28d}
guardrails: {use: [cancellation-defaults]}
ramp:
  - {traffic: 5%, hold: 6h, min_units: 500}
  - {traffic: 25%, hold: 1d, approval: true, advance: proven}
  - {traffic: 100%}
"""


def test_the_ramp_has_a_calendar():
    keys = of(RAMP)
    assert keys["ramp[0]"].meaning == (
        "5% of the audience, from the start. The next step follows when 6h are over, 500 units of "
        "each arm entered in this step and no guardrail but alerts and dry runs is in breach, "
        "error or without data. Of these 50% get reminder (2.5% of the audience); the "
        "others see control."
    )
    assert keys["ramp[1]"].meaning.startswith(
        "25% of the audience, 6h after the start at the earliest. The next step follows when 1d "
        "are over, a person has approved and every guardrail"
    )
    assert "1d6h after the start at the earliest. The last step" in keys["ramp[2]"].meaning
    assert "Of these" not in keys["ramp[2]"].meaning, "all do"


def test_every_arm_has_its_share_of_a_step():
    spec = BASE.replace("reminder: {weight: 50%}", "a: {weight: 30%}, b: {weight: 20%}")
    (step, *_others) = (k for k in explained(load_spec(spec + RAMP)) if k.path == "ramp[0]")
    assert (
        "Of these 30% get a (1.5% of the audience) and 20% get b (1% of the audience);"
        in step.meaning
    )


def test_the_calendar_of_a_dated_start_goes_around_freezes():
    frozen = (
        "starts: 2026-12-03T09:00Z\n"  # a Thursday
        "freeze: [{days: [fri, sat, sun], why: weekend}]\n"
    )
    keys = of(RAMP + frozen)
    assert keys["ramp[0]"].meaning.startswith("5% of the audience, from 2026-12-03T09:00Z.")
    assert "from 2026-12-03T15:00Z at the earliest" in keys["ramp[1]"].meaning
    # a day later is Friday: the ramp waits for Monday
    assert "from 2026-12-07T00:00Z at the earliest" in keys["ramp[2]"].meaning
    assert keys["freeze[0]"].value == "{days: [fri, sat, sun], why: weekend}"
    assert "later during a freeze" not in keys["ramp[1]"].meaning


def test_shadow_layers_holdout_force_and_exposure_are_told():
    keys = of(
        "ends: {after: 14d}\nguardrails: {use: [offer-costs]}\nmode: shadow\nexposure: event\n"
        "holdout: false\nlayer: {name: cart, share: 20%}\nforce: {a-1: reminder}\n"
        "starts: manual\n"
    )
    assert "nobody is turned back" in keys["mode"].meaning
    assert "exposure event that the application sends" in keys["exposure"].meaning
    assert "take part in it, too" in keys["holdout"].meaning
    assert "20% of the layer `cart`" in keys["layer"].meaning
    assert "never counted" in keys["force"].meaning
    assert "turned back they get control" in keys["force"].meaning
    assert "Until a person starts it" in keys["starts"].meaning


def test_nothing_is_promised_of_a_ramp_or_a_breach_in_shadow_mode():
    keys = of(RAMP + "mode: shadow\n")
    assert keys["ramp[0]"].meaning == (
        "5% of the audience, from the start. It stays until the end: in shadow mode the ramp "
        "stands still, whatever a step asks for."
    )
    assert keys["ramp[1]"].meaning.startswith("Never: in shadow mode")
    assert keys["ramp[2]"].meaning.startswith("Never: in shadow mode")
    told = " ".join(key.meaning for key in keys.values())
    assert "the ramp stands still" in keys["mode"].meaning
    assert "turns the treatment back" not in told
    assert "The next step follows" not in told
    assert keys["alpha"].meaning.startswith("In shadow mode nobody is turned back; in live mode")
    own = of("ends: {after: 28d}\nguardrails: [{kpi: satisfaction, max_drop: 3%}]\nmode: shadow\n")
    assert "told to people, and does nothing else" in own["guardrails[0].action"].meaning
    assert "shadow mode" in own["guardrails[0].dry_run"].meaning


def test_what_happens_in_doubt_is_told():
    keys = of()
    for case in ("(an id is missing)", "on_no_data", "on_source_error", "on_srm"):
        assert not keys[case].given
    assert keys["on_source_error"].value == "hold, paged after 30m"
    assert "nobody is turned back" in keys["on_no_data"].meaning
    assert "order_id" in keys["(an id is missing)"].meaning
    assert keys["(an id is missing)"].value == "control"
    assert "(" not in explanation_lines(load_spec_file(FILES[0]))[-2]


def test_a_file_without_guardrails_says_that_nobody_is_protected():
    keys = of("ends: {after: 14d}\nacknowledge: [no-guardrails]\n")
    assert keys["guardrails"].meaning == "Nobody is protected."
    assert keys["acknowledge"].given


def test_what_follows_from_failures_is_told_where_it_is_written():
    own = of(
        "ends: {after: 14d}\non_no_data: {then: stop, page_after: 2h}\n"
        "guardrails: [{kpi: satisfaction, max_drop: 3%, on_source_error: alert}]\n"
    )
    assert own["on_no_data"].given
    assert own["on_no_data"].meaning == (
        "Units enter, and there is nothing to compare: nobody is turned back. The ramp stands "
        "still, and people are told after 3 checks in a row. After 2h people are paged and the "
        "experiment is stopped: everybody gets control."
    )
    assert own["guardrails[0].on_source_error"].meaning.startswith("Nothing waits for it")
