import json
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.special import ndtri

from metrics.stats import spending
from metrics.stats.group_sequential import (
    Progress,
    advance,
    boundaries,
    exit_probabilities,
    look,
    solve_boundary,
)

GROWTHS = st.lists(st.floats(1.02, 4.0), min_size=1, max_size=12)
ALPHAS = st.floats(1e-4, 0.2)


def schedule(growths):
    """Return information that grows by the given factors from 50 on."""
    return [50.0, *(50.0 * np.cumprod(growths)).tolist()]


def log_time(information, alpha, horizon=1e4):
    return [spending.reserve(i / horizon, alpha, tau=50.0 / horizon) for i in information]


@settings(max_examples=60, deadline=None)
@given(growths=GROWTHS, alpha=ALPHAS, two_sided=st.booleans())
def test_exit_probabilities_of_any_schedule_sum_to_the_alpha_spent(growths, alpha, two_sided):
    information = schedule(growths)
    cumulative = log_time(information, alpha)
    upper = boundaries(information, cumulative, two_sided=two_sided)
    lower = [-b for b in upper] if two_sided else None
    exits = exit_probabilities(information, upper, lower)
    assert exits.total == pytest.approx(cumulative[-1], abs=1e-9)


@settings(max_examples=40, deadline=None)
@given(growths=GROWTHS, alpha=ALPHAS)
def test_a_smaller_alpha_never_lowers_the_first_boundary_and_needs_more_evidence(growths, alpha):
    information = schedule(growths)
    strict = boundaries(information, log_time(information, alpha / 2))
    loose = boundaries(information, log_time(information, alpha))
    assert all(a > b for a, b in zip(strict, loose, strict=True))


@settings(max_examples=40, deadline=None)
@given(
    growths=st.lists(st.floats(1.02, 3.0), min_size=3, max_size=8),
    merged=st.sets(st.integers(0, 8)),
    two_sided=st.booleans(),
)
def test_merging_looks_never_raises_the_error_of_the_other_boundaries(growths, merged, two_sided):
    information = schedule(growths)
    upper = boundaries(information, log_time(information, 0.05), two_sided=two_sided)
    kept = [k for k in range(len(information)) if k not in merged or k == len(information) - 1]

    def error(looks):
        chosen = [upper[k] for k in looks]
        lower = [-b for b in chosen] if two_sided else None
        return exit_probabilities([information[k] for k in looks], chosen, lower).total

    assert error(kept) <= error(range(len(information))) + 1e-9


