"""The page: what to take away first, then a table per scenario."""

import platform
from collections.abc import Mapping
from dataclasses import dataclass

from benchmarks.detection import verdicts
from benchmarks.detection.rules import NAMES, OURS, PROTECTION
from benchmarks.detection.runner import Outcome, Results
from benchmarks.detection.scenarios import Scenario

Scenarios = Mapping[str, tuple[Scenario, Results]]

PEERS = """\
| rule | what it does | after |
|---|---|---|
| Turnback, as shipped | two thirds of the level: log-time spending over the whole run; one third: one e-process over all restarts | [statistics](statistics.md), `guardrails/judge_regression.py` |
| repeated z at 5% | z past 1.645 at any check | the test of a fixed sample, repeated |
| repeated z, Bonferroni over 12 | z past 2.638 at any check, whatever the number of checks | the same, corrected for KPIs but not for looks |
| GrowthBook, default tuning | two-sided asymptotic confidence sequence at 5%, tuned to 5,000 units; says nothing while an arm has no variance | [sequential testing](https://docs.growthbook.io/statistics/sequential) |
| Statsig mSPRT | two-sided mSPRT whose mixing parameter follows the variance: one constant, z past 3.09 at 5% | [sequential testing](https://docs.statsig.com/experiments/advanced-setup/sequential-testing) with [Zhao, Liu & Deb](https://arxiv.org/abs/1905.10493), since the page gives its formulas as pictures |
| normal mixture for 500, 2,000 an arm | one-sided normal mixture, sharpest at so many units | Howard, Ramdas, McAuliffe & Sekhon (2021) |
| O'Brien-Fleming, Pocock | Lan-DeMets spending, a look at every check, our recursion | Jennison & Turnbull (2000), ch. 7 |
| one bad hour | the last hour past a fixed threshold, once | [Unleash: safeguards](https://docs.getunleash.io/concepts/impact-metrics) |
| three bad hours | three such hours in all | [Argo Rollouts: analysis](https://argo-rollouts.readthedocs.io/en/stable/features/analysis/), "three such measurements"; `failureLimit: 3` itself lets one more pass |
| ten bad hours | ten such hours in all | [Flagger: how it works](https://docs.flagger.app/usage/how-it-works), `threshold: 10` |
| five bad hours in a row | five such hours, a good one forgets them | a strict reading of the same |
"""  # noqa: E501 - a row of a table is one line

METHOD = """\
- Everybody sees the same draws and is asked at the end of every hour. No rule decides below 100
  units in the smaller arm.
- *Restarts* is our protection against late harm given to the peer: two thirds of its level to
  the whole run, one third to restarts every 12 hours, spread by Bonferroni (boundaries) or averaged
  (e-processes: GrowthBook and the normal mixtures). Fixed windows need none: they see the last
  hour only.
- Normal mixtures, O'Brien-Fleming and Pocock get our statistic, with its margin, strata and gates,
  so that only the boundary differs. Repeated z, GrowthBook and Statsig get the statistic their
  documentation describes: the unpooled difference against no harm at all, phases together.
- Of two-sided rules only the harmful side acts. The threshold of fixed windows is control's true
  value less the margin, 5% where there is none.
- Peers run with what their pages give as default or example; better settings may exist for each.
  Experiment platforms advise a new phase, and so a new start, when shares between arms change:
  the scenario of changed shares shows what happens where nobody starts anew.
- Units are those of the treatment, first exposed since the harm began. A time is of all
  repetitions that were not turned back before; it is missing where fewer were ever found. Behind
  +- stands one standard error.
- A rule *keeps its level* where no harmless case is turned back more often than its level allows,
  by more than three standard errors. Repeated z with Bonferroni over 12 may do so by the luck of
  its constant: its error grows with the number of checks, as that of a constant z must.
"""


MEANS = """\
Mean units of the treatment from the onset until the rollback or the end, at least two standard
errors apart. Rules that keep their level in every scenario come first; one that does not is no
alternative, however fast it is here. First its figure, then ours. With the same protection against
late harm:
"""


LEVELS = """\
Of all harmless cases. A drop within half of the margin is harmless under that margin: rules that
test against no harm at all fail there by design.
"""

SOONER = "sooner, not more"


@dataclass(frozen=True, slots=True)
class About:
    """How the numbers came about."""

    seed: int
    repetitions: int
    commit: str
    command: str
    picture: str | None = None


def _share(outcome: Outcome) -> str:
    return f"{outcome.turned:.3f} ±{outcome.turned_se:.3f}"


def _hours(outcome: Outcome) -> str:
    said = []
    for value, error in zip(outcome.hours, outcome.hours_se, strict=True):
        spread = "" if error is None else f" ±{error:.1f}"
        said.append("-" if value is None else f"{value:.0f}{spread}")
    return " / ".join(said) + ("" if outcome.hours[0] is None else " h")


def _units(outcome: Outcome, units: int) -> str:
    return " / ".join("-" if h is None else f"{h * units:,.0f}" for h in outcome.hours)


