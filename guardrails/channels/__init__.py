"""Where messages go. A new channel is one file here and one line in ``registry.CHANNELS``."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Protocol, runtime_checkable


@dataclass(frozen=True, slots=True)
class Message:
    """What is told.

    Attributes:
        key: The same for every delivery of one message: receivers drop repeats by it.
        kind: ``rolled_back``, ``breach_told``, ``rollback_ineffective``, ``resumed`` and so on.
        experiment: Key; empty where it concerns the whole service.
        variant: Arm concerned.
        at: When it happened.
        title: One line.
        text: The reason in words.
        evidence: The numbers.
        guardrail: Id of the guardrail concerned.
        facts: The same in short, by name: ``kpi``, ``effect``, ``units`` and so on.
        link: Page that says everything; empty where the settings name no address for pages.
    """

    key: str
    kind: str
    experiment: str
    variant: str | None
    at: datetime
    title: str
    text: str
    evidence: dict[str, Any] | None
    guardrail: str | None = None
    facts: Mapping[str, str] = field(default_factory=dict[str, str])
    link: str = ""


class DeliveryError(Exception):
    """A message could not be delivered.

    Attributes:
        retryable: Whether another try makes sense.
        retry_after: How long the receiver wants to be left alone, ``None`` where it says nothing.
        hint: What a person can do, may be empty.
    """

    def __init__(
        self,
        message: str,
        *,
        retryable: bool,
        retry_after: timedelta | None = None,
        hint: str = "",
    ) -> None:
        super().__init__(message)
        self.retryable = retryable
        self.retry_after = retry_after
        self.hint = hint


class Channel(Protocol):
    """Something that can tell people. Called from one thread; may block for its timeout."""

    def send(self, message: Message) -> None:
        """Deliver one message.

        Raises:
            DeliveryError: It was not delivered.
        """
        ...


@runtime_checkable
class Repeating(Protocol):
    """A channel whose receiver forgets: it is told again while what was told stands.

    Attributes:
        every: How often.
    """

    every: timedelta

    def labels(self, message: Message) -> Mapping[str, str]:
        """Return by what the receiver knows a message: equal labels are one alert."""
        ...

    def post(self, message: Message, *, over_at: datetime | None) -> None:
        """Tell that a message stands, or that it is over since ``over_at``.

        Raises:
            DeliveryError: Nobody took it.
        """
        ...


def where_of(channel: Channel) -> str:
    """Return where a channel leads, without what is secret of it; empty where it says nothing."""
    return str(getattr(channel, "where", ""))


def type_of(channel: Channel) -> str:
    """Return the type of a channel as settings name it; its class where it says nothing."""
    return str(getattr(channel, "type", type(channel).__name__))
