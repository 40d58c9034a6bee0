"""Spec files: everything wrong is told at once, in the words of the file, at its place."""

import hashlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import jsonschema
import pytest

from experiments.language.source import parse_yaml, to_json
from experiments.spec import Advance, Exposure, Freeze, Layer, Mode, RampStep
from guardrails.rules import Action, Regression, Side
from guardrails.spec_file import Severity, SpecError, json_schema, load_spec, load_spec_file
from metrics.catalogue import Window

REPOSITORY = Path(__file__).parents[2]
GOOD = sorted((REPOSITORY / "tests/specs/good").glob("*.yaml"))
BAD = sorted((REPOSITORY / "tests/specs/bad").glob("*.yaml"))
EXAMPLES = sorted((REPOSITORY / "examples").glob("*.yaml"))

STRUCTURAL = "# structural: the JSON Schema refuses it too"

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
    assert len(BAD) >= 150
    assert {p.stem for p in BAD} == {p.stem for p in (REPOSITORY / "tests/specs/bad").glob("*.txt")}


@pytest.mark.parametrize("path", [*GOOD, *EXAMPLES], ids=name_of)
def test_a_good_file_is_read_and_fits_the_schema(path):
    spec = load_spec_file(path)
    assert spec.experiment.key in {path.stem, "everything_1.0", "three-step-cancel"}
    assert sum(v.weight for v in spec.experiment.variants) == pytest.approx(1)
    for guardrail in spec.guardrails:
        if guardrail.kpi is None:
            assert (guardrail.windows, guardrail.acts) == ((), False)
            continue
        assert sum(window.weight for window in guardrail.windows) == pytest.approx(1)
        assert spec.kpis[guardrail.kpi].key == guardrail.kpi
    node, _ = parse_yaml(spec.text, file=path.name)
    jsonschema.Draft202012Validator(json_schema()).validate(to_json(node))


def test_there_are_enough_good_files():
    assert len(GOOD) >= 20
    assert {path.stem for path in EXAMPLES} >= {"three-step-cancel", "online-retail"}


@pytest.mark.parametrize("path", EXAMPLES, ids=name_of)
def test_an_example_has_nothing_to_warn_of_and_says_whom_it_may_harm(path):
    spec = load_spec_file(path)
    assert spec.warnings == ()
    assert "harm" in spec.text
    assert any(guardrail.acts for guardrail in spec.guardrails)


def parsed(path):
    """Return the JSON of a file, ``None`` where the text itself is at fault."""
    node, problems = parse_yaml(path.read_text(encoding="utf-8"), file=path.name)
    return None if node is None or problems else (to_json(node),)


@pytest.mark.parametrize("path", BAD, ids=name_of)
def test_the_schema_refuses_what_is_wrong_in_structure_and_nothing_else(path):
    """A file whose last line is ``STRUCTURAL`` is refused by the schema, every other accepted."""
    content = parsed(path)
    marked = path.read_text(encoding="utf-8").endswith(f"\n{STRUCTURAL}\n")
    if content is None:
        assert not marked, "what cannot be read as YAML has no structure"
    else:
        valid = jsonschema.Draft202012Validator(json_schema()).is_valid(*content)
        assert marked is not valid, f"end the file with the line `{STRUCTURAL}`, or remove it"


def test_most_faults_are_seen_in_an_editor_already():
    marked = [path for path in BAD if STRUCTURAL in path.read_text(encoding="utf-8")]
    assert len(marked) >= 90


def names_in(node):
    """Every key of a JSON value."""
    if isinstance(node, list):
        return set().union(*map(names_in, node))
    if isinstance(node, dict):
        return set(node).union(*map(names_in, node.values()))
    return set()


def described(node, path=""):
    """Every key that a schema describes, with its path."""
    if isinstance(node, list):
        for item in node:
            yield from described(item, path)
    if isinstance(node, dict):
        for name, child in node.items():
            if name in {"properties", "patternProperties"}:
                for key, value in child.items():
                    yield f"{path}.{key}", value
                    yield from described(value, f"{path}.{key}")
            elif name not in {"examples", "enum", "const"}:
                yield from described(child, path)


def test_the_good_files_use_every_key_there_is():
    used = set().union(*(names_in(parsed(path)[0]) for path in [*GOOD, *EXAMPLES]))
    own = {"kpis"}  # its keys are those of the catalogue, with tests of their own
    known = {path for path, _ in described(json_schema()) if path.split(".")[1] not in own}
    assert {path for path in known if path.rpartition(".")[2] not in used} == set()


def test_every_key_of_the_schema_has_a_description_and_valid_examples():
    schema = json_schema()
    jsonschema.Draft202012Validator.check_schema(schema)
    seen = dict(described(schema))
    for path, key in seen.items():
        assert key["description"].endswith("."), path
        assert key["examples"], path
        for example in key["examples"]:
            jsonschema.Draft202012Validator(key).validate(example)
    assert {
        ".layer.share",
        ".freeze.zone",
        ".ends.at",
        ".ramp.approval",
        ".audience.any_of",
        ".audience.any_of.matches",
        ".audience.version_at_least",
        ".variants.flow",
        ".force",
    } <= set(seen)
    assert len(seen) > 70


@pytest.mark.parametrize("key", ["audience", "force", "variants"])
def test_what_stands_under_free_names_is_described_too(key):
    values = json_schema()["properties"][key]["additionalProperties"]
    assert values["description"].endswith(".")
    for example in values["examples"]:
        jsonschema.Draft202012Validator(values).validate(example)


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


def test_a_flow_of_null_is_a_value_and_goes_with_any_other():
    spec = load_spec_file(REPOSITORY / "tests/specs/good/flow-null.yaml")
    flows = {variant.name: variant.flow for variant in spec.experiment.variants}
    assert flows == {"control": None, "ask": {"steps": ["reason", "confirm"]}, "nothing": None}


