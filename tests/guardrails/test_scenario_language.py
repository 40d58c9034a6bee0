"""Scenario files: what is wrong with one is told at its place, with what to do."""

import json
import re
from datetime import timedelta
from pathlib import Path

import jsonschema
import pytest
from typer.testing import CliRunner

from console.cli import app
from experiments.errors import SpecError
from experiments.language.source import parse_yaml, to_json
from guardrails.scenarios import load_scenario, load_scenario_file, play, scenario_schema
from guardrails.scenarios.act_keys import ACT_KEYS
from guardrails.scenarios.acts import ACTS
from guardrails.scenarios.expect_keys import EXPECT_KEYS
from guardrails.scenarios.expects import EXPECTS
from guardrails.scenarios.keys import EFFECT_KEYS, SCENARIO_KEYS, SERVICE_KEYS
from guardrails.scenarios.people import RECIPES
from guardrails.scenarios.quantities import parse_range
from metrics.catalogue import load_catalogue

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / "tests" / "scenarios"
GOOD = """\
scenario: Nothing happens
spec:
  experiment: cancel-page
  unit: order_id
  variants:
    control: {weight: 50%}
    treatment: {weight: 50%}
  guardrails:
    - {kpi: satisfaction, max_drop: 5%, windows: {1h: 100%}}
  ends: {after: 10d}
  check_every: 2h
traffic: 20
people:
  satisfaction: 4.2 from 60% after 5m
effects:
  - {of: treatment, from: 2h, satisfaction: -5%}
timeline:
  - at: 2h
    note: all is quiet
    expect: {state: running, rolled_back: nobody}
lasts: 4h
expect: {rolled_back: nobody}
"""


def problems(text):
    with pytest.raises(SpecError) as caught:
        load_scenario(text, file="s.yaml", folder=FOLDER)
    return [str(problem) for problem in caught.value.problems]


@pytest.mark.parametrize(
    ("old", "new", "told"),
    [
        (
            "traffic: 20",
            "trafic: 20",
            "s.yaml:12:1: trafic: unknown key; did you mean `traffic`?",
        ),
        (
            "max_drop: 5%",
            "max_dorp: 5%",
            "s.yaml:9:27: spec.guardrails[0].max_dorp: unknown key; did you mean `max_drop`?",
        ),
        (
            "rolled_back: nobody}\nlasts",
            "rolled_back: treatmant}\nlasts",
            (
                "s.yaml:20:43: timeline[0].expect.rolled_back: there is no variant `treatmant`; "
                "did you mean `treatment`?"
            ),
        ),
        (
            "satisfaction: -5%",
            "satisfaction: -90%",
            "s.yaml:16:5: effects[0]: satisfaction would be 0.42, and can be 1.05 to 4.95",
        ),
        (
            "  satisfaction: 4.2 from",
            "  satisfation: 4.2 from",
            "s.yaml:14:3: people.satisfation: is not a KPI; did you mean `satisfaction`?",
        ),
        (
            "lasts: 4h",
            "lasts: 1h",
            "s.yaml:21:8: lasts: the timeline goes on after that; or remove the later steps",
        ),
        (
            "note: all is quiet",
            "clock: late",
            (
                "s.yaml:19:12: timeline[0].clock: must be how wrong the service's clock is, got `late`; "
                "write back 1h, ahead 1d, or right"
            ),
        ),
        (
            "at: 2h",
            "at: 2 hours",
            (
                "s.yaml:18:9: timeline[0].at: must be a duration such as 90s, 30m, 6h, 14d or 1h30m, "
                "got `2 hours`; write 2h"
            ),
        ),
    ],
)
def test_a_problem_is_told_at_its_place_with_what_to_do(old, new, told):
    assert old in GOOD
    assert told in problems(GOOD.replace(old, new))


def test_all_problems_of_a_file_are_told_at_once():
    text = GOOD.replace("traffic:", "trafic:").replace("lasts: 4h", "lasts: soon")
    assert len(problems(text)) == 2


def test_a_spec_file_that_is_not_there_is_told():
    text = GOOD[: GOOD.index("spec:")] + "spec: nowhere.yaml\nlasts: 2h\n"
    (told,) = problems(text)
    assert told.startswith("s.yaml:2:7: spec: there is no file ")


