"""Who takes part: our answers are GrowthBook's, whatever a context holds."""

import json
import random
import string

import pytest
from growthbook.core import evalCondition

from experiments.audience import (
    AnyOf,
    Condition,
    Operator,
    compile_audience,
    growthbook_condition,
)
from experiments.patterns import MAX_VALUE
from guardrails.spec_file import load_spec

BASE = """\
experiment: coupon-reminder
unit: order_id
variants: {control: {weight: 50%}, reminder: {weight: 50%}}
guardrails: [{kpi: satisfaction, max_drop: 3%}]
ends: {after: 7d}
audience:
"""
NAMES = ("platform", "value", "app", "order.value", "order.app.name", "tags.0", "tags.length", "no")
PATTERNS = (
    *(r"^3\.", r"\d+", r"^\w+$", "ios$", "^$", ".", "^.{3}$", "[^a-z]", r"\s", r"^(a|b)?c", "ü|订"),
    *(r"^\d+(\.\d+)*$", r"\D", r"[\w.-]+@", "^.*o.*s", r"\.", "[ -~]", "x{2,3}", "i?o?s?"),
)
VERSIONS = ("3.10.2", "3.9", "3", "v3.10.2", "3.10.2-beta.1", "3.10.2+build.7", "0.0.0", "100000.1")
TEXTS = (
    *(
        "ios",
        "IOS",
        "",
        " ",
        "3",
        "20",
        "3.10",
        "true",
        "null",
        "a\nb",
        "3.1\n",
        "\r",
        "a\u2028",
        "é",
    ),
    *(
        "订单",
        "😀",
        "a😀",
        "\ud800",
        "x" * MAX_VALUE,
        "x" * (MAX_VALUE + 1),
        "ü" * 300,
        "\x00",
        "\x85",
    ),
    *(
        "a@b",
        "1.2.3",
        "aac",
        "bc",
        "c",
        "\u00a0",
        "\uff13",
        "İ",
        "3.10.2\n",
        "\t",
        "ios\n",
        "\ufeff",
    ),
)
PARTS = ("0", "1", "2", "9", "10", "007", "99999", "100000", "beta", "rc", "x", "", " ", "a1")


def random_version(rng):
    text = rng.choice(".-").join(rng.choice(PARTS) for _ in range(rng.randint(1, 5)))
    text = rng.choice(["", "", "", "v", "V", "vv"]) + text
    return text + rng.choice(["", "", "+build.5", "-beta+7", "-rc.1", "~", "\n", "é", "+", "-"])


def random_value(rng, depth=0):
    simple = [
        lambda: rng.choice(TEXTS),
        lambda: rng.choice(["ios", "3", "3.10", "20"]),
        lambda: random_version(rng),
        lambda: rng.choice([0, 1, 3, 20, -1, 19.5, 20.0, 1e21, 10**30, float("inf"), 0.1]),
        lambda: rng.choice([3, 20]),
        lambda: rng.random() < 0.5,
        lambda: None,
    ]
    keys = ("value", "app", "name", "length", "0", "x")
    nested = [
        lambda: [random_value(rng, depth + 1) for _ in range(rng.randint(0, 3))],
        lambda: {rng.choice(keys): random_value(rng, depth + 1) for _ in range(rng.randint(0, 4))},
    ]
    return rng.choice(simple + nested if depth < 2 else simple)()


def random_context(rng):
    names = ("platform", "value", "app", "order", "tags", "order.value", "x")
    return {name: random_value(rng) for name in names if rng.random() < 0.7}


def random_condition(rng):
    operator = rng.choice(list(Operator))
    numbers = (0, 1, 3, 20, 19.5)
    match operator:
        case Operator.EXISTS:
            values = (rng.random() < 0.5,)
        case Operator.MATCHES:
            values = (rng.choice(PATTERNS),)
        case Operator.VERSION_AT_LEAST:
            values = (rng.choice(VERSIONS),)
        case Operator.IS | Operator.NOT | Operator.ANY_OF:
            pool = rng.choice([TEXTS, numbers, (True, False)])
            most = 1 if operator is Operator.IS else 3
            values = tuple(rng.choice(pool) for _ in range(rng.randint(1, most)))
        case _:
            values = (rng.choice(numbers),)
    return Condition(rng.choice(NAMES), operator, values)


