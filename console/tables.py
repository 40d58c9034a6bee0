"""Tables of the command line."""

import os

from rich.console import Console
from rich.table import Table
from rich.text import Text

from experiments.language.scalars import visible


def table_console() -> Console:
    """Return where tables are printed: as wide as the terminal, elsewhere 120 columns."""
    console = Console(highlight=False)
    wide = console.is_terminal or "COLUMNS" in os.environ
    return console if wide else Console(width=120, highlight=False)


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
