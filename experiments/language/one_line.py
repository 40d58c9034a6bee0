"""Values on one line, as people write them into a spec file: ``{steps: [reason, confirm]}``."""

from collections.abc import Iterable
from typing import Any, cast

from experiments.language.scalars import resolve
from experiments.language.source import ListNode, MappingNode, ScalarNode


def in_one_line(value: Any) -> str:
    """Return a value on one line.

    Args:
        value: A node of a file, whose scalars stay as written (quoted where they must be), or JSON.
    """
    if isinstance(value, ScalarNode):
        text = " ".join(value.text.split())
        # without its quotes "3.10" would be the number 3.1
        quoted = isinstance(value.value, str) and not isinstance(resolve(text, plain=True)[0], str)
        return f'"{text}"' if quoted else text
    if isinstance(value, MappingNode):
        return _pairs((entry.key, entry.value) for entry in value.entries)
    if isinstance(value, dict):
        return _pairs(cast("dict[str, Any]", value).items())
    if isinstance(value, ListNode | list):
        items = value.items if isinstance(value, ListNode) else cast("list[Any]", value)
        return f"[{', '.join(map(in_one_line, items))}]"
    if value is None:
        return "null"
    return str(value).lower() if isinstance(value, bool) else str(value)


def _pairs(pairs: Iterable[tuple[str, Any]]) -> str:
    return f"{{{', '.join(f'{name}: {in_one_line(value)}' for name, value in pairs)}}}"
