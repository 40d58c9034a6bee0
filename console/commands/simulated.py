"""What ``simulate`` prints: a verdict, a table, and what was taken to be so."""

from collections.abc import Callable, Sequence
from datetime import timedelta

from console.commands.planning import ASSUMED_NOTE, known_words, number_words
from console.output import say
from console.tables import add, folded, show, table
from guardrails.planning.baselines import Source
from guardrails.planning.values import Reached
from guardrails.planning.words import size_words, span_words
from guardrails.simulation.design import TIMES, Asked, Wanted
from guardrails.simulation.figures import share_words
from guardrails.simulation.values import Detected, SimulatedGuardrail, Simulation
from guardrails.spec_file import SpecFile
from guardrails.words import duration, percent

_TIMES_WORDS = {0.5: "half the margin", 1.0: "the margin", 2.0: "twice the margin"}
_LIMIT_WORDS = {0.5: "half way", 1.0: "the limit", 2.0: "twice as far"}


def show_simulation(done: Simulation, spec: SpecFile) -> None:
    """Print what was found of one experiment."""
    say(folded(done.verdict, most=100, indent=""))
    say()
    rate = number_words(done.units_per_day, f"{done.units_per_day.value:,.0f}")
    late = f", harm from {duration(done.onset)} on" if done.onset else ""
    say(
        f"{done.experiment}: {rate} units a day, {duration(done.ends)} and "
        f"{duration(done.observed - done.ends)} of observation{late}; {done.finished:,} runs of "
        f"each harm, seed {done.seed}"
    )
    say()
    _show_harms(done)
    for g in done.guardrails:
        if g.unknown:
            say(f"{_name(g, done)}: {g.unknown}")
        for harm in g.harms:
            if harm.early is not None and harm.early.count:
                say(
                    f"{g.guardrail}: {share_words(harm.early)} of the runs with {harm.words} were "
                    "turned back before the harm began, and are left out"
                )
    _show_windows(done, spec)
    _show_notes(done)


def _show_harms(done: Simulation) -> None:
    rows = table(
        "guardrail", "harm", "", "turned back", "half by", "per arm", "90% by", "per arm",
        right=("harm", "turned back", "per arm"), whole=("half by", "90% by"),
        drop=("per arm",),
    )  # fmt: skip
    if done.family is not None:
        turned = share_words(done.family.turned_back)
        add(rows, "any of them", "none", "", turned, "", "", "", "")
    for g in done.guardrails:
        for index, harm in enumerate(g.harms):
            add(
                rows,
                _name(g, done) if index == 0 else "",
                harm.words,
                _what(g, harm),
                *_cells(harm),
            )
    if rows.cells:
        show(rows)


def _name(g: SimulatedGuardrail, done: Simulation) -> str:
    """Return a guardrail's name, with its treatments where they differ; a ring: it cannot act."""
    split = [other.guardrail for other in done.guardrails].count(g.guardrail) > 1
    arms = f" ({', '.join(g.treatments)})" if split else ""
    return f"{g.guardrail}{arms}{'' if g.acts else ' °'}"


def _what(g: SimulatedGuardrail, harm: Detected) -> str:
    """Return what a harm is to the file."""
    words = _LIMIT_WORDS if g.rule == "limit" else _TIMES_WORDS
    of = words.get(harm.times, "") if harm.times is not None else ""
    if harm.times == 0.0 or not harm.tolerated:
        return of
    return f"{of}, tolerated" if of else "tolerated"


def _cells(harm: Detected) -> tuple[str, ...]:
    if harm.impossible:
        return "impossible", "", "", "", ""
    return (share_words(harm.turned_back), *_reached(harm.median), *_reached(harm.ninety))


def _reached(at: Reached | None) -> tuple[str, str]:
    return ("-", "") if at is None else (span_words(at.after), f"{min(at.by_arm.values()):,}")


def _show_windows(done: Simulation, spec: SpecFile) -> None:
    rows = table(
        "guardrail", "window", "level", "control", "spread", "answer",
        right=("level", "control", "spread", "answer"), whole=("window",), drop=("level",),
    )  # fmt: skip
    told: set[str] = set()
    for g in done.guardrails:
        if g.kpi is None or g.guardrail in told:
            continue
        told.add(g.guardrail)
        for index, w in enumerate(g.windows):
            b, kpi = w.baseline, spec.kpis[g.kpi]
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
            )
    if rows.cells:
        say()
        show(rows)


