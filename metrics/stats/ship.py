"""Whether to ship: one success metric better, no guardrail too much worse, nothing harmed.

Read once at the end of a run. The three questions err in different directions, so they are paid
for differently:

* Better: any one of S success metrics is enough (union-intersection), so each is tested at
  ``alpha / S``.
* Not worse than its margin: *every* guardrail must pass (intersection-union), so each is tested
  at the full ``alpha``.
* Worse: any of all metrics stops it; each is tested at ``alpha_worse`` / their number. This is
  the question that is watched while the run goes on, so its p-values must be valid at every look.

Source:
    STATISTICS 1(g); Schultzberg, Ankargren & Frånberg (2024), "Risk-aware product decisions in A/B
    tests with multiple metrics", arXiv:2402.11609. Beta with quality tests is our own union bound.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum

from metrics.stats.values import check_level

_TOLERANCE = 1e-12


class Role(StrEnum):
    """What a metric is for."""

    SUCCESS = "success"
    GUARDRAIL = "guardrail"
    WATCHED = "watched"


class ShipOutcome(StrEnum):
    """Advice, the gravest first."""

    HARMED = "harmed"
    UNTRUSTED = "untrusted"
    UNDEFINED = "undefined"
    NOT_PROVEN = "not_proven"
    SHIP = "ship"


@dataclass(frozen=True, slots=True)
class MetricEvidence:
    """One metric's one-sided p-values; ``nan`` where a test has no answer.

    Attributes:
        name: Of the metric.
        role: What it is for.
        worse: Against "not worse", valid at the look it is read at.
        better: Against "not better"; of success metrics.
        within_margin: Against "worse than its margin"; of guardrails.
    """

    name: str
    role: Role
    worse: float
    better: float = math.nan
    within_margin: float = math.nan


@dataclass(frozen=True, slots=True)
class ShipAdvice:
    """The outcome, and the metrics that make it so.

    Attributes:
        outcome: Only ``SHIP`` is a yes.
        better: Success metrics shown to be better.
        unproven: Guardrails not shown to be within their margin.
        harmed: Metrics shown to be worse.
        undefined: Metrics whose answer is missing where it matters.
    """

    outcome: ShipOutcome
    better: tuple[str, ...]
    unproven: tuple[str, ...]
    harmed: tuple[str, ...]
    undefined: tuple[str, ...]


def ship(
    metrics: Sequence[MetricEvidence],
    *,
    alpha: float = 0.05,
    alpha_worse: float = 0.05,
    trusted: bool,
) -> ShipAdvice:
    """Advise on shipping a treatment at the end of its run.

    Guarantee: a treatment that improves no success metric, or that passes the margin of at least
    one guardrail, is shipped with probability at most ``alpha``, whatever the dependence of the
    metrics. A treatment that harms nothing is called harmed with probability at most
    ``alpha_worse``. Whether a good one is shipped is a matter of power: plan each test with
    ``planned_beta``. Not valid for p-values read at a moment chosen by what was seen, unless
    they are always valid.

    Args:
        metrics: At least one success metric; names differ.
        alpha: Of a wrong "ship".
        alpha_worse: Of a wrong "harmed", over all metrics together.
        trusted: Whether the quality tests passed (sample ratio, exposure).

    Returns:
        Harm shown stands before distrust, distrust before answers that are missing, and those
        before what is not proven.

    Raises:
        ValueError: No success metric, a name given twice, p-values or levels that are none.
    """
    check_level("alpha", alpha)
    check_level("alpha_worse", alpha_worse)
    _check(metrics)
    successes = [m for m in metrics if m.role is Role.SUCCESS]
    guardrails = [m for m in metrics if m.role is Role.GUARDRAIL]
    better = [m for m in successes if m.better <= alpha / len(successes) + _TOLERANCE]
    unproven = [m for m in guardrails if not m.within_margin <= alpha + _TOLERANCE]
    harmed = [m for m in metrics if m.worse <= alpha_worse / len(metrics) + _TOLERANCE]
    undefined = [
        m
        for m in metrics
        if math.isnan(m.worse)
        or (m.role is Role.GUARDRAIL and math.isnan(m.within_margin))
        or (m.role is Role.SUCCESS and not better and math.isnan(m.better))
    ]
    if harmed:
        outcome = ShipOutcome.HARMED
    elif not trusted:
        outcome = ShipOutcome.UNTRUSTED
    elif undefined:
        outcome = ShipOutcome.UNDEFINED
    elif unproven or not better:
        outcome = ShipOutcome.NOT_PROVEN
    else:
        outcome = ShipOutcome.SHIP
    return ShipAdvice(outcome, *(_names(ms) for ms in (better, unproven, harmed, undefined)))


def _names(metrics: Sequence[MetricEvidence]) -> tuple[str, ...]:
    return tuple(m.name for m in metrics)


def _p_values(metric: MetricEvidence) -> Iterator[float]:
    yield from (metric.worse, metric.better, metric.within_margin)


def _check(metrics: Sequence[MetricEvidence]) -> None:
    if not any(m.role is Role.SUCCESS for m in metrics):
        raise ValueError("name at least one success metric: without one nothing can be better")
    names = _names(metrics)
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise ValueError(f"metric {twice} is given twice; give it one role")
    for metric in metrics:
        wrong = next((p for p in _p_values(metric) if p < 0.0 or p > 1.0), None)
        if wrong is not None:
            raise ValueError(f"p-values of {metric.name} must lie from 0 to 1, got {wrong!r}")


def planned_beta(
    beta: float, guardrails: int, *, alpha_worse: float = 0.0, alpha_quality: float = 0.0
) -> float:
    """Return the beta each single test must be planned with, so that all pass together.

    ``(beta - alpha_worse - alpha_quality) / (guardrails + 1)``: the guardrails and the success
    metric must all come out right, and neither a false harm nor a false distrust may interfere.

    Guarantee: a treatment as good as planned is shipped with probability at least ``1 - beta``,
    under any dependence (union bound).

    Args:
        beta: Of the whole decision, above 0 and below 1.
        guardrails: Number of guardrails, 0 or more.
        alpha_worse: Total level of the deterioration tests.
        alpha_quality: Total level of the quality tests.

    Raises:
        ValueError: Nothing is left for the tests.
    """
    check_level("beta", beta)
    left = beta - alpha_worse - alpha_quality
    if guardrails < 0 or not left > 0.0:
        raise ValueError(
            f"beta {beta!r} leaves nothing for {guardrails} guardrails after alpha_worse "
            f"{alpha_worse!r} and alpha_quality {alpha_quality!r}; raise beta or lower those"
        )
    return left / (guardrails + 1)
