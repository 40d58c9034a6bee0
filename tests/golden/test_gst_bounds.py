"""Group-sequential boundaries against printed tables, R rpact and R ldbounds."""

import itertools
import json
import math
from pathlib import Path

import pytest
from scipy.special import ndtr, ndtri

from metrics.stats import designs, spending
from metrics.stats.group_sequential import (
    Progress,
    advance,
    boundaries,
    exit_probabilities,
    look,
    solve_boundary,
    spacing_for,
)

GOLDEN = json.loads(Path(__file__).with_name("gst_bounds.json").read_text())
PUBLISHED = GOLDEN["published"]
TOLERANCE = 5e-4
FAR = 6.0  # beyond, tables and programs themselves differ

POCOCK = PUBLISHED["jennison_turnbull_2000_table_2.1_pocock_C_P_two_sided"]
OBRIEN_FLEMING = PUBLISHED["jennison_turnbull_2000_table_2.3_obrien_fleming_C_B_two_sided"]
INFLATION = PUBLISHED["jennison_turnbull_2000_tables_2.2_2.4_inflation_R_two_sided_0.05"]
LAN_DEMETS = PUBLISHED["reboussin_2000_lan_demets_5_equal_looks_two_sided_0.05"]
SAS_POCOCK = PUBLISHED["sas_seqdesign_example_two_sided_K4_alpha0.05_power0.9_altref0.4"]
SAS_SPENDING = PUBLISHED[
    "sas_seqdesign_example_error_spending_K5_one_sided_0.025_obf_alpha_poc_beta"
]
SEQABPY = PUBLISHED["seqabpy_blog_ldbounds"]


def curve(record):
    """Return (t -> cumulative alpha) of a computed spending design."""
    name, gamma, alpha = record["spending"], record.get("gamma"), record["alpha"]
    function, parameters = {
        "asOF": (spending.obrien_fleming, {}),
        "asP": (spending.pocock, {}),
        "asKD": (spending.kim_demets, {"power": gamma}),
        "asHSD": (spending.hwang_shih_decani, {"gamma": gamma}),
    }[name]
    if record["sided"] == 2:
        return lambda t: spending.two_sided(function, t, alpha, **parameters)
    return lambda t: function(t, alpha, **parameters)


def equal(looks):
    return [(k + 1) / looks for k in range(looks)]


def mirrored(upper):
    return [-b for b in upper]


def differences(ours, reference):
    return [
        abs(a - b) for a, b in zip(ours, reference, strict=True) if b is not None and abs(b) < FAR
    ]


@pytest.mark.parametrize("alpha", ["0.01", "0.05", "0.10"])
@pytest.mark.parametrize(
    ("table", "constant"),
    [
        pytest.param(POCOCK, designs.pocock_constant, id="Pocock, table 2.1"),
        pytest.param(OBRIEN_FLEMING, designs.obrien_fleming_constant, id="O'Brien-Fleming, 2.3"),
    ],
)
def test_classical_constants_are_the_printed_ones(table, constant, alpha):
    ours = {looks: constant(int(looks), float(alpha)) for looks in table[f"alpha_{alpha}"]}
    assert len(ours) == 14
    assert ours == pytest.approx(table[f"alpha_{alpha}"], abs=TOLERANCE)


@pytest.mark.parametrize("power", ["0.8", "0.9"])
@pytest.mark.parametrize(("letter", "delta"), [("B", 0.0), ("P", 0.5)])
def test_inflation_factors_are_the_printed_ones(letter, delta, power):
    for looks, printed in INFLATION[f"R_{letter}_power_{power}"].items():
        information = equal(int(looks))
        constant = designs.wang_tsiatis_constant(int(looks), 0.05, delta)
        upper = [constant * t ** (delta - 0.5) for t in information]
        ours = designs.inflation(
            information, upper, mirrored(upper), alpha_side=0.025, power=float(power)
        )
        assert ours == pytest.approx(printed, abs=6e-4), looks


@pytest.mark.parametrize(
    ("name", "function"), [("obf", spending.obrien_fleming), ("pocock", spending.pocock)]
)
def test_lan_demets_boundaries_of_five_looks_are_the_printed_ones(name, function):
    cumulative = [spending.two_sided(function, t, 0.05) for t in equal(5)]
    ours = boundaries(equal(5), cumulative, two_sided=True)
    assert max(differences(ours, LAN_DEMETS[name])) < TOLERANCE


def test_sas_example_of_a_pocock_design():
    information = equal(4)
    upper = [designs.pocock_constant(4, 0.05)] * 4
    lower = mirrored(upper)
    inflation = designs.inflation(information, upper, lower, alpha_side=0.025, power=0.9)
    theta = designs.drift_for_power(information, upper, lower, 0.9)
    asn0 = exit_probabilities(information, upper, lower).expected_information(information)
    asn1 = exit_probabilities(information, upper, lower, drift=theta)
    found = {
        "pocock_max_information_pct_fixed": 100 * inflation,
        "pocock_max_information": theta**2 / 0.4**2,
        "pocock_null_asn_pct_fixed": 100 * inflation * asn0,
        "pocock_alt_asn_pct_fixed": 100 * inflation * asn1.expected_information(information),
    }
    printed = {key: SAS_POCOCK[key] for key in found}
    assert found == pytest.approx(printed, abs=2e-3)


