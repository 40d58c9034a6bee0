"""A capped mean: giants lose their say, and what the cap hides stays visible."""

from datetime import timedelta

import pytest

from guardrails.loaded import load
from metrics.caps import beside
from metrics.catalogue import load_catalogue, parse_kpi
from metrics.stores import STORES
from tests.support import event, exposed, frame_of, put, value_of

SPENT = {
    "title": "Spent",
    "kind": "mean",
    "better": "higher",
    "unit": "currency",
    "windows": ["1d"],
    "measures": {
        "spent": {"event": "order_placed", "sum": "amount", "cap": 500},
        "tips": {"event": "tip_paid", "sum": "amount", "cap": 20},
        "orders": {"event": "order_placed"},
    },
    "value": "spent + tips",
}
SPEC = """\
experiment: x
unit: order_id
variants: {control: {weight: 50%}, treatment: {weight: 50%}}
guardrails: [{kpi: spent, max_drop: 5%, windows: {2d: 100%}}]
ends: {after: 14d}
kpis:
  spent:
    kind: mean
    better: higher
    windows: [1d]
    measures: {spent: {event: order_placed, sum: amount, cap: 500}}
    value: spent
"""


@pytest.fixture(params=sorted(STORES))
def store(request, tmp_path):
    opened = STORES[request.param](str(tmp_path / "store.duckdb"))
    yield opened
    opened.close()


def test_raw_and_capped_sums_and_the_share_capped_come_from_the_same_events(store):
    kpi = parse_kpi("spent", SPENT)
    raw, share = beside(kpi)
    put(
        store,
        *(exposed(0, unit) for unit in ("small", "giant", "tipper", "nobody")),
        event("1", "order_placed", 1, "small", amount=100),
        event("2", "order_placed", 1, "giant", amount=168_469.60),
        event("3", "order_placed", 2, "giant", amount=500),
        event("4", "tip_paid", 1, "tipper", amount=25),
    )
    found = {}
    for each in (kpi, raw, share):
        entered, n, y, x = value_of(store, each.key, frame=frame_of(each))
        assert (entered, n, x) == (4, 4, 4)
        found[each.key] = y
    assert found == {
        "spent": 100 + 500 + 500 + 20,
        "spent:raw": 100 + 168_469.60 + 500 + 25,
        "spent:capped": 2,
    }


def test_only_means_with_a_constant_cap_have_something_to_show_beside_them():
    assert [kpi.key for kpi in load_catalogue() if beside(kpi)] == []
    plain = {**SPENT, "measures": {"spent": {"event": "order_placed", "sum": "amount"}}}
    assert beside(parse_kpi("spent", {**plain, "value": "spent"})) == ()


def test_a_run_measures_what_its_caps_hide_over_the_same_windows():
    loaded = load(SPEC, source="s", catalogue=load_catalogue(), show_core=False)
    assert {kpi.key: windows for kpi, windows in loaded.measured} == dict.fromkeys(
        ("spent", "spent:raw", "spent:capped"), (timedelta(days=2),)
    )
    assert loaded.title("spent:raw") == "spent without caps"
    assert {c.kpi for c in loaded.comparisons} == {"spent"}
