"""One file of totals: written under another name, synced, renamed; it ends with its digest."""

import hashlib
import io
import json
import mmap
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import pyarrow as pa

from metrics.stores.columns import Ints
from metrics.stores.frames import Dumped

FORMAT = 1
_MAGIC = b"turnback totals\n"
_DIGEST = 32
_LENGTH = 8
_ROWS = 1_000_000


class DamagedError(Exception):
    """A file of totals cannot be used; the message says why."""


def write(path: Path, facts: Mapping[str, Any], dumped: Dumped) -> None:
    """Write a file of totals; a crash leaves the old one or the new one.

    Raises:
        OSError: It could not be written; an old one is as it was.
    """
    new = path.with_name(f"{path.name}.new")
    try:
        with new.open("wb") as file:
            _write_all(_Hashed(file), facts, dumped)
            file.flush()
            os.fsync(file.fileno())
        new.replace(path)
    except BaseException:
        new.unlink(missing_ok=True)
        raise
    folder = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


class _Hashed(io.RawIOBase):
    """A file that knows the digest and the length of what was written to it."""

    def __init__(self, file: BinaryIO) -> None:
        super().__init__()
        self._file = file
        self.digest = hashlib.blake2b(digest_size=_DIGEST)
        self.length = 0

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        view = memoryview(data).cast("B")
        self._file.write(view)
        self.digest.update(view)
        self.length += view.nbytes
        return view.nbytes


def _write_all(out: _Hashed, facts: Mapping[str, Any], dumped: Dumped) -> None:
    out.write(_MAGIC)
    tables = {f"names of {name}": {"name": pa.array(n)} for name, n in dumped.names.items()}
    tables |= {name: dict(columns) for name, columns in dumped.columns.items()}
    sections: dict[str, tuple[int, int]] = {}
    options = pa.ipc.IpcWriteOptions(compression="lz4")
    for name, columns in tables.items():
        start = out.length
        table = pa.table(columns)
        with pa.ipc.new_stream(pa.PythonFile(out, "w"), table.schema, options=options) as stream:
            stream.write_table(table, max_chunksize=_ROWS)
        sections[name] = (start, out.length)
    # the sums of cells are larger than 64 bits: plain JSON carries integers of any size
    tail = json.dumps({**facts, "sections": sections, "state": dumped.facts}).encode()
    out.write(tail)
    out.write(len(tail).to_bytes(_LENGTH, "big"))
    out.write(out.digest.digest())


def read(path: Path) -> tuple[dict[str, Any], Dumped]:
    """Return what a file of totals says of itself, and the totals.

    Raises:
        DamagedError: It is damaged, or of another format.
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if size < len(_MAGIC) + _LENGTH + _DIGEST:
            raise DamagedError("it is cut short")
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as whole:
            try:
                return _read_all(memoryview(whole)[:])
            except (KeyError, TypeError, ValueError, AttributeError) as error:
                raise DamagedError(f"it cannot be read: {error!r}") from error


def _read_all(whole: memoryview) -> tuple[dict[str, Any], Dumped]:
    with whole:
        body, digest = whole[:-_DIGEST], bytes(whole[-_DIGEST:])
        with body:
            if hashlib.blake2b(body, digest_size=_DIGEST).digest() != digest:
                raise DamagedError("its digest does not fit: it is damaged")
            if bytes(body[: len(_MAGIC)]) != _MAGIC:
                raise DamagedError("it is no file of totals")
            length = int.from_bytes(body[-_LENGTH:], "big")
            facts = json.loads(bytes(body[-_LENGTH - length : -_LENGTH]))
            if facts.get("format") != FORMAT:
                raise DamagedError(
                    f"it has format {facts.get('format')!r}, this version has {FORMAT}"
                )
            tables = {
                name: _table(bytes(body[start:end]))
                for name, (start, end) in facts["sections"].items()
            }
    names = {
        name.removeprefix("names of "): table["name"].to_pylist()
        for name, table in tables.items()
        if name.startswith("names of ")
    }
    columns = {
        name: {column: _ints(table[column]) for column in table.column_names}
        for name, table in tables.items()
        if not name.startswith("names of ")
    }
    return facts, Dumped(facts["state"], names, columns)


def _table(data: bytes) -> Any:
    with pa.ipc.open_stream(pa.BufferReader(data)) as stream:
        return stream.read_all()


def _ints(column: Any) -> Ints:
    return np.array(column.to_numpy())  # its own: it will be written to
