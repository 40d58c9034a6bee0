"""The engine is broken on purpose, once for each promise: a scenario must notice.

A suite that stays green over a broken engine proves nothing. Each breakage stands for a mistake
that somebody could make; the scenario named beside it is the one that would tell.
"""

from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from guardrails import actions, conclude, decide, engine, judge_regression, look, watches
from guardrails.outcome import Code, Outcome, WindowState
from guardrails.scenarios import load_scenario_file, play
from guardrails.settings import EngineSettings
from metrics.intake import Intake

FOLDER = Path(__file__).parent


def played(name):
    result = play(load_scenario_file(FOLDER / f"{name}.yaml"))
    return {failure.what for failure in result.failures}


def breaches_are_ignored(patch):
    patch.setattr(decide, "_may", lambda *_: False)


def no_data_counts_as_pass(patch):
    real = look.judge_each

    def kind(*args, **options):
        return [
            replace(found, outcome=Outcome.PASS, code=Code.PROVEN_SAFE)
            if found.outcome is Outcome.NO_DATA
            else found
            for found in real(*args, **options)
        ]

    patch.setattr(look, "judge_each", kind)


def an_error_rolls_back(patch):
    real = conclude.judge_all

    def rash(*args, **options):
        return tuple(
            replace(f, outcome=Outcome.BREACH) if f.outcome is Outcome.ERROR else f
            for f in real(*args, **options)
        )

    patch.setattr(conclude, "judge_all", rash)


def the_ramp_advances_blindly(patch):
    patch.setattr(decide, "_objection", lambda *_: None)


AT_ONCE = EngineSettings(cooldown=timedelta(0))


def applying_a_file_opens_the_latch(patch):
    real = engine.apply_file

    def reopening(session, loaded, *, before, asked):
        view = real(session, loaded, before=before, asked=asked)
        if before is not None:
            who = actions.Asked(actor="a bug", reason="applied again", at=asked.now)
            record = actions_record(session, loaded.key)
            actions.resume(session, record, loaded, "treatment", who, settings=AT_ONCE)
        return view

    patch.setattr(engine, "apply_file", reopening)


def actions_record(session, key):
    from experiments.repository import load_experiment

    return load_experiment(session, key)


def restarts_are_off(patch):
    patch.setattr(judge_regression, "_restarts", lambda *_: (0.0, None))


def an_uneven_split_is_overlooked(patch):
    real = watches.judge_split

    def unseeing(*args, **options):
        found = real(*args, **options)
        state = {name: WindowState() for name in found.states}
        return replace(found, outcome=Outcome.PASS, code=Code.SPLIT_AS_PLANNED, states=state)

    patch.setattr(watches, "judge_split", unseeing)


def client_keys_are_trusted(patch):
    real = Intake.take
    patch.setattr(Intake, "take", lambda self, raw, *, trusted: real(self, raw, trusted=True))


def rollbacks_wait_for_the_step(patch):
    real = decide.decide

    def patient(findings, standing, *, now):
        done = real(findings, standing, now=now)
        waits = standing.step + 1 < len(standing.steps)
        return replace(done, rollbacks=()) if waits else done

    patch.setattr(conclude, "decide", patient)


@pytest.mark.parametrize(
    ("broken", "scenario", "noticed"),
    [
        (breaches_are_ignored, "total-outage", "rolled_back"),
        (no_data_counts_as_pass, "nobody-answers", "outcomes"),
        (an_error_rolls_back, "metrics-outage", "rolled_back"),
        (the_ramp_advances_blindly, "metrics-outage", "step"),
        (applying_a_file_opens_the_latch, "applied-again", "rolled_back"),
        (restarts_are_off, "late-harm", "rolled_back"),
        (an_uneven_split_is_overlooked, "uneven-split", "outcomes"),
        (client_keys_are_trusted, "forged-with-a-client-key", "rolled_back"),
        (rollbacks_wait_for_the_step, "breach-inside-a-ramp-step", "rolled_back"),
    ],
    ids=lambda value: getattr(value, "__name__", value),
)
def test_a_scenario_notices_that(broken, scenario, noticed, monkeypatch):
    broken(monkeypatch)
    assert noticed in played(scenario)
