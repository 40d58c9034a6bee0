"""How an experiment moves from state to state. Pure: no clock, no database."""

from collections.abc import Collection
from enum import StrEnum

from experiments.errors import IllegalTransitionError


class State(StrEnum):
    """Where an experiment stands."""

    DRAFT = "draft"  # applied, not started: everybody gets control
    RUNNING = "running"
    PAUSED = "paused"  # no new exposures, everybody gets control, checks go on
    OBSERVING = "observing"  # no new exposures, windows still close
    FINISHED = "finished"
    STOPPED = "stopped"  # ended by a person


class Move(StrEnum):
    """What a person or the schedule may ask of an experiment."""

    START = "start"
    PAUSE = "pause"
    CONTINUE = "continue"
    STOP = "stop"
    OBSERVE = "observe"
    FINISH = "finish"


_MOVES: dict[State, dict[Move, State]] = {
    State.DRAFT: {Move.START: State.RUNNING, Move.STOP: State.STOPPED},
    State.RUNNING: {
        Move.PAUSE: State.PAUSED,
        Move.STOP: State.STOPPED,
        Move.OBSERVE: State.OBSERVING,
    },
    State.PAUSED: {
        Move.CONTINUE: State.RUNNING,
        Move.STOP: State.STOPPED,
        Move.OBSERVE: State.OBSERVING,
    },
    State.OBSERVING: {Move.STOP: State.STOPPED, Move.FINISH: State.FINISHED},
    State.FINISHED: {},
    State.STOPPED: {},
}

CHECKED = frozenset({State.RUNNING, State.PAUSED, State.OBSERVING})
"""States in which guardrails are checked: harm may show after the last exposure."""

OVER = frozenset({State.FINISHED, State.STOPPED})
"""States that only a raised seed leaves: what was reserved for the experiment is free again."""

ACTIONS = ("start", "pause", "continue", "approve", "extend", "stop", "roll_back", "resume")
"""What a person may ask for by name."""

_TREATED = {
    "approve": frozenset({State.RUNNING, State.PAUSED}),
    "extend": frozenset({State.RUNNING, State.PAUSED}),
    "roll_back": CHECKED | {State.FINISHED},  # of what was shipped
    "resume": frozenset({State.RUNNING, State.PAUSED}),
}
"""Actions that change no state of the experiment, and the states in which they make sense."""


def move(state: State, asked: Move, *, pointless: Collection[str] = ()) -> State:
    """Return the state that follows.

    Args:
        state: Present state.
        asked: The step.
        pointless: What is not named as possible instead: it would do nothing (``possible``).

    Raises:
        IllegalTransitionError: There is no such step; it names what a person may do instead.
    """
    legal = _MOVES[state]
    if asked not in legal:
        instead = possible(state, pointless=pointless)
        raise IllegalTransitionError(state=state.value, action=asked.value, legal=instead)
    return legal[asked]


def possible(state: State, *, pointless: Collection[str] = ()) -> tuple[str, ...]:
    """Return what a person may ask for in a state, in the order of ``ACTIONS``.

    Args:
        state: Present state.
        pointless: Actions that this experiment has nothing for: no step to approve, no treatment
            to turn back or to resume.
    """
    moves = {step.value for step in _MOVES[state]}
    legal = (a for a in ACTIONS if a in moves or state in _TREATED.get(a, ()))
    return tuple(action for action in legal if action not in pointless)


def require(state: State, action: str, *, pointless: Collection[str] = ()) -> None:
    """Refuse an action that changes no state of the experiment where it makes no sense.

    Args:
        state: Present state.
        action: What is asked.
        pointless: What is not named as possible instead: it would do nothing (``possible``).

    Raises:
        IllegalTransitionError: Not in this state; it names what a person may do instead.
    """
    if action not in possible(state):
        instead = possible(state, pointless=pointless)
        raise IllegalTransitionError(state=state.value, action=action, legal=instead)


def begin(before: State | None, *, waits: bool) -> State:
    """Return the state in which a run begins: a new file, a changed draft or a raised seed.

    Args:
        before: State so far, ``None`` for a new experiment.
        waits: Whether the file starts later, or by hand.
    """
    if waits:
        return State.DRAFT
    # a pause was somebody's decision: it outlasts a new seed
    return State.PAUSED if before is State.PAUSED else State.RUNNING
