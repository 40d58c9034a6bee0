"""The reading half of a check: cells and queries in, findings out.

What one source cannot answer is an error of the guardrails that need it, and of no other.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from experiments.repository import TreatmentRecord
from guardrails.decide import events_stopped, query_failed
from guardrails.judge import judge
from guardrails.judge_query import QueryWatch, Series, judge_query, not_yet, unanswered
from guardrails.loaded import Loaded
from guardrails.outcome import Finding
from guardrails.repository import Monitor
from guardrails.settings import QueryError, QuerySource
from metrics.cells import Snapshot
from metrics.store import Frame, MetricStore

logger = logging.getLogger("turnback.check")


def read_cells(store: MetricStore, frame: Frame, *, at: datetime) -> tuple[Snapshot | None, str]:
    """Return the cells at an instant, or ``None`` and why they cannot be read."""
    try:
        return store.snapshot(frame, now=at), ""
    except Exception as error:  # whatever an engine raises: blindness is an outcome, no crash
        logger.exception("%s: the store could not be read", frame.experiment)
        return None, str(error) or type(error).__name__


def judge_all(
    loaded: Loaded,
    treatments: Mapping[str, TreatmentRecord],
    monitors: Mapping[tuple[str, str, int], Monitor],
    snapshot: Snapshot | None,
    failure: str,
    *,
    since: datetime,
    at: datetime,
    source: QuerySource | None,
) -> tuple[Finding, ...]:
    """Return the finding of every guardrail and live treatment.

    Args:
        loaded: The revision.
        treatments: Newest attempts by variant.
        monitors: Where each (guardrail, treatment, attempt) stood at the last check.
        snapshot: The cells, ``None`` when they could not be read.
        failure: Why not.
        since: When the experiment started.
        at: Instant of the check.
        source: Answers named queries, ``None`` where there is none.
    """
    live = {v: t for v, t in treatments.items() if t.state == "live"}
    watches = [watch for watch in loaded.queries if watch.treatment in live]
    return (
        *_compared(loaded, live, monitors, snapshot, failure, since=since),
        *ask_all(watches, source, at=at, since={v: t.since for v, t in live.items()}),
    )


def _compared(
    loaded: Loaded,
    live: Mapping[str, TreatmentRecord],
    monitors: Mapping[tuple[str, str, int], Monitor],
    snapshot: Snapshot | None,
    failure: str,
    *,
    since: datetime,
) -> list[Finding]:
    stopped = snapshot is not None and _stopped(snapshot, loaded.settle, since)
    findings: list[Finding] = []
    for comparison in loaded.comparisons:
        treatment = live.get(comparison.treatment)
        if treatment is None:
            continue
        if snapshot is None:
            findings.append(
                query_failed(comparison.guardrail, comparison.kpi, comparison.treatment, failure)
            )
            continue
        monitor = monitors.get((comparison.guardrail, comparison.treatment, treatment.attempt))
        findings.append(
            judge(
                snapshot,
                comparison,
                monitor.states if monitor is not None else {},
                first_phase=treatment.first_phase,
                events_stopped=stopped,
            )
        )
    return findings


def ask_all(
    watches: Sequence[QueryWatch],
    source: QuerySource | None,
    *,
    at: datetime,
    since: Mapping[str, datetime],
) -> list[Finding]:
    """Return the finding of every query; one that treatments share is asked once.

    Never raises: a source that fails is an error of the guardrails it was asked for. Before a
    treatment was served for the whole ``hold`` there is nothing to judge it by.

    Args:
        watches: Queries of live treatments.
        source: Answers them.
        at: Instant of the check.
        since: Since when each treatment is served.
    """
    answers: dict[tuple[str, timedelta, timedelta], Series | str] = {}
    findings: list[Finding] = []
    for watch in watches:
        if watch.text is None:
            message = f"the service's settings have no query `{watch.query}`"
            findings.append(unanswered(watch, message))
            continue
        key = (watch.text, watch.hold, watch.step)
        if key not in answers:
            answers[key] = _asked(watch, watch.text, source, at=at)
        answer = answers[key]
        if isinstance(answer, str):
            findings.append(unanswered(watch, answer))
        elif at - watch.hold < since[watch.treatment]:
            findings.append(not_yet(watch))
        else:
            findings.append(judge_query(watch, answer))
    return findings


def _asked(
    watch: QueryWatch, text: str, source: QuerySource | None, *, at: datetime
) -> Series | str:
    """Return the answer, or why there is none."""
    if source is None:
        return "the service has no Prometheus"
    try:
        return source.values(text, start=at - watch.hold, stop=at, step=watch.step)
    except QueryError as error:
        logger.info("%s: %s", watch.guardrail, error)
        return str(error)
    except Exception as error:  # whatever a source raises: blindness is an outcome, no crash
        logger.exception("%s: the query failed", watch.guardrail)
        return f"the query failed ({type(error).__name__})"


def _stopped(snapshot: Snapshot, settle: timedelta, since: datetime) -> bool:
    reach = snapshot.reach.values()
    newest = max((r.last_event_at for r in reach if r.last_event_at is not None), default=since)
    quiet = snapshot.at - newest
    return events_stopped(
        {variant: r.exposed_since_last_event for variant, r in snapshot.reach.items()},
        events=sum(r.events for r in reach),
        exposed=max(1, sum(r.exposed for r in reach)),
        quiet_for=quiet,
        settle=settle,
    )
