"""Statements that every check runs, written once as plain SQL: no rows that know a session."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import Select, bindparam, select

from experiments.models import ExperimentRow


def columns(table: str, names: Iterable[str], *, order: str = "", where: str = "") -> Select[Any]:
    """Return a statement that reads some columns of a table, in this order.

    Args:
        table: Name of the table.
        names: The columns.
        order: Columns to order by, separated by blanks.
        where: Columns that have a value given with the statement, as ``its_`` and the name.
    """
    of = ExperimentRow.metadata.tables[table].c
    return (
        select(*(of[name] for name in names))
        .where(*(of[name] == bindparam(f"its_{name}") for name in where.split()))
        .order_by(*(of[name] for name in order.split()))
    )
