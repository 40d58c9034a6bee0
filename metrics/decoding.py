"""From bytes to raw events: JSON arrays and lines, whatever is wrong with them. Pure."""

import json
from dataclasses import dataclass
from typing import Any, cast

import msgspec

from metrics.wire import kind_of

_EXCERPT = 16_384
_LONGEST_CHARACTER = 4
"""Bytes of UTF-8: a cut never leaves half of one."""
_MOST_DIGITS = 400
"""The largest float has 309; Python refuses to read integers of more than 4,300."""
_TOO_DEEP = "nested too deeply"


class MalformedBodyError(ValueError):
    """A request body is no JSON array of events and no NDJSON; nothing of it was read."""


@dataclass(frozen=True, slots=True)
class MalformedLine:
    """One line of NDJSON that is no JSON, or is nested too deeply; `parse_event` rejects it."""

    text: str
    reason: str


def decode_events(body: bytes, *, ndjson: bool) -> list[Any]:
    """Return the raw events of a request body, for `parse_event` one by one.

    NaN and infinities, which are no JSON, are let through here so that they reject one event
    and not its batch; numbers too long to be read become infinite for the same reason. A
    single JSON object counts as an array of one.

    Args:
        body: The body, already decompressed.
        ndjson: One JSON object per line instead of one array; blank lines are skipped.

    Raises:
        MalformedBodyError: The body is no JSON array, says where it breaks; or it is nested
            too deeply, which NDJSON refuses line by line.
    """
    if ndjson:
        return [decode_line(line) for line in body.splitlines() if line.strip()]
    try:
        decoded: Any = msgspec.json.decode(body)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        decoded = _decode_leniently(body)
    if isinstance(decoded, dict):
        return [decoded]
    if not isinstance(decoded, list):
        raise MalformedBodyError(
            f"body: expected a JSON array of events, got {kind_of(decoded)}; "
            "send [{...}, ...] or NDJSON with Content-Type application/x-ndjson"
        )
    return cast("list[Any]", decoded)


def _decode_leniently(body: bytes) -> Any:
    try:
        return _read_slowly(body)
    except RecursionError:
        raise MalformedBodyError(
            f"body: an event is {_TOO_DEEP}; flatten it, or send NDJSON with Content-Type "
            "application/x-ndjson, where only the line that is nested too deeply is refused"
        ) from None
    except ValueError as error:
        raise MalformedBodyError(
            f"body: no JSON ({error}); send a JSON array of events, or NDJSON with "
            "Content-Type application/x-ndjson"
        ) from error


def _read_slowly(text: bytes | str) -> Any:
    """Return JSON that the fast decoder refuses: NaN, infinities, numbers of any length."""
    return json.loads(text, parse_int=_integer)


def _integer(digits: str) -> int | float:
    """Return an integer; one beyond all floats is infinite, so only its own field is refused."""
    return int(digits) if len(digits) <= _MOST_DIGITS else float(digits)


def decode_line(line: bytes) -> Any:
    """Return the raw event of one line of NDJSON, a `MalformedLine` when it is none."""
    try:
        return msgspec.json.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        try:
            return _read_slowly(line.decode("utf-8-sig"))
        except RecursionError:
            reason = _TOO_DEEP
        except UnicodeDecodeError as error:
            at = f"byte {error.start + 1} is 0x{line[error.start]:02x}"
            reason = f"{at}, which is no UTF-8: save or send the text as UTF-8"
        except json.JSONDecodeError as error:
            reason = f"{error.msg} at character {error.pos + 1}"
        except ValueError as error:
            reason = str(error)
        return MalformedLine(line[:_EXCERPT].decode("utf-8", "replace"), reason)


def altered(text: str) -> bool:
    """Return whether the kept text of a malformed line may differ from what was sent.

    It may when it was cut, and where bytes that are no UTF-8 were replaced. What is left can be
    good JSON, but nobody sent it.
    """
    return "\ufffd" in text or len(text.encode()) > _EXCERPT - _LONGEST_CHARACTER


def excerpt(raw: Any) -> str:
    """Return anything decoded from JSON as text of at most 16 kB, whatever it holds."""
    if isinstance(raw, MalformedLine):
        text = raw.text
    else:
        try:
            text = json.dumps(raw, ensure_ascii=True, default=str)
        except (TypeError, ValueError, RecursionError):
            text = "(cannot be shown as JSON)"
    return text.encode("utf-8", "replace")[:_EXCERPT].decode("utf-8", "ignore")
