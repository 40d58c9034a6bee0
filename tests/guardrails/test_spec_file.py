"""Spec files: everything wrong is told at once, in the words of the file, at its place."""

import hashlib
import json
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest

from experiments.source import parse_yaml, to_json
from experiments.spec import Advance, Mode, RampStep
from guardrails.rules import Action, Regression, Side
from guardrails.spec_file import Severity, SpecError, json_schema, load_spec, load_spec_file
from metrics.catalogue import Window

REPOSITORY = Path(__file__).parents[2]
GOOD = sorted((REPOSITORY / "tests/specs/good").glob("*.yaml"))
BAD = sorted((REPOSITORY / "tests/specs/bad").glob("*.yaml"))
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))

BASE = """\
experiment: coupon-reminder
unit: order_id
variants:
  control: {weight: 50%}
  reminder: {weight: 50%}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 7d}
"""


def name_of(path):
    return path.stem


def problems_of(text):
    with pytest.raises(SpecError) as caught:
        load_spec(text, source="spec.yaml")
    return caught.value.problems


@pytest.mark.parametrize("path", BAD, ids=name_of)
def test_a_faulty_file_is_told_all_its_problems(path):
    with pytest.raises(SpecError) as caught:
        load_spec(path.read_text(encoding="utf-8"), source=path.name)
    expected = path.with_suffix(".txt").read_text(encoding="utf-8").splitlines()
    assert [str(problem) for problem in caught.value.problems] == expected
    assert any(problem.severity is Severity.ERROR for problem in caught.value.problems)


def test_there_are_enough_faulty_files_and_every_one_has_its_messages():
    assert len(BAD) >= 60
    assert {p.stem for p in BAD} == {p.stem for p in (REPOSITORY / "tests/specs/bad").glob("*.txt")}


@pytest.mark.parametrize("path", [*GOOD, *EXAMPLES], ids=name_of)
def test_a_good_file_is_read_and_fits_the_schema(path):
    spec = load_spec_file(path)
    assert spec.experiment.key in {path.stem, "everything_1.0"}
    assert sum(v.weight for v in spec.experiment.variants) == pytest.approx(1)
    for guardrail in spec.guardrails:
        assert sum(window.weight for window in guardrail.windows) == pytest.approx(1)
        assert spec.kpis[guardrail.kpi].key == guardrail.kpi
    node, _ = parse_yaml(spec.text, file=path.name)
    jsonschema.Draft202012Validator(json_schema()).validate(to_json(node))


def test_there_are_enough_good_files():
    assert len(GOOD) >= 8
    assert {path.stem for path in EXAMPLES} >= {"three-step-cancel", "online-retail"}


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_has_nothing_to_warn_of_and_says_whom_it_may_harm(path):
    spec = load_spec_file(path)
    assert spec.warnings == ()
    assert "harm" in spec.text
    assert any(guardrail.acts for guardrail in spec.guardrails)


@pytest.mark.parametrize(
    "name",
    [
        "not-a-mapping",
        "unknown-key",
        "unknown-key-far",
        "unknown-key-in-variant",
        "unknown-key-in-guardrail",
        "missing-keys",
        "not-yet-layer",
        "not-yet-guardrail-sets",
        "key-with-spaces",
        "unit-with-dash",
        "variant-name",
        "weight-without-percent",
        "no-control",
        "variants-as-list",
        "ramp-empty",
        "ends-as-duration",
        "duration-without-unit",
        "duration-in-words",
        "seed-quoted",
        "seed-zero",
        "mode-unknown",
        "margin-missing",
        "margin-twice",
        "margin-signed",
        "margin-number",
        "prove-past-percent",
        "unknown-action",
        "unknown-rule",
        "goal-without-sign",
        "acknowledge-unknown",
        "audience-empty-list",
        "audience-null",
        "audience-as-list",
        "audience-text-compared",
        "audience-unknown-comparison",
        "audience-attribute",
        "weight-of-guardrail",
        "many-at-once",
    ],
)
def test_the_schema_refuses_what_is_wrong_in_structure(name):
    node, _ = parse_yaml((REPOSITORY / f"tests/specs/bad/{name}.yaml").read_text(), file=name)
    validator = jsonschema.Draft202012Validator(json_schema())
    assert not validator.is_valid(to_json(node))


def test_every_key_of_the_schema_has_a_description_and_valid_examples():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    seen = []

    def visit(node, path):
        if isinstance(node, list):
            for index, item in enumerate(node):
                visit(item, f"{path}[{index}]")
        if not isinstance(node, dict):
            return
        for key, child in node.get("properties", {}).items():
            here = f"{path}.{key}"
            assert child["description"].endswith("."), here
            for example in child["examples"]:
                jsonschema.Draft202012Validator(child).validate(example)
            seen.append(here)
        for key, child in node.items():
            if key != "examples":
                visit(child, path if key == "properties" else f"{path}.{key}")

    visit(schema, "")
    assert len(seen) > 45


