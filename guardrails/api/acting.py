"""What a person asks of an experiment, as it comes over HTTP and from the pages."""

from collections.abc import Iterable
from datetime import UTC, timedelta
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field

from experiments.errors import InvalidRequestError
from experiments.language.amounts import parse_duration
from experiments.lifecycle import Move
from guardrails.api import examples
from guardrails.engine import Engine
from guardrails.texts import unicode
from guardrails.views import TransitionView

LONGEST_REASON = 2_000
"""Characters of a reason: it is kept, shown and sent to channels."""

Text = Annotated[str, AfterValidator(unicode)]


class ActionName(StrEnum):
    """What a person may do to an experiment."""

    START = "start"
    PAUSE = "pause"
    CONTINUE = "continue"
    APPROVE = "approve"
    EXTEND = "extend"
    STOP = "stop"
    ROLL_BACK = "roll_back"
    RESUME = "resume"


OF_A_TREATMENT = frozenset({ActionName.ROLL_BACK, ActionName.RESUME})

SOME: dict[str, Any] = {"pattern": r"\S"}
"""Text that says something; what does not is refused in words of its own."""

_NONE = {"type": "null"}
_TEXT = {"type": "string", "minLength": 1}


def _of(names: Iterable[ActionName], *required: str, **properties: Any) -> dict[str, Any]:
    """Return which other keys actions take."""
    action = {"enum": sorted(name.value for name in names)}
    return {"properties": {"action": action, **properties}, "required": [*required]}


_OTHERS = set(ActionName) - OF_A_TREATMENT - {ActionName.EXTEND}
_TAKING: dict[str, Any] = {
    "required": ["action", "reason"],
    "oneOf": [
        _of(OF_A_TREATMENT, "variant", variant=_TEXT, until=_NONE, by=_NONE),
        _of([ActionName.EXTEND], "by", variant=_NONE, until=_NONE, by=_TEXT),
        _of([ActionName.EXTEND], "until", variant=_NONE, until={"type": "string"}, by=_NONE),
        _of(_OTHERS, variant=_NONE, until=_NONE, by=_NONE),
    ],
}


class Action(BaseModel):
    """What to do, to which arm, and why: the reason is kept."""

    model_config = ConfigDict(
        extra="forbid", json_schema_extra={"examples": [*examples.ACTIONS.values()], **_TAKING}
    )

    action: ActionName
    variant: Text | None = Field(
        None, description="The treatment; for `roll_back` and `resume` alone."
    )
    reason: Text = Field(
        "", max_length=LONGEST_REASON, description="Why; it is kept.", json_schema_extra=SOME
    )
    until: AwareDatetime | None = Field(
        None, description="When the last unit enters; for `extend` alone."
    )
    by: Text | None = Field(
        None,
        max_length=40,
        json_schema_extra={"pattern": "^([1-9][0-9]{0,2}[dhm]){1,3}$"},
        description="How much later the last unit enters, for instance `7d`; for `extend` alone.",
    )


def act(engine: Engine, key: str, asked: Action, actor: str) -> TransitionView:
    """Do what a person asks for.

    Raises:
        TurnbackError: It is refused; nothing changed.
    """
    name, reason = asked.action, asked.reason
    if name is not ActionName.EXTEND and (asked.until is not None or asked.by is not None):
        path = "by" if asked.until is None else "until"
        raise InvalidRequestError(f"'{name.value}' takes no time", hint="leave it out", path=path)
    if name in OF_A_TREATMENT:
        if not asked.variant:
            raise InvalidRequestError(
                f"'{name.value}' needs a variant", hint="name the treatment", path="variant"
            )
        do = engine.roll_back if name is ActionName.ROLL_BACK else engine.resume
        return do(key, asked.variant, reason=reason, actor=actor)
    if asked.variant:
        raise InvalidRequestError(
            f"'{name.value}' is about the whole experiment",
            hint="leave the variant out",
            path="variant",
        )
    if name is ActionName.APPROVE:
        return engine.approve(key, reason=reason, actor=actor)
    if name is ActionName.EXTEND:
        until = None if asked.until is None else asked.until.astimezone(UTC)
        return engine.extend(key, until=until, by=_length(asked.by), reason=reason, actor=actor)
    return engine.move(key, Move(name.value), reason=reason, actor=actor)


def _length(text: str | None) -> timedelta | None:
    """Return a length of time as spec files write it.

    Raises:
        InvalidRequestError: It is none.
    """
    if text is None:
        return None
    length = parse_duration(text)
    if length is None:
        raise InvalidRequestError(
            f"{text!r} is no length of time", hint="write it as 7d, 36h or 1d12h", path="by"
        )
    return length
