"""Units by what their first exposures say: the same as counting the events of each level."""

from dataclasses import replace
from datetime import timedelta

import pytest

from metrics.cells import Sums
from metrics.events import Event
from metrics.segments import OTHER, UNKNOWN, Level, Part
from metrics.store import EventsGoneError
from tests.support import DAY, ENGINES, LATE, at, event, exposed, frame_of, put

SCORES = ("satisfaction", timedelta(days=1))


@pytest.fixture(params=sorted(ENGINES))
def store(request, tmp_path):
    opened = ENGINES[request.param](str(tmp_path / "store.duckdb"))
    yield opened
    opened.close()


def said(hours, unit, variant="control", **attributes) -> Event:
    """Return an exposure that says what its unit is."""
    plain = exposed(hours, unit, variant)
    named = {f"segment.{name}": value for name, value in attributes.items()}
    return replace(plain, fields={**plain.fields, **named})


def value(name) -> Level:
    return Level(Part.VALUE, name)


def split(store, *, by=("country",), asked=(SCORES,), now=LATE, frame=None):
    frame = frame or frame_of("satisfaction", windows=[SCORES[1]])
    return store.segments(frame, by=by, asked=asked, now=now)


def test_each_level_has_the_sums_of_its_units_by_arm_and_phase(store):
    countries, wanted = ["DE", "FR", "DE", None, "AT"], {}
    for number in range(40):
        country, arm, score = (
            countries[number % 5],
            ["control", "treatment"][number % 2],
            number % 7,
        )
        hours = number / 2
        told = {} if country is None else {"country": country}
        put(store, said(hours, f"o{number}", arm, **told))
        if score:
            put(store, event(f"s{number}", "satisfaction_rated", hours, f"o{number}", score=score))
            level = UNKNOWN if country is None else value(country)
            place = level, arm, int(hours >= 10)
            wanted[place] = wanted.get(place, Sums()) + Sums.of(score * 10**6)
    frame = replace(frame_of("satisfaction", windows=[DAY]), phases=(at(10),))
    (found,) = split(store, frame=frame)
    assert (found.name, found.values) == ("country", 3)
    assert list(found.levels.items()) == [
        (value("DE"), 16),
        (value("AT"), 8),
        (value("FR"), 8),
        (UNKNOWN, 8),
    ]
    counted = {
        (level, cell.variant, cell.phase): cell.sums
        for (_, _, level), cells in found.cells.items()
        for cell in cells
    }
    assert counted == wanted
    whole = store.snapshot(frame, now=LATE).cells[SCORES]
    parts = [cell for cells in found.cells.values() for cell in cells]
    assert sum(cell.entered for cell in parts) == sum(cell.entered for cell in whole) == 40
    assert sum((c.sums for c in parts), Sums()) == sum((c.sums for c in whole), Sums())


def test_only_units_whose_window_has_closed_have_entered(store):
    put(store, said(0, "o1", country="DE"), said(10, "o2", country="DE"))
    (found,) = split(store, now=at(25))
    (cell,) = found.cells[*SCORES, value("DE")]
    assert (cell.entered, found.levels[value("DE")]) == (1, 2)


def test_what_the_first_exposure_said_is_what_a_unit_is(store):
    put(
        store, said(5, "o1", country="FR"), said(2, "o1", country="DE"), said(9, "o1", country="IT")
    )
    put(store, said(4, "o2", country="FR"), exposed(1, "o2"))
    (found,) = split(store)
    assert found.levels == {value("DE"): 1, UNKNOWN: 1}
    put(store, said(1, "o1", country="AT"))
    (found,) = split(store)
    assert found.levels == {value("AT"): 1, UNKNOWN: 1}


@pytest.mark.parametrize("order", [("DE", "AT"), ("AT", "DE")])
def test_of_several_first_exposures_the_least_value_counts_whatever_the_order(store, order):
    for country in order:
        told = said(1, "o1", country=country)
        put(store, replace(told, id=f"e-{country}"))
    assert split(store)[0].levels == {value("AT"): 1}


def test_only_the_exposures_that_count_say_anything(store):
    put(store, said(1, "o1", country="DE"))
    other = said(0, "o1", country="FR")
    put(store, replace(other, id="e2", fields={**other.fields, "experiment": "y"}))
    put(store, replace(other, id="e3", fields={**other.fields, "seed": 2}))
    put(store, replace(other, id="e4", fields={**other.fields, "variant": "third"}))
    put(store, replace(other, id="e5", units={"user_id": "o1"}))
    put(store, said(2, "o2", "control", country="DE"), said(2, "o2", "treatment", country="DE"))
    assert split(store)[0].levels == {value("DE"): 1}  # o2 was seen in two variants


def test_the_largest_levels_are_told_apart_and_the_others_are_one(store):
    for number in range(30):
        for copy in range(1 + (number < 5)):
            put(store, said(1, f"o{number}-{copy}", country=f"c{number:02d}"))
    (found,) = split(store)
    names = [level.name for level in found.levels if level.part is Part.VALUE]
    assert names == [f"c{number:02d}" for number in range(20)]
    assert (found.levels[OTHER], found.values) == (10, 30)
    (cell,) = found.cells[*SCORES, OTHER]
    assert cell.entered == 10


def test_several_attributes_are_counted_at_once_and_names_may_be_odd(store):
    put(store, said(1, "o1", country="DE", **{"device.type": "x", "a/b~c": "y"}))
    found = split(store, by=("device.type", "a/b~c", "nothing"))
    assert [[*each.levels] for each in found] == [[value("x")], [value("y")], [UNKNOWN]]
    assert split(store, by=()) == ()


def test_a_value_that_is_no_text_says_nothing(store):
    put(store, said(1, "o1", country=7_000_000), said(1, "o2", country=True))
    assert split(store)[0].levels == {UNKNOWN: 2}


def test_a_forgotten_unit_is_in_no_level(store):
    put(store, said(1, "o1", country="Elba"), said(1, "o2", country="DE"))
    assert value("Elba") in split(store)[0].levels
    store.forget("o1", now=LATE)
    assert split(store)[0].levels == {value("DE"): 1}


def test_units_whose_first_exposure_has_left_the_log_are_unknown(store):
    frame = frame_of("satisfaction", windows=[DAY])
    put(store, said(1, "o1", country="DE"), said(30, "o2", country="FR"))
    store.retain(at(20), running=[frame], now=LATE)
    assert split(store)[0].levels == {value("FR"): 1, UNKNOWN: 1}


def test_without_what_a_retention_removed_there_is_no_answer(store):
    put(store, said(1, "o1", country="DE"), said(30, "o2", country="FR"))
    store.retain(at(20), running=[], now=LATE)
    with pytest.raises(EventsGoneError):
        split(store)


def test_an_experiment_without_units_has_no_levels(store):
    assert split(store)[0].levels == {}