def test_every_key_arrives_in_the_value_it_belongs_to():
    spec = load_spec_file(REPOSITORY / "tests/specs/good/everything.yaml")
    experiment = spec.experiment
    assert experiment.title == "Every key: once"
    assert experiment.hypothesis == "A text over two lines."
    assert experiment.hash_seed == "everything_1.0:3"
    assert experiment.variant("control").flow == {"steps": ["confirm"], "on": True}
    assert [v.weight for v in experiment.variants] == [0.334, 0.333, 0.333]
    assert experiment.ramp == (
        RampStep(0.005, timedelta(seconds=90), 500, approval=True),
        RampStep(0.25, timedelta(days=1, hours=12), advance=Advance.PROVEN),
        RampStep(0.999),
    )
    assert experiment.goal is not None
    assert (experiment.goal.expect, experiment.goal.absolute) == (0.02, True)
    assert (experiment.alpha, experiment.mode) == (0.025, Mode.SHADOW)
    assert (experiment.notify, experiment.expect_units) == (("ops", "delivery"), 67_200)
    assert experiment.lag == timedelta(minutes=10)
    assert len(experiment.audience) == 15
    assert experiment.layer == Layer("cancel-page", 0.333)
    assert experiment.force == {"order-17": "b-2", "18": "control", "anna@example.com": "a"}
    assert (experiment.exposure, experiment.holdout) == (Exposure.EVENT, False)
    assert experiment.starts == datetime(2026, 12, 1, 9, tzinfo=UTC)
    assert experiment.freeze == (
        Freeze(
            datetime(2026, 12, 5, tzinfo=UTC), datetime(2026, 12, 6, 23, tzinfo=UTC), why="sale"
        ),
        Freeze(days=frozenset({4, 5, 6}), zone="Europe/Berlin", why="nobody is at work"),
    )
    windows = (Window(timedelta(hours=2), 0.3), Window(timedelta(days=3), 0.7))
    assert spec.guardrails[1:3] == (
        Regression(
            id="mood",
            kpi="satisfaction",
            side=Side.DROP,
            margin=0.0,
            absolute=False,
            windows=spec.kpis["satisfaction"].windows,
            prove_past=0.0,
            action=Action.HOLD,
        ),
        Regression(
            id="cancel_success_rate",
            kpi="cancel_success_rate",
            side=Side.DROP,
            margin=0.02,
            absolute=True,
            windows=windows,
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


def test_the_new_keys_have_defaults_that_change_nothing():
    experiment = load_spec(BASE).experiment
    assert (experiment.layer, experiment.force, experiment.freeze) == (None, {}, ())
    assert (experiment.exposure, experiment.holdout) == (Exposure.EVALUATE, True)
    assert (experiment.starts, experiment.ends.at) == (None, None)


def test_an_end_is_an_instant_too_and_the_run_is_what_lies_between():
    text = BASE.replace("{after: 7d}", "{at: 2026-12-15T00:00+01:00}")
    experiment = load_spec(text + "starts: 2026-12-01T09:00Z\n").experiment
    assert experiment.ends.after == timedelta(days=13, hours=14)
    assert experiment.ends.at == datetime(2026, 12, 14, 23, tzinfo=UTC)
    assert load_spec(BASE + "starts: manual\n").experiment.starts == "manual"


RAMP = "ramp:\n  - {traffic: 5%, hold: 6h}\n  - {traffic: 100%}\n"


@pytest.mark.parametrize(
    ("more", "path", "message"),
    [
        pytest.param(
            "ramp:\n  - {traffic: 5%, hold: 6h}\n  - {traffic: 100%, approval: true}\n",
            "ramp[1].approval",
            "no step follows",
            id="approval of the last step",
        ),
        pytest.param(
            "freeze: [{days: [sun]}]\n", "freeze", "no step of a ramp", id="freeze without a ramp"
        ),
        pytest.param(
            f"{RAMP}starts: 2026-12-01T09:00Z\n"
            "freeze: [{from: 2026-12-20T00:00Z, to: 2026-12-27T00:00Z}]\n",
            "freeze[0]",
            "outside of the run, 2026-12-01T09:00Z to 2026-12-08T09:00Z",
            id="freeze after the end",
        ),
        pytest.param(
            f"{RAMP}starts: 2026-12-01T09:00Z\n"
            "freeze: [{from: 2026-11-20T00:00Z, to: 2026-12-01T09:00Z}]\n",
            "freeze[0]",
            "outside of the run",
            id="freeze before the start",
        ),
        pytest.param(
            f"{RAMP}mode: shadow\n",
            "ramp",
            "stands still in shadow mode: traffic stays 5%",
            id="a ramp that never acts",
        ),
    ],
)
def test_what_has_no_effect_is_warned_of(more, path, message):
    (warning,) = load_spec(BASE + more).warnings
    assert (warning.path, warning.severity) == (path, Severity.WARNING)
    assert message in warning.message


@pytest.mark.parametrize(
    "more",
    [
        "ramp:\n  - {traffic: 5%, approval: true}\n  - {traffic: 100%, approval: false}\n",
        f"{RAMP}freeze: [{{days: [mon, tue, wed, thu, fri, sat]}}]\n",
        f"{RAMP}starts: manual\nfreeze: [{{from: 2026-12-20T00:00Z, to: 2026-12-27T00:00Z}}]\n",
        "exposure: event\nholdout: true\n",
        "mode: shadow\nramp: [{traffic: 5%}]\n",
        "force: {a: control, b: reminder}\n",
    ],
)
def test_what_makes_sense_is_not_warned_of(more):
    assert load_spec(BASE + more).warnings == ()


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
