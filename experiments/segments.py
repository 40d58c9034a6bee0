"""What an exposure says of its unit: values of the attributes that the file declares, as text.

A privacy rule as much as a statistical one: attributes that no file declares are kept nowhere.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from experiments.audience import attribute
from metrics.cells import MICRO
from metrics.segments import LONGEST_VALUE, PREFIX
from metrics.wire import FieldValue, encodable

_WHOLE = 2**53


def segment_text(value: Any) -> str | None:
    """Return a value of an attribute as it is kept; ``None`` when nothing is.

    Truth values and numbers become text as JSON writes them, white space one blank. Nothing is
    kept of lists and objects, of empty text, and of text longer than ``LONGEST_VALUE``: a cut
    value would be another one.
    """
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        if not math.isfinite(value):
            return None
        value = int(value) if value.is_integer() and abs(value) < _WHOLE else repr(value)
    if isinstance(value, int):
        value = str(value) if abs(value) < 10**18 else ""
    if not isinstance(value, str) or len(value) > 4 * LONGEST_VALUE:
        return None
    text = " ".join(value.split())
    return text if 0 < len(text) <= LONGEST_VALUE and encodable(text) else None


def segment_fields(names: Sequence[str], context: Mapping[str, Any]) -> dict[str, FieldValue]:
    """Return the fields of an exposure that say what its unit is.

    Args:
        names: Attributes that the file declares; those of another attribute have a dot.
        context: Attributes as the application sent them.
    """
    found = ((name, segment_text(attribute(context, name))) for name in names)
    return {PREFIX + name: text for name, text in found if text is not None}


def kept_fields(names: Iterable[str], fields: Mapping[str, FieldValue]) -> dict[str, FieldValue]:
    """Return the fields of an exposure that an application sent, without what nobody declares.

    Args:
        names: Attributes that the file declares.
        fields: Numbers as exact integers of 1e-6.
    """
    kept = {key: value for key, value in fields.items() if not key.startswith(PREFIX)}
    for name in names:
        value = fields.get(PREFIX + name)
        if isinstance(value, int) and not isinstance(value, bool):
            text = segment_text(value / MICRO)
        else:
            text = segment_text(value)
        if text is not None:
            kept[PREFIX + name] = text
    return kept
