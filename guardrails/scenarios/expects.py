"""What can be expected in a scenario: one function per word, telling what is not so."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from experiments.assignment import TARGETING_KEY
from experiments.language.amounts import format_duration
from guardrails.scenarios.quantities import Range
from guardrails.scenarios.values import Told, Turned
from guardrails.scenarios.world import World
from guardrails.views import ExperimentView, GuardrailView, TransitionView

Objection = tuple[str, str]
"""What was expected, and what was, in words."""

_SAMPLE: Final = 25


def _view(world: World) -> ExperimentView:
    return world.engine.experiment(world.scenario.key)


def _some(found: Sequence[str]) -> str:
    return ", ".join(found) or "none"


def _state(world: World, expected: str) -> Iterator[Objection]:
    if (state := _view(world).state) != expected:
        yield expected, state


def _live(world: World, expected: Sequence[str]) -> Iterator[Objection]:
    states = {v.name: v.state for v in _view(world).variants}
    for name in expected:
        if states[name] != "live":
            yield f"{name} is live", f"{name} is {states[name].replace('_', ' ')}"


def _rolled_back(world: World, expected: Sequence[Turned]) -> Iterator[Objection]:
    """Compare every treatment that is rolled back now with those that should be."""
    view = _view(world)
    back = [v.name for v in view.variants if v.state == "rolled_back"]
    for name in back:
        if all(turned.variant != name for turned in expected):
            newest = _newest(view, name)
            why = f"at {_since(world, newest)}: {newest.reason}" if newest else "turned back"
            yield f"{name} is not rolled back", why
    for turned in expected:
        newest = _newest(view, turned.variant)
        if turned.variant not in back or newest is None:
            yield f"{turned.variant} is rolled back", f"it is live ({_evidence(view)})"
            continue
        yield from _as_turned(world, newest, turned)


def _newest(view: ExperimentView, variant: str) -> TransitionView | None:
    found = [t for t in view.transitions if t.variant == variant and t.after == "rolled_back"]
    return found[-1] if found else None


def _as_turned(world: World, done: TransitionView, turned: Turned) -> Iterator[Objection]:
    at = done.at - world.scenario.starts
    if turned.between is not None and not turned.between[0] <= at <= turned.between[1]:
        first, last = map(format_duration, turned.between)
        yield f"rolled back between {first} and {last}", f"at {format_duration(at)}: {done.reason}"
    finding = (done.evidence or {}).get("finding") or {}
    by = str(finding.get("guardrail", "person"))
    if turned.by is not None and by != turned.by:
        yield f"rolled back by {turned.by}", f"by {by}: {done.reason}"
    for words in turned.because:
        if words.lower() not in done.reason.lower():
            yield f"the reason says `{words}`", done.reason


def _since(world: World, done: TransitionView) -> str:
    return format_duration(done.at - world.scenario.starts)


def _evidence(view: ExperimentView) -> str:
    strongest = max(view.guardrails, key=lambda g: g.evidence, default=None)
    if strongest is None:
        return "nothing is judged"
    return f"strongest: {strongest.guardrail} at {strongest.evidence:.0%} of its boundary"


def _attempt(world: World, expected: Mapping[str, Range]) -> Iterator[Objection]:
    attempts = {v.name: v.attempt for v in _view(world).variants}
    for name, count in expected.items():
        if attempts[name] not in count:
            yield f"attempt {count} of {name}", str(attempts[name])


def _step(world: World, expected: Range) -> Iterator[Objection]:
    view = _view(world)
    if view.step + 1 not in expected:
        yield f"step {expected} of {view.steps}", f"step {view.step + 1} ({view.waiting})"


def _outcomes(world: World, expected: Mapping[str, Sequence[str]]) -> Iterator[Objection]:
    """Compare newest findings: ``satisfaction of treatment: pass or inconclusive``."""
    for name, wanted in expected.items():
        found = _judged(world, name)
        if not found:
            yield f"{name} is judged", "no guardrail of that name was judged"
        for guardrail in found:
            outcome = guardrail.outcome.value if guardrail.outcome else "not judged yet"
            code = guardrail.code.value if guardrail.code else ""
            if not any(_fits(words, outcome, code) for words in wanted):
                was = f"{outcome} ({code}): {guardrail.words}" if code else outcome
                yield f"{name} is {' or '.join(wanted)}", was


def _judged(world: World, name: str) -> list[GuardrailView]:
    guardrail, _, variant = name.partition(" of ")
    return [
        g
        for g in _view(world).guardrails
        if g.guardrail == guardrail and variant in {"", g.treatment}
    ]


def _fits(words: str, outcome: str, code: str) -> bool:
    negated = words.startswith("not ")
    return all(word in {outcome, code} for word in words.removeprefix("not ").split()) != negated


def _told(world: World, expected: Sequence[Told]) -> Iterator[Objection]:
    for each in expected:
        fitting = [
            m
            for m in world.mailbox.messages
            if m.kind == each.kind and each.about in {None, m.variant}
        ]
        about = f" about {each.about}" if each.about else ""
        if len(fitting) not in each.count:
            was = _some([f"{m.kind} ({m.title})" for m in world.mailbox.messages])
            yield f"{each.count} messages {each.kind}{about}", f"{len(fitting)}; told: {was}"
        told = " ".join(f"{m.title}. {m.text}" for m in fitting)
        if fitting:
            for words in each.text:
                if words.lower() not in told.lower():
                    yield f"a message {each.kind} says `{words}`", told


def _units(world: World, expected: Mapping[str, Range]) -> Iterator[Objection]:
    exposed = {v.name: v.exposed for v in _view(world).variants}
    for name, count in expected.items():
        if exposed[name] not in count:
            yield f"{count} units of {name}", f"{exposed[name]:,}"


def _served(world: World, expected: Mapping[str, Mapping[str, str]]) -> Iterator[Objection]:
    """Compare what units of an arm get now: units whose hash says that arm."""
    compiled = world.engine.serving().experiments.get(world.scenario.key)
    unit_type = world.scenario.spec.experiment.unit
    for arm, wanted in expected.items():
        for unit in world.met.get(arm, [])[:_SAMPLE]:
            if compiled is None:
                yield f"units of {arm} get {_get(wanted)}", "the experiment is not served"
                break
            answer = compiled.assign({unit_type: unit, TARGETING_KEY: unit})
            got = {"variant": answer.variant, "reason": str(answer.reason)}
            if any(got[key] != value for key, value in wanted.items()):
                yield f"units of {arm} get {_get(wanted)}", _get(got)
                break


def _get(answer: Mapping[str, str]) -> str:
    return ", ".join(answer.values())


def _attention(world: World, expected: Sequence[str]) -> Iterator[Objection]:
    lines = _view(world).attention
    if not expected and lines:
        yield "nothing needs attention", " | ".join(lines)
    for words in expected:
        if not any(words.lower() in line.lower() for line in lines):
            yield f"a line of attention says `{words}`", " | ".join(lines) or "none"


def _changes(world: World, expected: Mapping[str, Range]) -> Iterator[Objection]:
    done = [t.after for t in world.engine.transitions(world.scenario.key)]
    for after, count in expected.items():
        if done.count(after) not in count:
            yield f"{count} changes to {after}", f"{done.count(after)} of {_some(done)}"


def _decision(world: World, expected: Sequence[str]) -> Iterator[Objection]:
    newest = world.reports[-1].decision if world.reports else "no check was run"
    for words in expected:
        if words.lower() not in newest.lower():
            yield f"the newest decision says `{words}`", newest


def _checks(world: World, expected: Range) -> Iterator[Objection]:
    count = sum(report.result in {"ok", "error"} for report in world.reports)
    if count not in expected:
        yield f"{expected} checks", str(count)


def _missed(world: World, expected: Range) -> Iterator[Objection]:
    count = world.engine.missed(world.scenario.key)
    if count not in expected:
        yield f"{expected} checks that nobody ran", str(count)


def _shared(world: World, expected: Mapping[str, Range]) -> Iterator[Objection]:
    """Compare how many units met this experiment and another one."""
    spec = world.scenario.spec.experiment
    mine = world.store.exposed_units(spec.key, spec.seed).keys()
    seeds = {view.key: view.seed for view in world.engine.experiments()}
    for key, count in expected.items():
        both = len(mine & world.store.exposed_units(key, seeds.get(key, 1)).keys())
        if both not in count:
            yield f"{count} units that met {key} too", str(both)


def _explained(world: World, expected: Sequence[str]) -> Iterator[Objection]:
    told = world.engine.explain(world.scenario.key)
    text = " ".join((told.headline, *told.paragraphs))
    for words in expected:
        if words.lower() not in text.lower():
            yield f"explain says `{words}`", text


def _quarantine(world: World, expected: Mapping[str, Range]) -> Iterator[Objection]:
    counts = world.store.quarantine_counts()
    for code, count in expected.items():
        if counts.get(code, 0) not in count:
            was = _some([f"{name}: {n}" for name, n in counts.items()])
            yield f"{count} events refused as {code}", was


def _verified(world: World, expected: Mapping[str, str]) -> Iterator[Objection]:
    words = {True: "effective", False: "ineffective", None: "not known yet"}
    found = {r.variant: words[r.effective] for r in _view(world).rollbacks}
    for variant, wanted in expected.items():
        if found.get(variant, "not rolled back") != wanted:
            yield f"the rollback of {variant} is {wanted}", found.get(variant, "not rolled back")


def _blind(world: World, expected: Mapping[str, timedelta | None]) -> Iterator[Objection]:
    """Compare for how long guardrails have been blind; ``None``: they can see."""
    for name, least in expected.items():
        for guardrail in _judged(world, name):
            since = guardrail.blind_since
            if least is None and since is not None:
                yield f"{name} can see", f"blind since {since:%Y-%m-%d %H:%M}"
            if least is not None and (since is None or world.clock.now() - since < least):
                was = f"since {since:%Y-%m-%d %H:%M}" if since else "it can see"
                yield f"{name} is blind for {format_duration(least)} or longer", was


EXPECTS: Final[Mapping[str, Callable[[World, Any], Iterator[Objection]]]] = {
    "state": _state,
    "live": _live,
    "rolled_back": _rolled_back,
    "attempt": _attempt,
    "step": _step,
    "outcomes": _outcomes,
    "told": _told,
    "units": _units,
    "served": _served,
    "attention": _attention,
    "changes": _changes,
    "decision": _decision,
    "checks": _checks,
    "missed": _missed,
    "shared": _shared,
    "explained": _explained,
    "quarantine": _quarantine,
    "verified": _verified,
    "blind": _blind,
}
"""What can be expected, by its word in the file; a new one is a function, a line here and a key."""
