"""What is simulated: an experiment, the harms planted in it, and the runs this takes. Pure."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta

from experiments.errors import TurnbackError
from experiments.language.amounts import parse_amount
from guardrails.levels import (
    AnyComparison,
    CatastropheComparison,
    LimitComparison,
    plan_comparisons,
)
from guardrails.planning.baselines import Baseline, Baselines, baseline_of, typical_baselines
from guardrails.planning.calendar import Traffic
from guardrails.planning.guardrail import unknown_words
from guardrails.rules import Guardrail
from guardrails.simulate import Course, Courses, Run
from guardrails.simulation.units import Change, impossible, units_like
from guardrails.spec_file import SpecFile
from guardrails.words import percent, value_words
from metrics.catalogue import Kind
from metrics.catalogue_file import nearest

TIMES = (0.5, 1.0, 2.0)
"""Harms that are planted where nobody asks for others, in margins."""

_ROUNDING = 1e-9


class SimulationError(TurnbackError):
    """A simulation makes no sense."""

    code = "simulation"
    status = 422


@dataclass(frozen=True, slots=True)
class Asked:
    """A harm that somebody asks for by its size.

    Attributes:
        size: 0.05 is 5% or 5 points, above 0.
        absolute: Written in percentage points.
        side: ``drop`` or ``rise`` where it was written with a sign; ``""``: whatever is harm.
    """

    size: float
    absolute: bool
    side: str


def parse_harm(text: str) -> Asked:
    """Return the harm that ``5%``, ``-5%``, ``+10%`` or ``-2pp`` says.

    Raises:
        SimulationError: It says none.
    """
    amount = parse_amount(text)
    if amount is None or amount.percent == 0:
        raise SimulationError(
            f"--harm: {text!r} is no harm",
            hint="write 5% for every guardrail's harm, -5% for a drop, +10% for a rise, -2pp for "
            "percentage points",
        )
    side = ("drop" if amount.share < 0 else "rise") if amount.signed else ""
    return Asked(abs(amount.share), amount.absolute, side)


@dataclass(frozen=True, slots=True)
class Design:
    """An experiment and how its guardrails work.

    Attributes:
        spec: The file.
        traffic: How many units come.
        restarts: Whether guardrails also watch everything since each restart.
        settings: Settings that differ from the file's, by name.
    """

    spec: SpecFile
    traffic: Traffic
    restarts: bool = True
    settings: Mapping[str, str] = field(default_factory=dict[str, str])

    def comparisons(self) -> tuple[AnyComparison, ...]:
        """Return every comparison with its share of the alpha."""
        found = plan_comparisons(self.spec)
        if self.restarts:
            return found
        return tuple(
            replace(c, windows=tuple(replace(w, restarts=0) for w in c.windows)) for c in found
        )


@dataclass(frozen=True, slots=True)
class Wanted:
    """What somebody wants to know.

    Attributes:
        harms: Asked for by size; empty: half of the margin, the margin and twice the margin.
        onset: From which first exposure on a harm holds.
        guardrails: Whose harms are simulated; empty: of all that can roll back.
        every_check: Whether every check of the file is simulated.
    """

    harms: tuple[Asked, ...] = ()
    onset: timedelta = timedelta(0)
    guardrails: tuple[str, ...] = ()
    every_check: bool = False


@dataclass(frozen=True, slots=True)
class Scenario:
    """Runs that differ by chance alone.

    Attributes:
        run: Units, ramp and checks.
        comparisons: What is judged.
        courses: Units of all arms by KPI.
        key: Of its random numbers: the same whatever the settings of the method are, so that
            settings meet the same luck.
    """

    run: Run
    comparisons: tuple[AnyComparison, ...]
    courses: Courses
    key: int


@dataclass(frozen=True, slots=True)
class Harm:
    """One harm of one guardrail, and its runs; ``None`` where it is impossible."""

    words: str
    change: Change
    times: float | None
    tolerated: bool
    scenario: Scenario | None


@dataclass(frozen=True, slots=True)
class Case:
    """One guardrail, the treatments that are alike for it, and its harms.

    Attributes:
        guardrail: As the file says it.
        treatments: The first is simulated.
        comparison: The first treatment's, ``None`` outside of statistics.
        baselines: Of its windows.
        unknown: Why nothing can be simulated, empty where something is.
        harms: Without none, which is part of the family.
    """

    guardrail: Guardrail
    treatments: tuple[str, ...]
    comparison: AnyComparison | None
    baselines: Mapping[timedelta, Baseline]
    unknown: str = ""
    harms: tuple[Harm, ...] = ()


@dataclass(frozen=True, slots=True)
class Setup:
    """Everything that is to be simulated.

    Attributes:
        design: The experiment.
        wanted: What is asked.
        run: Units, ramp and checks.
        family: All guardrails where nothing is harmed, ``None`` where none can be simulated.
        cases: By guardrail.
        left_out: Guardrails that cannot roll back and were not asked for.
    """

    design: Design
    wanted: Wanted
    run: Run
    family: Scenario | None
    cases: tuple[Case, ...]
    left_out: tuple[str, ...]

    def scenarios(self) -> tuple[Scenario, ...]:
        """Return all runs, the family's first."""
        harmed = tuple(h.scenario for case in self.cases for h in case.harms if h.scenario)
        return harmed if self.family is None else (self.family, *harmed)


