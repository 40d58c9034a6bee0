"""What a check decided from and what it found, as text that is kept, and back. Pure.

The text of one check (its *account*) names states and cells by the hash of their own text, so what
many checks share is kept once. Hashes are SHA-256 over exactly the bytes that are kept: a changed
byte is noticed.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

import msgspec

from experiments.repository import ExperimentRecord, TransitionRecord, TreatmentRecord
from guardrails.advice_reading import advised_windows
from guardrails.conclude import Inputs
from guardrails.decide import Decision
from guardrails.judge_alert import ToldAlert
from guardrails.judge_query import Series
from guardrails.loaded import Loaded
from guardrails.outcome import Code, Finding, Outcome, WindowState
from guardrails.repository import Monitor, finding_to_json, state_from_json, state_to_json
from guardrails.sight import Sight
from metrics.catalogue_words import as_written
from metrics.cells import Cell, Reach, Snapshot, Sums

FORMAT = 1
"""Version of the account's own form."""

PROCEDURE = 2
"""Version of the decision procedure (STATISTICS 0a): raised when its numbers change on purpose.

1 gave half of a level to the whole run, half to the restarts; 2 two thirds and one third.
"""

_SUMS = tuple(Sums.__dataclass_fields__)
_OMITTED = frozenset({"watermark"})  # of a state: it says when, not what


@dataclass(frozen=True, slots=True)
class Account:
    """The text of one check, and the parts it names by their hash.

    Attributes:
        body: JSON.
        parts: Texts of states and cells by hash.
    """

    body: str
    parts: Mapping[str, str]


