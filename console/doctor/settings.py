"""Whether the settings make sense: values, names nobody knows, keys, and the files they name."""

import difflib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

from pydantic import SecretStr, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource
from pydantic_settings.exceptions import SettingsError as UnreadableSettingError

from console.doctor.findings import Finding, good, warning, wrong
from experiments.errors import Severity, SpecError
from guardrails.catalogue_reading import read_catalogue_file
from guardrails.channels import where_of
from guardrails.clock import SystemClock
from guardrails.keys import Made
from guardrails.service_settings import Settings, SettingsError
from guardrails.spec_file import ServerNames, load_spec
from guardrails.spec_paths import name_of, read_spec, spec_paths, spec_text
from metrics.catalogue import Catalogue, load_catalogue

PREFIX: Final = "TURNBACK_"
NO_SETTINGS: Final = frozenset({"URL"})
"""Variables that commands read and the service does not."""

SHORTEST_KEY: Final = 16
_MOST: Final = 5


@dataclass(frozen=True, slots=True)
class Given:
    """The settings as far as they can be read, and what is wrong with them."""

    settings: Settings
    catalogue: Catalogue
    findings: tuple[Finding, ...]


class _Bare(Settings):
    """The settings where the variables cannot be read: what was given, and defaults."""

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Read nothing of the environment."""
        _ = (settings_cls, env_settings, dotenv_settings, file_secret_settings)
        return (init_settings,)


def setting_problems(
    error: ValidationError, options: Mapping[str, Any], secrets: Iterable[str]
) -> tuple[str, ...]:
    """Return what is wrong with settings, each named as it was given; secrets are not shown.

    Args:
        error: Of the settings.
        options: What was given on the command line, by field.
        secrets: Fields, upper case, whose values are not repeated.
    """
    lines: list[str] = []
    for detail in error.errors():
        option = str(detail["loc"][0]) if detail["loc"] else ""
        name = "_".join(str(part) for part in detail["loc"]).upper()
        message = str(detail["msg"]).removeprefix("Value error, ")
        shown = f"--{option}" if option in options else f"{PREFIX}{name}"
        hidden = any(name.startswith(one) for one in secrets)
        got = "" if hidden else f", got {detail['input']!r}"
        lines += [f"{shown}: {line}{got}" for line in message.splitlines() or [message]]
    return tuple(lines)


SECRETS: Final = frozenset(
    {"ADMIN_KEY", "INGEST_KEY", "CLIENT_KEY", "WEBHOOKS", "CHANNELS", "PROMETHEUS_URL"}
)
"""Settings whose values are never repeated."""


def read_settings(options: Mapping[str, Any], environment: Mapping[str, str]) -> Given:
    """Read the settings of a service; those that are wrong are told and left at their defaults.

    Args:
        options: Given on the command line, by field.
        environment: Variables of the process, for names that are no settings.
    """
    findings = list(_unknown(environment))
    left: dict[str, Any] = {}
    settings: Settings | None = None
    while settings is None:
        try:
            settings = Settings(**{**left, **options})
        except ValidationError as error:
            hint = "mend the variable; docs/operations.md lists every setting"
            told = setting_problems(error, options, SECRETS)
            findings += [wrong("settings", "bad_setting", line, hint) for line in told]
            bad = {str(detail["loc"][0]) for detail in error.errors() if detail["loc"]}
            options = {name: value for name, value in options.items() if name not in bad}
            left |= _defaults(bad)
        except UnreadableSettingError as error:  # its cause shows what was given
            name = next((n for n in Settings.model_fields if f'"{n}"' in str(error)), "channels")
            hint = 'it is a JSON object, such as {"a": "b"}'
            words = f"{PREFIX}{name.upper()}: cannot be read as JSON"
            findings.append(wrong("settings", "bad_setting", words, hint))
            settings = _Bare(**options)
    findings += _contradictions(settings)
    catalogue, told = _catalogue(settings.catalogue)
    findings += told
    if not findings:
        count = sum(1 for name in environment if name.startswith(PREFIX))
        findings.append(good("settings", f"{count} {PREFIX}* variables, all understood"))
    return Given(settings, catalogue, tuple(findings))


def _defaults(names: Iterable[str]) -> dict[str, Any]:
    return {
        name: Settings.model_fields[name].get_default(call_default_factory=True) for name in names
    }


def _unknown(environment: Mapping[str, str]) -> Iterable[Finding]:
    known = {f"{PREFIX}{name.upper()}" for name in (*Settings.model_fields, *NO_SETTINGS)}
    for name in sorted(environment):
        if name.startswith(PREFIX) and name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            hint = f"did you mean {near[0]}?" if near else "nothing reads it: remove it"
            yield warning("settings", "unknown_setting", f"{name} is no setting", hint)


def _contradictions(settings: Settings) -> Iterable[Finding]:
    try:
        settings.checked()
    except SettingsError as error:
        yield wrong("settings", "bad_setting", error.message, error.hint)


def _catalogue(path: Path | None) -> tuple[Catalogue, tuple[Finding, ...]]:
    if path is None:
        return load_catalogue(), ()
    try:
        return read_catalogue_file(path)[0], ()
    except SpecError as error:
        hint = f"`turnback validate --catalogue {name_of(path)}` says all of it"
        told = [wrong("settings", "bad_catalogue", str(p), hint) for p in error.problems[:_MOST]]
        return load_catalogue(), tuple(told)


def examine_keys(settings: Settings, made: Made) -> Iterable[Finding]:
    """Yield whether the right people get in: with keys of the settings, and those made."""
    named = {
        "admin": settings.admin_key,
        "ingest": settings.ingest_key,
        "client": settings.client_key,
    }
    try:
        settings.checked_keys(made)
    except SettingsError as error:
        yield wrong("keys", "no_admin_key", error.message, error.hint)
        return
    told = False
    for scope, key in named.items():
        if key is not None and len(key.get_secret_value()) < SHORTEST_KEY:
            told = True
            yield warning(
                "keys",
                "short_key",
                f"{PREFIX}{scope.upper()}_KEY has fewer than {SHORTEST_KEY} characters",
                f"`turnback keys create NAME --scope {scope}` makes one that cannot be guessed",
            )
    given = [key for key in named.values() if key is not None]
    if len({key.get_secret_value() for key in given}) < len(given):
        told = True
        yield wrong(
            "keys",
            "same_key",
            "one key stands for two scopes: whoever holds the smaller has the larger",
            "give each scope a key of its own",
        )
    if not told:
        count = len(given) + len(made.known)
        who = (
            "only this machine reaches the service" if settings.local else "it is reached from afar"
        )
        yield good("keys", f"{count} in force; {who}" if count else f"none; {who}")


def examine_specs(given: Given) -> Iterable[Finding]:
    """Yield what is wrong with the folder of spec files that a service would follow."""
    folder, settings = given.settings.specs, given.settings
    if folder is None:
        return
    try:
        paths = spec_paths(folder)
    except OSError as error:
        words = f"{name_of(folder)}: {(error.strerror or str(error)).lower()}"
        hint = "give TURNBACK_SPECS or --specs a folder that is there and may be read"
        yield wrong("spec files", "unreadable_file", words, hint)
        return
    told = False
    for path in paths:
        for finding in _of_spec(path, given, server_names(settings)):
            told = True
            yield finding
    if not told:
        yield good("spec files", f"{len(paths)} in {name_of(folder)}, all good")


def server_names(settings: Settings) -> ServerNames:
    """Return what spec files may name of a service with these settings."""
    try:
        channels = frozenset(settings.all_channels()) | {"log"}
    except SettingsError:  # told among the settings
        channels = frozenset({"log"})
    return ServerNames(channels=channels, queries=settings.queries)


def _of_spec(path: Path, given: Given, names: ServerNames) -> Iterable[Finding]:
    name = name_of(path)
    try:
        text = spec_text(name, read_spec(path))
    except OSError as error:
        words = f"{name}: {(error.strerror or str(error)).lower()}"
        yield wrong("spec files", "unreadable_file", words, "let the service read it")
        return
    if not isinstance(text, str):
        yield wrong("spec files", "invalid_spec", str(text), "save it as UTF-8 text")
        return
    yield from spec_findings(text, name, given.catalogue, names)


def spec_findings(
    text: str, name: str, catalogue: Catalogue, names: ServerNames
) -> Iterable[Finding]:
    """Yield the errors of one spec file, the first of them in full."""
    try:
        load_spec(text, source=name, catalogue=catalogue, server=names)
    except SpecError as error:
        bad = [p for p in error.problems if p.severity is Severity.ERROR]
        for problem in bad[:_MOST]:
            code, hint = _kind(problem.message, name)
            yield wrong("spec files", code, str(problem), hint)


def _kind(message: str, name: str) -> tuple[str, str]:
    """Return the code of a problem, and what to do about it."""
    if "there is no KPI" in message:
        return (
            "unknown_kpi",
            "give the catalogue that has it with TURNBACK_CATALOGUE, or mend the file",
        )
    if "the service has no channel" in message:
        return "unknown_channel", "name it in TURNBACK_CHANNELS, or take it out of the file"
    if "the service has no query" in message:
        return "unknown_query", "name it in TURNBACK_QUERIES, or take it out of the file"
    return "invalid_spec", f"`turnback validate {name}` says all of it"


def addresses_of(settings: Settings) -> Mapping[str, tuple[str, tuple[tuple[str, int], ...]]]:
    """Return channel -> (where it leads in words, the hosts and ports that must answer)."""
    wall = SystemClock()
    found: dict[str, tuple[str, tuple[tuple[str, int], ...]]] = {}
    try:
        configs = settings.all_channels()
    except SettingsError:
        return {}
    for name, config in configs.items():
        channel = config.build(wall.now)
        found[name] = (where_of(channel), tuple(_hosts(channel)))
    return found


def _hosts(channel: object) -> Iterable[tuple[str, int]]:
    host, port = getattr(channel, "host", None), getattr(channel, "port", None)
    if isinstance(host, str) and isinstance(port, int):
        yield host, port
        return
    urls = getattr(channel, "urls", None) or (getattr(channel, "url", ""),)
    for url in urls:
        yield from host_and_port(url.get_secret_value() if isinstance(url, SecretStr) else str(url))


def host_and_port(url: str) -> Iterable[tuple[str, int]]:
    """Yield the host and the port of an address, where it has any."""
    parts = urlsplit(url)
    if parts.hostname:
        yield parts.hostname, parts.port or (443 if parts.scheme == "https" else 80)
