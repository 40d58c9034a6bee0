"""What a person sees while long work is done; nothing in a pipe, a file or beside ``--json``."""

import sys
from collections.abc import Generator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn


@contextmanager
def working(words: str, *, as_json: bool = False) -> Generator[None]:
    """Show that work goes on, and for how long, on stderr where that is a terminal.

    Args:
        words: What is done.
        as_json: Show nothing.
    """
    columns = (TextColumn("{task.description}", markup=False), BarColumn(), TimeElapsedColumn())
    bar = Progress(
        *columns,
        console=Console(stderr=True),
        disable=as_json or not sys.stderr.isatty(),
        transient=True,
    )
    with bar:
        bar.add_task(words, total=None)
        yield
