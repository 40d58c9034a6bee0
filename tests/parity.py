"""Random experiments and contexts, and a checker of our answers against GrowthBook's client."""

import itertools
import json
import random
import re
import string
from collections import Counter
from dataclasses import dataclass, field, replace
from datetime import timedelta
from typing import Any

from growthbook import GrowthBook

from experiments.assignment import CompiledExperiment, Reason, Serving, compile_experiment
from experiments.audience import AnyOf, Condition, Operator
from experiments.growthbook import growthbook_payload
from experiments.hashing import unit_id
from experiments.layers import LayerFullError, allocate
from experiments.spec import CONTROL, Ends, ExperimentSpec, Layer, RampStep, VariantSpec

ALPHABETS = (
    string.ascii_letters + string.digits + "-_",
    string.printable,
    "äöüßéñ€ÿĀłż",
    "订单用户取消一二三",
    "😀🧾🎁🏳️\u200d🌈",
    "a1é订😀\ud800\udfff",
)
FLOWS = (
    None,
    True,
    False,
    0,
    17,
    2.5,
    "",
    "long",
    [],
    ["why", "confirm"],
    {},
    {"steps": ["why", {"text": "really?", "after": 3}], "coupon": None},
)
PLATFORMS = ("ios", "android", "web")
COUNTRIES = ("DE", "FR", "SE", "AT")
VERSIONS = ("3.10.2", "3.9", "3.10.2-beta.1", "v3.11.0", "10.0.0", "2.0.0", "1.2.3+b", "")
NAMES = ("anna@example.com", "bob", "Zoë", "订单", "test-17", "", "a\nb", "a" * 257, "😀")


def number(rng):
    return rng.choice([0, 1, 19.9, 20, 20.0, 21, 99, 100, -5, 10**9, 0.1])


POOL = {
    "platform": lambda rng: rng.choice(PLATFORMS),
    "country": lambda rng: rng.choice(COUNTRIES),
    "order.value": number,
    "age": number,
    "vip": lambda rng: rng.random() < 0.5,
    "version": lambda rng: rng.choice(VERSIONS),
    "name": lambda rng: rng.choice(NAMES),
    "segments": lambda rng: rng.sample(("vip", "new", "b2b"), rng.randint(0, 3)),
}
PATTERNS = (r"@example\.com$", "^a", "[0-9]+", "b|Z", "^.{3}$", "^$", "anna?@")
SURROGATES = re.compile("[\ud800-\udfff]")
WRONG = ("ios", "", "20", 0, 1, 20, True, False, None, [], ["DE"], [1, None], [[1]], {"a": 1})


def random_unit(rng):
    if rng.random() < 0.2:
        numbers = [
            rng.randint(1, 10**6),
            rng.randint(-(10**22), 10**22),
            rng.uniform(-1e6, 1e6),
            rng.uniform(0, 1) * 10 ** rng.randint(-30, 30),
            float(rng.randint(1, 1000)),
        ]
        return rng.choice(numbers) or 1
    alphabet = rng.choice(ALPHABETS)
    return "".join(rng.choice(alphabet) for _ in range(rng.randint(1, 40)))


def random_weights(rng, *, most=5):
    cuts = sorted(rng.sample(range(1, 1000), rng.randint(1, most)))
    return [(b - a) / 1000 for a, b in itertools.pairwise([0, *cuts, 1000])]


def random_condition(rng):
    name = rng.choice(list(POOL))
    if name in {"order.value", "age"}:
        comparing = [Operator.AT_LEAST, Operator.ABOVE, Operator.AT_MOST, Operator.BELOW]
        operator = rng.choice([*comparing, *comparing, Operator.IS, Operator.NOT, Operator.ANY_OF])
        values = tuple(dict.fromkeys(number(rng) for _ in range(2)))
        return Condition(name, operator, values if operator in MANY else values[:1])
    if name == "vip":
        return Condition(name, rng.choice([Operator.IS, Operator.NOT]), (rng.random() < 0.5,))
    if rng.random() < 0.15:
        return Condition(name, Operator.EXISTS, (rng.random() < 0.7,))
    values = {"platform": PLATFORMS, "country": COUNTRIES, "version": VERSIONS, "name": NAMES}
    if name == "version" and rng.random() < 0.7:
        return Condition(name, Operator.VERSION_AT_LEAST, (rng.choice(VERSIONS[:-1]),))
    if name == "name" and rng.random() < 0.7:
        return Condition(name, Operator.MATCHES, (rng.choice(PATTERNS),))
    chosen = tuple(rng.sample(values.get(name, ("vip", "new", "b2b")), 2))
    operator = rng.choice([Operator.IS, Operator.ANY_OF, Operator.ANY_OF, Operator.NOT])
    return Condition(name, operator, chosen if operator in MANY else chosen[:1])


MANY = {Operator.ANY_OF, Operator.NOT}


