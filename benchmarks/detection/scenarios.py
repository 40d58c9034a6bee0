"""What is drawn: every scenario and its cases. A case is one truth under one setting."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace

import numpy as np

from benchmarks.detection import draws
from benchmarks.detection.evidence import Draw, Setting
from metrics.catalogue import Kind

Drawing = Callable[[np.random.Generator, Setting, int], Iterator[Draw]]
"""``(rng, setting, repetitions) -> one draw per KPI``."""


@dataclass(frozen=True, slots=True)
class Case:
    """One truth.

    Attributes:
        name: Head of its column.
        setting: What the rules are told, and when harm begins.
        draw: Of repetitions.
    """

    name: str
    setting: Setting
    draw: Drawing


@dataclass(frozen=True, slots=True)
class Scenario:
    """Cases of one table.

    Attributes:
        key: For ``--only``.
        title: Heading.
        text: What is drawn, in a sentence or two.
        cases: Columns.
        share: Of the repetitions asked for; less where one is dear.
    """

    key: str
    title: str
    text: str
    cases: tuple[Case, ...]
    share: float = 1.0


def _rate(
    name: str, setting: Setting, effect: float, *, ratio: int = 1, beyond: bool = True
) -> Case:
    """Return a case of a rate; its harm begins at the setting's onset."""
    setting = replace(setting, harmful=effect != 0.0 and beyond)
    base = setting.baseline

    def draw(rng: np.random.Generator, setting: Setting, runs: int) -> Iterator[Draw]:
        p = draws.after(setting, base, base * (1.0 + effect))
        control = np.full(setting.hours, base)
        yield draws.rates(rng, setting, runs, p, control, ratio=ratio)

    return Case(name, setting, draw)


TABLE = Setting(hours=200)
"""100 units an arm and hour, 200 checks, a rate of .8: the setting of most published tables."""

EFFECTS = (0.0, 0.01, 0.02, 0.03, 0.05, 0.075, 0.10)
MARGINS = (0.0, 0.03, 0.05)
LATE = (31, 90, 137)


def _effects(margin: float) -> Scenario:
    setting = replace(TABLE, margin=margin)
    past = setting.prove_past * margin
    cases = [
        _rate(f"-{effect:.1%}".replace(".0%", "%"), setting, -effect, beyond=effect > past)
        if effect
        else _rate("no effect", setting, 0.0)
        for effect in EFFECTS
    ]
    said = (
        "Ours and the textbook boundaries test harm beyond half of the margin; a drop of no more "
        "than that is tolerated and must be left alone. GrowthBook, Statsig and repeated z test "
        "against no harm at all, as documented."
        if margin
        else "Any harm counts."
    )
    return Scenario(
        f"margin-{margin * 100:.0f}",
        f"Effects under a margin of {margin:.0%}",
        f"A rate of .8, 100 units an arm and hour, 200 hourly checks. {said}",
        tuple(cases),
    )


def _canary() -> Scenario:
    setting = Setting(baseline=0.02)
    cases = [
        _rate(f"equal arms, harm a {side}", replace(setting, side=side), 0.0, ratio=19)
        for side in ("drop", "rise")
    ]
    cases += [
        _rate("half as many again", replace(setting, side="rise"), 0.5, ratio=19),
        _rate("half as many", setting, -0.5, ratio=19),
    ]
    return Scenario(
        "canary",
        "A canary of one in twenty with rare events",
        "A rate of .02; 100 units an hour in the treatment, 1,900 in control, one week.",
        tuple(cases),
    )


def _shares() -> Scenario:
    def draw(rng: np.random.Generator, setting: Setting, runs: int) -> Iterator[Draw]:
        yield draws.shifting(rng, setting, runs)

    setting = Setting(baseline=0.3)
    return Scenario(
        "shares",
        "Shares changed in mid-run while the level shifts",
        "Equal arms: 19:1 at a rate of .1 for half a week, then 1:1 at a rate of .3.",
        tuple(
            Case(f"equal arms, harm a {side}", replace(setting, side=side), draw)
            for side in ("drop", "rise")
        ),
    )


def _late() -> Scenario:
    cases = [_rate("equal arms", Setting(), 0.0)]
    cases += [_rate(f"-10% from hour {at}", Setting(onset=at), -0.10) for at in LATE]
    return Scenario(
        "late",
        "Harm that begins late",
        "A rate of .8, 100 units an arm and hour, one week; the harm reaches units first exposed "
        "from that hour on. Times count from the onset; who turned back before it was wrong.",
        tuple(cases),
    )


def _from_pools(
    name: str, setting: Setting, pool: Callable[[float], draws.Pool], effect: float, ratio: int = 1
) -> Case:
    def draw(rng: np.random.Generator, setting: Setting, runs: int) -> Iterator[Draw]:
        yield draws.amounts(rng, setting, runs, (pool(effect), pool(0.0)), ratio=ratio)

    return Case(name, replace(setting, harmful=effect != 0.0), draw)


