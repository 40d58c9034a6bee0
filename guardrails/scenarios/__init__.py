"""Scenarios: timelines in YAML, played through the real engine with an injected clock.

``load_scenario_file`` reads one, ``play`` plays it; ``turnback scenario FILE`` does both.
"""

from guardrails.scenarios.language import load_scenario, load_scenario_file, scenario_schema
from guardrails.scenarios.runner import play
from guardrails.scenarios.values import Failure, Scenario, ScenarioResult

__all__ = [
    "Failure",
    "Scenario",
    "ScenarioResult",
    "load_scenario",
    "load_scenario_file",
    "play",
    "scenario_schema",
]
