"""What one check asks Prometheus, and what was answered: asked before the engine's lock is taken.

An answer says something of a service and an instant. It is used only for the treatment it was
asked about, standing as it stood then: a person may change anything while Prometheus thinks.
"""

import logging
import math
from collections.abc import Iterable, Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from experiments.repository import ExperimentRecord, TreatmentRecord
from guardrails.judge_query import QueryWatch, Series
from guardrails.loaded import Loaded
from guardrails.outcome import Code
from guardrails.repository import Monitor
from guardrails.settings import QueryError, QuerySource

logger = logging.getLogger("turnback.check")

NOT_ASKED = "the experiment changed while Prometheus was asked: the next check asks again"


@dataclass(frozen=True, slots=True)
class Question:
    """One range query: equal ones, of any experiment, have one answer."""

    text: str
    start: datetime
    stop: datetime
    step: timedelta


Answers = MutableMapping[Question, Series | str]
"""What was answered, or why nothing was."""


@dataclass(frozen=True, slots=True)
class Heard:
    """Answers for one check of one experiment.

    Attributes:
        stood: Where every treatment stood that was asked about, by variant.
        answers: By question.
        resting: Why nothing was asked, by (guardrail, treatment): it failed too often lately.
    """

    stood: Mapping[str, object] = field(default_factory=dict[str, object])
    answers: Mapping[Question, Series | str] = field(default_factory=dict[Question, Series | str])
    resting: Mapping[tuple[str, str], str] = field(default_factory=dict[tuple[str, str], str])

    def answer(
        self, watch: QueryWatch, record: ExperimentRecord, treatment: TreatmentRecord, at: datetime
    ) -> Series | str:
        """Return what was answered about a treatment as it stands, or why there is no answer."""
        question = question_of(watch, at)
        if question is None:
            return f"the service's settings have no query `{watch.query}`"
        if self.stood.get(watch.treatment) != _standing(record, treatment):
            return NOT_ASKED
        resting = self.resting.get((watch.guardrail, watch.treatment), NOT_ASKED)
        return self.answers.get(question, resting)


def answered(
    heard: Heard,
    loaded: Loaded,
    record: ExperimentRecord,
    treatments: Mapping[str, TreatmentRecord],
    at: datetime,
) -> dict[tuple[str, str], Series | str]:
    """Return the answer about every live treatment by (guardrail, treatment), or why none."""
    live = {v: t for v, t in treatments.items() if t.state == "live"}
    return {
        (watch.guardrail, watch.treatment): heard.answer(watch, record, live[watch.treatment], at)
        for watch in loaded.queries
        if watch.treatment in live
    }


def question_of(watch: QueryWatch, at: datetime) -> Question | None:
    """Return what is asked for the check at ``at``; ``None`` where the settings have no text."""
    if watch.text is None:
        return None
    return Question(watch.text, at - watch.hold, at, watch.step)


def ask_all(
    loaded: Loaded,
    record: ExperimentRecord,
    treatments: Mapping[str, TreatmentRecord],
    source: QuerySource | None,
    answers: Answers,
    *,
    at: datetime,
    monitors: Iterable[Monitor] = (),
) -> Heard:
    """Ask every query of every live treatment, each question once. Never raises.

    Args:
        loaded: The revision.
        record: Where the experiment stands.
        treatments: Newest attempts by variant.
        source: Answers named queries, ``None`` where there is none.
        answers: What was answered before in this run of checks; new answers are added.
        at: Instant of the check.
        monitors: What the last checks left behind: what failed often is asked less often.
    """
    live = {v: t for v, t in treatments.items() if t.state == "live"}
    resting = _resting(monitors, live, loaded.spec.experiment.check_every)
    for watch in loaded.queries:
        question = question_of(watch, at)
        if (watch.guardrail, watch.treatment) in resting:
            continue
        if watch.treatment in live and question is not None and question not in answers:
            answers[question] = _asked(watch.guardrail, question, source)
    return Heard({v: _standing(record, t) for v, t in live.items()}, answers, resting)


def rests(checks: int, every: timedelta) -> bool:
    """Return whether a query that failed at so many checks in a row is left alone at the next one.

    It is asked at each of the first three, then at every second, every fourth and every eighth
    check, and never less often than every five minutes: whoever is overloaded is not asked faster.

    Args:
        checks: Checks in a row without an answer.
        every: Time between two checks.
    """
    if checks < _ASKED_ANYWAY:
        return False
    apart = next(apart for until, apart in _APART if checks < until)
    return checks % max(1, min(apart, _MOST_APART // every)) != 0


_ASKED_ANYWAY = 3
_APART = ((7, 2), (15, 4), (math.inf, 8))
_MOST_APART = timedelta(minutes=5)


def _resting(
    monitors: Iterable[Monitor], live: Mapping[str, TreatmentRecord], every: timedelta
) -> dict[tuple[str, str], str]:
    """Return the last words of every query that is left alone at this check."""
    return {
        (m.guardrail, m.treatment): str(m.finding.detail.get("message", NOT_ASKED))
        for m in monitors
        if m.finding.code is Code.SOURCE_FAILED
        and m.treatment in live
        and m.attempt == live[m.treatment].attempt
        and rests(m.blind_checks, every)
    }


def _standing(record: ExperimentRecord, treatment: TreatmentRecord) -> object:
    return record.seed, record.revision, record.state, treatment.attempt, treatment.state


def _asked(guardrail: str, question: Question, source: QuerySource | None) -> Series | str:
    """Return the answer, or why there is none."""
    if source is None:
        return "the service has no Prometheus"
    try:
        return source.values(
            question.text, start=question.start, stop=question.stop, step=question.step
        )
    except QueryError as error:
        logger.info("%s: %s", guardrail, error)
        return str(error)
    except Exception as error:  # whatever a source raises: blindness is an outcome, no crash
        logger.exception("%s: the query failed", guardrail)
        return f"the query failed ({type(error).__name__})"
