"""From simulated runs to what is said of them: shares with their errors, times, a verdict. Pure."""

import math
from collections.abc import Iterator, Sequence
from datetime import timedelta

from experiments.spec import Mode
from guardrails.planning.baselines import Number
from guardrails.planning.values import Reached
from guardrails.planning.words import span_words
from guardrails.simulation.design import Case, Harm, Setup
from guardrails.simulation.runs import Breach, Outcomes, Runs
from guardrails.simulation.values import (
    Detected,
    Family,
    Share,
    SimulatedGuardrail,
    SimulatedWindow,
    Simulation,
)
from guardrails.words import limit_words, percent

_BUDGET = 100_000  # windows judged: about half a minute of two cores
_FEWEST, _MOST = 20, 1_000
_PART = 0.7  # of the checks are judged in a run, since harm ends it

CORRELATED = (
    "KPIs are drawn independently of each other; the windows and guardrails of one KPI see the "
    "same units, and all treatments the same control. Correlated KPIs would turn back together, "
    "and so less often"
)


def usual_repetitions(setups: Sequence[Setup]) -> int:
    """Return how many runs of every harm take about half a minute, 20 to 1,000.

    It follows from the experiment alone, so that the same command gives the same numbers on
    every machine.
    """
    judged = 0.0
    for setup in setups:
        checks = len(setup.run.checks())
        judged += sum(
            _PART * checks * sum(len(c.windows) for c in scenario.comparisons)
            for scenario in setup.scenarios()
        )
    fitting = int(_BUDGET / judged) if judged else _MOST
    return max(_FEWEST, min(_MOST, fitting // 10 * 10))


def simulation_of(setup: Setup, runs: Runs, *, seed: int, repetitions: int) -> Simulation:
    """Return what the runs of a setup say.

    Args:
        setup: What was simulated.
        runs: Of its scenarios, in their order.
        seed: Of the runs.
        repetitions: Asked for.
    """
    outcomes = iter(runs.outcomes)
    unharmed = next(outcomes) if setup.family is not None else ()
    family = _family(setup, unharmed)
    guardrails = tuple(_guardrail(case, setup, unharmed, outcomes) for case in setup.cases)
    spec = setup.design.spec
    return Simulation(
        experiment=spec.experiment.key,
        verdict=_verdict(family, guardrails),
        units_per_day=Number(setup.design.traffic.units_per_day, setup.design.traffic.source),
        ends=setup.run.ends,
        observed=setup.run.observed,
        checks=len(setup.run.checks()),
        every_check=setup.wanted.every_check,
        onset=setup.wanted.onset,
        family=family,
        guardrails=guardrails,
        notes=tuple(_notes(setup)),
        seed=seed,
        repetitions=repetitions,
        finished=min((len(one) for one in runs.outcomes), default=0),
        settings=setup.design.settings,
    )


def _family(setup: Setup, unharmed: Sequence[Outcomes]) -> Family | None:
    if setup.family is None:
        return None
    acting = [i for i, c in enumerate(setup.family.comparisons) if c.acts]
    if not acting:
        return None
    names = dict.fromkeys(setup.family.comparisons[i].guardrail for i in acting)
    turned = sum(any(run[i] is not None for i in acting) for run in unharmed)
    return Family(
        turned_back=Share.counted(turned, len(unharmed)),
        alpha=setup.design.spec.experiment.alpha,
        guardrails=tuple(names),
        correlated=CORRELATED,
    )


def _guardrail(
    case: Case, setup: Setup, unharmed: Sequence[Outcomes], outcomes: Iterator[tuple[Outcomes, ...]]
) -> SimulatedGuardrail:
    guardrail, comparison = case.guardrail, case.comparison
    kpi = setup.design.spec.kpis[comparison.kpi] if comparison is not None else None
    harms: list[Detected] = []
    if comparison is not None and setup.family is not None and not case.unknown:
        index = setup.family.comparisons.index(comparison)
        harms.append(_detected(None, [run[index] for run in unharmed], case, setup))
    for harm in case.harms:
        found = next(outcomes) if harm.scenario is not None else ()
        harms.append(_detected(harm, [run[0] for run in found], case, setup))
    return SimulatedGuardrail(
        guardrail=guardrail.id,
        kpi=None if comparison is None else comparison.kpi,
        title=guardrail.id if kpi is None else kpi.title,
        rule=guardrail.rule,
        treatments=case.treatments,
        acts=guardrail.acts,
        limit="" if comparison is None or kpi is None else limit_words(comparison, kpi.title),
        windows=()
        if comparison is None
        else tuple(
            SimulatedWindow(w.length, w.level, case.baselines[w.length]) for w in comparison.windows
        ),
        harms=tuple(harms),
        unknown=case.unknown,
    )


def _detected(
    harm: Harm | None, found: Sequence[Breach | None], case: Case, setup: Setup
) -> Detected:
    onset = setup.wanted.onset if harm is not None else timedelta(0)
    early = sum(b is not None and b.after <= onset for b in found) if onset else 0
    reached = [b for b in found if b is None or b.after > onset]
    turned = sorted(
        (b for b in reached if b is not None), key=lambda b: (b.after, b.units, b.treatment)
    )
    arms = (setup.design.spec.experiment.control, case.treatments[0])
    return Detected(
        words="none" if harm is None else harm.words,
        change=0.0 if harm is None else harm.change.size,
        absolute=harm is not None and harm.change.absolute,
        times=0.0 if harm is None else harm.times,
        tolerated=harm is None or harm.tolerated,
        turned_back=Share.counted(len(turned), len(reached)),
        early=Share.counted(early, len(found)) if onset else None,
        median=_reached(turned, len(reached), 0.5, onset, arms),
        ninety=_reached(turned, len(reached), 0.9, onset, arms),
        impossible=harm is not None and harm.scenario is None,
    )


def _reached(
    turned: Sequence[Breach], of: int, part: float, onset: timedelta, arms: tuple[str, str]
) -> Reached | None:
    number = math.ceil(part * of)
    if not 0 < number <= len(turned):
        return None
    at = turned[number - 1]
    by_arm = dict(zip(arms, (at.control, at.treatment), strict=True))
    return Reached(at.after - onset, at.units, by_arm)


def share_words(share: Share) -> str:
    """Return a share of runs with its standard error: ``42% ± 5``, ``none of 80``."""
    if share.of == 0:
        return "no run"
    if share.count in {0, share.of}:
        return f"{'all' if share.count else 'none'} of {share.of:,}"
    digits = 1 if share.standard_error < 0.01 else 0  # noqa: PLR2004 - a point
    return f"{percent(share.share, digits=digits)} ± {_points(share)}"


def _points(share: Share) -> str:
    digits = 1 if share.standard_error < 0.1 else 0  # noqa: PLR2004 - ten points
    return percent(share.standard_error, digits=digits).removesuffix("%")


def _verdict(family: Family | None, guardrails: Sequence[SimulatedGuardrail]) -> str:
    words = [_family_words(family), _harms_words(guardrails)]
    return " ".join(filter(None, words))


def _family_words(family: Family | None) -> str:
    if family is None:
        return "No guardrail that can be simulated turns a treatment back."
    share = family.turned_back
    if share.of == 0:
        return "No run was finished."
    alpha = f"the file allows {percent(family.alpha, digits=2)}"
    if share.count == 0:
        return (
            f"A treatment that harms nothing was turned back in none of {share.of:,} simulated "
            f"runs (95% sure: in fewer than {percent(share.high)}; {alpha})."
        )
    more = "; that is more" if share.low > family.alpha else ""
    return (
        f"A treatment that harms nothing was turned back in {percent(share.share)} of {share.of:,} "
        f"simulated runs (give or take {_points(share)} points; {alpha}{more})."
    )


def _harms_words(guardrails: Sequence[SimulatedGuardrail]) -> str:
    """Return what is said of harms that the file does not tolerate: the least of them."""
    least = [
        (g, next((h for h in g.harms if _told(g, h)), None)) for g in guardrails if not g.unknown
    ]
    told = [(g, h) for g, h in least if h is not None and h.turned_back.of]
    if not told:
        return ""
    told.sort(key=lambda pair: pair[1].turned_back.share)
    first = _found_words(*told[0])
    if len(told) == 1:
        return f"{first}."
    where = "Least often found: " if told[0][1].turned_back.share < 1.0 else "Of all guardrails: "
    best_guardrail, best = told[-1]
    rest = f" Most often: {_found_words(best_guardrail, best)}."
    return f"{where}{first}." + (rest if best is not told[0][1] else "")


def _told(guardrail: SimulatedGuardrail, harm: Detected) -> bool:
    judged = 2.0 if guardrail.rule == "limit" else 1.0
    return not harm.impossible and (harm.times == judged or (harm.times is None))


def _found_words(guardrail: SimulatedGuardrail, harm: Detected) -> str:
    of = guardrail.title[:1].lower() + guardrail.title[1:]
    what = f"{of} of {harm.words}" if guardrail.rule == "limit" else f"{harm.words} in {of}"
    runs = f"{what} was turned back in {percent(harm.turned_back.share, digits=0)} of runs"
    if harm.median is None:
        return f"{runs} by the end"
    return f"{runs}, half of all runs within {span_words(harm.median.after)}"


def _notes(setup: Setup) -> Iterator[str]:
    design, run = setup.design, setup.run
    if design.spec.experiment.mode is Mode.SHADOW:
        yield "in shadow mode nothing is turned back: the figures say what would be"
    if setup.family is not None:
        yield CORRELATED
    if len(run.ramp) > 1:
        yield "the ramp goes on as the checks decide; approvals are taken to come in time"
    if run.freeze and run.starts is None:
        yield "when the run starts is not known, so freezes are left out"
    if not setup.wanted.every_check:
        yield (
            f"{len(run.checks()):,} checks of a run are simulated, further apart as time goes on: "
            "times are known to 3%; --every-check takes them all"
        )
    if not design.restarts:
        yield "without restarts the whole run has all of each level"
    if setup.left_out:
        yield (
            f"left out, since they turn nothing back within the guarantee: "
            f"{', '.join(setup.left_out)}; --guardrail asks for one"
        )
