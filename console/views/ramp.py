"""The ramp of an experiment as rows: what each step asks for, and what is in. Pure."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from types import MappingProxyType
from typing import Final

from console.views import words
from experiments.lifecycle import OVER, State
from guardrails.views import ExperimentView, RampStepView
from metrics.wording import gettext as _
from metrics.wording import marked, wording

_STATES: Final[Mapping[str, str]] = MappingProxyType(
    {"done": marked("done"), "current": marked("now"), "next": marked("to come")}
)


@dataclass(frozen=True, slots=True)
class StepLine:
    """One step: ``asks`` is what must happen before it is left, one sentence each."""

    number: int
    state: str
    state_words: str
    traffic_words: str
    asks: tuple[str, ...]


def step_lines(view: ExperimentView) -> tuple[StepLine, ...]:
    """Return the steps of a ramp; empty where there is one step only.

    A run that takes no more units asks for nothing: its steps say how far it came.
    """
    ended = State(view.state) in {*OVER, State.OBSERVING}
    if view.steps < 2:  # noqa: PLR2004 - no ramp
        return ()
    return tuple(
        StepLine(
            number=step.number,
            state=step.state,
            state_words=_(_STATES[step.state]),
            traffic_words=words.share(step.traffic),
            asks=() if ended else _asks(step, last=step.number == view.steps),
        )
        for step in view.ramp
    )


def _asks(step: RampStepView, *, last: bool) -> tuple[str, ...]:
    if last:
        return (_("stays until the end"),)
    asks: list[str] = []
    if step.hold:
        asks.append(_hold(step))
    if step.min_units:
        asks.append(_units(step))
    if step.approval:
        asks.append(_("approved") if step.approved else _("a person's approval"))
    if step.advance == "proven":
        asks.append(_("every guardrail proven safe"))
    return tuple(asks)


def _hold(step: RampStepView) -> str:
    length, left = words.duration(step.hold), step.hold_left
    if left is None:
        return length
    if not left:
        return _("{length}, over", length=length)
    return _("{length}, {left} left", length=length, left=_rounded(left))


def _units(step: RampStepView) -> str:
    wanted = wording().grouped(step.min_units)
    if step.units is None:
        return _("{number} units per arm", number=wanted)
    inside = wording().grouped(min(step.units.values(), default=0))
    return _("{number} units per arm, {inside} in", number=wanted, inside=inside)


def _rounded(left: timedelta) -> str:
    """Return a time that is left in whole hours, below two of them in whole minutes."""
    unit = timedelta(hours=1) if left > timedelta(hours=2) else timedelta(minutes=1)
    return words.duration(unit * -(-left // unit))
