"""Every scenario file, played through the engine; people who do not read Python read the files."""

from pathlib import Path

import pytest

from guardrails.scenarios import load_scenario_file, play

FOLDER = Path(__file__).parent
SCENARIOS = [load_scenario_file(path) for path in sorted(FOLDER.glob("*.yaml"))]


def scenarios():
    for scenario in SCENARIOS:
        marks = [pytest.mark.acceptance] if scenario.heavy else []
        if scenario.not_yet is not None:
            marks.append(pytest.mark.xfail(strict=True, reason=scenario.not_yet))
        yield pytest.param(scenario, id=Path(scenario.file).stem, marks=marks)


@pytest.mark.parametrize("scenario", list(scenarios()))
def test_the_scenario_ends_as_its_file_says(scenario):
    result = play(scenario)
    told = [f"{f.where}: {f.what}: expected {f.expected}; was: {f.was}" for f in result.failures]
    assert told == []
    assert result.replayed > 0


def test_there_are_forty_scenarios_and_each_has_a_title_of_its_own():
    titles = [scenario.title for scenario in SCENARIOS]
    built = [scenario for scenario in SCENARIOS if scenario.not_yet is None]
    assert len(built) >= 40
    assert len(set(titles)) == len(titles)
