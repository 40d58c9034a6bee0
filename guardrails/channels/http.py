"""One POST, with bounded patience and a bounded answer; redirects are not followed."""

import asyncio
import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Final
from urllib.parse import urlsplit

import httpx

from guardrails.channels import DeliveryError
from guardrails.channels.texts import one_line
from metrics.wording import gettext as _

LONGEST_ANSWER: Final = 4_096
"""Bytes of an answer that are read: enough to say why something was refused."""

LONGEST_BODY: Final = 256_000
"""Bytes of a message."""

LONGEST_WAIT: Final = timedelta(hours=1)
"""What a receiver may ask for with ``Retry-After``; longer is taken as a mistake."""

_TRY_AGAIN: Final = frozenset({408, 425, 429})
_HINTS: Final = {
    400: "it does not take this message: is the channel's type right?",
    401: "the receiver wants to know who asks: look at the channel's secret, user or password",
    403: "the receiver does not allow it: has the address or the key been withdrawn?",
    404: "nothing is there: look at the channel's address",
    405: "nothing takes messages there: look at the channel's address",
    410: "the address was withdrawn: make a new one and put it into the settings",
    413: "the receiver takes only shorter messages",
    415: "it does not take this message: is the channel's type right?",
    422: "it does not take this message: is the channel's type right?",
}


def host_of(url: str) -> str:
    """Return scheme and host of an address: the rest of it may be secret."""
    parts = urlsplit(url)
    port = f":{parts.port}" if parts.port is not None else ""
    host = f"[{parts.hostname}]" if parts.hostname and ":" in parts.hostname else parts.hostname
    return f"{parts.scheme}://{host}{port}"


def post(
    url: str,
    body: bytes,
    *,
    headers: Mapping[str, str],
    timeout: timedelta,
    secrets: Sequence[str] = (),
) -> None:
    """Post a body of JSON; any 2xx is delivered.

    Args:
        url: Where; it may hold a secret, which no error shows.
        body: At most ``LONGEST_BODY`` bytes.
        headers: Beside the content type.
        timeout: For everything, from the name of the host to the end of the answer.
        secrets: Texts that no error may show.

    Raises:
        DeliveryError: No answer in time, or another status. Redirects and 4xx except 408, 425
            and 429 are permanent.
    """
    where = host_of(url)
    if len(body) > LONGEST_BODY:
        most = f"{LONGEST_BODY:,}"
        said = _("the message has more than {number} bytes", number=most)
        raise DeliveryError(said, retryable=False)
    try:
        status, said, wait = asyncio.run(_posted(url, body, headers, timeout.total_seconds()))
    except TimeoutError:
        raise DeliveryError(
            _(
                "{where} did not answer within {length} s",
                where=where,
                length=f"{timeout.total_seconds():g}",
            ),
            retryable=True,
            hint="is it up, and can this machine reach it?",
        ) from None
    except (httpx.InvalidURL, UnicodeError):
        raise DeliveryError(_("{where} is no address", where=where), retryable=False) from None
    except httpx.HTTPError as error:
        raise DeliveryError(
            _("{where} cannot be reached ({error})", where=where, error=type(error).__name__),
            retryable=True,
            hint="is it up, and can this machine reach it?",
        ) from None
    if 200 <= status < 300:  # noqa: PLR2004 - any 2xx
        return
    raise _refused(where, status, _hidden(said, (urlsplit(url).path, url, *secrets)), wait)


async def _posted(
    url: str, body: bytes, headers: Mapping[str, str], seconds: float
) -> tuple[int, bytes, str]:
    """Return (status, beginning of the answer where it refuses, its ``Retry-After``)."""
    sent = {"Content-Type": "application/json", "User-Agent": "turnback", **headers}
    async with asyncio.timeout(seconds):
        async with (
            httpx.AsyncClient(timeout=seconds, follow_redirects=False) as client,
            client.stream("POST", url, content=body, headers=sent) as answer,
        ):
            said = b""
            if not answer.is_success:
                async for part in answer.aiter_raw():
                    said += part[: LONGEST_ANSWER - len(said)]
                    if len(said) >= LONGEST_ANSWER:
                        break
            return answer.status_code, said, answer.headers.get("retry-after", "")


def _hidden(said: bytes, secrets: Sequence[str]) -> str:
    """Return what a receiver said in one line; what is secret of its address is not in it."""
    text = said.decode("utf-8", "replace")
    for secret in sorted(set(secrets), key=len, reverse=True):
        if len(secret.strip("/")) > 1:
            text = text.replace(secret, "***")
    return one_line(text, 120)


def _refused(where: str, status: int, said: str, wait: str) -> DeliveryError:
    words = _("{where} answered {status}", where=where, status=status)
    words = _("{said}: {answer}", said=words, answer=said) if said else words
    if 300 <= status < 400:  # noqa: PLR2004 - any 3xx
        return DeliveryError(
            words,
            retryable=False,
            hint="redirects are not followed: put the address it leads to into the settings",
        )
    passing = status >= 500 or status in _TRY_AGAIN  # noqa: PLR2004 - any 5xx
    hint = _HINTS.get(status, "it is tried again" if passing else "look at the channel's settings")
    return DeliveryError(
        words, retryable=passing, retry_after=_wait(wait) if passing else None, hint=hint
    )


def _wait(given: str) -> timedelta | None:
    """Return what ``Retry-After`` asks for: seconds or a date, at most ``LONGEST_WAIT``."""
    try:
        seconds = float(given)
    except ValueError:
        try:
            until = parsedate_to_datetime(given)
        except ValueError:
            return None
        until = until if until.tzinfo is not None else until.replace(tzinfo=UTC)
        seconds = (until - datetime.now(UTC)).total_seconds()
    if not math.isfinite(seconds) or seconds <= 0:
        return None
    return min(timedelta(seconds=min(seconds, 1e6)), LONGEST_WAIT)