def test_the_examples_of_the_schema_are_read_by_the_loader():
    properties = json_schema()["properties"]
    top = {name: key["examples"][0] for name, key in properties.items() if name != "kpis"}
    top["acknowledge"] = []
    # JSON is YAML, too
    spec = load_spec(json.dumps(top, indent=2))
    assert (spec.experiment.key, len(spec.guardrails)) == ("three-step-cancel", 2)


def test_the_demo_has_the_guardrails_that_the_story_needs():
    spec = load_spec_file(REPOSITORY / "examples/three-step-cancel.yaml")
    experiment = spec.experiment
    assert (experiment.key, experiment.unit, experiment.seed) == (
        "three-step-cancel",
        "order_id",
        1,
    )
    assert (experiment.control, experiment.treatments) == ("control", ("three_step",))
    assert experiment.ramp == (RampStep(),)
    assert experiment.ends.after == timedelta(days=7)
    assert experiment.ends.observe_for == timedelta(days=2)
    assert (experiment.alpha, experiment.check_every) == (0.05, timedelta(hours=1))
    assert experiment.expect_units == 200 * 24 * 7
    assert [(g.kpi, g.side, g.margin, g.action) for g in spec.guardrails] == [
        ("satisfaction", Side.DROP, 0.03, Action.ROLLBACK),
        ("cancel_success_rate", Side.DROP, 0.05, Action.ROLLBACK),
        ("repeat_complaint_rate", Side.RISE, 0.1, Action.ROLLBACK),
        ("refund_hours", Side.RISE, 0.1, Action.ROLLBACK),
        ("agent_efficiency", Side.DROP, 0.1, Action.ALERT),
    ]
    assert experiment.goal is not None
    assert (experiment.goal.kpi, experiment.goal.expect) == ("save_rate", 0.1)
    assert spec.sha256 == hashlib.sha256(spec.text.encode()).hexdigest()


def test_every_key_arrives_in_the_value_it_belongs_to():
    spec = load_spec_file(REPOSITORY / "tests/specs/good/everything.yaml")
    experiment = spec.experiment
    assert experiment.title == "Every key: once"
    assert experiment.hypothesis == "A text over two lines."
    assert experiment.hash_seed == "everything_1.0:3"
    assert experiment.variant("control").flow == {"steps": ["confirm"], "on": True}
    assert [v.weight for v in experiment.variants] == [0.334, 0.333, 0.333]
    assert experiment.ramp == (
        RampStep(0.005, timedelta(seconds=90), 500),
        RampStep(0.25, timedelta(days=1, hours=12), advance=Advance.PROVEN),
        RampStep(0.999),
    )
    assert experiment.goal is not None
    assert (experiment.goal.expect, experiment.goal.absolute) == (0.02, True)
    assert (experiment.alpha, experiment.mode) == (0.025, Mode.SHADOW)
    assert (experiment.notify, experiment.expect_units) == (("ops", "delivery"), 67_200)
    assert experiment.lag == timedelta(minutes=10)
    assert len(experiment.audience) == 12
    windows = (Window(timedelta(hours=2), 0.3), Window(timedelta(days=3), 0.7))
    assert spec.guardrails[1:3] == (
        Regression(
            "mood",
            "satisfaction",
            Side.DROP,
            0.0,
            False,
            spec.kpis["satisfaction"].windows,
            prove_past=0.0,
            action=Action.HOLD,
        ),
        Regression(
            "cancel_success_rate",
            "cancel_success_rate",
            Side.DROP,
            0.02,
            True,
            windows,
            dry_run=True,
        ),
    )
    assert [g.acts for g in spec.guardrails] == [True, False, False, False, True]
    assert set(spec.kpis) == {
        "save_rate",
        "satisfaction",
        "cancel_success_rate",
        "repeat_complaint_rate",
        "help_page_rate",
        "cancellation_rate",
        "repurchase_rate",
    }


def test_what_is_left_out_has_a_default():
    experiment = load_spec(BASE).experiment
    assert (experiment.title, experiment.owner, experiment.hypothesis) == (
        "coupon-reminder",
        "",
        "",
    )
    assert [v.flow for v in experiment.variants] == ["control", "reminder"]
    assert (experiment.seed, experiment.alpha, experiment.mode) == (1, 0.05, Mode.LIVE)
    assert (experiment.check_every, experiment.lag) == (timedelta(minutes=1), timedelta(minutes=5))
    # until the longest window of the guardrails, 14 days of satisfaction, has closed
    assert experiment.ends.observe_for == timedelta(days=14, minutes=5)


