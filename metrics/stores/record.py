"""What a store file remembers beside events: what was erased, and what was carried over instead.

Everything that erases is one transaction: rows, the record of it, and what totals go on from.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

import duckdb
import msgspec

from metrics.events import from_micros, to_micros
from metrics.stores.forgetting import NEVER, speaks_of
from metrics.stores.log import EventLog
from metrics.stores.rows import Stamped
from metrics.stores.unit_names import Names, Wanted, mark_of, names_of
from metrics.upkeep import Erasure, ErasureKind, vouched

_UNITS = "units"
_KEPT = "nothing was removed; check free disk space, then try again"


class Record:
    """The erasures of one log. Writes hold the caller's lock."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self.erasures: tuple[Erasure, ...] = self._read()
        text = log.meta("carried")
        self.carried: Mapping[str, str] = json.loads(text) if text else {}
        horizon = log.meta("horizon")
        self.horizon = NEVER if horizon is None else int(horizon)

    def names(self, wanted: Wanted, *, empty: bool) -> Names:
        """Return how unit ids are kept, see `names_of`; how they begin is remembered.

        Raises:
            StoreError: They are kept in another way, or their key is not there.
        """
        kept = self._log.meta(_UNITS)
        names = names_of(self._log.path, kept, wanted, empty=empty and not self.erasures)
        if kept is None and names.key is not None:
            values = [_UNITS, mark_of(names.key)]
            self._log.transact(
                "how unit ids are kept could not be written",
                lambda connection: connection.execute("INSERT INTO meta VALUES (?, ?)", values),
            )
        return names

    def erase_before(
        self, before: datetime, upto: int, *, now: datetime, carried: Mapping[str, str]
    ) -> Erasure:
        """Remove events with seq <= upto from before an instant, and what was refused then.

        Args:
            before: The instant.
            upto: Totals that are carried over have everything up to here.
            now: Recorded.
            carried: Names of the files of totals that go on without these events.

        Raises:
            StoreError: Nothing was removed.
        """
        limit = to_micros(before)

        def work(connection: duckdb.DuckDBPyConnection) -> Erasure:
            where = "seq <= ? AND happened_at < ?"
            newest = self._log.newest()
            erased = _erased(connection, where, [upto, limit], now)
            erased = replace(erased, kind=ErasureKind.RETENTION, before=before)
            refused = _refused(connection, "received_at < ?", [limit])
            horizon = max(self.horizon, limit)
            self._note(connection, erased, carried, horizon, newest)
            return replace(erased, quarantined=refused)

        erased = self._log.transact(_KEPT, work)
        self.horizon = max(self.horizon, limit)
        self._remember(erased, carried)
        return erased

    def erase(
        self,
        rows: Sequence[Stamped],
        refused: Sequence[int],
        *,
        now: datetime,
        carried: Mapping[str, str],
    ) -> Erasure:
        """Remove these events and these refused ones.

        Raises:
            StoreError: Nothing was removed.
        """

        def work(connection: duckdb.DuckDBPyConnection) -> Erasure:
            seqs = [seq for seq, _, _ in rows]
            newest = self._log.newest()
            erased = _erased(connection, "seq IN (SELECT unnest(?))", [seqs], now)
            count = _refused(connection, "number IN (SELECT unnest(?))", [list(refused)])
            self._note(connection, erased, carried, self.horizon, newest)
            return replace(erased, quarantined=count)

        erased = self._log.transact(_KEPT, work)
        self._remember(erased, carried)
        return erased

    def received_until(self, doubt: timedelta) -> datetime | None:
        """Return the instant up to which receipts vouch for the clock."""
        ((oldest, before, newest),) = self._log.rows(
            "WITH ends AS (SELECT min(received_at) AS oldest, max(received_at) AS newest "
            "FROM events) SELECT oldest, (SELECT max(received_at) FROM events "
            "WHERE received_at < newest - ?), newest FROM ends",
            [doubt // timedelta(microseconds=1)],
        )
        return None if newest is None else vouched(oldest, before, newest, doubt)

    def older(self, before: int) -> int:
        """Return how many events happened before an instant."""
        ((count,),) = self._log.rows("SELECT count(*) FROM events WHERE happened_at < ?", [before])
        return int(count)

    def refused_of(self, unit: str) -> list[int]:
        """Return the numbers of refused events that name a unit."""
        rows = self._log.rows("SELECT number, event FROM quarantine")
        return [number for number, event in rows if speaks_of(event, unit)]

    def naming(self, unit: str) -> list[Stamped]:
        """Return the events that name a unit, of whatever type, in order."""
        text = msgspec.json.encode(unit).decode()
        found = self._log.stamped("contains(units, ?)", [text])
        return [row for chunk in found for row in chunk if unit in row[2].units.values()]

    def _remember(self, erased: Erasure, carried: Mapping[str, str]) -> None:
        if erased.events:
            self.erasures = (*self.erasures, replace(erased, quarantined=0))
        self.carried = dict(carried)

    def _note(
        self,
        connection: duckdb.DuckDBPyConnection,
        erased: Erasure,
        carried: Mapping[str, str],
        horizon: int,
        newest: int,
    ) -> None:
        if erased.events:
            before = None if erased.before is None else to_micros(erased.before)
            connection.execute(
                "INSERT INTO erasures VALUES (?, ?, ?, ?, ?, ?, ?)",
                [
                    len(self.erasures) + 1,
                    to_micros(erased.at),
                    str(erased.kind),
                    before,
                    erased.events,
                    erased.first_seq,
                    erased.last_seq,
                ],
            )
        facts = {
            "sequence": str(newest),
            "carried": json.dumps(dict(carried)),
            "horizon": str(horizon),
        }
        for key, value in facts.items():
            connection.execute("DELETE FROM meta WHERE key = ?", [key])
            connection.execute("INSERT INTO meta VALUES (?, ?)", [key, value])

    def _read(self) -> tuple[Erasure, ...]:
        rows = self._log.rows(
            "SELECT erased_at, kind, before, events, first_seq, last_seq FROM erasures "
            "ORDER BY number"
        )
        return tuple(
            Erasure(
                at=from_micros(at),
                kind=ErasureKind(kind),
                before=None if before is None else from_micros(before),
                events=events,
                first_seq=first,
                last_seq=last,
            )
            for at, kind, before, events, first, last in rows
        )


def _erased(
    connection: duckdb.DuckDBPyConnection, where: str, values: list[object], now: datetime
) -> Erasure:
    """Remove events; the answer is of a forgotten unit until it is told otherwise."""
    query = f"SELECT count(*), min(seq), max(seq) FROM events WHERE {where}"  # noqa: S608 - our own conditions
    ((count, first, last),) = connection.execute(query, values).fetchall()
    connection.execute(f"DELETE FROM events WHERE {where}", values).fetchall()  # noqa: S608 - as above
    return Erasure(now, ErasureKind.FORGOTTEN, None, int(count), first or 0, last or 0)


def _refused(connection: duckdb.DuckDBPyConnection, where: str, values: list[object]) -> int:
    query = f"DELETE FROM quarantine WHERE {where}"  # noqa: S608 - our own conditions
    ((count,),) = connection.execute(query, values).fetchall()
    return int(count)
