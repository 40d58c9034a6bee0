"""Every experiment at once, as pages that show many need them: read again only where it changed."""

from collections.abc import Callable
from datetime import datetime
from typing import Final

from guardrails.engine import Engine
from guardrails.views import ExperimentView
from metrics.wording import language

MINUTE: Final = 60.0
"""Seconds after which an experiment is read again though nothing of it changed."""


class Briefs:
    """Reads experiments and remembers them, in each language that was asked for.

    Args:
        engine: The engine.
        now: The clock.
    """

    def __init__(self, engine: Engine, now: Callable[[], datetime]) -> None:
        self._engine = engine
        self._now = now
        self._held: dict[str, dict[str, tuple[object, ExperimentView]]] = {}

    def __call__(self) -> tuple[ExperimentView, ...]:
        """Return every experiment, oldest first, without the history of its guardrails."""
        held = self._held.setdefault(language(), {})
        general = (
            int(self._now().timestamp() // MINUTE),
            self._engine.suspension().words,
            *(words for each in self._engine.notices for words in each()),
        )
        tokens = {
            key: (token, general, self._engine.own_notices(key))
            for key, token in self._engine.activities().items()
        }
        stale = {key for key in tokens if key not in held or held[key][0] != tokens[key]}
        if stale:
            for key, view in self._engine.briefs(stale).items():
                held[key] = tokens[key], view
        for gone in held.keys() - tokens.keys():
            held.pop(gone, None)
        return tuple(held[key][1] for key in tokens if key in held)
