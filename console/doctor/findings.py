"""What a doctor finds: one line each, and what to do about it."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum


class Status(StrEnum):
    """How bad it is."""

    OK = "ok"
    WARNING = "warning"
    ERROR = "error"


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing that was looked at.

    Attributes:
        status: How it is.
        area: What was looked at: ``settings``, ``metric store`` and so on.
        code: Stable word for machines, the same for the same fault.
        words: What is, with what was found; never a secret.
        hint: What to do; empty where nothing is to be done.
    """

    status: Status
    area: str
    code: str
    words: str
    hint: str = ""


def good(area: str, words: str) -> Finding:
    """Return that all is well with something."""
    return Finding(Status.OK, area, "ok", words)


def warning(area: str, code: str, words: str, hint: str) -> Finding:
    """Return what a person should know."""
    return Finding(Status.WARNING, area, code, words, hint)


def wrong(area: str, code: str, words: str, hint: str) -> Finding:
    """Return what keeps Turnback, or an experiment, from doing its work."""
    return Finding(Status.ERROR, area, code, words, hint)


def worst(findings: Sequence[Finding]) -> Status:
    """Return the worst status there is; ``ok`` for nothing."""
    found = {finding.status for finding in findings}
    return next((s for s in (Status.ERROR, Status.WARNING) if s in found), Status.OK)