@settings(max_examples=30, deadline=None)
@given(growths=GROWTHS, alpha=ALPHAS, merged=st.sets(st.integers(0, 12)), two_sided=st.booleans())
def test_a_test_whose_looks_were_merged_as_it_ran_still_spends_what_its_curve_allows(
    growths, alpha, merged, two_sided
):
    information = [i for k, i in enumerate(schedule(growths)) if k not in merged]
    cumulative = log_time(information, alpha)
    upper = boundaries(information, cumulative, two_sided=two_sided)
    lower = [-b for b in upper] if two_sided else None
    total = exit_probabilities(information, upper, lower).total
    assert total == pytest.approx(cumulative[-1] if cumulative else 0.0, abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(growths=GROWTHS, drift=st.floats(0.0, 0.1), more=st.floats(1.1, 3.0))
def test_a_larger_harm_is_never_found_later(growths, drift, more):
    information = schedule(growths)
    upper = boundaries(information, log_time(information, 0.05))
    small = np.cumsum(exit_probabilities(information, upper, drift=drift).upper)
    large = np.cumsum(exit_probabilities(information, upper, drift=more * drift).upper)
    # far out in the tail, under a drift, the rule of Simpson is right to a few millionths in all
    assert np.all(large >= small - 1e-5)


@settings(max_examples=30, deadline=None)
@given(growths=GROWTHS, scale=st.floats(1e-3, 1e3))
def test_only_ratios_of_information_matter(growths, scale):
    information = schedule(growths)
    cumulative = log_time(information, 0.05)
    scaled = boundaries([i * scale for i in information], cumulative)
    assert scaled == pytest.approx(boundaries(information, cumulative), abs=1e-9)


@settings(max_examples=30, deadline=None)
@given(growths=GROWTHS, drift=st.floats(-0.1, 0.1))
def test_both_sides_of_a_symmetric_test_are_mirror_images(growths, drift):
    information = schedule(growths)
    upper = boundaries(information, log_time(information, 0.05), two_sided=True)
    lower = [-b for b in upper]
    one = exit_probabilities(information, upper, lower, drift=drift)
    other = exit_probabilities(information, upper, lower, drift=-drift)
    assert one.upper == pytest.approx(other.lower, abs=1e-9)


def test_a_state_that_was_stored_and_read_gives_the_same_boundaries_as_one_that_was_not():
    information = schedule([1.02, 1.5, 1.02, 1.3, 1.1])
    cumulative = log_time(information, 0.00625)
    uninterrupted = boundaries(information, cumulative)
    progress, resumed = Progress(), []
    for now, alpha in zip(information, cumulative, strict=True):
        stored = (progress.grid.tolist(), progress.mass.tolist())
        progress = Progress(
            progress.information, progress.spent, np.array(stored[0]), np.array(stored[1])
        )
        bound, progress = look(progress, now, alpha)
        resumed.append(bound)
    assert resumed == pytest.approx(uninterrupted, abs=1e-8)


CURVES = {
    "reserve": {"tau": 0.01},
    "log_time": {"tau": 0.01},
    "horizon_free": {},
    "obrien_fleming": {},
    "pocock": {},
    "kim_demets": {"power": 2.0},
    "hwang_shih_decani": {"gamma": -4.0},
}


def spent_by(name, information, alpha, *, two_sided):
    horizon = information[-1] / 1.2  # the last look is past the plan

    def curve(t, level):
        return spending.CURVES[name](t, level, **CURVES[name])

    if two_sided:
        return [spending.two_sided(curve, i / horizon, alpha) for i in information]
    return [curve(i / horizon, alpha) for i in information]


def test_every_curve_is_held_to_the_properties():
    assert set(CURVES) == set(spending.CURVES)


@pytest.mark.parametrize("name", CURVES)
@settings(max_examples=10, deadline=None)
@given(
    growths=st.lists(st.floats(1.02, 3.0), min_size=2, max_size=8),
    alpha=ALPHAS,
    two_sided=st.booleans(),
    stop=st.integers(1, 8),
)
def test_a_test_that_is_stored_and_resumed_is_the_one_that_never_stopped(
    name, growths, alpha, two_sided, stop
):
    information = schedule(growths)
    cumulative = spent_by(name, information, alpha, two_sided=two_sided)
    following = [*information[1:], None]
    progress, whole = Progress(), []
    stored = None
    for k, (now, a, after) in enumerate(zip(information, cumulative, following, strict=True)):
        if k == min(stop, len(growths)):
            state = (
                progress.information,
                progress.spent,
                *map(list, (progress.grid, progress.mass)),
            )
            stored = json.dumps(state)
        bound, progress = look(progress, now, a, two_sided=two_sided, next_information=after)
        whole.append(bound)
    i, spent, grid, mass = json.loads(stored)
    progress, k = Progress(i, spent, np.array(grid), np.array(mass)), min(stop, len(growths))
    resumed = []
    for now, a, after in zip(information[k:], cumulative[k:], following[k:], strict=True):
        bound, progress = look(progress, now, a, two_sided=two_sided, next_information=after)
        resumed.append(bound)
    assert resumed == whole[k:]  # bit for bit
    lower = [-b for b in whole] if two_sided else None
    exits = exit_probabilities(information, whole, lower)
    assert exits.total == pytest.approx(cumulative[-1], abs=1e-9)
    if two_sided:
        assert exits.upper == pytest.approx(exits.lower, abs=1e-12)


def test_a_grid_that_does_not_know_the_next_look_is_fine_enough_for_growth_of_two_percent():
    information = [50.0 * 1.02**k for k in range(120)]
    cumulative = log_time(information, 0.00625)
    progress, ignorant = Progress(), []
    for now, alpha in zip(information, cumulative, strict=True):
        bound, progress = look(progress, now, alpha)
        ignorant.append(bound)
    progress, fine = Progress(), []
    for now, alpha in zip(information, cumulative, strict=True):
        bound = solve_boundary(progress, now, alpha)
        progress, _, _ = advance(progress, now, bound, spacing=0.01)
        fine.append(bound)
    assert ignorant == pytest.approx(fine, abs=1e-4)


def test_the_first_boundary_is_the_normal_quantile():
    bound, progress = look(Progress(), 80.0, 0.003)
    assert bound == pytest.approx(float(ndtri(1 - 0.003)), abs=1e-10)
    assert progress.spent == pytest.approx(0.003, abs=1e-14)
    assert float(progress.mass.sum()) == pytest.approx(0.997, abs=1e-7)


def test_a_look_with_nothing_left_to_spend_cannot_cross_and_changes_no_error():
    first, progress = look(Progress(), 100.0, 0.01)
    second, after = look(progress, 120.0, 0.01)
    assert math.isfinite(first)
    assert second == math.inf
    assert after.spent == progress.spent
    third, last = look(after, 150.0, 0.02)
    assert math.isfinite(third)
    assert last.spent == pytest.approx(0.02, abs=1e-12)


def test_information_that_does_not_grow_is_refused_with_what_to_do():
    _, progress = look(Progress(), 100.0, 0.01)
    with pytest.raises(ValueError, match="information must grow from look to look"):
        look(progress, 100.0, 0.02)


def test_exit_probabilities_are_those_of_simulated_paths():
    information = [50.0, 75.0, 120.0, 200.0]
    upper = boundaries(information, log_time(information, 0.1))
    drift = 0.15
    rng = np.random.default_rng(20260302)
    steps = np.diff([0.0, *information])
    paths = np.cumsum(rng.normal(drift * steps, np.sqrt(steps), (400_000, 4)), axis=1)
    crossed = paths / np.sqrt(information) >= upper
    simulated = [float((crossed[:, k] & ~crossed[:, :k].any(axis=1)).mean()) for k in range(4)]
    exits = exit_probabilities(information, upper, drift=drift)
    assert exits.upper == pytest.approx(simulated, abs=4 * math.sqrt(0.25 / 400_000))
