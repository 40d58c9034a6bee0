"""JSON Schema of the KPIs that a spec file defines, for editors. ``parse_kpi`` is what checks."""

from collections.abc import Sequence
from typing import Any, Final

from metrics.catalogue import Better, Kind, Trust

_Row = tuple[str, str, Any, dict[str, Any]]
_TEXT: Final = {"type": "string", "minLength": 1}
_NAMES: Final = {"pattern": "^[a-z][a-z0-9_]*$"}
_LENGTH: Final = r"^[1-9][0-9]*[smhdw]$"
_VALUE: Final = {"type": ["string", "number", "boolean"]}
_FIELD_TEST: Final = {
    "anyOf": [
        _VALUE,
        {"type": "array", "items": _VALUE},
        {
            "type": "object",
            "additionalProperties": False,
            "minProperties": 1,
            "maxProperties": 1,
            "properties": {
                "above": {
                    "description": "A number greater than this.",
                    "examples": [120],
                    "type": "number",
                },
                "not": {
                    "description": "Another value than the id of the unit itself.",
                    "examples": ["unit"],
                    "const": "unit",
                },
                "present": {
                    "description": "Whether the field is there.",
                    "examples": [True],
                    "type": "boolean",
                },
            },
        },
    ]
}


def _row(name: str, about: str, example: Any, schema: dict[str, Any]) -> _Row:
    return name, about, example, schema


def _record(rows: Sequence[_Row], required: Sequence[str]) -> dict[str, Any]:
    return {
        "type": "object",
        "additionalProperties": False,
        "required": list(required),
        "properties": {
            name: {"description": about, "examples": [example], **schema}
            for name, about, example, schema in rows
        },
    }


_MEASURE: Final = _record(
    [
        _row("event", "Name of the events that are counted or added up.", "help_opened", _TEXT),
        _row(
            "where",
            "Fields an event must have: a value, a list (any of), or `{above: 120}`, "
            "`{not: unit}`, `{present: true}`.",
            {"outcome": "cancelled"},
            {"type": "object", "additionalProperties": _FIELD_TEST},
        ),
        _row("sum", "Number field to add up. Default: events are counted.", "seconds", _TEXT),
        _row(
            "cap",
            "Largest contribution of one event: a number chosen before the run, such as the 99.9th "
            "percentile of last month, or `window` for the length of the window in hours. Of a "
            "capped mean the value without caps and the share of units capped are shown too. "
            "Default: none.",
            1800,
            {"anyOf": [{"type": "number", "exclusiveMinimum": 0}, {"const": "window"}]},
        ),
        _row(
            "before_close",
            "Only events at least this long before the window closes. Default: all.",
            "30m",
            {"type": "string", "pattern": _LENGTH},
        ),
        _row(
            "after",
            "Only events later than the first one of this other measure of the KPI. Default: all.",
            "kept",
            _TEXT,
        ),
    ],
    required=["event"],
)

_KPI: Final = _record(
    [
        _row("title", "Name for people. Default: the key.", "Help page rate", _TEXT),
        _row("title_zh", "Name in Chinese. Default: the title.", "帮助页访问率", _TEXT),
        _row(
            "kind",
            "How it summarises units: `proportion` (a share of units), `mean` (per unit) or "
            "`ratio` (a sum over a sum).",
            "proportion",
            {"enum": [kind.value for kind in Kind]},
        ),
        _row(
            "better",
            "Which direction is an improvement.",
            "lower",
            {"enum": [better.value for better in Better]},
        ),
        _row(
            "unit",
            "What its value is counted in; only a `share` has margins in percentage points. "
            "Default: count.",
            "share",
            {**_TEXT, "examples": ["share", "seconds", "hours", "score", "currency", "count"]},
        ),
        _row(
            "windows",
            "How long after first exposure a unit is watched, and the share of a guardrail's "
            "level each length gets: lengths with shares that sum to 100%, or a list of lengths.",
            {"1h": "50%", "1d": "50%"},
            {
                "anyOf": [
                    {
                        "type": "object",
                        "minProperties": 1,
                        "propertyNames": {"pattern": _LENGTH},
                        "additionalProperties": {
                            "anyOf": [
                                {"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?%$"},
                                {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
                            ]
                        },
                    },
                    {
                        "type": "array",
                        "minItems": 1,
                        "items": {"type": "string", "pattern": _LENGTH},
                    },
                ]
            },
        ),
        _row(
            "trust",
            "Whose events feed it: `server` (sent with a secret key) or `any` (browsers too); one "
            "fed by any cannot turn a variant back. Default: server.",
            "server",
            {"enum": [trust.value for trust in Trust]},
        ),
        _row(
            "words",
            "The definition in a sentence. Default: the title.",
            "Share of units that opened the help page.",
            _TEXT,
        ),
        _row(
            "measures",
            "Sums over a unit's events from its first exposure until the window closes, by name.",
            {"opened": {"event": "help_opened"}},
            {"type": "object", "propertyNames": _NAMES, "additionalProperties": _MEASURE},
        ),
        _row("value", "Formula of a unit's numerator, from its measures.", "opened > 0", _TEXT),
        _row(
            "over",
            "Formula of a unit's denominator; a unit where it is 0 has no value. Default: every "
            "unit counts 1.",
            "started > 0",
            _TEXT,
        ),
        _row(
            "per",
            "Field by which measures are added up first, for instance per case. Default: none.",
            "case_id",
            _TEXT,
        ),
        _row(
            "each",
            "Formulas per case, added up over a unit's cases; they go with `per`. Default: none.",
            {"repeated": "filed >= 2"},
            {"type": "object", "propertyNames": _NAMES, "additionalProperties": _TEXT},
        ),
        _row(
            "core",
            "Whether it is one of the catalogue's core KPIs; no effect in a spec file. "
            "Default: false.",
            False,
            {"type": "boolean"},
        ),
    ],
    required=["kind", "better", "windows", "measures", "value"],
)

KPIS_SCHEMA: Final[dict[str, Any]] = {
    "type": "object",
    "propertyNames": {"pattern": "^[a-z][a-z0-9_]{0,63}$"},
    "additionalProperties": _KPI,
}
"""Own KPIs by key."""
