"""Tables of the command line: no word is broken while there is another way."""

import os
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from console.output import Tone, say
from experiments.language.scalars import visible

_GAP = 2  # between two columns
_ENDLESS = 1_000_000
_NARROWEST = 20
_STYLES = {Tone.GOOD: "green", Tone.WARN: "yellow", Tone.BAD: "red", Tone.QUIET: "dim", None: ""}


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


@dataclass(frozen=True, slots=True)
class Rows:
    """A table that is being filled.

    Attributes:
        headings: Of the columns.
        right: Those that hold numbers.
        whole: Those whose cells stay on one line.
        drop: Those that are left out where the terminal is too narrow, the first first.
        tones: Colours of cells that hold exactly this, on a terminal.
        cells: Its rows.
    """

    headings: tuple[str, ...]
    right: tuple[str, ...] = ()
    whole: tuple[str, ...] = ()
    drop: tuple[str, ...] = ()
    tones: Mapping[str, Tone] = field(default_factory=dict[str, Tone])
    cells: list[tuple[str, ...]] = field(default_factory=list[tuple[str, ...]])


Block = str | Rows
"""A line, or a table."""


def table(
    *columns: str,
    right: tuple[str, ...] = (),
    whole: tuple[str, ...] = (),
    drop: tuple[str, ...] = (),
    tones: Mapping[str, Tone] | None = None,
) -> Rows:
    """Return an empty table without lines; see ``Rows``."""
    return Rows(columns, right, whole, drop, tones or {})


def add(to: Rows, *cells: str) -> None:
    """Add a row; what people wrote is text, whatever markup or hidden characters it holds."""
    to.cells.append(tuple(map(visible, cells)))


def show(rows: Rows) -> None:
    """Print a table on stdout as wide as its terminal; cells are folded, never cut."""
    console = table_console()
    console.print(drawn(rows, console.width))


def show_blocks(blocks: Sequence[Block]) -> None:
    """Print lines, folded where the terminal ends, and tables."""
    for block in blocks:
        if isinstance(block, Rows):
            show(block)
        else:
            say(folded(block), tone=Tone.WARN if block.startswith("! ") else None)


def drawn_blocks(blocks: Sequence[Block], width: int) -> Group:
    """Return the same for a live view."""
    return Group(
        *(
            drawn(block, width)
            if isinstance(block, Rows)
            else Text(
                visible(folded(block)), style="yellow" if block.startswith("! ") else "", end="\n"
            )
            for block in blocks
        )
    )


def drawn(rows: Rows, width: int) -> Table:
    """Return a table that is as wide as this at most."""
    shown, widths = _fitted(rows, width)
    made = Table(box=None, pad_edge=False)
    for index, wide in zip(shown, widths, strict=True):
        heading = rows.headings[index]
        made.add_column(
            Text(heading),
            justify="right" if heading in rows.right else "left",
            overflow="fold",
            width=wide,
        )
    for row in rows.cells:
        made.add_row(*(Text(row[i], style=_STYLES.get(rows.tones.get(row[i]), "")) for i in shown))
    return made


def _fitted(rows: Rows, width: int) -> tuple[list[int], list[int]]:
    """Return the columns that are shown and their widths, together at most ``width``."""
    shown = list(range(len(rows.headings)))
    least = [_least(rows, index) for index in shown]
    for heading in rows.drop:
        if _whole_width([least[i] for i in shown]) <= width:
            break
        shown = [i for i in shown if rows.headings[i] != heading]
    widths = [max(len(text) for text in _column(rows, i)) for i in shown]
    floors = [least[i] for i in shown]
    if _whole_width(floors) > width:  # nothing helps: words are broken in the widest columns
        floors = [1] * len(shown)
    while _whole_width(widths) > width:
        loose = [i for i, at in enumerate(widths) if at > floors[i]]
        if not loose:
            break
        widths[max(loose, key=lambda i: widths[i])] -= 1
    return shown, widths


def _whole_width(widths: list[int]) -> int:
    return sum(widths) + _GAP * (len(widths) - 1)


def _column(rows: Rows, index: int) -> list[str]:
    return [rows.headings[index], *(row[index] for row in rows.cells)]


def _least(rows: Rows, index: int) -> int:
    """Return the width at which no word of a column, or no cell of a whole one, is broken."""
    heading, *cells = _column(rows, index)
    words = [word for text in (heading, *cells) for word in text.split()]
    whole = cells if heading in rows.whole else []
    return max((len(text) for text in (*words, *whole)), default=1)
