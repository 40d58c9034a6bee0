"""What rules have in common that watch the data and compare no KPI at a level of alpha."""

from dataclasses import dataclass
from typing import ClassVar, TypedDict

from experiments.language.reading import Key, Place, Record, Refusal, ValueType
from experiments.language.source import Node, ScalarNode
from experiments.language.types import choice_type
from guardrails.rules.common import ABOUT_ACTIONS, Action
from metrics.catalogue import Window


class WatchingValues(TypedDict):
    """Values of ``Watching`` that a record says alike in every rule."""

    id: str
    action: Action
    dry_run: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Watching:
    """What every guardrail has that watches the data: it turns nobody back.

    Attributes:
        id: Name within the experiment.
        action: What a breach does: ``hold`` or ``alert``.
        dry_run: Evaluated, recorded and shown, but never acts.
    """

    kpi: ClassVar[str | None] = None
    windows: ClassVar[tuple[Window, ...]] = ()
    weight: ClassVar[float] = 1.0
    acts: ClassVar[bool] = False
    """It takes no part in the alpha."""

    id: str
    action: Action = Action.HOLD
    dry_run: bool = False


def watching_key(*actions: Action, why: str) -> Key:
    """Return the key ``action`` of a rule that may do only this, the first by default.

    Args:
        actions: What it may do.
        why: Why it may do nothing else, for who asks for more.
    """
    known = [action.value for action in actions]
    plain = choice_type(known, what="action")

    def read(node: Node, place: Place) -> str:
        text = node.text if isinstance(node, ScalarNode) else ""
        if text in {action.value for action in Action} - set(known):
            raise Refusal(f"`{text}` is not for this rule: {why}", f"use {' or '.join(known)}")
        return plain.read(node, place)

    said = " or ".join(f"{ABOUT_ACTIONS[action]}" for action in actions)
    about = f"What a breach does: {said}."
    return Key("action", ValueType(read, plain.schema), about, "alert", default=known[0])


def watching_values(record: Record, *, name: str, action: Action) -> WatchingValues:
    """Return what a record says of a guardrail that watches; ``name`` and ``action`` else."""
    return WatchingValues(
        id=record.get("id", name),
        action=Action(record.get("action", action)),
        dry_run=record.get("dry_run", False),
    )
