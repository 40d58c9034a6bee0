"""Event files line by line, for whoever loads them: a line that is no event is handed on too.

`metrics.importers.files.read_events` stops at the first event it cannot read. Here every line
and row of a file that can be read at all becomes a `Record`; what takes it says what is wrong.
"""

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Any, cast

import msgspec

from metrics.decoding import MalformedLine, decode_line
from metrics.importers.exported import wire_of
from metrics.importers.files import lines_of, require_file, rows_of

_encoder = msgspec.json.Encoder()


@dataclass(frozen=True, slots=True)
class Record:
    """One line or row of an event file.

    Attributes:
        path: The file.
        number: Line or row, from 1.
        text: The event as one line of JSON: of JSON lines the bytes as they stand.
        trusted: False where the file says that it was untrusted; no load raises that.
        unreadable: Why a row of Parquet is no event; its text is no JSON then. Empty otherwise.
    """

    path: Path
    number: int
    text: bytes
    trusted: bool = True
    unreadable: str = ""

    @property
    def where(self) -> str:
        """The file and the line or row, for people."""
        row = " row " if self.path.suffix == ".parquet" else ""
        return f"{self.path}:{row}{self.number}"


def read_records(path: Path) -> Iterator[Record]:
    """Yield every line or row of a file, in file order; blank lines are skipped.

    Raises:
        EventFileError: The file is missing, of another kind or encoding, or broken.
    """
    if require_file(path) == ".jsonl":
        for number, line in lines_of(path):
            for part in _plain(line):
                yield Record(path, number, part, _trusted(part))
    else:
        for number, row in rows_of(path):
            yield _of_row(path, number, row)


def _plain(line: bytes) -> list[bytes]:
    """Return a line without carriage returns, which end a line of NDJSON but may stand in JSON."""
    if b"\r" not in line:
        return [line]
    joined = line.replace(b"\r", b" ")
    if not isinstance(decode_line(line), MalformedLine):
        return [joined]  # blanks between the parts of one event
    return [part for part in line.split(b"\r") if part.strip()]


def _trusted(line: bytes) -> bool:
    if b"trusted" not in line and b"\\u" not in line:  # the usual case is not decoded here
        return True
    event = decode_line(line)
    if not isinstance(event, dict):
        return False
    return cast("dict[str, Any]", event).get("trusted", True) is True


def _of_row(path: Path, number: int, row: Mapping[str, Any] | str) -> Record:
    if isinstance(row, str):
        return _unreadable(path, number, row, {})
    try:
        event = _event_of(row)
        text = _encoded(event)
    except (ValueError, TypeError, RecursionError) as error:
        deep = isinstance(error, RecursionError)
        return _unreadable(path, number, "nested too deeply" if deep else str(error), row)
    return Record(path, number, text, event.get("trusted", True) is True)


def _event_of(row: Mapping[str, Any]) -> dict[str, Any]:
    """Return a row in wire form; what is no JSON stays text, so that the field is refused."""
    event = dict(row) if "fields" in row else wire_of(row)
    if isinstance(at := event.get("happened_at"), date):  # a datetime is one
        event["happened_at"] = at.isoformat()
    if "fields" in row:
        event |= {name: _json(name, event[name]) for name in ("units", "fields")}
    return event


def _json(name: str, text: Any) -> Any:
    if not text:
        return {}
    if not isinstance(text, str | bytes):
        raise ValueError(f"{name}: expected JSON text, got {text!r:.60}")  # noqa: TRY004 - of a file
    found = decode_line(text.encode() if isinstance(text, str) else text)
    return text if isinstance(found, MalformedLine) else found


def _encoded(event: Mapping[str, Any]) -> bytes:
    try:
        text = _encoder.encode(event)
    except (TypeError, ValueError, OverflowError):
        text = b"null"
    if b"null" not in text:
        return text
    # the quick encoder writes null for NaN, and null means that a field was not sent
    return json.dumps(event, default=str).encode()


def _unreadable(path: Path, number: int, reason: str, row: Mapping[str, Any]) -> Record:
    """Return a record that is kept as what could be read of it, and never taken for an event."""
    shown = " ".join(f"{name}={value!r:.300}" for name, value in row.items())
    text = f"{path.name}, row {number}: {reason}; {shown}".replace("\n", " ").replace("\r", " ")
    return Record(path, number, text.encode("utf-8", "replace"), trusted=False, unreadable=reason)
