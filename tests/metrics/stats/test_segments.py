import math
from dataclasses import replace

import numpy as np
import pytest

from metrics.stats import segments
from metrics.stats.difference import welch
from metrics.stats.segments import Segment, SegmentOutcome, scan, shrink, variance_between
from metrics.stats.values import Sample

BCG = [  # tuberculosis with and without vaccination, Colditz et al. (1994): cases, others, twice
    (4, 119, 11, 128),
    (6, 300, 29, 274),
    (3, 228, 11, 209),
    (62, 13536, 248, 12619),
    (33, 5036, 47, 5761),
    (180, 1361, 372, 1079),
    (8, 2537, 10, 619),
    (505, 87886, 499, 87892),
    (29, 7470, 45, 7232),
    (17, 1699, 65, 1600),
    (186, 50448, 141, 27197),
    (5, 2493, 3, 2338),
    (27, 16886, 29, 17825),
]


def levels(effects, *, n=1000, sd=1.0, dimension="country", kpi="score"):
    return [
        Segment(kpi, dimension, f"l{i}", Sample(n, 5.0, sd**2), Sample(n, 5.0 + e, sd**2))
        for i, e in enumerate(effects)
    ]


def test_the_variance_between_trials_is_the_published_one():
    ratios = [math.log(a / (a + b) / (c / (c + d))) for a, b, c, d in BCG]
    variances = [1 / a - 1 / (a + b) + 1 / c - 1 / (c + d) for a, b, c, d in BCG]
    # metafor's documentation, DerSimonian-Laird: tau^2 .3088
    assert variance_between(ratios, variances) == pytest.approx(0.3088, abs=5e-5)


def test_a_level_is_compared_with_the_rest_of_its_dimension():
    found = scan(levels([0.0] * 5 + [0.3]))
    assert [f.outcome for f in found] == [
        *[SegmentOutcome.NOT_SHOWN] * 5,
        SegmentOutcome.DIFFERENT,
    ]
    assert found[5].interaction == pytest.approx(0.3)
    assert found[5].z == pytest.approx(0.3 / math.sqrt(0.002 + 0.002 / 5))
    assert found[5].effect == pytest.approx(0.3)
    assert 0.05 < found[5].shrunken < 0.3


def test_two_levels_are_welchs_difference_of_differences():
    one, other = levels([0.1, 0.4], n=5000)
    found = scan([one, other])
    spread = sum(a.error_squared for s in (one, other) for a in (s.control, s.treatment))
    assert found[0].z == pytest.approx(-0.3 / math.sqrt(spread))
    assert found[0].z == pytest.approx(-found[1].z)
    assert found[0].effect == pytest.approx(welch(one.control, one.treatment).effect.estimate)


def test_a_common_effect_is_no_difference_however_large():
    assert {f.outcome for f in scan(levels([3.0] * 6))} == {SegmentOutcome.NOT_SHOWN}


def test_other_shares_of_arms_in_a_level_bias_nothing():
    base = levels([0.2, 0.2, 0.2])
    base[1] = replace(base[1], control=Sample(100_000, 9.0, 1.0), treatment=Sample(300, 9.2, 1.0))
    assert [f.interaction for f in scan(base)] == pytest.approx([0.0] * 3, abs=1e-12)


@pytest.mark.parametrize("repeated", [False, True])
@pytest.mark.parametrize(
    "poor",
    [
        pytest.param({"control": Sample(0, math.nan, math.nan)}, id="an empty arm"),
        pytest.param({"control": Sample(1, 5.0, math.nan)}, id="one unit"),
        pytest.param({"treatment": Sample(199, 9.0, 1.0)}, id="too few units"),
        pytest.param({"events": 19.0}, id="too few events"),
        pytest.param({"treatment": Sample(900, math.nan, math.nan)}, id="an undefined ratio"),
    ],
)
def test_a_segment_without_enough_data_is_called_nothing(poor, repeated):
    base = levels([0.0, 0.0, 0.9])
    base[2] = replace(base[2], **poor)
    found = scan(base, repeated=repeated)
    assert found[2].outcome is SegmentOutcome.NOT_ENOUGH_DATA
    assert math.isnan(found[2].shrunken)
    assert math.isnan(found[2].z)
    assert math.isnan(found[2].adjusted)
    assert math.isfinite(found[0].z)


def test_a_level_alone_has_nothing_to_differ_from():
    (found,) = scan(levels([0.5]))
    assert found.outcome is SegmentOutcome.NOT_ENOUGH_DATA
    assert found.effect == pytest.approx(0.5)
    assert math.isnan(found.z)


