"""Who applies a file from where, and what applying it needs to know of the service."""

from collections.abc import Callable, Collection, Iterable
from dataclasses import dataclass
from datetime import datetime

from experiments.repository import ExperimentRecord
from guardrails.loaded import Loaded


@dataclass(frozen=True, slots=True)
class Applying:
    """Who applies a file from where, when, and what the service adds to it.

    Attributes:
        holdout: Share of all units the service keeps out of runs that begin now.
        load: Returns the newest revision of any experiment.
        exposed: Returns which of some units were exposed so far in an experiment and seed.
        keep: Returns a file as it changes its run, given the newest revision of that: KPIs the
            run has named keep their meaning.
        moved: Returns in words which KPIs of a revision mean something else by now.
    """

    source: str
    actor: str
    now: datetime
    holdout: float
    load: Callable[[ExperimentRecord], Loaded]
    exposed: Callable[[str, int, Iterable[str]], Collection[str]]
    keep: Callable[[Loaded, Loaded], Loaded]
    moved: Callable[[Loaded], tuple[str, ...]]

    def unit_of(self, record: ExperimentRecord) -> str:
        """Return the unit type of an experiment."""
        return self.load(record).spec.experiment.unit