def random_audience(rng, depth=2):
    clauses = []
    for _ in range(rng.randint(1, 3)):
        if depth and rng.random() < 0.3:
            groups = tuple(random_audience(rng, depth - 1) for _ in range(rng.randint(1, 3)))
            clauses.append(AnyOf(groups))
        else:
            clauses.append(random_condition(rng))
    return tuple(clauses)


@pytest.mark.parametrize("part", range(4))
def test_our_answer_is_that_of_the_official_client_for_any_context(part):
    rng = random.Random(part)
    yes = 0
    for _ in range(2000):
        audience = random_audience(rng)
        matches = compile_audience(audience)
        # as it travels: the payload is JSON
        condition = json.loads(json.dumps(growthbook_condition(audience)))
        for _ in range(12):
            context = random_context(rng)
            answer = matches(context)
            assert isinstance(answer, bool)
            assert answer is evalCondition(context, condition), (audience, context)
            yes += answer
    assert yes > 700


@pytest.mark.parametrize("operator", list(Operator))
def test_every_comparison_answers_as_the_client_on_its_own(operator):
    rng = random.Random(operator.value)
    answers = set()
    for _ in range(4000):
        condition = random_condition(rng)
        if condition.operator is not operator:
            continue
        clauses = (Condition("value", operator, condition.values),)
        context = {"value": random_value(rng)}
        answer = compile_audience(clauses)(context)
        assert answer is evalCondition(context, growthbook_condition(clauses)), (clauses, context)
        answers.add(answer)
    assert answers == {True, False}


@pytest.mark.parametrize(
    ("version", "bound", "expected"),
    [
        ("3.10.2", "3.10.2", True),
        ("3.10.1", "3.10.2", False),
        ("3.9.9", "3.10.0", False),
        ("10.0.0", "9.0.0", True),
        ("v3.10.2", "3.10.2", True),
        ("3.10.2", "v3.10.2", True),
        ("3.10.2-beta", "3.10.2", False),
        ("3.10.2-beta.2", "3.10.2-beta.10", False),
        ("3.10.2", "3.10.2-rc.1", True),
        ("3.10.2+build.9", "3.10.2+build.10", True),
        ("3.10", "3.10.0", False),
        ("3.10.0", "3.10", True),
        ("3.11", "3.10.5", True),
        ("", "0", True),
        ("", "0.0.1", False),
        ("latest", "3.10.2", True),  # letters are after digits, in GrowthBook, too
        ("3.10.2\n", "3.10.2", False),
        ("3.10.\uff12", "3.10.0", False),
        (3.11, "3.10", False),
        (None, "0", False),
        (["3.10.2"], "3.10.2", False),
    ],
)
def test_versions_are_compared_number_by_number_as_growthbook_does(version, bound, expected):
    clauses = (Condition("app", Operator.VERSION_AT_LEAST, (bound,)),)
    context = {"app": version}
    assert compile_audience(clauses)(context) is expected
    assert evalCondition(context, growthbook_condition(clauses)) is expected


def test_random_versions_are_ordered_as_the_client_orders_them():
    rng = random.Random(7)
    for _ in range(4000):
        clauses = (Condition("app", Operator.VERSION_AT_LEAST, (random_version(rng),)),)
        context = {"app": random_version(rng)}
        expected = evalCondition(context, growthbook_condition(clauses))
        if (bound := clauses[0].values[0]).isascii() and bound.isprintable():
            assert compile_audience(clauses)(context) is expected, (clauses, context)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("3.10", True),
        ("v3.10", False),
        ("3." + "x" * (MAX_VALUE - 2), True),
        ("3." + "x" * (MAX_VALUE - 1), False),
        ("3.1\n", False),
        ("3.😀", False),
        ("3.订单", True),
        (3.1, False),
        (["3.1"], False),
        (None, False),
    ],
)
def test_a_long_or_odd_text_matches_no_pattern(value, expected):
    clauses = (Condition("app", Operator.MATCHES, (r"^3\.",)),)
    assert compile_audience(clauses)({"app": value}) is expected
    assert evalCondition({"app": value}, growthbook_condition(clauses)) is expected


