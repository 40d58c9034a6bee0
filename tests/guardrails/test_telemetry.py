"""Series as Prometheus reads them."""

import math
import shutil
import subprocess
from dataclasses import replace
from datetime import timedelta

import pytest
from prometheus_client import CollectorRegistry
from prometheus_client.parser import text_string_to_metric_families

from guardrails.outcome import Code, Outcome
from guardrails.telemetry import EngineMetrics, Intake, StateCollector, exposition
from guardrails.views import CheckReport, RollbackView
from tests.running import KEY, running
from tests.views import T, rolled_back, view

INTAKE = Intake(5, 1, 2, 0, 3, 4, 0, 9)


def samples(*views, hook=None):
    registry = CollectorRegistry()
    registry.register(hook or EngineMetrics())
    registry.register(
        StateCollector(
            experiments=lambda: views,
            intake=lambda: INTAKE,
            now=lambda: T,
            suspended=lambda: False,
            config_valid=lambda: True,
        )
    )
    body, _ = exposition(registry, "")
    return {
        (s.name, *sorted(s.labels.values())): s.value
        for family in text_string_to_metric_families(body.decode())
        for s in family.samples
    }


def test_known_series_are_born_at_zero():
    found = samples(view())
    assert found["turnback_rollbacks_total", "b", "x"] == 0
    assert found["turnback_checks_total", "error"] == 0
    assert found["turnback_notifications_total", "given_up", "log"] == 0
    assert found["turnback_guardrail_outcome", "b", "breach", "satisfaction", "x"] == 0
    assert found["turnback_experiment_state", "paused", "x"] == 0
    assert found["turnback_experiment_state", "draft", "x"] == 0
    assert found["turnback_experiment_state", "running", "x"] == 1


def test_what_is_not_known_is_nan_and_never_zero():
    found = samples(view())
    assert math.isnan(found["turnback_kpi_value", "b", "satisfaction", "x"])
    assert math.isnan(found["turnback_guardrail_evidence_ratio", "b", "satisfaction", "x"])
    assert math.isnan(found["turnback_last_check_timestamp_seconds", "x"])


def test_a_kpi_is_shown_over_its_shortest_window():
    assert samples(view())["turnback_kpi_value", "control", "satisfaction", "x"] == 4.5


def test_a_check_sets_one_outcome_and_its_evidence():
    checked = replace(
        view().guardrails[0], outcome=Outcome.BREACH, code=Code.PROVEN_HARM, evidence=1.2
    )
    found = samples(view(guardrails=(checked,), last_check_at=T))
    outcomes = {
        o: found["turnback_guardrail_outcome", *sorted(["b", o, "satisfaction", "x"])]
        for o in Outcome
    }
    assert {o for o, value in outcomes.items() if value} == {Outcome.BREACH}
    assert found["turnback_guardrail_evidence_ratio", "b", "satisfaction", "x"] == 1.2
    assert found["turnback_last_check_timestamp_seconds", "x"] == T.timestamp()


@pytest.mark.parametrize(("effective", "shown"), [(None, math.nan), (True, 1), (False, 0)])
def test_a_rollback_is_counted_and_its_effect_told(effective, shown):
    rollback = RollbackView("b", 1, T, T, effective, None, None)
    found = samples(view(transitions=(rolled_back(),), rollbacks=(rollback,)))
    assert found["turnback_rollbacks_total", "b", "x"] == 1
    value = found["turnback_rollback_effective", "b", "x"]
    assert value == shown or (math.isnan(value) and math.isnan(shown))


def test_series_of_an_ended_experiment_go_at_once_its_rollbacks_after_a_day():
    ended = samples(view(state="stopped", transitions=(rolled_back(T - timedelta(hours=23)),)))
    assert ended["turnback_experiment_state", "stopped", "x"] == 1
    assert ended["turnback_rollbacks_total", "b", "x"] == 1
    live = ("turnback_kpi_value", "turnback_variant_share_ratio", "turnback_guardrail_outcome")
    assert not [key for key in ended if key[0] in live]
    gone = samples(view(state="stopped", transitions=(rolled_back(T - timedelta(hours=25)),)))
    assert not [key for key in gone if "x" in key[1:]]


def test_checks_and_notifications_are_counted_as_they_happen():
    hook = EngineMetrics(["log", "ops"])
    for seconds in (0.005, 0.1, 99.0):
        hook.on_check(CheckReport("x", T, "ok", "", (), seconds))
    hook.on_notification("ops", "retry")
    found = samples(hook=hook)
    assert found["turnback_checks_total", "ok"] == 3
    assert found["turnback_notifications_total", "ops", "retry"] == 1
    assert found["turnback_check_duration_seconds_bucket", "0.01"] == 1
    assert found["turnback_check_duration_seconds_bucket", "0.1"] == 2
    assert found["turnback_check_duration_seconds_bucket", "30.0"] == 2
    assert found["turnback_check_duration_seconds_bucket", "+Inf"] == 3
    assert found["turnback_check_duration_seconds_sum",] == pytest.approx(99.105)


def test_the_service_is_clean_for_promtool_and_names_no_unit():
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed")
    with running() as it:
        it.apply()
        it.evaluate("somebody-private")
        it.http.post("/api/v1/demo/clock", json={"to": "2026-01-05T02:00:00Z"})
        it.act("roll_back", variant="treatment")
        text = it.http.get("/metrics").text
        openmetrics = it.http.get("/metrics", headers={"Accept": "application/openmetrics-text"})
    done = subprocess.run(
        [promtool, "check", "metrics"], input=text, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert "somebody-private" not in text
    assert f'turnback_rollbacks_total{{experiment="{KEY}",variant="treatment"}} 1.0' in text
    assert f'turnback_variant_share_ratio{{experiment="{KEY}",variant="treatment"}} 0.0' in text
    assert openmetrics.text.endswith("# EOF\n")