def test_sas_example_with_alpha_and_beta_spending():
    information = equal(5)
    alpha = [spending.obrien_fleming(t, 0.025) for t in information]
    beta = [spending.pocock(t, 0.1) for t in information]
    theta, upper, lower = designs.futility_design(information, alpha, beta)
    fixed = float(ndtri(0.975) + ndtri(0.9)) ** 2
    null = exit_probabilities(information, upper, lower)
    harmed = exit_probabilities(information, upper, lower, drift=theta)
    found = {
        "max_information_pct_fixed": 100 * theta**2 / fixed,
        "max_information_altref0.2": theta**2 / 0.2**2,
        "null_asn_pct": 100 * theta**2 / fixed * null.expected_information(information),
        "alt_asn_pct": 100 * theta**2 / fixed * harmed.expected_information(information),
    }
    printed = {key: SAS_SPENDING[key] for key in found}
    assert found == pytest.approx(printed, abs=5e-4)
    assert math.fsum(null.upper) == pytest.approx(0.025, abs=1e-9)
    assert math.fsum(harmed.lower) == pytest.approx(0.1, abs=1e-9)


@pytest.mark.parametrize(
    ("name", "information", "function", "alpha"),
    [
        ("kim_demets_phi1_alpha0.05_one_sided_quarters", equal(4), "linear", 0.05),
        ("obf_one_sided_0.025_t_0.3_0.6_1.0", [0.3, 0.6, 1.0], "obf", 0.025),
        ("obf_one_sided_0.025_t_0.3_0.6_0.8_1.0", [0.3, 0.6, 0.8, 1.0], "obf", 0.025),
        ("obf_one_sided_0.10_tenths", equal(10), "obf", 0.10),
    ],
)
def test_published_one_sided_examples(name, information, function, alpha):
    curves = {
        "linear": lambda t: spending.kim_demets(t, alpha, power=1.0),
        "obf": lambda t: spending.obrien_fleming(t, alpha),
    }
    ours = boundaries(information, [curves[function](t) for t in information])
    assert max(differences(ours, SEQABPY[name])) < TOLERANCE


def test_the_published_haybittle_peto_example_books_only_its_first_look():
    # the published last boundary is reached when the looks at z = 3 are booked as one
    # look's error; spending what is really left of 5% needs a higher one
    information = equal(4)
    progress = Progress()
    for now, after in itertools.pairwise(information):
        progress, _, _ = advance(progress, now, 3.0, spacing=spacing_for(now, after))
    booked = float(ndtr(-3.0))
    ours = solve_boundary(progress, 1.0, progress.spent + 0.05 - booked)
    published = SEQABPY["haybittle_peto3_one_sided_0.05_quarters_last"]
    assert ours == pytest.approx(published, abs=TOLERANCE)

    honest = designs.haybittle_peto_last(4, 0.05, 3.0)
    assert honest > published
    total = exit_probabilities(information, [3.0, 3.0, 3.0, honest]).total
    assert total == pytest.approx(0.05, abs=1e-9)


CLASSICAL = [r for r in GOLDEN["computed"] if r["design"] != "alpha_spending"]
SPENDING = [r for r in GOLDEN["computed"] if r["design"] == "alpha_spending"]


def test_every_classical_design_of_rpact_is_matched():
    assert len(CLASSICAL) == 113
    for record in CLASSICAL:
        delta = {"pocock": 0.5, "obrien_fleming": 0.0}.get(record["design"], record.get("Delta"))
        two_sided, looks = record["sided"] == 2, record["K"]
        constant = designs.wang_tsiatis_constant(looks, record["alpha"], delta, two_sided=two_sided)
        assert constant == pytest.approx(record.get("final_constant", constant), abs=TOLERANCE)
        upper = [constant * t ** (delta - 0.5) for t in equal(looks)]
        assert max(differences(upper, record["z"])) < TOLERANCE, record["id"]
        lower = mirrored(upper) if two_sided else None
        total = exit_probabilities(equal(looks), upper, lower).total
        assert total == pytest.approx(record["alpha"], abs=1e-9), record["id"]


def figures(information, upper, lower, *, alpha, power, drift):
    """Return inflation and the mean information under the drift, half of it and none."""
    inflation = designs.inflation(information, upper, lower, alpha_side=alpha, power=power)
    found = {"inflation": inflation}
    for name, theta in (("asn_h1", drift), ("asn_h01", drift / 2), ("asn_h0", 0.0)):
        exits = exit_probabilities(information, upper, lower, drift=theta)
        found[name] = inflation * exits.expected_information(information)
    return found


def known(boundaries_of_record):
    """Return boundaries with those beyond the program's range as what they are: none."""
    return [math.inf if b is None else b for b in boundaries_of_record]


WITH_POWER = [r for r in CLASSICAL if "relative_to_fixed" in r]