def test_a_group_must_hold_whole_and_one_is_enough():
    text = BASE + (
        "  platform: [ios]\n"
        "  any_of:\n"
        "    - {country: DE}\n"
        "    - {segment: [vip], order_value: {at_least: 50}}\n"
        "    - any_of: [{visits: 3}, {newsletter: true}]\n"
    )
    audience = load_spec(text).experiment.audience
    assert audience == (
        Condition("platform", Operator.ANY_OF, ("ios",)),
        AnyOf(
            (
                (Condition("country", Operator.IS, ("DE",)),),
                (
                    Condition("segment", Operator.ANY_OF, ("vip",)),
                    Condition("order_value", Operator.AT_LEAST, (50,)),
                ),
                (
                    AnyOf(
                        (
                            (Condition("visits", Operator.IS, (3,)),),
                            (Condition("newsletter", Operator.IS, (True,)),),
                        )
                    ),
                ),
            )
        ),
    )
    matches = compile_audience(audience)
    assert matches({"platform": "ios", "country": "DE"})
    assert matches({"platform": "ios", "segment": ["new", "vip"], "order_value": 50})
    assert matches({"platform": "ios", "newsletter": True})
    assert not matches({"platform": "ios", "segment": ["vip"], "order_value": 49})
    assert not matches({"platform": "web", "country": "DE"})
    assert not matches({"platform": "ios"})
    assert growthbook_condition(audience) == {
        "platform": {"$in": ["ios"]},
        "$or": [
            {"country": {"$eq": "DE"}},
            {"segment": {"$in": ["vip"]}, "order_value": {"$type": "number", "$gte": 50}},
            {"$or": [{"visits": {"$eq": 3}}, {"newsletter": {"$eq": True}}]},
        ],
    }


def test_conditions_that_need_one_operator_twice_stand_side_by_side():
    clauses = (
        Condition("app", Operator.MATCHES, ("^3",)),
        Condition("app", Operator.VERSION_AT_LEAST, ("3.1",)),
        Condition("app", Operator.NOT, ("3.2",)),
    )
    condition = growthbook_condition(clauses)
    assert list(condition) == ["app", "$and"]
    for value in ("3.0", "3.1", "3.2", "3.3", "4.0"):
        expected = value in {"3.1", "3.3"}
        assert compile_audience(clauses)({"app": value}) is expected
        assert evalCondition({"app": value}, condition) is expected


def test_everybody_takes_part_where_nothing_is_said():
    assert compile_audience(()) is None
    assert growthbook_condition(()) == {}


@pytest.mark.parametrize(
    ("audience", "warnings"),
    [
        pytest.param("  platform: ios\n  plattform: web\n", ["platform"], id="a letter too many"),
        pytest.param("  order_value: 3\n  orderValue: 4\n", ["order_value"], id="another style"),
        pytest.param("  country: DE\n  coutnry: FR\n", ["country"], id="two letters swapped"),
        pytest.param("  order_ids: x\n", ["order_id"], id="nearly the unit"),
        pytest.param("  at_leat: 20\n", ["at_least"], id="nearly a comparison"),
        pytest.param("  exits: true\n", ["exists"], id="nearly a short comparison"),
        pytest.param("  visits_7d: 2\n  visits_9d: 2\n", [], id="only the number differs"),
        pytest.param("  min_age: 2\n  max_age: 2\n", [], id="two things"),
        pytest.param("  lat: 2\n  lon: 2\n  lot: 3\n", [], id="too short to tell"),
        pytest.param("  any_of: [{city: a}, {city: b}, {citi: c}]\n", ["city"], id="in groups"),
    ],
)
def test_a_slip_in_a_name_is_warned_of(audience, warnings):
    told = load_spec(BASE + audience).warnings
    assert len(told) == len(warnings)
    for problem, word in zip(told, warnings, strict=True):
        assert "spelt almost like" in problem.message
        assert f"`{word}`" in problem.message


def test_a_warning_of_versions_and_of_a_single_group():
    told = load_spec(
        BASE + "  app: {version_at_least: 3.1.20240101}\n  any_of: [{country: DE}]\n"
    ).warnings
    assert [(w.path, w.line) for w in told] == [
        ("audience.app.version_at_least", 7),
        ("audience.any_of", 8),
    ]


def test_no_character_of_ascii_changes_its_meaning_in_a_set_or_alone():
    for sign in string.printable[:95]:
        escaped = f"\\{sign}" if not sign.isalnum() and sign != " " else sign
        for pattern in (escaped, f"[{escaped}]"):
            clauses = (Condition("app", Operator.MATCHES, (pattern,)),)
            for value in string.printable[:95]:
                assert compile_audience(clauses)({"app": value}) is (value == sign)
            assert evalCondition({"app": sign}, growthbook_condition(clauses))
