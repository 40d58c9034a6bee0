"""Who says that a unit met a variant: an evaluation here, a server, or a public client. Pure."""

from collections.abc import Iterable, Mapping
from enum import StrEnum

from metrics.events import DERIVED, Event

EVALUATION = "evaluation"
"""What exposures say of themselves that an evaluation of this service recorded."""


class ExposureKind(StrEnum):
    """Where an exposure comes from."""

    EVALUATED = "evaluated"  # this service answered with the variant and recorded it
    SERVER = "server"  # sent with a secret key: a server that decides by itself
    CLIENT = "client"  # sent with a public key: a browser or an app that decides by itself


def exposure_kind(event: Event) -> ExposureKind:
    """Return where an exposure comes from."""
    if event.id.startswith(DERIVED) and event.fields.get("source") == EVALUATION:
        return ExposureKind.EVALUATED
    return ExposureKind.SERVER if event.trusted else ExposureKind.CLIENT


def kinds_of(exposures: Iterable[tuple[Event, str]]) -> Mapping[tuple[str, ExposureKind], int]:
    """Return how many exposures there are by variant and kind.

    Args:
        exposures: Each with its variant.
    """
    counts: dict[tuple[str, ExposureKind], int] = {}
    for event, variant in exposures:
        key = variant, exposure_kind(event)
        counts[key] = counts.get(key, 0) + 1
    return counts
