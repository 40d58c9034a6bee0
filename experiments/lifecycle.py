"""How an experiment moves from state to state. Pure: no clock, no database."""

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

ACTIONS = ("start", "pause", "continue", "approve", "stop", "roll_back", "resume")
"""What a person may ask for by name."""


def move(state: State, asked: Move) -> State:
    """Return the state that follows.

    Raises:
        IllegalTransitionError: There is no such step; it names the legal ones.
    """
    legal = _MOVES[state]
    if asked not in legal:
        raise IllegalTransitionError(
            state=state.value, action=asked.value, legal=[m.value for m in legal]
        )
    return legal[asked]
