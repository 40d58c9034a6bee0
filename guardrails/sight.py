"""What one check read and decided; its reasons in words, and its evidence."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from experiments.repository import ExperimentRecord, TreatmentRecord
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
        record: Where the experiment stood.
        loaded: Its revision.
        treatments: Newest attempts by variant.
        monitors: Where each (guardrail, treatment, attempt) stood after the last check.
        snapshot: The cells, ``None`` where they could not be read.
        findings: What every guardrail found.
        decision: What is done about it.
    """

    record: ExperimentRecord
    loaded: Loaded
    treatments: Mapping[str, TreatmentRecord]
    monitors: Mapping[tuple[str, str, int], Monitor]
    snapshot: Snapshot | None
    findings: tuple[Finding, ...]
    decision: Decision


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
