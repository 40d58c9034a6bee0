"""What a simulation says: plain values, the same for the table and the JSON."""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta

from guardrails.planning.baselines import Baseline, Number
from guardrails.planning.values import Reached


@dataclass(frozen=True, slots=True)
class Share:
    """How many of some simulated runs: an estimate, with what is known of it.

    Attributes:
        count: Runs of which it is true.
        of: Runs.
        share: ``count / of``; ``nan`` without runs.
        standard_error: Of the share; 0 where it is 0 or 1, which says nothing: use the interval.
        low: Lower end of the 95% interval (exact, Clopper and Pearson).
        high: Upper end.
    """

    count: int
    of: int
    share: float
    standard_error: float
    low: float
    high: float

    @classmethod
    def counted(cls, count: int, of: int) -> "Share":
        """Return the share of ``count`` among ``of`` runs."""
        if of == 0:
            return cls(0, 0, math.nan, math.nan, 0.0, 1.0)
        from scipy.stats import binomtest  # noqa: PLC0415 - takes a third of a second

        share = count / of
        ends = binomtest(count, of).proportion_ci(method="exact")
        error = math.sqrt(share * (1.0 - share) / of)
        return cls(count, of, share, error, float(ends.low), float(ends.high))


@dataclass(frozen=True, slots=True)
class Detected:
    """What one guardrail does about one harm.

    Attributes:
        words: The harm as the file writes margins: ``-3%``, ``+2pp``; of a limit the treatment's
            value; ``none``.
        change: Of the treatment's KPI, with its sign; -0.05 is 5% lower.
        absolute: Whether ``change`` is in the KPI's own unit.
        times: The harm in margins (of a limit: in distances from control to the limit), ``None``
            where it was asked for by its size.
        tolerated: Whether the file tolerates it, so that turning back is false.
        turned_back: Runs in which the guardrail turned the treatment back by the end, of those
            that came as far as the harm.
        early: Runs in which it did before the harm began, of all; ``None`` for a harm from the
            start.
        median: When half of the runs had been turned back, since the harm began; ``None``: never.
            Its units are counted since the start, in that very run.
        ninety: When 90% had.
        impossible: Whether the KPI cannot be harmed so much; nothing was simulated then.
    """

    words: str
    change: float
    absolute: bool
    times: float | None
    tolerated: bool
    turned_back: Share
    early: Share | None = None
    median: Reached | None = None
    ninety: Reached | None = None
    impossible: bool = False


@dataclass(frozen=True, slots=True)
class SimulatedWindow:
    """One window of a guardrail.

    Attributes:
        length: From a unit's first exposure.
        level: Alpha of the window.
        baseline: What control's KPI is taken to be.
    """

    length: timedelta
    level: float
    baseline: Baseline


@dataclass(frozen=True, slots=True)
class SimulatedGuardrail:
    """What one guardrail does.

    Attributes:
        guardrail: Id.
        kpi: KPI key, ``None`` where the rule has none.
        title: Of the KPI.
        rule: Name of the rule.
        treatments: Arms it judges that are alike; the first is simulated.
        acts: Whether it can roll back.
        limit: The promise in words.
        windows: That can close.
        harms: From none to the largest.
        unknown: Why nothing could be simulated, empty where something was.
    """

    guardrail: str
    kpi: str | None
    title: str
    rule: str
    treatments: tuple[str, ...]
    acts: bool
    limit: str = ""
    windows: tuple[SimulatedWindow, ...] = ()
    harms: tuple[Detected, ...] = ()
    unknown: str = ""


@dataclass(frozen=True, slots=True)
class Family:
    """All guardrails that can turn back, where nothing is harmed.

    Attributes:
        turned_back: Runs in which any of them turned any treatment back.
        alpha: What the file allows.
        guardrails: Ids of those that took part.
        correlated: In words: what they see of each other.
    """

    turned_back: Share
    alpha: float
    guardrails: tuple[str, ...]
    correlated: str


@dataclass(frozen=True, slots=True)
class Simulation:
    """What an experiment does about no harm and about harm, run after run.

    Attributes:
        experiment: Key.
        verdict: In a few sentences.
        units_per_day: Of the audience.
        ends: Last new exposure, since the start.
        observed: Last check, since the start.
        checks: Simulated in a run that nobody turns back.
        every_check: Whether those are all checks.
        onset: From which first exposure on the harm holds.
        family: Where nothing is harmed; ``None`` where no guardrail can turn back.
        guardrails: In the order of the file.
        notes: What was taken to be so.
        seed: Of everything random.
        repetitions: Runs asked for.
        finished: Runs there are of every harm; fewer where somebody interrupted.
        settings: Settings that differ from the file's, by name.
    """

    experiment: str
    verdict: str
    units_per_day: Number
    ends: timedelta
    observed: timedelta
    checks: int
    every_check: bool
    onset: timedelta
    family: Family | None
    guardrails: tuple[SimulatedGuardrail, ...]
    notes: tuple[str, ...]
    seed: int
    repetitions: int
    finished: int
    settings: Mapping[str, str]
