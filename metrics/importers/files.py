"""Event files: JSON lines and Parquet, the wire form of an event in each row.

JSON lines hold one event object per line, as ``POST /api/v1/events`` takes it.
Parquet has the columns ``id``, ``name``, ``happened_at`` (microseconds, UTC),
``units`` and ``fields`` (JSON text, because fields differ from event to event), or those of
``turnback export``.
"""

import codecs
from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from metrics.importers.exported import COLUMNS, wire_of

SUFFIXES = (".parquet", ".jsonl")
_encoder = msgspec.json.Encoder()
_ROWS = 50_000
_GZIP = b"\x1f\x8b"
_EVENT = frozenset({"id", "name", "happened_at", "units", "fields"})
_UNREADABLE = (OverflowError, ValueError, LookupError, TypeError, NotImplementedError)
"""What pyarrow raises for a value that Python does not know, by its type."""


class EventFileError(ValueError):
    """A file of events cannot be written or read; the message says where and what to do."""


def check_suffix(path: Path) -> str:
    """Return the suffix of an event file.

    Raises:
        EventFileError: It is neither ``.parquet`` nor ``.jsonl``.
    """
    if path.suffix not in SUFFIXES:
        raise EventFileError(f"{path}: not an event file; name it *.parquet or *.jsonl")
    return path.suffix


def write_events(events: Sequence[Mapping[str, Any]], path: Path) -> None:
    """Write events in wire form; the suffix chooses the format, an existing file is replaced.

    Args:
        events: ``happened_at`` is an aware datetime.
        path: ``*.parquet`` or ``*.jsonl``.

    Raises:
        EventFileError: The suffix is another one, or the folder does not exist.
    """
    suffix = check_suffix(path)
    partial = path.with_name(path.name + ".partial")
    try:
        if suffix == ".jsonl":
            with partial.open("wb") as out:
                out.writelines(_encoder.encode(event) + b"\n" for event in events)
        else:
            _write_parquet(events, partial)
        partial.replace(path)  # a reader never sees half a file
    except OSError as error:
        raise EventFileError(f"{path}: cannot be written ({error.strerror})") from error
    finally:
        partial.unlink(missing_ok=True)


def _write_parquet(events: Sequence[Mapping[str, Any]], path: Path) -> None:
    import pyarrow as pa  # noqa: PLC0415 - imported late: 0.1 s nobody else should pay
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    columns = {
        "id": pa.array([event["id"] for event in events], pa.string()),
        "name": pa.array([event["name"] for event in events], pa.string()),
        "happened_at": pa.array(
            [event["happened_at"] for event in events], pa.timestamp("us", tz="UTC")
        ),
        "units": pa.array([_encoder.encode(e["units"]).decode() for e in events], pa.string()),
        "fields": pa.array([_encoder.encode(e["fields"]).decode() for e in events], pa.string()),
    }
    pq.write_table(pa.table(columns), path, compression="zstd")


def read_events(path: Path) -> Iterator[dict[str, Any]]:
    """Yield the events of a file in wire form, ``happened_at`` as text or datetime, in file order.

    Raises:
        EventFileError: The file is missing, of another kind, or a line is not an event object.
    """
    if require_file(path) == ".jsonl":
        decoder = msgspec.json.Decoder(dict[str, Any])
        for number, line in lines_of(path):
            try:
                yield decoder.decode(line)
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
                deep = isinstance(error, RecursionError)
                why = "nested too deeply" if deep else str(error)
                raise EventFileError(f"{path}:{number}: not an event: {why}") from error
    else:
        for number, row in rows_of(path):
            if isinstance(row, str):
                raise EventFileError(f"{path}: row {number}: {row}")
            yield _row(path, row)


def require_file(path: Path) -> str:
    """Return the suffix of an event file that exists.

    Raises:
        EventFileError: It does not exist, or is of another kind.
    """
    suffix = check_suffix(path)
    if not path.is_file():
        raise EventFileError(
            f"{path}: no such file; `turnback import online-retail` writes one, "
            "or save the bodies you send to /api/v1/events"
        )
    return suffix