def test_segments_without_any_variance_are_called_nothing():
    assert {f.outcome for f in scan(levels([0.0, 0.5], sd=0.0))} == {SegmentOutcome.NOT_ENOUGH_DATA}


def test_a_scan_of_nothing_finds_nothing():
    assert scan([]) == ()
    assert scan([], repeated=True) == ()


def test_overlapping_levels_are_refused():
    with pytest.raises(ValueError, match="score/country/l0 is given twice"):
        scan([*levels([0.1]), *levels([0.2])])
    with pytest.raises(ValueError, match="rate must lie"):
        scan([], rate=0.0)


def test_shrunken_effects_lie_between_the_raw_ones_and_the_common_one():
    effects, variances = np.array([-0.4, 0.0, 0.1, 0.9]), np.array([0.01, 0.02, 0.01, 0.2])
    shown = shrink(effects, variances)
    between = variance_between(effects, variances)
    common = np.average(effects, weights=1 / (between + variances))
    assert ((shown - effects) * (common - effects) >= 0).all()
    assert (abs(shown - common) <= abs(effects - common)).all()
    assert shrink([0.1, 0.1001], [0.5, 0.5]) == pytest.approx([0.10005] * 2)  # all is chance


def test_unusable_effects_are_not_shrunken_and_disturb_nobody():
    shown = shrink([0.1, math.nan, 0.7, 0.4], [0.01, 0.01, 0.02, 0.0])
    assert np.isnan(shown[[1, 3]]).all()
    assert shown[[0, 2]] == pytest.approx(shrink([0.1, 0.7], [0.01, 0.02]))
    assert shrink([0.3], [0.1]) == pytest.approx([0.3])
    assert math.isnan(variance_between([0.3], [0.1]))


def simulated(rng, true):
    """Return 8 levels in each of 3 dimensions, of which ``true`` levels of the first differ."""
    found = []
    for d in range(3):
        effects = np.zeros(8)
        if d == 0:
            effects[:true] = 0.25
        seen = effects + rng.normal(0.0, math.sqrt(2 / 1000), size=8)
        found += levels(seen, dimension=f"d{d}")
    return found


@pytest.mark.statistical
def test_the_share_of_false_discoveries_is_kept(monkeypatch):
    rng = np.random.default_rng(23)
    monkeypatch.setattr("gc.collect", lambda: 0)  # statsmodels asks for it at every call
    runs, false, power, naive = 400, 0.0, 0.0, 0.0
    for _ in range(runs):
        found = scan(simulated(rng, 0), rate=0.1)
        false += any(f.outcome is SegmentOutcome.DIFFERENT for f in found)
        naive += any(abs(f.z) > 1.645 for f in found)
        found = scan(simulated(rng, 2), rate=0.1)
        power += all(f.outcome is SegmentOutcome.DIFFERENT for f in found[:2])
    assert false / runs <= 0.1 + 4 * math.sqrt(0.09 / runs)
    assert naive / runs > 0.5
    assert power / runs > 0.8


@pytest.mark.statistical
def test_a_scan_that_is_repeated_at_every_step_keeps_it_too(monkeypatch):
    rng = np.random.default_rng(29)
    monkeypatch.setattr(segments, "shrink", lambda effects, _: np.asarray(effects))
    runs, steps, size = 150, 30, 300
    ever = peeking = 0
    for _ in range(runs):
        sums = np.cumsum(rng.normal(0, math.sqrt(2 * size), (steps, 8)), axis=0)
        hit = naive = False
        for k in range(steps):
            n = size * (k + 1)
            found = scan(levels(sums[k] / n, n=n), rate=0.1, repeated=True)
            hit |= any(f.outcome is SegmentOutcome.DIFFERENT for f in found)
            naive |= any(abs(f.z) > 2.734 for f in found)  # Bonferroni at one look
        ever, peeking = ever + hit, peeking + naive
    assert ever / runs <= 0.1 + 3 * math.sqrt(0.09 / runs)
    assert peeking / runs > 0.1 + 3 * math.sqrt(0.09 / runs)


@pytest.mark.statistical
def test_shrunken_effects_are_closer_to_the_truth():
    rng = np.random.default_rng(31)
    variances, raw, shown = np.full(12, 0.04), 0.0, 0.0
    for _ in range(300):
        truth = rng.normal(0.1, 0.1, size=12)
        seen = truth + rng.normal(0.0, 0.2, size=12)
        raw += ((seen - truth) ** 2).sum()
        shown += ((shrink(seen, variances) - truth) ** 2).sum()
    assert shown < 0.5 * raw
