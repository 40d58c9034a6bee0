"""The JSON Schema: what an editor knows of a spec file."""

from pathlib import Path

import jsonschema
import pytest

from experiments.language.source import parse_yaml, to_json
from guardrails.language.sets import shipped_sets
from guardrails.rules import RULES
from guardrails.spec_file import json_schema, load_spec
from metrics.catalogue import load_catalogue

ROOT = Path(__file__).parents[2]
SCHEMA = json_schema()
VALIDATOR = jsonschema.Draft202012Validator(SCHEMA)
BASE = """\
experiment: coupon-reminder
unit: order_id
variants: {control: {weight: 50%}, reminder: {weight: 50%}}
ends: {after: 14d}
"""
KPI = """\
kpis:
  smiles:
    kind: proportion
    better: higher
    unit: share
    windows: {1h: 100%}
    measures: {smiled: {event: smiled, where: {broad: true, score: {above: 3}}}}
    value: smiled > 0
"""


def accepts(more):
    node, problems = parse_yaml(BASE + more, file="spec.yaml")
    assert problems == []
    return VALIDATOR.is_valid(to_json(node))


def keys(node, path=""):
    """Every key that the schema describes, with its path."""
    if isinstance(node, list):
        for item in node:
            yield from keys(item, path)
    if isinstance(node, dict):
        for name, child in node.items():
            if name == "properties":
                for key, value in child.items():
                    yield f"{path}.{key}", value
                    yield from keys(value, f"{path}.{key}")
            elif name not in {"examples", "enum", "enumDescriptions"}:
                yield from keys(child, path)


def test_it_is_a_schema_of_the_draft_it_names():
    assert SCHEMA["$schema"].endswith("2020-12/schema")
    jsonschema.Draft202012Validator.check_schema(SCHEMA)


def test_every_key_has_a_description_and_an_example_that_fits():
    found = list(keys(SCHEMA))
    assert len(found) > 100
    for path, schema in found:
        assert schema["description"].endswith("."), path
        assert schema["examples"], path
        for example in schema["examples"]:
            assert jsonschema.Draft202012Validator(schema).is_valid(example), path


@pytest.mark.parametrize("rule", RULES)
def test_every_key_of_every_rule_is_described(rule):
    branches = SCHEMA["properties"]["guardrails"]["anyOf"][0]["items"]["anyOf"]
    branch = next(b for b in branches if b["properties"]["rule"]["const"] == rule)
    assert set(branch["properties"]) == {key.name for key in RULES[rule].keys}
    assert accepts(f"guardrails: [{dict(RULES[rule].example)}]\n")
    read = load_spec(BASE + f"guardrails: [{dict(RULES[rule].example)}]\n")
    assert [type(g).rule for g in read.guardrails] == [rule]


@pytest.mark.parametrize(
    "guardrails",
    [
        "[]",
        "[{kpi: satisfaction, max_drop: 3%}]",
        "[{rule: regression, kpi: satisfaction, max_drop: 3%, windows: {1h: 100%}}]",
        "[{rule: limit, kpi: flow_failure_rate, max: 5%, weight: 2}]",
        "[{rule: limit, kpi: refund_hours, max: 48}]",
        "[{rule: promql, query: refund_p99, min: 0.8, hold: 5m, action: stop}]",
        "{use: [cancellation-defaults]}",
        "{use: [cancellation-defaults, offer-costs], add: [{kpi: contact_rate, max_rise: 5%}]}",
        "{use: [cancellation-defaults], without: [refund_hours]}",
    ],
)
def test_a_right_choice_of_guardrails_is_accepted(guardrails):
    assert accepts(f"guardrails: {guardrails}\n")


@pytest.mark.parametrize(
    "guardrails",
    [
        "{}",
        "{add: [{kpi: satisfaction, max_drop: 3%}]}",
        "{use: []}",
        "{use: [no-such-set]}",
        "{use: cancellation-defaults}",
        "{use: [cancellation-defaults], without: refund_hours}",
        "{use: [cancellation-defaults], add: [{kpi: satisfaction}]}",
        "{use: [cancellation-defaults], plus: []}",
        "{kpi: satisfaction, max_drop: 3%}",
        "[{kpi: satisfaction, max: 3%}]",
        "[{rule: limit, kpi: satisfaction, max_drop: 3%}]",
        "[{rule: limit, kpi: satisfaction, max: 3, min: 2}]",
        "[{rule: limit, max: 3}]",
        "[{rule: promql, kpi: satisfaction, max: 3}]",
        "[{rule: promql, query: refund_p99}]",
        "[{rule: limits, kpi: satisfaction, max: 3}]",
        "[{query: refund_p99, max: 3}]",
        "[satisfaction]",
    ],
)
def test_a_choice_of_guardrails_that_is_wrong_in_structure_is_refused(guardrails):
    assert not accepts(f"guardrails: {guardrails}\n")


def test_editors_are_offered_the_kpis_of_the_catalogue_and_accept_own_ones():
    offered = {
        path: schema["anyOf"][0]["enum"] for path, schema in keys(SCHEMA) if path.endswith(".kpi")
    }
    assert {".goal.kpi", ".guardrails.kpi", ".guardrails.add.kpi"} <= set(offered)
    assert all(names == list(load_catalogue().keys()) for names in offered.values())
    watched = SCHEMA["properties"]["watch"]["items"]["anyOf"][0]
    assert len(watched["enum"]) == len(watched["enumDescriptions"])
    assert accepts(KPI + "guardrails: [{kpi: smiles, max_drop: 3%}]\nwatch: [smiles]\n")
    assert not accepts("watch: ['not a kpi']\n")


def test_editors_are_offered_the_sets_with_what_they_protect():
    used = SCHEMA["properties"]["guardrails"]["anyOf"][1]["properties"]["use"]["items"]
    assert used["enum"] == list(shipped_sets())
    assert "Protects people who want out" in used["enumDescriptions"][0]


@pytest.mark.parametrize("key", ["kind", "better", "windows", "measures", "value"])
def test_an_own_kpi_needs_what_the_loader_needs(key):
    lines = [line for line in KPI.splitlines() if not line.startswith(f"    {key}:")]
    assert accepts(KPI)
    assert not accepts("\n".join(lines) + "\n")


@pytest.mark.parametrize(
    ("before", "after"),
    [("kind: proportion", "kind: share"), ("1h: 100%", "1h: all"), ("smiles:", "Smiles Rate:")],
)
def test_an_own_kpi_that_is_wrong_in_structure_is_refused(before, after):
    assert not accepts(KPI.replace(before, after))


def test_every_kpi_of_the_catalogue_fits_the_schema_of_an_own_one():
    text = (ROOT / "metrics" / "catalogue.yaml").read_text(encoding="utf-8")
    node, _ = parse_yaml(text, file="catalogue.yaml")
    kpis = to_json(node)["kpis"]
    schema = jsonschema.Draft202012Validator(SCHEMA["properties"]["kpis"])
    assert kpis.keys() == {kpi.key for kpi in load_catalogue().kpis.values()}
    assert [error.json_path for error in schema.iter_errors(kpis)] == []
    # the schema would tell a fault of any of them
    for key, kpi in kpis.items():
        faulty = {**kpis, key: {**kpi, "kind": "nonsense"}}
        assert {error.absolute_path[0] for error in schema.iter_errors(faulty)} == {key}
