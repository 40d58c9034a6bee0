"""An incoming webhook of Slack, or of whatever takes the same JSON (Mattermost, Rocket.Chat)."""

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final, Literal

import msgspec
from pydantic import Field

from guardrails.channels import Message
from guardrails.channels.config import ChannelConfig, HttpUrl, Patience, visible_key
from guardrails.channels.http import host_of, post
from guardrails.channels.texts import cut, fact_lines, one_line, paragraphs

_HEADER: Final = 150
_SECTION: Final = 3_000
_FALLBACK: Final = 3_000
_CONTEXT: Final = 300
_BUTTON: Final = 75
_LONGEST_ENTITY: Final = 5


def escaped(text: str, longest: int) -> str:
    """Return text with ``&``, ``<`` and ``>`` as Slack wants them, at most ``longest`` characters.

    What is cut is cut before it is escaped, so no entity is cut in two.
    """
    size = longest
    while True:
        short = cut(text, size)
        safe = short.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
        if len(safe) <= longest:
            return safe
        size = len(short) - max(1, (len(safe) - longest) // _LONGEST_ENTITY)


def _plain(text: str, longest: int) -> dict[str, Any]:
    return {"type": "plain_text", "text": escaped(text, longest), "emoji": False}


def _fallback(message: Message, title: str) -> str:
    text = f"{title}\n{paragraphs(message.text)}"
    return f"{text}\n{message.link}" if message.link else text


def _button(link: str) -> dict[str, Any]:
    return {"type": "button", "text": _plain("Open the page", _BUTTON), "url": link}


def payload(message: Message) -> dict[str, Any]:
    """Return a message as Slack's ``text`` and ``blocks``.

    Text comes as plain text: nothing in it is a mention, a link or a format.
    """
    title = one_line(message.title)
    blocks: list[dict[str, Any]] = [{"type": "header", "text": _plain(title, _HEADER)}]
    texts = (paragraphs(message.text).strip(), "\n".join(fact_lines(message)))
    blocks += [{"type": "section", "text": _plain(text, _SECTION)} for text in texts if text]
    if message.link:
        blocks.append({"type": "actions", "elements": [_button(message.link)]})
    about = f"{message.kind} at {message.at:%Y-%m-%d %H:%M:%S} UTC, key {message.key}"
    blocks.append({"type": "context", "elements": [_plain(one_line(about, _CONTEXT), _CONTEXT)]})
    return {
        "text": escaped(_fallback(message, title), _FALLBACK),
        "blocks": blocks,
        "unfurl_links": False,
        "unfurl_media": False,
    }


@dataclass(frozen=True, slots=True)
class SlackChannel:
    """Posts messages to one incoming webhook, whose address is a secret.

    Attributes:
        url: Of the incoming webhook.
        timeout: For one delivery.
    """

    url: str
    timeout: timedelta = timedelta(seconds=5)
    type: str = "slack"

    def __repr__(self) -> str:
        return "SlackChannel(url=***)"

    @property
    def where(self) -> str:
        """Scheme and host."""
        return host_of(self.url)

    def send(self, message: Message) -> None:
        """Post the message.

        Slack knows no repeats; the key stands under the message.

        Raises:
            DeliveryError: It was not taken.
        """
        body = msgspec.json.encode(payload(message))
        headers = {"Idempotency-Key": visible_key(message.key)}
        post(self.url, body, headers=headers, timeout=self.timeout)


class SlackConfig(ChannelConfig):
    """Posts every message to an incoming webhook of Slack."""

    type: Literal["slack"]
    url: HttpUrl = Field(description="Of the incoming webhook; it is a secret.")
    timeout: Patience = Field(timedelta(seconds=5), description="For one delivery.")

    def build(self, now: Callable[[], datetime]) -> SlackChannel:
        """Return the channel."""
        _ = now
        return SlackChannel(self.url.get_secret_value(), self.timeout)
