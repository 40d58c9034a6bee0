"""Experiments over HTTP: applying files, reading what happened, deciding by hand."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response
from pydantic import AfterValidator, AwareDatetime, BaseModel, ConfigDict, Field, field_validator
from starlette.concurrency import run_in_threadpool

from experiments.errors import InvalidRequestError, Problem, Severity, SpecError
from guardrails.api import examples
from guardrails.api.acting import LONGEST_REASON, SOME, Action, Text, act
from guardrails.api.answers import described, refusals, to_json
from guardrails.api.description import SPEC_FILE
from guardrails.engine import Engine
from guardrails.planning.measured import Measured
from guardrails.problems import told
from guardrails.rehearsal import Rehearsed
from guardrails.spec_paths import LARGEST_SPEC
from guardrails.texts import header_text
from guardrails.views import (
    ApplyView,
    ExperimentView,
    Explanation,
    RevisionView,
    TransitionView,
)
from metrics.asgi import read_body

MOST_SPECS = 1_000
"""Files of one rehearsal."""

LONGEST_NAME = 200
"""Characters of a name in a path: what is longer is none."""

Key = Annotated[str, Path(min_length=1, max_length=LONGEST_NAME, description="The experiment.")]
Actor = Annotated[
    str,
    Header(
        alias="X-Turnback-Actor",
        min_length=1,
        max_length=200,
        description="Who asks; it is kept with what was done.",
    ),
    AfterValidator(header_text),
]
Source = Annotated[
    str, Query(max_length=500, description="Name of the file, for problems and the record.")
]
SPEC_BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "description": f"The text of a spec file, at most {LARGEST_SPEC:,} bytes of UTF-8.",
        "content": {
            "application/yaml": {
                "schema": {"$ref": f"#/components/schemas/{SPEC_FILE}"},
                "example": examples.SPEC,
            }
        },
    }
}

ANY_BODY: dict[str, Any] = {
    "requestBody": {
        "description": f"Any text, at most {LARGEST_SPEC:,} bytes of UTF-8.",
        "content": {"application/yaml": {"schema": {}, "example": examples.SPEC}},
    }
}


class Note(BaseModel):
    """What is written on the timeline."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.NOTE]})

    text: Text = Field(
        max_length=LONGEST_REASON, description="It is kept, and shown.", json_schema_extra=SOME
    )


