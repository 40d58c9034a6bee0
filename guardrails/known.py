"""Everything the control plane knows of one experiment, read at one moment."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from experiments.repository import ExperimentRecord, TransitionRecord, TreatmentRecord
from guardrails.loaded import Loaded
from guardrails.outcome import Finding
from guardrails.repository import Monitor


@dataclass(frozen=True, slots=True)
class Known:
    """Everything the control plane knows of one experiment."""

    record: ExperimentRecord
    loaded: Loaded
    treatments: Mapping[str, TreatmentRecord]
    monitors: Sequence[Monitor]
    findings: Sequence[tuple[datetime, int, Finding]]
    transitions: Sequence[TransitionRecord]
    snapshot: tuple[datetime, Mapping[str, Any]] | None
    suspended: str | None
    trouble: str | None
    now: datetime
    meanings: Sequence[str] = ()
    notices: Sequence[str] = ()
    own_notices: Sequence[str] = ()
    kept: Mapping[tuple[str, str, int], int] = field(
        default_factory=dict[tuple[str, str, int], int]
    )
