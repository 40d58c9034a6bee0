"""Where the effect differs: a scan of segments that does not cry wolf, with honest estimates.

Each segment is compared with the rest of its dimension (an interaction, not "significant here,
not there"); the whole scan is one family with a controlled share of false discoveries; the
estimates shown are pulled towards the common effect by as much as chance explains. It is for
looking; nothing acts on it.

Source:
    STATISTICS 1(k); Benjamini & Hochberg (1995); Wang & Ramdas (2022); DerSimonian & Laird (1986);
    Efron & Morris (1975).
"""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

import numpy as np
import numpy.typing as npt
from scipy.special import ndtr

from metrics.stats.confidence import log_e_value
from metrics.stats.mixtures import tuned_rho
from metrics.stats.multiplicity import benjamini_hochberg, e_bh
from metrics.stats.values import Sample, check_level

Array = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

MIN_UNITS = 200
"""Units a segment needs in the smaller arm."""

MIN_EVENTS = 20.0
"""Events a rate's segment needs in both arms together."""

RATE = 0.1
"""False-discovery rate of a scan."""

SHARPEST_AT = 500.0
"""Effective units of the interaction at which the evidence of a repeated scan is sharpest."""


class SegmentOutcome(StrEnum):
    """What the scan says of one segment."""

    DIFFERENT = "different"
    NOT_SHOWN = "not_shown"
    NOT_ENOUGH_DATA = "not_enough_data"


@dataclass(frozen=True, slots=True)
class Segment:
    """Both arms of one level of one dimension, for one KPI.

    Attributes:
        kpi: Name of the KPI.
        dimension: What splits the units, for instance ``country``; declared beforehand, known
            before exposure. The levels of a dimension do not overlap.
        level: For instance ``DE``.
        control: Its units there.
        treatment: Its units there.
        events: Of both arms together where the KPI is a rate.
        arm: Which treatment it is, where one family holds several.
    """

    kpi: str
    dimension: str
    level: str
    control: Sample
    treatment: Sample
    events: float = math.inf
    arm: str = ""


@dataclass(frozen=True, slots=True)
class Finding:
    """One segment's effect beside the rest of its dimension; ``nan`` where undefined.

    Attributes:
        segment: As given.
        outcome: Whether its effect differs from the rest's.
        effect: Treatment minus control.
        shrunken: The same pulled towards the dimension's common effect; the one to show.
        interaction: ``effect`` minus that of the rest.
        z: ``interaction`` in standard errors.
        adjusted: Its p-value adjusted for the whole scan; ``nan`` for a repeated scan, which
            has none.
    """

    segment: Segment
    outcome: SegmentOutcome
    effect: float
    shrunken: float
    interaction: float
    z: float
    adjusted: float


def scan(
    segments: Sequence[Segment],
    *,
    rate: float = RATE,
    repeated: bool = False,
    tuned_for: int | None = None,
) -> tuple[Finding, ...]:
    """Tell which segments' effects differ from the rest of their dimension.

    Guarantee: of the segments called different, at most ``rate`` are so by chance, in
    expectation over the whole scan (all KPIs, arms and dimensions together). Read once at a planned
    end it needs p-values that do not depend negatively in a harmful way, as those of ordinary
    segments; ``repeated`` holds under any dependence and at any look, and finds less. Not valid
    for segments made up after looking, or that the treatment can change.

    Args:
        segments: Every (kpi, arm, dimension, level) at most once.
        rate: False-discovery rate.
        repeated: Whether somebody may look more than once.
        tuned_for: Of a repeated scan: segments there may come to be, the same at every look;
            as many as there are by default. Levels may come, as long as the effect does not
            decide which: the family grows, and evidence then only counts for less.

    Returns:
        In the order given. Segments below ``MIN_UNITS`` or ``MIN_EVENTS`` have too little data to
        be called anything; they stay in the rest of the others. A scan read once is a family of
        those with enough data, a repeated one of all that were declared.

    Raises:
        ValueError: A rate that is none, a segment given twice.
    """
    check_level("rate", rate)
    names = Counter((s.kpi, s.arm, s.dimension, s.level) for s in segments)
    twice = next((name for name, count in names.items() if count > 1), None)
    if twice is not None:
        named = "/".join(filter(None, twice))
        raise ValueError(f"segment {named} is given twice; levels may not overlap")
    raw: list[_Raw] = [_NOTHING] * len(segments)
    groups: dict[tuple[str, str, str], list[int]] = {}
    for i, segment in enumerate(segments):
        if _known(segment):
            groups.setdefault((segment.kpi, segment.arm, segment.dimension), []).append(i)
    for group in groups.values():
        for i, found in zip(group, _against_the_rest([segments[j] for j in group]), strict=True):
            raw[i] = found if _enough(segments[i]) else _NOTHING
    z = np.array([r.z for r in raw])
    if repeated:
        information, family = np.array([r.information for r in raw]), max(tuned_for or z.size, 1)
        different, adjusted = _repeated(z, information, rate, family)
    else:
        different, adjusted = _once(z, rate)
    return tuple(
        Finding(
            segment,
            _outcome(known=math.isfinite(z[i]), different=bool(different[i])),
            raw[i].effect,
            raw[i].shrunken,
            raw[i].interaction,
            float(z[i]),
            float(adjusted[i]),
        )
        for i, segment in enumerate(segments)
    )


@dataclass(frozen=True, slots=True)
class _Raw:
    effect: float
    shrunken: float
    interaction: float
    z: float
    information: float


