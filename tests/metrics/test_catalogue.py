"""The shipped catalogue means what it says; a wrong entry says where it is wrong."""

from datetime import timedelta

import numpy as np
import pytest

from metrics.catalogue import (
    Better,
    CatalogueError,
    Kind,
    Trust,
    Window,
    load_catalogue,
    parse_kpi,
)
from metrics.catalogue_file import catalogue_of, doubts_of
from metrics.cells import MICRO
from metrics.formula import FormulaError, Scale, parse_formula

H, D = timedelta(hours=1), timedelta(days=1)
CORE = {
    "cancellation_rate": ("proportion", "either", {H: 0.5, D: 0.5}),
    "save_rate": ("proportion", "higher", {D: 0.5, 7 * D: 0.5}),
    "flow_dwell_seconds": ("ratio", "lower", {H: 0.5, D: 0.5}),
    "reason_dwell_seconds": ("ratio", "lower", {H: 0.5, D: 0.5}),
    "flow_failure_rate": ("proportion", "lower", {H: 0.5, D: 0.5}),
    "repeat_complaint_rate": ("proportion", "lower", {D: 0.5, 14 * D: 0.5}),
    "satisfaction": ("ratio", "higher", {H: 0.5, D: 0.3, 14 * D: 0.2}),
    "agent_efficiency": ("ratio", "higher", {D: 0.5, 14 * D: 0.5}),
    "first_contact_resolution_rate": ("ratio", "higher", {D: 0.5, 14 * D: 0.5}),
    "refund_hours": ("ratio", "lower", {3 * D: 0.5, 14 * D: 0.5}),
    "repurchase_rate": ("proportion", "higher", {7 * D: 0.5, 30 * D: 0.5}),
    "net_revenue": ("mean", "higher", {7 * D: 0.5, 30 * D: 0.5}),
}
EXTRA = {
    "cancel_success_rate",
    "cancel_reattempt_rate",
    "offer_acceptance_rate",
    "prompts_per_flow",
    "slow_flow_rate",
    "contact_rate",
    "response_rate",
    "addon_rate",
}
GOOD = {
    "kind": "proportion",
    "better": "lower",
    "windows": {"1h": "50%", "1d": "50%"},
    "measures": {"seen": {"event": "page_viewed"}},
    "value": "seen > 0",
}


def test_the_twelve_core_kpis_are_those_of_the_design_in_its_order():
    catalogue = load_catalogue()
    assert [kpi.key for kpi in catalogue.core] == list(CORE)
    for kpi in catalogue.core:
        kind, better, windows = CORE[kpi.key]
        assert (kpi.kind, kpi.better) == (kind, better)
        assert {window.length: window.weight for window in kpi.windows} == pytest.approx(windows)


def test_the_extra_kpis_are_shipped_and_not_core():
    catalogue = load_catalogue()
    assert set(catalogue.keys()) - set(CORE) == EXTRA


def test_every_kpi_has_words_in_both_languages_and_trusts_the_server():
    for kpi in load_catalogue():
        assert kpi.title
        assert kpi.unit
        assert kpi.words.endswith(".")
        assert any("\u4e00" <= letter <= "\u9fff" for letter in kpi.title_zh)
        assert kpi.trust is Trust.SERVER


def test_every_event_of_a_kpi_has_its_field_types():
    catalogue = load_catalogue()
    for kpi in catalogue:
        for measure in kpi.measures:
            assert measure.event in catalogue.events
            if measure.field is not None:
                assert catalogue.events[measure.event][measure.field] == "number"


def test_an_unknown_kpi_names_the_nearest():
    with pytest.raises(
        CatalogueError, match="unknown KPI 'satisfction'; did you mean 'satisfaction'"
    ):
        load_catalogue().get("satisfction")


def test_a_new_kpi_is_data():
    kpi = parse_kpi("seen_rate", GOOD)
    assert (kpi.kind, kpi.better, kpi.trust) == (Kind.PROPORTION, Better.LOWER, Trust.SERVER)
    assert kpi.windows == (Window(H, 0.5), Window(D, 0.5))
    assert kpi.title == "seen_rate"
    extended = load_catalogue().including({"seen_rate": kpi})
    assert extended.get("seen_rate") == parse_kpi("seen_rate", GOOD)
    assert "seen_rate" in extended
    assert len(extended) == len(load_catalogue()) + 1


