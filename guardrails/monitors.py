"""Loading and saving where every guardrail stands: a few statements for all of an experiment's."""

import json
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, cast

import msgspec
from sqlalchemy import Table, Text, bindparam, insert, select, update
from sqlalchemy import cast as as_type
from sqlmodel import Session

from guardrails.models import MonitorRow
from guardrails.outcome import Finding, WindowState
from guardrails.repository import (
    Monitor,
    finding_to_json,
    state_from_json,
    state_to_json,
)

_TABLE = cast("Table", MonitorRow.__table__)  # pyright: ignore[reportUnknownMemberType, reportAttributeAccessIssue] - SQLModel does not say it has one
_NAMES = tuple(column.name for column in _TABLE.primary_key)
_VALUES = tuple(column.name for column in _TABLE.columns if column.name not in _NAMES)
_WHICH = [_TABLE.c[name] == bindparam(f"its_{name}") for name in _NAMES]
_INSERT = insert(_TABLE)
_UPDATE = update(_TABLE).where(*_WHICH).values({name: bindparam(name) for name in _VALUES})
_UPDATE_BUT_STATES = (
    update(_TABLE)
    .where(*_WHICH)
    .values({name: bindparam(name) for name in _VALUES if name != "states"})
)


_SELECT = select(
    *(column for column in _TABLE.columns if column.name not in {"states", "finding"}),
    # as text: states are read at every check and rarely change
    as_type(_TABLE.c.states, Text).label("states"),
    as_type(_TABLE.c.finding, Text).label("finding"),
).where(*(w for w, name in zip(_WHICH, _NAMES, strict=True) if name in {"experiment", "seed"}))
_KEPT_STATES = 4096

_finding = msgspec.json.Decoder(Finding, strict=False)


@lru_cache(maxsize=_KEPT_STATES)
def _states_of(text: str) -> Mapping[str, WindowState]:
    return {key: state_from_json(body) for key, body in json.loads(text).items()}


def load_monitors(session: Session, experiment: str, seed: int) -> list[Monitor]:
    """Return every monitor of an experiment under one seed, all attempts."""
    rows = session.connection().execute(_SELECT, {"its_experiment": experiment, "its_seed": seed})
    return [
        Monitor(
            treatment=row.treatment,
            attempt=row.attempt,
            guardrail=row.guardrail,
            checked_at=row.checked_at,
            stored_at=row.stored_at,
            outcome=row.outcome,
            blind_since=row.blind_since,
            told=row.told,
            states=_states_of(row.states),
            finding=_finding.decode(row.finding),
            blind_checks=row.blind_checks,
        )
        for row in rows
    ]


def save_monitors(
    session: Session,
    experiment: str,
    seed: int,
    monitors: Sequence[tuple[Monitor, Monitor | None]],
) -> None:
    """Keep what a check leaves behind.

    Between two looks a state only gets another watermark, which says when and not what: it is
    written again when anything else of it has changed.

    Args:
        session: The transaction.
        experiment: Key.
        seed: Its seed.
        monitors: Where each guardrail and attempt stands now, and where it stood: that is
            replaced; ``None`` where no check has left anything yet.
    """
    new, moved, kept = list[dict[str, Any]](), list[dict[str, Any]](), list[dict[str, Any]]()
    for after, before in monitors:
        names = {
            "experiment": experiment,
            "seed": seed,
            "treatment": after.treatment,
            "attempt": after.attempt,
            "guardrail": after.guardrail,
        }
        if before is None:
            new.append(names | _values(after) | _states(after))
            continue
        changed = {f"its_{name}": value for name, value in names.items()} | _values(after)
        if same_states(before.states, after.states):
            kept.append(changed)
        else:
            moved.append(changed | _states(after))
    session.flush()
    connection = session.connection()
    for statement, rows in ((_INSERT, new), (_UPDATE, moved), (_UPDATE_BUT_STATES, kept)):
        if rows:
            connection.execute(statement, rows)


def _values(monitor: Monitor) -> dict[str, Any]:
    return {
        "checked_at": monitor.checked_at,
        "stored_at": monitor.stored_at,
        "outcome": monitor.outcome,
        "blind_since": monitor.blind_since,
        "blind_checks": monitor.blind_checks,
        "told": monitor.told,
        "finding": finding_to_json(monitor.finding),
    }


def _states(monitor: Monitor) -> dict[str, Any]:
    return {"states": {key: state_to_json(state) for key, state in monitor.states.items()}}


def same_states(one: Mapping[str, WindowState], other: Mapping[str, WindowState]) -> bool:
    """Return whether two checks leave the same schedules of looks, whenever that was."""
    return one.keys() == other.keys() and all(
        _schedule(state) == _schedule(other[key]) for key, state in one.items()
    )


def _schedule(state: WindowState) -> tuple[Any, ...]:
    return (
        state.looks,
        state.information,
        state.spent,
        state.boundary,
        state.crossed,
        state.grid,
        state.mass,
    )
