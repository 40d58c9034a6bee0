"""What runs beside a followed folder: a text that somebody applied over a file of it. Pure.

The folder does not fight the person: what was applied by hand runs until the file changes, or
somebody applies one of the two. That holds over a new start of the service too. It is told for as
long as it lasts.
"""

import shlex
from collections.abc import Sequence

from guardrails.views import RevisionView
from guardrails.words import instant


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
    return (
        f"{key} does not run this file: {runs.actor} applied revision {runs.number} over it from "
        f"{runs.source} at {instant(runs.at)}, and that stays until this file changes. To keep "
        f"what runs, write it into the file: `turnback revisions {key} --show {runs.number} > "
        f"{name}`; to take the file: `turnback apply {name}`"
    )
