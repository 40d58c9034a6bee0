"""The ramp of an experiment as rows: what each step asks for, and what is in. Pure."""

from dataclasses import dataclass
from datetime import timedelta

from console.dashboard import words
from experiments.lifecycle import OVER, State
from guardrails.views import ExperimentView, RampStepView

_STATES = {"done": "done", "current": "now", "next": "to come"}


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
            state_words=_STATES[step.state],
            traffic_words=words.share(step.traffic),
            asks=() if ended else _asks(step, last=step.number == view.steps),
        )
        for step in view.ramp
    )


def _asks(step: RampStepView, *, last: bool) -> tuple[str, ...]:
    if last:
        return ("stays until the end",)
    asks: list[str] = []
    if step.hold:
        left = step.hold_left
        rest = f", {_rounded(left)} left" if left else ", over" if left is not None else ""
        asks.append(f"{words.duration(step.hold)}{rest}")
    if step.min_units:
        fewest = min(step.units.values(), default=0) if step.units is not None else None
        inside = "" if fewest is None else f", {fewest:,} in"
        asks.append(f"{step.min_units:,} units per arm{inside}")
    if step.approval:
        asks.append("approved" if step.approved else "a person's approval")
    if step.advance == "proven":
        asks.append("every guardrail proven safe")
    return tuple(asks)


def _rounded(left: timedelta) -> str:
    """Return a time that is left in whole hours, below two of them in whole minutes."""
    unit = timedelta(hours=1) if left > timedelta(hours=2) else timedelta(minutes=1)
    return words.duration(unit * -(-left // unit))
