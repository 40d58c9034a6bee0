"""Sets of guardrails: entries that files use by name. Data in ``sets.yaml`` beside this module.

A set never changes once it was released: a file that names one is judged tomorrow as today.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from hashlib import sha256
from pathlib import Path
from typing import Final

from experiments.errors import SpecError
from experiments.language.reading import (
    Item,
    Key,
    Place,
    Record,
    Refusal,
    Report,
    ValueType,
    given,
    list_type,
    near,
    read_record,
    read_value,
    record_type,
    shown,
)
from experiments.language.source import ListNode, MappingNode, Node, ScalarNode, parse_yaml, to_json
from experiments.language.types import name_type, text_type
from guardrails.language.entries import (
    ENTRIES,
    ENTRY,
    EXAMPLE,
    id_of,
    own_nodes,
    refuse_too_many,
    rule_keys,
)
from guardrails.rules import Guardrail

SHIPPED: Final = Path(__file__).with_name("sets.yaml")
_NAME_PATTERN: Final = r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}"


@dataclass(frozen=True, slots=True)
class GuardrailSet:
    """Guardrails with a name.

    Attributes:
        name: What ``use`` calls it.
        title: For people.
        words: What it protects against, and whom.
        nodes: Its entries as they are written.
    """

    name: str
    title: str
    words: str
    nodes: tuple[MappingNode, ...]

    @property
    def ids(self) -> tuple[str, ...]:
        """Ids of its guardrails, in order."""
        return tuple(filter(None, map(id_of, self.nodes)))

    @property
    def fingerprint(self) -> str:
        """SHA-256 of what its entries say, whatever their layout: changes when a set does."""
        content = json.dumps([to_json(node) for node in self.nodes], sort_keys=True)
        return sha256(content.encode()).hexdigest()

    def entries(self) -> tuple[Record, ...]:
        """Read its entries as those of a file, each with a report of its own."""
        return tuple(read_value(ENTRY, node, Place(Report(SHIPPED.name))) for node in self.nodes)


@lru_cache(maxsize=1)
def shipped_sets() -> Mapping[str, GuardrailSet]:
    """Return the sets of this release by name."""
    return read_sets(SHIPPED.read_text(encoding="utf-8"), source=SHIPPED.name)


def read_sets(text: str, *, source: str) -> Mapping[str, GuardrailSet]:
    """Read sets by name.

    Raises:
        SpecError: With every problem of the text.
    """
    node, problems = parse_yaml(text, file=source)
    report = Report(source, problems)
    found: dict[str, GuardrailSet] = {}
    sets = node.get("sets") if isinstance(node, MappingNode) else None
    for entry in sets.entries if isinstance(sets, MappingNode) else ():
        here = Place(report, f"sets.{entry.key}")
        try:
            record = read_record(entry.value, here, _SET_KEYS, later={}, what="a set")
        except Refusal as refusal:
            here.problem(entry.at, refusal.message, refusal.hint)
            continue
        nodes = own_nodes(record.node.get("guardrails"))
        found[entry.key] = GuardrailSet(
            entry.key, record.get("title", entry.key), record.get("words", ""), tuple(nodes)
        )
    if report.problems:
        raise SpecError(report.problems)
    return found


_SET_KEYS: Final = (
    Key("title", text_type(most=200), "Name for people.", "A way out that works", required=True),
    Key(
        "words",
        text_type(most=1000, lines=True),
        "What it protects against, and whom.",
        "Protects people who want out.",
        required=True,
    ),
    Key("guardrails", ENTRIES, "What may not get worse.", list(EXAMPLE), required=True),
)


def _set_name(node: Node, _place: Place) -> GuardrailSet:
    text = node.text if isinstance(node, ScalarNode) and node.value is not None else ""
    known = shipped_sets()
    if text not in known:
        what = f"there is no set of guardrails `{shown(text)}`" if text else "must be a set's name"
        raise Refusal(what, near(text, known, otherwise="there are"))
    return known[text]


def _names_schema() -> dict[str, object]:
    sets = shipped_sets().values()
    return {
        "enum": [each.name for each in sets],
        "enumDescriptions": [f"{each.title}. {each.words}" for each in sets],
    }


_ID: Final = name_type(
    _NAME_PATTERN, wanted="the id of a guardrail", hint="as the set has it, for instance its KPI"
)

SET_FORM_KEYS: Final = (
    Key(
        "use",
        list_type(ValueType(_set_name, _names_schema()), what="sets", least=1),
        "Sets of guardrails by name.",
        ["cancellation-defaults"],
        required=True,
    ),
    Key(
        "add",
        ENTRIES,
        "Guardrails of this file alone; one with the id of a set's guardrail replaces it.",
        [{"kpi": "satisfaction", "max_drop": "5%"}],
        default="none",
    ),
    Key(
        "without",
        list_type(_ID, what="ids"),
        "Ids of guardrails of the sets that are left out.",
        ["refund_hours"],
        default="none",
    ),
)

SET_FORM: Final = record_type(SET_FORM_KEYS, what="`guardrails`")


@dataclass(frozen=True, slots=True)
class Chosen:
    """An entry that counts: of the file itself, or of a set that it uses.

    Attributes:
        entry: Its keys; those of a set have a report of their own.
        at: Where it stands in the file: the entry, or the name of its set.
        of: Its set, ``None`` for one of the file.
        guardrail: What it says, ``None`` as long as it was not read or has problems.
    """

    entry: Record
    at: Item
    of: GuardrailSet | None = None
    guardrail: Guardrail | None = None


def own_entries(record: Record) -> Sequence[Item]:
    """Return the entries that a file writes itself."""
    value = record.get("guardrails", ())
    items: Sequence[Item] = value.get("add", ()) if isinstance(value, Record) else value
    return items


def chosen_entries(record: Record) -> tuple[Chosen, ...]:
    """Return every entry that counts, those of sets first; tell what is wrong with the choice."""
    own = tuple(Chosen(item.value, item) for item in own_entries(record))
    form = record.get("guardrails")
    if not isinstance(form, Record):
        return own
    _check_choice(form, {id_of(c.entry.node) for c in own})
    left_out = {item.value for item in form.get("without", ())} | {id_of(c.entry.node) for c in own}
    found: dict[str, Chosen] = {}
    for item in _used(form):
        of: GuardrailSet = item.value
        for entry in of.entries():
            name = id_of(entry.node)
            if name is None or name in left_out:
                continue
            first = found.setdefault(name, Chosen(entry, item, of))
            if to_json(first.entry.node) != to_json(entry.node) and first.of is not None:
                item.place.problem(
                    item.at,
                    f"`{name}` is another guardrail here than in `{first.of.name}`",
                    f"leave both out with `without: [{name}]`, and write yours under `add`",
                )
    every = (*found.values(), *own)
    try:
        refuse_too_many(len(every))
    except Refusal as refusal:
        record.problem("guardrails", refusal.message, refusal.hint)
    return every


def _used(form: Record) -> Sequence[Item]:
    """Return the sets in use, each once."""
    items: Sequence[Item] = form.get("use", ())
    return list({item.value.name: item for item in reversed(items)}.values())[::-1]


def _check_choice(form: Record, own: set[str | None]) -> None:
    uses: Sequence[Item] = form.get("use", ())
    seen: set[str] = set()
    for item in uses:
        if item.value.name in seen:
            item.place.problem(item.at, f"`{item.value.name}` is listed twice", "remove one")
        seen.add(item.value.name)
    known = dict.fromkeys(name for item in uses for name in item.value.ids)
    written = form.node.get("use")
    sure = isinstance(written, ListNode) and len(uses) == len(written.items)
    for item in form.get("without", ()):
        if item.value in own:
            item.place.problem(
                item.at,
                f"`{item.value}` is left out and written under `add`",
                "remove it here: an entry under `add` replaces that of the set",
            )
        elif item.value not in known and sure:
            hint = near(item.value, known, otherwise="there are")
            item.place.problem(item.at, f"no set in use has a guardrail `{item.value}`", hint)


def written_nodes(record: Record) -> Sequence[MappingNode]:
    """Return every entry that counts as it is written, faulty ones too, those of sets first."""
    node = record.node.get("guardrails")
    if not isinstance(node, MappingNode):
        return own_nodes(node)
    own = own_nodes(node.get("add"))
    form = record.get("guardrails")
    if not isinstance(form, Record):
        return own
    left_out = {item.value for item in form.get("without", ())} | set(map(id_of, own))
    used = [n for item in _used(form) for n in item.value.nodes if id_of(n) not in left_out]
    return [*used, *own]


def read_guardrails_key(node: Node, place: Place) -> tuple[Item, ...] | Record:
    """Read the value of ``guardrails``: entries, or sets and entries."""
    if isinstance(node, MappingNode):
        written = {entry.key for entry in node.entries}
        if written & set(rule_keys()) and not written & {key.name for key in SET_FORM_KEYS}:
            raise Refusal(f"must be a list of guardrails, {given(node)}", "begin each with `- `")
        record: Record = SET_FORM.read(node, place)
        return record
    if isinstance(node, ScalarNode) and node.value is None:
        raise Refusal(f"must be a list of guardrails, {given(node)}", "begin each with `- `")
    items: tuple[Item, ...] = ENTRIES.read(node, place)
    return items


GUARDRAILS: Final = ValueType(
    read_guardrails_key,
    {"anyOf": [dict(ENTRIES.schema), {"title": "with sets", **SET_FORM.schema}]},
)
