"""``digest``: all experiments over some days, as a file or through a channel."""

import difflib
import sys
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

from pydantic import ValidationError

from console.client import ServiceClient
from console.commands.given import instant_of
from console.commands.reporting import Format, deliver, source_of
from console.i18n import in_language
from console.output import CommandError, ExitCode, print_json, say
from console.progress import working
from console.reports.digest import Digest, digest_of
from console.reports.digest_texts import (
    digest_markdown,
    digest_text,
    heading,
    owner_headings,
    sections,
)
from console.reports.html import html_of
from experiments.language.amounts import parse_duration
from guardrails.build import build_version
from guardrails.channels import Channel, DeliveryError, Message, type_of
from guardrails.channels.log import LogChannel
from guardrails.clock import SystemClock
from guardrails.service_settings import Settings, SettingsError

LONGEST: Final = timedelta(days=3_650)
_ALERTS: Final = "alertmanager"


def run(
    since: str,
    until: str | None,
    written: Format | None,
    output: Path | None,
    *,
    lang: str,
    send: str | None,
    client: ServiceClient | None,
    data: Path | None,
    as_json: bool,
) -> None:
    """Write the digest, send it through a channel, or print what it says with ``as_json``.

    Raises:
        CommandError: The span is none, nobody answers, or the channel does not take it.
    """
    end = _instant(until)
    begin = end - _length(since)
    # what is wrong with a channel here is said before anything is read
    channel = None if send is None or client is not None else _channel(send)
    with (
        working("reading all experiments", as_json=as_json),
        source_of(client, data) as source,
        in_language(lang),
    ):
        digest = digest_of(source.experiments(), source.texts(), since=begin, until=end)
        via = "" if send is None else _send(digest, send, channel, client, at=end)
        if as_json:
            print_json({"digest": digest, "sent": send})
            return
        made = None if send is not None and output is None else _made(digest, written, output)
    if via:
        say(f"sent through {send} ({via}")
    if made is not None:
        deliver(made, output)


def _made(digest: Digest, written: Format | None, output: Path | None) -> bytes:
    html = output is not None and output.suffix.lower() in {".html", ".htm"}
    if written is Format.HTML or (written is None and html):
        return html_of(
            "digest.html",
            digest=digest,
            heading=heading(digest),
            sections=sections(digest),
            owner_headings=owner_headings(),
            version=build_version(),
        ).encode()
    if output is None and written is None and sys.stdout.isatty():
        # for eyes, not for a wiki: nothing is escaped
        return f"{heading(digest)}\n\n{digest_text(digest)}\n".encode()
    return digest_markdown(digest, version=build_version()).encode()


def _length(text: str) -> timedelta:
    length = parse_duration(text)
    if length is None or not timedelta(0) < length <= LONGEST:
        raise CommandError(
            f"--since: {text!r} is no length of time",
            hint="write it like 14d or 36h",
            code="usage",
            exit_code=ExitCode.USAGE,
        )
    return length


def _instant(text: str | None) -> datetime:
    if text is None:
        return SystemClock().now()
    return instant_of(text, option="--until")


def _channel(name: str) -> Channel:
    """Return a channel of this machine's settings.

    Raises:
        CommandError: There is none of this name, or it takes no letters.
    """
    try:
        none: dict[str, Any] = {}  # everything comes from the variables
        configs = Settings(**none).all_channels()
    except (ValidationError, SettingsError) as error:
        raise CommandError(
            "the settings of the channels are wrong",
            hint="`turnback doctor` says what is wrong with them",
            code="settings",
            exit_code=ExitCode.USAGE,
        ) from error
    if name == "log":
        return LogChannel()
    if name not in configs:
        near = difflib.get_close_matches(name, configs, n=1)
        known = f"did you mean {near[0]}? " if near else ""
        raise CommandError(
            f"there is no channel {name!r} in the settings here",
            hint=f"{known}TURNBACK_CHANNELS names them; run it where the service runs",
            code="unknown_channel",
            exit_code=ExitCode.USAGE,
        )
    channel = configs[name].build(SystemClock().now)
    if type_of(channel) == _ALERTS:
        raise CommandError(
            f"{name} is an Alertmanager: a digest is no alert",
            hint="send it through a webhook, Slack or mail",
            code="wrong_channel",
            exit_code=ExitCode.USAGE,
        )
    return channel


def _send(
    digest: Digest,
    name: str,
    channel: Channel | None,
    client: ServiceClient | None,
    *,
    at: datetime,
) -> str:
    """Send it through the service's channel, or this machine's where no service was asked.

    Returns:
        The type of the channel, and whose it is.

    Raises:
        CommandError: It was not taken.
    """
    key = f"digest:{digest.since:%Y%m%dT%H%M%S}:{digest.until:%Y%m%dT%H%M%S}:{name}"
    title, text = heading(digest), digest_text(digest)
    if client is not None:
        body = {"key": key, "title": title, "text": text}
        done = client.post(f"/api/v1/channels/{quote(name, safe='')}/digests", json=body)
        if not done["delivered"]:
            raise _not_taken(name, done["words"], done["hint"])
        return f"{done['type']}), a channel of the service at {client.url}"
    if channel is None:  # pragma: no cover - there is one wherever no service is asked
        raise _not_taken(name, "there is no such channel", "")
    try:
        channel.send(Message(key, "digest", "", None, at, title, text, None))
    except DeliveryError as error:
        raise _not_taken(name, str(error), error.hint) from error
    return f"{type_of(channel)}), a channel of TURNBACK_CHANNELS here"


def _not_taken(name: str, words: str, hint: str) -> CommandError:
    return CommandError(f"{name} did not take it: {words}", hint=hint, code="not_delivered")
