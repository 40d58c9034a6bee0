"""Who gets how much of the alpha: the plan of all comparisons of a spec file. Pure.

The budget is split over guardrails that can roll back (by weight), then treatments,
then windows (by weight). By the union bound the whole experiment then turns back a
treatment without undue harm with probability at most ``alpha``.

Source: STATISTICS 0a, 1(g); DESIGN 8, 9.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from experiments.spec import ExperimentSpec, RampStep
from guardrails.rules import Catastrophe, Limit, Statistical
from guardrails.spec_file import SpecFile
from metrics.catalogue import Kind, Window

DEFAULT_INFORMATION = 1e5
"""Planned information (effective units) where nobody says how many units to expect."""

COHORT = timedelta(hours=12)
"""Shortest cohort of first exposures, hence the shortest time between two restarts."""

WHOLE_RUN = 2.0 / 3.0
"""Part of a window's level that is spent on the whole run; the restarts share the rest.

A rate of .8 that drops by 5% (200 looks, 100 units an arm each, levels .05 and .05 / 12) takes
1,897 and 3,065 units per arm in the mean with 1/2 here, 1,811 and 2,979 with 3/5, 1,762 and 2,930
with 2/3, 1,706 and 2,875 with 3/4 (recursion); a guardrail of satisfaction finds -10% from hour 72
on in a mean of 31.9, 32.5, 33.0 and 33.8 hours (simulated). 2/3 is well within 1,860 and 2,960
units and within 34 hours at once: restarts hardly notice what they give, since evidence counts
as a logarithm.
"""

_COHORTS = 28  # at most this many: more would dilute the evidence since a restart
_LEAST_CLOSED = 0.2  # a window closing for fewer of the planned units gets no alpha


@dataclass(frozen=True, slots=True)
class WindowPlan:
    """One window of one comparison.

    Attributes:
        length: From a unit's first exposure.
        level: Alpha of this window, whole run and restarts together.
        information_max: Effective units expected by the end; planning only.
        restarts: Number of restarts watched, fixed when the file is applied.
    """

    length: timedelta
    level: float
    information_max: float
    restarts: int

    @property
    def whole_level(self) -> float:
        """Alpha of the whole run: all of it where no restart is watched."""
        return self.level * WHOLE_RUN if self.restarts else self.level

    @property
    def restart_level(self) -> float:
        """Alpha of all restarts together, 0 where none is watched."""
        return self.level * (1.0 - WHOLE_RUN) if self.restarts else 0.0


@dataclass(frozen=True, slots=True)
class Comparison:
    """One guardrail of rule ``regression`` and treatment, ready to be judged.

    Attributes:
        guardrail: Id of the guardrail.
        kpi: KPI key.
        kind: How the KPI summarises units.
        side: ``drop`` or ``rise``: the movement that is harm.
        margin: Largest harm tolerated, relative unless ``absolute``.
        absolute: Whether ``margin`` is in the KPI's own unit.
        prove_past: Part of the margin that must be exceeded with proof.
        control: Arm compared with.
        treatment: Arm judged.
        acts: Whether it can roll back and so is part of the guarantee.
        windows: Windows that share the level.
    """

    guardrail: str
    kpi: str
    kind: Kind
    side: str
    margin: float
    absolute: bool
    prove_past: float
    control: str
    treatment: str
    acts: bool
    windows: tuple[WindowPlan, ...]


@dataclass(frozen=True, slots=True)
class LimitComparison:
    """One guardrail of rule ``limit`` and treatment, ready to be judged.

    Attributes:
        guardrail: Id of the guardrail.
        kpi: KPI key.
        kind: How the KPI summarises units.
        side: ``rise`` where the limit is a maximum, ``drop`` where it is a minimum.
        limit: Value the treatment's may not be beyond, in the KPI's own unit.
        share: Whether the KPI is a share, for words.
        control: Arm that must not be beyond the limit itself.
        treatment: Arm judged.
        acts: Whether it can roll back and so is part of the guarantee.
        windows: Windows that share the level.
    """

    guardrail: str
    kpi: str
    kind: Kind
    side: str
    limit: float
    share: bool
    control: str
    treatment: str
    acts: bool
    windows: tuple[WindowPlan, ...]


@dataclass(frozen=True, slots=True)
class CatastropheComparison:
    """One guardrail of rule ``catastrophe`` and treatment, ready to be judged.

    Attributes:
        guardrail: Id of the guardrail.
        kpi: KPI key.
        kind: Always ``proportion``: units are harmed or not.
        side: ``rise`` where the KPI's event is the harm, ``drop`` where its absence is.
        max_times: Largest multiple of control's rate of harm tolerated.
        part: Share of the treatment among the units of both arms, as planned.
        control: Arm compared with.
        treatment: Arm judged.
        acts: Whether it can roll back and so is part of the guarantee.
        windows: Windows that share the level.
    """

    guardrail: str
    kpi: str
    kind: Kind
    side: str
    max_times: float
    part: float
    control: str
    treatment: str
    acts: bool
    windows: tuple[WindowPlan, ...]


AnyComparison = Comparison | LimitComparison | CatastropheComparison
"""What takes a part of the alpha, whatever its rule."""


class Share(Protocol):
    """What a guardrail must say to take part in the alpha; every rule of statistics does."""

    @property
    def id(self) -> str:
        """Id within the experiment."""
        ...

    @property
    def weight(self) -> float:
        """Weight against the other guardrails, above 0."""
        ...

    @property
    def acts(self) -> bool:
        """Whether it can roll back."""
        ...


def cohort_length(ends: timedelta) -> timedelta:
    """Return the length of a cohort: 12 h, or ``ends / 28`` if that is longer."""
    return max(COHORT, ends / _COHORTS)


def restarts(ends: timedelta) -> int:
    """Return the number of restarts J: cohorts until ``ends`` without the first."""
    return max(0, math.ceil(ends / cohort_length(ends)) - 1)


def split_alpha(alpha: float, guardrails: Sequence[Share], treatments: int) -> Mapping[str, float]:
    """Return the level of each guardrail for one treatment.

    Acting guardrails share ``alpha`` by weight, their levels times ``treatments`` sum to
    it. One that cannot act takes nothing from them and is tested at the level it would
    have if it could.

    Args:
        alpha: Budget of the whole experiment.
        guardrails: All rules that take part.
        treatments: Arms besides control, 1 or more.
    """
    acting = math.fsum(g.weight for g in guardrails if g.acts)
    return {
        g.id: alpha * g.weight / ((acting if g.acts else acting + g.weight) * treatments)
        for g in guardrails
    }


def kept_windows(
    windows: Sequence[Window], closing: Callable[[timedelta], float]
) -> tuple[Window, ...]:
    """Return the windows that get alpha; their weights sum to 1.

    A window that closes for fewer than a fifth of the planned units before the end is
    dropped and the others share its weight; if all would be, the shortest is kept.

    Args:
        windows: With weights.
        closing: Share of the planned units whose window of a given length closes in time.
    """
    kept = [w for w in windows if closing(w.length) >= _LEAST_CLOSED]
    if not kept:
        kept = [min(windows, key=lambda w: w.length)]
    summed = math.fsum(w.weight for w in kept)
    return tuple(Window(w.length, w.weight / summed) for w in kept)


def exposed_by(ramp: Sequence[RampStep], ends: timedelta, at: timedelta) -> float:
    """Return the share of the planned units first exposed by ``at`` after the start.

    Steps are taken to last their ``hold``, the last one until ``ends``; arrivals are even.
    """

    def traffic_until(moment: timedelta) -> float:
        seen, start = 0.0, timedelta(0)
        for index, step in enumerate(ramp):
            last = index == len(ramp) - 1
            stop = max(ends, start) if last else start + step.hold
            inside = min(moment, stop) - start
            if inside > timedelta(0):
                seen += step.traffic * (inside / timedelta(seconds=1))
            start = stop
        return seen

    everybody = traffic_until(ends)
    return traffic_until(min(at, ends)) / everybody if everybody > 0.0 else 1.0


def expected_information(spec: ExperimentSpec, treatment: str) -> float:
    """Return the effective units of control and a treatment expected by the end."""
    if spec.expect_units is None:
        return DEFAULT_INFORMATION
    units_c = spec.expect_units * spec.variant(spec.control).weight
    units_t = spec.expect_units * spec.variant(treatment).weight
    both = units_c + units_t
    return units_t * units_c / both if both > 0.0 else DEFAULT_INFORMATION


def treated_part(spec: ExperimentSpec, treatment: str) -> float:
    """Return the share of a treatment among the units of it and of control, as planned."""
    treated = spec.variant(treatment).weight
    return treated / (treated + spec.variant(spec.control).weight)


def plan_comparisons(spec: SpecFile) -> tuple[AnyComparison, ...]:
    """Return every comparison of a spec file with its share of the alpha, in the file's order.

    Guardrails outside statistics (``promql``) have none.
    """
    experiment = spec.experiment
    judged = [g for g in spec.guardrails if isinstance(g, Statistical)]
    levels = split_alpha(experiment.alpha, judged, len(experiment.treatments))
    return tuple(
        _comparison(spec, guardrail, treatment, levels[guardrail.id])
        for guardrail in judged
        for treatment in experiment.treatments
    )


def _comparison(
    spec: SpecFile, guardrail: Statistical, treatment: str, level: float
) -> AnyComparison:
    kpi, control = spec.kpis[guardrail.kpi], spec.experiment.control
    windows = _windows(spec.experiment, guardrail, treatment, level)
    if isinstance(guardrail, Catastrophe):
        return CatastropheComparison(
            guardrail=guardrail.id,
            kpi=guardrail.kpi,
            kind=kpi.kind,
            side=str(guardrail.side.value),
            max_times=guardrail.max_times,
            part=treated_part(spec.experiment, treatment),
            control=control,
            treatment=treatment,
            acts=guardrail.acts,
            windows=windows,
        )
    if isinstance(guardrail, Limit):
        return LimitComparison(
            guardrail=guardrail.id,
            kpi=guardrail.kpi,
            kind=kpi.kind,
            side=str(guardrail.side.value),
            limit=guardrail.limit,
            share=kpi.unit == "share",
            control=control,
            treatment=treatment,
            acts=guardrail.acts,
            windows=windows,
        )
    return Comparison(
        guardrail=guardrail.id,
        kpi=guardrail.kpi,
        kind=kpi.kind,
        side=str(guardrail.side.value),
        margin=guardrail.margin,
        absolute=guardrail.absolute,
        prove_past=guardrail.prove_past,
        control=control,
        treatment=treatment,
        acts=guardrail.acts,
        windows=windows,
    )


def _windows(
    experiment: ExperimentSpec, guardrail: Statistical, treatment: str, level: float
) -> tuple[WindowPlan, ...]:
    ends = experiment.ends.after
    observed = ends + (experiment.ends.observe_for or timedelta(0))

    def closing(length: timedelta) -> float:
        return exposed_by(experiment.ramp, ends, observed - length - experiment.lag)

    information = expected_information(experiment, treatment)
    return tuple(
        WindowPlan(w.length, level * w.weight, information, restarts(ends))
        for w in kept_windows(guardrail.windows, closing)
    )
