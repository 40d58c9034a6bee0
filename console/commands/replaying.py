"""``replay``: a decision computed again, by a running service or from its files."""

from pathlib import Path
from typing import Any

import msgspec

from console.client import ServiceClient
from console.offline import opened
from console.output import CommandError, instant, print_json, say
from console.progress import working
from console.tables import folded
from guardrails.api import to_json
from guardrails.evidence_rows import reference

PATIENCE = 3600.0
"""Seconds a replay may take: it reads the whole log once."""

_SHOWN = 20


def replay(decision: str, *, from_start: bool, client: ServiceClient, as_json: bool) -> bool:
    """Have the service compute a decision again; returns whether it is equal."""
    path = f"/api/v1/decisions/{reference(decision)}/replay"
    path += "?from_start=true" if from_start else ""
    with working("counting again from the log", as_json=as_json):
        replayed = client.get(path, timeout=PATIENCE)
    return _show(replayed, as_json=as_json)


def replay_files(decision: str, data: Path, *, from_start: bool, as_json: bool) -> bool:
    """Compute a decision again from the files of a folder; returns whether it is equal."""
    with opened(data) as files:
        if files.engine is None:
            raise CommandError(
                f"{data}: no control plane is here",
                hint="both files of a service are needed: decisions are in control.db",
                code="no_control_plane",
            )
        with working("counting again from the log", as_json=as_json):
            replayed = files.engine.replay(decision, from_start=from_start)
    return _show(msgspec.json.decode(bytes(to_json(replayed).body)), as_json=as_json)


def _show(replayed: dict[str, Any], *, as_json: bool) -> bool:
    good = replayed["verdict"] == "equal"
    if as_json:
        print_json(replayed)
        return good
    r = replayed
    check = "" if r["id"] == r["check"] else f", decided by the check {r['check']}"
    say(f"{r['id']} of {r['experiment']}: {_VERDICTS[r['verdict']]}")
    say(folded(f"{instant(r['at'])}, revision {r['revision']}{check}: {r['decision']}"))
    if r["recomputed"] is not None and r["recomputed"] != r["decision"]:
        say(folded(f"computed again: {r['recomputed']}"))
    say(folded(_compared(r)))
    for words in r["gone"]:
        say(folded(f"gone: {words}"))
    for one in r["differences"][:_SHOWN]:
        say(folded(f"differs: {one['where']}: {one['kept']} kept, {one['found']} now"))
    if len(r["differences"]) > _SHOWN:
        say(f"  and {len(r['differences']) - _SHOWN:,} more; --json lists them all")
    for words in r["notes"]:
        say(folded(f"note: {words}"))
    return good


_VERDICTS = {
    "equal": "equal",
    "different": "DIFFERENT",
    "gone": "not all of it can be computed again: events it counted have left",
}


def _compared(r: dict[str, Any]) -> str:
    how = "bit for bit" if r["exact"] else "numbers to within 1e-9"
    versions = f"version {r['engine']}"
    if not r["exact"]:
        versions += f", computed again by version {r['replayed_with']}"
    looks = "" if r["looks"] is None else f", {r['looks']:,} looks from the first"
    return (
        f"compared {how}: {r['cells']:,} groups of counts up to event {r['watermark']:,}, "
        f"{r['findings']:,} findings{looks}; decided by {versions}"
    )
