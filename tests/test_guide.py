"""The guide for writing experiments is executed: files are loaded, messages are compared.

```yaml whole   a file; the blocks after it are merged into the last one
```yaml part    top-level keys that replace those of the file
```yaml wrong   a file, or keys, with problems; the ```text block after it has its messages
```text explain lines that `validate --explain` prints one after another for the file

``TURNBACK_WRITE_DOCS=1 pytest tests/test_guide.py`` writes the messages anew.
"""

import itertools
import os
import re
import shlex
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import jsonschema
import pytest

from experiments.assignment import Serving, compile_experiment
from experiments.language.amounts import format_duration
from experiments.language.source import parse_yaml, to_json
from guardrails.language.sets import shipped_sets
from guardrails.language.spec_explain import explanation_lines
from guardrails.language.spec_keys import SPEC_KEYS
from guardrails.spec_file import SpecError, json_schema, load_spec

ROOT = Path(__file__).parents[1]
GUIDE = ROOT / "docs" / "writing-experiments.md"
WRITE = os.environ.get("TURNBACK_WRITE_DOCS") == "1"
NAME = "experiment.yaml"
FENCE = re.compile(
    r"(?:<!-- output: turnback (?P<command>[^\n]+?) -->\n)?"
    r"^```(?P<info>[^\n]*)\n(?P<body>.*?)^```$",
    re.DOTALL | re.MULTILINE,
)
VALIDATOR = jsonschema.Draft202012Validator(json_schema())


@dataclass(frozen=True)
class Block:
    number: int
    info: str
    body: str
    base: str
    before: str
    command: str


def blocks():
    found, base, wrong = [], "", ""
    for number, match in enumerate(FENCE.finditer(GUIDE.read_text(encoding="utf-8"))):
        info, body = match["info"], match["body"]
        if info == "yaml whole":
            base = body
        if info == "yaml wrong":
            wrong = body
        found.append(Block(number, info, body, base, wrong, match["command"] or ""))
    return found


BLOCKS = blocks()


def of(info):
    return pytest.mark.parametrize(
        "block",
        [b for b in BLOCKS if b.info == info and not b.command],
        ids=lambda block: f"{info.replace(' ', '-')}-{block.number}",
    )


def merged(part, base):
    """The part, and then the keys of the base that it has not: its lines keep their numbers."""
    if re.search(r"^experiment:", part, re.MULTILINE):
        return part
    top = re.compile(r"^(?=[a-z_]+:)", re.MULTILINE)
    given = {line.partition(":")[0] for line in top.split(part)}
    rest = [piece for piece in top.split(base) if piece.partition(":")[0] not in given]
    return part + "".join(rest)


def compare_or_write(block, expected):
    if WRITE:
        text = GUIDE.read_text(encoding="utf-8")
        match = list(FENCE.finditer(text))[block.number]
        begin, end = match.span("body")
        GUIDE.write_text(text[:begin] + expected + text[end:], encoding="utf-8")
        return
    assert block.body == expected


@of("yaml whole")
def test_a_whole_file_is_right_and_fits_the_schema(block):
    spec = check(block.body)
    assert spec.text == block.body
    assert f"experiment: {spec.experiment.key}\n" in block.body


@of("yaml part")
def test_a_part_makes_the_file_right_and_fits_the_schema(block):
    assert check(merged(block.body, block.base)).experiment.key == "ask-why"


def check(text):
    spec = load_spec(text, source=NAME)
    assert spec.warnings == ()
    written = to_json(parse_yaml(text, file=NAME)[0])
    assert [error.json_path for error in VALIDATOR.iter_errors(written)] == []
    return spec


@of("text")
def test_the_messages_of_a_faulty_file_are_those_that_are_told(block):
    with pytest.raises(SpecError) as caught:
        load_spec(merged(block.before, block.base), source=NAME)
    compare_or_write(block, "".join(f"{problem}\n" for problem in caught.value.problems))


