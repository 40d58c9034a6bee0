"""Rules a guardrail can follow: one module each, one line in ``RULES``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from experiments.language.reading import Key, Record
from guardrails.language.kpis import KpiBook
from guardrails.rules import (
    alert,
    baseline,
    catastrophe,
    freshness,
    limit,
    promql,
    regression,
    sample_ratio,
)
from guardrails.rules.alert import Alert
from guardrails.rules.baseline import Baseline
from guardrails.rules.catastrophe import Catastrophe
from guardrails.rules.common import Action, Side, may_turn_back
from guardrails.rules.failures import COMPARED_KEYS, ON_SOURCE_ERROR, ON_SRM
from guardrails.rules.freshness import Freshness
from guardrails.rules.limit import Limit
from guardrails.rules.promql import PromQL
from guardrails.rules.regression import Regression
from guardrails.rules.sample_ratio import SampleRatio

Statistical = Regression | Limit | Catastrophe
"""A guardrail that compares a KPI, at a level."""

Watching = SampleRatio | Freshness | Baseline
"""A guardrail that watches the data: it holds or alerts, and turns nobody back."""

Guardrail = Statistical | PromQL | Alert | Watching
"""Any guardrail: ``rule``, ``id``, ``kpi``, ``windows``, ``action``, ``dry_run``, ``weight`` and
``acts`` (it can roll back, within the alpha) are there whatever its rule."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How the guardrails of one rule are written.

    Attributes:
        keys: Keys of the spec file.
        read: Record to guardrail; ``None`` after problems were told.
        example: An entry as JSON.
    """

    keys: Sequence[Key]
    read: Callable[[Record, KpiBook], Guardrail | None]
    example: Mapping[str, Any]


RULES: Final[Mapping[str, Rule]] = {
    Regression.rule: Rule(
        (*regression.KEYS, *COMPARED_KEYS), regression.read_regression, regression.EXAMPLE
    ),
    Limit.rule: Rule((*limit.KEYS, *COMPARED_KEYS), limit.read_limit, limit.EXAMPLE),
    Catastrophe.rule: Rule(
        (*catastrophe.KEYS, *COMPARED_KEYS), catastrophe.read_catastrophe, catastrophe.EXAMPLE
    ),
    SampleRatio.rule: Rule(
        (*sample_ratio.KEYS, ON_SOURCE_ERROR, ON_SRM),
        sample_ratio.read_sample_ratio,
        sample_ratio.EXAMPLE,
    ),
    Freshness.rule: Rule(
        (*freshness.KEYS, ON_SOURCE_ERROR), freshness.read_freshness, freshness.EXAMPLE
    ),
    Baseline.rule: Rule(
        (*baseline.KEYS, ON_SOURCE_ERROR), baseline.read_baseline, baseline.EXAMPLE
    ),
    PromQL.rule: Rule((*promql.KEYS, ON_SOURCE_ERROR), promql.read_promql, promql.EXAMPLE),
    Alert.rule: Rule(alert.KEYS, alert.read_alert, alert.EXAMPLE),
}

WATCH_RULES: Final = frozenset({SampleRatio.rule, Freshness.rule, Baseline.rule})
"""Rules of guardrails that watch the data."""

LATER: Final[frozenset[str]] = frozenset()
"""Rules that are known and not supported yet."""


def turns_back(guardrail: Guardrail) -> bool:
    """Return whether a breach may turn a treatment back, within the guarantee or outside."""
    return may_turn_back(guardrail.action, dry_run=guardrail.dry_run)


__all__ = [
    "LATER",
    "RULES",
    "WATCH_RULES",
    "Action",
    "Alert",
    "Baseline",
    "Catastrophe",
    "Freshness",
    "Guardrail",
    "Limit",
    "PromQL",
    "Regression",
    "Rule",
    "SampleRatio",
    "Side",
    "Statistical",
    "Watching",
    "turns_back",
]
