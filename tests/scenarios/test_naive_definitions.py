"""Harm that is real and that a naive definition of the KPI would have missed.

Each file of ``naive/`` is a small story: what ten or twenty people of each variant did, and what
two definitions make of it. They are played through the real stores. The naive figure looks the
same or better for the variant that does harm; ours is worse.
"""

import re
from pathlib import Path

import pytest
from ruamel.yaml import YAML

from metrics.catalogue import load_catalogue, parse_kpi
from metrics.catalogue_file import duration
from metrics.events import Event
from metrics.stores import STORES
from tests.support import LATE, START, exposed, frame_of, value_of

STORIES = sorted((Path(__file__).parent / "naive").glob("*.yaml"))
ARMS = ("control", "treatment")


def read(path):
    return YAML(typ="safe", pure=True).load(path.read_text(encoding="utf-8"))


def event_of(line, unit, number):
    """Return the event of a line such as ``12m cancel_finished outcome=kept``."""
    when, name, *fields = line.split()
    given = dict(field.split("=") for field in fields)
    exact = {key: value_written(value) for key, value in given.items()}
    happened = START + duration(when, line)
    return Event(f"{unit}-{number}", name, happened, {"order_id": unit}, exact)


def value_written(text):
    if text in {"true", "false"}:
        return text == "true"
    return int(text) * 1_000_000 if re.fullmatch(r"[0-9]+", text) else text


def history(story):
    """Yield every exposure and event: each group of people did the same."""
    for arm in ARMS:
        for place, group in enumerate(story[arm]):
            for person in range(group["people"]):
                unit = f"{arm}-{place}-{person}"
                yield exposed(0, unit, arm)
                for number, line in enumerate(group["events"]):
                    yield event_of(line, unit, number)


def naive_kpi(story):
    given = {k: v for k, v in story["naive"].items() if k != "words"}
    return parse_kpi("naive", {**given, "windows": [story["window"]]})


def figures(store, kpi, window):
    """Return the KPI of both arms."""
    found = {}
    for arm in ARMS:
        _, _, y, x = value_of(store, kpi.key, window, variant=arm, frame=frame_of(kpi))
        found[arm] = y / x
    return found


@pytest.fixture(params=sorted(STORES))
def store(request, tmp_path):
    opened = STORES[request.param](str(tmp_path / "store.duckdb"))
    yield opened
    opened.close()


@pytest.mark.parametrize("path", STORIES, ids=lambda path: path.stem)
def test_the_naive_figure_misses_the_harm_that_ours_shows(store, path):
    story = read(path)
    ours, naive = load_catalogue().get(story["kpi"]), naive_kpi(story)
    window = duration(story["window"], "window")
    store.append(list(history(story)), received_at=LATE)
    by_us, naively = figures(store, ours, window), figures(store, naive, window)
    assert naively == pytest.approx(story["figures"]["naive"], abs=1e-6)
    assert by_us == pytest.approx(story["figures"]["ours"], abs=1e-6)
    worse = {"rise": 1, "drop": -1}[story["worse"]]
    assert worse * (naively["treatment"] - naively["control"]) <= 0, story["looks"]
    assert worse * (by_us["treatment"] - by_us["control"]) > 0, story["is"]
    # and not by a hair: at least a tenth of control's value
    assert abs(by_us["treatment"] / by_us["control"] - 1) > 0.1


def test_there_is_a_story_for_every_kpi_whose_naive_figure_is_common():
    core = [kpi.key for kpi in load_catalogue().core]
    told = {read(path)["kpi"]: int(path.name[:2]) for path in STORIES}
    assert told == {core[number - 1]: number for number in (1, 2, 5, 6, 9, 10)}
