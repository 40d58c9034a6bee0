"""Exact evidence from counts: the beta-binomial mixture.

The likelihood ratio of a rate, averaged over a beta prior centred on the limit, against the
limit itself. No normal approximation: valid from the first event on, whatever the sample size.
That is what the first events of a catastrophe need, long before the arms have 100 units; later
the normal mixture finds the same harm with fewer units where events are common, because this
looks at events alone.

Source:
    STATISTICS 1(a), "Exact, non-asymptotic alternatives"; Robbins (1970); Howard, Ramdas,
    McAuliffe & Sekhon (2021), propositions 6 and 7; Lindon & Malek (2022).
"""

import math
from collections.abc import Callable, Iterable

from scipy.special import betaincc, betaln

from metrics.stats.mixtures import tuned_rho
from metrics.stats.values import Interval, check_level, check_positive

FIRST_EVENTS = 20.0
"""Events of both arms at which the evidence of a catastrophe is sharpest."""

_LEAST_SPREAD = 1e-3
_BISECTIONS = 200
_EDGE = 1e-15


def log_e(
    events: float, trials: float, limit: float, concentration: float, *, one_sided: bool = True
) -> float:
    """Return the log e-value against a rate of ``limit`` (one-sided: of at most ``limit``).

    Guarantee: exact. Where every trial, given those before it, has an event with probability
    ``limit`` (one-sided: at most), it ever reaches ``1 / alpha`` with probability at most
    ``alpha``; the rate may move in time within the limit.

    Args:
        events: Trials with the event.
        trials: All trials.
        limit: Rate, above 0 and below 1.
        concentration: Prior weight of the limit in trials, above 0; see
            ``tuned_concentration``.
        one_sided: Prior on the rates beyond the limit only.

    Returns:
        0 without trials; ``nan`` for counts that are none (more events than trials, below 0);
        ``-inf`` where nothing speaks for a rate beyond the limit.

    Raises:
        ValueError: A limit that is no rate, a concentration that is not above 0.
    """
    check_level("limit", limit)
    check_positive("concentration", concentration)
    if not 0.0 <= events <= trials < math.inf:
        return math.nan
    if trials <= 0.0:
        return 0.0
    a, b = concentration * limit, concentration * (1.0 - limit)
    ratio = float(betaln(a + events, b + trials - events) - betaln(a, b))
    if one_sided:
        above, before = betaincc(a + events, b + trials - events, limit), betaincc(a, b, limit)
        if not above > 0.0:
            return -math.inf
        ratio += math.log(above) - math.log(before)
    return ratio - events * math.log(limit) - (trials - events) * math.log1p(-limit)


def tuned_concentration(trials: float, alpha: float, *, one_sided: bool) -> float:
    """Return the prior weight that makes the evidence sharpest after ``trials``.

    Args:
        trials: Where it matters, not the end.
        alpha: Level it is tuned for; the evidence is valid at any.
        one_sided: Tune the one-sided mixture.

    Raises:
        ValueError: Trials that are not above 0, a level that is none.

    Source:
        confseq: the normal mixture's tuning less one trial, at least .001.
    """
    check_positive("trials", trials)
    rho = tuned_rho(trials, alpha, one_sided=one_sided)
    return max(rho - 1.0, _LEAST_SPREAD)


def score_bound(
    trials: float, limit: float, alpha: float, concentration: float, *, one_sided: bool
) -> float:
    """Return the excess of events over ``trials * limit`` that is evidence of ``1 / alpha``.

    Guarantee: as ``log_e``, whose root it is.

    Args:
        trials: All trials.
        limit: Rate, above 0 and below 1.
        alpha: Probability of ever being beyond it wrongly.
        concentration: Prior weight in trials, above 0.
        one_sided: As in ``log_e``.

    Returns:
        ``nan`` without trials, and where even an event in every trial is not enough.

    Raises:
        ValueError: A limit or a level that is none, a concentration that is not above 0.
    """
    check_level("limit", limit)
    check_positive("concentration", concentration)
    check_level("alpha", alpha)
    expected, needed = trials * limit, -math.log(alpha)

    def short(excess: float) -> bool:
        events = min(expected + excess, trials)
        return log_e(events, trials, limit, concentration, one_sided=one_sided) < needed

    if not trials > 0.0 or short(trials - expected):
        return math.nan
    return _bisect(short, 0.0, trials - expected)


