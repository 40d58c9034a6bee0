"""Rules that watch the data: what they are ready for, and one way to judge each. Pure."""

from collections.abc import Mapping
from datetime import datetime

from guardrails.judge_baseline import BaselineWatch, judge_baseline, plan_baselines
from guardrails.judge_freshness import SilenceWatch, judge_silence, plan_silences
from guardrails.judge_sample_ratio import SplitWatch, judge_split, plan_splits
from guardrails.outcome import Finding, WindowState
from guardrails.spec_file import SpecFile
from metrics.cells import Snapshot

Watch = SplitWatch | SilenceWatch | BaselineWatch
"""One guardrail that watches the data and one treatment, ready to be judged."""


def plan_watches(spec: SpecFile) -> tuple[Watch, ...]:
    """Return everything of a file that watches the data."""
    return (*plan_splits(spec), *plan_silences(spec), *plan_baselines(spec))


def judge_watch(
    watch: Watch,
    snapshot: Snapshot,
    states: Mapping[str, WindowState],
    *,
    first_phase: int,
    since: datetime,
    running: bool,
    doubles: bool = True,
) -> Finding:
    """Judge one guardrail that watches the data at one check.

    Args:
        watch: What is watched.
        snapshot: What the store knows.
        states: Of the last check.
        first_phase: Phases before it are of an earlier attempt.
        since: From when the treatment is served.
        running: Whether anybody is served.
        doubles: Whether units seen in two variants are judged.
    """
    if isinstance(watch, SplitWatch):
        return judge_split(watch, snapshot, states, first_phase=first_phase, doubles=doubles)
    if isinstance(watch, BaselineWatch):
        return judge_baseline(watch, snapshot, first_phase=first_phase)
    return judge_silence(watch, snapshot, states, since=since, running=running)