def setup_of(design: Design, baselines: Sequence[Baselines], wanted: Wanted) -> Setup:
    """Return what is to be simulated.

    Args:
        design: The experiment.
        baselines: What is known of control's KPIs, the surest first; the typical values that are
            shipped come after them and count as assumptions.
        wanted: What is asked.

    Raises:
        SimulationError: The harm begins after the end, a guardrail is unknown, or no guardrail
            is about a harm that is asked for.
    """
    experiment = design.spec.experiment
    _check(design, wanted)
    run = Run.of(experiment, design.traffic.units_per_day, every_check=wanted.every_check)
    known = (*baselines, typical_baselines())
    compared = {(c.guardrail, c.treatment): c for c in design.comparisons()}
    cases: list[Case] = []
    left_out: list[str] = []
    for guardrail in design.spec.guardrails:
        if not guardrail.acts and guardrail.id not in wanted.guardrails:
            left_out.append(guardrail.id)
            continue
        arms = [compared.get((guardrail.id, t)) for t in design.spec.experiment.treatments]
        cases += [_case(design.spec, guardrail, a, known) for a in _alike(design.spec, arms)]
    family = _family(design, run, cases, compared)
    named = wanted.guardrails or tuple(c.guardrail.id for c in cases)
    cases = [
        replace(c, harms=_harms(c, wanted, run, 100 * i)) if c.guardrail.id in named else c
        for i, c in enumerate(cases, start=1)
    ]
    if wanted.harms and not any(case.harms for case in cases if not case.unknown):
        raise SimulationError(
            "no guardrail is about such a harm",
            hint="write it without a sign: then it is whatever harms each guardrail's KPI",
        )
    return Setup(design, wanted, run, family, tuple(cases), tuple(left_out))


def _check(design: Design, wanted: Wanted) -> None:
    ids = [g.id for g in design.spec.guardrails]
    for asked in wanted.guardrails:
        if asked not in ids:
            raise SimulationError(f"the file has no guardrail {asked!r}{nearest(asked, ids)}")
    if wanted.onset >= design.spec.experiment.ends.after:
        raise SimulationError(
            "a harm that begins at or after the end of the run harms nobody",
            hint="give an --onset before the file's `ends`",
        )


def _alike(
    spec: SpecFile, compared: Sequence[AnyComparison | None]
) -> list[list[AnyComparison | None]]:
    """Return comparisons in groups of treatments that differ by their name alone."""
    found: dict[object, list[AnyComparison | None]] = {}
    for one in compared:
        weight = None if one is None else spec.experiment.variant(one.treatment).weight
        key = None if one is None else (replace(one, treatment=""), weight)
        found.setdefault(key, []).append(one)
    return list(found.values())


def _case(
    spec: SpecFile,
    guardrail: Guardrail,
    alike: Sequence[AnyComparison | None],
    known: Sequence[Baselines],
) -> Case:
    first = alike[0]
    if first is None:
        words = "outside of statistics: it compares samples with a number"
        return Case(guardrail, tuple(spec.experiment.treatments), None, {}, words)
    kpi = spec.kpis[first.kpi]
    baselines = {w.length: baseline_of(kpi, w.length, known) for w in first.windows}
    unknown = unknown_words(first.kind, kpi, tuple(baselines.values()))
    if not unknown and isinstance(first, LimitComparison):
        gap = first.limit - _near(first, baselines)
        if not (gap if first.side == "rise" else -gap) > 0.0:
            unknown = "control itself is beyond the limit, and that excuses every treatment"
    treatments = tuple(c.treatment for c in alike if c is not None)
    return Case(guardrail, treatments, first, baselines, unknown)


