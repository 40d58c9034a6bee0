"""Before a run: what its guardrails and its goal can find at the traffic there is. Pure, seeded.

The levels, windows, margins and boundaries are those of the file, made by the functions that
judge with them later; only the data are replaced by what is known of them.

Source: STATISTICS 1(i); DESIGN 8, 9.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

from guardrails.levels import (
    AnyComparison,
    CatastropheComparison,
    Comparison,
    LimitComparison,
    plan_comparisons,
)
from guardrails.planning.baselines import Baselines, Number, typical_baselines
from guardrails.planning.calendar import Calendar, Traffic, plan_calendar
from guardrails.planning.catastrophe import plan_catastrophe
from guardrails.planning.goal import plan_goal
from guardrails.planning.guardrail import Setting, plan_guardrail
from guardrails.planning.limit import plan_limit
from guardrails.planning.values import (
    DroppedWindow,
    Found,
    GoalPlan,
    GuardrailPlan,
    Plan,
    Reached,
)
from guardrails.planning.verdict import verdict_of
from guardrails.planning.warnings import warnings_of
from guardrails.rules import Catastrophe, Guardrail, Limit, Regression
from guardrails.spec_file import SpecFile

PATHS = 4_000
"""Paths behind each guardrail's figures: a probability is known to 1.6 points."""

Progress = Callable[[int, int, str], None]


def plan(
    spec: SpecFile,
    traffic: Traffic,
    baselines: Sequence[Baselines] = (),
    *,
    seed: int = 1,
    paths: int = PATHS,
    progress: Progress | None = None,
) -> Plan:
    """Return what a run of a file can and cannot find.

    Args:
        spec: The file.
        traffic: How many units come.
        baselines: What is known of control's KPIs, the surest first; the typical values that are
            shipped come after them and count as assumptions.
        seed: Of the paths; the same one gives the same plan.
        paths: How many; at least 100.
        progress: Told before the figures of each guardrail and treatment are made: how many are
            made, of how many, and which comes now.
    """
    calendar = plan_calendar(spec.experiment, traffic)
    setting = Setting(
        experiment=spec.experiment,
        kpis=spec.kpis,
        calendar=calendar,
        baselines=(*baselines, typical_baselines()),
        seed=seed,
        paths=max(100, paths),
        held={},
    )
    done = Plan(
        experiment=spec.experiment.key,
        verdict=None,
        units_per_day=Number(traffic.units_per_day, traffic.source),
        ends=calendar.ends,
        observed=calendar.observed,
        units=round(calendar.units),
        by_arm=_by_arm(spec, calendar),
        ramp=calendar.steps,
        guardrails=_guardrails(spec, setting, progress),
        goal=_goals(setting),
        warnings=(),
        seed=seed,
        paths=setting.paths,
    )
    return replace(done, verdict=verdict_of(done, spec), warnings=warnings_of(done, spec))


def _guardrails(
    spec: SpecFile, setting: Setting, progress: Progress | None
) -> tuple[GuardrailPlan, ...]:
    """Return every guardrail by treatment; arms that are alike are planned once."""
    compared = {(c.guardrail, c.treatment): c for c in plan_comparisons(spec)}
    asked = [(g, t) for g in spec.guardrails for t in spec.experiment.treatments]
    found: list[GuardrailPlan] = []
    made: dict[tuple[object, ...], GuardrailPlan] = {}
    for number, (guardrail, treatment) in enumerate(asked):
        if progress is not None:
            progress(number, len(asked), f"{guardrail.id} ({treatment})")
        comparison = compared.get((guardrail.id, treatment))
        unnamed = None if comparison is None else replace(comparison, treatment="")
        key = (guardrail.id, unnamed, setting.weights(treatment))
        if key not in made:
            made[key] = _guardrail(guardrail, treatment, comparison, setting)
        found.append(_of_arm(made[key], treatment))
    return tuple(found)


def _of_arm(found: GuardrailPlan, treatment: str) -> GuardrailPlan:
    """Return what was found of an arm under the name of another that is alike."""
    if found.treatment == treatment:
        return found

    def named(units: Mapping[str, int]) -> dict[str, int]:
        return {treatment if v == found.treatment else v: n for v, n in units.items()}

    def at(moment: Reached | None) -> Reached | None:
        return None if moment is None else replace(moment, by_arm=named(moment.by_arm))

    def harm(one: Found | None) -> Found | None:
        if one is None:
            return None
        return replace(one, median=at(one.median), ninety=at(one.ninety))

    return replace(
        found,
        treatment=treatment,
        windows=tuple(replace(w, units=named(w.units)) for w in found.windows),
        at_margin=harm(found.at_margin),
        at_twice=harm(found.at_twice),
        at_smallest=harm(found.at_smallest),
    )


def _goals(setting: Setting) -> tuple[GoalPlan, ...]:
    spec = setting.experiment
    if spec.goal is None:
        return ()
    return tuple(plan_goal(spec.goal, treatment, setting) for treatment in spec.treatments)


def _by_arm(spec: SpecFile, calendar: Calendar) -> dict[str, int]:
    return {v.name: round(calendar.units * v.weight) for v in spec.experiment.variants}


def _guardrail(
    guardrail: Guardrail, treatment: str, comparison: AnyComparison | None, setting: Setting
) -> GuardrailPlan:
    if isinstance(guardrail, Regression) and isinstance(comparison, Comparison):
        found = plan_guardrail(guardrail, comparison, setting)
    elif isinstance(guardrail, Limit) and isinstance(comparison, LimitComparison):
        found = plan_limit(guardrail, comparison, setting)
    elif isinstance(guardrail, Catastrophe) and isinstance(comparison, CatastropheComparison):
        found = plan_catastrophe(guardrail, comparison, setting)
    else:
        return GuardrailPlan(
            guardrail=guardrail.id,
            rule=guardrail.rule,
            kpi=guardrail.kpi,
            treatment=treatment,
            limit="",
            action=str(guardrail.action.value),
            acts=guardrail.acts,
            level=None,
            unknown=_UNPLANNED.get(guardrail.rule, _UNPLANNED["promql"]),
        )
    kept = {w.length for w in found.windows}
    dropped = tuple(
        DroppedWindow(w.length, closes, _why(closes))
        for w in guardrail.windows
        if w.length not in kept and (closes := setting.closes(w.length)) >= 0.0
    )
    return replace(found, dropped=dropped)


_UNPLANNED = {
    "promql": "outside of statistics: it compares samples with a number",
    "alert": "outside of statistics: somebody else judges, by a rule of their own",
    "sample_ratio": "it watches how units are dealt: it finds no harm, and cannot be planned",
    "baseline": "it compares with the past and proves nothing, so it cannot be planned",
    "freshness": "it watches that events arrive: it finds no harm, and cannot be planned",
}


def _why(closes: float) -> str:
    if closes <= 0.0:
        return "it closes for no unit before the end"
    return f"it closes for {closes:.0%} of the units before the end; 20% are needed"
