"""What is shown of one rollback, however long ago it was: a frozen object for page and report."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from guardrails.views import GuardrailView, RollbackView, TransitionView, VariantView


class Since(StrEnum):
    """What became of a treatment after it was turned back."""

    LATCHED = "latched"  # its units get control, until a person resumes it
    RESUMED = "resumed"  # a person began another attempt, which is live
    BACK_AGAIN = "back_again"  # it was resumed, and turned back again
    NEW_SEED = "new_seed"  # another run with other units has begun
    OVER = "over"  # the experiment is over: everybody gets control, or what was shipped


@dataclass(frozen=True, slots=True)
class ClientsSeen:
    """Exposures to the treatment by kind of client: in the day before, and since the grace.

    ``kind`` is ``evaluated`` (asked this service), ``server`` (decides by itself, sends with a
    secret key) or ``client`` (with a public key).
    """

    kind: str
    before: int
    after: int


@dataclass(frozen=True, slots=True)
class RollbackStory:
    """Everything kept of one rollback.

    Attributes:
        transition: The rollback.
        title: Of the experiment, in the file that was in force.
        owner: Of the experiment, likewise.
        unit: What was randomised.
        control: Name of control.
        seed: Of the run.
        attempt: Of the treatment.
        began: When the attempt began.
        revision: That was in force.
        alpha: Budget of false rollbacks of the whole experiment.
        variants: As they were planned; ``exposed`` counts units first exposed until then, where
            it is known (``counted_at``).
        counted_at: Instant of the kept check whose counts those are, ``None`` for none.
        guardrail: What was breached, as the check found it; ``None`` where a person decided.
        rollback: Whether clients follow.
        clients: Exposures by kind of client, ``None`` where the log has them no longer.
        clients_until: Up to when those were counted.
        since: What became of the treatment.
        later: Changes of that treatment since, oldest first.
        state: Present state of the experiment.
        shipped: Treatment the audience gets now that the run is over, ``None`` for none.
        actions: What a person may ask of the experiment now.
        now: When this was read.
        check: Id of the check that decided, for ``replay``; ``None`` where a person did.
    """

    transition: TransitionView
    title: str
    owner: str
    unit: str
    control: str
    seed: int
    attempt: int
    began: datetime
    revision: int
    alpha: float
    variants: tuple[VariantView, ...]
    counted_at: datetime | None
    guardrail: GuardrailView | None
    rollback: RollbackView
    clients: tuple[ClientsSeen, ...] | None
    clients_until: datetime
    since: Since
    later: tuple[TransitionView, ...]
    state: str
    shipped: str | None
    actions: tuple[str, ...]
    now: datetime
    check: str | None

    @property
    def exposed(self) -> Mapping[str, int]:
        """Units first exposed until then, by variant."""
        return {v.name: v.exposed for v in self.variants}
