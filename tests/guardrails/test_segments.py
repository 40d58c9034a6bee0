"""Where the effect differs: what is scanned, what is said, and how often it is wrong."""

import math
import threading
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from guardrails.loaded import load
from guardrails.segment_desk import FRESH, SegmentDesk, Wanted
from guardrails.segments import segments_view
from guardrails.views import SegmentsView, SegmentView
from metrics.catalogue import load_catalogue
from metrics.cells import MICRO, Cell, Sums
from metrics.segments import OTHER, UNKNOWN, Dimension, Level, Part
from tests.running import SPEC

T = datetime(2026, 3, 1, tzinfo=UTC)
DAY = timedelta(days=1)
SCORE, RATE_KPI = ("satisfaction", DAY), ("cancellation_rate", DAY)
FILE = SPEC + "segments: [country, platform]\nwatch: [cancellation_rate]\n"


@pytest.fixture(scope="module")
def loaded():
    return load(FILE, source="s.yaml", catalogue=load_catalogue(), show_core=True)


def sums_of(scores) -> Sums:
    """Return the sums of units with these scores, in whole thousandths."""
    milli = np.rint(np.asarray(scores) * 1000).astype(object)
    n, y = len(milli), int(milli.sum()) if len(milli) else 0
    yy = int((milli * milli).sum()) if n else 0
    yyy = int((milli * milli * milli).sum()) if n else 0
    return Sums(
        n, y * 1000, n * MICRO, yy * MICRO, y * 1000 * MICRO, n * MICRO**2,
        yyy, yy * 1000, y * 1000**2, n * 1000**3,
    )  # fmt: skip


def cell(variant, scores, *, phase=0) -> Cell:
    return Cell(variant, phase, 0, len(scores), sums_of(scores))


def value(name) -> Level:
    return Level(Part.VALUE, name)


def dimension(name, levels, *, asked=SCORE, values=None) -> Dimension:
    """Return a dimension of levels with their cells."""
    sizes = {level: sum(c.entered for c in cells) for level, cells in levels.items()}
    cells = {(*asked, level): tuple(each) for level, each in levels.items()}
    return Dimension(name, sizes, values or len(levels), cells)


def view_of(loaded, *dimensions, asked=SCORE, **given) -> SegmentsView:
    given = {"first_phases": {}, "repeated": True, "at": T, **given}
    return segments_view(loaded, dimensions, asked=[asked], **given)


def arms(rng, n, effect=0.0, *, base=4.0):
    return [
        cell("control", rng.normal(base, 1, n)),
        cell("treatment", rng.normal(base + effect, 1, n)),
    ]


def test_a_planted_difference_is_found_and_shown_pulled_to_the_others(loaded):
    rng = np.random.default_rng(7)
    levels = {value(c): arms(rng, 2000, -0.6 if c == "DE" else 0.0) for c in ("DE", "FR", "GB")}
    view = view_of(loaded, dimension("country", levels))
    found = {each.level: each for each in view.found}
    assert {name: each.outcome for name, each in found.items() if name == "DE"} == {
        "DE": "different"
    }
    german = found["DE"]
    assert german.units == (2000, 2000)
    assert german.effect == pytest.approx(german.value / german.control - 1)
    assert german.effect == pytest.approx(-0.15, abs=0.02)
    assert german.effect < german.shrunken < 0
    assert (view.repeated, view.rate, view.declared) == (True, 0.1, ("country", "platform"))


def test_units_of_whom_nothing_is_known_are_shown_and_compared_with_nothing(loaded):
    rng = np.random.default_rng(8)
    levels = {
        value("DE"): arms(rng, 2000),
        OTHER: arms(rng, 2000),
        UNKNOWN: arms(rng, 2000, -1.0),
    }
    view = view_of(loaded, dimension("country", levels, values=30))
    assert [(s.part, s.outcome, s.shrunken is None) for s in view.found] == [
        ("value", "not_shown", False),
        ("other", "not_shown", False),
        ("unknown", "unknown", True),
    ]
    assert view.found[2].effect == pytest.approx(-0.25, abs=0.03)
    assert [name for _, name, _ in view.attributes[0].levels] == ["DE", "", ""]


