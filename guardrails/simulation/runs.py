"""One simulated run, and many of them on all cores; every run has its own random numbers."""

import multiprocessing
import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np

from guardrails.outcome import Outcome
from guardrails.simulate import simulated_checks
from guardrails.simulation.design import Scenario

_SPARE = 8  # tasks a process gets in all, or more: the last ones end together

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Breach:
    """When a guardrail turned its treatment back.

    Attributes:
        after: Since the start.
        units: Units of all arms exposed by then.
        control: Those of control.
        treatment: Those of the treatment.
    """

    after: timedelta
    units: int
    control: int
    treatment: int


Outcomes = tuple[Breach | None, ...]
"""Of one run: the first breach of each comparison, ``None`` where there was none."""


@dataclass(frozen=True, slots=True)
class Runs:
    """Finished runs.

    Attributes:
        outcomes: By scenario, the runs in their order from the first one.
        interrupted: Whether somebody stopped before all were finished.
    """

    outcomes: tuple[tuple[Outcomes, ...], ...]
    interrupted: bool


def one_run(scenario: Scenario, seed: int, repetition: int) -> Outcomes:
    """Simulate one run; the same seed and repetition give the same run."""
    numbers = np.random.SeedSequence(seed, spawn_key=(scenario.key, repetition))
    found: list[Breach | None] = [None] * len(scenario.comparisons)
    checks = simulated_checks(
        scenario.run,
        scenario.comparisons,
        scenario.courses,
        np.random.default_rng(numbers),
        until_breach=True,
    )
    for seen in checks:
        for index, finding in seen.findings.items():
            if finding.outcome is Outcome.BREACH:
                comparison = scenario.comparisons[index]
                found[index] = Breach(
                    seen.after,
                    sum(seen.exposed.values()),
                    seen.exposed[comparison.control],
                    seen.exposed[comparison.treatment],
                )
    return tuple(found)


@dataclass(frozen=True, slots=True)
class _Task:
    """Some repetitions of one scenario."""

    scenario: int
    first: int
    stop: int


@dataclass(frozen=True, slots=True)
class _Job:
    """All tasks, and what is finished of them: runs by scenario and first repetition."""

    scenarios: Sequence[Scenario]
    tasks: Sequence[_Task]
    seed: int
    told: Progress
    done: dict[tuple[int, int], tuple[Outcomes, ...]] = field(
        default_factory=dict[tuple[int, int], tuple[Outcomes, ...]]
    )


def many_runs(
    scenarios: Sequence[Scenario],
    repetitions: int,
    *,
    seed: int,
    processes: int = 1,
    progress: Progress | None = None,
) -> Runs:
    """Simulate every scenario so many times.

    Args:
        scenarios: What is simulated.
        repetitions: Of each, 1 or more.
        seed: Of everything; the number of processes changes no number.
        processes: That work at once; one means this one.
        progress: Told after every run, or a few of them, how many are finished.

    Returns:
        All runs; after an interruption (Ctrl-C) those of every scenario up to the first that is
        not finished.
    """
    job = _Job(scenarios, _tasks(len(scenarios), repetitions, processes), seed, progress or _nobody)
    interrupted = False
    try:
        if processes == 1:
            _here(job)
        else:
            _spread(job, processes)
    except KeyboardInterrupt:
        interrupted = True
    return Runs(_in_order(job, repetitions), interrupted)


def _nobody(_finished: int) -> None:
    """Tell nobody."""


def _tasks(scenarios: int, repetitions: int, processes: int) -> list[_Task]:
    """Return tasks that are a few repetitions each, all scenarios in turn."""
    size = 1
    if processes > 1:
        size = max(1, min(10, repetitions * scenarios // (_SPARE * processes)))
    return [
        _Task(scenario, first, min(first + size, repetitions))
        for first in range(0, repetitions, size)
        for scenario in range(scenarios)
    ]


def _in_order(job: _Job, repetitions: int) -> tuple[tuple[Outcomes, ...], ...]:
    found: list[tuple[Outcomes, ...]] = []
    for scenario in range(len(job.scenarios)):
        runs: list[Outcomes] = []
        while len(runs) < repetitions and (more := job.done.get((scenario, len(runs)))):
            runs += more
        found.append(tuple(runs))
    return tuple(found)


def _here(job: _Job) -> None:
    finished = 0
    for task in job.tasks:
        runs: list[Outcomes] = []
        for repetition in range(task.first, task.stop):
            runs.append(one_run(job.scenarios[task.scenario], job.seed, repetition))
            job.told(finished := finished + 1)
        job.done[task.scenario, task.first] = tuple(runs)


def _spread(job: _Job, processes: int) -> None:
    others = set(multiprocessing.active_children())
    finished = 0
    pool = ProcessPoolExecutor(
        processes,
        mp_context=multiprocessing.get_context("spawn"),
        initializer=_begin,
        initargs=(tuple(job.scenarios), job.seed),
    )
    try:
        with _unheard():
            waiting = {pool.submit(_work, task): task for task in job.tasks[:processes]}
        waiting |= {pool.submit(_work, task): task for task in job.tasks[processes:]}
        for future in as_completed(waiting):
            task = waiting[future]
            job.done[task.scenario, task.first] = future.result()
            job.told(finished := finished + task.stop - task.first)
    except BaseException:
        pool.shutdown(wait=False, cancel_futures=True)
        for child in set(multiprocessing.active_children()) - others:
            child.terminate()  # what it is at is lost; nobody waits for it
        raise
    pool.shutdown()


@contextmanager
def _unheard() -> Generator[None]:
    """Begin processes that never hear Ctrl-C: it is for the first one, which ends them.

    Each of the first tasks begins a process.
    """
    before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})  # they inherit it
    try:
        yield
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)  # one that came meanwhile is heard now


_SCENARIOS: list[Scenario] = []
_SEED: list[int] = []


def _begin(scenarios: tuple[Scenario, ...], seed: int) -> None:
    """Prepare a process: what is simulated comes once."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    _SCENARIOS[:] = scenarios
    _SEED[:] = [seed]


def _work(task: _Task) -> tuple[Outcomes, ...]:
    scenario, seed = _SCENARIOS[task.scenario], _SEED[0]
    return tuple(one_run(scenario, seed, r) for r in range(task.first, task.stop))
