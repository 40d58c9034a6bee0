"""``serve``: the service with its page, until it is told to stop."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings.exceptions import SettingsError as UnreadableSettingError

import service
from console import dashboard
from console.child import made_by_demo
from console.output import CommandError, ExitCode, warn
from console.store_errors import store_told
from guardrails.logs import set_up
from guardrails.spec_paths import name_of


def serve(
    *,
    host: str | None,
    port: int | None,
    data: Path | None,
    specs: Path | None = None,
    retain: str | None = None,
    catalogue: Path | None = None,
) -> None:
    """Run the service and say when it is ready; options win over ``TURNBACK_*`` variables.

    Raises:
        SpecError: The catalogue file has problems.
        CommandError: A setting is wrong, or the files cannot be opened.
        AddressError: The port is taken, or the address is not this machine's.
    """
    given: dict[str, Any] = {
        "host": host,
        "port": port,
        "data": data,
        "specs": specs,
        "retain": retain,
        "catalogue": catalogue,
    }
    options = {name: value for name, value in given.items() if value is not None}
    try:
        settings = service.Settings(**options)
        set_up(settings.log_format)
        _refuse_a_demos(settings)
        with store_told():
            service.serve(settings, pages=[dashboard.attach], ready=_say_ready)
    except ValidationError as error:
        problems = tuple(
            line for detail in error.errors() for line in _problems(dict(detail), options)
        )
        raise CommandError(
            "the settings are wrong",
            hint="settings are options, or TURNBACK_* variables",
            code="settings",
            exit_code=ExitCode.USAGE,
            problems=problems,
        ) from error
    except UnreadableSettingError as error:  # its cause shows what was given, and may be secret
        raise CommandError(
            f"the settings are wrong: {error}",
            hint='TURNBACK_WEBHOOKS and TURNBACK_QUERIES are JSON objects, such as {"a": "b"}',
            code="settings",
            exit_code=ExitCode.USAGE,
        ) from None


def _refuse_a_demos(settings: service.Settings) -> None:
    """Keep the machine's clock away from a simulated story: it would age by months at once.

    Raises:
        CommandError: The folder was made by a demo, and this service is not its own.
    """
    if settings.demo or not made_by_demo(settings.data):
        return
    folder = name_of(settings.data)
    raise CommandError(
        f"{folder} was made by `turnback demo`: its story is simulated and ended in the past",
        hint=(
            f"`turnback demo --data {folder}` plays it again, to look at its page; "
            "a service of your own wants a folder of its own: `turnback serve --data my-data`"
        ),
        code="made_by_demo",
    )


def _say_ready(ready: service.Ready) -> None:
    plural = "s" if ready.experiments != 1 else ""
    follows = f", follows {name_of(ready.specs)}" if ready.specs is not None else ""
    warn(
        f"turnback: {ready.url} serves {ready.experiments:,} experiment{plural} from "
        f"{name_of(ready.data)}{follows}; Ctrl+C ends it"
    )


_SECRETS = frozenset(
    {"ADMIN_KEY", "INGEST_KEY", "CLIENT_KEY", "WEBHOOKS", "CHANNELS", "PROMETHEUS_URL"}
)


def _problems(detail: dict[str, Any], options: Mapping[str, Any]) -> list[str]:
    """Return what is wrong with a setting, named as it was given."""
    option = str(detail["loc"][0]) if detail["loc"] else ""
    name = "_".join(str(part) for part in detail["loc"]).upper()
    message = str(detail["msg"]).removeprefix("Value error, ")
    secret = any(name.startswith(one) for one in _SECRETS)
    shown = f"--{option}" if option in options else f"TURNBACK_{name}"
    got = "" if secret else f", got {detail['input']!r}"
    return [f"{shown}: {line}{got}" for line in message.splitlines() or [message]]
