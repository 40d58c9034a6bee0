"""What an engine may be told from outside, and where its measurements go."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Protocol

from guardrails.build import build_version
from guardrails.channels import Channel
from guardrails.views import CheckReport


class QuerySource(Protocol):
    """Answers PromQL: Prometheus."""

    def values(
        self, query: str, *, start: datetime, stop: datetime, step: timedelta
    ) -> Sequence[Sequence[tuple[datetime, float]]]:
        """Return every series of a range query, each as (instant, value) ascending.

        Raises:
            QueryError: It could not be answered.
        """
        ...


class QueryError(Exception):
    """A query could not be answered: unreachable, timed out, or refused by Prometheus."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of the engine; all have safe defaults.

    Attributes:
        grace: Time after a rollback before its verification begins.
        cooldown: Time after a rollback of the engine's before a person may resume the treatment.
        evidence_every: Evidence is stored at looks, changes of outcome and this often.
        suspended: Watch and act on nothing.
        channels: Where messages go, by the names spec files use in ``notify``; every message
            goes to ``log`` too.
        show_core: Whether the twelve core KPIs are measured for display in every experiment.
        holdout: Share of all units that take part in no experiment started from now on, 0-1.
        queries: PromQL by the names spec files use in ``query``; ``$variant`` stands for a
            treatment's name.
        prometheus: Answers them, ``None`` where no Prometheus is set up.
        version: Of Turnback; kept with evidence.
        public_url: Where people reach the pages, for links in messages; empty for no links.
        accounts: Whether what checks decided from is kept, so that they can be computed again.
    """

    grace: timedelta = timedelta(minutes=15)
    cooldown: timedelta = timedelta(minutes=15)
    evidence_every: timedelta = timedelta(hours=1)
    suspended: bool = False
    channels: Mapping[str, Channel] = field(default_factory=dict[str, Channel])
    show_core: bool = True
    holdout: float = 0.0
    queries: Mapping[str, str] = field(default_factory=dict[str, str])
    prometheus: QuerySource | None = None
    version: str = field(default_factory=build_version)
    public_url: str = ""
    accounts: bool = True


class EngineHook(Protocol):
    """Measurements of the engine; Prometheus and logs are attached in ``service.py``."""

    def on_check(self, report: CheckReport) -> None:
        """One tick was run."""
        ...

    def on_notification(self, channel: str, result: str) -> None:
        """One delivery was tried: ``delivered``, ``retry`` or ``given_up``."""
        ...
