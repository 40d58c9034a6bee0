"""What was recorded, as a page shows it: in its language where that can be said, else quoted.

Words of people stand as they were written, in whatever language that was. Pure.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from markupsafe import Markup

from console.coded import coded
from guardrails.consequences import ENGINE
from metrics.wording import language, marked, recorded

CODES: Final = (
    marked("draft"),
    marked("running"),
    marked("paused"),
    marked("observing"),
    marked("finished"),
    marked("stopped"),
    marked("breach"),
    marked("no_data"),
    marked("error"),
    marked("start"),
    marked("approve"),
    marked("pause"),
    marked("continue"),
    marked("resume"),
    marked("roll back"),
    marked("extend"),
    marked("stop"),
)
"""States, outcomes and actions by the names that recorded texts have for them."""

_OF_A_FILE: Final = re.compile(r"revision [0-9]+ applied( from .*)?", re.DOTALL)
_REVISION: Final = re.compile(r"revision [0-9]+")
_HAN: Final = re.compile(r"[\u3400-\u9fff]")
_WORDS: Final = re.compile(r"[A-Za-z]{2,}[^A-Za-z]+[A-Za-z]{2,}")


def said(text: str) -> str:
    """Return what the engine recorded, in the language of the context where that can be said.

    Args:
        text: As it was recorded, or said in the language already.
    """
    if not text or _said_already(text):
        return text
    return recorded(text) or text


def reason(text: str, actor: str, after: str = "") -> str:
    """Return why something changed.

    Args:
        text: As it was recorded.
        actor: Who did it: reasons of people stand as they wrote them.
        after: What it became: nobody writes why a revision was applied, the engine does.
    """
    return said(text) if of_engine(text, actor, after) else text


def advised(advice: Mapping[str, Any] | None) -> Mapping[str, Any] | None:
    """Return advice as it was recorded, its words said.

    Args:
        advice: ``words``, ``reasons`` and, of each treatment, the same of its own.
    """
    if advice is None:
        return None
    told: Sequence[Mapping[str, Any]] = advice.get("treatments") or ()
    reasons = [str(reason) for reason in advice.get("reasons") or ()]
    if told and language() != "en":
        each = ([t["words"], *t.get("reasons", ())] for t in told)
        reasons = [" ".join(said(str(text)) for text in texts) for texts in each]
    return {**advice, "words": said(str(advice["words"])), "reasons": reasons}


def quoted(text: str, *, ours: bool = True) -> Markup:
    """Return a text of the engine for a page: its commands are code, English elsewhere is marked.

    Args:
        text: What `said` or `reason` returned.
        ours: Whether it is the engine's: words of people are not marked.
    """
    if not ours or _said_already(text) or _WORDS.search(text) is None:
        return coded(text)
    return Markup('<span lang="en">{}</span>').format(coded(text))


def of_engine(text: str, actor: str, after: str = "") -> bool:
    """Return whether the engine wrote why something changed; `reason` says the rest."""
    if actor == ENGINE or _REVISION.fullmatch(after) is not None:
        return True
    return _OF_A_FILE.fullmatch(text) is not None


def _said_already(text: str) -> bool:
    return language() == "en" or _HAN.search(text) is not None
