"""A store's history as partitioned Parquet that Spark, DuckDB and ClickHouse read as they are.

``day=YYYY-MM-DD/part-00000.parquet``, by the UTC day on which events happened. A file appears as
a whole, in place of the one before: an export may be repeated, for instance for late events.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from metrics.catalogue import FieldType
from metrics.cells import MICRO
from metrics.events import EPOCH, FieldValue
from metrics.stores.copying import Frozen, durable
from metrics.wire import default_schema

MANIFEST = "_manifest.json"
_WRITING = "_writing"
_DAY = 86_400_000_000
_TIME = pa.timestamp("us", tz="UTC")
_NUMBER = pa.decimal128(25, 6)
"""64-bit integers of 1e-6, and whole numbers of 64 bits, both exactly."""


def _map(of: Any) -> Any:
    return pa.map_(pa.string(), pa.field("value", of, nullable=False))


SCHEMA = pa.schema(
    [
        pa.field("seq", pa.int64(), nullable=False),
        pa.field("id", pa.string(), nullable=False),
        pa.field("name", pa.string(), nullable=False),
        pa.field("happened_at", _TIME, nullable=False),
        pa.field("received_at", _TIME, nullable=False),
        pa.field("trusted", pa.bool_(), nullable=False),
        pa.field("units", _map(pa.string()), nullable=False),
        pa.field("numbers", _map(_NUMBER), nullable=False),
        pa.field("texts", _map(pa.string()), nullable=False),
        pa.field("booleans", _map(pa.bool_()), nullable=False),
    ]
)
"""Columns of every file; an event's fields are in three maps, by their type."""

_units = msgspec.json.Decoder(dict[str, str]).decode
_fields = msgspec.json.Decoder(dict[str, FieldValue]).decode


@dataclass(frozen=True, slots=True)
class ExportedDay:
    """One partition: how many events it holds, and what its file is."""

    events: int
    bytes: int
    sha256: str
    watermark: int


@dataclass(frozen=True, slots=True)
class Exported:
    """What an export wrote.

    Attributes:
        to: The folder.
        watermark: Sequence number of the newest event it looked at.
        events: Events written.
        days: Partitions written.
        removed: Partitions taken away: the store holds no event of that day any more.
        incomplete_before: Days before this one are left as they are: retention has taken at
            least part of them out of the store. ``None`` where it never did.
    """

    to: str
    watermark: int
    events: int
    days: tuple[str, ...]
    removed: tuple[str, ...]
    incomplete_before: str | None


def export_days(
    frozen: Frozen, to: Path, *, since: date | None, until: date | None, now: datetime
) -> Exported:
    """Write every whole day from ``since`` to before ``until``, exposures included.

    Raises:
        StoreError: The store could not be read.
        OSError: The folder could not be written; days written so far are whole.
    """
    writing = to / _WRITING
    shutil.rmtree(writing, ignore_errors=True)
    writing.mkdir(parents=True)
    whole = _whole_from(frozen)
    first = max((each for each in (since, whole) if each is not None), default=date.min)
    counts = {d: n for d, n in _days(frozen).items() if first <= d and (not until or d < until)}
    before = _read_manifest(to)
    done: dict[str, ExportedDay] = {}
    for day in sorted(counts):
        done[f"{day}"] = _write_day(frozen, day, to, writing)
    gone = [
        day
        for day in before
        if day not in done
        and first <= date.fromisoformat(day)
        and (until is None or date.fromisoformat(day) < until)
    ]
    for day in gone:
        shutil.rmtree(to / f"day={day}", ignore_errors=True)
    kept = {day: about for day, about in before.items() if day not in gone}
    _write_manifest(to, writing, kept | {d: asdict(x) for d, x in done.items()}, frozen, now)
    shutil.rmtree(writing)
    return Exported(
        to=str(to),
        watermark=frozen.watermark,
        events=sum(day.events for day in done.values()),
        days=tuple(done),
        removed=tuple(gone),
        incomplete_before=None if whole is None else f"{whole}",
    )


