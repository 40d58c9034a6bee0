"""From records and findings to what people are shown. Pure: values in, view objects out."""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from experiments.layers import BUCKETS, width
from experiments.lifecycle import State, possible
from experiments.repository import (
    ExperimentRecord,
    RevisionRecord,
    TransitionRecord,
    TreatmentRecord,
)
from guardrails.decide import frozen_words
from guardrails.denominators import shifts
from guardrails.known import Known
from guardrails.lifts import lift_of
from guardrails.loaded import Loaded
from guardrails.outcome import Finding
from guardrails.present_guardrails import guardrail_views
from guardrails.present_needs import needs
from guardrails.present_run import advice_of, layer_view, ramp_views, waiting_words
from guardrails.standing import paused_since, pointless, standing_of, winner_of
from guardrails.views import (
    ExperimentView,
    KpiView,
    RevisionView,
    RollbackView,
    TransitionView,
    VariantView,
)
from guardrails.words import goal_words
from metrics.catalogue_words import title_of


def experiment_view(known: Known) -> ExperimentView:
    """Return what is shown of an experiment."""
    record, spec = known.record, known.loaded.spec.experiment
    body: Mapping[str, Any] = known.snapshot[1] if known.snapshot is not None else {}
    drafted = record.state == "draft"
    planned = not drafted or record.starts_at is not None
    began = not drafted and not _stopped_as_draft(known)
    ends_at, observe_until = _ends(known) if planned else (None, None)
    shifted = shifts(known.loaded, body, known.treatments)
    guardrails = guardrail_views(known.loaded, known.monitors, known.findings, known.kept)
    standing = standing_of(
        record,
        known.loaded,
        known.treatments,
        known.monitors,
        body.get("exposed", {}),
        suspended=known.suspended is not None,
        now=known.now,
    )
    needed = needs(known, guardrails, shifted, standing, _newest(known))
    return ExperimentView(
        key=record.key,
        title=spec.title,
        owner=spec.owner,
        hypothesis=spec.hypothesis,
        state=record.state,
        mode=spec.mode.value,
        unit=spec.unit,
        seed=record.seed,
        revision=record.revision,
        started_at=record.started_at if began else None,
        ends_at=ends_at,
        observe_until=observe_until,
        traffic=traffic_of(known.loaded, record),
        step=record.step,
        steps=len(known.loaded.steps),
        alpha=spec.alpha,
        check_every=spec.check_every,
        last_check_at=None if drafted else _last_check(record),
        checks=record.checks,
        watermark=record.watermark,
        conflicted=int(body.get("conflicted", 0)),
        goal=_goal(known.loaded),
        variants=_variants(known, body),
        guardrails=guardrails,
        kpis=_kpis(known, body),
        transitions=tuple(transition_view(t) for t in known.transitions),
        rollbacks=_rollbacks(known.treatments),
        denominators=shifted,
        attention=tuple(need.words for need in needed),
        needs=needed,
        starts_at=record.starts_at,
        layer=layer_view(record, known.loaded),
        holdout=record.holdout,
        exposure=spec.exposure.value,
        frozen=None
        if standing.frozen is None or record.state != State.RUNNING or not standing.live
        else frozen_words(standing.frozen),
        ramp=ramp_views(record, known.loaded, standing, _still(known)) if began or drafted else (),
        waiting=waiting_words(record, spec.treatments, standing, _newest(known), known.now),
        actions=possible(
            State(record.state), pointless=pointless(record, known.loaded, known.treatments)
        ),
        advice=advice_of(record, known.transitions),
        shipped=winner_of(record, known.treatments),
        watched=spec.watch,
    )


def _stopping(known: Known) -> TransitionRecord | None:
    """Return what stopped the experiment, ``None`` where it is not stopped."""
    if known.record.state != State.STOPPED:
        return None
    stops = [t for t in known.transitions if t.variant is None and t.after == State.STOPPED]
    return stops[-1] if stops else None


def _stopped_as_draft(known: Known) -> bool:
    stop = _stopping(known)
    return stop is not None and stop.before == State.DRAFT


def _ends(known: Known) -> tuple[datetime | None, datetime | None]:
    """Return the ends of exposures and of observation; those a stop came before never were."""
    ends = known.record.ends_at, known.record.observe_until
    stop = _stopping(known)
    if stop is None:
        return ends
    first, last = (at if at <= stop.at else None for at in ends)
    return first, last


def _last_check(record: ExperimentRecord) -> datetime | None:
    """Return the last check of this run: one before it began was of another seed."""
    at = record.last_tick_at
    return at if at is not None and at >= record.started_at else None


def _goal(loaded: Loaded) -> Mapping[str, Any] | None:
    goal = loaded.spec.experiment.goal
    if goal is None:
        return None
    words = goal_words(loaded.title(goal.kpi), goal.expect, absolute=goal.absolute)
    return {"kpi": goal.kpi, "expect": goal.expect, "absolute": goal.absolute, "words": words}


def _still(known: Known) -> datetime:
    """Return the instant up to which the hold of the current step counts."""
    paused = known.record.state == "paused"
    return paused_since(known.record, known.transitions) if paused else known.now


