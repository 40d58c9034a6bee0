"""``kpis``: what each KPI measures, from the catalogue or from a running service."""

import textwrap
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from console.client import ServiceClient
from console.commands.specs import catalogue_and_warnings, warn_problems
from console.output import CommandError, ExitCode, print_json, say
from guardrails.meanings import listed
from metrics.catalogue import load_catalogue
from metrics.catalogue_file import nearest
from metrics.catalogue_words import BUILT_IN

_WIDTH: Final = 80
_KIND: Final = {
    "proportion": "share of units",
    "mean": "mean per unit",
    "ratio": "sum over units / sum over units",
}

Kpi = Mapping[str, Any]


def run(
    key: str | None,
    *,
    catalogue: Path | None,
    live: ServiceClient | None,
    as_json: bool,
    full: bool = False,
) -> None:
    """Print every KPI in a line, or one of them in full.

    Args:
        key: The one, ``None`` for all.
        catalogue: File with more KPIs than the built-in ones.
        live: Asked instead, where given.
        as_json: Print one JSON object instead of words.
        full: Print all of them in full.

    Raises:
        CommandError: There is no such KPI, or no service answers.
        SpecError: The catalogue file has problems.
    """
    found = _asked(live) if live is not None else _here(catalogue)
    if key is not None:
        found = _of_key(key, found)
    if as_json:
        print_json({"kpis": found})
    elif full or key is not None:
        say("\n\n".join("\n".join(_full(kpi)) for kpi in found))
    else:
        _show(found)


def _here(catalogue: Path | None) -> list[Kpi]:
    known, warnings = catalogue_and_warnings(catalogue)
    warn_problems(warnings)
    found = [kpi.to_json() for kpi in listed(known, load_catalogue(), [])]
    return msgspec.to_builtins(found)


def _asked(live: ServiceClient) -> list[Kpi]:
    answer = live.get("/api/v1/kpis")
    kpis = answer.get("kpis") if isinstance(answer, dict) else None
    if not isinstance(kpis, list) or any("written" not in kpi for kpi in kpis):
        raise CommandError(
            f"{live.url} answered, but not as this version of Turnback does",
            hint="use the same version on both sides",
            code="not_turnback",
        )
    return kpis


def _of_key(key: str, kpis: Sequence[Kpi]) -> list[Kpi]:
    found = [kpi for kpi in kpis if kpi["key"] == key]
    if not found:
        keys = dict.fromkeys(kpi["key"] for kpi in kpis)
        raise CommandError(
            f"there is no KPI {key!r}",
            hint=nearest(key, list(keys)).removeprefix("; "),
            code="unknown_kpi",
            exit_code=ExitCode.USAGE,
        )
    return found


def _show(kpis: Sequence[Kpi]) -> None:
    """Print every KPI: what it is in a line, then its definition in words."""
    width = max(len(kpi["key"]) for kpi in kpis) + 2
    for heading, core in (("Core KPIs", True), ("Other KPIs", False)):
        group = [kpi for kpi in kpis if kpi["core"] is core]
        say(f"{heading} ({len(group)})")
        for kpi in group:
            say()
            better = "either way" if kpi["better"] == "either" else f"{kpi['better']} is better"
            say(f"{kpi['key']:<{width}}{kpi['kind']}, {better}")
            from_ = "" if kpi["source"] == BUILT_IN else f", from {kpi['source']}"
            about = f"{_windows(kpi)}; unit {kpi['unit']}, trust {kpi['trust']}{from_}"
            for text in (about, kpi["words"]):
                say(textwrap.fill(text, _WIDTH, initial_indent="  ", subsequent_indent="  "))
        say()
    say("`turnback kpis KPI` adds the events and the formula of one; `--full` of all.")


def _full(kpi: Kpi) -> list[str]:
    """Return everything about one KPI in lines of at most 80 characters."""
    title = kpi["title"] if kpi["title_zh"] == kpi["title"] else f"{kpi['title']} {kpi['title_zh']}"
    trust = "events sent with a secret key" if kpi["trust"] == "server" else "events of any sender"
    rows = [
        ("kind", f"{kpi['kind']} ({_KIND[kpi['kind']]}), {_better(kpi['better'])}"),
        ("windows", f"{_windows(kpi)} (time since a unit's first exposure, weight)"),
        ("unit", kpi["unit"]),
        ("trust", f"{kpi['trust']}: {trust}"),
        ("source", kpi["source"]),
        ("events", "; ".join(_event(name, fields) for name, fields in kpi["events"].items())),
    ]
    lines = [f"{kpi['key']} · {title}", *textwrap.wrap(kpi["words"], _WIDTH - 2), ""]
    lines = [lines[0], *(f"  {line}".rstrip() for line in lines[1:])]
    for name, text in rows:
        lines += _row(name, text)
    lines += ["", "  For every unit, of its events from first exposure until the window closes:"]
    width = max(map(len, kpi["measures"]))
    for name, text in kpi["measures"].items():
        lines += _row(name, text, width=width, under=4)
    lines += ["", *_formulas(kpi)]
    return lines


def _formulas(kpi: Kpi) -> list[str]:
    lines: list[str] = []
    if kpi["per"]:
        lines += [f"  Per {kpi['per']}, added up over a unit's cases:"]
        width = max(map(len, kpi["each"]))
        for name, formula in kpi["each"].items():
            lines += _row(name, formula, width=width, under=4)
    over = kpi["over"]
    if kpi["kind"] == "ratio":
        return [*lines, *_row("formula", f"sum of ({kpi['value']}) / sum of ({over})")]
    what = "share of units with" if kpi["kind"] == "proportion" else "mean of"
    among = f", among units with {over}" if over else ""
    return [*lines, *_row("formula", f"{what} {kpi['value']}{among}")]


def _row(name: str, text: str, *, width: int = 8, under: int = 2) -> list[str]:
    head = f"{' ' * under}{name:<{width}} "
    return textwrap.wrap(text, _WIDTH, initial_indent=head, subsequent_indent=" " * len(head)) or [
        head.rstrip()
    ]


def _event(name: str, fields: Sequence[str]) -> str:
    return f"{name} ({', '.join(fields)})" if fields else name


def _better(word: str) -> str:
    return "either direction may be better" if word == "either" else f"{word} is better"


def _windows(kpi: Kpi) -> str:
    written = kpi["written"]["windows"]
    return ", ".join(f"{length} {weight * 100:.4g}%" for length, weight in written.items())
