"""What of an experiment's own events was refused, from the newest ones in quarantine."""

import json
from collections import Counter
from collections.abc import Mapping
from typing import Any, Final, cast

from metrics.store import MetricStore

NEWEST: Final = 300
"""Events in quarantine that are looked at."""


def refused_exposures(store: MetricStore, experiment: str) -> Mapping[str, int]:
    """Return how many of the newest refused events are exposures of an experiment, by code."""
    if not store.quarantine_counts():
        return {}
    found = Counter[str]()
    for each in store.quarantined(limit=NEWEST):
        if experiment in each.event and _experiment(each.event) == experiment:
            found[each.code] += 1
    return found


def _experiment(event: str) -> str | None:
    """Return the experiment that an event names; ``None`` where it names none."""
    try:
        body = json.loads(event)
    except ValueError:
        return None
    fields = cast("dict[str, Any]", body).get("fields") if isinstance(body, dict) else None
    named = cast("dict[str, Any]", fields).get("experiment") if isinstance(fields, dict) else None
    return named if isinstance(named, str) else None
