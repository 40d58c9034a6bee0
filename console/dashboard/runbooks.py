"""The operations guide as a page: the links of alerts open where the service runs."""

import re
from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Final

from fastapi import Request, Response
from markdown_it import MarkdownIt
from markdown_it.token import Token
from markupsafe import Markup

import console
from console.dashboard.shell import Page, Shell, UnknownFileError
from guardrails.links import RUNBOOKS

GUIDE: Final = "operations.md"
_TABLE: Final = '<div class="scroll" tabindex="0"><table>'
"""What is wider than the page is scrolled, with the keyboard as well."""

_END: Final = "</table></div>"
_NO_WORD: Final = re.compile(r"[^\w\- ]")


def runbook_pages(shell: Shell) -> Sequence[Page]:
    """Return the page of the guide."""

    async def runbooks(request: Request) -> Response:
        return shell.html(request, "runbooks.html", guide=guide(), file=GUIDE)

    return (Page(RUNBOOKS, runbooks),)


def anchor(heading: str) -> str:
    """Return by what a heading is linked to, as forges name it."""
    return _NO_WORD.sub("", heading.lower()).replace(" ", "-")


@cache
def guide() -> Markup:
    """Return the guide.

    Raises:
        UnknownFileError: It was not installed with the service.
    """
    return rendered(_file().read_text(encoding="utf-8"))


def rendered(text: str) -> Markup:
    """Return Markdown as HTML: no markup of its own, links alone that lead somewhere here.

    Headings are one lower than written, since a page has a heading of its own, and have anchors.
    """
    parser = MarkdownIt("commonmark", {"html": False}).enable("table")
    tokens = parser.parse(text)
    for opening, inline in pairwise(tokens):
        if opening.type == "heading_open":
            opening.attrSet("id", anchor(inline.content))
    for each in tokens:
        if each.type in {"heading_open", "heading_close"}:
            each.tag = f"h{min(6, int(each.tag[1:]) + 1)}"
        each.children = _linked(each.children) if each.children else each.children
    shown = parser.renderer.render(tokens, parser.options, {})
    # text cannot hold these: html is off
    shown = shown.replace("<table>", _TABLE).replace("</table>", _END)
    shown = shown.replace("<pre>", '<pre tabindex="0">')
    return Markup(shown)  # noqa: S704 - html is off


def _linked(tokens: Sequence[Token]) -> list[Token]:
    """Drop links to files beside the guide, and keep their words."""
    kept: list[Token] = []
    dropping = False
    for token in tokens:
        if token.type == "link_open":
            to = str(token.attrGet("href") or "")
            dropping = not to.startswith(("#", "https://", "http://"))
        if not (dropping and token.type in {"link_open", "link_close"}):
            kept.append(token)
        dropping = dropping and token.type != "link_close"
    return kept


def _file() -> Path:
    package = Path(console.__file__).resolve().parent
    for folder in (package.parent / "docs", package / "docs"):
        if (folder / GUIDE).is_file():
            return folder / GUIDE
    raise UnknownFileError(
        f"docs/{GUIDE} was not installed with the service", hint="it is in the repository"
    )
