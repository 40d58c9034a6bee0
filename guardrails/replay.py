"""Comparing a decision with what follows from its evidence now. Pure: texts and values in.

Under the engine version that decided, every number must be equal bit for bit; under another one
whole numbers, outcomes and words must be equal, and others to within 1e-9.

Source: STATISTICS 3; DESIGN 9.
"""

import json
import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

import msgspec

from experiments.repository import TransitionRecord
from guardrails.decide import Decision
from guardrails.evidence import (
    cells_of,
    cells_text,
    decision_to_json,
    finding_sha256,
    kpis_sha256,
    sha256,
    state_of,
    state_text,
    text_of,
    transition_to_json,
)
from guardrails.loaded import Loaded
from guardrails.outcome import Finding, WindowState
from guardrails.repository import finding_to_json
from guardrails.words import duration, instant
from metrics.cells import Snapshot
from metrics.upkeep import Erasure, ErasureKind, differences
from metrics.wording import ngettext

CLOSE = 1e-9
"""How far numbers may be apart that two engine versions computed."""


class Verdict(StrEnum):
    """What a replay found."""

    EQUAL = "equal"  # the same integers, the same decision
    DIFFERENT = "different"  # something differs, and nothing that left explains it
    GONE = "gone"  # events that it needs have left the log on purpose


@dataclass(frozen=True, slots=True)
class Changed:
    """One thing that is not what was kept.

    Attributes:
        where: Which, for instance ``flow_failure_rate of treatment, over 1h: z``.
        kept: What was kept.
        found: What is found now.
    """

    where: str
    kept: str
    found: str


@dataclass(frozen=True, slots=True)
class Replayed:
    """A decision computed again.

    Attributes:
        id: As it was asked for.
        check: Id of the check that decided.
        experiment: Key.
        at: Instant of the check.
        watermark: Number of the last event it counted.
        revision: Of the experiment's file.
        verdict: ``equal``, ``different`` or ``gone``.
        engine: Version that decided.
        replayed_with: Version that computed it again.
        exact: Whether numbers were compared bit for bit: both are of one version.
        decision: What was decided, in words.
        recomputed: What follows now; ``None`` where it cannot be computed.
        cells: Groups of counts (a KPI over a window) compared.
        findings: Findings compared.
        looks: Looks computed again from the first; ``None`` where they were taken as kept.
        differences: Everything that is not as it was kept.
        gone: What left the log since, in words.
        notes: What else is worth knowing.
    """

    id: str
    check: str
    experiment: str
    at: datetime
    watermark: int
    revision: int
    verdict: Verdict
    engine: str
    replayed_with: str
    exact: bool
    decision: str
    recomputed: str | None
    cells: int
    findings: int
    looks: int | None
    differences: tuple[Changed, ...]
    gone: tuple[str, ...]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Case:
    """What is kept of one check, read back.

    Attributes:
        name: Its id, ``c12``.
        body: Its account as text.
        sealed: Hash the account had when it was kept.
        check: What the table of checks says of it.
        account: The account, parsed.
        parts: Texts it names, by hash.
        findings: Rows of findings: what is kept in full, with what the row says beside it.
        transitions: What it changed.
    """

    name: str
    body: str
    sealed: str
    check: Mapping[str, Any]
    account: Mapping[str, Any]
    parts: Mapping[str, str]
    findings: Sequence[Mapping[str, Any]]
    transitions: Sequence[TransitionRecord]


def short(sha: str) -> str:
    """Return the beginning of a hash."""
    return sha[:12]


def broken_seals(case: Case, loaded: Loaded) -> Iterator[Changed]:
    """Yield everything kept of a check that is not what was written, by its hashes."""
    if (now := sha256(case.body)) != case.sealed:
        yield Changed(f"hash of what {case.name} kept", short(case.sealed), short(now))
    for sha in sorted(named_parts(case.account)):
        text = case.parts.get(sha)
        if text is None:
            yield Changed(f"state or cells {short(sha)}", "kept", "missing")
        elif sha256(text) != sha:
            yield Changed(f"state or cells {short(sha)}", short(sha), short(sha256(text)))
    told = {**case.account["check"], "decision": case.account["decision"]["words"]}
    for name in ("at", "watermark", "missed", "result", "decision"):
        if told[name] != case.check[name]:
            yield Changed(f"{name} of {case.name}", str(told[name]), str(case.check[name]))
    yield from _broken_findings(case)
    yield from _broken_transitions(case)
    config = case.account["config"]
    if config["sha256"] != loaded.spec.sha256:
        yield Changed("the file", short(config["sha256"]), short(loaded.spec.sha256))
    if config["kpis"] != kpis_sha256(loaded):
        yield Changed("what its KPIs mean", short(config["kpis"]), short(kpis_sha256(loaded)))


