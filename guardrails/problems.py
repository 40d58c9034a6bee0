"""How many problems of a spec file are told at once: enough to work on, never megabytes."""

from collections.abc import Sequence

from experiments.errors import Problem

MOST = 100
"""Problems told of one file; of what is left out only the number is told."""


def told(problems: Sequence[Problem]) -> tuple[Sequence[Problem], int]:
    """Return the first problems of a file, and how many more there are."""
    return problems[:MOST], max(0, len(problems) - MOST)


def and_more(left_out: int) -> str:
    """Return the line that follows a list of which ``left_out`` problems are missing."""
    plural = "s" if left_out != 1 else ""
    return f"and {left_out:,} more problem{plural}; mend these first"
