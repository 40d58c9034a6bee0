"""Where messages go. A new channel is one file here and one line in ``CHANNELS``."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol


@dataclass(frozen=True, slots=True)
class Message:
    """What is told.

    Attributes:
        key: The same for every delivery of one message: receivers drop repeats by it.
        kind: ``rolled_back``, ``breach_told``, ``rollback_ineffective``, ``resumed`` and so on.
        experiment: Key.
        variant: Arm concerned.
        at: When it happened.
        title: One line.
        text: The reason in words.
        evidence: The numbers.
    """

    key: str
    kind: str
    experiment: str
    variant: str | None
    at: datetime
    title: str
    text: str
    evidence: dict[str, Any] | None


class DeliveryError(Exception):
    """A message could not be delivered; ``retryable`` says whether another try makes sense."""

    def __init__(self, message: str, *, retryable: bool) -> None:
        super().__init__(message)
        self.retryable = retryable


class Channel(Protocol):
    """Something that can tell people. Called from one thread; may block for its timeout."""

    def send(self, message: Message) -> None:
        """Deliver one message.

        Raises:
            DeliveryError: It was not delivered.
        """
        ...
