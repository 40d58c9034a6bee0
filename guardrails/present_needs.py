"""What a person should look at or is asked to do, by kind and in words. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from experiments.lifecycle import CHECKED, OVER, State
from guardrails.advice import Recommended
from guardrails.decide import Standing, unproven
from guardrails.known import Known
from guardrails.outcome import Code, Finding, Outcome
from guardrails.present_run import advice_of, wanted
from guardrails.rules import WATCH_RULES, Alert
from guardrails.rules.failures import Open
from guardrails.views import DenominatorView, GuardrailView, NeedKind, NeedView
from guardrails.words import again_words, instant
from guardrails.words_query import coded
from metrics.wording import gettext as _

ASKED_FOR: Final = timedelta(days=7)
"""How long people are asked whether a run that proved nothing is tried for longer."""

ASKED_SOON: Final = timedelta(minutes=10)
"""How long after the start nobody need have asked for the flag; two checks at least."""

_LOOKED_AT: Final = {*WATCH_RULES, Alert.rule}
"""Rules whose breach a person should look at, though it proves no harm."""


def needs(
    known: Known,
    guardrails: Sequence[GuardrailView],
    shifted: Sequence[DenominatorView],
    standing: Standing,
    newest: Sequence[Finding],
) -> tuple[NeedView, ...]:
    """Return what a person should look at, the most general first.

    Args:
        known: The experiment.
        guardrails: As they are shown.
        shifted: Denominators that differ between arms.
        standing: Where the ramp stands.
        newest: The newest finding of every guardrail and live treatment.
    """
    asked = NeedKind.APPROVAL if known.record.state == State.RUNNING else NeedKind.DRAFT
    return (
        *_of_service(known),
        *_of_treatments(known),
        *_of_channels(known),
        *(NeedView(NeedKind.DATA, each.words) for each in shifted),
        *_of_data(known, guardrails),
        *_of_asking(known),
        *_of_end(known, newest),
        *(
            NeedView(asked, words)
            for words in wanted(known.record, known.loaded, standing, known.now)
        ),
    )


def _of_service(known: Known) -> list[NeedView]:
    found: list[NeedView] = []
    if known.suspended is not None:
        found.append(NeedView(NeedKind.SUSPENDED, known.suspended))
    if known.trouble is not None:
        found.append(NeedView(NeedKind.TROUBLE, known.trouble))
    found += [NeedView(NeedKind.TROUBLE, words) for words in _clock_words(known)]
    if State(known.record.state) not in OVER:
        found += [NeedView(NeedKind.SERVICE, words) for words in known.notices]
    return found


def _of_channels(known: Known) -> list[NeedView]:
    """Return whom messages did not reach, and what of the file means something else here."""
    if State(known.record.state) in OVER:
        return []
    return [
        *(NeedView(NeedKind.CHANNEL, words) for words in known.own_notices),
        *(NeedView(NeedKind.MEANING, words) for words in known.meanings),
    ]


def _clock_words(known: Known) -> list[str]:
    """Return that the clock went back: every check until then was made already."""
    record, every = known.record, known.loaded.spec.experiment.check_every
    last = record.last_tick_at
    if last is None or State(record.state) not in CHECKED or last <= known.now + every:
        return []
    return [
        _(
            "the clock says {now}, before the newest check ({last}): nothing is due until it has "
            "caught up",
            now=instant(known.now),
            last=instant(last),
        )
    ]


def _of_treatments(known: Known) -> list[NeedView]:
    shown = [
        _("{variant} was turned back but is still being shown", variant=t.variant)
        for t in known.treatments.values()
        if t.effective is False
    ]
    return [
        *(NeedView(NeedKind.INEFFECTIVE, words) for words in shown),
        *(NeedView(NeedKind.BLIND, words) for words in _blind_words(known)),
    ]


def _blind_words(known: Known) -> list[str]:
    """Return which guardrails see nothing: in one line those of one treatment, time and reason."""
    live = {(t.variant, t.attempt) for t in known.treatments.values() if t.state == "live"}
    together: dict[tuple[str, datetime, Code], list[str]] = {}
    for m in known.monitors:
        if m.blind_since is not None and (m.treatment, m.attempt) in live:
            alike = together.setdefault((m.treatment, m.blind_since, m.finding.code), [])
            alike.append(m.guardrail)
    newest = _newest_event(known)
    found: list[str] = []
    for (variant, since, code), guardrails in together.items():
        words = _(
            "{guardrails} of {variant}: blind since {since}, {why}",
            guardrails=", ".join(guardrails),
            variant=variant,
            since=instant(since),
            why=coded(code),
        )
        if code is Code.EVENTS_STOPPED and newest is not None:
            words += " " + _("The newest event is of {at}.", at=instant(newest))
        found.append(words.rstrip("."))
    return found


def _newest_event(known: Known) -> datetime | None:
    said = None if known.snapshot is None else known.snapshot[1].get("newest_event")
    return None if said is None else datetime.fromisoformat(said)


def _of_data(known: Known, guardrails: Sequence[GuardrailView]) -> list[NeedView]:
    """Return what is amiss beside the KPIs of the treatments that are live."""
    live = {v for v, t in known.treatments.items() if t.state == "live"}
    if State(known.record.state) in OVER:
        return []
    return [
        NeedView(NeedKind.DATA, f"{g.guardrail} of {g.treatment}: {g.words.rstrip('.')}")
        for g in guardrails
        if g.rule in _LOOKED_AT and g.outcome is Outcome.BREACH and g.treatment in live
    ]


def _of_asking(known: Known) -> list[NeedView]:
    """Return that nobody takes part yet, long enough after the start to be told of."""
    record, every = known.record, known.loaded.spec.experiment.check_every
    live = any(t.state == "live" for t in known.treatments.values())
    waited = known.now - record.started_at >= max(ASKED_SOON, 2 * every)
    if record.state != State.RUNNING or not live or not waited or known.snapshot is None:
        return []
    if any(known.snapshot[1].get("exposed", {}).values()):
        return []
    words = _(
        "no application has asked for this flag yet, or nobody takes part: no unit since {at}. "
        "Give this to a developer: docs/clients.md",
        at=instant(record.started_at),
    )
    return [NeedView(NeedKind.UNASKED, words)]


def _of_end(known: Known, newest: Sequence[Finding]) -> list[NeedView]:
    """Return that a run ended and proved nothing, while somebody may still want to go on."""
    record, rules = known.record, known.loaded.rules
    if record.state != State.FINISHED or known.now - record.observe_until > ASKED_FOR:
        return []
    advice = advice_of(record, known.transitions) or {}
    if advice.get("recommended") == Recommended.SHIP:
        return []
    found = [
        f.guardrail
        for f in unproven(newest, rules)
        if rules[f.guardrail].policies.on_inconclusive is Open.KEEP_CONTROL
    ]
    if not found:
        return []
    words = _(
        "it ended and nothing is proven by {guardrails}. {again}",
        guardrails=", ".join(dict.fromkeys(found)),
        again=again_words(record.seed),
    )
    return [NeedView(NeedKind.ENDED, words.rstrip("."))]