def named_parts(account: Mapping[str, Any]) -> set[str]:
    """Return the hashes of all texts that an account names and that are kept."""
    states = [each["states"] for each in (*account["before"], *account["findings"])]
    named = {sha for each in states for sha in each.values()}
    seen = account["snapshot"]
    return named | ({sha for *_, sha in seen["cells"]} if seen and seen["whole"] else set())


def _broken_findings(case: Case) -> Iterator[Changed]:
    rows = {(row["guardrail"], row["treatment"]): row for row in case.findings}
    for found in case.account["findings"]:
        if not found["kept"]:
            continue
        pair = found["guardrail"], found["treatment"]
        where, row = "finding of " + " of ".join(pair), rows.pop(pair, None)
        if row is None:
            yield Changed(where, "kept", "missing")
            continue
        now = sha256(text_of(row["body"]))
        if now != found["sha256"]:
            yield Changed(where, short(found["sha256"]), short(now))
        for name in ("outcome", "attempt"):
            if row[name] != found[name]:
                yield Changed(f"{where}: {name}", str(found[name]), str(row[name]))
    for pair in rows:
        yield Changed("finding of " + " of ".join(pair), "none", "one more")


def _broken_transitions(case: Case) -> Iterator[Changed]:
    now = {t.id: transition_to_json(t) for t in case.transitions}
    for then in case.account["transitions"]:
        row = now.pop(then["id"], None)
        if row is None:
            yield Changed(f"transition t{then['id']}", "kept", "missing")
            continue
        for name, value in then.items():
            if row[name] != value:
                yield Changed(f"transition t{then['id']}: {name}", str(value), str(row[name]))
    for number in now:
        yield Changed(f"transition t{number}", "none", "one more")


def changed_cells(
    account: Mapping[str, Any], kept: Snapshot, counted: Snapshot, *, reach: bool
) -> Iterator[Changed]:
    """Yield every count that is not what the check saw.

    Args:
        account: Of the check.
        kept: Its snapshot as it was kept, with cells where they were kept whole.
        counted: The same question, counted again.
        reach: Whether what is no cell can be compared: units and events by variant.
    """
    wanted: dict[tuple[str, timedelta], str] = {}
    for kpi, seconds, sha in account["snapshot"]["cells"]:
        window = timedelta(seconds=seconds)
        text = cells_text(counted.cells.get((kpi, window), ()))
        if sha256(text) == sha:
            continue
        if account["snapshot"]["whole"]:
            wanted[kpi, window] = text
        else:
            where = f"counts of {kpi} over {duration(window)}, as a hash"
            yield Changed(where, short(sha), short(sha256(text)))
    old = replace(kept, cells={key: kept.cells[key] for key in wanted})
    new = replace(counted, cells={key: cells_of(text) for key, text in wanted.items()})
    if not reach:
        new = replace(new, reach=kept.reach, conflicted=kept.conflicted)
    yield from (Changed(d.where, d.totals, d.recount) for d in differences(old, new))


def changed_conclusion(
    case: Case, findings: Sequence[Finding], decision: Decision, *, exact: bool
) -> Iterator[Changed]:
    """Yield everything a check found or decided that does not follow now."""
    now = {(f.guardrail, f.treatment): f for f in findings}
    rows = {(row["guardrail"], row["treatment"]): row["body"] for row in case.findings}
    for then in case.account["findings"]:
        pair = then["guardrail"], then["treatment"]
        finding = now.pop(pair, None)
        where = " of ".join(pair)
        if finding is None:
            yield Changed(where, then["outcome"], "not judged")
            continue
        yield from _changed_finding(where, then, rows.get(pair), finding, exact=exact)
        yield from _changed_states(where, then["states"], finding.states, case.parts, exact=exact)
    for pair, finding in now.items():
        yield Changed(" of ".join(pair), "not judged", finding.outcome.value)
    told = decision_to_json(decision)
    for name, value in case.account["decision"].items():
        if not _alike(value, told[name], exact=exact):
            yield Changed(f"decision: {name}", text_of(value), text_of(told[name]))


def _changed_finding(
    where: str,
    then: Mapping[str, Any],
    body: Mapping[str, Any] | None,
    finding: Finding,
    *,
    exact: bool,
) -> Iterator[Changed]:
    if finding_sha256(finding) == then["sha256"]:
        return
    if body is not None:
        kept, now = dict(body), finding_to_json(finding)
        yield from _unequal(_by_window(where, kept), _by_window(where, now), exact=exact)
        return
    for name in ("outcome", "code"):
        if then[name] != getattr(finding, name).value:
            yield Changed(f"{where}: {name}", then[name], getattr(finding, name).value)
    if exact:
        yield Changed(f"{where}: hash of its numbers", then["sha256"], finding_sha256(finding))


