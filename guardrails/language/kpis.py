"""The KPIs a spec file may name: those of the catalogue and its own. Pure."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from experiments.language.reading import (
    Item,
    Key,
    Place,
    Record,
    Refusal,
    ToldError,
    ValueType,
    given,
    near,
)
from experiments.language.source import ListNode, MappingNode, Mark, Node, is_faulty, to_json
from guardrails.language.kpi_schema import KPIS_SCHEMA
from metrics.catalogue import Catalogue, CatalogueError, KpiDefinition, parse_kpi

_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]{0,63}")
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
    return KpiBook(catalogue, own, frozenset(written - set(own)))


def _read_kpis(node: Node, place: Place) -> dict[str, Item]:
    if not isinstance(node, MappingNode):
        raise Refusal(f"must be KPIs with their keys, {given(node)}", "write `my_kpi:` and so on")
    found: dict[str, Item] = {}
    for entry in node.entries:
        here = place.key(entry.key)
        if entry.faulty or is_faulty(entry.value):
            continue
        if not _NAME.fullmatch(entry.key):
            here.problem(entry.at, "is no key for a KPI", "use letters, digits and `_`")
            continue
        try:
            found[entry.key] = Item(_definition(entry.key, entry.value, here), entry.at, here)
        except ToldError:
            continue
    return found


def _definition(key: str, node: Node, place: Place) -> KpiDefinition:
    if not isinstance(node, MappingNode):
        place.problem(
            node.at, f"a KPI must be keys and values, {given(node)}", "write kind, better and so on"
        )
        raise ToldError
    try:
        return parse_kpi(key, to_json(node))
    except CatalogueError as error:
        steps = error.path.removeprefix(place.path).lstrip(".")
        at = _locate(node, _STEP.findall(steps))
        message, _, hint = error.message.partition("; ")
        Place(place.report, error.path or place.path).problem(at, message, hint)
        raise ToldError from error


def _locate(node: Node, steps: Iterable[tuple[str, str]]) -> Mark:
    """Return where a path leads, or the last place on it that exists."""
    current: Node = node
    for key, index in steps:
        if isinstance(current, MappingNode):
            following = current.get(key or index)
        elif isinstance(current, ListNode) and index and int(index) < len(current.items):
            following = current.items[int(index)]
        else:
            following = None
        if following is None:
            break
        current = following
    return current.at


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
