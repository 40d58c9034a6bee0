"""Where a run stands, as people are shown it: layer, ramp, what it waits for. Pure."""

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

from experiments.layers import BUCKETS, width
from experiments.lifecycle import OVER, State
from experiments.repository import ExperimentRecord, TransitionRecord
from guardrails.decide import Standing, waiting
from guardrails.loaded import Loaded
from guardrails.outcome import Finding
from guardrails.schedule import too_late
from guardrails.views import LayerView, RampStepView
from guardrails.words import command, instant
from metrics.wording import gettext as _


def layer_view(record: ExperimentRecord, loaded: Loaded) -> LayerView | None:
    """Return the layer of an experiment, ``None`` without one."""
    layer = loaded.spec.experiment.layer
    if layer is None:
        return None
    buckets = tuple((start, stop) for start, stop in record.layer_buckets)
    return LayerView(
        name=layer.name,
        share=layer.share,
        owned=width(buckets) / BUCKETS,
        buckets=buckets,
        released=State(record.state) in OVER,
    )


def ramp_views(
    record: ExperimentRecord, loaded: Loaded, standing: Standing, now: datetime
) -> tuple[RampStepView, ...]:
    """Return every step of the ramp, the current one with what is in.

    A run that takes no more units has no step to come: only those it reached are returned, none
    where it never began.
    """
    running = record.state in {State.RUNNING, State.PAUSED}
    at = min(record.step, len(loaded.steps) - 1)
    views: list[RampStepView] = []
    ramp = loaded.spec.experiment.ramp
    if State(record.state) in {*OVER, State.OBSERVING}:
        ramp = ramp[: at + 1]
    for index, step in enumerate(ramp):
        current = index == at and running
        done = index < at or (index == at and not running and record.state != State.DRAFT)
        left = record.step_since + step.hold - now
        units: Mapping[str, int] = dict(standing.step_units or {})
        views.append(
            RampStepView(
                number=index + 1,
                state="current" if current else "done" if done else "next",
                traffic=step.traffic,
                hold=step.hold,
                min_units=step.min_units,
                approval=step.approval,
                advance=step.advance.value,
                hold_left=max(timedelta(0), left) if current else None,
                units=units if current else None,
                approved=index == record.approved or (step.approval and index < at),
            )
        )
    return tuple(views)


def waiting_words(
    record: ExperimentRecord,
    treatments: Sequence[str],
    standing: Standing,
    findings: Sequence[Finding],
    now: datetime,
) -> str:
    """Return what a run waits for, empty when it is over."""
    match State(record.state):
        case State.DRAFT:
            return _draft_words(record, now)
        case State.PAUSED:
            return _("paused; {command} goes on", command=_code("resume", record.key))
        case State.OBSERVING:
            return _("watches the last units until {at}", at=instant(record.observe_until))
        case State.RUNNING:
            return _running_words(record, treatments, standing, findings, now)
        case _:
            return ""


def _code(action: str, of: str) -> str:
    return f"`{command(action, of)}`"


def _draft_words(record: ExperimentRecord, now: datetime) -> str:
    planned = record.starts_at
    if planned is None:
        ask = _code("start", record.key)
        return _("waits until a person starts it: {command}", command=ask)
    if now < planned:
        return _("starts at {at}", at=instant(planned))
    return _("was to start at {at}", at=instant(planned))


def _running_words(
    record: ExperimentRecord,
    treatments: Sequence[str],
    standing: Standing,
    findings: Sequence[Finding],
    now: datetime,
) -> str:
    if not standing.live:
        which = treatments[0] if len(treatments) == 1 else "VARIANT"
        return _(
            "every treatment is turned back; {again} serves one again, {end} ends it",
            again=_code("resume", f"{record.key} {which}"),
            end=_code("stop", record.key),
        )
    if len(standing.steps) == 1:
        return _("new units come until {at}", at=instant(record.ends_at))
    if record.step + 1 >= len(standing.steps):
        return _("runs at its last step until {at}", at=instant(record.ends_at))
    hold = waiting(findings, standing, now=now)
    if hold is not None and _holds(record, standing, now) and _unapproved(record, standing):
        return _(
            "{hold}; then it wants approval, which may be given ahead of time: {command}",
            hold=hold.words,
            command=_code("approve", record.key),
        )
    if hold is not None:
        return hold.words
    return _("the next step of the ramp follows at the next check")


def wanted(
    record: ExperimentRecord, loaded: Loaded, standing: Standing, now: datetime
) -> tuple[str, ...]:
    """Return what a person is asked to do."""
    if record.state == State.DRAFT:
        return _wanted_of_draft(record, loaded, now)
    last = record.step + 1 >= len(standing.steps)
    if record.state != State.RUNNING or last or not standing.live or standing.shadow:
        return ()
    if _holds(record, standing, now) or not _unapproved(record, standing):
        return ()  # before the hold is over it is said of the ramp: nobody has to do anything yet
    ask = {"step": record.step + 1, "command": _code("approve", record.key)}
    return (_("step {step} of the ramp wants approval: {command}", **ask),)


def _holds(record: ExperimentRecord, standing: Standing, now: datetime) -> bool:
    return standing.acting and now < record.step_since + standing.steps[record.step].hold


def _unapproved(record: ExperimentRecord, standing: Standing) -> bool:
    return standing.steps[record.step].approval and record.approved != record.step


def _wanted_of_draft(record: ExperimentRecord, loaded: Loaded, now: datetime) -> tuple[str, ...]:
    if too_late(loaded.spec.experiment, now):
        return (_("its end passed before it started: apply the file with new dates"),)
    if record.starts_at is None:
        ask = _code("start", record.key)
        return (_("it waits until a person starts it: {command}", command=ask),)
    return ()


def advice_of(
    record: ExperimentRecord, transitions: Sequence[TransitionRecord]
) -> Mapping[str, Any] | None:
    """Return what was recommended when a run was over, ``None`` before that."""
    if record.state != State.FINISHED:
        return None
    ends = [t for t in transitions if t.variant is None and t.after == State.FINISHED]
    advice: Mapping[str, Any] = (ends[-1].evidence or {}).get("advice", {}) if ends else {}
    return {**advice, "decision": f"t{ends[-1].id}"} if advice else None
