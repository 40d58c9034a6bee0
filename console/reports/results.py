"""The results of one experiment as tables: KPIs, guardrails, evidence over time, transitions."""

import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final

import msgspec
import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet

from guardrails.views import ExperimentView

_AT = pa.timestamp("us", tz="UTC")
_SECONDS = pa.int64()
SCHEMAS: Final[Mapping[str, pa.Schema]] = MappingProxyType(
    {
        "kpis": pa.schema(
            [
                ("kpi", pa.string()),
                ("variant", pa.string()),
                ("window_seconds", _SECONDS),
                ("value", pa.float64()),
                ("effect", pa.float64()),
                ("units", pa.int64()),
                ("entered", pa.int64()),
            ]
        ),
        "guardrails": pa.schema(
            [
                ("guardrail", pa.string()),
                ("treatment", pa.string()),
                ("rule", pa.string()),
                ("kpi", pa.string()),
                ("outcome", pa.string()),
                ("evidence", pa.float64()),
                ("checked_at", _AT),
                ("decision", pa.string()),
                ("window_seconds", _SECONDS),
                ("window_outcome", pa.string()),
                ("level", pa.float64()),
                ("control_units", pa.int64()),
                ("treatment_units", pa.int64()),
                ("control_value", pa.float64()),
                ("treatment_value", pa.float64()),
                ("effect", pa.float64()),
                ("effect_low", pa.float64()),
                ("effect_high", pa.float64()),
                ("window_evidence", pa.float64()),
            ]
        ),
        "evidence": pa.schema(
            [
                ("guardrail", pa.string()),
                ("treatment", pa.string()),
                ("at", _AT),
                ("evidence", pa.float64()),
                ("effect", pa.float64()),
                ("effect_low", pa.float64()),
                ("effect_high", pa.float64()),
            ]
        ),
        "transitions": pa.schema(
            [
                ("id", pa.int64()),
                ("at", _AT),
                ("variant", pa.string()),
                ("before", pa.string()),
                ("after", pa.string()),
                ("actor", pa.string()),
                ("reason", pa.string()),
            ]
        ),
    }
)
"""Tables and their columns. Effects are shares of control's value; unknown is null."""


def results_of(view: ExperimentView) -> Mapping[str, Sequence[Mapping[str, Any]]]:
    """Return the rows of every table of `SCHEMAS`."""
    return {
        "kpis": [
            {
                **{name: getattr(k, name) for name in ("kpi", "variant", "value", "effect")},
                "window_seconds": int(k.window.total_seconds()),
                "units": k.units,
                "entered": k.entered,
            }
            for k in view.kpis
        ],
        "guardrails": [row for g in view.guardrails for row in _guardrail(g)],
        "evidence": [
            {
                "guardrail": g.guardrail,
                "treatment": g.treatment,
                **dict(zip(SCHEMAS["evidence"].names[2:], point, strict=True)),
            }
            for g in view.guardrails
            for point in g.history
        ],
        "transitions": [
            {name: getattr(t, name) for name in SCHEMAS["transitions"].names}
            for t in view.transitions
        ],
    }


def _guardrail(g: Any) -> list[dict[str, Any]]:
    base = {
        **{n: getattr(g, n) for n in ("guardrail", "treatment", "rule", "kpi", "evidence")},
        "outcome": None if g.outcome is None else g.outcome.value,
        "checked_at": g.checked_at,
        "decision": g.decision,
    }
    windows = [
        {
            "window_seconds": int(w.window.total_seconds()),
            "window_outcome": w.outcome.value,
            "level": w.level,
            "control_units": w.units[0],
            "treatment_units": w.units[1],
            "control_value": _known(w.control_value),
            "treatment_value": _known(w.treatment_value),
            "effect": _known(w.effect),
            "effect_low": _known(w.effect_low),
            "effect_high": _known(w.effect_high),
            "window_evidence": _known(w.evidence),
        }
        for w in g.windows
    ]
    return [{**base, **window} for window in windows] or [base]


def _known(number: float) -> float | None:
    return number if math.isfinite(number) else None


def write_results(
    rows: Mapping[str, Sequence[Mapping[str, Any]]], to: Path, suffix: str
) -> Mapping[str, int]:
    """Write every table as a file of a folder, in place of what is there; returns rows by file.

    Args:
        rows: Of `results_of`.
        to: The folder; it is made.
        suffix: ``csv``, ``parquet`` or ``json``.
    """
    to.mkdir(parents=True, exist_ok=True)
    written: dict[str, int] = {}
    for name, schema in SCHEMAS.items():
        path = to / f"{name}.{suffix}"
        table = pa.Table.from_pylist(list(rows[name]), schema=schema)
        _WRITERS[suffix](table, path)
        written[path.name] = table.num_rows
    return written


def _csv(table: Any, path: Path) -> None:
    pyarrow.csv.write_csv(table, path)


def _parquet(table: Any, path: Path) -> None:
    pyarrow.parquet.write_table(table, path)


def _json(table: Any, path: Path) -> None:
    path.write_bytes(msgspec.json.encode(table.to_pylist()) + b"\n")


_WRITERS: Final[Mapping[str, Callable[[Any, Path], None]]] = MappingProxyType(
    {"csv": _csv, "parquet": _parquet, "json": _json}
)
