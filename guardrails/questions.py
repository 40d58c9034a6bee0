"""What one check asks Prometheus, and what was answered: asked before the engine's lock is taken.

An answer says something of a service and an instant. It is used only for the treatment it was
asked about, standing as it stood then: a person may change anything while Prometheus thinks.
"""

import logging
from collections.abc import Mapping, MutableMapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from experiments.repository import ExperimentRecord, TreatmentRecord
from guardrails.judge_query import QueryWatch, Series
from guardrails.loaded import Loaded
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
    """

    stood: Mapping[str, object] = field(default_factory=dict[str, object])
    answers: Mapping[Question, Series | str] = field(default_factory=dict[Question, Series | str])

    def answer(
        self, watch: QueryWatch, record: ExperimentRecord, treatment: TreatmentRecord, at: datetime
    ) -> Series | str:
        """Return what was answered about a treatment as it stands, or why there is no answer."""
        question = question_of(watch, at)
        if question is None:
            return f"the service's settings have no query `{watch.query}`"
        if self.stood.get(watch.treatment) != _standing(record, treatment):
            return NOT_ASKED
        return self.answers.get(question, NOT_ASKED)


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
) -> Heard:
    """Ask every query of every live treatment, each question once. Never raises.

    Args:
        loaded: The revision.
        record: Where the experiment stands.
        treatments: Newest attempts by variant.
        source: Answers named queries, ``None`` where there is none.
        answers: What was answered before in this run of checks; new answers are added.
        at: Instant of the check.
    """
    live = {v: t for v, t in treatments.items() if t.state == "live"}
    for watch in loaded.queries:
        question = question_of(watch, at)
        if watch.treatment in live and question is not None and question not in answers:
            answers[question] = _asked(watch.guardrail, question, source)
    return Heard({v: _standing(record, t) for v, t in live.items()}, answers)


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
