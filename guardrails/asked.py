"""What somebody asked for: who, when and why; and how it is noted and told."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from sqlmodel import Session

from experiments.errors import InvalidRequestError
from experiments.repository import ExperimentRecord, TransitionRecord, insert_transition
from guardrails.loaded import Loaded
from guardrails.rollback import message
from metrics.wording import gettext as _

LONGEST_TEXT = 2_000
"""Characters of a reason or a name."""


def _encodable(text: str) -> bool:
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


@dataclass(frozen=True, slots=True)
class Asked:
    """Who asked for something, when and why; the reason is kept.

    Raises:
        InvalidRequestError: Without a reason.
    """

    actor: str
    reason: str
    at: datetime

    def __post_init__(self) -> None:
        for name, text in (("reason", self.reason), ("actor", self.actor)):
            if len(text) > LONGEST_TEXT or not _encodable(text):
                raise InvalidRequestError(
                    _(
                        "the {name} is not text of at most {number} characters",
                        name=name,
                        number=f"{LONGEST_TEXT:,}",
                    ),
                    hint=_("shorten it, and send valid Unicode"),
                    path=name,
                )
        if not self.reason.strip():
            raise InvalidRequestError(
                _("a reason is needed"),
                hint=_("say in a few words why; it is kept"),
                path="reason",
            )


def noted(
    session: Session,
    record: ExperimentRecord,
    asked: Asked,
    *,
    before: str,
    after: str,
    variant: str | None = None,
) -> TransitionRecord:
    """Write a change that was asked for on the timeline, inside the caller's transaction."""
    return insert_transition(
        session,
        experiment=record.key,
        variant=variant,
        before=before,
        after=after,
        at=asked.at,
        actor=asked.actor,
        reason=asked.reason,
    )


def told(
    session: Session,
    record: ExperimentRecord,
    loaded: Loaded,
    asked: Asked,
    *,
    key: str,
    kind: str,
    title: str,
    text: str = "",
    variant: str | None = None,
    facts: Mapping[str, str] | None = None,
) -> None:
    """Tell a change that was asked for through the channels of its file.

    Args:
        session: The caller's transaction, in which the message waits.
        record: The experiment.
        loaded: Its file, which names the channels.
        asked: Who asked, and why.
        key: What the message is known by; the same is told once.
        kind: One word, for programs.
        title: The news.
        text: More of it; the reason and who asked, without.
        variant: The treatment that it is about, if it is about one.
        facts: What follows, by name.
    """
    message(
        session,
        key=key,
        kind=kind,
        experiment=record.key,
        variant=variant,
        at=asked.at,
        title=title,
        text=text or f"{asked.reason} ({asked.actor})",
        evidence=None,
        channels=loaded.channels,
        facts=facts,
    )