def text_of(value: Any) -> str:
    """Return a value as the one JSON text that stands for it; whole numbers of any size."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)


def sha256(text: str) -> str:
    """Return the hash of a text, in hex."""
    return hashlib.sha256(text.encode()).hexdigest()


def state_text(state: WindowState) -> str:
    """Return a state as text: two that judge alike have one text."""
    body = state_to_json(state)
    return text_of({name: value for name, value in body.items() if name not in _OMITTED})


def state_of(text: str) -> WindowState:
    """Return the state that ``state_text`` wrote."""
    return state_from_json({"watermark": -1, **json.loads(text)})


def cells_text(cells: Sequence[Cell]) -> str:
    """Return cells as text, exact integers in order of (variant, phase, cohort)."""
    rows = [
        [c.variant, c.phase, c.cohort, c.entered, *(getattr(c.sums, name) for name in _SUMS)]
        for c in cells
    ]
    return text_of(sorted(rows))


def cells_of(text: str) -> tuple[Cell, ...]:
    """Return the cells that ``cells_text`` wrote."""
    return tuple(
        Cell(variant, phase, cohort, entered, Sums(*sums))
        for variant, phase, cohort, entered, *sums in json.loads(text)
    )


def judged_windows(loaded: Loaded) -> tuple[tuple[str, timedelta], ...]:
    """Return the (KPI, window) pairs that guardrails compare, or advice at the end."""
    pairs = {(c.kpi, w.length): None for c in loaded.comparisons for w in c.windows}
    return tuple(pairs | dict.fromkeys(advised_windows(loaded)))


def finding_sha256(finding: Finding) -> str:
    """Return the hash of a finding as it is kept."""
    return sha256(text_of(finding_to_json(finding)))


def kpis_sha256(loaded: Loaded) -> str:
    """Return the hash of what the KPIs that guardrails compare mean."""
    keys = sorted({c.kpi for c in loaded.comparisons})
    return sha256(text_of({key: _plain(as_written(loaded.kpis[key])) for key in keys}))


def measured_sha256(loaded: Loaded) -> str:
    """Return the hash of all that the store is asked, also for display."""
    asked = [
        [kpi.key, _plain(as_written(kpi)), [w.total_seconds() for w in windows]]
        for kpi, windows in loaded.measured
    ]
    return sha256(text_of(asked))


def _plain(value: Any) -> Any:
    return msgspec.to_builtins(value)


def account_of(
    sight: Sight,
    *,
    engine: str,
    missed: int,
    result: str,
    watermark: int,
    kept: Sequence[Finding],
    transitions: Sequence[TransitionRecord],
) -> Account:
    """Return the account of a check.

    Args:
        sight: What it read and decided.
        engine: Version of Turnback.
        missed: Checks before it that nobody ran.
        result: ``ok`` or ``error``.
        watermark: Up to which event it counted.
        kept: Findings whose full numbers are kept beside the account.
        transitions: What it changed.
    """
    inputs, parts = sight.inputs, dict[str, str]()
    whole = bool(transitions) or bool(sight.decision.tell)
    body = {
        "format": FORMAT,
        "engine": engine,
        "procedure": PROCEDURE,
        "check": {
            "at": inputs.at.isoformat(),
            "now": inputs.now.isoformat(),
            "watermark": watermark,
            "missed": missed,
            "result": result,
        },
        "record": _plain(inputs.record),
        "treatments": _plain(dict(inputs.treatments)),
        "phases": [at.isoformat() for at in inputs.phases],
        "suspended": inputs.suspended,
        "data_quality": inputs.data_quality,
        "running_since": _plain(inputs.running_since),
        "config": _config(sight),
        "before": [_before(m, parts) for m in inputs.monitors.values()],
        "snapshot": _snapshot(sight.loaded, inputs.snapshot, parts, whole=whole),
        "failure": inputs.failure,
        "answers": [[g, v, _answer(answer)] for (g, v), answer in inputs.answers.items()],
        "alerts": [_plain(alert) for alert in inputs.alerts],
        "findings": [_found(f, sight, parts, kept=f in kept) for f in sight.findings],
        "decision": decision_to_json(sight.decision),
        "transitions": [transition_to_json(t) for t in transitions],
    }
    return Account(text_of(body), parts)


def _config(sight: Sight) -> dict[str, Any]:
    loaded = sight.loaded
    return {
        "revision": sight.record.revision,
        "sha256": loaded.spec.sha256,
        "kpis": kpis_sha256(loaded),
        "measured": measured_sha256(loaded),
        "queries": dict(loaded.texts),
    }


def _named(states: Mapping[str, WindowState], parts: dict[str, str]) -> dict[str, str]:
    names: dict[str, str] = {}
    for window, state in states.items():
        text = state_text(state)
        names[window] = sha256(text)
        parts[names[window]] = text
    return names


def _before(monitor: Monitor, parts: dict[str, str]) -> dict[str, Any]:
    return {
        "guardrail": monitor.guardrail,
        "treatment": monitor.treatment,
        "attempt": monitor.attempt,
        "outcome": monitor.outcome,
        "told": monitor.told,
        "blind": None
        if monitor.blind_since is None
        else [monitor.blind_since.isoformat(), monitor.blind_checks],
        "states": _named(monitor.states, parts),
    }


def _found(finding: Finding, sight: Sight, parts: dict[str, str], *, kept: bool) -> dict[str, Any]:
    return {
        "guardrail": finding.guardrail,
        "treatment": finding.treatment,
        "attempt": sight.treatments[finding.treatment].attempt,
        "outcome": finding.outcome.value,
        "code": finding.code.value,
        "kept": kept,
        "sha256": finding_sha256(finding),
        "states": _named(finding.states, parts),
    }


def _snapshot(
    loaded: Loaded, snapshot: Snapshot | None, parts: dict[str, str], *, whole: bool
) -> dict[str, Any] | None:
    if snapshot is None:
        return None
    cells: list[list[Any]] = []
    for kpi, window in judged_windows(loaded):
        text = cells_text(snapshot.cells.get((kpi, window), ()))
        cells.append([kpi, int(window.total_seconds()), sha256(text)])
        if whole:
            parts[sha256(text)] = text
    return {
        "conflicted": snapshot.conflicted,
        "reach": _plain(dict(snapshot.reach)),
        "cells": cells,
        "whole": whole,
    }


def _answer(answer: Series | str) -> Any:
    if isinstance(answer, str):
        return answer
    return [[[at.isoformat(), repr(value)] for at, value in series] for series in answer]


def decision_to_json(decision: Decision) -> dict[str, Any]:
    """Return a decision as JSON; findings are named by guardrail and treatment."""
    return {
        "rollbacks": [[f.guardrail, f.treatment] for f in decision.rollbacks],
        "tell": [[f.guardrail, f.treatment] for f in decision.tell],
        "stop": None
        if decision.stop is None
        else [decision.stop.guardrail, decision.stop.treatment],
        "advance": decision.advance,
        "become": decision.become,
        "ask": decision.ask,
        "anew": decision.anew,
        "advice": decision.advice,
        "ship": decision.ship,
        "words": decision.words,
    }


def transition_to_json(record: TransitionRecord) -> dict[str, Any]:
    """Return what is sealed of a change of state."""
    return {
        "id": record.id,
        "variant": record.variant,
        "before": record.before,
        "after": record.after,
        "at": record.at.isoformat(),
        "actor": record.actor,
        "reason": record.reason,
        "evidence": None if record.evidence is None else sha256(text_of(record.evidence)),
    }


def inputs_of(account: Mapping[str, Any], parts: Mapping[str, str]) -> Inputs:
    """Return what a check decided from; its cells are those kept whole, none where none are.

    Args:
        account: The account, parsed.
        parts: Texts of the states (and cells) it names, by hash.

    Raises:
        KeyError: A part is missing, or the account is none.
        msgspec.ValidationError: The account is none.
    """
    at = datetime.fromisoformat(account["check"]["at"])
    return Inputs(
        record=msgspec.convert(account["record"], ExperimentRecord),
        treatments=msgspec.convert(account["treatments"], dict[str, TreatmentRecord]),
        phases=tuple(map(datetime.fromisoformat, account["phases"])),
        monitors={
            (b["guardrail"], b["treatment"], b["attempt"]): _monitor(b, parts, at)
            for b in account["before"]
        },
        snapshot=_kept_snapshot(account, parts, at),
        failure=account["failure"],
        answers={(g, v): _answered(answer) for g, v, answer in account["answers"]},
        suspended=account["suspended"],
        at=at,
        now=datetime.fromisoformat(account["check"]["now"]),
        data_quality=account.get("data_quality", False),
        running_since=msgspec.convert(account.get("running_since"), datetime | None),
        alerts=msgspec.convert(account.get("alerts", ()), tuple[ToldAlert, ...]),
    )


def _answered(answer: Any) -> Series | str:
    if isinstance(answer, str):
        return answer
    return [[(datetime.fromisoformat(at), float(v)) for at, v in series] for series in answer]


def _monitor(before: Mapping[str, Any], parts: Mapping[str, str], at: datetime) -> Monitor:
    """Return a monitor as far as a check reads it."""
    nothing = Finding(
        before["guardrail"], None, before["treatment"], Outcome(before["outcome"]), Code.TOO_FEW
    )
    since, checks = before.get("blind") or (None, 0)
    return Monitor(
        treatment=before["treatment"],
        attempt=before["attempt"],
        guardrail=before["guardrail"],
        checked_at=at,
        stored_at=None,
        outcome=before["outcome"],
        blind_since=None if since is None else datetime.fromisoformat(since),
        blind_checks=checks,
        told=before["told"],
        states={window: state_of(parts[sha]) for window, sha in before["states"].items()},
        finding=nothing,
    )


def _kept_snapshot(
    account: Mapping[str, Any], parts: Mapping[str, str], at: datetime
) -> Snapshot | None:
    seen = account["snapshot"]
    if seen is None:
        return None
    cells = {
        (kpi, timedelta(seconds=window)): cells_of(parts[sha])
        for kpi, window, sha in seen["cells"]
        if seen["whole"]
    }
    reach = msgspec.convert(seen["reach"], dict[str, Reach])
    watermark = account["check"]["watermark"]
    return Snapshot(at, watermark, cells, reach, seen["conflicted"])
