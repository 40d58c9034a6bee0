"""Instants as people write them in a spec file: always with their offset from UTC."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

from experiments.language.reading import Place, Refusal, ValueType, given, near_matches
from experiments.language.source import Node, ScalarNode
from experiments.spec import MANUAL

INSTANT_PATTERN: Final = (
    r"^20[0-9]{2}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}(:[0-9]{2})?(Z|[+-][0-9]{2}:[0-9]{2})$"
)
INSTANT_EXAMPLE: Final = "2026-12-01T09:00Z"
INSTANT_SCHEMA: Final = {"type": "string", "pattern": INSTANT_PATTERN}

_INSTANT: Final = re.compile(
    r"(20[0-9]{2}-[0-9]{2}-[0-9]{2})T([0-9]{2}:[0-9]{2}(?::[0-9]{2})?)(Z|[+-][0-9]{2}:[0-9]{2})"
)
_DATE: Final = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_WITHOUT_ZONE: Final = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]\s*([0-9]{1,2}:[0-9]{2}(?::[0-9]{2})?)(?:\.[0-9]+)?"
)
_LOOSE: Final = re.compile(_WITHOUT_ZONE.pattern + r"\s*([Zz]|[+-][0-9]{2}:?[0-9]{2}|UTC|GMT)")
_MAX_OFFSET: Final = timedelta(hours=14)
_WANTED: Final = f"a date and time with its zone, such as {INSTANT_EXAMPLE}"
_ANY_ZONE: Final = f"write it as {INSTANT_EXAMPLE}, or as 2026-12-01T10:00+01:00"


def parse_instant(text: str) -> datetime | None:
    """Return the instant (UTC) a text says, ``None`` when it says none from 2000 to 2099."""
    found = _INSTANT.fullmatch(text)
    if not found or not text.isascii():
        return None
    try:
        instant = datetime.fromisoformat(f"{found[1]}T{found[2]}{found[3]}")
        offset = instant.utcoffset()
        return None if offset is None or abs(offset) > _MAX_OFFSET else instant.astimezone(UTC)
    except ValueError:
        return None


def format_instant(instant: datetime) -> str:
    """Return ``2026-12-01T09:00Z``: what ``parse_instant`` reads back, to whole seconds."""
    utc = instant.astimezone(UTC)
    return utc.strftime("%Y-%m-%dT%H:%M:%SZ" if utc.second else "%Y-%m-%dT%H:%MZ")


def instant_type() -> ValueType:
    """Return the type of an instant; read as an aware ``datetime`` in UTC."""
    return ValueType(lambda node, _place: _read(node), INSTANT_SCHEMA)


def start_type() -> ValueType:
    """Return the type of ``starts``: an instant, or ``manual``."""

    def read(node: Node, _place: Place) -> datetime | str:
        if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
            raise Refusal(f"must be {_WANTED}, or `{MANUAL}`, {given(node)}", _ANY_ZONE)
        word = node.text.strip()
        if word == MANUAL:
            return MANUAL
        if word.lower() in {"now", "today", "immediately", "asap", "auto"}:
            raise Refusal(
                f"must be {_WANTED}, or `{MANUAL}`, {given(node)}",
                "remove it: without `starts` it starts when the file is applied",
            )
        if word and near_matches(word, [MANUAL]):
            raise Refusal(
                f"must be {_WANTED}, or `{MANUAL}`, {given(node)}", f"did you mean `{MANUAL}`?"
            )
        return _read(node)

    schema = {"anyOf": [{"const": MANUAL}, INSTANT_SCHEMA]}
    return ValueType(read, schema)


def _read(node: Node) -> datetime:
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        raise Refusal(f"must be {_WANTED}, {given(node)}", _ANY_ZONE)
    instant = parse_instant(node.text)
    if instant is None:
        raise Refusal(*_refused(node))
    return instant


def _refused(node: ScalarNode) -> tuple[str, str]:
    """Return what is wrong with an instant and what to write instead."""
    text = node.text.strip()
    if _DATE.fullmatch(text):
        if parse_instant(f"{text}T00:00Z") is None:
            return f"is no day of the calendar from 2000 to 2099, {given(node)}", _ANY_ZONE
        return f"is a day without a time, {given(node)}", f"write for instance {text}T09:00Z"
    if found := _WITHOUT_ZONE.fullmatch(text):
        proposed = _proposal(found[1], found[2], "Z")
        if proposed:
            return f"is a time without a zone, {given(node)}", f"write {proposed} if it is in UTC"
    elif found := _LOOSE.fullmatch(text):
        proposed = _proposal(found[1], found[2], _offset(found[3]))
        if proposed:
            return f"must be {_WANTED}, {given(node)}", f"write {proposed}"
    elif not _INSTANT.fullmatch(text):
        return f"must be {_WANTED}, {given(node)}", _ANY_ZONE
    return (
        f"is no time of the calendar from 2000 to 2099, {given(node)}",
        "check day, hour and zone",
    )


def _proposal(day: str, time: str, zone: str) -> str:
    """Return the instant in the form that is read, empty when it is none."""
    text = f"{day}T{time if time.index(':') > 1 else f'0{time}'}{zone}"
    return text if parse_instant(text) is not None else ""


def _offset(zone: str) -> str:
    if zone[0] not in "+-":
        return "Z"
    return f"{zone[:3]}:{zone[-2:]}"