def _cell(outcome: Outcome, scenario: Scenario, case: int) -> list[str]:
    setting = scenario.cases[case].setting
    cells = [_share(outcome)]
    if setting.onset:
        cells = [f"{outcome.before:.3f}", f"{outcome.found:.3f}"]
    if setting.harmful:
        cells += [_hours(outcome), _units(outcome, setting.units)]
    return cells


def _heads(scenario: Scenario) -> list[str]:
    heads = []
    for case in scenario.cases:
        name = case.name
        if case.setting.onset:
            heads += [f"{name}: before", "found"]
        elif case.setting.harmful:
            heads.append(f"{name}: turned back")
        else:
            heads.append(f"{name}: wrongly turned back")
        if case.setting.harmful:
            heads += ["median / 90%", "units"]
    return heads


def table(scenario: Scenario, results: Results) -> str:
    """Return the table of a scenario, one row per rule."""
    heads = ["rule", "late harm", "keeps its level", *_heads(scenario)]
    lines = [f"| {' | '.join(heads)} |", "|" + "---|" * len(heads)]
    harmless = any(not c.setting.harmful for c in scenario.cases)
    for name in NAMES:
        cells = [name if name != OURS else f"**{name}**", PROTECTION[name]]
        kept = "no" if verdicts.excess(scenario, results, name) else "yes"
        cells.append(kept if harmless else "-")
        for index, case in enumerate(scenario.cases):
            cells += _cell(results[case.name][name], scenario, index)
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _of(scenarios: Scenarios, key: str, case: str, rule: str) -> Outcome | None:
    found = scenarios.get(key)
    return None if found is None else found[1][case][rule]


def _plain_hours(outcome: Outcome | None) -> str:
    if outcome is None:
        return "not run"
    return " / ".join("never" if h is None else f"{h:.0f}" for h in outcome.hours) + " h"


def _turned(outcome: Outcome | None) -> str:
    return "not run" if outcome is None else f"{outcome.turned:.0%}"


def take_away(scenarios: Scenarios) -> list[str]:
    """Return the five lines to take away, from the numbers."""
    kept = [n for n in NAMES if not verdicts.broken(scenarios, n) and n != OURS]
    ours = "in every one of them" if not verdicts.broken(scenarios, OURS) else "NOT in all of them"
    slower = verdicts.faster(scenarios, OURS)
    sound = [f for f in slower if f.rule in kept]
    names = "; ".join(sorted({f.rule for f in sound})) or "none"
    cases = "; ".join(sorted({f"{f.scenario.title.lower()}, {f.case}" for f in sound}))
    first = (
        f"Harmless treatments: ours keeps its level of 5% {ours} (at most "
        f"{verdicts.worst(scenarios, OURS):.1%} are turned back). Of the others these keep it "
        f"everywhere: {'; '.join(kept) or 'none'}."
    )
    z, bad = (
        _of(scenarios, "equal", "equal arms", n)
        for n in ("repeated z at 5%", "one bad hour (Unleash)")
    )
    second = (
        f"Repeated z turns back {_turned(z)} of treatments that are the same as control within 200 "
        f"hourly checks, a fixed threshold on the last hour {_turned(bad)}. Both are quick because "
        "they turn everything back."
    )
    rows = [OURS, "GrowthBook, default tuning, restarts", "Pocock, restarts", verdicts.PLAIN]
    told = [_plain_hours(_of(scenarios, "equal", "-5%", n)) for n in rows]
    third = (
        f"A drop of 5% of a rate of .8 (median / 90%): ours {told[0]}, GrowthBook with the same "
        f"protection {told[1]}, Pocock with it {told[2]}. The protection costs: without it ours "
        f"would need {told[3]}."
    )
    told = [
        _plain_hours(_of(scenarios, "late", "-10% from hour 137", n)) for n in rows[:1] + rows[3:]
    ]
    fourth = (
        f"Harm that begins at hour 137 of 168: ours finds it after {told[0]}; without restarts it "
        f"would take {told[1]}."
    )
    fifth = (
        f"Where we are slower: protected alike, a rule that keeps its level everywhere needs fewer "
        f"units in {len(sound)} cases ({names}{f': {cases}' if cases else ''}), one that keeps it "
        f"only there in {len(slower) - len(sound)} more; all are in the next section."
    )
    asked = ((OURS, "half as many again"), (rows[1], "half as many again"), (rows[1], SOONER))
    waits = [_of(scenarios, "delayed", case, rule) for rule, case in asked]
    if all(waits):
        fifth += (
            f" Where complaints take a day ours waits that day: {_plain_hours(waits[0])} against "
            f"{_plain_hours(waits[1])} of GrowthBook, which counts those so far and so turns back "
            f"{_turned(waits[2])} of treatments whose complaints only come sooner."
        )
    return [first, second, third, fourth, fifth]


