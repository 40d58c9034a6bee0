"""Sets of guardrails: named in a file, never changed once they were released."""

import itertools

import pytest

from guardrails.language import sets
from guardrails.language.sets import read_sets, shipped_sets
from guardrails.rules import Action
from guardrails.spec_file import ServerNames, Severity, SpecError, load_spec
from metrics.catalogue import Catalogue, load_catalogue

RELEASED = {
    "cancellation-defaults": "958b7332f6702ad6fffb69b2d094ea3cbb975f7ad0bbf3c5c626fd4483916f7a",
    "short-way-out": "c1773da98f694c5e352a1e202d61d9859fc2b516d0d7acfacb49a4127ca5bf26",
    "agent-workload": "06b1a0a6b1501f68281cd8bc5705126424db3e39ed9dd38e456f21216fbbd39f",
    "offer-costs": "6ea527032100124d1fe180b2e9dabddd6ab90ea0dc0ce4352efc23dea0ae32fa",
}
"""Content of every set that was ever released: a set is never changed nor taken away."""

BASE = """\
experiment: coupon-reminder
unit: order_id
variants:
  control: {weight: 50%}
  reminder: {weight: 50%}
ends: {after: 14d}
"""


def load(guardrails, more="", **given):
    return load_spec(f"{BASE}guardrails: {guardrails}\n{more}", source="spec.yaml", **given)


def problems(guardrails, more="", **given):
    with pytest.raises(SpecError) as caught:
        load(guardrails, more, **given)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize("name", RELEASED)
def test_a_released_set_never_changes(name):
    assert shipped_sets()[name].fingerprint == RELEASED[name], (
        f"the guardrails of `{name}` are not what was released: running experiments that use it "
        "would be judged otherwise after an upgrade; give the changed set a new name"
    )


def test_every_set_is_pinned():
    assert set(shipped_sets()) == set(RELEASED), "add the new set with its fingerprint to RELEASED"


def test_every_set_says_whom_it_protects_and_can_turn_back():
    for each in shipped_sets().values():
        assert "Protects" in each.words
        spec = load(f"{{use: [{each.name}]}}")
        assert tuple(g.id for g in spec.guardrails) == each.ids
        assert any(g.acts for g in spec.guardrails)
        assert set(spec.sets.values()) == {each.name}
        assert spec.warnings == ()


def test_any_sets_can_be_used_together():
    names = list(shipped_sets())
    for count in (2, len(names)):
        for used in itertools.combinations(names, count):
            spec = load(f"{{use: [{', '.join(used)}]}}")
            expected = [i for name in used for i in shipped_sets()[name].ids]
            assert [g.id for g in spec.guardrails] == expected


def test_cancellation_defaults_let_people_out():
    spec = load("{use: [cancellation-defaults]}", "goal: {kpi: save_rate, expect: +10%}\n")
    assert [(g.id, g.action, g.weight) for g in spec.guardrails] == [
        ("cancel_success_rate", Action.ROLLBACK, 2.0),
        ("flow_failure_rate", Action.ROLLBACK, 1.0),
        ("satisfaction", Action.ROLLBACK, 1.0),
        ("repeat_complaint_rate", Action.ROLLBACK, 1.0),
        ("refund_hours", Action.ROLLBACK, 1.0),
    ]
    # what a set guards needs no acknowledgement
    assert spec.warnings == ()


def test_an_own_entry_replaces_that_of_the_set_and_without_leaves_out():
    spec = load(
        "{use: [cancellation-defaults], without: [refund_hours], "
        "add: [{kpi: satisfaction, max_drop: 8%}, {kpi: net_revenue, max_drop: 5%}]}"
    )
    margins = {g.id: g.margin for g in spec.guardrails}
    assert list(margins) == [
        "cancel_success_rate",
        "flow_failure_rate",
        "repeat_complaint_rate",
        "satisfaction",
        "net_revenue",
    ]
    assert margins["satisfaction"] == 0.08
    assert spec.sets == dict.fromkeys(list(margins)[:3], "cancellation-defaults")
    assert set(spec.kpis) == set(margins)


def test_a_limit_beside_a_set_has_an_id_of_its_own():
    spec = load(
        "{use: [cancellation-defaults], add: [{rule: limit, kpi: flow_failure_rate, max: 5%}]}"
    )
    assert [g.id for g in spec.guardrails if g.kpi == "flow_failure_rate"] == [
        "flow_failure_rate",
        "flow_failure_rate-limit",
    ]


