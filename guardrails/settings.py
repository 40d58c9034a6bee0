"""What an engine may be told from outside, and where its measurements go."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

from guardrails.channels import Channel
from guardrails.views import CheckReport


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """Settings of the engine; all have safe defaults.

    Attributes:
        grace: Time after a rollback before its verification begins.
        evidence_every: Evidence is stored at looks, changes of outcome and this often.
        suspended: Watch and act on nothing.
        channels: Where messages go, by the names spec files use in ``notify``; every message
            goes to ``log`` too.
        show_core: Whether the twelve core KPIs are measured for display in every experiment.
    """

    grace: timedelta = timedelta(minutes=15)
    evidence_every: timedelta = timedelta(hours=1)
    suspended: bool = False
    channels: Mapping[str, Channel] = field(default_factory=dict[str, Channel])
    show_core: bool = True


class EngineHook(Protocol):
    """Measurements of the engine; Prometheus and logs are attached in ``service.py``."""

    def on_check(self, report: CheckReport) -> None:
        """One tick was run."""
        ...

    def on_notification(self, channel: str, result: str) -> None:
        """One delivery was tried: ``delivered``, ``retry`` or ``given_up``."""
        ...
