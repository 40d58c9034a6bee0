"""A webhook: one JSON POST per message, repeatable, recognised by its key, signed."""

import hmac
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Final, Literal

import msgspec
from pydantic import Field, SecretStr

from guardrails.channels import Message
from guardrails.channels.config import (
    ChannelConfig,
    HeaderSecret,
    HttpUrl,
    Patience,
    optional,
    visible_key,
)
from guardrails.channels.http import LONGEST_BODY, host_of, post
from guardrails.channels.texts import cut

SIGNATURE: Final = "X-Turnback-Signature"
_LONGEST_TEXT: Final = 20_000


def signature(secret: str, body: bytes, *, at: datetime) -> str:
    """Return the signature of a body sent at an instant: ``t=<unix>,v1=<hex>``.

    It is the HMAC-SHA-256 of ``<unix>.<body>`` under the channel's secret.
    """
    unix = int(at.timestamp())
    digest = hmac.new(secret.encode(), b"%d." % unix + body, sha256).hexdigest()
    return f"t={unix},v1={digest}"


@dataclass(frozen=True, slots=True)
class WebhookChannel:
    """Posts messages to one URL, which comes from the server's settings, never from a spec file.

    Attributes:
        url: Where to post. It may hold a secret: it is never logged nor part of an error.
        now: When it is now, for the signature.
        secret: Signs every message; ``None`` for no signature.
        bearer: Sent as ``Authorization: Bearer``, ``None`` for nothing.
        timeout: For one delivery.
    """

    url: str
    now: Callable[[], datetime]
    secret: str | None = None
    bearer: str | None = None
    timeout: timedelta = timedelta(seconds=5)
    type: str = "webhook"

    def __repr__(self) -> str:
        return "WebhookChannel(url=***)"

    @property
    def where(self) -> str:
        """Scheme and host."""
        return host_of(self.url)

    def send(self, message: Message) -> None:
        """Post the message with header ``Idempotency-Key``; any 2xx is delivered.

        Raises:
            DeliveryError: No answer, or another status; 4xx that cannot get better are permanent.
        """
        body = body_of(message)
        headers = {"Idempotency-Key": visible_key(message.key)}
        if self.secret is not None:
            headers[SIGNATURE] = signature(self.secret, body, at=self.now())
        if self.bearer is not None:
            headers["Authorization"] = f"Bearer {self.bearer}"
        hidden = [text for text in (self.secret, self.bearer) if text]
        post(self.url, body, headers=headers, timeout=self.timeout, secrets=hidden)


def body_of(message: Message) -> bytes:
    """Return a message as JSON; one that would be too long goes without its evidence."""
    body = msgspec.json.encode(message)
    if len(body) <= LONGEST_BODY:
        return body
    short = replace(message, evidence=None, text=cut(message.text, _LONGEST_TEXT))
    return msgspec.json.encode(short)


class WebhookConfig(ChannelConfig):
    """Posts every message as JSON."""

    type: Literal["webhook"]
    url: HttpUrl = Field(description="Where to post.")
    secret: SecretStr | None = Field(None, min_length=8, description="Signs every message.")
    bearer: HeaderSecret | None = Field(None, description="Sent as `Authorization: Bearer`.")
    timeout: Patience = Field(timedelta(seconds=5), description="For one delivery.")

    def build(self, now: Callable[[], datetime]) -> WebhookChannel:
        """Return the channel."""
        return WebhookChannel(
            self.url.get_secret_value(),
            now,
            secret=optional(self.secret),
            bearer=optional(self.bearer),
            timeout=self.timeout,
        )