@pytest.mark.parametrize(
    ("guardrails", "expected"),
    [
        (
            "{use: [cancelation-default]}",
            (
                "7:20: guardrails.use[0]: there is no set of guardrails `cancelation-default`; did you "
                "mean `cancellation-defaults`?"
            ),
        ),
        (
            "{use: [offers]}",
            (
                "7:20: guardrails.use[0]: there is no set of guardrails `offers`; did you mean "
                "`offer-costs`?"
            ),
        ),
        (
            "{use: [offer-costs], without: [net_revenu]}",
            (
                "7:44: guardrails.without[0]: no set in use has a guardrail `net_revenu`; did you mean "
                "`net_revenue`?"
            ),
        ),
        (
            "{use: [offer-costs], without: [satisfaction]}",
            (
                "7:44: guardrails.without[0]: no set in use has a guardrail `satisfaction`; there are: "
                "net_revenue, repurchase_rate"
            ),
        ),
        (
            "{use: [offer-costs], without: [net_revenue], add: [{kpi: net_revenue, max_drop: 9%}]}",
            (
                "7:44: guardrails.without[0]: `net_revenue` is left out and written under `add`; "
                "remove it here: an entry under `add` replaces that of the set"
            ),
        ),
        (
            "{use: [offer-costs, offer-costs]}",
            "7:33: guardrails.use[1]: `offer-costs` is listed twice; remove one",
        ),
        ("{use: []}", "7:19: guardrails.use: is empty; list one or more sets"),
        (
            "{add: [{kpi: satisfaction, max_drop: 3%}]}",
            "7:13: guardrails: `guardrails` needs `use`; add `use: [cancellation-defaults]`, sets of guardrails by name",
        ),
        (
            "{uses: [offer-costs]}",
            "7:14: guardrails.uses: unknown key; did you mean `use`?",
        ),
        (
            "{kpi: satisfaction, max_drop: 3%}",
            (
                "7:13: guardrails: must be a list of guardrails, got keys and values; begin each with "
                "`- `"
            ),
        ),
        (
            "{use: [offer-costs], add: [{kpi: satisfaction, max_rise: 3%}]}",
            (
                "7:70: guardrails.add[0].max_rise: guards against an improvement: for `satisfaction` "
                "higher is better; write `max_drop: 3%`"
            ),
        ),
    ],
)
def test_what_is_wrong_with_a_choice_is_told_at_its_place(guardrails, expected):
    assert problems(guardrails) == [f"spec.yaml:{expected}"]


def test_leaving_everything_out_has_to_be_acknowledged():
    (problem,) = problems("{use: [offer-costs], without: [net_revenue, repurchase_rate]}")
    assert "nothing protects the people in this experiment" in problem
    assert "acknowledge: [no-guardrails]" in problem


def test_a_set_that_does_not_fit_the_run_is_told_at_its_name():
    text = BASE.replace("{after: 14d}", "{after: 2d, observe_for: 1d}")
    with pytest.raises(SpecError) as caught:
        load_spec(f"{text}guardrails: {{use: [offer-costs]}}\n", source="spec.yaml")
    assert [str(p) for p in caught.value.problems] == [
        (
            "spec.yaml:7:20: guardrails.use[0]: its guardrail `net_revenue`: its shortest "
            "window, 7d, does not close within the 3d of the experiment; replace it under `add`, or "
            "leave it out with `without: [net_revenue]`"
        ),
        (
            "spec.yaml:7:20: guardrails.use[0]: its guardrail `repurchase_rate`: its shortest "
            "window, 7d, does not close within the 3d of the experiment; replace it under `add`, or "
            "leave it out with `without: [repurchase_rate]`"
        ),
    ]
    # the same set is read afresh for the next file
    assert load("{use: [offer-costs]}").warnings == ()


def test_a_set_with_a_kpi_that_the_server_has_not_is_told_at_its_name():
    whole = load_catalogue()
    less = Catalogue({k.key: k for k in whole if k.key != "net_revenue"}, whole.events)
    (problem,) = problems("{use: [offer-costs]}", catalogue=less)
    assert problem.startswith(
        "spec.yaml:7:20: guardrails.use[0]: its guardrail `net_revenue`: there is no KPI"
    )


