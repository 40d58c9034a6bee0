"""What applications are answered from. Pure: records in, an immutable value out."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from experiments.assignment import CompiledExperiment, Serving, compile_experiment
from experiments.lifecycle import OVER, State
from experiments.repository import ExperimentRecord
from guardrails.loaded import Loaded
from guardrails.present import traffic_of
from metrics.soundness import Counted


@dataclass(frozen=True, slots=True)
class ServedConfig:
    """What applications are answered from: immutable, swapped as a whole.

    Attributes:
        version: Changes whenever an answer may change.
        experiments: Compiled experiments by key.
        counted: What experiments count which are not over.
    """

    version: str
    experiments: Mapping[str, CompiledExperiment]
    counted: Counted = field(default_factory=Counted)


@dataclass(frozen=True, slots=True)
class Standing:
    """One experiment as it is served: where it stands, its file, and who is turned back."""

    record: ExperimentRecord
    loaded: Loaded
    rolled_back: frozenset[str]


def compile_all(
    standings: Sequence[Standing], before: Mapping[str, CompiledExperiment] | None = None
) -> ServedConfig:
    """Compile every experiment; the version changes whenever an answer may change.

    Args:
        standings: Every experiment.
        before: What is served so far: what has not changed is not compiled again.
    """
    known = before or {}
    compiled: dict[str, CompiledExperiment] = {}
    facts: list[str] = []
    for standing in standings:
        record, loaded = standing.record, standing.loaded
        traffic = traffic_of(loaded, record)
        serving = Serving(
            state=record.state,
            traffic=traffic,
            rolled_back=standing.rolled_back,
            layer=tuple((start, stop) for start, stop in record.layer_buckets),
            holdout=record.holdout,
            shipped=record.shipped,
        )
        spec, held = loaded.spec.experiment, known.get(record.key)
        if held is None or held.spec is not spec or held.serving != serving:
            held = compile_experiment(spec, serving)
        compiled[record.key] = held
        facts.append(
            f"{record.key} {loaded.spec.sha256} {record.seed} {record.state} {traffic} "
            f"{sorted(standing.rolled_back)} {serving.layer} {serving.holdout} {serving.winner}"
        )
    version = hashlib.sha256("\n".join(facts).encode()).hexdigest()[:16]
    return ServedConfig(version, compiled, _counted(standings))


def _counted(standings: Sequence[Standing]) -> Counted:
    going_on = [each.loaded.spec for each in standings if State(each.record.state) not in OVER]
    events = (m.event for s in going_on for k in s.own for m in s.kpis[k].measures)
    return Counted(frozenset(s.experiment.unit for s in going_on), frozenset(events))
