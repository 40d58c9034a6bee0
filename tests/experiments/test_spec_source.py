"""YAML text becomes nodes with positions; amounts and scalars are read as people write them."""

import json
from datetime import timedelta
from decimal import Decimal

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from ruamel.yaml import YAML

from experiments.language.amounts import (
    format_duration,
    format_percent,
    parse_amount,
    parse_duration,
)
from experiments.language.one_line import in_one_line
from experiments.language.reading import near
from experiments.language.scalars import resolve, trap
from experiments.language.source import (
    MAX_REMEMBERED,
    ListNode,
    MappingNode,
    Mark,
    ScalarNode,
    parse_yaml,
    to_json,
)


def parsed(text):
    node, problems = parse_yaml(text, file="spec.yaml")
    assert problems == []
    return node


def told(text):
    return [str(problem) for problem in parse_yaml(text, file="spec.yaml")[1]]


def test_nodes_know_their_line_and_column():
    node = parsed("a: 1\nb:\n  - {c: 'x', d: [true]}\n")
    assert isinstance(node, MappingNode)
    assert [(entry.key, entry.at) for entry in node.entries] == [
        ("a", Mark(1, 1)),
        ("b", Mark(2, 1)),
    ]
    listed = node.get("b")
    assert isinstance(listed, ListNode)
    inner = listed.items[0]
    assert isinstance(inner, MappingNode)
    assert inner.entries[1].at == Mark(3, 14)
    assert inner.get("c") == ScalarNode("x", "x", Mark(3, 9))
    assert node.get("z") is None


json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**53) + 1, 2**53 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(st.characters(codec="utf-8", categories=("L", "N", "P", "S", "Zs"))),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text("abcdef", min_size=1), inner)
    ),
    max_leaves=20,
)


@given(value=json_values)
@settings(max_examples=200, deadline=None)
def test_any_json_is_read_as_it_is(value):
    node, problems = parse_yaml(json.dumps(value, ensure_ascii=False), file="spec.yaml")
    assert problems == []
    assert node is not None
    assert to_json(node) == value


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("~", None),
        ("", None),
        ("Null", None),
        ("true", True),
        ("FALSE", False),
        ("tRue", "tRue"),
        ("-12", -12),
        ("+3", 3),
        ("0o17", 15),
        ("0xFf", 255),
        ("1.50", 1.5),
        (".5", 0.5),
        ("1e3", 1000.0),
        ("1.e2", 100.0),
        ("e3", "e3"),
        ("1.2.3", "1.2.3"),
        ("2026-03-01", "2026-03-01"),
        ("5%", "5%"),
    ],
)
def test_plain_scalars_follow_yaml_1_2(text, value):
    assert resolve(text, plain=True) == (value, None)
    assert type(resolve(text, plain=True)[0]) is type(value)
    assert resolve(text, plain=False) == (text, None)
    # the same as the parser's own resolver, an independent implementation
    assert YAML(typ="safe", pure=True).load(f"a: {text}")["a"] == value or text == "2026-03-01"


@pytest.mark.parametrize("text", [".inf", "-.INF", ".nan", "1e999", "9" * 400, "-9007199254740992"])
def test_numbers_that_json_cannot_hold_exactly_are_problems(text):
    value, fault = resolve(text, plain=True)
    assert value == text
    assert fault is not None


@pytest.mark.parametrize(
    "text",
    [
        *("no", "No", "NO", "yes", "on", "On", "OFF", "off"),
        *("1:30", "+12:30:45", "1:30.5", "1_000", "010", "-007", "00"),
    ],
)
def test_words_that_yaml_readers_disagree_about_are_named(text):
    assert trap(text) is not None
    assert told(f"a: {text}")[0].startswith(f"spec.yaml:1:4: a: `{text}` is ")
    assert told(f'a: "{text}"') == []


@pytest.mark.parametrize(
    "text", ["nO", "none", "yes please", "0", "10", "0.5", "1:90", "one_two", "_1", "12:ab", "n"]
)
def test_ordinary_words_are_no_traps(text):
    assert trap(text) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: {b: 1", "spec.yaml:1:9: the bracket { opened on line 1 is not closed"),
        ("a: [1\nb: 2\n", "spec.yaml:2:2: the bracket [ opened on line 1 is not closed"),
        ("a: b: c", "spec.yaml:1:5: a `:` stands where no key can be"),
        ("a: 1\n b: 2", "spec.yaml:2:3: a `:` stands where no key can be"),
        ("a:\n\t- b", "spec.yaml:2:1: a tab is used for indentation"),
        ("a: @x", "spec.yaml:1:4: a value cannot begin with @"),
        ("a: |\n  x\n b: 1\n", "spec.yaml:3:2: the indentation fits nothing above"),
        ("? [a]\n: b", "spec.yaml:1:3: a key must be a single word"),
        ('"": 1', "spec.yaml:1:1: a key is empty"),
        ('"a": \'b', "spec.yaml:1:8: the quote opened on line 1 is not closed"),
    ],
)
def test_what_is_no_yaml_is_told_in_plain_words(text, message):
    assert told(text)[0].startswith(message)