def test_a_level_without_an_arm_or_with_few_units_is_called_nothing(loaded):
    rng = np.random.default_rng(9)
    levels = {
        value("DE"): arms(rng, 2000),
        value("FR"): arms(rng, 2000),
        value("AT"): arms(rng, 50, -2.0),
        value("CH"): [cell("control", rng.normal(4, 1, 500))],
        value("LI"): [],
    }
    view = view_of(loaded, dimension("country", levels))
    outcomes = {each.level: (each.outcome, each.effect is None) for each in view.found}
    assert outcomes["AT"] == ("not_enough_data", False)
    assert outcomes["CH"] == outcomes["LI"] == ("not_enough_data", True)


def shifting(rng, *, small):
    """Return a level whose base falls while the treatment's share grows: no effect at all."""
    early, late = (9, 1) if small else (5, 5), (5, 5)
    return [
        cell(arm, rng.normal(base, 1, 300 * share), phase=phase)
        for phase, (base, shares) in enumerate(((4.5, early), (3.5, late)))
        for arm, share in zip(("control", "treatment"), shares, strict=True)
    ]


def test_a_change_of_shares_between_arms_passes_for_no_difference(loaded):
    rng = np.random.default_rng(10)
    levels = {value("DE"): shifting(rng, small=True), value("FR"): shifting(rng, small=False)}
    calm = view_of(loaded, dimension("country", levels))
    assert {each.outcome for each in calm.found} == {"not_shown"}
    merged = {
        level: [cell_of_all(cells, arm) for arm in ("control", "treatment")]
        for level, cells in levels.items()
    }
    fooled = view_of(loaded, dimension("country", merged))
    assert {each.outcome for each in fooled.found} == {"different"}


def cell_of_all(cells, arm) -> Cell:
    """Return the cells of an arm as one, as an engine would that knows no phases."""
    mine = [each for each in cells if each.variant == arm]
    return Cell(arm, 0, 0, sum(c.entered for c in mine), sum((c.sums for c in mine), Sums()))


def test_units_of_an_earlier_attempt_do_not_count(loaded):
    rng = np.random.default_rng(11)
    old = [cell("control", rng.normal(4, 1, 900)), cell("treatment", rng.normal(1, 1, 900))]
    new = [
        cell("control", rng.normal(4, 1, 500), phase=1),
        cell("treatment", rng.normal(4, 1, 500), phase=1),
    ]
    levels = {value("DE"): [*old, *new], value("FR"): [*old, *new]}
    view = view_of(loaded, dimension("country", levels), first_phases={"treatment": 1})
    assert {each.units for each in view.found} == {(500, 500)}


def test_a_rate_needs_events_not_units_alone(loaded):
    def rates(control, treatment):
        return [cell("control", control), cell("treatment", treatment)]

    none, some = np.zeros(1000), np.repeat([1.0, 0.0], [300, 700])
    levels = {value("DE"): rates(none, none), value("FR"): rates(some, some)}
    view = view_of(loaded, dimension("country", levels, asked=RATE_KPI), asked=RATE_KPI)
    assert [each.outcome for each in view.found] == ["not_enough_data", "not_shown"]


# --- how often it is wrong ------------------------------------------------------------------


def dimensions_of(counts, n) -> list[Dimension]:
    """Return two attributes of four levels, of every arm so many of n units scoring 1, not 0."""
    made = []
    for name, by_level in zip(("country", "platform"), counts.tolist(), strict=True):
        levels = {
            value(f"l{number}"): [
                Cell(arm, 0, 0, n, ones(k, n))
                for arm, k in zip(("control", "treatment"), by_arm, strict=True)
            ]
            for number, by_arm in enumerate(by_level)
        }
        made.append(dimension(name, levels))
    return made


def ones(k, n) -> Sums:
    big, milli = MICRO**2, 10**9
    return Sums(n, k * MICRO, n * MICRO, k * big, k * big, n * big, *[k * milli] * 3, n * milli)