def _family(
    design: Design,
    run: Run,
    cases: Sequence[Case],
    compared: Mapping[tuple[str, str], AnyComparison],
) -> Scenario | None:
    """Return the runs in which nothing is harmed and every guardrail that can is judged."""
    experiment = design.spec.experiment
    good = [case for case in cases if case.comparison is not None and not case.unknown]
    judged = tuple(compared[c.guardrail.id, t] for c in good for t in c.treatments)
    if not judged:
        return None
    seen: dict[str, tuple[Kind, dict[timedelta, Baseline]]] = {}
    for case in good:
        if case.comparison is not None:
            kpi = case.comparison.kpi
            seen.setdefault(kpi, (case.comparison.kind, {}))[1].update(case.baselines)
    courses: dict[str, dict[str, Course]] = {}
    for kpi, (kind, baselines) in seen.items():
        units = units_like(kind, baselines)
        courses[kpi] = {v.name: ((timedelta(0), units),) for v in experiment.variants}
    return Scenario(run, judged, courses, key=0)


def _harms(case: Case, wanted: Wanted, run: Run, key: int) -> tuple[Harm, ...]:
    comparison = case.comparison
    if comparison is None or case.unknown:
        return ()
    found: list[Harm] = []
    for words, change, times in _changes(comparison, case.baselines, wanted):
        scenario = None
        if not impossible(comparison.kind, case.baselines, change):
            courses = _harmed(comparison, case.baselines, change, wanted.onset)
            scenario = Scenario(run, (comparison,), courses, key + len(found))
        tolerated = _tolerated(comparison, case.baselines, change)
        found.append(Harm(words, change, times, tolerated, scenario))
    return tuple(found)


def _harmed(
    comparison: AnyComparison,
    baselines: Mapping[timedelta, Baseline],
    change: Change,
    onset: timedelta,
) -> Courses:
    before = units_like(comparison.kind, baselines)
    after = units_like(comparison.kind, baselines, change)
    start = timedelta(0)
    harmed: Course = ((start, before), (onset, after)) if onset else ((start, after),)
    arms: dict[str, Course] = {
        comparison.control: ((start, before),),
        comparison.treatment: harmed,
    }
    return {comparison.kpi: arms}


def _changes(
    comparison: AnyComparison, baselines: Mapping[timedelta, Baseline], wanted: Wanted
) -> list[tuple[str, Change, float | None]]:
    """Return the harms of a guardrail in words, as changes, and in margins."""
    sign = 1.0 if comparison.side == "rise" else -1.0
    found: list[tuple[str, Change, float | None]] = []
    if wanted.harms:
        for harm in wanted.harms:
            if harm.side in {"", comparison.side}:
                change = Change(sign * harm.size, harm.absolute)
                found.append((_words(change), change, None))
        return found
    if isinstance(comparison, LimitComparison):
        near = _near(comparison, baselines)
        for times in TIMES:
            off = times * (comparison.limit - near)
            change = Change(off / near) if near else Change(off, absolute=True)
            found.append((value_words(comparison, near + off), change, times))
    elif isinstance(comparison, CatastropheComparison):
        near = _value(baselines)
        for times in TIMES:
            harmed = times * comparison.max_times
            rate = near if comparison.side == "rise" else 1.0 - near
            change = Change(sign * (harmed - 1.0) * rate, absolute=True)
            found.append((f"harm x{harmed:g}", change, times))
    elif comparison.margin > 0.0:
        for times in TIMES:
            change = Change(sign * times * comparison.margin, comparison.absolute)
            found.append((_words(change), change, times))
    return found


def _words(change: Change) -> str:
    size = percent(abs(change.size), digits=2)
    sign = "-" if change.size < 0.0 else "+"
    return sign + (size.replace("%", "pp") if change.absolute else size)


def _value(baselines: Mapping[timedelta, Baseline]) -> float:
    """Return control's value in the shortest window."""
    return next(b.value.value for _, b in sorted(baselines.items()) if b.value is not None)


def _near(comparison: LimitComparison, baselines: Mapping[timedelta, Baseline]) -> float:
    """Return control's value in the window that is nearest to the limit."""
    values = [b.value.value for b in baselines.values() if b.value is not None]
    return max(values) if comparison.side == "rise" else min(values)


def _tolerated(
    comparison: AnyComparison, baselines: Mapping[timedelta, Baseline], change: Change
) -> bool:
    """Tell whether a change is no harm in any window, by what the file says."""
    sign = 1.0 if comparison.side == "rise" else -1.0
    values = [b.value.value for b in baselines.values() if b.value is not None]
    for value in values:
        if isinstance(comparison, LimitComparison):
            beyond = sign * (change.of(value) - comparison.limit)
        elif isinstance(comparison, CatastropheComparison):
            rate = value if comparison.side == "rise" else 1.0 - value
            beyond = sign * (change.of(value) - value) - (comparison.max_times - 1.0) * rate
        else:
            whole = comparison.margin * (1.0 if comparison.absolute else abs(value))
            beyond = sign * (change.of(value) - value) - comparison.prove_past * whole
        if beyond > _ROUNDING:
            return False
    return True