def test_every_faulty_file_has_its_messages():
    for block, following in itertools.pairwise(BLOCKS):
        if block.info == "yaml wrong":
            assert following.info == "text"
            assert following.body.strip()


@of("text explain")
def test_what_is_explained_is_what_the_command_explains(block):
    lines = explanation_lines(load_spec(block.base, source=NAME))
    wanted = block.body.splitlines()
    starts = [i for i in range(len(lines)) if lines[i : i + len(wanted)] == wanted]
    assert len(starts) == 1


@pytest.mark.parametrize("block", [b for b in BLOCKS if b.command], ids=lambda b: b.command)
def test_a_command_prints_what_the_guide_shows(block, tmp_path):
    (tmp_path / NAME).write_text(block.base, encoding="utf-8")
    done = subprocess.run(
        [Path(sys.executable).with_name("turnback"), *shlex.split(block.command)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        env={**os.environ, "COLUMNS": "100", "NO_COLOR": "1"},
    )
    printed = "".join(f"{line.rstrip()}\n" for line in (done.stdout + done.stderr).splitlines())
    compare_or_write(block, printed)


def test_every_key_of_a_spec_file_is_in_the_guide():
    text = GUIDE.read_text(encoding="utf-8")
    keys = {key.name for key in SPEC_KEYS} - {"lag", "check_every", "expect_units"}
    assert [key for key in sorted(keys) if not re.search(rf"\b{key}\b", text)] == []


SETS = re.compile(r"(?<=<!-- table: sets -->\n)(?P<body>(?:\|[^\n]*\n)*)")


def test_the_guide_lists_what_every_set_holds():
    rows = ["| set | KPI | margin | action | windows |", "|---|---|---|---|---|"]
    for each in shipped_sets().values():
        text = f"{SPLIT}ends: {{after: 90d}}\nguardrails: {{use: [{each.name}]}}\n"
        spec = load_spec(text, source=NAME)
        for node, guardrail in zip(each.nodes, spec.guardrails, strict=True):
            said = to_json(node)
            way = "max_drop" if "max_drop" in said else "max_rise"
            windows = ", ".join(format_duration(window.length) for window in guardrail.windows)
            row = (f"`{each.name}`", f"`{guardrail.kpi}`", f"`{way}: {said[way]}`")
            rows.append(f"| {' | '.join(row)} | {said.get('action', '')} | {windows} |")
    expected = "".join(f"{row}\n" for row in rows)
    guide = GUIDE.read_text(encoding="utf-8")
    if WRITE:
        GUIDE.write_text(SETS.sub(lambda _: expected, guide), encoding="utf-8")
        return
    assert SETS.search(guide)["body"] == expected


SPLIT = """\
experiment: any
unit: order_id
variants: {control: {weight: 50%}, other: {weight: 50%}}
"""


def test_the_guide_says_what_share_gets_a_treatment():
    spec = load_spec(
        f"{SPLIT}ends: {{after: 90d}}\nguardrails: {{use: [offer-costs]}}\n"
    ).experiment
    table = GUIDE.read_text(encoding="utf-8").partition("<!-- table: traffic -->")[2]
    rows = re.findall(r"^\| ([\d.]+)% \| ([\d.]+)% \| ([\d.]+)% \| (\d+)% \|$", table, re.MULTILINE)
    assert len(rows) == 4
    for row in rows:
        traffic, *said = [float(cell) / 100 for cell in row]
        serve = compile_experiment(spec, Serving("running", traffic)).assign
        dealt = Counter(serve({"order_id": f"o{n}"}).assigned for n in range(20_000))
        found = [dealt[arm] / 20_000 for arm in ("other", "control", None)]
        assert found == pytest.approx(said, abs=0.015)


def test_every_set_and_every_example_is_in_the_guide():
    text = GUIDE.read_text(encoding="utf-8")
    assert [name for name in shipped_sets() if f"`{name}`" not in text] == []
    examples = [path.name for path in (ROOT / "examples").glob("*.yaml")]
    assert [name for name in examples if f"`{name}`" not in text] == []
