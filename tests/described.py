"""Schemathesis over the description of a running service: what it finds, in words."""

import tempfile
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import schemathesis
from schemathesis import engine
from schemathesis.config import SchemathesisConfig
from schemathesis.engine import events

KEY, CLIENT = "an-admin-key", "a-client-key"
FOLDER = Path(tempfile.gettempdir()) / "turnback-described"
"""Where copies go."""

COPIES = ("/api/v1/backup", "/api/v1/export")


@dataclass
class Found:
    """What a run came to.

    Attributes:
        cases: Requests by phase.
        statuses: Answers by operation and status.
        failures: Everything that no answer may be, in words.
        errors: What kept the run from going on.
        later: Answers 503 and 429 without a time to come back at.
    """

    cases: Counter = field(default_factory=Counter)
    statuses: Counter = field(default_factory=Counter)
    failures: dict = field(default_factory=dict)
    errors: list = field(default_factory=list)
    later: list = field(default_factory=list)
    operations: set = field(default_factory=set)


def run(
    url,
    *,
    examples,
    steps=6,
    phases=("examples", "coverage", "fuzzing", "stateful"),
    seed=7,
    include=None,
    operations=(),
):
    """Return what schemathesis finds at a service, with every check that it has."""
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": url,
            "headers": {"Authorization": f"Bearer {KEY}"},
            "parameters": {"client_key": CLIENT},
            "request-timeout": 30,
            "max-stream-events": 1,
            "continue-on-failure": True,
            "generation": {
                "max-examples": examples,
                "deterministic": False,
                "no-shrink": True,
                "database": "none",
            },
            "phases": {
                name: {"enabled": name in phases}
                for name in ("examples", "coverage", "fuzzing", "stateful")
            },
            "operations": [*operations],
        }
    )
    config.output.sanitization.enabled = False
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json", config=config)
    if include:
        schema = schema.include(path_regex=include)
    found = Found()
    for event in engine.from_schema(schema).execute():
        _note(event, found)
    return found


@schemathesis.hook("before_call")
def _confined(_context, case, _kwargs):
    """Let copies be written into a folder alone: whoever may make one names any place."""
    if case.operation.path in COPIES and isinstance(case.body, dict):
        to = case.body.get("to")
        if isinstance(to, str):
            parts = [part for part in to.split("/") if part not in {"", ".", ".."}]
            case.body = case.body | {"to": "/".join([str(FOLDER), *parts])}


def _note(event, found):
    if isinstance(event, events.NonFatalError):
        found.errors.append(f"{event.label}: {event.value!r}")
    elif isinstance(event, events.FatalError):
        found.errors.append(repr(event.exception))
    elif isinstance(event, events.ScenarioFinished):
        recorder = event.recorder
        for key, made in recorder.interactions.items():
            found.cases[event.phase.value] += 1
            case = recorder.cases[key].value
            label = case.operation.label
            found.operations.add(label)
            if made.response is not None:
                found.statuses[label, made.response.status_code] += 1
        for checks in recorder.checks.values():
            for check in checks:
                if check.failure_info is not None:
                    failure = check.failure_info.failure
                    words = f"{failure.operation}: {failure.title}: {failure.message}"
                    found.failures.setdefault(
                        (failure.operation, failure.title, failure.message[-90:]),
                        words
                        + "\n"
                        + check.failure_info.code_sample
                        + "\n"
                        + recorder.interactions[key].response.text[:400],
                    )