def _newest(known: Known) -> list[Finding]:
    """Return the newest finding of every guardrail and live treatment."""
    live = {(t.variant, t.attempt) for t in known.treatments.values() if t.state == "live"}
    return [
        replace(m.finding, states=m.states)
        for m in known.monitors
        if (m.treatment, m.attempt) in live
    ]


def traffic_of(loaded: Loaded, record: ExperimentRecord) -> float:
    """Return the share of the audience that takes part now."""
    ramp = loaded.spec.experiment.ramp
    return ramp[min(record.step, len(ramp) - 1)].traffic if ramp else 1.0


def reach_of(record: ExperimentRecord) -> float:
    """Return the share of all units that layer and holdout leave to an experiment."""
    owned = 1.0
    if record.layer is not None:
        owned = width((start, stop) for start, stop in record.layer_buckets) / BUCKETS
    return owned * (1.0 - record.holdout)


def revision_view(record: RevisionRecord) -> RevisionView:
    """Return an applied file as it is shown."""
    return RevisionView(
        record.number, record.sha256, record.source, record.actor, record.at, record.text
    )


def transition_view(record: TransitionRecord) -> TransitionView:
    """Return a change of state as it is shown."""
    return TransitionView(
        id=record.id,
        experiment=record.experiment,
        variant=record.variant,
        before=record.before,
        after=record.after,
        at=record.at,
        actor=record.actor,
        reason=record.reason,
        evidence=record.evidence,
        evaluation=record.evaluation,
    )


def _variants(known: Known, body: Mapping[str, Any]) -> tuple[VariantView, ...]:
    exposed: Mapping[str, int] = body.get("exposed", {})
    open_now = known.record.state == "running"
    winner = winner_of(known.record, known.treatments)
    reached = traffic_of(known.loaded, known.record) * reach_of(known.record)
    views: list[VariantView] = []
    for variant in known.loaded.spec.experiment.variants:
        treatment = known.treatments.get(variant.name)
        state = "control" if treatment is None else treatment.state
        served = open_now and state == "live"
        views.append(
            VariantView(
                name=variant.name,
                state=state,
                weight=variant.weight,
                share=1.0 - known.record.holdout
                if variant.name == winner
                else reached * variant.weight
                if served
                else 0.0,
                exposed=int(exposed.get(variant.name, 0)),
                attempt=1 if treatment is None else treatment.attempt,
                flow=variant.flow,
            )
        )
    rest = 1.0 - sum(v.share for v in views if v.state != "control")
    return tuple(v if v.state != "control" else _with_share(v, round(rest, 10)) for v in views)


def _with_share(view: VariantView, share: float) -> VariantView:
    return VariantView(
        name=view.name,
        state=view.state,
        weight=view.weight,
        share=share,
        exposed=view.exposed,
        attempt=view.attempt,
        flow=view.flow,
    )


def _kpis(known: Known, body: Mapping[str, Any]) -> tuple[KpiView, ...]:
    rows: Sequence[Mapping[str, Any]] = body.get("kpis", ())
    values = {(r["kpi"], r["window"], r["variant"]): _value(r) for r in rows}
    control = known.loaded.spec.experiment.control
    views: list[KpiView] = []
    for row in rows:
        definition = known.loaded.kpis.get(row["kpi"])
        if definition is None:
            continue
        value = values[row["kpi"], row["window"], row["variant"]]
        base = values.get((row["kpi"], row["window"], control))
        lift = _lifted(row, base, value) if row["variant"] != control else {}
        views.append(
            KpiView(
                kpi=row["kpi"],
                title=title_of(definition),
                better=definition.better.value,
                variant=row["variant"],
                window=timedelta(seconds=row["window"]),
                value=value,
                units=row["n"],
                entered=row["entered"],
                effect=lift.get("effect"),
                effect_low=lift.get("effect_low"),
                effect_high=lift.get("effect_high"),
                difference=lift.get("difference"),
                difference_low=lift.get("difference_low"),
                difference_high=lift.get("difference_high"),
            )
        )
    return tuple(views)


def _lifted(
    row: Mapping[str, Any], control: float | None, value: float | None
) -> Mapping[str, float | None]:
    """Return the lift of a treatment with its ends, by the names of `KpiView`.

    Phases weigh alike where there is an interval; checks of before kept none.
    """
    plain = lift_of(control, value)
    for name, kept, of_totals in (
        ("effect", "interval", plain.effect),
        ("difference", "difference", plain.difference),
    ):
        if of_totals is not None:
            middle, low, high = row.get(kept) or (of_totals, None, None)
            return {name: middle, f"{name}_low": low, f"{name}_high": high}
    return {}


def _value(row: Mapping[str, Any]) -> float | None:
    x = int(row["x"])
    return int(row["y"]) / x if x else None


def _rollbacks(treatments: Mapping[str, TreatmentRecord]) -> tuple[RollbackView, ...]:
    return tuple(
        RollbackView(
            variant=t.variant,
            attempt=t.attempt,
            at=t.rolled_back_at,
            verify_after=t.verify_after,
            effective=t.effective,
            rate_before=t.rate_before,
            rate_after=t.rate_after,
        )
        for t in treatments.values()
        if t.rolled_back_at is not None and t.verify_after is not None
    )