def _by_window(where: str, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return a finding as single values by what they are called."""
    plain = {n: v for n, v in body.items() if n not in {"windows", "states", "detail"}}
    flat = {f"{where}: {name}": v for name, v in (plain | dict(body.get("detail", {}))).items()}
    for window in body.get("windows", ()):
        over = f"{where} over {duration(msgspec.convert(window['window'], timedelta))}"
        flat |= {f"{over}: {name}": value for name, value in window.items()}
    return flat


def _unequal(kept: Mapping[str, Any], now: Mapping[str, Any], *, exact: bool) -> Iterator[Changed]:
    for where in {**kept, **now}:
        old, new = kept.get(where), now.get(where)
        if not _same(old, new, exact=exact):
            yield Changed(where, _shown(old), _shown(new))


def _same(old: Any, new: Any, *, exact: bool) -> bool:
    if text_of(old) == text_of(new):
        return True
    if exact or not (isinstance(old, float) and isinstance(new, float)):
        return False
    return math.isclose(old, new, rel_tol=CLOSE, abs_tol=CLOSE)


def _alike(old: Any, new: Any, *, exact: bool) -> bool:
    """Return whether two decisions are the same, numbers inside of them compared as ``_same``."""
    if isinstance(old, dict) and isinstance(new, dict):
        return old.keys() == new.keys() and all(_alike(old[n], new[n], exact=exact) for n in old)
    if isinstance(old, list) and isinstance(new, list):
        return len(old) == len(new) and all(
            _alike(one, other, exact=exact) for one, other in zip(old, new, strict=True)
        )
    return _same(old, new, exact=exact)


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, float) else text_of(value).strip('"')


def _changed_states(
    where: str,
    then: Mapping[str, str],
    now: Mapping[str, WindowState],
    parts: Mapping[str, str],
    *,
    exact: bool,
) -> Iterator[Changed]:
    """Yield the windows whose schedule of looks goes on otherwise."""
    for window in {**then, **now}:
        over = f"{where}{over_window(window)}: schedule of looks"
        if window not in then or window not in now:
            yield Changed(over, "kept" if window in then else "none", "none")
            continue
        text = state_text(now[window])
        if sha256(text) == then[window]:
            continue
        kept = parts.get(then[window])
        if exact or kept is None or not close_states(state_of(kept), now[window]):
            yield Changed(over, short(then[window]), short(sha256(text)))


def over_window(window: str) -> str:
    """Return the name of a state in words: of a window its length, of a watch of the data none."""
    return f" over {duration(timedelta(seconds=int(window)))}" if window.isdecimal() else ""


def close_states(one: WindowState, other: WindowState) -> bool:
    """Return whether two schedules are the same to within what engine versions may differ."""
    if (one.looks, one.crossed, len(one.grid)) != (other.looks, other.crossed, len(other.grid)):
        return False
    pairs = [
        (one.information, other.information),
        (one.spent, other.spent),
        (one.boundary, other.boundary),
        *zip(one.grid, other.grid, strict=True),
        *zip(one.mass, other.mass, strict=True),
    ]
    return all(a == b or math.isclose(a, b, rel_tol=CLOSE, abs_tol=CLOSE) for a, b in pairs)


def same_schedule(one: WindowState, other: WindowState, *, exact: bool) -> bool:
    """Return whether two states of the looks so far are the same; ``crossed`` is no part."""
    one, other = replace(one, crossed=False), replace(other, crossed=False)
    return state_text(one) == state_text(other) if exact else close_states(one, other)


def gone_since(erasures: Iterable[Erasure], *, at: datetime, watermark: int) -> tuple[str, ...]:
    """Return in words what left the log after a check that it had counted, oldest first."""
    told: list[str] = []
    for each in erasures:
        if not each.events or each.first_seq > watermark or each.at < at:
            continue
        numbers = {"first": f"{each.first_seq:,}", "last": f"{each.last_seq:,}"}
        if each.kind is ErasureKind.FORGOTTEN:
            told.append(
                ngettext(
                    "{n} event of a unit that was forgotten on {at} (numbers {first} to {last})",
                    "{n} events of a unit that was forgotten on {at} (numbers {first} to {last})",
                    each.events,
                    at=instant(each.at),
                    **numbers,
                )
            )
        elif each.before is not None:
            told.append(
                ngettext(
                    "{n} event from before {before}, by the retention of {at} (numbers {first} to "
                    "{last})",
                    "{n} events from before {before}, by the retention of {at} (numbers {first} to "
                    "{last})",
                    each.events,
                    before=instant(each.before),
                    at=instant(each.at),
                    **numbers,
                )
            )
    return tuple(told)


def parsed(body: str) -> Mapping[str, Any] | None:
    """Return an account; ``None`` where its text is no account any more."""
    try:
        account = json.loads(body)
    except ValueError:
        return None
    return account if isinstance(account, dict) and "check" in account else None
