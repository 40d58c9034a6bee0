"""Single values of YAML 1.2, and the spellings that YAML readers disagree about."""

import math
import re
from typing import Final

JsonScalar = str | int | float | bool | None

MAX_EXACT_INTEGER: Final = 2**53 - 1
"""Beyond it JavaScript no longer tells neighbouring integers apart."""

_WORDS: Final[dict[str, bool | None]] = {
    **dict.fromkeys(("", "~", "null", "Null", "NULL")),
    **dict.fromkeys(("true", "True", "TRUE"), True),
    **dict.fromkeys(("false", "False", "FALSE"), False),
}
_INTEGER = re.compile(r"[-+]?[0-9]+")
_OCTAL = re.compile(r"0o[0-7]+")
_HEXADECIMAL = re.compile(r"0x[0-9a-fA-F]+")
_FLOAT = re.compile(r"[-+]?(\.[0-9]+|[0-9]+(\.[0-9]*)?)([eE][-+]?[0-9]+)?")
_NOT_FINITE = re.compile(r"[-+]?\.(inf|Inf|INF)|\.(nan|NaN|NAN)")
_YES_NO = {
    "yes": "true",
    "no": "false",
    "on": "true",
    "off": "false",
}
_SEXAGESIMAL = re.compile(r"[-+]?[0-9][0-9_]*(:[0-5]?[0-9])+(\.[0-9_]*)?")
_CLOCK = re.compile(r"([01][0-9]|2[0-3]):[0-5][0-9]")
_UNDERSCORED = re.compile(r"[-+]?[0-9]+(_[0-9_]*)+(\.[0-9_]*)?")
_LEADING_ZERO = re.compile(r"[-+]?0[0-9]+")


HIDDEN: Final = frozenset(
    {*map(chr, (*range(0x20), *range(0x7F, 0xA0), *range(0x202A, 0x202F), *range(0x2066, 0x206A)))}
    - set("\t\n")
)
"""Characters that steer a terminal or turn the direction of what follows, and are not seen."""

_HIDDEN = re.compile(f"[{''.join(map(re.escape, sorted(HIDDEN)))}]")
_UNSEEN: Final = {code: f"\\u{code:04x}" for code in (*map(ord, HIDDEN), *range(0xD800, 0xE000))}


def unseen(text: str) -> tuple[str, str] | None:
    """Return what is wrong with a text that holds a hidden character, ``None`` when it has none."""
    if not text.isascii() and any("\ud800" <= c <= "\udfff" for c in text):
        return "holds half of a character (a lone surrogate)", "write the character itself"
    found = _HIDDEN.search(text)
    if found is None:
        return None
    return f"holds U+{ord(found[0]):04X}, a character that is not seen", "remove it"


def visible(text: str) -> str:
    r"""Return text with every hidden or half character as its code: ``\u001b``."""
    return text.translate(_UNSEEN)


def trap(text: str) -> tuple[str, str] | None:
    """Return what is wrong with an unquoted spelling and what to write, ``None`` when nothing is.

    YAML 1.2 reads all of these one way and older readers another, so an application that
    reads the same file would see something else.
    """
    if text in (text.lower(), text.upper(), text.capitalize()) and text.lower() in _YES_NO:
        meaning = _YES_NO[text.lower()]
        return (
            f"`{text}` is text to some YAML readers and {meaning} to others",
            f'write "{text}" in quotes for the text, or {meaning}',
        )
    if _SEXAGESIMAL.fullmatch(text):
        instant = f"an instant as 2026-12-01T{text}Z, " if _CLOCK.fullmatch(text) else ""
        return (
            f"`{text}` is text to some YAML readers and a number in base 60 to others",
            f'write {instant}a duration as 1h30m, or "{text}" in quotes for the text',
        )
    if _UNDERSCORED.fullmatch(text):
        return (
            f"`{text}` is text to some YAML readers and a number to others",
            f'write {text.replace("_", "")}, or "{text}" in quotes for the text',
        )
    if _LEADING_ZERO.fullmatch(text):
        return (
            f"`{text}` is {int(text[:40])} to some YAML readers and an octal number to others",
            f'write {int(text[:40])}, or "{text}" in quotes for the text',
        )
    return None


def resolve(text: str, *, plain: bool) -> tuple[JsonScalar, tuple[str, str] | None]:
    """Return the value of a scalar by YAML 1.2, and what is wrong with it if anything is."""
    if (fault := unseen(text)) is not None:
        return "", fault
    if plain and text in _WORDS:
        return _WORDS[text], None
    number = _number(text) if plain else None
    if number is None:
        return text, None
    if not math.isfinite(number):
        return text, (f"`{text}` is no number that JSON can hold", "write a finite number")
    if isinstance(number, int) and abs(number) > MAX_EXACT_INTEGER:
        shown = text if len(text) <= 24 else f"{text[:20]}…"  # noqa: PLR2004 - fits a line
        message = f"`{shown}` is more than {MAX_EXACT_INTEGER}: JavaScript would not count exactly"
        return text, (message, "put it in quotes if it is an id")
    return number, None


def _number(text: str) -> int | float | None:
    if _INTEGER.fullmatch(text):
        return int(text[:40])
    if _OCTAL.fullmatch(text) or _HEXADECIMAL.fullmatch(text):
        return int(text[:40], 0)
    if _NOT_FINITE.fullmatch(text):
        return math.nan
    return float(text) if _FLOAT.fullmatch(text) else None