class Why(BaseModel):
    """Why every treatment is turned back: it is kept."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.WHY]})

    reason: Text = Field(
        max_length=LONGEST_REASON, description="Why; it is kept.", json_schema_extra=SOME
    )


@dataclass(frozen=True, slots=True)
class Experiments:
    """Every experiment."""

    experiments: tuple[ExperimentView, ...]


@dataclass(frozen=True, slots=True)
class Transitions:
    """Every change of state."""

    transitions: tuple[TransitionView, ...]


@dataclass(frozen=True, slots=True)
class Revisions:
    """Every applied file."""

    revisions: tuple[RevisionView, ...]


@dataclass(frozen=True, slots=True)
class Validation:
    """Whether a file may be applied here; of many problems the first, and how many more."""

    ok: bool
    problems: tuple[Problem, ...]
    left_out: int = 0


class SpecText(BaseModel):
    """One spec file."""

    model_config = ConfigDict(extra="forbid")

    source: Text = Field(max_length=500, description="Name of the file, for problems.")
    text: Text = Field(max_length=LARGEST_SPEC, description="The text of the file.")


class SpecSet(BaseModel):
    """Spec files in the order in which they would be applied."""

    model_config = ConfigDict(extra="forbid", json_schema_extra={"examples": [examples.SPEC_SET]})

    files: list[SpecText] = Field(max_length=MOST_SPECS, json_schema_extra={"uniqueItems": True})

    @field_validator("files")
    @classmethod
    def _each_once(cls, files: list[SpecText]) -> list[SpecText]:
        if len({file.source for file in files}) < len(files):
            raise ValueError("names a file twice")
        return files


@dataclass(frozen=True, slots=True)
class RehearsedFile:
    """What applying one file would do: ``applied``, or why it would be refused, in ``error``.

    Of many ``problems`` the first, and how many more; warnings are among them.
    """

    source: str
    ok: bool
    problems: tuple[Problem, ...]
    left_out: int
    error: dict[str, Any] | None
    applied: ApplyView | None


@dataclass(frozen=True, slots=True)
class Rehearsal:
    """What applying files one after another would do; ``ok`` when no file has an error."""

    ok: bool
    files: tuple[RehearsedFile, ...]


def router(engine: Callable[[], Engine], note_valid: Callable[[bool], None]) -> APIRouter:
    """Return the routes that read and change experiments.

    Args:
        engine: Returns the running engine.
        note_valid: Told whether the newest file was valid.
    """
    api = APIRouter(prefix="/api/v1/experiments", tags=["experiments"], responses=refusals())
    _reading(api, engine)
    created = described(ApplyView, examples.APPLIED, status=201, what="A new experiment")
    changed = described(
        ApplyView, {**examples.APPLIED, "result": "updated"}, what="Updated, unchanged or a dry run"
    )

    @api.post(
        "",
        summary="Apply a spec file, or say what applying it would do",
        openapi_extra=SPEC_BODY,
        responses={**created, **changed, **refusals(examples.FAULTY)},
    )
    async def apply(
        request: Request,
        source: Source = "<request>",
        *,
        dry_run: Annotated[
            bool, Query(description="Say what would change, and change nothing.")
        ] = False,
        actor: Actor = "api",
    ) -> Response:
        text = await _text(request)

        def work() -> ApplyView:
            return engine().apply(text, source=source, actor=actor, dry_run=dry_run)

        try:
            view = await run_in_threadpool(work)
        except SpecError:
            if not dry_run:
                note_valid(False)
            raise
        if not dry_run:
            note_valid(True)
        return to_json(view, status=201 if view.result == "created" and not dry_run else 200)

    @api.post(
        "/{key}/actions",
        summary="Start, pause, continue, approve, extend, stop, roll back or resume",
        openapi_extra={
            "requestBody": {"content": {"application/json": {"examples": examples.NAMED_ACTIONS}}}
        },
        responses={
            **described(TransitionView, examples.TRANSITION),
            **refusals(examples.ILLEGAL),
        },
    )
    def decide(key: Key, action: Action, actor: Actor = "api") -> Response:
        return to_json(act(engine(), key, action, actor))

    @api.post(
        "/{key}/rollbacks",
        summary="Turn every live treatment back: all, or none where it is refused",
        responses={
            **described(Transitions, {"transitions": [examples.ROLLED_BACK]}),
            **refusals(examples.ILLEGAL),
        },
    )
    def turn_back(key: Key, asked: Why, actor: Actor = "api") -> Response:
        return to_json(Transitions(engine().roll_back_all(key, reason=asked.reason, actor=actor)))

    @api.post(
        "/{key}/notes",
        summary="Write on the timeline; nothing else changes",
        responses=described(TransitionView, examples.NOTED),
    )
    def note(key: Key, noted: Note, actor: Actor = "api") -> Response:
        return to_json(engine().note(key, noted.text, actor=actor))

    _ = (apply, decide, turn_back, note)
    return api


def _reading(api: APIRouter, engine: Callable[[], Engine]) -> None:
    @api.get(
        "",
        summary="Every experiment, oldest first",
        responses=described(Experiments, {"experiments": []}),
    )
    def experiments() -> Response:
        return to_json(Experiments(engine().experiments()))

    @api.get(
        "/{key}",
        summary="Everything shown of one experiment",
        responses={200: {"model": ExperimentView, "description": "Done"}},
    )
    def experiment(key: Key) -> Response:
        return to_json(engine().experiment(key))

    @api.get(
        "/{key}/revisions",
        summary="Every applied file, oldest first",
        responses=described(Revisions, {"revisions": [examples.REVISION]}),
    )
    def revisions(key: Key) -> Response:
        return to_json(Revisions(engine().revisions(key)))

    @api.get(
        "/{key}/transitions",
        summary="Every change of state, oldest first",
        responses=described(Transitions, {"transitions": [examples.TRANSITION]}),
    )
    def transitions(key: Key) -> Response:
        return to_json(Transitions(engine().transitions(key)))

    @api.get(
        "/{key}/explain",
        summary="What happened and why, in words",
        responses=described(Explanation, examples.EXPLANATION),
    )
    def explain(
        key: Key,
        at: Annotated[
            AwareDatetime | None, Query(description="As of this instant; now by default.")
        ] = None,
    ) -> Response:
        return to_json(engine().explain(key, at=None if at is None else at.astimezone(UTC)))

    @api.get(
        "/{key}/baselines",
        summary="What is known of control's KPIs and the traffic, for planning another run",
        responses={200: {"model": Measured, "description": "Done"}},
    )
    def baselines(key: Key) -> Response:
        return to_json(engine().measured(key))

    _ = (experiments, experiment, revisions, transitions, explain, baselines)


def validation_router(engine: Callable[[], Engine]) -> APIRouter:
    """Return the routes that say what applying files would meet; they change nothing.

    Args:
        engine: Returns the running engine.
    """
    api = APIRouter(prefix="/api/v1", tags=["experiments"], responses=refusals())

    @api.post(
        "/validate",
        summary="Check a spec file against this service, and what runs on it",
        openapi_extra=ANY_BODY,
        responses=described(Validation, examples.VALIDATION, what="Its problems, or none"),
    )
    async def validate(request: Request, source: Source = "<request>") -> Response:
        text = await _text(request)
        problems = await run_in_threadpool(lambda: engine().validate(text, source=source))
        first, left_out = told(problems)
        return to_json(Validation(_good(problems), tuple(first), left_out))

    @api.post(
        "/rehearse",
        summary="Say what applying spec files one after another would do",
        responses=described(Rehearsal, examples.REHEARSAL, what="Each file, in the order given"),
    )
    def rehearse(specs: SpecSet, actor: Actor = "api") -> Response:
        texts = {file.source: file.text for file in specs.files}
        files = tuple(map(_rehearsed, engine().rehearse(texts, actor=actor)))
        return to_json(Rehearsal(all(file.ok for file in files), files))

    _ = (validate, rehearse)
    return api


def _good(problems: Sequence[Problem]) -> bool:
    return all(problem.severity is not Severity.ERROR for problem in problems)


def _rehearsed(one: Rehearsed) -> RehearsedFile:
    first, left_out = told(one.problems)
    refusal = None
    if isinstance(one.refusal, SpecError):  # its problems are there already
        refusal = {"code": one.refusal.code, "message": str(first[0]), "hint": None, "path": None}
    elif one.refusal is not None:
        refusal = one.refusal.to_json()["error"]
    return RehearsedFile(one.source, _good(one.problems), tuple(first), left_out, refusal, one.view)


async def _text(request: Request) -> str:
    body = await read_body(request.receive, LARGEST_SPEC)
    try:
        return body.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidRequestError(
            f"the file is no UTF-8 (byte {error.start})", hint="save it as UTF-8"
        ) from None
