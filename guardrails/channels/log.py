"""The channel that is always there: a line in the service's own log."""

import logging
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from typing import Final, Literal

from guardrails.channels import Message
from guardrails.channels.config import ChannelConfig
from guardrails.channels.texts import one_line, plain
from metrics.wording import marked

logger = logging.getLogger("turnback.notify")

_LONGEST: Final = 4_000


@dataclass(frozen=True, slots=True)
class LogChannel:
    """Writes each message as one warning with its experiment, variant and key."""

    type: str = "log"
    where: str = marked("the service's log")

    def send(self, message: Message) -> None:
        """Write the message in one line; never fails."""
        logger.warning(
            "%s: %s",
            one_line(message.title),
            one_line(" | ".join(filter(None, plain(message, _LONGEST).splitlines())), _LONGEST),
            extra={
                "experiment": message.experiment,
                "variant": message.variant,
                "key": message.key,
            },
        )


class LogConfig(ChannelConfig):
    """Writes every message into the service's log."""

    type: Literal["log"]

    def build(self, now: Callable[[], datetime]) -> LogChannel:
        """Return the channel."""
        _ = now
        return LogChannel()