def random_groups(rng, *, deep=True):
    return AnyOf(
        tuple(
            tuple(
                random_groups(rng, deep=False)
                if deep and rng.random() < 0.15
                else random_condition(rng)
                for _ in range(rng.randint(1, 2))
            )
            for _ in range(rng.randint(1, 3))
        )
    )


def random_audience(rng):
    return tuple(
        random_groups(rng) if rng.random() < 0.25 else random_condition(rng)
        for _ in range(rng.choice([0, 0, 1, 1, 2, 3]))
    )


def random_attributes(rng):
    attributes: dict[str, Any] = {}
    for name, draw in POOL.items():
        luck = rng.random()
        if luck < 0.1:
            continue
        value = rng.choice(WRONG) if luck < 0.2 else draw(rng)
        first, _, rest = name.partition(".")
        attributes[first] = {rest: value} if rest and rng.random() < 0.95 else value
    return attributes


SATISFY = {
    Operator.IS: lambda values: values[0],
    Operator.ANY_OF: lambda values: values[-1],
    Operator.AT_LEAST: lambda values: values[0],
    Operator.ABOVE: lambda values: values[0] + 1,
    Operator.AT_MOST: lambda values: values[0],
    Operator.BELOW: lambda values: values[0] - 1,
    Operator.VERSION_AT_LEAST: lambda values: values[0],
}


def satisfy(context, condition):
    """Give the context a value that meets the condition, where that is easy to say."""
    if isinstance(condition, AnyOf):
        for part in condition.groups[-1]:
            satisfy(context, part)
        return
    satisfying = SATISFY.get(condition.operator)
    if satisfying is not None:
        first, _, rest = condition.attribute.partition(".")
        value = satisfying(condition.values)
        context[first] = {rest: value} if rest else value


def random_context(rng, spec):
    context = random_attributes(rng)
    if rng.random() < 0.5:
        for condition in spec.audience:
            satisfy(context, condition)
    luck = rng.random()
    if luck < 0.03:
        context[spec.unit] = rng.choice(["", 0, 0.0, True, ["o-1"], {"id": "o-1"}, None])
    elif luck < 0.3 and spec.force:
        unit = rng.choice(list(spec.force))
        context[spec.unit] = as_number(unit) if rng.random() < 0.5 else unit
    elif luck < 0.98:
        context[spec.unit] = random_unit(rng)
    return context


def as_number(text):
    """The number that JavaScript writes as ``text``, or the text itself."""
    try:
        value = float(text)
    except ValueError:
        return text
    return value if unit_id(value) == text else text


def random_layer(rng):
    """Buckets a real allocation gives: first-fit beside others, perhaps grown."""
    taken, mine = (), ()
    share = rng.choice([0.1, 0.25, 0.5, 0.9])
    try:
        taken = allocate(rng.choice([0.05, 0.3]), taken=())
        mine = allocate(share / 2, taken=taken)
        taken = (*taken, *allocate(0.07, taken=(*taken, *mine)))
        mine = allocate(share, taken=taken, own=mine)
    except LayerFullError:
        pass
    return mine


def random_experiment(rng) -> CompiledExperiment:
    weights = random_weights(rng)
    names = [f"arm{i}" for i in range(1, len(weights))]
    names.insert(rng.randint(0, len(names)), CONTROL)
    flows = [rng.choice(FLOWS) if rng.random() < 0.7 else {"arm": name} for name in names]
    variants = tuple(map(VariantSpec, names, weights, flows))
    forced = [unit_id(random_unit(rng)) for _ in range(rng.choice([0, 0, 0, 1, 3, 20]))]
    # halves of surrogate pairs are no text of a file, and JSON joins two that meet
    forced = [unit for unit in forced if not SURROGATES.search(unit)]
    layer = Layer(rng.choice(["cancel-page", "结账"]), 0.5) if rng.random() < 0.3 else None
    spec = ExperimentSpec(
        key=f"flag-{rng.randint(0, 999)}",
        title="A flag",
        owner="",
        hypothesis="",
        unit=rng.choice(["order_id", "user_id", "id"]),
        variants=variants,
        ramp=(RampStep(),),
        goal=None,
        watch=(),
        ends=Ends(timedelta(days=7)),
        seed=rng.randint(1, 5),
        audience=random_audience(rng),
        layer=layer,
        force={unit: rng.choice(names) for unit in forced},
    )
    treatments = spec.treatments
    serving = Serving(
        state=rng.choice([*["running"] * 16, "draft", "draft", "paused", "observing", "stopped"]),
        traffic=rng.choice([1.0, 1.0, 1.0, round(rng.random(), 3), 0.05, 0.0]),
        rolled_back=frozenset(rng.sample(treatments, rng.choice([0, 0, 0, 1]))),
        layer=random_layer(rng) if layer else (),
        holdout=rng.choice([0.0, 0.0, 0.0, 0.05, 0.1, 0.3337]),
    )
    able = [arm.name for arm in spec.variants if arm.name != CONTROL and arm.flow is not None]
    if serving.state == "stopped" and able and spec.seed % 3:
        serving = replace(serving, state="finished", shipped=able[spec.seed % len(able)])
    return compile_experiment(spec, serving)


