"""Tables of the command line."""

import os
import textwrap

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.language.scalars import visible

_ENDLESS = 1_000_000
_NARROWEST = 20


def table_console() -> Console:
    """Return where tables are printed: as wide as the terminal, elsewhere 120 columns."""
    console = Console(highlight=False)
    wide = console.is_terminal or "COLUMNS" in os.environ
    return console if wide else Console(width=120, highlight=False)


def columns(most: int) -> int:
    """Return how wide text may be: as the terminal, elsewhere and at most ``most`` columns."""
    console = Console()
    wide = console.is_terminal or "COLUMNS" in os.environ
    return max(_NARROWEST, min(console.width if wide else most, most))


def folded(text: str, *, most: int = _ENDLESS, indent: str = "  ") -> str:
    """Return a text in lines that fit the terminal; in a file or a pipe they stay whole.

    Args:
        text: What to print; its own lines stay.
        most: Columns at most, wherever it is printed.
        indent: Before every line but the first.
    """
    return "\n".join(
        part
        for line in text.split("\n")
        for part in textwrap.wrap(
            line,
            columns(most),
            subsequent_indent=indent,
            break_long_words=False,
            break_on_hyphens=False,
        )
        or [""]
    )


def table(*columns: str, right: tuple[str, ...] = (), whole: tuple[str, ...] = ()) -> Table:
    """Return an empty table without lines; cells that do not fit are folded, never cut.

    Args:
        columns: Their headings.
        right: Those that hold numbers.
        whole: Those that are folded last.
    """
    made = Table(box=None, pad_edge=False)
    for column in columns:
        made.add_column(
            column,
            justify="right" if column in right else "left",
            overflow="fold",
            no_wrap=column in whole,
        )
    return made


def add(to: Table, *cells: str) -> None:
    """Add a row; what people wrote is text, whatever markup or hidden characters it holds."""
    to.add_row(*(Text(visible(cell)) for cell in cells))