def test_a_catalogue_is_read_from_text_and_from_a_file(tmp_path):
    text = "events: {seen: {weight: number}}\nkpis: {}\n"
    (tmp_path / "c.yaml").write_text(text, encoding="utf-8")
    assert load_catalogue(text) == load_catalogue(tmp_path / "c.yaml")
    assert load_catalogue(text).events["seen"]["weight"] == "number"


def changed(**changes):
    return {key: value for key, value in {**GOOD, **changes}.items() if value is not None}


@pytest.mark.parametrize(
    ("given", "path", "message"),
    [
        (changed(kinds="mean"), "kpis.k.kinds", "unknown key 'kinds'; did you mean 'kind'"),
        (changed(kind="average"), "kpis.k.kind", "got 'average'"),
        (changed(better=None), "kpis.k.better", "is missing; write one of higher, lower, either"),
        (changed(windows={"1h": "60%", "1d": "50%"}), "kpis.k.windows", "sum to 100%"),
        (changed(windows={"60": "100%"}), "kpis.k.windows.60", "a duration such as 30m"),
        (changed(windows={"99999d": "100%"}), "kpis.k.windows.99999d", "at most ten years"),
        (changed(windows=None), "kpis.k.windows", "is missing; write for instance {1h: 50%"),
        (changed(windows=["1h", "60m"]), "kpis.k.windows", "named twice"),
        (changed(windows={"1h": "half"}), "kpis.k.windows.1h", "a share such as 50%"),
        (changed(windows={"0h": "100%"}), "kpis.k.windows.0h", "a duration"),
        (changed(measures=None), "kpis.k.measures", "is missing; write for instance {opened"),
        (changed(measures={"seen": {}}), "kpis.k.measures.seen.event", "is missing"),
        (changed(measures={"window": {"event": "e"}}), "kpis.k.measures.window", "cannot be"),
        (
            changed(measures={"seen": {"event": "e", "where": {"a": {"below": 3}}}}),
            "kpis.k.measures.seen.where.a",
            "{above: NUMBER}",
        ),
        (
            changed(measures={"seen": {"event": "e", "cap": 3}}),
            "kpis.k.measures.seen.cap",
            "only a sum has a cap",
        ),
        *(
            (
                changed(measures={"seen": {"event": "e", "sum": "f", "cap": cap}}),
                "kpis.k.measures.seen.cap",
                words,
            )
            for cap, words in [
                (-3, "a number above 0, or `window`; got -3"),
                (float("nan"), "expected a number of at most 9,000,000,000,000; got nan"),
                ("windows", "expected a number of at most 9,000,000,000,000; got 'windows'"),
            ]
        ),
        (
            changed(measures={"seen": {"event": "e", "where": {"a": []}}}),
            "kpis.k.measures.seen.where.a",
            "is an empty list, which nothing matches",
        ),
        (
            changed(measures={"seen": {"event": "e", "where": {"a": None}}}),
            "kpis.k.measures.seen.where.a",
            "write {present: false}",
        ),
        (
            changed(measures={"seen": {"event": "e", "after": "sen"}}),
            "kpis.k.measures.seen.after",
            "'sen' is no measure of this KPI; did you mean 'seen'",
        ),
        (
            changed(measures={"seen": {"event": "e", "after": "seen"}}),
            "kpis.k.measures.seen.after",
            "'seen' is this measure itself: nothing would ever count",
        ),
        (changed(value="seen" + " + seen" * 100), "kpis.k.value", "at most 500 characters"),
        (changed(value="sen > 0"), "kpis.k.value", "'sen' is no measure; there are seen, window"),
        (changed(value="seen >"), "kpis.k.value", "is no formula"),
        (changed(value="__import__('os')"), "kpis.k.value", "is not understood"),
        (changed(kind="ratio"), "kpis.k.over", "a ratio needs a denominator"),
        (changed(kind="mean", over="seen"), "kpis.k.over", "use kind: ratio"),
        (changed(per="case_id"), "kpis.k", "go together"),
        (changed(measures={1: {}}), "kpis.k.measures", "quote it"),
    ],
)
def test_a_wrong_entry_says_where_and_what(given, path, message):
    with pytest.raises(CatalogueError) as caught:
        parse_kpi("k", given)
    assert caught.value.path == path
    assert message in caught.value.message


