"""A request that does not fit its description, in our own words."""

import json
from collections.abc import Callable, Mapping
from typing import Any, Final

LONGEST = 80
"""Characters of what was given that are shown."""

_OBJECT = 'send a JSON object, with the header "Content-Type: application/json"'
_INSTANT = "write it with its offset, for instance 2026-12-01T09:00:00Z"
_DESCRIBED = "GET /openapi.json describes what is expected"


def told(error: Mapping[str, Any]) -> tuple[str, str, str]:
    """Return what is wrong with a request, what to do, and where.

    Args:
        error: One error of the validator: its ``type``, ``loc``, ``ctx`` and ``input``.
    """
    kind, where = str(error["type"]), _where(error["loc"])
    context: Mapping[str, Any] = error.get("ctx") or {}
    if kind == "json_invalid":
        place = error["loc"][-1]
        at = f" (it breaks off or goes wrong at character {place})" if place else ""
        return f"the body is no JSON{at}", _OBJECT, "body"
    if kind == "missing":
        if where == "body":
            return "the body is missing", _OBJECT, where
        return "is missing", "add it", where
    if kind == "value_error":
        return str(context.get("error", "is not valid")), "", where
    message, hint = _WORDS.get(_family(kind), _unknown)(context)
    return f"{message}, got {_given(error.get('input'))}", hint, where


def _where(location: tuple[Any, ...]) -> str:
    where = ".".join(str(part) for part in location[1:]) or str(location[0])
    return _printable(where)[:200]


def _given(value: Any) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "backslashreplace")
    try:
        text = _printable(json.dumps(value, ensure_ascii=False))
    except (TypeError, ValueError):
        return "something else"
    return text if len(text) <= LONGEST else f"{text[: LONGEST - 1]}…"


def _printable(text: str) -> str:
    return text.encode("utf-8", "backslashreplace").decode()


def _family(kind: str) -> str:
    """Return the key of ``_WORDS`` for a kind of error: many kinds are told alike."""
    for start in ("datetime", "timezone", "bool", "int", "float"):
        if kind.startswith(f"{start}_"):
            return start
    return "object" if kind in _OBJECTS else kind


_OBJECTS = frozenset({"model_attributes_type", "model_type", "dict_type", "dataclass_type"})


def _unknown(_context: Mapping[str, Any]) -> tuple[str, str]:
    return "is not what is expected here", _DESCRIBED


def _bound(words: str, key: str) -> Callable[[Mapping[str, Any]], tuple[str, str]]:
    return lambda context: (f"must be {words} {context.get(key)}", "")


def _length(words: str, key: str) -> Callable[[Mapping[str, Any]], tuple[str, str]]:
    def said(context: Mapping[str, Any]) -> tuple[str, str]:
        limit = int(context.get(key) or 0)
        return f"must have {words} {limit:,} character{'s' if limit != 1 else ''}", ""

    return said


def _one_of(context: Mapping[str, Any]) -> tuple[str, str]:
    choices = str(context.get("expected", "")).replace("'", "").replace(" or ", ", ")
    return f"must be one of {choices}", ""


_WORDS: Final[Mapping[str, Callable[[Mapping[str, Any]], tuple[str, str]]]] = {
    "object": lambda _: ("must be a JSON object", _OBJECT),
    "extra_forbidden": lambda _: ("is no known key here", "remove it, or check its spelling"),
    "enum": _one_of,
    "literal_error": _one_of,
    "string_type": lambda _: ("must be text", ""),
    "string_unicode": lambda _: ("must be valid Unicode text", ""),
    "string_too_short": _length("at least", "min_length"),
    "string_too_long": _length("at most", "max_length"),
    "too_long": lambda context: (f"must have at most {context.get('max_length')} entries", ""),
    "bool": lambda _: ("must be true or false", ""),
    "int": lambda _: ("must be a whole number", ""),
    "float": lambda _: ("must be a number", ""),
    "datetime": lambda _: ("must be an instant", _INSTANT),
    "timezone": lambda _: ("must be an instant with its offset", _INSTANT),
    "greater_than": _bound("more than", "gt"),
    "greater_than_equal": _bound("at least", "ge"),
    "less_than": _bound("less than", "lt"),
    "less_than_equal": _bound("at most", "le"),
}