def careless(counts, n) -> bool:
    """Return whether an engine without any control would call a segment different: p < .05."""
    share = counts / n
    variance = (share * (1 - share) / n).sum(-1)
    return bool((np.abs(share[..., 1] - share[..., 0]) > 1.96 * np.sqrt(variance)).any())


@pytest.mark.statistical
def test_however_often_it_is_looked_at_few_runs_see_a_difference_that_is_none(loaded, monkeypatch):
    rng = np.random.default_rng(41)
    monkeypatch.setattr("metrics.stats.segments.shrink", lambda effects, _: np.asarray(effects))
    runs, looks, size, wrong, naive = 200, 4, 300, 0, 0
    for _ in range(runs):
        counts = np.cumsum(rng.binomial(size, 0.4, (looks, 2, 4, 2)), axis=0)
        seen = [(counts[look], size * (look + 1)) for look in range(looks)]
        wrong += any(
            each.outcome == "different"
            for told in seen
            for each in view_of(loaded, *dimensions_of(*told)).found
        )
        naive += any(careless(*told) for told in seen)
    margin = 3 * math.sqrt(0.1 * 0.9 / runs)
    assert wrong / runs <= 0.1 + margin
    assert naive / runs > 0.1 + margin


# --- the desk -------------------------------------------------------------------------------


class Clock:
    def __init__(self):
        self.at = T

    def __call__(self):
        return self.at


WANTED = Wanted("x", 1, ("country",))
ONE = SegmentView(
    "satisfaction", "", "higher", DAY, "b", "country", "value", "DE", (0, 0), *[None] * 4, "unknown"
)


def counted_at(at) -> SegmentsView:
    return SegmentsView(("country",), at=at, found=(ONE,))


def test_a_count_is_kept_for_an_hour_and_counted_anew_for_another_run():
    clock, counted = Clock(), []

    def count(key):
        counted.append(key)
        return counted_at(clock.at)

    desk = SegmentDesk(count, clock, later=False)
    assert desk.latest(WANTED).at is None
    assert desk.ask(WANTED).at == T
    clock.at += FRESH - timedelta(seconds=1)
    assert desk.ask(WANTED).at == T
    clock.at += timedelta(seconds=1)
    assert desk.ask(WANTED).at == clock.at
    assert desk.ask(Wanted("x", 2, ("country",))).at == clock.at
    assert (len(counted), desk.counted) == (3, 3)


def test_nobody_waits_for_a_count_that_is_under_way():
    clock, go, counted = Clock(), threading.Event(), []

    def count(key):
        counted.append(key)
        assert go.wait(20)
        return counted_at(clock.at)

    desk = SegmentDesk(count, clock, later=True)
    assert [desk.ask(WANTED).at for _ in range(3)] == [None] * 3
    go.set()
    desk.close()
    assert desk.latest(WANTED).at == T
    assert counted == ["x"]
    assert desk.ask(Wanted("y", 1, ())).at is None  # closed: nothing is begun any more
    assert counted == ["x"]


def test_what_cannot_be_counted_is_said_and_tried_again_in_a_minute():
    clock, broken = Clock(), True

    def count(key):
        if broken:
            raise OSError("the disk is gone")
        return counted_at(clock.at)

    desk = SegmentDesk(count, clock, later=False)
    assert desk.ask(WANTED).failure == "the disk is gone"
    broken = False
    assert desk.ask(WANTED).failure
    clock.at += timedelta(minutes=1)
    assert not desk.ask(WANTED).failure


def test_where_there_was_nothing_to_count_yet_it_is_counted_again_in_a_minute():
    clock = Clock()
    desk = SegmentDesk(lambda _: SegmentsView(("country",), at=clock.at), clock, later=False)
    desk.ask(WANTED)
    clock.at += timedelta(seconds=59)
    assert desk.ask(WANTED).at == T
    clock.at += timedelta(seconds=1)
    assert desk.ask(WANTED).at == clock.at
