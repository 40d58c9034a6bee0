"""``status`` and ``explain``: what a running service says of its experiments."""

import textwrap
from typing import Any

from rich.console import Console
from rich.table import Table

from console.client import ServiceClient, experiment_path
from console.output import print_json, say

_WIDTH = 88


def status(key: str | None, *, client: ServiceClient, as_json: bool) -> None:
    """Print all experiments in a line each, or one of them in full."""
    if key is None:
        views = client.get("/api/v1/experiments")
        if as_json:
            print_json(views)
        else:
            _overview(_listed(views))
        return
    view = client.get(experiment_path(key))
    if as_json:
        print_json(view)
    else:
        _one(view)


def explain(key: str, *, client: ServiceClient, as_json: bool) -> None:
    """Print why an experiment stands where it stands."""
    view = client.get(f"{experiment_path(key)}/explain")
    if as_json:
        print_json(view)
        return
    say(view["headline"])
    for paragraph in view["paragraphs"]:
        say()
        say(textwrap.fill(paragraph, _WIDTH))


def _listed(views: Any) -> list[dict[str, Any]]:
    return views["experiments"] if isinstance(views, dict) else views


def _console() -> Console:
    return Console(width=None if Console().is_terminal else 120, highlight=False)


def _overview(views: list[dict[str, Any]]) -> None:
    if not views:
        say("no experiments yet; `turnback apply FILE` starts one")
        return
    table = Table(box=None, pad_edge=False)
    for column in ("experiment", "state", "traffic", "variants", "closest guardrail", "last check"):
        table.add_column(column)
    for view in views:
        variants = ", ".join(f"{v['name']} {_state(v['state'])}" for v in view["variants"])
        table.add_row(
            view["key"],
            _state(view["state"]),
            f"{view['traffic']:.0%}",
            variants,
            _closest(view["guardrails"]),
            view["last_check_at"] or "never",
        )
    _console().print(table)


def _closest(guardrails: list[dict[str, Any]]) -> str:
    if not guardrails:
        return "none"
    near = max(guardrails, key=lambda g: g["evidence"] or 0.0)
    return f"{near['guardrail']} at {near['evidence'] or 0.0:.0%} of its boundary"


def _state(word: str) -> str:
    return word.replace("_", " ")


def _one(view: dict[str, Any]) -> None:
    say(f"{view['key']}: {view['title']}")
    say(
        f"{_state(view['state'])}, {view['traffic']:.0%} of traffic, seed {view['seed']}, "
        f"revision {view['revision']}, {view['checks']} checks, last {view['last_check_at']}"
    )
    for words in view["attention"]:
        say(f"! {words}")
    say()
    console = _console()
    variants = Table(box=None, pad_edge=False)
    for column in ("variant", "state", "share", "exposed"):
        variants.add_column(column)
    for v in view["variants"]:
        variants.add_row(v["name"], _state(v["state"]), f"{v['share']:.1%}", f"{v['exposed']:,}")
    console.print(variants)
    say()
    guardrails = Table(box=None, pad_edge=False)
    for column in ("guardrail", "treatment", "outcome", "evidence", "in words"):
        guardrails.add_column(column, overflow="fold")
    for g in view["guardrails"]:
        evidence = f"{g['evidence'] or 0.0:.0%}"
        row = (g["limit"], g["treatment"], g["outcome"] or "not yet", evidence, g["words"])
        guardrails.add_row(*row)
    console.print(guardrails)
    if view["transitions"]:
        say()
    for t in view["transitions"]:
        who = t["variant"] or view["key"]
        say(f"{t['at']}  {who}: {_state(t['before'])} -> {_state(t['after'])}, {t['reason']}")
