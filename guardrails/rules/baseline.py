"""The rule ``baseline``: a KPI stays where it was lately, within so many standard deviations.

An early warning, before anybody cancels or complains: merchants of one category that suddenly take
longer, agents who stop answering. The newest half day of a treatment's units (a cohort of first
exposures: 12 h, or a 28th of a longer run) is held against control's half days of the recent past:
their mean, plus or minus ``sd`` standard deviations between them. Before a half day is full, the
band is wider by as much as fewer units scatter more.

It may only alert. It compares with the past and not with control: a holiday is beyond it, too, and
with 2 standard deviations about one half day in twenty is by chance alone. Nothing is proven, and
it takes nothing of alpha. It is silent until four half days of the past have 20 units each.

A category is a KPI of its own, whose measures count that category alone (``where``).

Source: DESIGN 9; Shewhart (1931), control charts.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from experiments.language.reading import Key, Record
from experiments.language.spec_keys import KPI_NAME
from experiments.language.types import duration_type, number_type
from guardrails.language.kpis import KpiBook
from guardrails.rules.common import DRY_RUN_KEY, HARM, Action, Side, id_key, readable, rule_key
from guardrails.rules.watching import watching_key, watching_values
from metrics.catalogue import Window


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A treatment's newest values compared with control's of the recent past.

    Attributes:
        id: ``KPI-baseline`` unless the file gives one.
        kpi: KPI key.
        side: Movement that is told, ``None``: both, of a KPI for which either may be harm.
        window: The KPI's shortest, which is the soonest.
        sd: Standard deviations that are usual, above 0.
        past: How far back the recent past reaches.
        action: Always ``alert``.
        dry_run: Evaluated, recorded and shown, but tells nobody.
    """

    rule: ClassVar[str] = "baseline"
    weight: ClassVar[float] = 1.0
    acts: ClassVar[bool] = False
    """It takes no part in the alpha."""

    id: str
    kpi: str
    side: Side | None
    window: timedelta
    sd: float
    past: timedelta
    action: Action = Action.ALERT
    dry_run: bool = False

    @property
    def windows(self) -> tuple[Window, ...]:
        """The one window it looks at."""
        return (Window(self.window, 1.0),)


_SD: Final = 2.0
_PAST: Final = timedelta(days=7)

KEYS: Final = (
    rule_key(Baseline.rule, "compares a KPI with its recent past, and may only alert"),
    Key("kpi", KPI_NAME, "KPI it watches.", "flow_dwell_seconds", required=True),
    Key(
        "sd",
        number_type(least=0, most=20, above=True),
        "Standard deviations from the mean of the recent past that are usual.",
        3,
        default="2",
    ),
    Key(
        "past",
        duration_type(least=timedelta(days=2), most=timedelta(days=90)),
        "How far back the recent past reaches.",
        "14d",
        default="7d",
    ),
    watching_key(
        Action.ALERT,
        why="it compares with the past, not with control, so it proves no harm of the treatment",
    ),
    DRY_RUN_KEY,
    id_key("slow-kitchens", default="the KPI's key and `-baseline`"),
)

EXAMPLE: Final = {"rule": "baseline", "kpi": "flow_dwell_seconds", "sd": 3}


def read_baseline(record: Record, kpis: KpiBook) -> Baseline | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    before = len(record.place.report.problems)
    kpi = kpis.find(record)
    if kpi is None or not readable(record, before):
        return None
    return Baseline(
        **watching_values(record, name=f"{kpi.key}-baseline", action=Action.ALERT),
        kpi=kpi.key,
        side=HARM.get(kpi.better),
        window=min(window.length for window in kpi.windows),
        sd=record.get("sd", _SD),
        past=record.get("past", _PAST),
    )
