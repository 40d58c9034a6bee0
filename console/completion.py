"""What a shell offers behind a command: the keys of experiments, where a service answers fast."""

import os
from collections.abc import Sequence

from console.output import DEFAULT_URL

_SECONDS = 0.6
"""Longer than this nobody waits for a proposal."""


def experiment_keys(incomplete: str) -> Sequence[tuple[str, str]]:
    """Return the keys that begin like this with their titles; none where nobody answers in time.

    The address and the key are those of ``TURNBACK_URL`` and ``TURNBACK_ADMIN_KEY``.
    """
    from console.client import ServiceClient  # noqa: PLC0415 - only where a shell asks
    from console.output import CommandError  # noqa: PLC0415 - as above

    url = os.environ.get("TURNBACK_URL") or DEFAULT_URL
    try:
        with ServiceClient(url, os.environ.get("TURNBACK_ADMIN_KEY"), timeout=_SECONDS) as client:
            views = client.get("/api/v1/experiments")["experiments"]
        known = [(str(view["key"]), str(view["title"])) for view in views]
    except (CommandError, KeyError, TypeError):
        return ()  # a shell's proposal is no place for errors
    return tuple((key, title) for key, title in known if key.startswith(incomplete))
