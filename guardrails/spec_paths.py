"""Spec files on disk: which of a folder's files they are, and their text."""

import os
from collections.abc import Iterator
from pathlib import Path

from experiments.errors import Problem

LARGEST_SPEC = 1_000_000
"""Bytes of a spec file: far beyond anything a person writes."""

SUFFIXES = frozenset({".yaml", ".yml"})


def spec_paths(folder: Path) -> tuple[Path, ...]:
    """Return the spec files of a folder and the folders in it, sorted.

    Hidden names are left out: editors keep drafts in them, and a mounted ConfigMap its versions.

    Raises:
        OSError: The folder cannot be read.
    """
    os.scandir(folder).close()  # os.walk would pass over a folder that cannot be read
    return tuple(sorted(_walk(folder)))


def _walk(folder: Path) -> Iterator[Path]:
    seen: set[tuple[int, int]] = set()  # links may lead in a circle
    for at, folders, files in os.walk(folder, followlinks=True):
        status = Path(at).stat()
        identity = (status.st_dev, status.st_ino)
        folders[:] = [n for n in folders if not n.startswith(".") and identity not in seen]
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


def read_spec(path: Path) -> bytes:
    """Return a spec file's bytes, at most one more than ``LARGEST_SPEC``.

    Raises:
        OSError: It cannot be read.
    """
    with path.open("rb") as file:
        return file.read(LARGEST_SPEC + 1)