@given(text=st.text())
@settings(max_examples=300, deadline=None)
def test_any_text_is_read_or_told(text):
    node, problems = parse_yaml(text, file="spec.yaml")
    assert node is not None or problems


@pytest.mark.parametrize(
    ("text", "percent", "absolute", "signed"),
    [
        ("5%", "5", False, False),
        ("0.5%", "0.5", False, False),
        ("5 %", "5", False, False),
        ("+10%", "10", False, True),
        ("-2.25pp", "-2.25", True, True),
    ],
)
def test_percents_are_exact(text, percent, absolute, signed):
    amount = parse_amount(text)
    assert amount is not None
    assert (amount.percent, amount.absolute, amount.signed) == (Decimal(percent), absolute, signed)


@pytest.mark.parametrize(
    "text", ["5", "%", "5%%", "5,5%", "1e2%", "--5%", "5 pp.", "\u0665%", ".5%"]
)
def test_other_spellings_are_no_percents(text):
    assert parse_amount(text) is None


def test_a_percent_is_the_nearest_share():
    for hundredths in range(10_001):
        amount = parse_amount(f"{hundredths / 100:.2f}%")
        assert amount is not None
        assert amount.share == hundredths / 10_000


@pytest.mark.parametrize(
    ("text", "length"),
    [
        ("90s", timedelta(seconds=90)),
        ("30m", timedelta(minutes=30)),
        ("6h", timedelta(hours=6)),
        ("14d", timedelta(days=14)),
        ("1h30m", timedelta(minutes=90)),
        ("1d12h", timedelta(hours=36)),
        ("0s", timedelta(0)),
    ],
)
def test_durations_are_read(text, length):
    assert parse_duration(text) == length


@pytest.mark.parametrize(
    "text", ["", "5", "d", "1.5h", "30m1h", "1h 30m", "-1h", "2w", "1H", "\u0663d"]
)
def test_other_spellings_are_no_durations(text):
    assert parse_duration(text) is None


@given(st.integers(0, 400 * 86_400))
def test_durations_are_written_as_they_are_read(seconds):
    length = timedelta(seconds=seconds)
    assert parse_duration(format_duration(length)) == length


def test_percents_are_written_without_needless_zeros():
    texts = [format_percent(Decimal(p)) for p in ("5", "50.0", "100", "0.50", "-2")]
    assert texts == ["5%", "50%", "100%", "0.5%", "-2%"]


def test_near_names_are_offered_whatever_their_case():
    known = ["satisfaction", "save_rate", "refund_hours"]
    assert near("Satisfation", known) == "did you mean `satisfaction`?"
    assert near("zzz", known) == "known here: satisfaction, save_rate, refund_hours"
    assert near("zzz", []) == ""


def test_a_value_is_written_on_one_line_from_a_file_as_from_json():
    text = 'steps:\n  - reason\n  - {text: "really?", after: 3}\ncoupon: null\nskip: false\n'
    node, problems = parse_yaml(text, file="a.yaml")
    assert not problems
    line = "{steps: [reason, {text: really?, after: 3}], coupon: null, skip: false}"
    assert in_one_line(node) == in_one_line(to_json(node)) == line


def test_a_text_that_is_read_again_has_its_problems_under_the_name_it_then_has():
    text = "experiment: e\nunit: no\n"
    first, told = parse_yaml(text, file="a.yaml")
    told.clear()  # what one reader does with them is no matter of another
    again, others = parse_yaml(text, file="b.yaml")
    assert again == first
    assert [problem.file for problem in others] == ["b.yaml"]


def test_a_text_that_is_too_long_to_be_kept_is_read_all_the_same():
    text = "experiment: e\nunit: no\n" + "# long\n" * MAX_REMEMBERED
    assert parse_yaml(text, file="a.yaml") == parse_yaml(text[:23], file="a.yaml")