def rate_sequence(
    events: float,
    trials: float,
    *,
    alpha: float,
    trials_opt: float,
    tuned_for: float | None = None,
) -> Interval:
    """Return the rates that the counts do not exclude, valid at every look and exact.

    Guarantee: over all looks together a constant true rate is ever outside with probability at
    most ``alpha``.

    Args:
        events: Trials with the event.
        trials: All trials.
        alpha: Probability that the true rate is ever outside.
        trials_opt: Trials at which it is tightest, chosen before data arrive.
        tuned_for: Level it is tightest for, ``alpha`` by default.

    Returns:
        ``(nan, 0, 1)`` without trials, ``nan`` for counts that are none.

    Raises:
        ValueError: An ``alpha`` that is no level.
    """
    check_level("alpha", alpha)
    level = alpha if tuned_for is None else tuned_for
    concentration = tuned_concentration(trials_opt, level, one_sided=False)
    if not 0.0 <= events <= trials < math.inf:
        return Interval(math.nan, math.nan, math.nan)
    if trials == 0.0:
        return Interval(math.nan, 0.0, 1.0)
    needed, seen = -math.log(alpha), events / trials

    def excluded(rate: float) -> bool:
        if not 0.0 < rate < 1.0:
            return True
        return log_e(events, trials, rate, concentration, one_sided=False) >= needed

    low = 0.0 if events == 0.0 or not excluded(_EDGE) else _bisect(excluded, 0.0, seen)
    high = 1.0 if events == trials or not excluded(1.0 - _EDGE) else _bisect(excluded, 1.0, seen)
    return Interval(seen, low, high)


def _bisect(outside: Callable[[float], bool], start: float, end: float) -> float:
    """Return where ``outside`` ends between ``start`` (it holds) and ``end`` (it does not)."""
    for _ in range(_BISECTIONS):
        middle = 0.5 * (start + end)
        if middle in (start, end):
            break
        if outside(middle):
            start = middle
        else:
            end = middle
    return end


def catastrophe_log_e(
    treatment_events: float,
    control_events: float,
    share: float,
    *,
    alpha: float,
    worse: float = 1.0,
    sharpest_at: float = FIRST_EVENTS,
) -> float:
    """Return the log e-value against "an event is at most ``worse`` times as likely in treatment".

    Every event fell into an arm by the random assignment: were the treatment harmless, it would be
    the treatment's with probability ``share``. So the events are counted, never the units: no
    model of the rate, which may jump with the hour or an outage that meets both arms alike.

    Guarantee: exact from the first event, at every look. Not valid where units were not assigned
    at random with this share, where an event can hit a unit twice (count units with an event),
    or where arms are exposed or recorded differently (see ``sample_ratio``).

    Args:
        treatment_events: Units of the treatment with the event.
        control_events: Units of control with the event.
        share: Of the treatment among both arms' units, above 0 and below 1.
        alpha: Level it is tuned for; the evidence is valid at any.
        worse: Ratio of rates still tolerated, above 0.
        sharpest_at: Events of both arms at which it is sharpest.

    Returns:
        0 without events: nothing is known; ``nan`` for counts below 0.

    Raises:
        ValueError: A share that is none, parameters that are not above 0.
    """
    check_level("share", share)
    check_positive("worse", worse)
    limit = worse * share / (worse * share + 1.0 - share)
    concentration = tuned_concentration(sharpest_at, alpha, one_sided=True)
    if not (treatment_events >= 0.0 and control_events >= 0.0):
        return math.nan
    events = treatment_events + control_events
    return log_e(treatment_events, events, limit, concentration, one_sided=True)


def catastrophe_log_e_of_phases(
    phases: Iterable[tuple[float, float, float]],
    *,
    alpha: float,
    worse: float = 1.0,
    sharpest_at: float = FIRST_EVENTS,
) -> float:
    """Return the evidence over phases with shares of their own: their product is an e-process.

    Args:
        phases: (treatment events, control events, treatment's share) of the units that entered
            in each.
        alpha: As in ``catastrophe_log_e``.
        worse: As there.
        sharpest_at: As there, of each phase.

    Returns:
        0 without phases, ``nan`` where the counts of one are none.
    """
    return math.fsum(
        catastrophe_log_e(t, c, share, alpha=alpha, worse=worse, sharpest_at=sharpest_at)
        for t, c, share in phases
    )
