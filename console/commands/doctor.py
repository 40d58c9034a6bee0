"""``doctor``: what is wrong with an installation, and what to do."""

import os
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

from console.client import ServiceClient
from console.doctor import Asked, Finding, Status, examine, worst
from console.output import Tone, print_json, say
from console.tables import folded

_TONES = {Status.OK: Tone.GOOD, Status.WARNING: Tone.WARN, Status.ERROR: Tone.BAD}


def run(client: ServiceClient, data: Path | None, *, quiet: bool, as_json: bool) -> bool:
    """Examine, print what was found, and return whether nothing is broken."""
    now = datetime.now(UTC)
    findings = examine(Asked(client, data, dict(os.environ), now))
    healthy = worst(findings) is not Status.ERROR
    counts = Counter(finding.status.value for finding in findings)
    if as_json:
        print_json(
            {
                "ok": healthy,
                "at": now,
                "errors": counts["error"],
                "warnings": counts["warning"],
                "findings": findings,
            }
        )
        return healthy
    for finding in findings:
        if not (quiet and finding.status is Status.OK):
            _show(finding)
    say(_summary(counts), tone=_TONES[worst(findings)])
    return healthy


def _show(finding: Finding) -> None:
    head = f"{finding.status.value:<8} {finding.area}: "
    text = folded(f"{head}{finding.words}", indent=" " * 9)
    say(text, tone=None if finding.status is Status.OK else _TONES[finding.status])
    if finding.hint:
        say(folded(f"         {finding.hint}", indent=" " * 9))


def _summary(counts: Counter[str]) -> str:
    told = [
        f"{counts[name]} {name}{'s' if counts[name] != 1 else ''}"
        for name in ("error", "warning")
        if counts[name]
    ]
    return " and ".join(told) if told else "all is well"
