"""A webhook: one JSON POST per message, repeatable, recognised by its key."""

import httpx
import msgspec

from guardrails.channels import DeliveryError, Message

PERMANENT = frozenset({400, 401, 403, 404, 405, 410, 413, 415, 422})


class WebhookChannel:
    """Posts messages to one URL, which comes from the server's settings, never from a spec file.

    Args:
        url: Where to post. It may hold a secret: it is never logged nor part of an error.
        timeout: Seconds to wait for the answer.
    """

    def __init__(self, url: str, *, timeout: float = 5.0) -> None:
        self._url = url
        self._timeout = timeout

    def __repr__(self) -> str:
        return "WebhookChannel(url=***)"

    def send(self, message: Message) -> None:
        """Post the message with header ``Idempotency-Key``; any 2xx is delivered.

        Raises:
            DeliveryError: No answer, or another status; 4xx that cannot get better are permanent.
        """
        try:
            answer = httpx.post(
                self._url,
                content=msgspec.json.encode(message),
                headers={"Content-Type": "application/json", "Idempotency-Key": message.key},
                timeout=self._timeout,
            )
        except httpx.HTTPError as error:
            raise DeliveryError(
                f"the webhook did not answer ({type(error).__name__})", retryable=True
            ) from None
        if answer.is_success:
            return
        raise DeliveryError(
            f"the webhook answered {answer.status_code}",
            retryable=answer.status_code not in PERMANENT,
        )
