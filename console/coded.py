"""Texts of ours as HTML: what stands in `backticks` is set as code."""

import re

from markupsafe import Markup, escape

_CODE = re.compile(r"`([^`]+)`")


def coded(text: str) -> Markup:
    """Return a text as HTML, its `commands` set as code; whatever markup it holds is text."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before