def lines_of(path: Path) -> Iterator[tuple[int, bytes]]:
    """Yield the lines of a file that are not blank, with their numbers; a BOM is left out.

    Raises:
        EventFileError: It cannot be read, or holds no lines of JSON in UTF-8 at all.
    """
    first = True
    try:
        with path.open("rb") as lines:
            for number, each in enumerate(lines, start=1):
                line = each.removeprefix(codecs.BOM_UTF8) if number == 1 else each
                line = line.strip()
                if not line:
                    continue
                if first:
                    _require_lines(path, number, line)
                    first = False
                yield number, line
    except OSError as error:
        raise EventFileError(f"{path}: cannot be read ({error.strerror})") from error


def _require_lines(path: Path, number: int, line: bytes) -> None:
    """Refuse what is no file of JSON lines by its first line, rather than each of its lines."""
    if line.startswith(_GZIP):
        raise EventFileError(f"{path}:{number}: this is compressed with gzip; unpack it first")
    if line.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) or b"\0" in line[:4]:
        raise EventFileError(f"{path}:{number}: this is UTF-16 or UTF-32 text; save it as UTF-8")
    if line.startswith(b"["):
        raise EventFileError(
            f"{path}:{number}: this is a JSON array; write one event per line, without [ and ]"
        )


def rows_of(path: Path) -> Iterator[tuple[int, dict[str, Any] | str]]:
    """Yield the rows of a Parquet file with their numbers; text instead says why one is none.

    Instants beyond the years 1 to 9999 are text.

    Raises:
        EventFileError: It cannot be read as Parquet, or a column is missing.
    """
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    number = 0
    try:
        source = pq.ParquetFile(path)
        wanted = _columns(path, source.schema_arrow.names)
        for batch in source.iter_batches(_ROWS, columns=wanted):
            for row in _plain_rows(batch):
                number += 1
                yield number, row
    except (pa.ArrowException, OSError) as error:
        raise EventFileError(f"{path}: cannot be read as Parquet ({error})") from error


def _columns(path: Path, names: Sequence[str]) -> list[str]:
    exported = set(names) >= COLUMNS
    missing = _EVENT - set(names) - ({"fields"} if exported else set[str]())
    if missing:
        raise EventFileError(
            f"{path}: column {', '.join(sorted(missing))} is missing; "
            "an event file has id, name, happened_at, units and fields"
        )
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise EventFileError(f"{path}: column {', '.join(twice)} is there twice; leave one out")
    return [name for name in names if name in _EVENT | COLUMNS | {"unit", "trusted"}]


def _plain_rows(batch: Any) -> Iterator[dict[str, Any] | str]:
    try:
        rows = batch.to_pylist()
    except _UNREADABLE:
        rows = (_plain_row(batch, index) for index in range(batch.num_rows))
    yield from rows


def _plain_row(batch: Any, index: int) -> dict[str, Any] | str:
    """Return one row cell by cell: one that Python cannot hold spoils no other row."""
    row: dict[str, Any] = {}
    for name in batch.schema.names:
        cell = batch.column(name).slice(index, 1)
        try:
            row[name] = cell.to_pylist()[0]
        except UnicodeDecodeError:
            return f"{name} is no UTF-8"
        except _UNREADABLE:
            if name != "happened_at":
                return f"{name} holds what is no value of JSON"
            row[name] = str(cell.cast("string")[0])  # a year like -1199
    return row


def _row(path: Path, row: Mapping[str, Any]) -> dict[str, Any]:
    happened_at = row["happened_at"]
    if not isinstance(happened_at, datetime | str):
        raise EventFileError(f"{path}: {row['id']}: happened_at is no time: {happened_at!r}")
    if "fields" not in row:
        try:
            return wire_of(row)
        except ValueError as error:
            raise EventFileError(f"{path}: {row['id']}: {error}") from error
    try:
        units, fields = (msgspec.json.decode(row[name] or "{}") for name in ("units", "fields"))
    except (msgspec.DecodeError, TypeError, RecursionError) as error:
        raise EventFileError(f"{path}: {row['id']}: units or fields: not JSON: {error}") from error
    return {**row, "units": units, "fields": fields}