def test_windows_of_a_guardrail_are_sorted_by_length():
    text = BASE.replace("max_drop: 3%", "max_drop: 3%, windows: {1d: 40%, 1h: 60%}")
    assert load_spec(text).guardrails[0].windows == (
        Window(timedelta(hours=1), 0.6),
        Window(timedelta(days=1), 0.4),
    )


def test_a_kpi_that_browsers_can_feed_must_not_turn_a_variant_back():
    kpi = """\
kpis:
  smiles:
    title: Smiles
    title_zh: 微笑
    kind: proportion
    better: higher
    unit: share
    trust: any
    windows: {1h: 100%}
    words: Share of units that smiled.
    measures: {smiled: {event: smiled}}
    value: smiled > 0
"""
    guarded = BASE.replace("kpi: satisfaction", "kpi: smiles") + kpi
    (problem,) = problems_of(guarded)
    assert str(problem) == (
        "spec.yaml:7:11: guardrails[0].kpi: `smiles` counts events that browsers may send, so it "
        "must not turn a variant back; add `action: alert`, or use a KPI fed by servers"
    )
    alert = guarded.replace("max_drop: 3%", "max_drop: 3%, action: alert")
    assert [w.path for w in load_spec(alert).warnings] == ["guardrails"]


def test_a_kpi_of_either_direction_may_be_guarded_on_both_sides():
    both = BASE.replace(
        "  - {kpi: satisfaction, max_drop: 3%}\n",
        "  - {kpi: cancellation_rate, max_drop: 3%}\n"
        "  - {id: more, kpi: cancellation_rate, max_rise: 3%}\n",
    )
    assert [(g.id, g.side) for g in load_spec(both).guardrails] == [
        ("cancellation_rate", Side.DROP),
        ("more", Side.RISE),
    ]


def test_a_warning_refuses_until_it_is_acknowledged_and_is_then_kept():
    text = BASE + "goal: {kpi: save_rate, expect: +10%}\n"
    (problem,) = problems_of(text)
    assert "acknowledge: [fewer-cancellations]" in problem.hint
    accepted = load_spec(text + "acknowledge: [fewer-cancellations]\n")
    assert [w.severity for w in accepted.warnings] == [Severity.WARNING]
    guarded = text.replace("satisfaction", "cancel_success_rate")
    assert load_spec(guarded).warnings == ()
    needless = load_spec(guarded + "acknowledge: [fewer-cancellations]\n")
    assert [w.message for w in needless.warnings] == [
        "there is nothing to acknowledge as `fewer-cancellations`"
    ]


def test_a_byte_order_mark_and_windows_line_ends_are_harmless(tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.replace("\n", "\r\n").encode())
    assert load_spec_file(path).experiment.key == "coupon-reminder"


def test_a_file_that_cannot_be_read_is_a_problem_too(tmp_path):
    missing = tmp_path / "missing.yaml"
    with pytest.raises(SpecError) as caught:
        load_spec_file(missing)
    assert str(caught.value) == f"{missing}:1:1: cannot be read: no such file or directory"
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"experiment: a\ntitle: \xff\n")
    with pytest.raises(SpecError) as caught:
        load_spec_file(binary)
    assert str(caught.value) == f"{binary}:2:8: this is not UTF-8 text; save the file as UTF-8"


def test_a_spec_error_has_the_one_error_shape_with_every_problem():
    with pytest.raises(SpecError) as caught:
        load_spec(BASE + "alpha: 60%\nmode: lively\n", source="spec.yaml")
    body = caught.value.to_json()["error"]
    assert (caught.value.status, body["code"], body["path"]) == (422, "invalid_spec", "alpha")
    assert [(p["line"], p["column"], p["path"]) for p in body["problems"]] == [
        (9, 8, "alpha"),
        (10, 7, "mode"),
    ]
    assert isinstance(caught.value, ValueError)


def test_nothing_in_a_file_is_executed_or_expanded():
    bomb = "a: &a [x, x]\nb: &b [*a, *a]\nc: &c [*b, *b]\n"
    # three anchors and four aliases, each told where it stands
    assert sum("is not supported" in p.message for p in problems_of(bomb)) == 7
    deep = problems_of("audience: " + "[" * 5_000)
    assert "nested" in deep[0].message
    long = problems_of("# " + "x" * 600_000)
    assert "600,002 characters" in long[0].message