def test_everything_wrong_with_an_entry_is_told_at_once():
    given = {
        "kind": "average",
        "better": "up",
        "windows": {"1h": "50%", "soon": "half"},
        "measures": {"seen": {"event": "e", "where": {"a": {"below": 3}}, "cap": 2}},
        "value": "seen > 0",
        "titel": "Seen",
    }
    with pytest.raises(CatalogueError) as caught:
        parse_kpi("k", given)
    assert [error.path for error in caught.value.every] == [
        "kpis.k.titel",
        "kpis.k.measures.seen.cap",
        "kpis.k.measures.seen.where.a",
        "kpis.k.kind",
        "kpis.k.better",
        "kpis.k.windows.soon",
        "kpis.k.windows.soon",
    ]


def test_names_that_nearly_fit_and_types_that_cannot_are_doubted():
    catalogue = load_catalogue()
    measures = {
        "a": {"event": "cancel_finshed"},
        "b": {"event": "cancel_finished", "sum": "second"},
        "c": {"event": "cancel_finished", "where": {"outcome": 3}},
        "d": {"event": "complaint_filed", "where": {"repeat": "true"}},
        "e": {"event": "cancel_finished", "sum": "reason"},
        "f": {"event": "help_opened", "where": {"page": "faq"}},
    }
    kpi = parse_kpi("k", {**GOOD, "measures": measures, "value": "a > 0"})
    found = {e.path: e.message for e in doubts_of(kpi, catalogue.events, "k")}
    assert found == {
        "k.measures.a.event": (
            "no event 'cancel_finshed' is known; did you mean 'cancel_finished'?"
        ),
        "k.measures.b.sum": "the event has no field 'second'; did you mean 'seconds'?",
        "k.measures.c.where.outcome": (
            "outcome is text, and this asks for a number; nothing matches"
        ),
        "k.measures.d.where.repeat": (
            "repeat is boolean, and this asks for a text; nothing matches"
        ),
        "k.measures.e.sum": "reason is text, and this asks for a number; nothing matches",
    }


def test_no_shipped_kpi_is_doubtful():
    catalogue = load_catalogue()
    assert [d for kpi in catalogue for d in doubts_of(kpi, catalogue.events, kpi.key)] == []


def test_text_that_is_no_yaml_says_so():
    with pytest.raises(CatalogueError, match="no YAML"):
        load_catalogue("kpis: [")


SCALES = {"n": Scale.COUNT, "m": Scale.COUNT, "q": Scale.QUANTITY, "window": Scale.QUANTITY}


@pytest.mark.parametrize(
    ("text", "micros"),
    [
        ("n", 3 * MICRO),
        ("q", 2_500_000),
        ("q + n", 5_500_000),
        ("q + max(0, n - m) * window", 2_500_000 + 2 * 72 * MICRO),
        ("min(1800 * n, q)", 2_500_000),
        ("n > 0 and m == 0", 0),
        ("n > 0 or m == 0", MICRO),
        ("n >= 3", MICRO),
        ("q > 2", MICRO),
        ("-n", -3 * MICRO),
        ("7", 7 * MICRO),
    ],
)
def test_formulas_give_the_same_integers_one_by_one_and_on_columns(text, micros):
    formula = parse_formula(text, SCALES)
    values = {"n": 3, "m": 1, "q": 2_500_000, "window": 72 * MICRO}
    assert formula.micros(values) == micros
    columns = {name: np.array([value, value], np.int64) for name, value in values.items()}
    assert np.broadcast_to(formula.micros(columns), 2).tolist() == [micros, micros]


@pytest.mark.parametrize(
    "text",
    [
        "q * q",
        "n / m",
        "n ** 2",
        "n if m else 0",
        "n.real",
        "[n]",
        "1 < n < 3",
        "x",
        "1.5",
        "9999999",
    ],
)
def test_formulas_refuse_what_could_not_stay_exact_or_is_no_arithmetic(text):
    with pytest.raises(FormulaError):
        parse_formula(text, SCALES)


def test_a_formulas_bound_is_never_exceeded():
    rng = np.random.default_rng(5)
    for text in ("q - n", "max(q, -window) * m", "n * m * q", "min(q, n) + window"):
        formula = parse_formula(text, SCALES)
        limits = {"n": 20, "m": 20, "q": 10**9, "window": 10**8}
        bound = formula.bound(limits)
        for _ in range(200):
            drawn = {name: int(rng.integers(-limit, limit + 1)) for name, limit in limits.items()}
            assert abs(formula.compute(drawn)) <= bound


def test_a_catalogue_file_has_numbers_and_no_integers_of_its_own():
    given = {"events": {"parcel_sent": {"weight": "integer"}}}
    with pytest.raises(CatalogueError, match="write number") as caught:
        catalogue_of(given, onto=load_catalogue())
    assert caught.value.path == "events.parcel_sent.weight"