@dataclass(frozen=True)
class Answer:
    """What a side says: arm, value, and whether the unit was dealt into that arm."""

    variant: str
    value: Any
    dealt: bool


def ours(compiled, context) -> Answer:
    assignment = compiled.assign(context)
    return Answer(assignment.variant, assignment.value, assignment.counts)


def official(features, compiled, context) -> Answer:
    """What the official client says; a ``force`` is named by the id of its rule."""
    key = compiled.spec.key
    client = GrowthBook(attributes=dict(context), features=features)  # it empties its own
    try:
        result = client.eval_feature(key)
        gates = [client.eval_feature(name).value for name in gates_of(features, key)]
    finally:
        client.destroy()
    experiment = result.experimentResult
    if experiment is not None and experiment.inExperiment:
        return Answer(experiment.key, result.value, dealt=True)
    what, _, name = (result.ruleId or "").partition(":")
    if what in {"override", "shipped"}:
        return Answer(name, result.value, dealt=False)
    if result.source == "prerequisite":  # a gate: an override to a flow of null
        (name,) = gates
        return Answer(name, result.value, dealt=False)
    return Answer(CONTROL, result.value, dealt=False)


def gates_of(features, key):
    """Names of the features whose failing test serves null; their value says for which arm."""
    rules = features[key]["rules"]
    parents = [parent for rule in rules for parent in rule.get("parentConditions", ())]
    return [parent["id"] for parent in parents if parent.get("gate")]


def same(left, right):
    """JSON equality: 1, 1.0 and true are told apart only as JSON tells them apart."""
    return json.dumps(left, sort_keys=True) == json.dumps(right, sort_keys=True)


def agree(one: Answer, other: Answer):
    same_arm = (one.variant, one.dealt) == (other.variant, other.dealt)
    return same_arm and same(one.value, other.value)


@dataclass
class Compared:
    """Disagreements between two engines over random pairs, and what was met on the way."""

    pairs: int = 0
    wrong: list[tuple[Any, ...]] = field(default_factory=list)
    met: Counter[str] = field(default_factory=Counter)


def compare(pairs, *, seed, contexts=4, broken=None) -> Compared:
    """Compare ``pairs`` random (context, spec) pairs, several contexts for each spec.

    ``broken`` makes the answers of another engine from a spec and what it serves.
    """
    rng, result = random.Random(seed), Compared()
    while result.pairs < pairs:
        compiled = random_experiment(rng)
        features = growthbook_payload([compiled])["features"]
        features = json.loads(json.dumps(features))  # what travels
        if broken is not None:
            answers = broken(compiled.spec, compiled.serving)
            compiled = replace(compiled, assign=answers)
        for _ in range(contexts):
            context = random_context(rng, compiled.spec)
            mine, theirs = ours(compiled, context), official(features, compiled, context)
            result.pairs += 1
            note(result.met, compiled, context)
            if not agree(mine, theirs):
                result.wrong.append((mine, theirs, context, compiled.spec, compiled.serving))
    return result


def note(met, compiled, context):
    """Count what a pair exercises."""
    spec, answer = compiled.spec, compiled.assign(context)
    met[answer.reason] += 1
    met["dealt"] += answer.counts
    met["treated"] += answer.counts and answer.variant != CONTROL
    overridden = unit_id(context.get(spec.unit)) in spec.force
    met["overridden"] += overridden
    by_hand = overridden and answer.reason is Reason.TARGETING_MATCH
    met["a treatment's null by hand"] += (
        by_hand and answer.value is None and answer.variant != CONTROL
    )
    met["shipped"] += compiled.serving.winner is not None and answer.variant != CONTROL
    met["turned back"] += answer.reason is Reason.DISABLED and compiled.serving.state == "running"
    if compiled.serving.state == "running" and answer.counts:
        met["dealt in a layer"] += spec.layer is not None
        met["dealt beside a holdout"] += compiled.serving.holdout > 0
        met["dealt at part of the traffic"] += compiled.serving.traffic < 1
        met["dealt in an audience"] += bool(spec.audience)
        met["dealt null"] += answer.value is None
        for operator in operators(spec.audience):
            met[f"dealt by {operator}"] += 1


def operators(clauses):
    """Operators that an audience uses, and whether it has groups."""
    found = set()
    for clause in clauses:
        if isinstance(clause, AnyOf):
            found |= {"groups"}.union(*(operators(group) for group in clause.groups))
        else:
            found.add(clause.operator.value)
    return found


def code_points(text):
    """FNV-1a over code points: the defect GrowthBook's Python client once had."""
    state = 0x811C9DC5
    for character in text:
        state = ((state ^ ord(character)) * 0x01000193) & 0xFFFFFFFF
    return state
