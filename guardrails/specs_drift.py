"""What runs beside a followed folder: a text that somebody applied over a file of it. Pure.

The folder does not fight the person: what was applied by hand runs until the file changes, or
somebody applies one of the two. That holds over a new start of the service too. It is told for as
long as it lasts.
"""

import shlex
from collections.abc import Sequence

from guardrails.views import RevisionView
from guardrails.words import instant
from metrics.wording import gettext as _


def applied_over(
    sha256: str, revisions: Sequence[RevisionView], *, actor: str
) -> RevisionView | None:
    """Return the newest revision where other people applied it over a text, else ``None``.

    Args:
        sha256: Of the text of the folder's file.
        revisions: Of its experiment, oldest first.
        actor: Who the folder applies as: what it applied since is its own change of mind.
    """
    of_text = [index for index, one in enumerate(revisions) if one.sha256 == sha256]
    since = revisions[of_text[-1] + 1 :] if of_text else ()
    return since[-1] if since and all(one.actor != actor for one in since) else None


def drift_words(key: str, file: str, runs: RevisionView) -> str:
    """Return what is told of a file while another text runs, and what to do."""
    name = shlex.quote(file)
    return _(
        "{experiment} does not run this file: {actor} applied revision {revision} over it from "
        "{source} at {at}, and that stays until this file changes. To keep what runs, write it "
        "into the file: {keep}; to take the file: {take}",
        experiment=key,
        actor=runs.actor,
        revision=runs.number,
        source=runs.source,
        at=instant(runs.at),
        keep=f"`turnback revisions {key} --show {runs.number} > {name}`",
        take=f"`turnback apply {name}`",
    )
