"""Spec files changed at random, and what must hold of whatever the loader makes of them."""

import copy
import json
import random
import string
from collections import Counter
from pathlib import Path

from experiments.assignment import Serving, compile_experiment
from experiments.audience import compile_audience, growthbook_condition
from experiments.errors import Severity
from experiments.growthbook import growthbook_payload
from experiments.language.source import parse_yaml, to_json
from experiments.layers import allocate
from guardrails.levels import plan_comparisons
from guardrails.spec_file import SpecError, load_spec, load_spec_file

REPOSITORY = Path(__file__).parents[1]


def sources(*folders):
    paths = [path for folder in folders for path in sorted((REPOSITORY / folder).glob("*.yaml"))]
    return [path.read_text(encoding="utf-8") for path in paths]


GOOD = sources("examples", "tests/specs/good")
ANY = [*GOOD, *sources("tests/specs/bad")]
TREES = [to_json(parse_yaml(text, file="good")[0]) for text in GOOD]
KEYS = sorted({key for tree in TREES for key in tree} | {"from", "to", "days", "zone", "any_of"})

PIECES = [
    *("{", "}", "[", "]", ":", ": ", ",", "-", "- ", "? ", "#", "&a ", "*a", "!t ", "|\n", ">-\n"),
    *("%", "@", "`", "'", '"', "\\", "\t", "\n", "\r", "\n\n  ", "---\n", "...\n", "%YAML 1.1\n"),
    *("null", "~", "true", "no", "1:30", "0o7", "0x1F", "1e999", ".nan", "-.inf", "9" * 50, "<<: "),
    *(
        "5%",
        "5pp",
        "-3%",
        "1h",
        "99999d",
        "\x00",
        "\x85",
        "\u2028",
        "\ud800",
        "😀",
        "订",
        "=",
        "\\",
    ),
    *('"\\ud800"', '"\\x00"', '"\\UFFFFFFFF"', "2026-02-30", "!!python/object:os.system x"),
    *("guardrails:", "kpis:", "variants:", "control:", "windows: {1h: 100%}", "measures:", "each:"),
    *("layer: {name: a, share: 5%}\n", "force: {a: b}\n", "starts: manual\n", "any_of: [{a: 1}]"),
    *(
        "2026-12-01T09:00Z",
        "2026-12-01",
        "09:00",
        "matches: '^3'",
        "version_at_least: 3.1.0",
        "mon",
    ),
]
VALUES = [
    *(
        None,
        True,
        False,
        0,
        1,
        -1,
        0.5,
        2**53,
        2**64,
        10**40,
        1e300,
        5e-324,
        -0.0,
        "",
        " ",
        "5%",
        "0%",
    ),
    *(
        "100%",
        "101%",
        "0.0001%",
        "999999.999999%",
        "5pp",
        "+10%",
        "-2pp",
        "1m",
        "0s",
        "99999d99999h",
    ),
    *("99999999s", "manual", "now", "2026-12-01T09:00Z", "2026-12-01", "2099-12-31T23:59:59Z"),
    *(
        "2000-01-01T00:00+14:00",
        "2024-02-29T09:00-12:00",
        "9999-12-31T00:00Z",
        "mon",
        "UTC",
        "Mars",
    ),
    *(
        "control",
        "event",
        "evaluate",
        "any_of",
        "no",
        "1:30",
        "0x1F",
        "\ud800",
        "a\x00b",
        "😀",
        "订单",
    ),
    *(
        "x" * 300,
        "9" * 5000,
        "(a+)+$",
        "^3\\.",
        "(?<=a)b",
        "[",
        "3.10.2",
        "v1",
        "1.2.3+b",
        "../..",
        "{}",
    ),
    *(
        [],
        {},
        [[]],
        [{}],
        [None],
        ["fri"],
        ["mon", 1],
        {"a": {}},
        {"at_least": 3},
        {"": 1},
        {"no": 1},
    ),
    *({"use": ["cancellation-defaults"]}, {"name": "a", "share": "5%"}, {"from": "x", "days": []}),
    *(
        {"matches": "^a.*b"},
        {"version_at_least": "3.1"},
        {"any_of": [{"a": 1}, {}]},
        [{"any_of": []}],
    ),
]


