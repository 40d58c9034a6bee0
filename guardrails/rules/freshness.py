"""The rule ``freshness``: events go on arriving, of every arm.

Silence looks like peace: where no failures arrive, none are counted. One arm that falls silent
while the other goes on is a fault of the data, or a page that no longer sends anything. So the rule
alarms when the newest event of a treatment, of control or of both is older than ``max_age``.

It is outside statistics and outside alpha: nothing is proven, and a quiet night is silence too, so
``max_age`` is longer than any normal one. It is judged only while the experiment runs, from when
the treatment is served; exposures alone are no events.

Source: DESIGN 9.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from experiments.language.reading import Key, Record
from experiments.language.types import duration_type
from guardrails.language.kpis import KpiBook
from guardrails.rules.common import DRY_RUN_KEY, Action, id_key, readable, rule_key
from guardrails.rules.watching import Watching, watching_key, watching_values

SHORTEST: Final = timedelta(minutes=1)
LONGEST: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Freshness(Watching):
    """The age of the newest event of every arm.

    Attributes:
        id: ``freshness`` unless the file gives one.
        max_age: How long an arm may be silent.
    """

    rule: ClassVar[str] = "freshness"

    max_age: timedelta


KEYS: Final = (
    rule_key(Freshness.rule, "watches that events go on arriving, of every arm"),
    Key(
        "max_age",
        duration_type(least=SHORTEST, most=LONGEST),
        "How long no event of an arm may arrive; longer than a quiet night.",
        "6h",
        required=True,
    ),
    watching_key(
        Action.HOLD,
        Action.ALERT,
        why="data that are missing prove no harm",
    ),
    DRY_RUN_KEY,
    id_key("events-arrive", default="freshness"),
)

EXAMPLE: Final = {"rule": "freshness", "max_age": "6h"}


def read_freshness(record: Record, _kpis: KpiBook) -> Freshness | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    before = len(record.place.report.problems)
    if not record.has("max_age") or not readable(record, before):
        return None
    return Freshness(
        **watching_values(record, name=Freshness.rule, action=Action.HOLD),
        max_age=record.get("max_age"),
    )