def _slower(scenarios: Scenarios, ours: str) -> str:
    found = verdicts.faster(scenarios, ours)
    if not found:
        return "None.\n"
    lines = [
        "| scenario | case | rule | turned back | mean units | fewer | its level fails in |",
        "|---|---|---|---|---|---|---|",
    ]
    for f in sorted(found, key=lambda f: len(verdicts.broken(scenarios, f.rule)) > 0):
        elsewhere = ", ".join(verdicts.broken(scenarios, f.rule)) or "-"
        lines.append(
            f"| {f.scenario.title} | {f.case} | {f.rule} | {f.theirs.turned:.3f} / "
            f"{f.ours.turned:.3f} | {f.theirs.mean_units:,.0f} ±{f.theirs.mean_se:.0f} / "
            f"{f.ours.mean_units:,.0f} ±{f.ours.mean_se:.0f} | "
            f"{f.share:.0%} | {elsewhere} |"
        )
    return "\n".join(lines) + "\n"


def _mean(outcome: Outcome | None) -> str:
    return "not run" if outcome is None else f"{outcome.mean_units or 0.0:,.0f}"


def _why(scenarios: Scenarios) -> str:
    """Return why our design is kept although the rules above are faster there."""

    def both(key: str, case: str, rule: str) -> str:
        ours, theirs = (_mean(_of(scenarios, key, case, name)) for name in (OURS, rule))
        return f"{theirs} units against {ours} of ours"

    pocock, mixture = "Pocock, restarts", "normal mixture for 2,000 an arm, restarts"
    tenth = _turned(_of(scenarios, "horizon", "-2%, a tenth", pocock))
    return (
        "What the valid ones of these win, and why ours is as it is all the same:\n\n"
        "- *Harm so small, or values so scattered, that it takes most of the run.* Pocock spends "
        "little early and much at the planned end; ours spends alike on every doubling of units. "
        "So Pocock finds more of what is barely there, and plain harm later: a drop of 5% takes "
        f"it {both('equal', '-5%', pocock)}. It must know the run's length: planned ten times too "
        f"long it takes {both('horizon', '-5%, ten times', pocock)}; planned ten times too short "
        f"it has nothing left and finds {tenth} of drops of 2%, ours "
        f"{_turned(_of(scenarios, 'horizon', '-2%, a tenth', OURS))}. Turning back is for harm "
        "that can be seen soon, at traffic nobody knows beforehand.\n"
        "- *Late harm, an outage from hour 30.* Pocock's restarts spend all they have by the end "
        "of the run, since each is told how many units are left: a stored boundary for each. Ours "
        "are one e-process: no plan, no state, valid at any number of checks.\n"
        "- *A run ten times longer than planned.* Ours keeps a tenth of the whole run's level for "
        f"what comes after the plan; a mixture has no plan to be wrong. At -5% it takes "
        f"{both('horizon', '-5%, a tenth', mixture)}. `expect_units` mends it.\n"
    )


def _levels(scenarios: Scenarios) -> str:
    lines = ["| rule | largest wrong rate | does not keep its level in |", "|---|---|---|"]
    for name in NAMES:
        where = ", ".join(verdicts.broken(scenarios, name)) or "-"
        lines.append(f"| {name} | {verdicts.worst(scenarios, name):.3f} | {where} |")
    return "\n".join(lines) + "\n"


def page(scenarios: Scenarios, about: About) -> str:
    """Return the whole page."""
    sizes = sorted({o.runs for _, r in scenarios.values() for c in r.values() for o in c.values()})
    size = f"{sizes[0]:,} to {sizes[-1]:,}" if len(sizes) > 1 else f"{sizes[0]:,}"
    written = (
        f"Written by `{about.command}` at commit `{about.commit}`, seed {about.seed}, "
        f"{about.repetitions:,} repetitions asked for ({size} a case), Python "
        f"{platform.python_version()}, {platform.machine()}. Every number comes from that run.\n"
    )
    parts = [
        "# Calibration: our rule beside the rules of the field\n",
        "\n".join(f"{n}. {line}" for n, line in enumerate(take_away(scenarios), 1)) + "\n",
        written,
    ]
    if about.picture:
        parts.append(f"![Share turned back by the true drop, margin 5%]({about.picture})\n")
    parts += [
        "## Where a rule that keeps its level is faster than ours\n",
        MEANS,
        _slower(scenarios, OURS),
        _why(scenarios),
        "Both without it (ours with its whole level on the whole run):\n",
        _slower(scenarios, verdicts.PLAIN),
        "## Who keeps the level\n",
        LEVELS,
        _levels(scenarios),
        "## The rules\n",
        PEERS,
        "## How they are compared\n",
        METHOD,
    ]
    for scenario, results in scenarios.values():
        runs = next(iter(next(iter(results.values())).values())).runs
        said = f"{scenario.text} `--only {scenario.key}`, {runs:,} repetitions."
        parts += [f"## {scenario.title}\n", said + "\n", table(scenario, results)]
    return "\n".join(parts)
