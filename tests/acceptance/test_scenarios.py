"""The whole suite of scenarios, heavy ones too: all as their files say, every decision equal."""

from pathlib import Path

import pytest

from guardrails.scenarios import load_scenario_file, play

pytestmark = pytest.mark.acceptance

FOLDER = Path(__file__).parents[1] / "scenarios"


def test_every_scenario_ends_as_its_file_says_and_every_decision_is_reproduced(record_property):
    scenarios = [load_scenario_file(path) for path in sorted(FOLDER.glob("*.yaml"))]
    results = [play(scenario) for scenario in scenarios]
    record_property("scenarios", len(results))
    record_property("not as expected", sum(not result.passed for result in results))
    record_property("expectations", sum(result.expectations for result in results))
    record_property("checks", sum(result.checks for result in results))
    record_property("decisions replayed, all equal", sum(result.replayed for result in results))
    different = [f for r in results for f in r.failures if f.what == "replay"]
    assert [r.file for r in results if not r.passed] == []
    assert different == []
    assert len(results) >= 40
