"""Spec files on disk: which of a folder's files they are, and their text."""

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from experiments.errors import Problem

LARGEST_SPEC = 1_000_000
"""Bytes of a spec file: far beyond anything a person writes."""

SUFFIXES = frozenset({".yaml", ".yml"})

_BINARY: int = getattr(os, "O_BINARY", 0)
_NO_WAIT: int = getattr(os, "O_NONBLOCK", 0)
"""Opening a pipe that nobody writes to would else wait for ever."""


class NotRegularError(OSError):
    """What has the name of a spec file is a pipe, a socket or a device."""


def name_of(path: Path) -> str:
    r"""Return a path as it is told: bytes of a name that are no UTF-8 as ``\xff``."""
    return os.fsencode(path).decode("utf-8", "backslashreplace")


def spec_paths(folder: Path) -> tuple[Path, ...]:
    """Return the spec files of a folder and the folders in it, sorted.

    Hidden names are left out: editors keep drafts in them, and a mounted ConfigMap its versions;
    so is the ``lost+found`` of a file system.

    Raises:
        OSError: The folder, or one in it, cannot be read; its name says which.
    """
    os.scandir(folder).close()  # os.walk would pass over a folder that cannot be read
    return tuple(sorted(_walk(folder)))


_LEFT_OUT = frozenset({"lost+found"})


def _walk(folder: Path) -> Iterator[Path]:
    def refuse(error: OSError) -> None:
        if not isinstance(error, FileNotFoundError):  # went away meanwhile
            raise error  # os.walk would pass over it, and its files would seem to be gone

    seen: set[tuple[int, int]] = set()  # links may lead in a circle
    for at, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        status = Path(at).stat()
        identity = (status.st_dev, status.st_ino)
        shown = [n for n in folders if not n.startswith(".") and n not in _LEFT_OUT]
        folders[:] = shown if identity not in seen else []
        if identity in seen:
            continue
        seen.add(identity)
        for name in files:
            path = Path(at, name)
            if not name.startswith(".") and path.suffix.lower() in SUFFIXES:
                yield path


def spec_text(file: str, content: bytes) -> str | Problem:
    """Return the text of a spec file's bytes, or what is wrong with them.

    Args:
        file: Name of the file, for the problem.
        content: Its bytes; of a file that is too large one more than ``LARGEST_SPEC`` is enough.
    """
    if len(content) > LARGEST_SPEC:
        told = f"is larger than {LARGEST_SPEC:,} bytes"
        return Problem(file, 1, 1, "", told, "a spec file is text that a person wrote")
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        read = content[: error.start]
        line, column = read.count(b"\n") + 1, len(read) - (read.rfind(b"\n") + 1) + 1
        return Problem(file, line, column, "", "this is not UTF-8 text", "save the file as UTF-8")


def read_spec(path: Path, *, pipes: bool = False) -> bytes:
    """Return a spec file's bytes, at most one more than ``LARGEST_SPEC``.

    Args:
        path: The file, or a link to one.
        pipes: Read whatever it is, and wait for it, for instance what a shell hands over.

    Raises:
        NotRegularError: It is no regular file, nor a link to one.
        OSError: It cannot be read.
    """
    if pipes:
        with path.open("rb") as file:
            return file.read(LARGEST_SPEC + 1)
    _require_regular(path.stat(), path)  # before: opening a device may do something
    with os.fdopen(os.open(path, os.O_RDONLY | _NO_WAIT | _BINARY), "rb") as file:
        _require_regular(os.fstat(file.fileno()), path)
        return file.read(LARGEST_SPEC + 1)


def _require_regular(status: os.stat_result, path: Path) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise NotRegularError(0, "is no regular file", str(path))
