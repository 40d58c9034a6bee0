"""The OpenFeature Remote Evaluation Protocol 0.3.0: what is answered. Pure, no HTTP.

What real clients need beyond the protocol: every successful item has ``key``, ``value``,
``reason`` and ``variant``, every failure ``key``, ``errorCode`` and ``errorDetails``.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, Protocol, cast

import msgspec

from experiments.assignment import Assignment, CompiledExperiment, Reason, unit_of
from experiments.exposures import LONGEST_ID
from experiments.language.reading import near_matches
from metrics.wire import kind_of

PARSE_ERROR = "PARSE_ERROR"
TARGETING_KEY_MISSING = "TARGETING_KEY_MISSING"
INVALID_CONTEXT = "INVALID_CONTEXT"
FLAG_NOT_FOUND = "FLAG_NOT_FOUND"
GENERAL = "GENERAL"

ROLLED_BACK = "rolled_back"
PAUSED = "paused"


class Served(Protocol):
    """What is served now: replaced as a whole by every change, never changed in place."""

    @property
    def experiments(self) -> Mapping[str, CompiledExperiment]:
        """Experiments by key."""
        ...

    @property
    def version(self) -> str:
        """Another value for other contents."""
        ...


class ContextError(Exception):
    """A request whose body is no evaluation request.

    Attributes:
        code: One of the protocol's error codes.
    """

    def __init__(self, code: str, details: str) -> None:
        super().__init__(details)
        self.code = code
        self.details = details


_decode = msgspec.json.Decoder().decode


def context_of(body: bytes) -> dict[str, Any]:
    """Return the evaluation context of a request body.

    Raises:
        ContextError: ``PARSE_ERROR`` when the body is no JSON, ``INVALID_CONTEXT`` when it has
            no object ``context`` or its ``targetingKey`` is no string.
    """
    try:
        request: Any = _decode(body)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise ContextError(PARSE_ERROR, f"the body is no JSON: {error}") from None
    context: Any = cast("dict[str, Any]", request).get("context") if type(request) is dict else None
    if type(context) is not dict:
        raise ContextError(
            INVALID_CONTEXT, 'the body needs an object "context", {"context": {"targetingKey": …}}'
        )
    values = cast("dict[str, Any]", context)
    key = values.get("targetingKey")
    if key is not None and type(key) is not str:
        raise ContextError(
            INVALID_CONTEXT, f"context.targetingKey is {kind_of(key)}; send a string{_quoted(key)}"
        )
    return values


def _quoted(key: object) -> str:
    """Return how to send a number as a string; nothing of what is none."""
    return ', in quotes: {"targetingKey": "20391"}' if type(key) in {int, float} else ""


def failure(key: str | None, code: str, details: str) -> bytes:
    """Return a failure as JSON; ``key`` is ``None`` when a whole bulk request failed."""
    body = {"errorCode": code, "errorDetails": details}
    return msgspec.json.encode(body if key is None else {"key": key, **body})


def not_found(key: str | None, experiments: Mapping[str, CompiledExperiment]) -> str:
    """Return the words of ``FLAG_NOT_FOUND``: the key that was meant, or the few there are.

    They tell no more than the bulk answer, which the same caller may ask for.
    """
    near = _near_keys(key or "", tuple(experiments))
    if near:
        more = f"did you mean `{near[0]}`?"
    elif not experiments:
        more = "none is yet: `turnback apply FILE`"
    elif len(experiments) <= _FEW:
        more = f"served: {', '.join(f'`{each}`' for each in sorted(experiments))}"
    else:
        more = "`turnback status` lists them"
    return f"no experiment '{key}' is served here; {more}"


_FEW = 5
"""Flags that a message names."""


@lru_cache(maxsize=256)  # an application with a wrong key asks at every request
def _near_keys(key: str, known: tuple[str, ...]) -> list[str]:
    return near_matches(key, sorted(known))


def missing_unit(compiled: CompiledExperiment) -> str:
    """Return the words of ``TARGETING_KEY_MISSING``."""
    unit = compiled.spec.unit
    return (
        f"'{compiled.spec.key}' decides by the id of '{unit}'; "
        f"send it as context.targetingKey or context.{unit}"
    )


def success(compiled: CompiledExperiment, assignment: Assignment, *, exposed: bool) -> bytes:
    """Return one evaluated flag as JSON.

    A ``flow`` of null has no ``value``: the protocol's way to say "use the code's default".

    Args:
        compiled: The experiment.
        assignment: What the unit gets.
        exposed: Whether an exposure is, or may be, recorded.
    """
    serving = compiled.serving
    turned_back = assignment.reason is Reason.DISABLED and serving.state != PAUSED
    item: dict[str, Any] = {"key": compiled.spec.key}
    if assignment.value is not None:
        item["value"] = assignment.value
    item["reason"] = assignment.reason.value
    item["variant"] = assignment.variant
    item["metadata"] = {
        "turnback.experiment": compiled.spec.key,
        "turnback.state": ROLLED_BACK if turned_back else serving.state,
        # clients that record exposures themselves send one only where this is true
        "turnback.exposed": exposed,
    }
    return msgspec.json.encode(item)


@dataclass(frozen=True, slots=True)
class Evaluated:
    """One evaluated flag: its JSON, and the exposure to be noted, if any.

    Attributes:
        body: The answer.
        unit: Id of the unit whose exposure this evaluation is, ``None`` when it is none.
        variant: Arm served.
    """

    body: bytes
    unit: str | None
    variant: str


class Evaluator:
    """Evaluates against what is served, encoding each possible answer once per version.

    An answer depends on the unit only through its assignment, so a handful of encoded bodies
    serve every request until the served version changes.
    """

    def __init__(self, served: Served) -> None:
        self.version = served.version
        self.experiments = served.experiments
        # by identity: the compiled experiments hold one assignment per possible answer
        self._bodies: dict[int, bytes] = {}
        self._unexposed: dict[int, bytes] = {}

    def evaluate(
        self, compiled: CompiledExperiment, context: Mapping[str, Any]
    ) -> Evaluated | None:
        """Return the answer for one experiment, ``None`` when the id it decides by is missing.

        A unit whose id no event can name is served its arm, and said not to be exposed. Where
        exposures are events of the application, it is told which units to send one for.
        """
        assignment = compiled.assign(context)
        if assignment.reason is Reason.UNKNOWN:
            return None
        unit = unit_of(compiled.spec.unit, context) if assignment.counts else None
        bodies = self._bodies
        if unit is not None and len(unit) > LONGEST_ID:
            unit, bodies = None, self._unexposed
        body = bodies.get(id(assignment))
        if body is None:
            exposed = unit is not None
            body = bodies[id(assignment)] = success(compiled, assignment, exposed=exposed)
        return Evaluated(body, unit if assignment.exposed else None, assignment.variant)


def evaluate_all(evaluator: Evaluator, context: Mapping[str, Any]) -> tuple[bytes, ...]:
    """Return every served flag, sorted by key; nothing of it is an exposure.

    Raises:
        ContextError: No flag could be evaluated because the context has no id at all.
    """
    items: list[bytes] = []
    failed = 0
    for key in sorted(evaluator.experiments):
        compiled = evaluator.experiments[key]
        evaluated = evaluator.evaluate(compiled, context)
        if evaluated is None:
            failed += 1
            items.append(failure(key, TARGETING_KEY_MISSING, missing_unit(compiled)))
        else:
            items.append(evaluated.body)
    if items and failed == len(items):
        raise ContextError(INVALID_CONTEXT, "the context needs a targetingKey, a string")
    return tuple(items)


def bulk_body(items: Sequence[bytes], stream: str) -> bytes:
    """Return the bulk answer: flags, and where changes are announced."""
    streams = msgspec.json.encode(
        [{"type": "sse", "endpoint": {"requestUri": stream}, "inactivityDelaySec": 120}]
    )
    return b'{"flags":[' + b",".join(items) + b'],"eventStreams":' + streams + b"}"


def entity_tag(body: bytes) -> str:
    """Return the tag of an evaluated answer, quoted.

    It is made of the answer, not of the configuration: the same configuration answers
    different contexts differently.
    """
    return f'"{hashlib.blake2b(body, digest_size=12).hexdigest()}"'


def tag_matches(if_none_match: str | None, tag: str) -> bool:
    """Return whether a client already holds the answer ``tag``.

    Weak comparison of quoted, weak (``W/``) and unquoted tags, alone or in a list; ``*``
    matches whatever there is.
    """
    if not if_none_match:
        return False
    bare = tag.strip('"')
    for candidate in if_none_match.split(","):
        given = candidate.strip()
        if given == "*":
            return True
        if given[:2] in {"W/", "w/"}:
            given = given[2:]
        if given.strip('"') == bare:
            return True
    return False


def change_event(version: str, changed_at: float) -> bytes:
    """Return one server-sent event that asks clients to evaluate again."""
    data = msgspec.json.encode(
        {"type": "refetchEvaluation", "etag": f'"{version}"', "lastModified": int(changed_at)}
    )
    return b"event: message\nid: " + version.encode() + b"\ndata: " + data + b"\n\n"
