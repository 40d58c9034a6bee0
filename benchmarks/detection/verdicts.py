"""Who keeps the level, and who of those is faster than we are."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.detection.rules import NAMES, OURS, PROTECTION
from benchmarks.detection.runner import Outcome, Results
from benchmarks.detection.scenarios import Scenario

PLAIN = "Turnback without restarts"
_ERRORS = 3.0  # of a rate above its level
_FASTER = 2.0  # of a difference of means


@dataclass(frozen=True, slots=True)
class Faster:
    """A rule that keeps its level in a scenario and needs fewer units than ours there."""

    scenario: Scenario
    case: str
    rule: str
    theirs: Outcome
    ours: Outcome

    @property
    def share(self) -> float:
        """Share of our units that it saves."""
        theirs, ours = self.theirs.mean_units, self.ours.mean_units
        return 1.0 - theirs / ours if theirs is not None and ours else math.nan


def _fewer(theirs: Outcome, ours: Outcome) -> bool:
    """Tell whether a rule's mean units are fewer than ours by two standard errors."""
    a, b = theirs.mean_units, ours.mean_units
    if a is None or b is None or theirs.mean_se is None or ours.mean_se is None:
        return False
    return a < b - _FASTER * math.hypot(theirs.mean_se, ours.mean_se)


def level_of(scenario: Scenario) -> float:
    """Return the chance of a wrong rollback that is allowed, of all KPIs together."""
    setting = scenario.cases[0].setting
    return setting.level * setting.family


def excess(scenario: Scenario, results: Results, rule: str) -> bool:
    """Tell whether a rule turns back what is harmless more often than its level allows."""
    level = level_of(scenario)
    harmless = [results[c.name][rule] for c in scenario.cases if not c.setting.harmful]
    return any(o.turned - _ERRORS * o.turned_se > level for o in harmless)


def broken(scenarios: Mapping[str, tuple[Scenario, Results]], rule: str) -> list[str]:
    """Return the scenarios in which a rule does not keep its level."""
    return [
        key for key, (scenario, results) in scenarios.items() if excess(scenario, results, rule)
    ]


def worst(scenarios: Mapping[str, tuple[Scenario, Results]], rule: str) -> float:
    """Return the largest rate at which a rule turned back what is harmless."""
    return max(
        (
            results[case.name][rule].turned
            for scenario, results in scenarios.values()
            for case in scenario.cases
            if not case.setting.harmful
        ),
        default=math.nan,
    )


def rivals(of: str) -> list[str]:
    """Return the rules with the same protection against late harm as one of ours."""
    guarded = PROTECTION[of] != "none"
    return [
        name
        for name in NAMES
        if name not in {OURS, PLAIN} and (PROTECTION[name] != "none") == guarded
    ]


def faster(scenarios: Mapping[str, tuple[Scenario, Results]], ours: str) -> list[Faster]:
    """Return every case in which a rule that keeps its level there needs fewer units than ours.

    Means of the units until the rollback (or the end) are compared, two standard errors apart.
    A scenario without a harmless case is judged by that of equal arms.
    """
    found = list[Faster]()
    for scenario, results in scenarios.values():
        judged = scenario, results
        if all(c.setting.harmful for c in scenario.cases):
            judged = scenarios.get("equal", judged)
        for rule in rivals(ours):
            if excess(*judged, rule):
                continue
            for case in scenario.cases:
                theirs, own = results[case.name][rule], results[case.name][ours]
                if case.setting.harmful and _fewer(theirs, own):
                    found.append(Faster(scenario, case.name, rule, theirs, own))
    return found
