import pytest

from experiments.errors import IllegalTransitionError
from experiments.lifecycle import ACTIONS, Move, State, begin, move, possible, require

LEGAL = {
    (State.DRAFT, Move.START): State.RUNNING,
    (State.DRAFT, Move.STOP): State.STOPPED,
    (State.RUNNING, Move.PAUSE): State.PAUSED,
    (State.RUNNING, Move.OBSERVE): State.OBSERVING,
    (State.RUNNING, Move.STOP): State.STOPPED,
    (State.PAUSED, Move.CONTINUE): State.RUNNING,
    (State.PAUSED, Move.OBSERVE): State.OBSERVING,
    (State.PAUSED, Move.STOP): State.STOPPED,
    (State.OBSERVING, Move.FINISH): State.FINISHED,
    (State.OBSERVING, Move.STOP): State.STOPPED,
}


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("asked", Move)
def test_every_move_is_legal_or_refused_with_what_is_possible_instead(state, asked):
    if (state, asked) in LEGAL:
        assert move(state, asked) is LEGAL[state, asked]
        return
    with pytest.raises(IllegalTransitionError) as refused:
        move(state, asked)
    assert (refused.value.state, refused.value.action) == (state.value, asked.value)
    assert refused.value.legal == possible(state)
    assert all(action in refused.value.hint for action in possible(state))


@pytest.mark.parametrize("state", State)
@pytest.mark.parametrize("action", ["approve", "roll_back", "resume"])
def test_actions_on_treatments_and_steps_are_refused_where_nobody_is_exposed(state, action):
    makes_sense = {
        "approve": {State.RUNNING, State.PAUSED},
        "roll_back": {State.RUNNING, State.PAUSED, State.OBSERVING, State.FINISHED},
        "resume": {State.RUNNING, State.PAUSED},
    }
    if state in makes_sense[action]:
        require(state, action)
    else:
        with pytest.raises(IllegalTransitionError, match=f"while {state.value}"):
            require(state, action)


def test_what_is_possible_is_named_in_one_order_and_nothing_is_once_it_is_over():
    assert possible(State.DRAFT) == ("start", "stop")
    assert possible(State.RUNNING) == (
        "pause",
        "approve",
        "extend",
        "stop",
        "roll_back",
        "resume",
    )
    assert possible(State.PAUSED) == (
        "continue",
        "approve",
        "extend",
        "stop",
        "roll_back",
        "resume",
    )
    assert possible(State.OBSERVING) == ("stop", "roll_back")
    assert possible(State.FINISHED) == ("roll_back",)  # of what was shipped
    assert possible(State.STOPPED) == ()
    assert {a for state in State for a in possible(state)} == set(ACTIONS)


@pytest.mark.parametrize("before", [None, *State])
def test_a_run_begins_as_a_draft_when_it_waits_and_a_pause_outlasts_a_new_seed(before):
    assert begin(before, waits=True) is State.DRAFT
    then = State.PAUSED if before is State.PAUSED else State.RUNNING
    assert begin(before, waits=False) is then
