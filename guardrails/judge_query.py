"""Judging the rule ``promql``: samples of a query against a limit. Pure, outside statistics.

Breach when every sample of the span is beyond the limit, pass when none is. Whatever is no
single series of finite numbers without a gap is an error: the query could not be judged.

Source: DESIGN 9.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from guardrails.arms import ALMOST
from guardrails.outcome import Code, Finding, Outcome
from guardrails.rules.common import Side
from guardrails.rules.promql import PromQL, names_variant, query_for
from guardrails.spec_file import SpecFile
from metrics.wording import gettext as _

Series = Sequence[Sequence[tuple[datetime, float]]]
"""What a range query answers: every series as (instant, value)."""

MOST_SAMPLES = 1_000
"""Samples asked of one span at most."""

LEAST_SAMPLES = 2
"""Evaluations a breach needs at least."""


@dataclass(frozen=True, slots=True)
class QueryWatch:
    """One guardrail of rule ``promql`` and treatment, ready to be asked and judged.

    Attributes:
        guardrail: Id of the guardrail.
        query: Name of the query.
        text: Its PromQL for this treatment; ``None`` where the settings have none of that name.
        shared: Whether it asks about the whole service, so all treatments share one answer.
        side: ``rise`` where the limit is a maximum, ``drop`` where it is a minimum.
        limit: The value.
        hold: How long the answer must be beyond it.
        step: Time between two samples.
        treatment: Arm judged.
    """

    guardrail: str
    query: str
    text: str | None
    shared: bool
    side: str
    limit: float
    hold: timedelta
    step: timedelta
    treatment: str

    @property
    def samples(self) -> int:
        """Samples that a span has without a gap: both its ends count."""
        return int(self.hold / self.step) + 1

    def beyond(self, value: float) -> bool:
        """Return whether a value is beyond the limit."""
        return value > self.limit if self.side == "rise" else value < self.limit


def plan_queries(spec: SpecFile, queries: Mapping[str, str]) -> tuple[QueryWatch, ...]:
    """Return what a spec file asks of Prometheus, in the file's order.

    Args:
        spec: The file.
        queries: PromQL by name, from the service's settings.
    """
    every = spec.experiment.check_every
    return tuple(
        _watch(guardrail, queries.get(guardrail.query), treatment, every)
        for guardrail in spec.guardrails
        if isinstance(guardrail, PromQL)
        for treatment in spec.experiment.treatments
    )


def _watch(guardrail: PromQL, text: str | None, treatment: str, every: timedelta) -> QueryWatch:
    hold = guardrail.hold or 2 * every
    step = max(min(every, hold / LEAST_SAMPLES), hold / MOST_SAMPLES)
    return QueryWatch(
        guardrail=guardrail.id,
        query=guardrail.query,
        text=query_for(text, treatment) if text is not None else None,
        shared=text is not None and not names_variant(text),
        side="rise" if guardrail.side is Side.RISE else "drop",
        limit=guardrail.limit,
        hold=hold,
        step=step,
        treatment=treatment,
    )


def judge_query(watch: QueryWatch, series: Series) -> Finding:
    """Judge the answer to a range query over the ``hold`` before a check."""
    trouble = _trouble(watch, series)
    if trouble is not None:
        return unanswered(watch, trouble)
    values = [value for _, value in series[0]]
    count = sum(watch.beyond(value) for value in values)
    if count == len(values):
        outcome, code = Outcome.BREACH, Code.BEYOND_LIMIT
    elif count:
        outcome, code = Outcome.INCONCLUSIVE, Code.NOT_HELD
    else:
        outcome, code = Outcome.PASS, Code.WITHIN_LIMIT
    share = count / len(values)
    return _finding(
        watch,
        outcome,
        code,
        evidence=1.0 if outcome is Outcome.BREACH else min(share, ALMOST),
        value=values[-1],
        samples=len(values),
        beyond=count,
    )


def _trouble(watch: QueryWatch, series: Series) -> str | None:
    """Return in words why an answer cannot be judged, ``None`` where it can."""
    if not series or not any(series):
        return _("`{query}` answers nothing", query=watch.query)
    if len(series) > 1:
        return _(
            "`{query}` answers {number} series, and one is needed",
            query=watch.query,
            number=len(series),
        )
    values = [value for _, value in series[0]]
    strange = next((value for value in values if not math.isfinite(value)), None)
    if strange is not None:
        return _("`{query}` answers {value}, which is no number", query=watch.query, value=strange)
    if len(values) < watch.samples:
        return _(
            "`{query}` has {number} of {samples} samples: there is a gap",
            query=watch.query,
            number=len(values),
            samples=watch.samples,
        )
    return None


def not_yet(watch: QueryWatch) -> Finding:
    """Return the finding while the ``hold`` reaches back to before the treatment was served."""
    return _finding(watch, Outcome.INCONCLUSIVE, Code.NOT_SERVED_YET)


def unanswered(watch: QueryWatch, message: str) -> Finding:
    """Return the finding of a query that could not be asked or judged."""
    return _finding(watch, Outcome.ERROR, Code.SOURCE_FAILED, message=message)


def _finding(
    watch: QueryWatch,
    outcome: Outcome,
    code: Code,
    *,
    evidence: float = 0.0,
    **detail: float | str,
) -> Finding:
    return Finding(
        guardrail=watch.guardrail,
        kpi=None,
        treatment=watch.treatment,
        outcome=outcome,
        code=code,
        evidence=evidence,
        detail={
            "query": watch.query,
            "promql": watch.text or "",
            "limit": watch.limit,
            "side": watch.side,
            "hold_seconds": watch.hold.total_seconds(),
            "shared": watch.shared,
            **detail,
        },
    )
