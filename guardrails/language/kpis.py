"""The KPIs a spec file may name: those of the catalogue and its own. Pure."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from experiments.errors import Severity
from experiments.language.reading import (
    Item,
    Key,
    Place,
    Record,
    Refusal,
    Report,
    ValueType,
    given,
    near,
)
from experiments.language.source import ListNode, MappingNode, Mark, Node, is_faulty, to_json
from guardrails.language.kpi_schema import KPIS_SCHEMA
from metrics.catalogue import Catalogue, CatalogueError, KpiDefinition, parse_kpi
from metrics.catalogue_file import doubts_of

_QUOTED: Final = re.compile(r"(?<!\w)'([^' ]+)'")
_STEP: Final = re.compile(r"([^.\[\]]+)|\[([0-9]+)\]")


@dataclass(frozen=True, slots=True)
class KpiBook:
    """KPIs by key.

    Attributes:
        catalogue: Those of the server.
        own: Those the file defines.
        unreadable: Own ones with problems: naming them is no second problem.
    """

    catalogue: Catalogue
    own: Mapping[str, KpiDefinition]
    unreadable: frozenset[str]

    def names(self) -> tuple[str, ...]:
        """Return all keys that can be named."""
        return (*self.own, *self.catalogue.keys())

    def get(self, key: str, at: Mark, place: Place) -> KpiDefinition | None:
        """Return one KPI; tell at its place when there is none of that key."""
        if key in self.own:
            return self.own[key]
        if key in self.catalogue:
            return self.catalogue.get(key)
        if key not in self.unreadable:
            hint = near(key, self.names(), otherwise="there are")
            place.problem(at, f"there is no KPI `{key}`", hint)
        return None

    def find(self, record: Record) -> KpiDefinition | None:
        """Return the KPI that a record names under ``kpi``, if it is readable."""
        if not record.has("kpi"):
            return None
        return self.get(record.get("kpi"), record.at("kpi"), record.place.key("kpi"))


def kpi_book(record: Record, catalogue: Catalogue) -> KpiBook:
    """Return the KPIs that a file may name."""
    node = record.node.get("kpis")
    written = {entry.key for entry in node.entries} if isinstance(node, MappingNode) else set[str]()
    items: Mapping[str, Item] = record.get("kpis", {})
    own = {key: item.value for key, item in items.items()}
    for key, item in items.items():
        if key in catalogue:
            item.place.problem(
                item.at, "is the key of a KPI of the catalogue", "give yours another key"
            )
        for doubt in doubts_of(item.value, catalogue.events, item.place.path):
            tell_at(node, item.place.report, doubt, under="kpis", severity=Severity.WARNING)
    return KpiBook(catalogue, own, frozenset(written - set(own)))


def _read_kpis(node: Node, place: Place) -> dict[str, Item]:
    if not isinstance(node, MappingNode):
        raise Refusal(f"must be KPIs with their keys, {given(node)}", "write `my_kpi:` and so on")
    found: dict[str, Item] = {}
    for entry in node.entries:
        here = place.key(entry.key)
        if entry.faulty or is_faulty(entry.value):
            continue
        try:
            found[entry.key] = Item(_definition(entry.key, entry.value, here), entry.at, here)
        except CatalogueError as error:
            for each in error.every:
                at = entry.at if each.path == here.path else None
                tell_at(entry.value, place.report, each, under=here.path, at=at)
    return found


def _definition(key: str, node: Node, place: Place) -> KpiDefinition:
    if not isinstance(node, MappingNode):
        raise CatalogueError(
            place.path,
            f"a KPI must be keys and values, {given(node)}; write kind, better and so on",
        )
    return parse_kpi(key, to_json(node))


def tell_at(
    node: Node | None,
    report: Report,
    error: CatalogueError,
    *,
    under: str,
    at: Mark | None = None,
    severity: Severity = Severity.ERROR,
) -> None:
    """Tell a problem of a catalogue at its place in a file.

    Args:
        node: What stands under the path ``under``.
        report: Takes the problem.
        error: Its path begins with ``under``.
        under: Path of ``node``, empty for the whole file.
        at: Where it stands, when that is known.
        severity: Whether it refuses the file.
    """
    steps = error.path.removeprefix(under).lstrip(".")
    of_key = error.message.startswith("unknown key")
    where = at or (_locate(node, steps, of_key=of_key) if node is not None else Mark(1, 1))
    message, _, hint = _QUOTED.sub(r"`\1`", error.message).partition("; ")
    report.add(where, error.path, message, hint, severity=severity)


def _locate(node: Node, path: str, *, of_key: bool) -> Mark:
    """Return where a path leads, or the last place on it that exists.

    Args:
        node: Where the path begins.
        path: Keys with dots and list places; a key that holds a dot is not followed.
        of_key: Whether the last key is told instead of its value.
    """
    current, at = node, node.at
    for key, index in _STEP.findall(path):
        if isinstance(current, MappingNode):
            entry = next((e for e in current.entries if e.key == (key or index)), None)
            if entry is None:
                break
            current, at = entry.value, entry.at if of_key else entry.value.at
        elif isinstance(current, ListNode) and index and int(index) < len(current.items):
            current = current.items[int(index)]
            at = current.at
        else:
            break
    return at


KPIS_KEY: Final = Key(
    "kpis",
    ValueType(_read_kpis, KPIS_SCHEMA),
    "KPIs of this file alone, described as in the catalogue.",
    {
        "help_page_rate": {
            "title": "Help page rate",
            "kind": "proportion",
            "better": "lower",
            "unit": "share",
            "windows": {"1h": "50%", "1d": "50%"},
            "measures": {"opened": {"event": "help_opened"}},
            "value": "opened > 0",
        }
    },
    default="none",
)
