"""What one check read and decided; its reasons in words, and its evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.repository import ExperimentRecord, TreatmentRecord
from guardrails.conclude import Inputs
from guardrails.decide import Decision
from guardrails.loaded import Loaded
from guardrails.outcome import Finding
from guardrails.repository import Monitor, finding_to_json
from guardrails.words import breach_words
from metrics.cells import Snapshot


@dataclass(frozen=True, slots=True)
class Sight:
    """What one check read and decided.

    Attributes:
        loaded: The revision.
        inputs: Everything it read.
        findings: What every guardrail found.
        decision: What is done about it.
    """

    loaded: Loaded
    inputs: Inputs
    findings: tuple[Finding, ...]
    decision: Decision

    @property
    def record(self) -> ExperimentRecord:
        """Where the experiment stood."""
        return self.inputs.record

    @property
    def treatments(self) -> Mapping[str, TreatmentRecord]:
        """Newest attempts by variant."""
        return self.inputs.treatments

    @property
    def monitors(self) -> Mapping[tuple[str, str, int], Monitor]:
        """Where each (guardrail, treatment, attempt) stood after the last check."""
        return self.inputs.monitors

    @property
    def snapshot(self) -> Snapshot | None:
        """The cells, ``None`` where they could not be read."""
        return self.inputs.snapshot


def reason_of(sight: Sight, finding: Finding) -> str:
    """Return in words why a breach acts."""
    loaded = sight.loaded
    comparison = loaded.comparison(finding.guardrail, finding.treatment)
    if comparison is None:
        return f"{finding.guardrail} is breached"
    return breach_words(finding, comparison, loaded.title(finding.kpi))


def evidence_of(sight: Sight, finding: Finding) -> dict[str, Any]:
    """Return the numbers that decided, and what they were read from."""
    return {
        "finding": finding_to_json(finding),
        "watermark": sight.snapshot.watermark if sight.snapshot is not None else None,
        "revision": sight.record.revision,
        "spec_sha256": sight.loaded.spec.sha256,
    }


def advice_of(sight: Sight, advice: Mapping[str, Any]) -> dict[str, Any]:
    """Return advice as it is kept, and what it was read from."""
    return {
        "advice": dict(advice),
        "watermark": sight.snapshot.watermark if sight.snapshot is not None else None,
        "revision": sight.record.revision,
        "spec_sha256": sight.loaded.spec.sha256,
    }
