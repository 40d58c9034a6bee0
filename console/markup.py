"""Markup of our own in texts: everything else in them is escaped."""

import re

from markupsafe import Markup, escape

_CODE = re.compile(r"`([^`]+)`")


def coded(text: str) -> Markup:
    """Return a text of ours whose `commands` are set as code."""
    return Markup(_CODE.sub(r"<code>\1</code>", str(escape(text))))  # noqa: S704 - escaped before