def text_mutation(rng):
    """Characters, pieces and lines of a file put in, taken out or moved."""
    text = rng.choice(rng.choice([ANY, GOOD]))
    for _ in range(rng.choice([1, 1, 2, 4, 6])):
        lines = text.splitlines(keepends=True) or [""]
        at = rng.randrange(len(text) + 1)
        match rng.randrange(8):
            case 0:
                text = text[:at] + rng.choice(PIECES) + text[at:]
            case 1:
                text = text[:at] + text[at + rng.randint(1, 8) :]
            case 2:
                text = text[:at] + chr(rng.randrange(1, 0x2FF)) + text[at + 1 :]
            case 3:
                lines.insert(rng.randrange(len(lines) + 1), rng.choice(lines))
                text = "".join(lines)
            case 4:
                rng.shuffle(lines)
                text = "".join(lines)
            case 5:
                del lines[rng.randrange(len(lines))]
                text = "".join(lines)
            case 6:
                index = rng.randrange(len(lines))
                key, colon, _ = lines[index].partition(":")
                lines[index] = f"{key}{colon} {rng.choice(PIECES)}\n"
                text = "".join(lines)
            case _:
                other = rng.choice(ANY)
                cut = rng.randrange(len(other) + 1)
                text = text[:at] + other[cut : cut + rng.randint(1, 200)] + text[at:]
    return text


def byte_mutation(rng):
    """Bytes of a file changed, so that it may be no UTF-8 any more."""
    data = bytearray(rng.choice(GOOD).encode())
    for _ in range(rng.randint(1, 4)):
        at = rng.randrange(len(data))
        match rng.randrange(4):
            case 0:
                data[at] = rng.randrange(256)
            case 1:
                del data[at : at + rng.randint(1, 6)]
            case 2:
                data[at:at] = rng.choice([b"\xff\xfe", b"\xef\xbb\xbf", b"\x00", b"\xed\xa0\x80"])
            case _:
                data[at] ^= 1 << rng.randrange(8)
    return bytes(data)


def places(tree):
    """Every (container, key) of a JSON value."""
    found, waiting = [], [tree]
    while waiting:
        node = waiting.pop()
        keys = range(len(node)) if isinstance(node, list) else list(node)
        for key in keys:
            found.append((node, key))
            if isinstance(node[key], (dict, list)):
                waiting.append(node[key])
    return found


def random_tree(rng, depth=0):
    if depth > 4 or rng.random() < 0.5:
        return copy.deepcopy(rng.choice(VALUES))
    if rng.random() < 0.5:
        return [random_tree(rng, depth + 1) for _ in range(rng.randint(0, 3))]
    return {rng.choice(KEYS): random_tree(rng, depth + 1) for _ in range(rng.randint(0, 3))}


def deep(rng):
    value = copy.deepcopy(rng.choice(VALUES))
    for _ in range(rng.choice([3, 37, 39, 41, 100])):
        value = [value] if rng.random() < 0.5 else {rng.choice(KEYS): value}
    return value


def change(rng, tree):
    node, key = rng.choice(places(tree))
    other, other_key = rng.choice(places(tree))
    match rng.randrange(12):
        case 0 | 1 | 2:
            # what another file says there
            donor = rng.choice(TREES)
            name = rng.choice(list(donor))
            if name != "experiment":
                tree[name] = copy.deepcopy(donor[name])
        case 9 | 10:
            node[key] = copy.deepcopy(rng.choice(VALUES))
        case 3:
            # the same value under another key, or under a key that is a value
            name = rng.choice([*KEYS, str(node[key])[:50]])
            if isinstance(node, dict):
                node[name] = node.pop(key)
        case 4:
            node[key], other[other_key] = (
                json.loads(json.dumps(v)) for v in (other[other_key], node[key])
            )
        case 5:
            node[key] = rng.choice([[node[key]], {rng.choice(KEYS): node[key]}])
        case 6:
            del node[key]
        case 7:
            node[key] = random_tree(rng)
        case _:
            tree[rng.choice(KEYS)] = deep(rng) if rng.random() < 0.1 else random_tree(rng)


def written(rng, node, level=0):
    """Write a tree as YAML in one of the many ways people and programs do."""
    if isinstance(node, dict) and node:
        pairs = [
            (scalar(rng, str(key)), written(rng, value, level + 1)) for key, value in node.items()
        ]
        if rng.random() < 0.02:
            pairs.append(rng.choice(pairs))
        return "{" + ", ".join(f"{key}: {value}" for key, value in pairs) + "}"
    if isinstance(node, list):
        return "[" + ", ".join(written(rng, item, level + 1) for item in node) + "]"
    anchor = rng.choice(["&a ", "*a ", "!!str ", "! "]) if rng.random() < 0.002 else ""
    return anchor + ("{}" if node == {} else scalar(rng, node))


