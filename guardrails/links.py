"""Addresses of pages, for messages: whoever reads one at night opens the page with one click."""

from collections.abc import Mapping
from dataclasses import replace
from types import MappingProxyType
from typing import Final
from urllib.parse import quote, urlsplit

from guardrails.channels import Message

RUNBOOKS: Final = "/runbooks"
"""Where the service shows the operations guide; a section follows as a fragment."""

SECTIONS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "rolled_back": "turnbackvariantrolledback",
        "rollback_ineffective": "turnbackrollbacknotfollowed",
        "blind": "turnbackguardrailblind",
        "blind_page": "turnbackguardrailblind",
        "no_data": "turnbackguardrailblind",
        "sight_back": "turnbackguardrailblind",
        "uneven_split": "turnbacksampleratio",
        "breach_told": "a-breach-that-nothing-was-done-about",
        "suspended": "turnbacksuspendedlong",
        "awake": "turnbacksuspendedlong",
    }
)
"""Section of the guide by the kind of a message; the others ask or report."""

_STOPPED: Final = "an-experiment-was-stopped"
_REPORTS: Final = "messages-that-ask-or-report"


def pages_at(text: str) -> str:
    """Return an address at which people reach the pages, without a slash at its end.

    Raises:
        ValueError: It is none.
    """
    text = text.strip().rstrip("/")
    if not text:
        return ""
    try:
        parts = urlsplit(text)
        good = parts.scheme in {"http", "https"} and bool(parts.hostname)
        good = good and not (parts.query or parts.fragment or parts.username or parts.password)
    except ValueError:
        good = False
    if not good or not text.isprintable() or " " in text:
        raise ValueError("must be an address such as https://turnback.example.com")
    return text


def experiment_path(key: str) -> str:
    """Return the path of an experiment's page."""
    return f"/experiments/{quote(key, safe='')}"


def rollback_link(base: str, key: str, transition: int) -> str:
    """Return where a rollback's page is, empty where nobody said where pages are reached.

    Args:
        base: Public address of the service, may be empty.
        key: The experiment.
        transition: Id of the rollback.
    """
    return f"{base}{experiment_path(key)}/rollbacks/t{transition}" if base else ""


def runbook_link(base: str, kind: str, *, by_breach: bool = False) -> str:
    """Return where the guide says what to do about a message.

    Args:
        base: Public address of the service.
        kind: Of the message.
        by_breach: Whether a breach made it: a stop by a person asks nothing of anybody.
    """
    other = _STOPPED if kind == "stopped" and by_breach else _REPORTS
    return f"{base}{RUNBOOKS}#{SECTIONS.get(kind, other)}"


def leading(message: Message, base: str) -> Message:
    """Return a message that leads to a page and to its runbook.

    A message that names a page of its own keeps it. Another leads to its experiment, or to the
    overview where it concerns the whole service.

    Args:
        message: As it was kept.
        base: Public address of the service; empty changes nothing.
    """
    if not base:
        return message
    place = experiment_path(message.experiment) if message.experiment else "/"
    runbook = runbook_link(base, message.kind, by_breach=message.evidence is not None)
    return replace(
        message,
        link=message.link or base + place,
        facts={**message.facts, "runbook": runbook},
    )
