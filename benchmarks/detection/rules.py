"""Every rule of the comparison by name, in the order of the page."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial

import numpy as np

from benchmarks.detection import evidence as seen
from benchmarks.detection import peers, shipped
from benchmarks.detection.evidence import Array, Draw, Evidence, Setting

OURS = "Turnback, as shipped"


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: On the page.
        statistic: ``ours``, ``theirs``, ``rows`` (events as if independent), ``growthbook``.
        find: Hour of the rollback.
        protection: Against late harm: ``none``, ``Bonferroni``, ``averaged``.
        level: Where it is not the scenario's.
    """

    name: str
    statistic: str
    find: peers.Find
    protection: str = "none"
    level: float | None = None


@dataclass(frozen=True, slots=True)
class WindowRule:
    """A rule that looks at the last hour alone; late harm is all the same to it."""

    name: str
    find: Callable[[Array, Setting], Array]
    protection: str = "its window"


def _pair(name: str, statistic: str, bound: peers.Bound, level: float | None = None) -> list[Rule]:
    plain = peers.by_bound(bound, level=level)
    guarded = peers.by_bound(bound, protected=True, level=level)
    return [
        Rule(name, statistic, plain, level=level),
        Rule(f"{name}, restarts", statistic, guarded, "Bonferroni", level),
    ]


def _e_pair(name: str, statistic: str, log_e: peers.LogE) -> list[Rule]:
    return [
        Rule(name, statistic, peers.by_e_process(log_e)),
        Rule(f"{name}, restarts", statistic, peers.by_e_process(log_e, protected=True), "averaged"),
    ]


RULES: tuple[Rule, ...] = (
    Rule(OURS, "ours", shipped.shipped, "averaged"),
    Rule("Turnback without restarts", "ours", shipped.without_restarts),
    *_pair("repeated z at 5%", "rows", peers.repeated_z, 0.05),
    *_pair("repeated z, Bonferroni over 12", "rows", peers.repeated_z, 0.05 / 12),
    *_e_pair("GrowthBook, default tuning", "growthbook", peers.growthbook),
    *_pair("Statsig mSPRT", "theirs", peers.statsig),
    *_e_pair("normal mixture for 500 an arm", "ours", peers.mixture(500)),
    *_e_pair("normal mixture for 2,000 an arm", "ours", peers.mixture(2000)),
    *(
        rule
        for name, curve in peers.CURVES.items()
        for rule in _pair(name, "ours", peers.group_sequential(curve))
    ),
)

WINDOW_RULES: tuple[WindowRule, ...] = (
    WindowRule("one bad hour (Unleash)", partial(peers.failed_checks, limit=1)),
    WindowRule("three bad hours (Argo Rollouts)", partial(peers.failed_checks, limit=3)),
    WindowRule("ten bad hours (Flagger)", partial(peers.failed_checks, limit=10)),
    WindowRule("five bad hours in a row", partial(peers.failed_checks, limit=5, in_a_row=True)),
)

NAMES: tuple[str, ...] = (*(r.name for r in RULES), *(r.name for r in WINDOW_RULES))
PROTECTION = {r.name: r.protection for r in (*RULES, *WINDOW_RULES)}


def statistics_of(draw: Draw, setting: Setting) -> dict[str, Evidence]:
    """Return the evidence each kind of rule looks at."""
    sides = draw.theirs or draw.ours
    field = seen.theirs(sides, setting)
    return {
        "ours": seen.ours(draw.ours, setting),
        "theirs": field,
        "rows": field if draw.events is None else seen.theirs(draw.events, setting),
        "growthbook": seen.both_vary(field, sides, setting),
    }


def found_by(draws: Iterator[Draw], setting: Setting) -> dict[str, Array]:
    """Return per rule the hour at which the first of some KPIs turns back, ``inf`` for never."""
    found: dict[str, Array] = {}
    for draw in draws:
        evidence = statistics_of(draw, setting)
        hours = {r.name: r.find(setting, evidence[r.statistic]) for r in RULES}
        hours |= {r.name: r.find(draw.window, setting) for r in WINDOW_RULES}
        for name, at in hours.items():
            found[name] = np.minimum(found[name], at) if name in found else at
    return found
