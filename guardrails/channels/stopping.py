"""A channel that a stopping service does not wait for."""

from dataclasses import dataclass
from threading import Event

from guardrails.channels import Channel, DeliveryError, Message


@dataclass(frozen=True, slots=True)
class WhileRunning:
    """Sends until the service stops; what is left then is told after its next start.

    Attributes:
        channel: Where to send.
        stopping: Set when the service stops.
    """

    channel: Channel
    stopping: Event

    def send(self, message: Message) -> None:
        """Deliver one message.

        Raises:
            DeliveryError: It was not delivered, or the service is stopping.
        """
        if self.stopping.is_set():
            raise DeliveryError("the service is stopping", retryable=True)
        self.channel.send(message)