def _revenue() -> Scenario:
    setting = Setting(kind=Kind.MEAN, baseline=3.3, units=200)
    return Scenario(
        "revenue",
        "Heavy-tailed revenue",
        "5% of units buy, for a lognormal amount capped at 1,000; 200 units of the treatment an "
        "hour, one week.",
        (
            _from_pools("equal arms, 1:1", setting, draws.revenue, 0.0),
            _from_pools("equal arms, 19:1", setting, draws.revenue, 0.0, 19),
            _from_pools("-20%, 1:1", setting, draws.revenue, -0.2),
        ),
        share=0.5,
    )


def _ratings() -> Scenario:
    setting = Setting(kind=Kind.RATIO, baseline=4.2, units=4)
    return Scenario(
        "ratings",
        "A ratio with few raters",
        "Four raters an arm and hour, each with 1 to 4 scores (mean 4.2, sd 1, half of the "
        "variance shared); one week.",
        (
            _from_pools("equal arms", setting, draws.ratings, 0.0),
            _from_pools("-5%", setting, draws.ratings, -0.05),
            _from_pools("-10%", setting, draws.ratings, -0.10),
        ),
        share=0.5,
    )


def _clustered() -> Scenario:
    setting = Setting(kind=Kind.RATIO, units=40)

    def case(name: str, effect: float) -> Case:
        def draw(rng: np.random.Generator, setting: Setting, runs: int) -> Iterator[Draw]:
            yield draws.clustered(rng, setting, runs, effect)

        return Case(name, replace(setting, harmful=effect != 0.0), draw)

    return Scenario(
        "clustered",
        "Clustered events",
        "40 units an arm and hour with 1 to 9 sessions each whose successes hang together "
        "(correlation .3); one week. Repeated z takes sessions for independent; the others use "
        "the delta method, as their documentation says.",
        (case("equal arms", 0.0), case("-5%", -0.05)),
        share=0.5,
    )


def _delayed() -> Scenario:
    setting = Setting(baseline=0.1, side="rise")

    def case(name: str, early: float, chance: float) -> Case:
        def draw(rng: np.random.Generator, setting: Setting, runs: int) -> Iterator[Draw]:
            yield draws.delayed(rng, setting, runs, early=early, chance=(chance, 0.1))

        return Case(name, replace(setting, harmful=chance != 0.1), draw)

    return Scenario(
        "delayed",
        "Delayed complaints",
        "A tenth of the units complains within 24 hours; one week, 100 units an arm and hour. Ours "
        "and the textbook boundaries compare units whose 24 hours are over, the field's complaints "
        "so far. *Sooner* is the same number of complaints, half of them within three hours.",
        (case("equal arms", 3 / 24, 0.1), case("sooner, not more", 0.5, 0.1),
         case("half as many again", 3 / 24, 0.15)),
        share=0.5,
    )  # fmt: skip


def _kpis() -> Scenario:
    setting = Setting(kind=Kind.MEAN, baseline=10.0, level=0.05 / 12, family=12)

    def case(name: str, effect: float) -> Case:
        def draw(rng: np.random.Generator, setting: Setting, runs: int) -> Iterator[Draw]:
            yield from draws.correlated(rng, setting, runs, effect=effect)

        return Case(name, replace(setting, harmful=effect != 0.0), draw)

    return Scenario(
        "kpis",
        "Twelve correlated KPIs",
        "Twelve means (10, sd 5, correlation .5), 100 units an arm and hour, one week. Turned back "
        "by any of them: the family rate. Everybody gets 5% / 12 a KPI, but for repeated z at 5%.",
        (case("equal arms", 0.0), case("one of them -5%", -0.05)),
        share=0.25,
    )


def _horizon() -> Scenario:
    cases = []
    for name, horizon in (("a tenth", 0.1), ("ten times", 10.0)):
        setting = replace(TABLE, horizon=horizon)
        cases.append(_rate(f"equal arms, {name}", setting, 0.0))
        cases.append(_rate(f"-5%, {name}", setting, -0.05))
        cases.append(_rate(f"-2%, {name}", setting, -0.02))
    return Scenario(
        "horizon",
        "Wrong horizons",
        "A rate of .8, 100 units an arm and hour, 200 hours; the plan says a tenth of the units "
        "that come, or ten times as many. Only ours, O'Brien-Fleming and Pocock have a horizon; "
        "the last two spend nothing past it.",
        tuple(cases),
    )


def _outage() -> Scenario:
    setting = Setting(baseline=0.12, hours=72)
    return Scenario(
        "outage",
        "A total outage",
        "A rate of .12 falls to 0: at once, with equal arms and in a canary, and from hour 30.",
        (
            _rate("at once, 1:1", setting, -1.0),
            _rate("at once, 1:19", setting, -1.0, ratio=19),
            _rate("from hour 30, 1:1", replace(setting, onset=30), -1.0),
        ),
        share=0.5,
    )


def _equal() -> Scenario:
    return Scenario(
        "equal",
        "Equal arms, and a drop of 5%",
        "A rate of .8, 100 units an arm and hour, 200 hourly checks, level 5%.",
        (_rate("equal arms", TABLE, 0.0), _rate("-5%", TABLE, -0.05)),
    )


SCENARIOS: tuple[Scenario, ...] = (
    _equal(),
    _canary(),
    _shares(),
    _late(),
    _revenue(),
    _ratings(),
    _clustered(),
    _delayed(),
    _kpis(),
    _horizon(),
    _outage(),
    *(_effects(margin) for margin in MARGINS),
)
