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
PHASES = ("examples", "coverage", "fuzzing", "stateful")
FOLDER = Path(tempfile.gettempdir()) / "turnback-described"
"""Where copies go."""

COPIES = ("/api/v1/backup", "/api/v1/export")
LATER = {429, 503}

_REFUSED = ["2xx", "3xx", "401", "403", "404", "409", "429", "503"]
# what only a service knows, no schema can say: whether weights sum to 100%, a file was named
# twice, an id is there that the experiments served just now decide by, a folder can be written
_KNOWS = {
    "POST /api/v1/experiments": "422",
    "POST /api/v1/rehearse": "422",
    "POST /api/v1/backup": "400",
    "POST /api/v1/export": "400",
    "POST /ofrep/v1/evaluate/flags": "400",
    "POST /ofrep/v1/evaluate/flags/{key}": "400",
    "GET /api/v1/experiments/{key}/explain": "400",
    "POST /api/v1/experiments/{key}/actions": "400",
}
# what is too large is refused before it is read: the tool's own list leaves that answer out
_REFUSALS = ["400", "401", "403", "404", "405", "406", "409", "413", "415", "422", "428", "429"]
_OPERATIONS = [
    {
        "include-name": name,
        "checks": {"positive_data_acceptance": {"expected-statuses": [*_REFUSED, status]}},
    }
    for name, status in _KNOWS.items()
]
# plain YAML scalars are text where text is meant, whatever a schema calls them: the suite of
# spec files knows what is refused. Its schema alone has thousands of edges.
_OPERATIONS[0]["checks"]["negative_data_rejection"] = {"enabled": False}
_SPEC_EDGES = {"phases": {"coverage": {"enabled": False}}}


@dataclass
class Found:
    """What a run came to.

    Attributes:
        cases: Requests by phase.
        statuses: Answers by operation and status.
        failures: Everything that no answer may be, in words, once of a kind.
        errors: What kept the run from going on.
    """

    cases: Counter = field(default_factory=Counter)
    statuses: Counter = field(default_factory=Counter)
    failures: dict = field(default_factory=dict)
    errors: list = field(default_factory=list)

    @property
    def operations(self):
        """Everything that was asked."""
        return {label for label, _ in self.statuses}

    def words(self):
        """Return what is wrong, for people."""
        return "\n\n".join([*self.errors, *self.failures.values()])


def run(url, *, examples, phases=PHASES, seed=7, edges=False):
    """Return what schemathesis finds at a service, with every check that it has.

    Args:
        url: Where it answers; its admin key is ``KEY``, its client key ``CLIENT``.
        examples: Most cases of one operation, and sequences of operations.
        phases: Of `PHASES`.
        seed: The same cases again.
        edges: Whether each edge of the schema of spec files is tried.
    """
    operations = [*_OPERATIONS]
    if not edges:
        operations[0] = operations[0] | _SPEC_EDGES
    config = SchemathesisConfig.from_dict(
        {
            "seed": seed,
            "base-url": url,
            "headers": {"Authorization": f"Bearer {KEY}"},
            "parameters": {"client_key": CLIENT},
            "request-timeout": 30,
            "max-stream-events": 1,
            "continue-on-failure": True,
            "generation": {"max-examples": examples, "no-shrink": True, "database": "none"},
            "phases": {name: {"enabled": name in phases} for name in PHASES},
            "checks": {"negative_data_rejection": {"expected-statuses": _REFUSALS}},
            "operations": operations,
        }
    )
    where = f"{url}/openapi.json"
    schema = schemathesis.openapi.from_url(where, config=config, headers={"X-API-Key": KEY})
    found = Found()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.NonFatalError):
            found.errors.append(f"{event.label}: {event.value!r}")
        elif isinstance(event, events.FatalError):
            found.errors.append(repr(event.exception))
        elif isinstance(event, events.ScenarioFinished):
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
    recorder = event.recorder
    for key, made in recorder.interactions.items():
        found.cases[event.phase.value] += 1
        response = made.response
        if response is None:
            continue
        label = recorder.cases[key].value.operation.label
        found.statuses[label, response.status_code] += 1
        if response.status_code in LATER and not response.headers.get("retry-after"):
            found.failures[label, "later"] = f"{label}: {response.status_code} does not say when"
    for key, checks in recorder.checks.items():
        for check in checks:
            if check.failure_info is not None:
                failure, shown = check.failure_info.failure, check.failure_info.code_sample
                answer = recorder.interactions[key].response
                about = (failure.operation, failure.title, failure.message[-90:])
                told = "\n".join((*about[:2], failure.message, shown, answer.text[:400]))
                found.failures.setdefault(about, told)
