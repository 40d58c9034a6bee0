"""What the settings of all channels have in common."""

import re
from abc import abstractmethod
from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Annotated, Final
from urllib.parse import quote, urlsplit

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, SecretStr

from experiments.language.amounts import parse_duration
from guardrails.channels import Channel

NAME: Final = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,63}")
"""How a channel may be called."""

_SHORTEST: Final = timedelta(milliseconds=100)
_LONGEST: Final = timedelta(seconds=60)


class ChannelConfig(BaseModel):
    """One channel as the settings name it: its type, and what that type wants."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    @abstractmethod
    def build(self, now: Callable[[], datetime]) -> Channel:
        """Return the channel.

        Args:
            now: When it is now, for what is signed or dated on the way.
        """
        ...


def _length(given: object) -> object:
    if isinstance(given, int | float) and not isinstance(given, bool):
        return timedelta(seconds=given)
    length = parse_duration(given) if isinstance(given, str) else given
    if not isinstance(length, timedelta):
        raise ValueError("must be a length such as 5s")  # noqa: TRY004 - pydantic reads these
    return length


def _patience(length: timedelta) -> timedelta:
    if not _SHORTEST <= length <= _LONGEST:
        raise ValueError("must be from 0.1 to 60 seconds, written like 5s")
    return length


def _address(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        good = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        good = False
    text = url.get_secret_value()
    if not good or not text.isprintable() or " " in text:
        raise ValueError("must be an address such as https://example.com/hook")
    return url


def _header_safe(secret: SecretStr) -> SecretStr:
    text = secret.get_secret_value()
    if not text or not text.isascii() or not text.isprintable() or text != text.strip():
        raise ValueError("must be printable ASCII without blanks around it")
    return secret


HttpUrl = Annotated[SecretStr, AfterValidator(_address)]
"""An address of http or https; secret, because many hold a key."""

HeaderSecret = Annotated[SecretStr, AfterValidator(_header_safe)]
"""A secret that a header can carry."""

Length = Annotated[timedelta, BeforeValidator(_length)]
"""A length of time, as people write it or in seconds."""

Patience = Annotated[timedelta, BeforeValidator(_length), AfterValidator(_patience)]
"""How long one delivery may take."""


def optional(secret: SecretStr | None) -> str | None:
    """Return a secret's text."""
    return None if secret is None else secret.get_secret_value()


def visible_key(key: str) -> str:
    """Return a key that a header can carry: what is no printable ASCII is percent-encoded."""
    return quote(key, safe="!#$&'()*+,/:;=?@[]<>{}|~ -._")
