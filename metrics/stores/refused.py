"""What was refused, in the quarantine of one log: listed, looked up, let go."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from metrics.events import Rejection

if TYPE_CHECKING:
    import duckdb

    from metrics.stores.log import EventLog

LAST_NUMBER = (
    "SELECT greatest(coalesce(max(number), 0), coalesce("
    "(SELECT value::BIGINT FROM meta WHERE key = 'quarantine'), 0)) FROM quarantine"
)
"""A number that a person was shown never means another event, even after it was released."""

_COLUMNS = "position, id, field, reason, code, event, trusted, number"


class Refused:
    """The rejections of one log. Writes hold the caller's lock."""

    def __init__(self, log: "EventLog") -> None:
        self._log = log

    def newest(self, limit: int, code: str | None, before: int | None) -> list[Rejection]:
        """Return the newest rejections, of a code and below a number, newest first."""
        return self._found(
            "($1 IS NULL OR code = $1) AND ($2 IS NULL OR number < $2) "
            "ORDER BY number DESC LIMIT $3",
            [code, before, limit],
        )

    def held(self, numbers: Sequence[int], ids: Sequence[str]) -> list[Rejection]:
        """Return the rejections of these numbers or event ids, ascending."""
        if not numbers and not ids:
            return []
        return self._found(
            "number IN (SELECT unnest($1::BIGINT[])) OR id IN (SELECT unnest($2::VARCHAR[])) "
            "ORDER BY number",
            [list(numbers), list(ids)],
        )

    def release(self, numbers: Sequence[int]) -> int:
        """Remove rejections; returns how many there were.

        Raises:
            StoreError: None was removed.
        """
        if not numbers:
            return 0

        def work(connection: "duckdb.DuckDBPyConnection") -> int:
            last = self._log.one(LAST_NUMBER)
            connection.execute("DELETE FROM meta WHERE key = 'quarantine'")
            connection.execute("INSERT INTO meta VALUES ('quarantine', ?)", [str(last)])
            query = "DELETE FROM quarantine WHERE number IN (SELECT unnest(?))"
            ((gone,),) = connection.execute(query, [list(numbers)]).fetchall()
            return int(gone)

        return self._log.transact("the quarantine could not be changed", work)

    def counts(self) -> dict[str, int]:
        """Return how many rejections there are by code, the most frequent first."""
        query = "SELECT code, count(*) FROM quarantine GROUP BY code ORDER BY count(*) DESC, code"
        return dict(self._log.rows(query))

    def _found(self, where: str, values: Sequence[object]) -> list[Rejection]:
        query = f"SELECT {_COLUMNS} FROM quarantine WHERE {where}"  # noqa: S608 - our own conditions
        return [Rejection(*row) for row in self._log.rows(query, values)]