_NOTHING = _Raw(math.nan, math.nan, math.nan, math.nan, 0.0)


def _outcome(*, known: bool, different: bool) -> SegmentOutcome:
    if not known:
        return SegmentOutcome.NOT_ENOUGH_DATA
    return SegmentOutcome.DIFFERENT if different else SegmentOutcome.NOT_SHOWN


def _known(segment: Segment) -> bool:
    variance = segment.control.error_squared + segment.treatment.error_squared
    return 0.0 <= variance < math.inf and math.isfinite(
        segment.treatment.mean - segment.control.mean
    )


def _enough(segment: Segment) -> bool:
    units = min(segment.control.n, segment.treatment.n)
    return units >= MIN_UNITS and segment.events >= MIN_EVENTS


def _against_the_rest(group: Sequence[Segment]) -> list[_Raw]:
    """Compare each level with the others, weighted by effective units within levels.

    Differences are formed within levels first: a level with other shares of arms biases nothing.
    """
    n_c = np.array([s.control.n for s in group])
    n_t = np.array([s.treatment.n for s in group])
    m = n_c * n_t / (n_c + n_t)
    effect = np.array([s.treatment.mean - s.control.mean for s in group])
    variance = np.array([s.control.error_squared + s.treatment.error_squared for s in group])
    if len(group) == 1:
        return [_Raw(float(effect[0]), float(effect[0]), math.nan, math.nan, 0.0)]
    enough = np.array([_enough(s) for s in group])
    shown = shrink(np.where(enough, effect, np.nan), variance)
    rest = m.sum() - m
    apart = effect - ((m * effect).sum() - m * effect) / rest
    spread = variance + ((m * m * variance).sum() - m * m * variance) / (rest * rest)
    information = m * rest / (m + rest)
    z = apart / np.sqrt(np.where(spread > 0.0, spread, np.nan))
    columns = (effect, shown, apart, z, information)
    return [_Raw(*(float(c[i]) for c in columns)) for i in range(len(group))]


def _once(z: Array, rate: float) -> tuple[Flags, Array]:
    different, adjusted = np.zeros(z.size, dtype=np.bool_), np.full(z.size, math.nan)
    asked = np.isfinite(z)
    family = benjamini_hochberg(2.0 * ndtr(-np.abs(z[asked])), rate=rate)
    different[asked], adjusted[asked] = family.rejected, family.adjusted
    return different, adjusted


def _repeated(z: Array, information: Array, rate: float, family: int) -> tuple[Flags, Array]:
    # tuned for the number declared: a prior that moved with the data would be no prior
    rho = tuned_rho(SHARPEST_AT, rate / family, one_sided=False)
    different = e_bh(log_e_value(z, information, rho=rho), rate=rate)
    return different, np.full(z.size, math.nan)


def _usable(effect: Array, variance: Array) -> Flags:
    """Return which estimates can be used.

    Raises:
        ValueError: Another number of variances than of effects.
    """
    if effect.ndim != 1 or effect.shape != variance.shape:
        raise ValueError(
            f"give each effect its variance; got shapes {effect.shape} and {variance.shape}"
        )
    return np.isfinite(effect) & np.isfinite(variance) & (variance > 0.0)


def variance_between(effects: npt.ArrayLike, variances: npt.ArrayLike) -> float:
    """Return how much true effects vary beyond chance (DerSimonian-Laird tau squared).

    Guarantee: consistent in the number of effects; with three or four it is rough, and 0 does
    not prove that all are alike.

    Args:
        effects: Estimates, at least two that are finite.
        variances: Of the estimates, above 0.

    Returns:
        0 or more; ``nan`` with fewer than two usable estimates.

    Raises:
        ValueError: Another number of variances than of effects.

    Source:
        statsmodels, ``combine_effects``; DerSimonian & Laird (1986).
    """
    effect, variance = (np.asarray(x, dtype=np.float64) for x in (effects, variances))
    usable = _usable(effect, variance)
    if usable.sum() < 2:  # noqa: PLR2004 - one effect varies from nothing
        return math.nan
    from statsmodels.stats.meta_analysis import (  # noqa: PLC0415 - takes more than a second
        combine_effects,
    )

    # effects that are all alike divide by 0 in its intervals, which are not used
    with np.errstate(divide="ignore", invalid="ignore"):
        found: Any = combine_effects(effect[usable], variance[usable], method_re="chi2")
    return max(float(found.tau2), 0.0)


def shrink(effects: npt.ArrayLike, variances: npt.ArrayLike) -> Array:
    """Pull estimates towards their common mean by as much as chance explains (empirical Bayes).

    ``D + tau^2 / (tau^2 + v) (D_g - D)`` with the precision-weighted mean D.

    Guarantee: on average over segments closer to the truth than the raw estimates; a single
    outlier may be pulled too far. No interval belongs to it.

    Args:
        effects: One-dimensional.
        variances: Of the estimates, above 0.

    Returns:
        ``nan`` where an estimate is unusable; a lone estimate as it is.

    Raises:
        ValueError: Another number of variances than of effects.
    """
    effect, variance = (np.asarray(x, dtype=np.float64) for x in (effects, variances))
    usable = _usable(effect, variance)
    between = variance_between(effect, variance)
    if math.isnan(between):
        return np.where(usable, effect, np.nan)
    known = np.where(usable, variance, 1.0)
    weight = np.where(usable, 1.0 / (between + known), 0.0)
    common = float((weight * np.where(usable, effect, 0.0)).sum() / weight.sum())
    return np.where(usable, common + between / (between + known) * (effect - common), np.nan)
