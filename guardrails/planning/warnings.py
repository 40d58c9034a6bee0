"""What should be known before a run starts: where it cannot protect, in words. Pure."""

from collections.abc import Iterator
from datetime import timedelta

from experiments.spec import Mode
from guardrails.planning.guardrail import POWER
from guardrails.planning.values import GuardrailPlan, Plan, Warned
from guardrails.planning.words import harm_words, span_words
from guardrails.rules import turns_back
from guardrails.spec_file import SpecFile
from guardrails.words import duration, percent
from metrics.stats.comparison import MIN_UNITS

_FAR = 1.5  # planned units may be off by this factor: the boundary hardly notices
_WEEK = timedelta(days=7)
_LONGEST = timedelta(days=3_650)  # what takes longer is told in units alone


def warnings_of(plan: Plan, spec: SpecFile) -> tuple[Warned, ...]:
    """Return what the run cannot do, the most serious first."""
    return (*_run(plan, spec), *_ramp(plan, spec), *_guardrails(plan), *_goal(plan))


def _run(plan: Plan, spec: SpecFile) -> Iterator[Warned]:
    experiment = spec.experiment
    fewest = min(plan.by_arm.values(), default=0)
    if fewest < MIN_UNITS:
        yield Warned(
            "too_few_units",
            "units",
            f"only {fewest:,} units of an arm will come, and no guardrail decides before "
            f"{MIN_UNITS}: nothing protects this run",
        )
    if experiment.mode is Mode.SHADOW:
        yield Warned("shadow", "mode", "mode is shadow: harm is told, nothing is turned back")
    if not any(g.acts for g in plan.guardrails):
        words = "no guardrail can turn a treatment back"
        if any(map(turns_back, spec.guardrails)):
            words += " within the guarantee: only a query of Prometheus may"
        yield Warned("nothing_acts", "guardrails", words)
    if experiment.expect_units is None:
        yield Warned(
            "expect_units",
            "expect_units",
            f"the file says no expect_units; about {plan.units:,} will come: "
            f"`expect_units: {_round(plan.units)}` finds harm sooner",
        )
    elif not plan.units / _FAR <= experiment.expect_units <= plan.units * _FAR:
        yield Warned(
            "expect_units",
            "expect_units",
            f"the file expects {experiment.expect_units:,} units, about {plan.units:,} will come: "
            f"write `expect_units: {_round(plan.units)}`",
        )


def _round(units: int) -> int:
    """Return two significant digits."""
    digits = max(0, len(str(units)) - 2)
    return round(units / 10**digits) * 10**digits


def _ramp(plan: Plan, spec: SpecFile) -> Iterator[Warned]:
    still = spec.experiment.mode is Mode.SHADOW and len(plan.ramp) > 1
    if still:
        traffic = percent(spec.experiment.ramp[0].traffic, digits=2)
        words = f"in shadow mode the ramp stands still: traffic stays {traffic}"
        yield Warned("shadow_ramp", "ramp", words)
    for index, step in enumerate(() if still else plan.ramp):
        about = f"ramp[{index}]"
        if step.begins is None:
            yield Warned(
                "ramp_too_slow",
                about,
                f"the run ends before {percent(step.traffic)} of the traffic is reached",
            )
        for what in step.also:
            words = "a person's approval" if what == "approval" else "proof that nothing is harmed"
            yield Warned(
                f"waits_for_{what}",
                f"ramp[{index - 1}]",  # the step that is left says so in the file
                f"{percent(plan.ramp[index - 1].traffic)} of the traffic is left for "
                f"{percent(step.traffic)} only with {words}; the plan takes it to come in time",
            )
    begins = plan.ramp[-1].begins if plan.ramp else None
    if begins is not None and plan.ends - begins < _WEEK:
        yield Warned(
            "less_than_a_week",
            "ends",
            f"full traffic lasts {duration(plan.ends - begins)}: less than a week misses some of "
            "its days",
        )
    if spec.experiment.freeze and spec.experiment.starts is None:
        yield Warned(
            "freeze", "freeze", "when the run starts is not known, so freezes are not planned"
        )


def _guardrails(plan: Plan) -> Iterator[Warned]:
    for guardrail in plan.guardrails:
        yield from _guardrail(guardrail, plan)


