"""``plan``: before a run, what its guardrails and its goal can find."""

import sys
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
from rich.console import Console
from rich.text import Text

from console.client import ServiceClient, experiment_path
from console.commands.specs import catalogue_and_warnings, read_text
from console.i18n import instant
from console.output import CommandError, ExitCode, print_json, say, warn
from console.plan_chart import write_chart
from console.tables import add, folded, show, table
from experiments.errors import Problem
from guardrails.clock import SystemClock
from guardrails.planning.baselines import Baselines, Number, Source, parse_baselines
from guardrails.planning.calendar import Traffic
from guardrails.planning.measured import read_measured
from guardrails.planning.plan import Progress, plan
from guardrails.planning.values import Found, GoalPlan, GuardrailPlan, Plan, Protects, Reached
from guardrails.planning.words import change_words, harm_words, span_words
from guardrails.spec_file import SpecFile, load_spec
from guardrails.words import duration, percent
from metrics.catalogue import KpiDefinition

ASSUMED_NOTE = "* assumed: give your own with --baseline, or measured ones with --measured"


def run(
    path: Path,
    *,
    units_per_day: float | None,
    baselines: Sequence[str],
    measured: str | None,
    client: ServiceClient | None,
    seed: int,
    paths: int,
    chart: Path | None,
    as_json: bool,
    catalogue: Path | None = None,
) -> None:
    """Plan the run of a spec file and print it.

    Raises:
        CommandError: Nobody says how many units come, or a service knows too little.
        BaselineError: A baseline makes no sense.
        SpecError: The file has problems.
    """
    spec = load_spec(
        read_text(path), source=str(path), catalogue=catalogue_and_warnings(catalogue)[0]
    )
    given = parse_baselines(baselines, spec.kpis)
    rate, known = (None, {}) if measured is None else measured_numbers(measured, client)
    traffic = traffic_of(units_per_day, rate, measured)
    with _progress() as told:
        done = plan(spec, traffic, (given, known), seed=seed, paths=paths, progress=told)
    if chart is not None:
        write_chart(done, chart)
    missing = undelivered(path, spec, client)
    if as_json:
        print_json(done)
        return
    _show(done, spec)
    for words in missing:
        warn(f"{words} (warning)")
    if chart is not None:
        say(f"chart: {chart}")


def undelivered(path: Path, spec: SpecFile, client: ServiceClient | None) -> Sequence[str]:
    """Return a warning for every channel of the file that the service asked has not."""
    if client is None or not spec.experiment.notify:
        return ()
    body = client.post("/api/v1/validate", text=spec.text, source=str(path))
    problems = msgspec.convert(body["problems"], tuple[Problem, ...])
    return [str(problem) for problem in problems if problem.path.startswith("notify[")]


@contextmanager
def _progress() -> Generator[Progress | None]:
    """Tell on stderr, where it is a terminal, which guardrail is being planned."""
    console = Console(stderr=True, highlight=False)
    if not console.is_terminal:
        yield None
        return
    with console.status("planning") as status:

        def told(made: int, of: int, what: str) -> None:
            status.update(Text(f"planning {made + 1} of {of}: {what}"))

        yield told


def measured_numbers(key: str, client: ServiceClient | None) -> tuple[float | None, Baselines]:
    """Return units a day and baselines as a running experiment has them."""
    if client is None:  # pragma: no cover - the command line gives one
        raise CommandError("no service to measure in", code="usage", exit_code=ExitCode.USAGE)
    body = client.get(f"{experiment_path(key)}/baselines")
    try:
        return read_measured(body)
    except msgspec.ValidationError as error:
        raise CommandError(
            f"the service answered, but not as this version does ({error})",
            hint="use the same version of Turnback on both sides",
            code="not_turnback",
        ) from error


def traffic_of(given: float | None, rate: float | None, measured: str | None) -> Traffic:
    """Return how many units come, as somebody says or an experiment measured."""
    if given is not None:
        return Traffic(given, Source.GIVEN)
    if rate is not None:
        return Traffic(rate, Source.MEASURED)
    if measured is not None:
        raise CommandError(
            f"too few units came to {measured} in its current step to say how many come a day",
            hint="say it with --units-per-day",
            code="too_few_units",
        )
    raise CommandError(
        "nobody says how many units come",
        hint="give --units-per-day 2000, or --measured KEY of an experiment that runs",
        code="usage",
        exit_code=ExitCode.USAGE,
    )


