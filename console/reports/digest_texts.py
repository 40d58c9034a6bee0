"""A digest as Markdown, and as the plain text of a message."""

from collections.abc import Sequence

from console.reports.digest import Contribution, Digest, Entry
from console.reports.markdown import plain, table
from metrics.wording import gettext as _


def sections(digest: Digest) -> tuple[tuple[str, tuple[Entry, ...]], ...]:
    """Return title and entries of every section, in the order of a meeting."""
    return (
        (_("Shipped"), digest.shipped),
        (_("Turned back"), digest.turned_back),
        (_("Learned from what ended"), digest.learned),
        (_("Running"), digest.running),
        (_("Waiting for a person"), digest.waiting),
    )


def heading(digest: Digest) -> str:
    """Return the title of a digest."""
    return _(
        "Experiments from {since} to {until}",
        since=digest.since_words,
        until=digest.until_words,
    )


def digest_markdown(digest: Digest, *, version: str) -> str:
    """Return a digest as Markdown."""
    blocks = [f"# {plain(heading(digest))}", f"**{plain(digest.headline)}**"]
    for title, entries in sections(digest):
        blocks.append(f"## {title}")
        blocks.append("\n".join(map(_item, entries)) if entries else _("Nothing."))
    blocks.append(f"## {_('Contributions')}")
    rows = [[plain(each.owner), *map(str, counts(each))] for each in digest.owners]
    blocks.append(table(owner_headings(), range(1, 6), rows) if rows else _("Nothing."))
    blocks += ["---", plain(_("Made by Turnback {version}.", version=version))]
    return "\n\n".join(blocks) + "\n"


def counts(each: Contribution) -> tuple[int, ...]:
    """Return the numbers of an owner in the order of the headings."""
    return (each.started, each.running, each.shipped, each.turned_back, each.ended)


def owner_headings() -> Sequence[str]:
    """Return the headings of the table of owners."""
    return (
        _("Owner"),
        _("Started"),
        _("Running now"),
        _("Shipped"),
        _("Turned back"),
        _("Ended"),
    )


def _item(entry: Entry) -> str:
    when = f" ({entry.at_words})" if entry.at_words else ""
    lines = [f"- **{plain(entry.title)}** `{entry.key}`{when}: {plain(entry.what)}"]
    lines += [f"  - {plain(said)}" for said in entry.because]
    return "\n".join(lines)


def digest_text(digest: Digest) -> str:
    """Return a digest as plain text for a message; sections without entries are left out."""
    lines = [digest.headline]
    for title, entries in sections(digest):
        if entries:
            lines += ["", title]
        for entry in entries:
            lines.append(f"- {entry.title} ({entry.key}): {entry.what}")
            lines += [f"  {said}" for said in entry.because]
    if digest.owners:
        lines += ["", _("Contributions")]
    lines += [
        _(
            "- {owner}: {started} started, {running} running, {shipped} shipped, "
            "{turned} turned back, {ended} ended",
            owner=each.owner,
            started=each.started,
            running=each.running,
            shipped=each.shipped,
            turned=each.turned_back,
            ended=each.ended,
        )
        for each in digest.owners
    ]
    return "\n".join(lines)
