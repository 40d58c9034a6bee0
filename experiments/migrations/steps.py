"""Running the numbered steps with Alembic, which a database that is up to date never needs."""

import io
from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory
from sqlalchemy import Connection


def known_revisions() -> frozenset[str]:
    """Return the revisions that this version has steps for."""
    return frozenset(
        step.revision for step in ScriptDirectory.from_config(config()).walk_revisions()
    )


def run_steps(connection: Connection, found: str | None, *, numbered: bool) -> None:
    """Bring the tables from a revision to the newest one.

    Args:
        connection: In a transaction.
        found: The revision they have, ``None`` where there are none.
        numbered: Whether the database says so itself.
    """
    chosen = config()
    chosen.attributes["connection"] = connection
    if found is not None and not numbered:
        command.stamp(chosen, found)
    command.upgrade(chosen, "head")


def sql_of_steps(dialect: str) -> str:
    """Return the steps from nothing to the newest revision as SQL."""
    written = io.StringIO()
    chosen = config(output=written)
    chosen.set_main_option("sqlalchemy.url", f"{dialect}://")
    command.upgrade(chosen, "head", sql=True)
    return written.getvalue()


def config(output: io.StringIO | None = None) -> Config:
    """Return where Alembic finds the steps, and where it writes."""
    chosen = Config(output_buffer=output)
    # a % in the path of the installation is no interpolation
    here = str(Path(__file__).parent).replace("%", "%%")
    chosen.set_main_option("script_location", here)
    chosen.set_main_option("path_separator", "os")
    return chosen
