"""Rules a guardrail can follow: one module each, one line in ``RULES``."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from experiments.reading import Key, Record
from guardrails.kpis import KpiBook
from guardrails.rules import regression
from guardrails.rules.regression import Action, Regression, Side

Guardrail = Regression
"""Any guardrail; a union once there are more rules."""


@dataclass(frozen=True, slots=True)
class Rule:
    """How the guardrails of one rule are written.

    Attributes:
        keys: Keys of the spec file.
        read: Record to guardrail; ``None`` after problems were told.
    """

    keys: Sequence[Key]
    read: Callable[[Record, KpiBook], Guardrail | None]


RULES: Final[Mapping[str, Rule]] = {
    Regression.rule: Rule(regression.KEYS, regression.read_regression),
}

LATER: Final = frozenset(
    {"limit", "catastrophe", "sample_ratio", "freshness", "baseline", "promql", "alert"}
)
"""Rules that are known and not supported yet."""

__all__ = ["LATER", "RULES", "Action", "Guardrail", "Regression", "Rule", "Side"]
