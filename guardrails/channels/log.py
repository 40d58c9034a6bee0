"""The channel that is always there: a line in the service's own log."""

import logging

from guardrails.channels import Message

logger = logging.getLogger("turnback.notify")


class LogChannel:
    """Writes each message as one warning with its experiment, variant and key."""

    def send(self, message: Message) -> None:
        """Write the message; never fails."""
        logger.warning(
            "%s: %s",
            message.title,
            message.text,
            extra={
                "experiment": message.experiment,
                "variant": message.variant,
                "key": message.key,
            },
        )