def _guardrail(guardrail: GuardrailPlan, plan: Plan) -> Iterator[Warned]:
    about = f"{guardrail.guardrail} ({guardrail.treatment})"
    if guardrail.unknown:
        if guardrail.level is not None:
            yield Warned("unknown", about, guardrail.unknown)
        return
    for dropped in guardrail.dropped:
        yield Warned(
            "window_dropped",
            about,
            f"its window of {duration(dropped.length)} gets no alpha: {dropped.why}",
        )
    blind = [w for w in guardrail.windows if not w.looks]
    for window in blind:
        units = min(window.units.values(), default=0)
        yield Warned(
            "never_looks",
            about,
            f"over {duration(window.length)} it can never decide: at most {units:,} units of an "
            "arm have a value by the end, or events are too rare",
        )
    yield from _power(guardrail, about, plan)


def _takes(guardrail: GuardrailPlan, plan: Plan) -> str:
    """Return about how many units a harm of the margin takes, empty where nobody can say.

    What is found shrinks with the root of the units: beyond the part that is tolerated.
    """
    if not guardrail.margin or guardrail.smallest is None or guardrail.prove_past is None:
        return ""
    tolerated = guardrail.margin * guardrail.prove_past
    beyond = guardrail.margin - tolerated
    if beyond <= 0.0 or guardrail.smallest <= guardrail.margin:
        return ""
    times = ((guardrail.smallest - tolerated) / beyond) ** 2
    units, rate = times * plan.units, _rate(plan)
    longer = timedelta(days=(units - plan.units) / rate) if rate > 0.0 else None
    if longer is None or longer > _LONGEST:
        return f"A harm of the margin would take about {_round(round(units)):,} units. "
    return (
        f"A harm of the margin would take about {_round(round(units)):,} units, "
        f"{span_words(longer)} more of this traffic. "
    )


def _rate(plan: Plan) -> float:
    """Return the units a day at the end of the run, 0 where none come."""
    steps = [step for step in plan.ramp if step.begins is not None]
    last = steps[-1] if steps else None
    if last is None or last.begins is None or plan.ends <= last.begins:
        return 0.0
    return last.units / ((plan.ends - last.begins) / timedelta(days=1))


def _power(guardrail: GuardrailPlan, about: str, plan: Plan) -> Iterator[Warned]:
    if guardrail.margin == 0.0 and guardrail.acts:
        yield Warned(
            "margin_of_nothing",
            about,
            "it tolerates nothing, so shipping is advised only once this KPI is proven better "
            "than control: a change that leaves it alone is practically never advised to ship",
        )
    if guardrail.margin == 0.0 and guardrail.smallest is None:
        yield Warned(
            "weak",
            about,
            "any harm counts, and none is found by the end in 8 of 10 runs, however large. "
            "Run longer or with more traffic",
        )
    if guardrail.at_margin is None and guardrail.margin:
        yield Warned(
            "impossible",
            about,
            "a harm of the margin is impossible at this value of control: it would be no share",
        )
    judged = guardrail.at_margin or (guardrail.at_twice if guardrail.margin is None else None)
    if judged is not None and judged.probability < POWER:
        harm = (
            "a harm of the margin"
            if guardrail.margin
            else f"a value of {harm_words(guardrail, judged.harm)}"
        )
        can = (
            f"{harm_words(guardrail, guardrail.smallest)}"
            if guardrail.smallest is not None
            else "nothing"
        )
        yield Warned(
            "weak",
            about,
            f"{harm} is found with probability {percent(judged.probability, digits=0)}; with "
            f"{percent(POWER)} it finds {can}. "
            f"{_takes(guardrail, plan)}Run longer, with more traffic, or tolerate more",
        )


def _goal(plan: Plan) -> Iterator[Warned]:
    for goal in plan.goal:
        about = f"goal {goal.kpi} ({goal.treatment})"
        if goal.unknown:
            yield Warned("unknown", about, goal.unknown)
        elif goal.power is not None and goal.power < POWER:
            yield Warned(
                "weak_goal",
                about,
                f"the change hoped for is found with probability {percent(goal.power, digits=0)}: "
                "the run may well end without an answer",
            )
