"""What people ask of experiments: each is one transaction, then served and told."""

from collections.abc import Callable
from datetime import datetime, timedelta
from threading import RLock
from typing import TypeVar

from sqlmodel import Session

from experiments.errors import InvalidRequestError
from experiments.lifecycle import Move
from experiments.repository import ExperimentRecord, TransitionRecord
from guardrails.actions import approve, change_state, resume, write_note
from guardrails.asked import Asked
from guardrails.engine_reading import Reading
from guardrails.extending import extend
from guardrails.loaded import Loaded
from guardrails.meanwhile import compare_and_set
from guardrails.present import transition_view
from guardrails.turning_back import roll_back, roll_back_all
from guardrails.views import TransitionView

Done = TypeVar("Done")


class Acting(Reading):
    """The half of the engine that does what people ask for; one at a time."""

    _lock: RLock

    def _tell(self) -> None:
        """Send what is due, where whoever caused it sends it."""
        raise NotImplementedError

    def _follow(self) -> None:
        """Serve what is stored now."""
        raise NotImplementedError

    def roll_back(self, key: str, variant: str, *, reason: str, actor: str) -> TransitionView:
        """Turn a treatment back by hand, latched like the engine's own.

        Raises:
            UnknownExperimentError: No such experiment.
            UnknownVariantError: No such treatment.
            ConflictError: It is rolled back already.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        return self._act(
            key, lambda s, r, x: roll_back(s, r, x, variant, asked, settings=self.settings)
        )

    def roll_back_all(self, key: str, *, reason: str, actor: str) -> tuple[TransitionView, ...]:
        """Turn every live treatment back by hand, in one transaction: all, or none.

        Raises:
            UnknownExperimentError: No such experiment.
            IllegalTransitionError: Nobody is shown anything.
            ConflictError: None is live.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        done = self._doing(
            key, lambda s, r, x: roll_back_all(s, r, x, asked, settings=self.settings)
        )
        return tuple(map(transition_view, done))

    def resume(self, key: str, variant: str, *, reason: str, actor: str) -> TransitionView:
        """Begin a new attempt of a rolled back treatment.

        The same units get the same arm; only units first exposed from now on count for it, and
        for control in its comparisons, at a fresh level.

        Raises:
            UnknownExperimentError: No such experiment.
            UnknownVariantError: No such treatment.
            ConflictError: It is live, the experiment is over, or the engine turned it back less
                than the cooldown ago.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        return self._act(
            key, lambda s, r, x: resume(s, r, x, variant, asked, settings=self.settings)
        )

    def move(self, key: str, step: Move, *, reason: str, actor: str) -> TransitionView:
        """Start, pause, continue or stop an experiment.

        Raises:
            UnknownExperimentError: No such experiment.
            IllegalTransitionError: Not from its present state; it names what is possible.
            ConflictError: It would end before it starts.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        return self._act(
            key, lambda s, r, x: change_state(s, r, x, step, asked, holdout=self.settings.holdout)
        )

    def approve(self, key: str, *, reason: str, actor: str) -> TransitionView:
        """Allow the current step of the ramp to be left, also ahead of time.

        Raises:
            UnknownExperimentError: No such experiment.
            IllegalTransitionError: It does not run.
            ConflictError: The step needs no approval, or has it.
        """
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        return self._act(key, lambda s, r, x: approve(s, r, x, asked))

    def extend(
        self,
        key: str,
        *,
        until: datetime | None = None,
        by: timedelta | None = None,
        reason: str,
        actor: str,
    ) -> TransitionView:
        """Let units come in for longer (``guardrails.extending``)."""
        asked = Asked(actor=actor, reason=reason, at=self._clock.now())
        return self._act(key, lambda s, r, x: extend(s, r, x, asked, until=until, by=by))

    def _act(
        self,
        key: str,
        action: Callable[[Session, ExperimentRecord, Loaded], TransitionRecord],
    ) -> TransitionView:
        return transition_view(self._doing(key, action))

    def _doing(self, key: str, action: Callable[[Session, ExperimentRecord, Loaded], Done]) -> Done:
        with self._lock:
            with compare_and_set(), self._control.transaction() as session:
                record, loaded = self._shelf.known(session, key)
                done = action(session, record, loaded)
            self._follow()
        self._tell()
        return done

    def pause(self, key: str, *, reason: str, actor: str) -> TransitionView:
        """Give everybody control and go on checking; ``continue`` undoes it."""
        return self.move(key, Move.PAUSE, reason=reason, actor=actor)

    def stop(self, key: str, *, reason: str, actor: str) -> TransitionView:
        """End an experiment for good: everybody gets control, checks end."""
        return self.move(key, Move.STOP, reason=reason, actor=actor)

    def note(self, key: str, text: str, *, actor: str) -> TransitionView:
        """Write on the timeline of an experiment, whatever its state; nothing else changes.

        Raises:
            UnknownExperimentError: No such experiment.
            InvalidRequestError: There is no text, or too much.
        """
        if not text.strip():
            raise InvalidRequestError(
                "the note is empty", hint="say in a few words what happened", path="text"
            )
        asked = Asked(actor=actor, reason=text, at=self._clock.now())
        with self._lock, self._control.transaction() as session:
            record, _ = self._shelf.known(session, key)
            return transition_view(write_note(session, record, asked))