def test_two_sets_that_mean_different_things_by_one_id_cannot_be_used_together(monkeypatch):
    text = """\
sets:
  one: {title: One, words: Words., guardrails: [{kpi: satisfaction, max_drop: 3%}]}
  two: {title: Two, words: Words., guardrails: [{kpi: satisfaction, max_drop: 4%}]}
  same: {title: Same, words: Words., guardrails: [{max_drop: 3%, kpi: satisfaction}]}
"""
    monkeypatch.setattr(sets, "shipped_sets", lambda: read_sets(text, source="sets.yaml"))
    assert problems("{use: [one, two]}") == [
        (
            "spec.yaml:7:25: guardrails.use[1]: `satisfaction` is another guardrail here than in "
            "`one`; leave both out with `without: [satisfaction]`, and write yours under `add`"
        )
    ]
    assert [g.margin for g in load("{use: [one, same]}").guardrails] == [0.03]
    own = "{use: [one, two], add: [{kpi: satisfaction, max_drop: 5%}]}"
    assert [g.margin for g in load(own).guardrails] == [0.05]


def test_a_faulty_set_is_told_as_a_file_is():
    with pytest.raises(SpecError) as caught:
        read_sets("sets:\n  x: {title: X, guardrails: [{kpi: a, max_drop: 1}]}\n", source="s.yaml")
    told = [str(p) for p in caught.value.problems]
    assert any(t.startswith("s.yaml:2:6: sets.x: a set needs `words`") for t in told)
    assert any(t.startswith("s.yaml:2:49: sets.x.guardrails[0].max_drop: must be") for t in told)


SERVER = ServerNames(frozenset({"ops", "delivery"}), {"refund_p99": "up", "by": "x{v='$variant'}"})


def test_what_the_server_has_not_is_a_problem_at_its_place_with_a_near_match():
    entries = (
        "[{kpi: satisfaction, max_drop: 3%}, {rule: promql, query: refund_p98, max: 1}, "
        "{rule: promql, query: by, max: 1}]"
    )
    assert problems(entries, "notify: [opps, delivery, pager]\n", server=SERVER) == [
        (
            "spec.yaml:7:71: guardrails[1].query: the service has no query `refund_p98`; did you mean "
            "`refund_p99`?"
        ),
        (
            "spec.yaml:8:10: notify[0]: the service has no channel `opps`; did you mean `ops`?; "
            "`turnback channels list` shows where each leads"
        ),
        (
            "spec.yaml:8:26: notify[2]: the service has no channel `pager`; it has: delivery, ops; "
            "`turnback channels list` shows where each leads"
        ),
    ]
    assert load(entries, "notify: [pager]\n").experiment.notify == ("pager",)
    assert load(entries.replace("98", "99"), "notify: [ops]\n", server=SERVER).warnings == ()


def test_a_server_without_anything_says_so():
    assert problems(
        "[{kpi: satisfaction, max_drop: 3%}]", "notify: [ops]\n", server=ServerNames()
    ) == [
        (
            "spec.yaml:8:10: notify[0]: the service has no channel `ops`; its settings name no channels; "
            "`turnback channels list` shows where each leads"
        )
    ]


def test_keys_of_another_rule_say_whose_they_are():
    assert problems("[{kpi: flow_failure_rate, max: 5%}]") == [
        "spec.yaml:7:39: guardrails[0].max: belongs to rule `limit`; add `rule: limit`, or write `max_rise` for a change against control"
    ]
    assert problems("[{query: refund_p99, max: 0.8, hold: 5m}]") == [
        "spec.yaml:7:15: guardrails[0].query: belongs to rule `promql`; add `rule: promql`"
    ]
    assert problems("[{rule: limit, kpi: flow_failure_rate, max_rise: 5%}]") == [
        (
            "spec.yaml:7:52: guardrails[0].max_rise: belongs to rule `regression`, and this is "
            "`limit`; use `max` or `min`"
        )
    ]
    assert problems("[{kpi: satisfaction, max_drop: 3%, hold: 5m}]") == [
        (
            "spec.yaml:7:48: guardrails[0].hold: belongs to rule `promql` or `alert`, and this is "
            "`regression`; remove it"
        )
    ]


def test_a_file_whose_guardrails_cannot_turn_back_is_warned():
    spec = load("[{rule: promql, query: refund_p99, max: 1, action: alert}]")
    assert [(w.path, w.severity) for w in spec.warnings] == [("guardrails", Severity.WARNING)]
    assert load("[{rule: promql, query: refund_p99, max: 1}]").warnings == ()
