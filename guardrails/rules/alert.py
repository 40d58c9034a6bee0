"""The rule ``alert``: an alert that Alertmanager posts to Turnback counts as a breach.

Somebody else judged, by a rule of their own: no error rate is controlled, so this rule is outside
statistics and outside the guarantee of alpha, of which it takes nothing. A noisy alert turns a good
variant back sooner or later.

The file decides which alerts count, by name and labels, and the most that one may do; an alert may
ask for less (its label ``action``), never for more. An alert without the label ``variant`` blames
the treatment where there is only one; where there are several it blames none, and holds the ramp at
most unless the file stops the whole experiment for it. That nothing was posted proves nothing.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from experiments.language.reading import Key, Place, Record, Refusal, ValueType, given, shown
from experiments.language.source import MappingNode, Node, ScalarNode
from experiments.language.types import duration_type
from guardrails.language.kpis import KpiBook
from guardrails.rules.common import DRY_RUN_KEY, Action, action_key, id_key, readable, rule_key
from metrics.catalogue import Window

LONGEST_HOLD: Final = timedelta(days=1)
MOST_LABELS: Final = 20
OWN: Final = "Turnback"
"""How the names of Turnback's own alerts begin: they tell what was decided, and decide nothing."""

_LONGEST: Final = 200
_LABEL: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_TAKEN: Final = {
    "alertname": "write it as `name`",
    "experiment": "an alert names the experiment it is about, and counts for no other",
    "variant": "an alert names the variant it is about",
    "action": "write the most that it may do as `action` of the guardrail",
}
_WEAKEST_FIRST: Final = (Action.ALERT, Action.HOLD, Action.ROLLBACK, Action.STOP)


@dataclass(frozen=True, slots=True)
class Alert:
    """Alerts of one name, as they are posted to Turnback.

    Attributes:
        id: Name within the experiment, from the alert's name unless the file gives one.
        name: The alert's name, its label ``alertname``.
        labels: What its other labels must be; one that is not named may be anything.
        hold: For how long it must have been firing, as Turnback was told.
        action: The most that it does.
        dry_run: Judged, recorded and shown, but never acts.
    """

    rule: ClassVar[str] = "alert"
    kpi: ClassVar[None] = None
    windows: ClassVar[tuple[Window, ...]] = ()
    weight: ClassVar[float] = 1.0
    acts: ClassVar[bool] = False
    """It may turn a treatment back, but takes no part in the alpha."""

    id: str
    name: str
    labels: Mapping[str, str]
    hold: timedelta = timedelta(0)
    action: Action = Action.ROLLBACK
    dry_run: bool = False


def weaker(one: Action, other: Action | None) -> Action:
    """Return the one of two actions that does less; ``None`` asks for nothing in particular."""
    return one if other is None else min(one, other, key=_WEAKEST_FIRST.index)


def strength(action: Action) -> int:
    """Return how much an action does, for comparing."""
    return _WEAKEST_FIRST.index(action)


def _plain(text: str) -> bool:
    return 0 < len(text) <= _LONGEST and text.isprintable() and text == text.strip()


def _read_name(node: Node, _place: Place) -> str:
    hint = "for instance CheckoutErrors, as it is called in the rules of Prometheus"
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        raise Refusal(f"must be the name of an alert, {given(node)}", hint)
    if not _plain(node.value):
        raise Refusal(f"must be the name of an alert in one line, {given(node)}", hint)
    if node.value.startswith(OWN):
        raise Refusal(
            f"`{shown(node.value)}` would be an alert of Turnback's own",
            "these tell what was decided and must decide nothing: name an alert of your service",
        )
    return node.value


def _read_labels(node: Node, place: Place) -> Mapping[str, str]:
    hint = "write for instance {team: checkout, severity: page}"
    if not isinstance(node, MappingNode):
        raise Refusal(f"must be labels with their values, {given(node)}", hint)
    if not node.entries:
        raise Refusal("names no label", "remove it, or write for instance {severity: page}")
    if len(node.entries) > MOST_LABELS:
        raise Refusal(f"names {len(node.entries)} labels, more than {MOST_LABELS}", hint)
    labels: dict[str, str] = {}
    for entry in node.entries:
        here, value = place.key(shown(entry.key)), entry.value
        if entry.key in _TAKEN:
            here.problem(entry.at, "is no label to choose by", _TAKEN[entry.key])
        elif not _LABEL.fullmatch(entry.key):
            here.problem(entry.at, "is no name of a label", hint)
        elif not isinstance(value, ScalarNode) or not _plain(value.text):
            here.problem(value.at, f"must be the value of a label, {given(value)}", hint)
        else:
            labels[entry.key] = value.text
    return labels


KEYS: Final = (
    rule_key(Alert.rule, "counts an alert that Alertmanager posts as a breach, outside statistics"),
    Key(
        "name",
        ValueType(_read_name, {"type": "string", "minLength": 1, "maxLength": _LONGEST}),
        "Name of the alert that counts, its label `alertname`.",
        "CheckoutErrors",
        required=True,
    ),
    Key(
        "labels",
        ValueType(
            _read_labels,
            {
                "type": "object",
                "minProperties": 1,
                "maxProperties": MOST_LABELS,
                "additionalProperties": {"type": ["string", "number", "boolean"]},
            },
        ),
        "What its other labels must be, word by word; one that is not named may be anything.",
        {"severity": "page"},
        default="any",
    ),
    Key(
        "hold",
        duration_type(most=LONGEST_HOLD),
        "For how long it must have been firing, counted from when Turnback was told; `for` of the "
        "rule in Prometheus is patience already.",
        "5m",
        default="0s",
    ),
    action_key(tuple(Action), default="rollback"),
    DRY_RUN_KEY,
    id_key("checkout-errors", default="the alert's name"),
)

EXAMPLE: Final = {"rule": "alert", "name": "CheckoutErrors"}


def id_from(name: str) -> str:
    """Return what a guardrail is called after an alert: letters, digits, ``-`` and ``_`` of it."""
    return re.sub(r"[^A-Za-z0-9_-]+", "-", name).strip("-_")[:64] or Alert.rule


def read_alert(record: Record, _kpis: KpiBook) -> Alert | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    before = len(record.place.report.problems)
    if not record.has("name") or not readable(record, before):
        return None
    name: str = record.get("name")
    return Alert(
        id=record.get("id", id_from(name)),
        name=name,
        labels=record.get("labels", {}),
        hold=record.get("hold", timedelta(0)),
        action=Action(record.get("action", Action.ROLLBACK)),
        dry_run=record.get("dry_run", False),
    )
