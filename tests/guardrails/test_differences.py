import pytest

from guardrails.differences import differences
from guardrails.spec_file import load_spec

SPEC = """\
experiment: x
title: A title
unit: order_id
audience:
  platform: [ios]
  order_value: {at_least: 20}
variants:
  control: {weight: 50%, flow: {steps: [confirm]}}
  three_step: {weight: 50%, flow: {steps: [points_lost, confirm], title: Wait}}
ramp:
  - {traffic: 5%, hold: 6h}
  - {traffic: 25%, hold: 24h}
  - {traffic: 100%}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
  - {kpi: cancel_success_rate, max_drop: 3%}
ends: {after: 14d}
check_every: 1m
"""


def words(*change, more=""):
    after = SPEC
    for old, new in zip(change[::2], change[1::2], strict=True):
        assert old in after
        after = after.replace(old, new)
    return differences(load_spec(SPEC), load_spec(after + more))


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        (("25%, hold", "30%, hold"), "ramp step 2 traffic: 25% becomes 30%"),
        (("hold: 24h", "hold: 48h"), "ramp step 2 hold: 24h becomes 48h"),
        (("5%, hold: 6h}", "5%, hold: 6h, min_units: 500}"), "ramp step 1 min_units: 500 is new"),
        (
            ("satisfaction, max_drop: 3%", "satisfaction, max_drop: 5%"),
            "guardrail satisfaction max_drop: 3% becomes 5%",
        ),
        (("[ios]", "[ios, android]"), "audience platform: adds android"),
        (("[ios]", "[android]"), "audience platform: adds android and drops ios"),
        (("at_least: 20", "at_least: 10"), "audience order_value at_least: 20 becomes 10"),
        (("title: Wait", "title: Stay"), "variant three_step flow title: Wait becomes Stay"),
        (
            ("[points_lost, confirm]", "[confirm, points_lost]"),
            "variant three_step flow steps: [points_lost, confirm] becomes [confirm, points_lost]",
        ),
        (("title: A title", "title: Another"), "title: A title becomes Another"),
        (("after: 14d", "after: 10d"), "ends after: 14d becomes 10d"),
        (
            ("  - {kpi: satisfaction, max_drop: 3%}\n", ""),
            "guardrail satisfaction: {kpi: satisfaction, max_drop: 3%} is gone",
        ),
    ],
)
def test_a_change_is_said_in_the_words_of_the_file(change, expected):
    assert words(*change) == (expected,)


def test_changes_are_told_in_the_order_of_the_new_file():
    assert words("A title", "B", "14d", "10d", more="seed: 2\n") == (
        "title: A title becomes B",
        "ends after: 14d becomes 10d",
        "seed: 2 is new",
    )


@pytest.mark.parametrize(
    "change",
    [
        pytest.param(("title: A title", "title: 'A title'  # a comment"), id="quotes, comments"),
        pytest.param(("hold: 24h", "hold: 1d"), id="another spelling of a length"),
        pytest.param(("traffic: 25%", "traffic: 25.0%"), id="another spelling of a share"),
        pytest.param(("check_every: 1m\n", ""), id="a default that is spelled out"),
        pytest.param(("{steps: [confirm]}", "{'steps': [ 'confirm' ]}"), id="quotes and blanks"),
    ],
)
def test_another_spelling_is_no_difference(change):
    assert words(*change) == ()


def test_guardrails_of_a_set_are_told_by_what_is_written():
    plain = SPEC
    used = plain.replace(
        "guardrails:\n  - {kpi: satisfaction, max_drop: 3%}\n  - {kpi: cancel_success_rate, max_drop: 3%}\n",
        "guardrails:\n  use: [cancellation-defaults]\n  add:\n"
        "    - {kpi: satisfaction, max_drop: 4%}\n",
    )
    assert differences(load_spec(plain), load_spec(used)) == (
        "guardrails use: [cancellation-defaults] is new",
        "guardrail satisfaction max_drop: 3% becomes 4%",
        "guardrail cancel_success_rate: {kpi: cancel_success_rate, max_drop: 3%} is gone",
    )


def test_two_guardrails_of_one_kpi_are_told_apart():
    two = SPEC.replace(
        "ends:", "  - {kpi: satisfaction, id: wide, max_drop: 9%, action: alert}\nends:"
    )
    changed = two.replace("9%", "8%")
    assert differences(load_spec(two), load_spec(changed)) == (
        "guardrail wide max_drop: 9% becomes 8%",
    )


def test_long_values_are_cut():
    long = SPEC.replace("A title", "word " * 30)
    (sentence,) = differences(load_spec(SPEC), load_spec(long))
    assert sentence.endswith("…")
    assert len(sentence) < 130


LONG = "x" * 100


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("1", '"1"', '1 becomes "1"'),
        ("'true'", "true", '"true" becomes true'),
        ("1", "1.0", "1 becomes 1.0"),
        ("'no'", "nothing", '"no" becomes nothing'),
        ("''", "null", '"" becomes null'),
        ('"a  b"', "a b", '"a  b" becomes a b'),
        ('"{a: 1}"', "{a: 1}", '"{a: 1}" becomes {a: 1}'),
        ("[1, 2]", '["1", "2"]', 'adds "1", "2" and drops 1, 2'),
        ("[a, b, a]", "[a, b]", "[a, b, a] becomes [a, b]"),
        ("[a, b]", "[b, a, c]", "[a, b] becomes [b, a, c]"),
        ("['a, b']", "[a, b]", 'adds a, b and drops "a, b"'),
        ("[a]", "[]", "drops a"),
        (f"{LONG}a", f"{LONG}b", f"…{'x' * 20}a becomes …{'x' * 20}b"),
        (f"[{LONG}a]", f"[{LONG}b]", f"…{'x' * 20}a] becomes …{'x' * 20}b]"),
        (f"a{LONG}", f"b{LONG}", f"a{'x' * 78}… becomes b{'x' * 78}…"),
        (LONG, f"{LONG}a", f"…{'x' * 20} becomes …{'x' * 20}a"),
    ],
)
def test_what_looks_alike_is_told_apart(before, after, expected):
    old = SPEC.replace("title: Wait", f"text: {before}")
    new = SPEC.replace("title: Wait", f"text: {after}")
    assert differences(load_spec(old), load_spec(new)) == (
        f"variant three_step flow text: {expected}",
    )
    assert differences(load_spec(old), load_spec(old)) == ()


def test_numbers_of_an_audience_that_become_text_are_a_change():
    old = SPEC.replace("platform: [ios]", "tier: [1, 2]")
    new = SPEC.replace("platform: [ios]", 'tier: ["1", "2"]')
    assert differences(load_spec(old), load_spec(new)) == (
        'audience tier: adds "1", "2" and drops 1, 2',
    )
