"""Alpha-spending curves: how much error a sequential test may have used by now.

Every curve is a function ``(t, alpha) -> cumulative alpha`` of the information
fraction ``t`` (information now / planned information): nondecreasing, 0 at 0. A
curve with a parameter takes it as a keyword. A new curve is one function here
and one line in ``CURVES``.

All are one-sided totals; a symmetric two-sided test spends half of its alpha on
each side, see ``two_sided``. Log-time, horizon-free and reserve are our own
derivations and rest on the project's simulations.

Source:
    STATISTICS 1(b); Lan & DeMets (1983); Kim & DeMets (1987); Hwang, Shih &
    DeCani (1990).
"""

import math
from collections.abc import Callable, Mapping

from scipy.special import ndtr, ndtri

from metrics.stats.values import check_positive

Curve = Callable[..., float]
"""``(t, alpha, **parameters) -> cumulative alpha``."""

RESERVE = 0.1
"""Share of alpha the default curve keeps for information past the plan."""


def log_time(t: float, alpha: float, *, tau: float) -> float:
    """Spend equal alpha per e-fold of information: the time of a harm is scale-free.

    Guarantee: ``alpha`` in all, at any looks; a plan ten times too long costs about 13% more
    units, no error.

    Args:
        t: Information fraction, 0 or more; nothing more is spent past 1.
        alpha: One-sided total.
        tau: Fraction at which spending begins in earnest (first information /
            planned information), above 0; ``1 / (e - 1)`` is Pocock's curve.

    Returns:
        0 without information, ``nan`` where it is no number.

    Raises:
        ValueError: A ``tau`` that is not above 0.

    Source: ours.
    """
    check_positive("tau", tau)
    return alpha * math.log1p(min(max(t, 0.0), 1.0) / tau) / math.log1p(1.0 / tau)


def reserve(t: float, alpha: float, *, tau: float, kept: float = RESERVE) -> float:
    """Spend by log-time up to the plan and keep a reserve beyond it: the default curve.

    ``(1 - kept) alpha`` by ``t = 1``; past it ``kept alpha L / (1 + L)`` more with
    ``L = ln t``, so running longer than planned never blocks testing and the total
    never exceeds ``alpha``.

    Guarantee: ``alpha`` in all, at any information; ``(1 - kept) alpha`` by the plan.

    Args:
        t: Information fraction, 0 or more; may pass 1.
        alpha: One-sided total, approached but never reached.
        tau: As for ``log_time``.
        kept: Share of alpha kept for information past the plan, 0 to 1.

    Returns:
        0 without information, ``alpha`` at infinity, ``nan`` where it is no number.

    Raises:
        ValueError: A ``tau`` that is not above 0, a share that is none.

    Source: ours.
    """
    if not 0.0 <= kept <= 1.0:
        raise ValueError(f"kept must lie from 0 to 1, got {kept!r}")
    spent = log_time(t, (1.0 - kept) * alpha, tau=tau)
    if t <= 1.0:
        return spent
    if math.isinf(t):
        return alpha
    past = math.log(t)
    return spent + kept * alpha * past / (1.0 + past)


def horizon_free(ratio: float, alpha: float, *, h: float = 1.0) -> float:
    """Spend without any planned end: ``alpha L / (1 + L)``, ``L = ln(1 + ratio) / h``.

    Args:
        ratio: Information now / information of the harm one cares about.
        alpha: One-sided total, approached but never reached.
        h: Speed, above 0; smaller spends earlier.

    Returns:
        0 without information, ``alpha`` at infinity, ``nan`` where it is no number.

    Raises:
        ValueError: An ``h`` that is not above 0.

    Source: ours.
    """
    check_positive("h", h)
    if ratio == math.inf:
        return alpha
    grown = math.log1p(max(ratio, 0.0)) / h
    return alpha * grown / (1.0 + grown)


def obrien_fleming(t: float, alpha: float) -> float:
    """Return ``2 - 2 Phi(z_{1 - alpha/2} / sqrt t)``: nearly all alpha at the end.

    Args:
        t: Information fraction, 0 or more; nothing more is spent past 1.
        alpha: One-sided total.

    Returns:
        0 without information, ``nan`` where it is no number.

    Source: Lan & DeMets (1983).
    """
    if t <= 0.0:
        return 0.0
    return float(2.0 * ndtr(ndtri(alpha / 2.0) / math.sqrt(min(t, 1.0))))


def pocock(t: float, alpha: float) -> float:
    """Return ``alpha ln(1 + (e - 1) t)``: nearly constant boundaries.

    Args:
        t: Information fraction, 0 or more; nothing more is spent past 1.
        alpha: One-sided total.

    Returns:
        0 without information, ``nan`` where it is no number.

    Source: Lan & DeMets (1983).
    """
    return alpha * math.log1p((math.e - 1.0) * min(max(t, 0.0), 1.0))


def kim_demets(t: float, alpha: float, *, power: float) -> float:
    """Return ``alpha t ** power`` (Kim & DeMets): 1 is linear, 3 near O'Brien-Fleming.

    Args:
        t: Information fraction, 0 or more; nothing more is spent past 1.
        alpha: One-sided total.
        power: Above 0; smaller spends earlier.

    Returns:
        0 without information, ``nan`` where it is no number.

    Raises:
        ValueError: A power that is not above 0.

    Source: Kim & DeMets (1987).
    """
    check_positive("power", power)
    return float(alpha * min(max(t, 0.0), 1.0) ** power)


def hwang_shih_decani(t: float, alpha: float, *, gamma: float) -> float:
    """Return ``alpha (1 - e^(-gamma t)) / (1 - e^-gamma)``; ``gamma`` 0 is linear.

    Args:
        t: Information fraction, 0 or more; nothing more is spent past 1.
        alpha: One-sided total.
        gamma: 1 is near Pocock, -4 near O'Brien-Fleming; larger spends earlier.

    Returns:
        0 without information, ``nan`` where it is no number.

    Raises:
        ValueError: A ``gamma`` that is not finite.

    Source: Hwang, Shih & DeCani (1990).
    """
    if not math.isfinite(gamma):
        raise ValueError(f"gamma must be a finite number, got {gamma!r}")
    fraction = min(max(t, 0.0), 1.0)
    if gamma == 0.0:
        return alpha * fraction
    return alpha * math.expm1(-gamma * fraction) / math.expm1(-gamma)


CURVES: Mapping[str, Curve] = {
    "reserve": reserve,
    "log_time": log_time,
    "horizon_free": horizon_free,
    "obrien_fleming": obrien_fleming,
    "pocock": pocock,
    "kim_demets": kim_demets,
    "hwang_shih_decani": hwang_shih_decani,
}
"""Curves by the name a file may give."""


def two_sided(curve: Curve, t: float, alpha: float, **parameters: float) -> float:
    """Return the total spent by a symmetric two-sided test: ``alpha / 2`` on each side.

    Args:
        curve: Of ``CURVES``.
        t: Information fraction.
        alpha: Two-sided total.
        parameters: Of the curve.

    Returns:
        As the curve; the sum of both sides.
    """
    return 2.0 * curve(t, alpha / 2.0, **parameters)