def _whole_from(frozen: Frozen) -> date | None:
    """Return the first day of which retention has taken nothing, ``None`` when it took nothing."""
    ((before,),) = frozen.rows("SELECT max(before) FROM erasures WHERE before > 0")
    return None if before is None else _date(-(-before // _DAY) * _DAY)


def _days(frozen: Frozen) -> Mapping[date, int]:
    day = f"happened_at - ((happened_at % {_DAY}) + {_DAY}) % {_DAY}"
    rows = frozen.rows(f"SELECT {day} AS day, count(*) FROM events GROUP BY 1")  # noqa: S608 - our own numbers
    return {_date(start): count for start, count in rows}


def _date(micros: int) -> date:
    return (EPOCH + timedelta(microseconds=micros)).date()


def _write_day(frozen: Frozen, day: date, to: Path, writing: Path) -> ExportedDay:
    start = (datetime(day.year, day.month, day.day, tzinfo=UTC) - EPOCH) // timedelta(
        microseconds=1
    )
    partial, events = writing / f"{day}.writing", 0
    with pq.ParquetWriter(partial, SCHEMA, compression="zstd") as out:
        for batch in frozen.batches(
            "SELECT seq, id, name, happened_at, received_at, trusted, units, fields FROM events "  # noqa: S608 - our own numbers
            f"WHERE happened_at >= {start} AND happened_at < {start + _DAY}"
        ):
            out.write_batch(_typed(batch))
            events += batch.num_rows
    durable(partial)
    about = ExportedDay(events, partial.stat().st_size, digest(partial), frozen.watermark)
    folder = to / f"day={day}"
    folder.mkdir(exist_ok=True)
    whole = folder / "part-00000.parquet"
    os.replace(partial, whole)  # noqa: PTH105 - the name says that it is atomic
    for other in folder.glob("part-*.parquet"):
        if other != whole:
            other.unlink()
    durable(folder)
    return about


def digest(path: Path) -> str:
    """Return the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as read:
        return hashlib.file_digest(read, "sha256").hexdigest()


def _typed(batch: Any) -> Any:
    units = [_units(text) for text in batch["units"].to_pylist()]
    names = batch["name"].to_pylist()
    fields = [
        _scaled(name, _fields(text))
        for name, text in zip(names, batch["fields"].to_pylist(), strict=True)
    ]
    columns = [
        batch["seq"],
        batch["id"],
        batch["name"],
        batch["happened_at"].cast(_TIME),
        batch["received_at"].cast(_TIME),
        batch["trusted"],
        _maps(units, SCHEMA.field("units").type, lambda texts: pa.array(texts, pa.string())),
        _maps([of[int] for of in fields], SCHEMA.field("numbers").type, _decimals),
        _maps([of[str] for of in fields], SCHEMA.field("texts").type, pa.array),
        _maps([of[bool] for of in fields], SCHEMA.field("booleans").type, pa.array),
    ]
    return pa.RecordBatch.from_arrays(columns, schema=SCHEMA)


def _scaled(name: str, fields: Mapping[str, FieldValue]) -> dict[type, dict[str, Any]]:
    """Return the fields by type; numbers are integers of 1e-6, also those kept as they are."""
    parts: dict[type, dict[str, Any]] = {int: {}, str: {}, bool: {}}
    whole = default_schema().get(name, {})
    for key, value in fields.items():
        kept_whole = type(value) is int and whole.get(key) is FieldType.INTEGER
        parts[type(value)][key] = value * MICRO if kept_whole else value
    return parts


def _maps(rows: Sequence[Mapping[str, Any]], kind: Any, values: Any) -> Any:
    offsets = [0]
    for row in rows:
        offsets.append(offsets[-1] + len(row))
    keys = pa.array([key for row in rows for key in row], pa.string())
    items = values([value for row in rows for value in row.values()])
    if items.type != kind.item_type:
        items = items.cast(kind.item_type)  # an empty list has no type of its own
    return pa.MapArray.from_arrays(pa.array(offsets, pa.int32()), keys, items, type=kind)


def _decimals(integers: Sequence[int]) -> Any:
    """Return integers of 1e-6 as decimals of six digits, exactly."""
    bits = b"".join(each.to_bytes(16, "little", signed=True) for each in integers)
    return pa.Array.from_buffers(_NUMBER, len(integers), [None, pa.py_buffer(bits)])


def _read_manifest(to: Path) -> dict[str, Any]:
    try:
        return dict(json.loads((to / MANIFEST).read_text(encoding="utf-8"))["days"])
    except (OSError, ValueError, KeyError, TypeError):
        return {}  # none, or not ours: every day is written and none is taken away


def _write_manifest(
    to: Path, writing: Path, days: Mapping[str, Any], frozen: Frozen, now: datetime
) -> None:
    manifest = {
        "format": 1,
        "made_at": now.isoformat(),
        "watermark": frozen.watermark,
        "events": sum(day["events"] for day in days.values()),
        "days": {day: days[day] for day in sorted(days)},
    }
    partial = writing / MANIFEST
    partial.write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    durable(partial)
    os.replace(partial, to / MANIFEST)  # noqa: PTH105 - as above
    durable(to)