def _show_notes(done: Simulation) -> None:
    say()
    known = [w.baseline for g in done.guardrails for w in g.windows]
    if any(Source.ASSUMED in baseline.sources for baseline in known):
        say(ASSUMED_NOTE)
    if any(not g.acts for g in done.guardrails):
        say("° turns nothing back by itself: how often it would tell of a breach")
    say("turned back: share of the runs by the end, with its standard error; units per arm are")
    say("  those of the smaller arm")
    for note in done.notes:
        say(folded(note, most=100))


_Column = tuple[str, Callable[[Detected], bool]]


def show_grid(done: Sequence[Simulation], wanted: Wanted, varied: Sequence[str]) -> None:
    """Print one line for each combination of settings."""
    columns = _columns(wanted)
    headings = [heading for name, _ in columns for heading in (name, "half by")]
    rows = table(*varied, "no harm", *headings, right=("no harm", *(n for n, _ in columns)))
    for one in done:
        family = "" if one.family is None else share_words(one.family.turned_back)
        cells = [cell for _, is_it in columns for cell in _worst(one, is_it)]
        add(rows, *(one.settings[name] for name in varied), family, *cells)
    say(folded(_grid_words(done), most=100, indent=""))
    say()
    show(rows)
    say()
    first = done[0]
    say("no harm: runs in which any guardrail turned back a treatment that harms nothing")
    if sum(not g.unknown for g in first.guardrails) > 1:
        say(
            "harm: of all guardrails the one that does worst; --guardrail asks for one, --json has "
            "all"
        )
    say(f"{first.finished:,} runs of each harm, seed {first.seed}; the settings meet the same luck")
    for note in first.notes:
        say(folded(note, most=100))


def _columns(wanted: Wanted) -> list[_Column]:
    if not wanted.harms:
        return [(_TIMES_WORDS[times], _of_times(times)) for times in TIMES]
    return [(_asked_words(asked), _of_size(asked)) for asked in wanted.harms]


def _of_times(times: float) -> Callable[[Detected], bool]:
    return lambda harm: harm.times == times


def _of_size(asked: Asked) -> Callable[[Detected], bool]:
    return lambda harm: (
        harm.times is None
        and harm.absolute == asked.absolute
        and abs(harm.change) == asked.size
        and (harm.change < 0.0 or asked.side != "drop")
        and (harm.change > 0.0 or asked.side != "rise")
    )


def _asked_words(asked: Asked) -> str:
    sign = {"drop": "-", "rise": "+"}.get(asked.side, "")
    return sign + size_words(asked.size, absolute=asked.absolute)


def _worst(done: Simulation, is_it: Callable[[Detected], bool]) -> tuple[str, str]:
    """Return the share and the median of the guardrail that does worst about a harm.

    That is the one that finds it least often; where all tolerate it, the one that turns it back
    most often.
    """
    found = [h for g in done.guardrails for h in g.harms if is_it(h) and not h.impossible]
    found = [h for h in found if h.turned_back.of]
    if not found:
        return "", ""
    harmful = [h for h in found if not h.tolerated]
    if not harmful:
        most = max(found, key=lambda h: h.turned_back.share)
        return share_words(most.turned_back), ""
    least = min(harmful, key=lambda h: h.turned_back.share)
    return share_words(least.turned_back), _latest(harmful)


def _latest(found: Sequence[Detected]) -> str:
    times = [h.median.after if h.median is not None else timedelta.max for h in found]
    return "-" if max(times) == timedelta.max else span_words(max(times))


def _grid_words(done: Sequence[Simulation]) -> str:
    judged = [(one.family, one) for one in done if one.family is not None]
    if not judged or not judged[0][0].turned_back.of:
        return f"{len(done):,} combinations of settings."
    family, worst = max(judged, key=lambda pair: pair[0].turned_back.share)
    if family.turned_back.count == 0:
        return (
            f"With none of the {len(done):,} combinations a treatment that harms nothing was "
            f"turned back in {family.turned_back.of:,} runs (95% sure: in fewer than "
            f"{percent(family.turned_back.high)})."
        )
    named = ", ".join(f"{name}={value}" for name, value in worst.settings.items())
    beyond = [f for f, _ in judged if f.turned_back.low > f.alpha]
    more = (
        f"; with {len(beyond)} of them that is more than alpha"
        if beyond
        else "; never beyond alpha"
    )
    return (
        f"Of {len(done):,} combinations {named} turned back a treatment that harms nothing most "
        f"often: in {share_words(family.turned_back)} of runs{more}."
    )
