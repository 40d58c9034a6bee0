"""Every type of channel, and how the settings say which ones there are."""

import difflib
from collections.abc import Mapping
from typing import Any, Final, cast

import msgspec
from pydantic import SecretStr, ValidationError
from pydantic_core import ErrorDetails

from guardrails.channels.alertmanager import AlertmanagerConfig
from guardrails.channels.config import NAME, ChannelConfig
from guardrails.channels.email import EmailConfig
from guardrails.channels.log import LogConfig
from guardrails.channels.slack import SlackConfig
from guardrails.channels.webhook import WebhookConfig

CHANNELS: Final[Mapping[str, type[ChannelConfig]]] = {
    "webhook": WebhookConfig,
    "slack": SlackConfig,
    "email": EmailConfig,
    "alertmanager": AlertmanagerConfig,
    "log": LogConfig,
}
"""Types of channels by name. A new one is one file beside this one and one line here."""

ALWAYS: Final = "log"
"""The channel that is always there, and gets every message."""


def read_channels(given: object) -> dict[str, ChannelConfig]:
    """Return the channels that settings name.

    Args:
        given: An object, or its JSON: name of a channel to its ``type`` and what that wants.

    Raises:
        ValueError: With every problem, one a line: which channel, which key, what to do. No
            value is shown, because it may be secret.
    """
    if isinstance(given, str):
        try:
            given = msgspec.json.decode(given)
        except msgspec.DecodeError as error:
            raise ValueError(f"is no JSON: {error}") from None
    if not isinstance(given, Mapping):
        raise ValueError(  # noqa: TRY004 - pydantic reads these
            'must be an object such as {"ops": {"type": "slack", "url": "https://..."}}'
        )
    found: dict[str, ChannelConfig] = {}
    problems: list[str] = []
    for name, body in cast("Mapping[object, object]", given).items():
        if isinstance(body, ChannelConfig) and isinstance(name, str):
            found[name] = body
            continue
        try:
            found[str(name)] = _one(str(name), body)
        except ValueError as error:
            problems.append(str(error))
    if problems:
        raise ValueError("\n".join(problems))
    return found


def _one(name: str, body: object) -> ChannelConfig:
    if NAME.fullmatch(name) is None:
        raise ValueError(
            f"{name!r}: a channel's name is a letter, then letters, digits, - and _ (at most 64)"
        )
    if name == ALWAYS:
        raise ValueError(f"{name}: this channel is always there; choose another name")
    if not isinstance(body, Mapping):
        raise ValueError(  # noqa: TRY004 - pydantic reads these
            f'{name}: must be an object with a type, such as {{"type": "slack"}}'
        )
    settings = dict(cast("Mapping[str, Any]", body))
    kind = settings.get("type")
    if not isinstance(kind, str) or kind not in CHANNELS:
        said = "has no type" if kind is None else f"unknown type {_shown(kind)}"
        raise ValueError(f"{name}: {said}; {_near(str(kind), list(CHANNELS), 'types')}")
    try:
        return CHANNELS[kind].model_validate(settings)
    except ValidationError as error:
        known = [f.alias or key for key, f in CHANNELS[kind].model_fields.items()]
        raise ValueError("\n".join(_words(name, kind, e, known) for e in error.errors())) from None


def _words(name: str, kind: str, error: ErrorDetails, known: list[str]) -> str:
    """Return one problem of one channel in our words."""
    where = ".".join(str(part) for part in (name, *error["loc"]))
    limits = error.get("ctx", {})
    if error["type"] == "extra_forbidden":
        near = _near(str(error["loc"][-1]), known, f"keys of {kind}")
        return f"{where}: unknown key; {near}"
    if error["type"] == "missing":
        return f"{where}: is missing; a channel of type {kind} needs it"
    if error["type"] == "value_error":
        return f"{where}: {str(error['msg']).removeprefix('Value error, ')}"
    said = {
        "too_short": "must name at least one"
        if limits.get("min_length") == 1
        else f"must have at least {limits.get('min_length')} characters",
        "too_long": f"must name at most {limits.get('max_length')}",
        "string_too_short": f"must have at least {limits.get('min_length')} characters",
        "string_too_long": f"must have at most {limits.get('max_length')} characters",
        "literal_error": f"must be {limits.get('expected')}",
        "greater_than_equal": f"must be {limits.get('ge')} or more",
        "less_than_equal": f"must be {limits.get('le')} or less",
        "string_pattern_mismatch": "must be the name or address of a host alone",
        "tuple_type": "must be a list",
        "int_parsing": "must be a whole number",
        "int_type": "must be a whole number",
        "string_type": "must be text",
        "path_type": "must be the path of a file",
    }
    return f"{where}: {said.get(error['type'], 'makes no sense here')}"


def _shown(kind: object) -> str:
    text = str(kind)
    return repr(text) if len(text) <= 20 else "of many characters"  # noqa: PLR2004


def _near(given: str, known: list[str], what: str) -> str:
    near = difflib.get_close_matches(given, known, n=1)
    return f"did you mean {near[0]!r}?" if near else f"the {what} are {', '.join(known)}"


def of_webhooks(webhooks: Mapping[str, SecretStr]) -> dict[str, ChannelConfig]:
    """Return the channels of the older setting: name to URL, each a webhook without a signature.

    Raises:
        ValueError: A name or an address is none.
    """
    return {name: _one(name, {"type": "webhook", "url": url}) for name, url in webhooks.items()}
