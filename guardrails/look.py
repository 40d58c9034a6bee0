"""The reading half of a check: cells and answers in, findings out.

What one source cannot answer is an error of the guardrails that need it, and of no other.
"""

import logging
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta

from experiments.repository import ExperimentRecord, TreatmentRecord
from guardrails.decide import events_stopped, query_failed
from guardrails.judge import Asked, judge_each
from guardrails.judge_alert import ToldAlert, judge_alert
from guardrails.judge_query import Series, judge_query, not_yet, unanswered
from guardrails.judge_sample_ratio import SplitWatch
from guardrails.loaded import Loaded
from guardrails.outcome import Finding
from guardrails.repository import Monitor
from guardrails.watches import judge_watch
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
    record: ExperimentRecord,
    answers: Mapping[tuple[str, str], Series | str],
    at: datetime,
    alerts: Sequence[ToldAlert] = (),
    data_quality: bool = True,
) -> tuple[Finding, ...]:
    """Return the finding of every guardrail and live treatment.

    Args:
        loaded: The revision.
        treatments: Newest attempts by variant.
        monitors: Where each (guardrail, treatment, attempt) stood at the last check.
        snapshot: The cells, ``None`` when they could not be read.
        failure: Why not.
        record: Where the experiment stands.
        answers: What Prometheus answered by (guardrail, treatment), or why it did not.
        at: Instant of the check.
        alerts: What Alertmanager told so far.
        data_quality: Whether the data are watched unasked.
    """
    live = {v: t for v, t in treatments.items() if t.state == "live"}
    return (
        *_compared(loaded, live, monitors, snapshot, failure, since=record.started_at),
        *_queried(loaded, live, answers, at=at),
        *(
            judge_alert(watch, alerts, since=live[watch.treatment].since, at=at)
            for watch in loaded.alerts
            if watch.treatment in live
        ),
        *_watched(
            loaded,
            live,
            monitors,
            snapshot,
            failure,
            running=record.state == "running",
            data_quality=data_quality,
        ),
    )


def _watched(
    loaded: Loaded,
    live: Mapping[str, TreatmentRecord],
    monitors: Mapping[tuple[str, str, int], Monitor],
    snapshot: Snapshot | None,
    failure: str,
    *,
    running: bool,
    data_quality: bool,
) -> list[Finding]:
    """Return the finding of everything that watches the data of a live treatment."""
    findings: list[Finding] = []
    for watch in loaded.watches:
        treatment = live.get(watch.treatment)
        unasked = isinstance(watch, SplitWatch) and not watch.asked
        if treatment is None or (unasked and not data_quality):
            continue
        if snapshot is None:
            findings.append(query_failed(watch.guardrail, None, watch.treatment, failure))
            continue
        monitor = monitors.get((watch.guardrail, watch.treatment, treatment.attempt))
        findings.append(
            judge_watch(
                watch,
                snapshot,
                monitor.states if monitor is not None else {},
                first_phase=treatment.first_phase,
                since=treatment.since,
                running=running,
                doubles=data_quality,
            )
        )
    return findings


def _compared(
    loaded: Loaded,
    live: Mapping[str, TreatmentRecord],
    monitors: Mapping[tuple[str, str, int], Monitor],
    snapshot: Snapshot | None,
    failure: str,
    *,
    since: datetime,
) -> list[Finding]:
    comparisons = [each for each in loaded.comparisons if each.treatment in live]
    if snapshot is None:
        return [query_failed(c.guardrail, c.kpi, c.treatment, failure) for c in comparisons]
    stopped, asked = _stopped(snapshot, loaded.settle, since), list[Asked]()
    for comparison in comparisons:
        treatment = live[comparison.treatment]
        monitor = monitors.get((comparison.guardrail, comparison.treatment, treatment.attempt))
        states = monitor.states if monitor is not None else {}
        asked.append(Asked(comparison, states, treatment.first_phase))
    return judge_each(snapshot, asked, events_stopped=stopped)


def _queried(
    loaded: Loaded,
    live: Mapping[str, TreatmentRecord],
    answers: Mapping[tuple[str, str], Series | str],
    *,
    at: datetime,
) -> list[Finding]:
    """Return the finding of every query of a live treatment.

    Before a treatment was served for the whole ``hold`` there is nothing to judge it by.
    """
    findings: list[Finding] = []
    for watch in loaded.queries:
        treatment = live.get(watch.treatment)
        if treatment is None:
            continue
        answer = answers[watch.guardrail, watch.treatment]
        if isinstance(answer, str):
            findings.append(unanswered(watch, answer))
        elif at - watch.hold < treatment.since:
            findings.append(not_yet(watch))
        else:
            findings.append(judge_query(watch, answer))
    return findings


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
