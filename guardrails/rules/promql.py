r"""The rule ``promql``: a named query of Prometheus may not be beyond a fixed value for a while.

Samples are compared with a number: no error rate is controlled, so this rule is outside
statistics and outside the guarantee of alpha, of which it takes nothing. A noisy query turns a
good variant back sooner or later; a longer ``hold`` makes that rarer.

The file names a query; its PromQL is in the server's settings. ``$variant`` in it stands for a
treatment's name: then each treatment has its own answer and can be turned back by it. Without,
the query speaks of the whole service and blames no treatment: it can only hold the ramp, alert,
or stop the whole experiment. No answer, several series, gaps and values that are no numbers are
errors: they hold the ramp, and never roll back nor pass.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import ClassVar, Final

from experiments.language.amounts import parse_amount
from experiments.language.reading import Key, Place, Record, Refusal, ValueType, given, near, shown
from experiments.language.source import Node, ScalarNode
from experiments.language.types import duration_type
from guardrails.language.kpis import KpiBook
from guardrails.rules.common import DRY_RUN_KEY, Action, Side, action_key, id_key, rule_key
from guardrails.rules.limit import LIMITS, which_limit
from metrics.catalogue import Window

SHORTEST_HOLD: Final = timedelta(seconds=2)
LONGEST_HOLD: Final = timedelta(days=1)
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_-]{0,63}"
_VARIANT: Final = re.compile(r"\$variant\b")
_LOOKS_LIKE_PROMQL: Final = re.compile(r"[(){}\[\]=<>+*/%\"$:]|\s(by|on|or|and)\s")


@dataclass(frozen=True, slots=True)
class PromQL:
    """The answer of a named query compared with a fixed value.

    Attributes:
        id: Name within the experiment, the query's name unless the file gives one.
        query: Name of the query in the server's settings.
        side: ``RISE`` where the limit is a maximum, ``DROP`` where it is a minimum.
        limit: The value, in whatever the query answers.
        hold: How long it must be beyond the limit; ``None``: two check intervals.
        chosen: What the file says a breach does; ``None``: it follows from the query's text.
        dry_run: Evaluated, recorded and shown, but never acts.
    """

    rule: ClassVar[str] = "promql"
    kpi: ClassVar[None] = None
    windows: ClassVar[tuple[Window, ...]] = ()
    weight: ClassVar[float] = 1.0
    acts: ClassVar[bool] = False
    """It may turn a treatment back, but takes no part in the alpha."""

    id: str
    query: str
    side: Side
    limit: float
    hold: timedelta | None = None
    chosen: Action | None = None
    dry_run: bool = False

    @property
    def action(self) -> Action:
        """What a breach does where the query's text is not known: the file's, or a rollback."""
        return self.chosen or Action.ROLLBACK

    def action_for(self, text: str | None) -> Action:
        """Return what a breach does, given the query's PromQL.

        A query that names no variant never rolls back, whatever the file says.
        """
        if text is None or names_variant(text):
            return self.action
        chosen = self.chosen or Action.HOLD
        return Action.HOLD if chosen is Action.ROLLBACK else chosen


def names_variant(text: str) -> bool:
    """Return whether a query asks about one treatment: ``$variant`` is in it."""
    return _VARIANT.search(text) is not None


def query_for(text: str, variant: str) -> str:
    """Return a query's PromQL for one treatment."""
    return _VARIANT.sub(lambda _: variant, text)


def _read_query(node: Node, _place: Place) -> str:
    hint = "for instance refund_p99; the service's settings say what it asks"
    if not isinstance(node, ScalarNode) or not isinstance(node.value, str):
        raise Refusal(f"must be the name of a query, {given(node)}", hint)
    if re.fullmatch(_NAME, node.value):
        return node.value
    if _LOOKS_LIKE_PROMQL.search(node.value):
        raise Refusal(
            f"looks like PromQL (`{shown(node.value)}`), and files name queries only",
            "put it into the service's settings under a name, and write that name here",
        )
    raise Refusal(f"must be the name of a query, {given(node)}", hint)


def _read_number(node: Node, _place: Place) -> float:
    wanted = "a number such as 0.8, in whatever the query answers"
    value = node.value if isinstance(node, ScalarNode) else None
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        text = node.text if isinstance(node, ScalarNode) else ""
        amount = parse_amount(text)
        hint = "write it in digits, without quotes or unit"
        if amount is not None and not amount.absolute:
            hint = f"write {amount.share:g} if the query answers a share, without %"
        raise Refusal(f"must be {wanted}, {given(node)}", hint)
    return float(value)


_LIMIT: Final = ValueType(_read_number, {"type": "number"})

KEYS: Final = (
    rule_key(
        "promql",
        "compares the answer of a named Prometheus query with a fixed value, outside statistics",
    ),
    Key(
        "query",
        ValueType(_read_query, {"type": "string", "pattern": f"^{_NAME}$"}),
        "Name of a query in the service's settings; `$variant` in its text stands for the "
        "treatment.",
        "refund_p99",
        required=True,
    ),
    Key("max", _LIMIT, "Largest answer tolerated, in whatever the query answers.", 0.8),
    Key("min", _LIMIT, "Smallest answer tolerated, in whatever the query answers.", 0.99),
    Key(
        "hold",
        duration_type(least=SHORTEST_HOLD, most=LONGEST_HOLD),
        "How long the answer must be beyond the limit without a break; at least 2 evaluations.",
        "5m",
        default="two check intervals",
    ),
    action_key(tuple(Action), default="rollback where the query names `$variant`, else hold"),
    DRY_RUN_KEY,
    id_key("refunds-are-slow", default="the query's name"),
)

EXAMPLE: Final = {"rule": "promql", "query": "refund_p99", "max": 0.8, "hold": "5m"}


def read_promql(record: Record, _kpis: KpiBook) -> PromQL | None:
    """Return the guardrail of a record; tell what is wrong and return ``None`` when it has none."""
    before = len(record.place.report.problems)
    name = which_limit(record, "`max: 0.8` or `min: 0.8`")
    complete = all(record.has(entry.key) for entry in record.node.entries)
    if name is None or not record.has("query") or not complete:
        return None
    if len(record.place.report.problems) > before:
        return None
    chosen: str | None = record.get("action")
    query: str = record.get("query")
    return PromQL(
        id=record.get("id", query),
        query=query,
        side=LIMITS[name],
        limit=record.get(name),
        hold=record.get("hold"),
        chosen=Action(chosen) if chosen is not None else None,
        dry_run=record.get("dry_run", False),
    )


def check_query(record: Record, queries: Mapping[str, str]) -> None:
    """Tell when a service does not know a query, or a breach of it could blame no treatment.

    Args:
        record: An entry of this rule.
        queries: PromQL by name, from the service's settings.
    """
    query: str | None = record.get("query")
    if query is None:
        return
    text = queries.get(query)
    if text is None:
        hint = near(query, queries, otherwise="it has") or "its settings name no queries"
        record.problem("query", f"the service has no query `{shown(query)}`", hint)
    elif record.get("action") == Action.ROLLBACK and not names_variant(text):
        record.problem(
            "action",
            f"`{query}` says nothing of a single variant, so it cannot turn one back",
            "use hold, alert or stop, or put `$variant` into the query in the service's settings",
        )