_HELPS: Final = (
    "What helps: margins no smaller than what stands under `80% find`, a longer run (`ends`), more "
    "traffic in it (the steps of `ramp`), fewer guardrails; `--measured KEY` instead of "
    "assumed figures."
)


def _show(done: Plan, spec: SpecFile) -> None:
    if done.verdict is not None:
        say(done.verdict.words)
        if done.verdict.protects in {Protects.NOTHING, Protects.PARTLY} and done.guardrails:
            say(folded(_HELPS))
        say()
    arms = ", ".join(f"{name} {units:,}" for name, units in done.by_arm.items())
    rate = number_words(done.units_per_day, f"{done.units_per_day.value:,.0f}")
    say(
        f"{done.experiment}: {rate} units a day, {duration(done.ends)} and "
        f"{duration(done.observed - done.ends)} of observation: {done.units:,} units ({arms})"
    )
    say(_advice_words(done, spec, SystemClock().now() if sys.stdout.isatty() else None))
    _show_ramp(done)
    _show_guardrails(done)
    _show_windows(done, spec)
    for goal in done.goal:
        _show_goal(goal, spec.kpis[goal.kpi])
    if _assumes(done):
        say()
        say(ASSUMED_NOTE)
    if done.warnings:
        say()
    for warned in done.warnings:
        warn(f"{warned.about}: {warned.words} (warning)")


def _advice_words(done: Plan, spec: SpecFile, now: datetime | None) -> str:
    """Return when advice comes, and what the observation waits for.

    Args:
        done: The plan.
        spec: Its file.
        now: The start, where the file says none; ``None`` leaves the date out: what is written
            to a file says the same tomorrow.
    """
    starts = spec.experiment.starts
    said = f"advice comes {span_words(done.observed)} after its start"
    if isinstance(starts, datetime):
        said += f", on {instant(starts + done.observed)}"
    elif now is not None:
        said += f"; started today, on {instant(now + done.observed)}"
    return f"{said}; {_waits(done, spec)}"


def _waits(done: Plan, spec: SpecFile) -> str:
    watched = [(g.kpi or g.id, w.length) for g in spec.guardrails for w in g.windows]
    if spec.experiment.goal is not None:
        goal = spec.kpis[spec.experiment.goal.kpi]
        watched += [(goal.key, w.length) for w in goal.windows]
    longest = max((length for _name, length in watched), default=timedelta(0))
    if not longest or done.observed - done.ends != longest + spec.experiment.lag:
        return "how long units are watched after the last came is what `ends` says"
    names = list(dict.fromkeys(name for name, length in watched if length == longest))
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"it waits for the window of {duration(longest)} of {names[0]}{more}"


def number_words(number: Number, text: str) -> str:
    """Return the text of a number, with a star where it is assumed."""
    return f"{text}*" if number.source is Source.ASSUMED else text


def _assumes(done: Plan) -> bool:
    known = [w.baseline for g in done.guardrails for w in g.windows]
    known += [goal.baseline for goal in done.goal]
    return any(Source.ASSUMED in baseline.sources for baseline in known)


def _show_ramp(done: Plan) -> None:
    if len(done.ramp) == 1:
        return
    rows = table("ramp", "begins", "because of", "units in it", right=("units in it",))
    for step in done.ramp:
        begins = "not within the run" if step.begins is None else span_words(step.begins)
        because = " and ".join((step.because.replace("_", " "), *step.also)).strip()
        add(rows, percent(step.traffic), begins, because, f"{step.units:,.0f}")
    say()
    show(rows)


