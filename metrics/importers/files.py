"""Event files: JSON lines and Parquet, the wire form of an event in each row.

JSON lines hold one event object per line, as ``POST /api/v1/events`` takes it.
Parquet has the columns ``id``, ``name``, ``happened_at`` (microseconds, UTC),
``units`` and ``fields`` (JSON text, because fields differ from event to event), or those of
``turnback export``.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec

from metrics.importers.exported import COLUMNS, wire_of

SUFFIXES = (".parquet", ".jsonl")
_encoder = msgspec.json.Encoder()
_ROWS = 50_000


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
    suffix = check_suffix(path)
    if not path.is_file():
        raise EventFileError(
            f"{path}: no such file; `turnback import online-retail` writes one, "
            "or save the bodies you send to /api/v1/events"
        )
    yield from _read_lines(path) if suffix == ".jsonl" else _read_parquet(path)


def _read_lines(path: Path) -> Iterator[dict[str, Any]]:
    decoder = msgspec.json.Decoder(dict[str, Any])
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            if not line.strip():
                continue
            try:
                yield decoder.decode(line)
            except msgspec.DecodeError as error:
                raise EventFileError(f"{path}:{number}: not an event: {error}") from error


def _read_parquet(path: Path) -> Iterator[dict[str, Any]]:
    import pyarrow as pa  # noqa: PLC0415 - as above
    import pyarrow.parquet as pq  # noqa: PLC0415 - as above

    try:
        source = pq.ParquetFile(path)
        names = set(source.schema_arrow.names)
        missing = {"id", "name", "happened_at", "units", "fields"} - names
        if missing == {"fields"} and names >= COLUMNS:
            missing = set()
        if missing:
            raise EventFileError(
                f"{path}: column {', '.join(sorted(missing))} is missing; "
                "an event file has id, name, happened_at, units and fields"
            )
        for batch in source.iter_batches(_ROWS):
            for row in batch.to_pylist():
                yield _row(path, row)
    except (pa.ArrowInvalid, OSError) as error:
        raise EventFileError(f"{path}: cannot be read as Parquet ({error})") from error


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
    except (msgspec.DecodeError, TypeError) as error:
        raise EventFileError(f"{path}: {row['id']}: units or fields: not JSON: {error}") from error
    return {**row, "units": units, "fields": fields}
