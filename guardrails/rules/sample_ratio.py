"""The rule ``sample_ratio``: units enter the arms in the planned shares.

An uneven split is a fault of the assignment or of what records exposures (a redirect that loses
people, a crash before the exposure is sent): the arms are no longer alike, and no comparison of
them means what it says. So it marks the run and turns nobody back.

Guarantee: where units are dealt as planned, an alarm of any treatment is raised with probability at
most ``level`` over the whole run, however often one looks. The level is the rule's own and takes
nothing of alpha. Once raised it stays: what was lost does not come back. Each treatment is compared
with control, over the units of its attempt; a resumed one begins anew.

Source: STATISTICS 1(c); Lindon & Malek (2022); DESIGN 9.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar, Final

from experiments.language.amounts import Amount
from experiments.language.reading import Key, Record
from experiments.language.types import percent_type
from guardrails.language.kpis import KpiBook
from guardrails.rules.common import DRY_RUN_KEY, Action, id_key, readable, rule_key
from guardrails.rules.failures import ON_SRM, Then
from guardrails.rules.watching import Watching, watching_key, watching_values
from metrics.stats.sample_ratio import ALPHA


@dataclass(frozen=True, slots=True, kw_only=True)
class SampleRatio(Watching):
    """The units of every treatment compared with control's.

    Attributes:
        id: ``sample_ratio`` unless the file gives one.
        level: Probability of any alarm without a fault, over the whole run, above 0.
    """

    rule: ClassVar[str] = "sample_ratio"

    level: float = ALPHA


KEYS: Final = (
    rule_key(SampleRatio.rule, "watches that units enter the arms in the planned shares"),
    Key(
        "level",
        percent_type(most="5", above=True),
        "Probability of any alarm without a fault, over the whole run; no part of alpha.",
        "0.1%",
        default="0.1%",
    ),
    watching_key(
        Action.HOLD,
        Action.ALERT,
        why="a fault of the assignment is no harm of the treatment",
    ),
    DRY_RUN_KEY,
    id_key("even-split", default="sample_ratio"),
)

EXAMPLE: Final = {"rule": "sample_ratio"}


def read_sample_ratio(record: Record, _kpis: KpiBook) -> SampleRatio | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    if not readable(record, len(record.place.report.problems)):
        return None
    given: Mapping[str, Any] = record.get(ON_SRM.name) or {}
    if "then" in given and record.has("action"):
        record.problem(ON_SRM.name, "says what follows, and `action` does too", "keep one of them")
        return None
    level: Amount | None = record.get("level")
    action = Action.ALERT if given.get("then") == Then.ALERT else Action.HOLD
    return SampleRatio(
        **watching_values(record, name=SampleRatio.rule, action=action),
        level=level.share if level is not None else ALPHA,
    )
