"""The control plane's tables, as numbered steps: an older database is brought up to date.

A step in ``versions/`` is never changed once released; what is new is a new file there. A test
compares what the steps give with the models.

``python -m experiments.migrations postgresql`` prints the steps as SQL, for databases on which
somebody else makes the tables.
"""

from sqlalchemy import Connection, Engine, inspect, text

from experiments.errors import ControlPlaneError

__all__ = ["NEWEST", "offline_sql", "revision_of", "upgrade"]

NEWEST = "0010"
"""The revision that the models describe."""

_BEFORE_NUMBERS = (("layer", "0003"), ("step_exposed", "0002"), ("key", "0001"))
"""Databases made before revisions were numbered are known by a column of ``experiment``."""

_ONE_AT_A_TIME = 0x7475726E6261636B


def upgrade(engine: Engine) -> str | None:
    """Bring a database to the newest revision, in one transaction.

    Returns:
        The revision it had; ``None`` when it was empty.

    Raises:
        ControlPlaneError: A newer version wrote it, or its tables are none of Turnback's.
    """
    with engine.begin() as connection:
        if connection.dialect.name == "postgresql":
            connection.execute(text(f"SELECT pg_advisory_xact_lock({_ONE_AT_A_TIME})"))
        found, numbered = revision_of(connection), _numbered(connection)
        if found == NEWEST and numbered:
            return found
        from experiments.migrations.steps import (  # noqa: PLC0415 - Alembic: 0.1 s, seldom needed
            known_revisions,
            run_steps,
        )

        where = engine.url.render_as_string(hide_password=True)
        if found is not None and found not in known_revisions():
            raise ControlPlaneError(
                f"{where}: written by a newer version (revision {found}, this one knows up to "
                f"{NEWEST})",
                hint="start the version that wrote it, or restore the backup made before it",
            )
        run_steps(connection, found, numbered=numbered)
        return found


def revision_of(connection: Connection) -> str | None:
    """Return the revision of a database, ``None`` when it has no tables of Turnback's.

    Raises:
        ControlPlaneError: Its table ``experiment`` is not Turnback's.
    """
    if _numbered(connection):
        return connection.execute(text("SELECT version_num FROM alembic_version")).scalar()
    found = inspect(connection)
    if not found.has_table("experiment"):
        return None
    columns = {column["name"] for column in found.get_columns("experiment")}
    for column, revision in _BEFORE_NUMBERS:
        if column in columns:
            return revision
    raise ControlPlaneError(
        f"{connection.engine.url.render_as_string(hide_password=True)}: the table `experiment` "
        "in it is not Turnback's",
        hint="give Turnback a database of its own",
    )


def offline_sql(dialect: str) -> str:
    """Return the steps from nothing to the newest revision as SQL.

    Args:
        dialect: ``postgresql`` or ``sqlite``.
    """
    from experiments.migrations.steps import sql_of_steps  # noqa: PLC0415 - as above

    return sql_of_steps(dialect)


def _numbered(connection: Connection) -> bool:
    return inspect(connection).has_table("alembic_version")
