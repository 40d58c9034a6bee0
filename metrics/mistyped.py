"""What to send in place of a field whose type is not the one of the schema. Pure."""

import re
from collections.abc import Mapping
from typing import Any, Final

from metrics.catalogue import FieldType
from metrics.wording import gettext as _

_NUMERAL: Final = re.compile(r"-?(0|[1-9][0-9]{0,15})(\.[0-9]{1,15})?")
_EXAMPLES: Final[Mapping[FieldType, str]] = {
    FieldType.BOOLEAN: "true",
    FieldType.TEXT: '"abc"',
    FieldType.INTEGER: "1",
    FieldType.NUMBER: "4.5",
}


def mistyped(key: str, value: Any, given: str, expected: FieldType) -> str:
    """Return that a field has another type than the schema says, and what to send instead.

    Args:
        key: Name of the field.
        value: As it was sent.
        given: What that is, in words.
        expected: The type of the schema.
    """
    if isinstance(value, str) and (meant := _unquoted(value, expected)):
        return _(
            "fields.{field}: expected {type}, got {given}; send {meant}, without quotes",
            field=key,
            type=expected.value,
            given=given,
            meant=meant,
        )
    return _(
        "fields.{field}: expected {type}, got {given}; send for instance {example}",
        field=key,
        type=expected.value,
        given=given,
        example=_EXAMPLES[expected],
    )


def _unquoted(text: str, expected: FieldType) -> str:
    """Return what a text was meant to be; empty where that cannot be told."""
    text = text.strip()
    if expected is FieldType.BOOLEAN:
        return text.lower() if text.lower() in {"true", "false"} else ""
    whole = expected is FieldType.INTEGER and "." in text
    return text if not whole and expected is not FieldType.TEXT and _NUMERAL.fullmatch(text) else ""
