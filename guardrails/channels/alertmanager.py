"""Alertmanager: one alert per call, posted to every instance, again and again while it stands."""

from base64 import b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final, Literal

import msgspec
from pydantic import AfterValidator, Field, SecretStr, model_validator

from guardrails.channels import DeliveryError, Message
from guardrails.channels.config import (
    ChannelConfig,
    HeaderSecret,
    HttpUrl,
    Length,
    Patience,
    optional,
)
from guardrails.channels.http import host_of, post
from guardrails.channels.texts import cut, one_line, paragraphs

SEVERITY: Final[Mapping[str, str]] = {
    "rollback_ineffective": "critical",
    "rolled_back": "warning",
    "stopped": "warning",
    "breach_told": "warning",
    "uneven_split": "warning",
    "blind": "warning",
    "blind_page": "critical",
    "no_data": "warning",
    "suspended": "warning",
}
"""Severity by the kind of a message; ``info`` for every other."""

_LONGEST_ANNOTATION: Final = 4_000
_MISSED: Final = 4
_MOST_INSTANCES: Final = 20


def alert_name(kind: str) -> str:
    """Return the name of an alert: ``TurnbackRolledBack``."""
    return "Turnback" + "".join(part.capitalize() for part in kind.split("_"))


@dataclass(frozen=True, slots=True)
class AlertmanagerChannel:
    """Posts alerts to every instance of one Alertmanager: they do not tell each other.

    Attributes:
        urls: Of all instances.
        now: When it is now.
        every: How often an alert that stands is posted again. An instance that hears nothing for
            four times as long takes it as over.
        headers: For authentication; secret.
        timeout: For one post to one instance.
    """

    urls: tuple[str, ...]
    now: Callable[[], datetime]
    every: timedelta = timedelta(minutes=1)
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    timeout: timedelta = timedelta(seconds=5)
    type: str = "alertmanager"

    def __repr__(self) -> str:
        return f"AlertmanagerChannel({len(self.urls)} instances)"

    @property
    def where(self) -> str:
        """Scheme and host of every instance."""
        return ", ".join(map(host_of, self.urls))

    def labels(self, message: Message) -> Mapping[str, str]:
        """Return by what an alert is known; nothing that varies from one to the next is in it."""
        named = {
            "alertname": alert_name(message.kind),
            "severity": SEVERITY.get(message.kind, "info"),
            "experiment": message.experiment,
            "variant": message.variant or "",
            "guardrail": message.guardrail or "",
        }
        return {name: value for name, value in named.items() if value}

    def alert(self, message: Message, *, over_at: datetime | None) -> dict[str, Any]:
        """Return the alert of a message: standing, or over since ``over_at``."""
        now = self.now()
        begun = min(message.at, now)
        ends = now + _MISSED * self.every if over_at is None else max(begun, over_at)
        notes = {
            "summary": one_line(message.title),
            "description": paragraphs(message.text),
            "key": message.key,
            "link": message.link,
            **message.facts,
        }
        return {
            "labels": self.labels(message),
            "annotations": {n: cut(text, _LONGEST_ANNOTATION) for n, text in notes.items() if text},
            "startsAt": _instant(begun),
            "endsAt": _instant(ends),
            **({"generatorURL": message.link} if message.link else {}),
        }

    def send(self, message: Message) -> None:
        """Post the alert of a message to every instance.

        Raises:
            DeliveryError: No instance took it.
        """
        self.post(message, over_at=None)

    def post(self, message: Message, *, over_at: datetime | None) -> None:
        """Post to every instance that a message stands, or is over.

        Raises:
            DeliveryError: No instance took it. What only some took reaches the others when it
                is posted again.
        """
        body = msgspec.json.encode([self.alert(message, over_at=over_at)])
        errors = [error for url in self.urls if (error := self._tried(url, body)) is not None]
        if len(errors) == len(self.urls):
            raise _all_of(errors)

    def _tried(self, url: str, body: bytes) -> DeliveryError | None:
        try:
            post(
                f"{url.rstrip('/')}/api/v2/alerts",
                body,
                headers=self.headers,
                timeout=self.timeout,
                secrets=tuple(self.headers.values()),
            )
        except DeliveryError as error:
            return error
        return None


def _all_of(errors: Sequence[DeliveryError]) -> DeliveryError:
    first = next((e for e in errors if e.retryable), errors[0])
    waits = [e.retry_after for e in errors if e.retry_after is not None]
    return DeliveryError(
        "; ".join(dict.fromkeys(map(str, errors))),
        retryable=first.retryable,
        retry_after=min(waits, default=None),
        hint=first.hint,
    )


def _instant(at: datetime) -> str:
    return at.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _often(every: timedelta) -> timedelta:
    if not timedelta(seconds=1) <= every <= timedelta(minutes=10):
        raise ValueError("must be from 1s to 10m: Alertmanager forgets what is not repeated")
    return every


class AlertmanagerConfig(ChannelConfig):
    """Keeps alerts standing in Alertmanager as long as what they tell stands."""

    type: Literal["alertmanager"]
    url: HttpUrl | None = Field(None, description="Of the only instance.")
    urls: tuple[HttpUrl, ...] = Field(
        (), max_length=_MOST_INSTANCES, description="Of every instance of a cluster."
    )
    every: Annotated[Length, AfterValidator(_often)] = Field(
        timedelta(minutes=1), description="How often an alert that stands is posted again."
    )
    bearer: HeaderSecret | None = Field(None, description="Sent as `Authorization: Bearer`.")
    user: str | None = Field(None, description="For basic authentication.")
    password: SecretStr | None = Field(None, description="For basic authentication.")
    timeout: Patience = Field(timedelta(seconds=5), description="For one post to one instance.")

    @model_validator(mode="after")
    def _whole(self) -> "AlertmanagerConfig":
        if (self.url is None) == (not self.urls):
            raise ValueError("give url, or urls with every instance of a cluster")
        if (self.user is None) != (self.password is None):
            raise ValueError("user and password go together: give both, or neither")
        if self.bearer is not None and self.user is not None:
            raise ValueError("give bearer, or user and password, not both")
        return self

    def build(self, now: Callable[[], datetime]) -> AlertmanagerChannel:
        """Return the channel."""
        given = self.urls if self.url is None else (self.url,)
        return AlertmanagerChannel(
            tuple(url.get_secret_value() for url in given),
            now,
            every=self.every,
            headers=_authorization(self.user, optional(self.password), optional(self.bearer)),
            timeout=self.timeout,
        )


def _authorization(user: str | None, password: str | None, bearer: str | None) -> dict[str, str]:
    if bearer is not None:
        return {"Authorization": f"Bearer {bearer}"}
    if user is None or password is None:
        return {}
    pair = b64encode(f"{user}:{password}".encode()).decode()
    return {"Authorization": f"Basic {pair}"}
