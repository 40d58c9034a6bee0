"""Versions compared as GrowthBook compares them (``$vgte``), bit for bit.

A version is split at ``.`` and ``-`` after a leading ``v`` and a build (``+…``) were taken away;
numbers are padded to five digits, and three parts count as a release, which is later than its
pre-releases: 1.2.3-beta < 1.2.3 < 1.10.0. The texts so formed are compared.
"""

import re
from typing import Final

UNUSUAL: Final = "[^ -~]"
"""Characters that engines sort or split differently; a version with one is not compared."""

VERSION_PATTERN: Final = (
    r"v?[0-9]+(\.[0-9]+)*(-[0-9A-Za-z]+([.-][0-9A-Za-z]+)*)?(\+[0-9A-Za-z.-]+)?"
)
WIDTH: Final = 5
"""Digits up to which numbers are compared as numbers."""

_RELEASE_PARTS: Final = 3
_DROPPED: Final = re.compile(r"^v|\+.*", re.DOTALL)
_BREAKS: Final = re.compile(r"[-.]")
_UNUSUAL: Final = re.compile(UNUSUAL)


def padded_version(text: str) -> str | None:
    """Return the text that versions are compared by, ``None`` for one that is not compared."""
    if _UNUSUAL.search(text):
        return None
    parts = _BREAKS.split(_DROPPED.sub("", text or "0"))
    if len(parts) == _RELEASE_PARTS:
        parts.append("~")
    return "-".join(part.rjust(WIDTH) if part.isdigit() else part for part in parts)