def _show_guardrails(done: Plan) -> None:
    rows = table(
        "guardrail", "harm", "found", "half by", "units", "90% by", "units", "80% find",
        right=("harm", "found", "units", "80% find"), whole=("half by", "90% by"), drop=("units",),
    )  # fmt: skip
    unknown: list[str] = []
    for g in done.guardrails:
        name = f"{g.guardrail} ({g.treatment})" if g.acts else f"{g.guardrail} ({g.treatment}) °"
        if g.unknown:
            unknown.append(f"{g.guardrail} ({g.treatment}): {g.unknown}")
            continue
        smallest = "none" if g.smallest is None else harm_words(g, g.smallest)
        found = [f for f in (g.at_margin, g.at_twice, g.at_smallest) if f is not None]
        if not found:
            add(rows, name, "", "", "", "", "", "", smallest)
        for index, one in enumerate(found):
            first = index == 0
            add(rows, name if first else "", *_cells(g, one), smallest if first else "")
    say()
    if rows.cells:
        show(rows)
    for line in unknown:
        say(line)
    for g in done.guardrails:
        if g.at_smallest is not None:
            say(
                f"{g.guardrail} ({g.treatment}): any {g.side} counts as harm; its row is of the "
                "smallest that is found by the end in 8 of 10 runs"
            )
    if any(not g.acts and not g.unknown for g in done.guardrails):
        say("° cannot turn a treatment back by itself within the guarantee")


def _cells(g: GuardrailPlan, found: Found) -> tuple[str, ...]:
    return (
        harm_words(g, found.harm),
        percent(found.probability, digits=0),
        *_reached(found.median),
        *_reached(found.ninety),
    )


def _reached(at: Reached | None) -> tuple[str, str]:
    return ("-", "") if at is None else (span_words(at.after), f"{at.units:,}")


def _show_windows(done: Plan, spec: SpecFile) -> None:
    rows = table(
        "guardrail", "window", "level", "control", "spread", "answer", "units", "first look",
        right=("level", "control", "spread", "answer", "units"),
        whole=("window", "units", "first look"), drop=("level", "spread"),
    )  # fmt: skip
    for g in done.guardrails:
        kpi = spec.kpis[g.kpi] if g.kpi is not None else None
        if kpi is None or g.treatment != spec.experiment.treatments[0]:
            continue
        for index, w in enumerate(g.windows):
            b = w.baseline
            add(
                rows,
                g.guardrail if index == 0 else "",
                duration(w.length),
                percent(w.level, digits=3),
                known_words(b.value, kpi),
                known_words(b.sd, kpi, spread=True),
                "all"
                if b.answering is None
                else number_words(b.answering, percent(b.answering.value)),
                " / ".join(f"{n:,}" for n in w.units.values()),
                "never" if w.first_look is None else span_words(w.first_look),
            )
        for dropped in g.dropped:
            add(rows, "", duration(dropped.length), "none", "", "", "", "", "too late")
    if rows.cells:
        say()
        show(rows)


def known_words(number: Number | None, kpi: KpiDefinition, *, spread: bool = False) -> str:
    """Return control's value of a KPI, or its spread, with a star where it is assumed."""
    if number is None:
        return "" if spread else "unknown"
    share = kpi.unit == "share" and not spread
    return number_words(number, percent(number.value) if share else f"{number.value:,.4g}")


def _show_goal(goal: GoalPlan, kpi: KpiDefinition) -> None:
    say()
    what = f"goal: {kpi.title} of {goal.treatment}"
    if goal.window is not None:
        what += f" over {duration(goal.window)}"
    if goal.unknown and goal.smallest is None:
        say(f"{what}: {goal.unknown}")
        return
    smallest = (
        "no change is found with 80% power"
        if goal.smallest is None
        else f"{change_words(goal.smallest, absolute=goal.absolute)} is found with 80% power"
    )
    if goal.expect is None or goal.power is None:
        say(f"{what}: at the end {smallest}" + (f"; {goal.unknown}" if goal.unknown else ""))
        return
    expect = change_words(goal.expect, absolute=goal.absolute)
    say(
        f"{what}: {expect} is found at the end with probability {percent(goal.power, digits=0)}, "
        f"{_needed(goal.needed, goal.duration)}; {smallest}"
    )


def _needed(units: int | None, after: timedelta | None) -> str:
    if units is None or after is None:
        return "no number of units is enough for 80%"
    return f"80% takes {units:,} units, {span_words(after)}"