PLAIN = frozenset(string.ascii_letters + string.digits + "%_.-+ üé订")


def scalar(rng, value):
    if isinstance(value, str) and value and set(value) <= PLAIN and rng.random() < 0.7:
        return value.strip() or '""'
    if isinstance(value, str) and rng.random() < 0.3 and value.isprintable():
        return "'" + value.replace("'", "''") + "'"
    return json.dumps(value, ensure_ascii=rng.random() < 0.5)


def tree_mutation(rng):
    """Keys and values of a good file swapped, renamed, nested, or of other types."""
    tree = copy.deepcopy(rng.choice(TREES))
    for _ in range(rng.choice([1, 1, 2, 3, 6])):
        if tree:
            change(rng, tree)
    if not tree:
        return "{}\n"
    if rng.random() < 0.5:
        return written(rng, tree) + "\n"
    top = [f"{scalar(rng, str(key))}: {written(rng, value)}\n" for key, value in tree.items()]
    return "".join(top)


MUTATIONS = {"text": text_mutation, "bytes": byte_mutation, "tree": tree_mutation}
CONTEXTS = (
    {},
    {"order_id": "order-17", "user_id": "7", "platform": "ios", "order_value": 50, "country": "DE"},
    {"order_id": 18, "user_id": None, "platform": ["ios"], "order_value": "50", "app": "3.1.0"},
    {
        "targetingKey": "订单",
        "app_version": "v3.11.0",
        "customer": {"plan": "plus"},
        "tags": [1, None],
    },
)


def check_accepted(spec):
    """Whatever is accepted can be served, planned and told."""
    experiment = spec.experiment
    layer = allocate(experiment.layer.share, taken=()) if experiment.layer else ()
    served = Serving("running", experiment.ramp[0].traffic, layer=layer, holdout=0.05)
    compiled = compile_experiment(experiment, served)
    matches = compile_audience(experiment.audience)
    for context in CONTEXTS:
        assert compiled.assign(context).variant in {v.name for v in experiment.variants}
        assert matches is None or isinstance(matches(context), bool)
    json.dumps(growthbook_condition(experiment.audience))
    json.dumps(growthbook_payload([compiled]))
    assert all(comparison.guardrail for comparison in plan_comparisons(spec))
    assert experiment.ends.after.total_seconds() >= 3600
    assert experiment.ends.observe_for is not None
    for freeze in experiment.freeze:
        freeze.holds(experiment.starts) if hasattr(experiment.starts, "year") else None
    check_problems(spec.warnings, spec.text)
    assert all(warning.severity is Severity.WARNING for warning in spec.warnings)


def check_problems(problems, text):
    """Every problem stands in the file and says something, on one line."""
    breaks = sum(text.count(c) for c in "\n\r\x85\u2028\u2029")
    for problem in problems:
        assert 1 <= problem.line <= breaks + 2
        assert problem.column >= 1
        assert problem.message.strip()
        assert isinstance(problem.hint, str)
        assert isinstance(problem.path, str)
        assert not set("\n\r\x00\u2028") & set(str(problem))
        assert len(str(problem)) < 2_000


def run(cases, *, seed, folder):
    """Load ``cases`` mutated files; return how many were accepted and refused, by mutation.

    Anything but a spec or its problems that comes out of the loader is raised.
    """
    rng = random.Random(seed)
    path = folder / "fuzz.yaml"
    counts = Counter()
    for _ in range(cases):
        kind = rng.choices(list(MUTATIONS), [3, 1, 4])[0]
        content = MUTATIONS[kind](rng)
        spec, problems = loaded(content, path)
        counts[f"{kind} {'refused' if spec is None else 'accepted'}"] += 1
        if spec is None:
            text = content.decode("latin-1") if isinstance(content, bytes) else content
            check_problems(problems, text)
            assert any(problem.severity is Severity.ERROR for problem in problems), content
        else:
            check_accepted(spec)
    return counts


def loaded(content, path):
    """Return the spec and no problems, or no spec and its problems."""
    try:
        if isinstance(content, bytes):
            path.write_bytes(content)
            return load_spec_file(path), ()
        return load_spec(content, source="fuzz.yaml"), ()
    except SpecError as error:
        return None, error.problems
