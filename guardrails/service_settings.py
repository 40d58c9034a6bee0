"""What the service is told from outside, and which settings are refused."""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, AwareDatetime, BeforeValidator, Field, SecretStr
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from experiments.errors import TurnbackError
from experiments.language.amounts import parse_amount, parse_duration
from guardrails.channels.config import ChannelConfig
from guardrails.channels.registry import of_webhooks, read_channels
from guardrails.failpoints import fuse
from guardrails.keys import Made
from guardrails.links import pages_at
from guardrails.logs import Format
from metrics.access import LOOPBACK, Keys, Role
from metrics.catalogue import FieldType
from metrics.events import EventLimits
from metrics.stores import Units

DEMO_START = datetime(2026, 1, 5, tzinfo=UTC)


class SettingsError(TurnbackError):
    """The settings contradict each other or are not safe."""

    code = "settings"
    status = 500


def _share(given: object) -> float:
    """Return the share a percent says, 0.05 for ``5%``; a number is a share already."""
    if isinstance(given, float) and 0 <= given < 1:
        return given
    amount = parse_amount(given) if isinstance(given, str) else None
    if amount is None or amount.absolute or amount.signed or not 0 <= amount.share < 1:
        raise ValueError("must be a percent from 0% to below 100%, written like 5%")
    return amount.share


def _kept_for(given: object) -> timedelta:
    """Return how long events are kept; less than a day would remove them while they come."""
    length = parse_duration(given) if isinstance(given, str) else given
    if not isinstance(length, timedelta) or length < timedelta(days=1):
        raise ValueError("must be a day or more, written like 90d")
    return length


def _length(given: object) -> timedelta:
    """Return a length of time, none at all included."""
    length = parse_duration(given) if isinstance(given, str) else given
    if not isinstance(length, timedelta) or length < timedelta(0):
        raise ValueError("must be a length of time, written like 15m, or 0s for none")
    return length


def _queries(queries: dict[str, str]) -> dict[str, str]:
    for name, query in queries.items():
        if not name.strip() or not query.strip():
            raise ValueError(f"the query {name!r} needs a name and PromQL")
    return queries


def _address(url: SecretStr) -> SecretStr:
    try:
        parts = urlsplit(url.get_secret_value())
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
    except ValueError:
        good = False
    if not good:
        raise ValueError("must be an address such as http://127.0.0.1:9090")
    return url


def _step(text: str) -> str:
    fuse(text)
    return text


def _secret(value: SecretStr | None) -> str | None:
    return None if value is None else value.get_secret_value()


