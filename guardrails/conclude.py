"""What one check concludes from its inputs. Pure: the service and a replay call the same.

Everything a check reads is in ``Inputs``; what it finds and decides follows from them alone.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from experiments.lifecycle import State
from experiments.repository import ExperimentRecord, TreatmentRecord
from guardrails.advice import advice_to_json, advise, shipped
from guardrails.decide import Decision, decide
from guardrails.judge_alert import ToldAlert
from guardrails.judge_query import Series
from guardrails.loaded import Loaded
from guardrails.look import judge_all
from guardrails.outcome import Finding
from guardrails.repository import Monitor
from guardrails.schedule import frozen
from guardrails.spells import ended_spells, spells_of
from guardrails.standing import standing_of
from metrics.cells import Snapshot


@dataclass(frozen=True, slots=True)
class Inputs:
    """Everything one check decides from.

    Attributes:
        record: Where the experiment stood.
        treatments: Newest attempts by variant.
        phases: Instants at which the units that count changed between arms.
        monitors: Where each (guardrail, treatment, attempt) stood after the last check.
        snapshot: The cells, ``None`` where they could not be read.
        failure: Why not.
        answers: What Prometheus answered by (guardrail, treatment), or why it did not.
        suspended: Whether the engine watches and acts on nothing.
        at: Instant of the check.
        now: When it is done; later where the check is late.
        data_quality: Whether split and double exposures are watched unasked; a check of a version
            that did not is replayed without.
        running_since: When the experiment was last started or continued; ``None`` where no
            deadline of its file asks for it.
        alerts: What Alertmanager told so far and some guardrail asks about.
    """

    record: ExperimentRecord
    treatments: Mapping[str, TreatmentRecord]
    phases: tuple[datetime, ...]
    monitors: Mapping[tuple[str, str, int], Monitor]
    snapshot: Snapshot | None
    failure: str
    answers: Mapping[tuple[str, str], Series | str]
    suspended: bool
    at: datetime
    now: datetime
    data_quality: bool = True
    running_since: datetime | None = None
    alerts: tuple[ToldAlert, ...] = ()


def conclude(loaded: Loaded, inputs: Inputs) -> tuple[tuple[Finding, ...], Decision]:
    """Return what every guardrail finds, and what is done about it."""
    record, snapshot, at = inputs.record, inputs.snapshot, inputs.at
    findings = judge_all(
        loaded,
        inputs.treatments,
        inputs.monitors,
        snapshot,
        inputs.failure,
        record=record,
        answers=inputs.answers,
        at=at,
        alerts=inputs.alerts,
        data_quality=inputs.data_quality,
    )
    reach = snapshot.reach if snapshot is not None else {}
    standing = standing_of(
        record,
        loaded,
        inputs.treatments,
        inputs.monitors.values(),
        {variant: r.exposed for variant, r in reach.items()},
        suspended=inputs.suspended,
        now=at,
    )
    if standing.frozen is None:  # a late check acts now
        standing = replace(standing, frozen=frozen(loaded.spec.experiment.freeze, inputs.now))
    standing = replace(
        standing,
        spells=spells_of(findings, inputs.monitors, inputs.treatments, loaded.rules, at=at),
        ended=ended_spells(findings, inputs.monitors.values(), inputs.treatments, loaded.rules),
        running_since=inputs.running_since,
    )
    decision = decide(findings, standing, now=at)
    if decision.become == State.FINISHED:
        advice = advise(loaded, record, inputs.treatments, snapshot, findings)
        decision = replace(
            decision,
            advice=advice_to_json(advice),
            ship=shipped(loaded, advice, findings) if standing.acting else None,
        )
    return findings, decision
