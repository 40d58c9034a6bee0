"""The words of an ``audience`` and its JSON Schema."""

from typing import Any, Final

from experiments.audience import Operator
from experiments.patterns import MAX_PATTERN, MAX_VALUE
from experiments.versions import VERSION_PATTERN

ATTRIBUTE_PATTERN: Final = r"[^\s.$][^\s.]*(\.[^\s.]+)*"
MAX_ATTRIBUTE: Final = 100
MAX_GROUPS: Final = 50
MAX_GROUP_DEPTH: Final = 2
MAX_VERSION: Final = 100
GROUPS: Final = "any_of"
NUMERIC: Final = (Operator.AT_LEAST, Operator.ABOVE, Operator.AT_MOST, Operator.BELOW)
COMPARISONS: Final = tuple(
    operator.value
    for operator in (
        *NUMERIC,
        Operator.NOT,
        Operator.EXISTS,
        Operator.MATCHES,
        Operator.VERSION_AT_LEAST,
    )
)
OTHER_WORDS: Final = {
    **dict.fromkeys(("or", "any", "anyof", "one_of", "oneof", "$or"), GROUPS),
    **dict.fromkeys(("and", "all", "allof", "all_of", "$and"), ""),
}
"""Words of other languages for groups, and what is written here."""

_SCALAR: Final = {"type": ["string", "number", "boolean"]}
_LIST: Final = {
    "type": "array",
    "minItems": 1,
    "anyOf": [{"items": {"type": kind}} for kind in ("string", "number", "boolean")],
}
_MATCHES_ABOUT: Final = (
    "Text in which this regular expression is found. No look-arounds, back-references, named "
    f"groups or flags; `\\d`, `\\w` and `\\s` are ASCII. Text of more than {MAX_VALUE} "
    "characters, or with line ends or emoji, does not match."
)
_VERSION_ABOUT: Final = (
    "A version that is this one or later, number by number: 3.10.0 is later than 3.9.2, and than "
    "3.10.0-beta."
)
_COMPARISON_SCHEMAS: Final[dict[str, tuple[str, Any, dict[str, Any]]]] = {
    "at_least": ("A number of this size or larger.", 20, {"type": "number"}),
    "above": ("A number larger than this.", 20, {"type": "number"}),
    "at_most": ("A number of this size or smaller.", 100, {"type": "number"}),
    "below": ("A number smaller than this.", 100, {"type": "number"}),
    "not": (
        "Present, and not this value or one of these.",
        ["DE", "AT"],
        {"anyOf": [_SCALAR, _LIST]},
    ),
    "exists": (
        "Whether the attribute must be there (true) or must not (false).",
        True,
        {"type": "boolean"},
    ),
    "matches": (
        _MATCHES_ABOUT,
        "^3\\.",
        {"type": "string", "minLength": 1, "maxLength": MAX_PATTERN, "format": "regex"},
    ),
    "version_at_least": (
        _VERSION_ABOUT,
        "3.10.2",
        {"type": "string", "maxLength": MAX_VERSION, "pattern": f"^{VERSION_PATTERN}$"},
    ),
}


def audience_schema(depth: int = MAX_GROUP_DEPTH) -> dict[str, Any]:
    """Return the schema of an audience in which ``depth`` levels of groups are allowed."""
    compared = {
        "type": "object",
        "minProperties": 1,
        "additionalProperties": False,
        "properties": {
            name: {"description": about, "examples": [example], **schema}
            for name, (about, example, schema) in _COMPARISON_SCHEMAS.items()
        },
    }
    schema: dict[str, Any] = {
        "type": "object",
        "propertyNames": {
            "pattern": f"^{ATTRIBUTE_PATTERN}$",
            "maxLength": MAX_ATTRIBUTE,
            "not": {"enum": [*COMPARISONS, *([] if depth else [GROUPS])]},
        },
        "additionalProperties": {
            "description": "What the attribute has to be: a value, a list (any of), or "
            "comparisons.",
            "examples": [["ios", "android"], {"at_least": 20}],
            "anyOf": [_SCALAR, _LIST, compared],
        },
    }
    if depth:
        group = {**audience_schema(depth - 1), "minProperties": 1}
        schema["properties"] = {
            GROUPS: {
                "description": "Groups of which at least one must hold; the lines of a group all "
                "must.",
                "examples": [[{"country": "DE"}, {"segment": ["vip"], "visits": {"at_least": 5}}]],
                "type": "array",
                "minItems": 1,
                "maxItems": MAX_GROUPS,
                "items": group,
            }
        }
    return schema
