"""When each step of a ramp begins at a given traffic, and how many units come by when. Pure."""

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
import numpy.typing as npt

from experiments.spec import Advance, ExperimentSpec, Mode
from guardrails.planning.baselines import Source
from guardrails.schedule import frozen

Array = npt.NDArray[np.float64]

DAY = timedelta(days=1)
_SECOND = timedelta(seconds=1)


@dataclass(frozen=True, slots=True)
class Traffic:
    """How many units come.

    Attributes:
        units_per_day: Units a day that fit the audience and reach the place of the experiment;
            its layer and its ramp take their share of them.
        source: How that is known.
    """

    units_per_day: float
    source: Source = Source.GIVEN


@dataclass(frozen=True, slots=True)
class PlannedStep:
    """One step of the ramp.

    Attributes:
        traffic: Share of the audience that takes part.
        begins: Since the start, ``None`` where the run ends before.
        units: Units of all arms exposed in it.
        because: What the step waited for: ``start``, ``hold``, ``min_units`` or ``freeze``.
        also: What it waits for beside the calendar: ``approval``, ``proof``; not planned.
    """

    traffic: float
    begins: timedelta | None
    units: float
    because: str
    also: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Calendar:
    """The course of a run that nobody turns back.

    Attributes:
        steps: Of the ramp.
        ends: Last new exposure, since the start.
        observed: Last check, since the start.
        every: Time between two checks.
        units: Units of all arms exposed by the end.
        knots: Seconds since the start at which the rate of exposures changes.
        exposed: Units exposed by then.
    """

    steps: tuple[PlannedStep, ...]
    ends: timedelta
    observed: timedelta
    every: timedelta
    units: float
    knots: tuple[float, ...]
    exposed: tuple[float, ...]

    def units_by(self, seconds: Array) -> Array:
        """Return the units of all arms exposed by so many seconds since the start."""
        return np.interp(seconds, self.knots, self.exposed)

    def checks(self) -> Array:
        """Return the seconds of all checks; the last one finds the run to be over."""
        every = self.every.total_seconds()
        count = max(1, math.ceil(self.observed.total_seconds() / every - 1e-9))
        return every * np.arange(1, count + 1, dtype=np.float64)


def layer_share(spec: ExperimentSpec) -> float:
    """Return the share of the audience that the experiment's layer leaves it."""
    return spec.layer.share if spec.layer is not None else 1.0


def plan_calendar(spec: ExperimentSpec, traffic: Traffic) -> Calendar:
    """Return when each step begins: after its predecessor's hold and units, outside of freezes.

    A step is left at a check. Approval and proof are taken to come in time: they depend on
    people and on the data. Freezes count where the file says when the run starts. In shadow mode
    the first step is never left.
    """
    ends = spec.ends.after
    rate = traffic.units_per_day * layer_share(spec) / DAY.total_seconds()
    smallest = min(v.weight for v in spec.variants)
    start = spec.starts if isinstance(spec.starts, datetime) else None
    begins, because = timedelta(0), "start"
    knots, exposed, steps = [0.0], [0.0], list[PlannedStep]()
    for index, step in enumerate(spec.ramp):
        last = index == len(spec.ramp) - 1 or spec.mode is Mode.SHADOW  # its ramp stands still
        flow = rate * step.traffic
        needed, next_because = timedelta.max, ""
        if not last:
            needed, next_because = _left(step.hold, step.min_units, flow * smallest)
        over = needed >= ends - begins
        stop = ends if over else _at_check(begins + needed, spec.check_every)
        if not over and start is not None and (still := frozen(spec.freeze, start + stop)):
            stop = ends if still.until is None else still.until - start
            stop, next_because = _at_check(stop, spec.check_every), "freeze"
        stop = min(stop, ends)
        units = flow * ((stop - begins) / _SECOND)
        also = () if index == 0 else _beside(spec, index - 1)
        steps.append(PlannedStep(step.traffic, begins, units, because, also))
        knots.append(stop / _SECOND)
        exposed.append(exposed[-1] + units)
        begins = stop
        if stop >= ends:
            steps += [
                PlannedStep(s.traffic, None, 0.0, "", _beside(spec, index + i))
                for i, s in enumerate(spec.ramp[index + 1 :])
            ]
            break
        because = next_because
    observed = ends + (spec.ends.observe_for or timedelta(0))
    return Calendar(
        tuple(steps), ends, observed, spec.check_every, exposed[-1], tuple(knots), tuple(exposed)
    )


def _left(hold: timedelta, min_units: int, rate: float) -> tuple[timedelta, str]:
    """Return the least time in a step, and what it waits for."""
    if min_units <= 0:
        return hold, "hold"
    seconds = min_units / rate if rate > 0.0 else math.inf
    if seconds <= hold / _SECOND:
        return hold, "hold"
    most = timedelta.max / _SECOND
    return (timedelta(seconds=seconds) if seconds < most else timedelta.max), "min_units"


def _at_check(at: timedelta, every: timedelta) -> timedelta:
    return every * math.ceil(at / every - 1e-9)


def _beside(spec: ExperimentSpec, index: int) -> tuple[str, ...]:
    """Return what leaving a step asks for beside time and units."""
    step = spec.ramp[index]
    found: list[str] = []
    if step.approval:
        found.append("approval")
    if step.advance is Advance.PROVEN:
        found.append("proof")
    return tuple(found)