@pytest.mark.parametrize("looks", sorted({r["K"] for r in WITH_POWER}))
def test_power_and_mean_information_of_classical_designs_are_those_of_rpact(looks):
    for record in (r for r in WITH_POWER if r["K"] == looks):
        information, upper = equal(looks), known(record["z"])
        lower, alpha = mirrored(upper), record["alpha"] / 2
        for name, expected in record["relative_to_fixed"].items():
            power = float(name)
            drift = designs.drift_for_power(information, upper, lower, power)
            ours = figures(information, upper, lower, alpha=alpha, power=power, drift=drift)
            theirs = {key: expected[key] for key in ours}
            assert ours == pytest.approx(theirs, abs=2e-5), (record["id"], name)


@pytest.mark.parametrize("looks", [2, 3, 4, 5, 7, 10])
def test_power_and_stopping_law_of_spending_designs_are_those_of_rpact(looks):
    records = [r for r in SPENDING if "power_80" in r and len(r["info"]) == looks]
    assert len(records) >= 32
    for record in records:
        information, upper, expected = record["info"], known(record["z"]), record["power_80"]
        lower = mirrored(upper) if record["sided"] == 2 else None
        alpha = record["alpha"] / record["sided"]
        drift = designs.drift_for_power(information, upper, lower, 0.8)
        ours = figures(information, upper, lower, alpha=alpha, power=0.8, drift=drift)
        theirs = {key: expected[key] for key in ours}
        assert ours == pytest.approx(theirs, abs=1e-5), record["id"]
        assert drift**2 == pytest.approx(expected["shift"], abs=1e-4), record["id"]
        law = exit_probabilities(information, upper, lower, drift=drift).upper  # the harm's side
        assert law == pytest.approx(expected["cumulative_reject_h1"], abs=1e-5), record["id"]


def test_every_spending_design_of_rpact_is_matched():
    matched = 0
    for record in SPENDING:
        if record.get("z") is None:
            continue
        spent = curve(record)
        cumulative = [spent(t) for t in record["info"]]
        assert cumulative == pytest.approx(record["cumulative_alpha"], abs=2e-8), record["id"]
        two_sided = record["sided"] == 2
        ours = boundaries(record["info"], cumulative, two_sided=two_sided)
        assert max(differences(ours, record["z"])) < TOLERANCE, record["id"]
        total = exit_probabilities(record["info"], ours, mirrored(ours) if two_sided else None)
        assert total.total == pytest.approx(record["alpha"], abs=1e-9), record["id"]
        matched += 1
    assert matched == 256


def test_many_looks_agree_with_ldbounds_within_its_search_tolerance():
    # ldbounds cuts boundaries at 8 and solves each look to about 1e-7 in probability. Where a look
    # spends less than that (O'Brien-Fleming's first ones) its z is noise: looks are compared
    # in probability until an alpha of 1e-3 is spent, and in z from then on.
    compared = 0
    for record in SPENDING:
        if record.get("z") is not None:
            continue
        two_sided, spent = record["sided"] == 2, curve(record)
        progress = Progress()
        information = record["info"]
        for now, after, theirs in zip(
            information, [*information[1:], None], record["z_ldbounds"], strict=True
        ):
            ours, following = look(
                progress, now, spent(now), two_sided=two_sided, next_information=after
            )
            if theirs is not None and theirs < FAR:
                if spent(now) > 1e-3:
                    assert abs(ours - theirs) < TOLERANCE, (record["id"], now)
                    compared += 1
                else:
                    _, above, _ = advance(progress, now, theirs)
                    allowed = (spent(now) - progress.spent) / (2 if two_sided else 1)
                    assert abs(above - allowed) < 5e-7, (record["id"], now)
            progress = following
    assert compared > 500


@pytest.mark.parametrize("scenario", GOLDEN["scenarios"], ids=lambda s: s["name"])
def test_irregular_and_overshooting_schedules_are_matched(scenario):
    information, cumulative = scenario["info"], scenario["cumulative_alpha"]
    ours = boundaries(information, cumulative)
    expected = list(scenario["z"])
    if scenario["name"] == "two looks past the horizon":
        # nothing is left to spend there (the file says so): its number is search noise
        assert cumulative[-1] == cumulative[-2]
        assert math.isinf(ours[-1])
        ours, expected = ours[:-1], expected[:-1]
    assert max(differences(ours, expected)) < 1e-9
    total = exit_probabilities(information[: len(ours)], ours).total
    assert total == pytest.approx(scenario["check_total"], abs=1e-9)


@pytest.mark.parametrize("record", GOLDEN["power"], ids=lambda r: r["name"])
def test_exit_probabilities_under_drift_are_matched(record):
    lower = mirrored(record["z"]) if record["two_sided"] else None
    exits = exit_probabilities(
        record["info"], record["z"], lower, drift=record["drift_at_full_info"]
    )
    per_look = [a + b for a, b in zip(exits.upper, exits.lower, strict=True)]
    assert per_look == pytest.approx(record["exit_prob"], abs=1e-9)
    assert exits.total == pytest.approx(record["power"], abs=1e-9)
    mean = exits.expected_information(record["info"])
    assert mean == pytest.approx(record["expected_info"], abs=1e-9)
