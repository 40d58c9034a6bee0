"""Errors say where, what and what to do, in one shape."""

import inspect

import pytest

from experiments import errors
from experiments.errors import IllegalTransitionError, Problem, TurnbackError

ALL = [
    kind
    for _, kind in inspect.getmembers(errors, inspect.isclass)
    if issubclass(kind, TurnbackError)
]


def test_every_error_has_a_code_of_its_own_and_a_status():
    codes = [kind.code for kind in ALL]
    assert len(set(codes)) == len(codes)
    assert all(400 <= kind.status < 600 for kind in ALL)


def test_the_docstring_is_the_message_where_none_is_given():
    assert str(errors.UnknownVariantError()) == "The experiment has no such variant."


def test_an_error_says_where_what_and_what_to_do():
    error = errors.ConflictError("weights differ", hint="raise `seed`", path="variants")
    assert str(error) == "variants: weights differ; raise `seed`"
    assert error.to_json() == {
        "error": {
            "code": "conflict",
            "message": "weights differ",
            "hint": "raise `seed`",
            "path": "variants",
        }
    }


def test_an_illegal_move_says_which_are_legal():
    error = IllegalTransitionError(state="rolled_back", action="roll_back", legal=["resume"])
    assert str(error) == "cannot roll back while rolled back; possible now: resume"
    assert (error.status, error.legal) == (409, ("resume",))


@pytest.mark.parametrize(
    ("path", "hint", "text"),
    [
        ("a.b", "do this", "f.yaml:2:3: a.b: is wrong; do this"),
        ("", "do this", "f.yaml:2:3: is wrong; do this"),
        ("a", "", "f.yaml:2:3: a: is wrong"),
    ],
)
def test_a_problem_is_one_line(path, hint, text):
    assert str(Problem("f.yaml", 2, 3, path, "is wrong", hint)) == text