def test_what_is_expected_in_vain_is_told_with_what_was(tmp_path):
    text = GOOD.replace("expect: {rolled_back: nobody}\n", "expect: {rolled_back: treatment}\n")
    scenario = load_scenario(text, file="s.yaml")
    result = play(scenario)
    assert not result.passed
    (failure,) = result.failures
    assert (failure.where, failure.after) == ("s.yaml:22:10", timedelta(hours=4))
    assert failure.expected == "treatment is rolled back"
    assert failure.was.startswith("it is live")


def test_an_expected_failure_that_does_not_fail_is_a_failure():
    unexpected = play(load_scenario(GOOD + "not_yet: it is not built\n"))
    assert (unexpected.passed, unexpected.failures) == (False, ())


def test_the_same_seed_gives_the_same_run():
    one, other = (play(load_scenario(GOOD)) for _ in range(2))
    assert (one.units, one.story, one.checks) == (other.units, other.story, other.checks)


def test_every_word_of_a_timeline_is_known_to_the_runner():
    assert {key.name for key in ACT_KEYS} == set(ACTS)
    assert {key.name for key in EXPECT_KEYS} == set(EXPECTS)
    assert set(RECIPES) <= set(load_catalogue().keys())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.yaml")), ids=lambda path: path.stem)
def test_every_scenario_fits_the_schema_for_editors(path):
    root, _ = parse_yaml(path.read_text(encoding="utf-8"), file=path.name)
    jsonschema.validate(to_json(root), scenario_schema())


@pytest.mark.parametrize(
    ("text", "least", "most"),
    [("5", 5, 5), ("at least 5", 5, float("inf")), ("at most 5", 0, 5), ("5 to 9", 5, 9)],
)
def test_counts_are_read_as_people_say_them(text, least, most):
    found = parse_range(text)
    assert (found.least, found.most) == (least, most)
    assert str(found) == text


@pytest.mark.parametrize("text", ["", "five", "at least", "9 to 5", "at least 5 to 9", "-1"])
def test_what_is_no_count_is_none(text):
    assert parse_range(text) is None


def test_the_command_ends_with_one_when_an_expectation_fails(tmp_path):
    good, bad = tmp_path / "good.yaml", tmp_path / "bad.yaml"
    good.write_text(GOOD)
    bad.write_text(GOOD.replace("state: running", "state: paused"))
    assert CliRunner().invoke(app, ["scenario", str(good)]).exit_code == 0
    failed = CliRunner().invoke(app, ["scenario", str(tmp_path)])
    assert failed.exit_code == 1
    assert f"{bad}:20:14: state after 2 h: expected paused; was: running" in failed.stdout
    assert "1 of 2 scenarios as expected" in failed.stdout


def test_the_command_prints_one_object_and_refuses_a_faulty_file(tmp_path):
    good = tmp_path / "good.yaml"
    good.write_text(GOOD)
    done = CliRunner().invoke(app, ["scenario", str(good), "--json"])
    told = json.loads(done.stdout)
    assert (told["passed"], told["failed"]) == (1, 0)
    assert told["scenarios"][0]["title"] == "Nothing happens"
    good.write_text(GOOD.replace("traffic", "trafic"))
    refused = CliRunner().invoke(app, ["scenario", str(good), "--json"])
    assert refused.exit_code == 1
    assert json.loads(refused.stderr or refused.stdout)["error"]["code"] == "invalid_spec"


def test_the_example_of_the_docs_ends_as_it_says():
    page = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    (example,) = re.findall(r"<!-- scenario: .*? -->\n```yaml\n(.*?)```", page, re.DOTALL)
    result = play(load_scenario(example, file="first.yaml"))
    assert (result.failures, result.passed) == ((), True)


def test_the_docs_name_every_word():
    page = (ROOT / "docs" / "scenarios.md").read_text(encoding="utf-8")
    words = [k.name for k in (*SCENARIO_KEYS, *ACT_KEYS, *EXPECT_KEYS, *SERVICE_KEYS, *EFFECT_KEYS)]
    assert [word for word in words if not re.search(rf"`[^`]*\b{word}\b[^`]*`", page)] == []


def test_a_scenario_can_be_kept_for_a_look_at_its_files(tmp_path):
    play(load_scenario_file(FOLDER / "freeze-ends.yaml"), folder=tmp_path)
    assert {path.name for path in tmp_path.iterdir()} >= {"control.db", "metrics.duckdb"}