class Settings(BaseSettings):
    """What the service is told from outside: ``TURNBACK_*`` variables, or arguments."""

    model_config = SettingsConfigDict(
        env_prefix="TURNBACK_", extra="forbid", frozen=True, hide_input_in_errors=True
    )

    data: Path = Field(Path("turnback-data"), description="Folder of the two database files.")
    host: str = Field("127.0.0.1", description="Address; one that is not local needs keys.")
    port: int = Field(8300, ge=0, le=65_535, description="TCP port; 0 takes a free one.")
    admin_key: SecretStr | None = Field(None, description="May do everything.")
    ingest_key: SecretStr | None = Field(None, description="May send trusted events.")
    client_key: SecretStr | None = Field(
        None, description="Public: may evaluate, and send events for KPIs with trust any."
    )
    key_requests_per_second: float = Field(
        5_000, ge=0, description="Requests a second and key, twice that for a moment; 0: any."
    )
    max_body_bytes: int = Field(8_000_000, gt=0, description="Largest body of events, unpacked.")
    max_batch_events: int = Field(10_000, gt=0, description="Most events of one request.")
    max_context_bytes: int = Field(65_536, gt=0, description="Largest evaluation context.")
    max_connections: int = Field(10_000, gt=0, description="Connections open at a time.")
    max_header_bytes: int = Field(65_536, gt=0, description="Most of a request's headers.")
    header_seconds: float = Field(10, gt=0, description="Time for a request's headers to arrive.")
    body_seconds: float = Field(60, gt=0, description="Time for a request's body to arrive.")
    max_event_fields: int = Field(64, gt=0, description="Most fields, or unit types, of an event.")
    max_text_chars: int = Field(4096, gt=0, description="Longest text field of an event.")
    clock_skew_seconds: float = Field(300, ge=0, description="How far ahead events may be dated.")
    retain: Annotated[timedelta, BeforeValidator(_kept_for)] = Field(
        timedelta(days=400), description="Older events are refused, and removed once a day."
    )
    default_unit: str = Field("order_id", description="Unit type meant by an event's unit.")
    store_units: Units | None = Field(
        None, description="Unit ids as they are (plain), or as keyed-hash: so in a new folder."
    )
    queue_events: int = Field(200_000, gt=0, description="Events that may wait to be written.")
    exposure_flush_ms: int = Field(200, gt=0, description="Time between writes of exposures.")
    exposure_buffer: int = Field(100_000, gt=0, description="First exposures that may wait.")
    log_format: Format = Field("text", description="Of the service's log: text, or json.")
    cooldown: Annotated[timedelta, BeforeValidator(_length)] = Field(
        timedelta(minutes=15), description="Time after a rollback for harm before a resume."
    )
    suspend: bool = Field(False, description="Watch and act on nothing.")
    checks: bool = Field(True, description="Run due checks; off in demo mode.")
    ring_seconds: float = Field(0.5, gt=0, description="Time between looks at what is due.")
    webhooks: dict[str, SecretStr] = Field(
        default_factory=dict, description="Webhooks without a signature: name to URL."
    )
    channels: Annotated[dict[str, ChannelConfig], NoDecode, BeforeValidator(read_channels)] = Field(
        default_factory=dict, description="Where messages go: name to type and what it wants."
    )
    specs: Path | None = Field(None, description="Folder of spec files that is followed.")
    catalogue: Path | None = Field(
        None, description="File with KPIs and events of one's own, added to the built-in ones."
    )
    specs_seconds: float = Field(2.0, gt=0, description="Time between looks at that folder.")
    holdout: Annotated[float, BeforeValidator(_share)] = Field(
        0.0, description="Share of all units kept out of new experiments, such as 5%."
    )
    queries: Annotated[dict[str, str], AfterValidator(_queries)] = Field(
        default_factory=dict, description="PromQL by the names spec files use; $variant is filled."
    )
    prometheus_url: Annotated[SecretStr, AfterValidator(_address)] | None = Field(
        None, description="Prometheus that answers those queries."
    )
    public_url: Annotated[str, AfterValidator(pages_at)] = Field(
        "", description="Where people reach the pages: messages link there."
    )
    instance: str = Field("", max_length=64, description="Told by /readyz, to know it again.")
    demo: bool = Field(False, description="A clock that stands still until it is moved.")
    failpoint: Annotated[str, AfterValidator(_step)] | None = Field(
        None, description="For tests only: the step at which the process kills itself."
    )
    demo_start: AwareDatetime = Field(DEMO_START, description="Where the demo's clock begins.")

    @property
    def local(self) -> bool:
        """Whether only this machine can reach the service."""
        return self.host in LOOPBACK

    def keys(self, made: Made | None = None) -> Keys:
        """Return who may do what.

        Args:
            made: Keys that people made, beside those of the settings.
        """
        made = made or Made()
        return Keys.of(
            host=self.host,
            admin=_secret(self.admin_key),
            ingest=_secret(self.ingest_key),
            client=_secret(self.client_key),
            stored=made.known,
            closed=made.ever,
        )

    def checked_keys(self, made: Made) -> Keys:
        """Return who may do what, where that is safe to begin with.

        Raises:
            SettingsError: Anybody could administer from elsewhere, or nobody could at all.
        """
        keys = self.keys(made)
        if keys.has(Role.ADMIN):
            return keys
        if not self.local:
            raise SettingsError(
                f"refusing to listen on {self.host} without keys: anybody could turn back "
                "experiments or forge events",
                hint=f"make one: `turnback keys create ops --scope admin --data {self.data}`, "
                "or set TURNBACK_ADMIN_KEY, or listen on 127.0.0.1",
                path="host",
            )
        if keys.anyone < Role.ADMIN:
            raise SettingsError(
                "there are keys, and no admin key among those in force: nobody could administer",
                hint=f"make one: `turnback keys create ops --scope admin --data {self.data}`, "
                "or set TURNBACK_ADMIN_KEY",
                path="admin_key",
            )
        return keys

    def all_channels(self) -> dict[str, ChannelConfig]:
        """Return where messages go by name, those of the older setting included.

        Raises:
            SettingsError: A webhook's name or address is none.
        """
        try:
            return {**of_webhooks(self.webhooks), **self.channels}
        except ValueError as error:
            raise SettingsError(
                f"TURNBACK_WEBHOOKS: {error}",
                hint='it is an object of names and addresses: {"ops": "https://..."}',
                path="webhooks",
            ) from None

    def event_limits(self, schema: Mapping[str, Mapping[str, FieldType]]) -> EventLimits:
        """Return what is accepted of events, given their field types."""
        # the demo's clock stands at the start of the hour whose events are being sent
        ahead = timedelta(days=2) if self.demo else timedelta(seconds=self.clock_skew_seconds)
        return EventLimits(
            default_unit=self.default_unit,
            clock_skew=ahead,
            retention=self.retain,
            max_text=self.max_text_chars,
            max_fields=self.max_event_fields,
            schema=schema,
        )

    def checked(self) -> "Settings":
        """Return these settings.

        Raises:
            SettingsError: They are not safe to run with, or contradict each other.
        """
        if self.failpoint is not None and not self.local:
            raise SettingsError(
                f"refusing to listen on {self.host} with a failpoint: this service is meant to be "
                "killed by a test",
                hint="unset TURNBACK_FAILPOINT, or listen on 127.0.0.1",
                path="failpoint",
            )
        both = sorted(set(self.channels) & set(self.webhooks))
        if both:
            raise SettingsError(
                f"{', '.join(both)}: named by TURNBACK_CHANNELS and by TURNBACK_WEBHOOKS",
                hint="keep the one in TURNBACK_CHANNELS",
                path="channels",
            )
        self.all_channels()
        if self.queries and self.prometheus_url is None:
            raise SettingsError(
                f"there are named queries ({', '.join(sorted(self.queries))}), and no Prometheus "
                "that answers them",
                hint="set TURNBACK_PROMETHEUS_URL, for instance to http://127.0.0.1:9090",
                path="prometheus_url",
            )
        return self
