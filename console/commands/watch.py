"""``status`` and ``explain``: what a running service says of its experiments."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import msgspec

from console.client import ServiceClient, experiment_path
from console.commands.given import instant_of
from console.output import CommandError, Tone, instant, print_json, say
from console.tables import Block, Rows, add, folded, show_blocks, table
from experiments.language.amounts import format_duration
from experiments.language.instants import format_instant
from experiments.lifecycle import CHECKED, State
from guardrails.actions import NOTE
from guardrails.specs_view import SpecsView
from guardrails.ticks import first_seen_by
from guardrails.views import RollbackView
from guardrails.words import instant as instant_words
from guardrails.words import percent
from guardrails.words_rollback import unverified_words

_WIDTH = 88
_NEWEST = 5
_TONES = {
    "breach": Tone.BAD,
    "rolled back": Tone.BAD,
    "no data": Tone.WARN,
    "error": Tone.WARN,
    "pass": Tone.GOOD,
    "live": Tone.GOOD,
    "running": Tone.GOOD,
}


def status(key: str | None, *, client: ServiceClient, as_json: bool) -> None:
    """Print all experiments in a line each, or one of them in full."""
    if as_json:
        print_json(client.get("/api/v1/experiments" if key is None else experiment_path(key)))
    else:
        show_blocks(current(key, client)[1])


def current(
    key: str | None, client: ServiceClient, *, brief: bool = False
) -> tuple[Any, list[Block]]:
    """Return what ``status`` shows now, as the API answered and as it is printed.

    Args:
        key: One experiment; all without.
        client: Of the service.
        brief: Leave out what would not fit a screen.

    Raises:
        CommandError: Nobody answers, or the service refuses.
    """
    if key is not None:
        view = client.get(experiment_path(key))
        return view, _one(view, brief=brief, counted=_counted(view, client))
    views = client.get("/api/v1/experiments")
    return views, _overview(_listed(views)) + _folder(client)


def explain(key: str, at: str | None, *, client: ServiceClient, as_json: bool) -> None:
    """Print why an experiment stands where it stands, or stood at an instant.

    Raises:
        CommandError: The instant is none.
    """
    query = ""
    if at is not None:
        query = f"?at={format_instant(instant_of(at, option='--at'))}"
    view = client.get(f"{experiment_path(key)}/explain{query}")
    if as_json:
        print_json(view)
        return
    for index, paragraph in enumerate((view["headline"], *view["paragraphs"])):
        if index:
            say()
        say(folded(paragraph, most=_WIDTH, indent=""))


def _listed(views: Any) -> list[dict[str, Any]]:
    return views["experiments"] if isinstance(views, dict) else views


def _overview(views: list[dict[str, Any]]) -> list[Block]:
    if not views:
        return ["no experiments yet; `turnback apply FILE` starts one"]
    headings = ("experiment", "state", "traffic", "variants", "closest guardrail", "last check")
    rows = table(*headings, right=("traffic",), drop=("last check",), tones=_TONES)
    for view in views:
        add(
            rows,
            view["key"],
            _state(view),
            f"{view['traffic']:.0%}" if view["state"] == "running" else "none",
            ", ".join(_variant(variant, view["state"]) for variant in view["variants"]),
            _closest(view),
            instant(view["last_check_at"]),
        )
    everywhere = _of_all(views)
    said = [f"! {words}" for words in everywhere]
    said += [x for v in views for x in _matters(v, v["key"] + ": ", told=everywhere)]
    return [rows, *(["", *said] if said else [])]


def _folder(client: ServiceClient) -> list[Block]:
    """Return how the folder of spec files stands that the service follows, if it follows one."""
    view = msgspec.convert(client.get("/api/v1/specs"), SpecsView)
    if view.dir is None:
        return []
    if view.attention:
        return ["", *(f"! {words}" for words in view.attention)]
    count = len(view.files)
    return ["", f"follows {view.dir}: {count:,} file{'s' if count != 1 else ''}, all in force"]


def _of_all(views: list[dict[str, Any]]) -> list[str]:
    """Return what is said of the engine as a whole: once, not for every experiment."""
    said = [n["words"] for v in views for n in v.get("needs") or () if n["kind"] == "suspended"]
    return list(dict.fromkeys(said))


def _matters(view: dict[str, Any], head: str = "", told: Sequence[str] = ()) -> list[str]:
    """Return what an experiment waits for, and what a person should look at.

    Args:
        view: Of the experiment.
        head: What every line begins with.
        told: What was said already.
    """
    waits, frozen = view.get("waiting"), view.get("frozen")
    asked = [f"! {head}{words}" for words in view["attention"] if words not in told]
    repeated = any(waits and waits in words for words in asked)
    return [
        *([f"{head}{waits}"] if waits and not repeated else []),
        *([f"{head}the ramp stands still: {frozen}"] if frozen else []),
        *asked,
        *(f"{head}{words}" for words in _followed(view)),
        *([f"{head}advice: {view['advice']['words']}"] if view.get("advice") else []),
    ]


def _followed(view: dict[str, Any]) -> list[str]:
    """Return whether clients follow each rollback; that they do not is asked about elsewhere."""
    seen = msgspec.convert(view.get("rollbacks") or [], list[RollbackView])
    return [
        unverified_words(r)
        if r.effective is None
        else f"clients follow the rollback of {r.variant}: verified"
        for r in seen
        if r.effective is not False
    ]


def _variant(variant: dict[str, Any], state: str) -> str:
    shown = "" if variant["state"] == "control" else f" {_stands(variant, state)}"
    return f"{variant['name']}{shown}"


def _stands(variant: dict[str, Any], state: str) -> str:
    """Return whether an arm is live: only those of an experiment that runs are."""
    served = variant["state"] != "live" or state == State.RUNNING
    return _words(variant["state"]) if served else "not served"


def _closest(view: dict[str, Any]) -> str:
    """Return the guardrail that is nearest to a breach, where any is checked."""
    guardrails = view["guardrails"]
    if not guardrails or view["state"] not in CHECKED:
        return "none"
    if all(g["outcome"] is None for g in guardrails):
        return "not checked yet"
    near = max(guardrails, key=lambda g: g["evidence"] or 0.0)
    return f"{near['guardrail']} at {near['evidence'] or 0.0:.0%} of its boundary"


def _state(view: dict[str, Any]) -> str:
    """Return the state, with the mode where the engine acts on nothing."""
    shadow = " (shadow)" if view.get("mode") == "shadow" else ""
    return f"{_words(view['state'])}{shadow}"


def _words(name: str) -> str:
    return name.replace("_", " ")


def _counted(view: dict[str, Any], client: ServiceClient) -> list[Block]:
    """Return when exposures that came are counted; empty where some are, or none came."""
    if view["state"] not in CHECKED or any(v["exposed"] for v in view["variants"]):
        return []
    try:
        came = client.get("/api/v1/received").get("exposures", [])
    except CommandError:  # a key that may not ask, or an older service
        return []
    newest = next((e["last_at"] for e in came if e["experiment"] == view["key"]), None)
    last, every = view["last_check_at"], msgspec.convert(view["check_every"], timedelta)
    at = first_seen_by(_at(newest), _at(last), every)
    return [] if at is None else [f"exposures came: counted at the next check, {instant_words(at)}"]


def _at(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _one(
    view: dict[str, Any], *, brief: bool = False, counted: Sequence[Block] = ()
) -> list[Block]:
    traffic = f"{view['traffic']:.0%} of" if view["state"] == "running" else "no"
    stands = (
        f"{_state(view)}, {traffic} traffic, seed {view['seed']}, "
        f"revision {view['revision']}, {view['checks']:,} checks, "
        f"last {instant(view['last_check_at'])}"
    )
    blocks: list[Block] = [f"{view['key']}: {view['title']}", stands]
    blocks += [*(() if brief else _facts(view)), *_matters(view), "", _variants(view), *counted]
    if view.get("ramp") and view["state"] not in {"observing", "stopped", "finished"}:
        blocks += ["", _ramp(view["ramp"])]
    blocks += ["", _guardrails(view["guardrails"])]
    if not brief:
        blocks += _in_words(view["guardrails"])
    if view["transitions"]:
        blocks.append("")
    for t in view["transitions"][-_NEWEST:] if brief else view["transitions"]:
        who = t["variant"] or view["key"]
        number = f"t{t['id']}  " if "id" in t else ""
        blocks.append(f"{instant(t['at'])}  {number}{who}: {moved(t)}, {t['reason']}")
    return blocks


def moved(transition: dict[str, Any]) -> str:
    """Return a change of state in words: ``running -> paused``, ``traffic 5% -> 25%``."""
    before, after = (_words(transition[name]) for name in ("before", "after"))
    if after == f"{before} approved":
        return after
    if after == NOTE:
        return f"note by {transition['actor']}"
    if all(word.startswith("ends ") for word in (before, after)):
        was, now = (instant(end.removeprefix("ends ")) for end in (before, after))
        return f"ends {now}, not {was}"
    parts = [word.partition("traffic ") for word in (before, after)]
    if all(traffic and not head for head, traffic, _ in parts):
        was, now = (percent(float(share), digits=2) for _, _, share in parts)
        return f"traffic {was} -> {now}"
    return f"{before} -> {after}"


def _facts(view: dict[str, Any]) -> list[str]:
    """Return what it is for, times, layer and holdout, where there are any."""
    times = {
        "starts": view.get("starts_at") if view["state"] == "draft" else None,
        "started": view.get("started_at"),
        "ends": view.get("ends_at"),
        "observed until": view.get("observe_until"),
    }
    if view["state"] == "stopped":
        times = {"started": view.get("started_at")}  # what was planned after that is no more
    goal = (view.get("goal") or {}).get("words")
    meant = {"hypothesis": view.get("hypothesis"), "goal": goal, "owner": view.get("owner")}
    facts = [f"{name}: {text}" for name, text in meant.items() if text]
    facts += [", ".join(f"{name} {instant(at)}" for name, at in times.items() if at)]
    if layer := view.get("layer"):
        owned = "gave its share back" if layer["released"] else f"holds {layer['owned']:.2%} of it"
        facts.append(f"layer {layer['name']}: {owned}")
    if view.get("holdout"):
        facts.append(f"holdout: {view['holdout']:.1%} of all units take no part")
    return [fact for fact in facts if fact]


def _variants(view: dict[str, Any]) -> Rows:
    rows = table(
        *("variant", "state", "share", "exposed"), right=("share", "exposed"), tones=_TONES
    )
    for v in view["variants"]:
        add(rows, v["name"], _stands(v, view["state"]), f"{v['share']:.1%}", f"{v['exposed']:,}")
    return rows


def _ramp(steps: list[dict[str, Any]]) -> Rows:
    rows = table("step", "traffic", "state", "hold left", "units", "approval", right=("traffic",))
    for s in steps:
        units = s.get("units") or {}
        least = f", {s['min_units']:,} each needed" if s["min_units"] else ""
        told = ", ".join(f"{name} {count:,}" for name, count in units.items())
        approval = "given" if s["approved"] else "wanted" if s["approval"] else "not needed"
        add(
            rows,
            str(s["number"]),
            f"{s['traffic']:.0%}",
            s["state"],
            _length(s["hold_left"]),
            (told + least).removeprefix(", "),
            approval,
        )
    return rows


def _length(text: str | None) -> str:
    """Return an ISO 8601 duration as spec files write them, in whole minutes; empty for none."""
    if text is None:
        return ""
    minutes = math.ceil(msgspec.convert(text, timedelta) / timedelta(minutes=1))
    return format_duration(timedelta(minutes=minutes))


def _guardrails(guardrails: list[dict[str, Any]]) -> Rows:
    names = ("guardrail", "treatment", "outcome", "evidence", "decision")
    rows = table(*names, right=("evidence",), whole=("outcome",), drop=("decision",), tones=_TONES)
    for g in guardrails:
        evidence = f"{g['evidence'] or 0.0:.0%}"
        outcome = _words(g["outcome"] or "not yet") + (" (dry run)" if g.get("dry_run") else "")
        add(rows, g["limit"], g["treatment"], outcome, evidence, g.get("decision") or "")
    return rows


def _in_words(guardrails: list[dict[str, Any]]) -> list[Block]:
    """Return what each finding says, below the table: sentences fit no column."""
    several = len({g["treatment"] for g in guardrails}) > 1
    said = [
        f"{g['guardrail']}{' of ' + g['treatment'] if several else ''}: {g['words']}"
        for g in guardrails
        if g["words"]
    ]
    return ["", *said] if said else []
