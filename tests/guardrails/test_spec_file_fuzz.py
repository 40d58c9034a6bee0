"""Whatever stands in a file, the loader answers with a spec or with problems."""

import os
import random
from pathlib import Path

import pytest

from guardrails.spec_file import SpecError, load_spec

REPOSITORY = Path(__file__).parents[2]
SOURCES = [
    path.read_text(encoding="utf-8")
    for folder in ("examples", "tests/specs/good", "tests/specs/bad")
    for path in sorted((REPOSITORY / folder).glob("*.yaml"))
]
CASES = int(os.environ.get("TURNBACK_FUZZ_CASES", "2000"))
PIECES = [
    *("{", "}", "[", "]", ":", ": ", ",", "-", "- ", "? ", "#", "&a ", "*a", "!t ", "|\n", ">-\n"),
    *("%", "@", "`", "'", '"', "\\", "\t", "\n", "\r", "\n\n  ", "---\n", "...\n", "%YAML 1.1\n"),
    *("null", "~", "true", "no", "1:30", "0o7", "0x1F", "1e999", ".nan", "-.inf", "9" * 50),
    *("5%", "5pp", "-3%", "1h", "99999d", "\x00", "\x85", "\u2028", "\ud800", "😀", "订", "<<: "),
    *('"\\ud800"', '"\\x00"', '"\\UFFFFFFFF"', "2026-02-30", "=", "!!python/object:os.system x"),
    *("guardrails:", "kpis:", "variants:", "control:", "windows: {1h: 100%}", "measures:", "each:"),
]


def mutated(text, rng):
    for _ in range(rng.randint(1, 6)):
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
                other = rng.choice(SOURCES)
                cut = rng.randrange(len(other) + 1)
                text = text[:at] + other[cut : cut + rng.randint(1, 200)] + text[at:]
    return text


def loaded(text):
    """Return the spec or the problems of a text; anything else that is raised is the finding."""
    try:
        return load_spec(text, source="fuzz.yaml"), ()
    except SpecError as error:
        return None, error.problems


@pytest.mark.parametrize("part", range(4))
def test_mutated_files_are_read_or_their_problems_told(part):
    rng = random.Random(1000 + part)
    accepted = refused = 0
    for _ in range(CASES // 4):
        text = mutated(rng.choice(SOURCES), rng)
        spec, problems = loaded(text)
        accepted += spec is not None
        refused += spec is None
        assert spec is not None or problems
        breaks = sum(text.count(c) for c in "\n\r\x85\u2028\u2029")
        for problem in problems:
            assert 1 <= problem.line <= breaks + 2
            assert problem.column >= 1
            assert problem.message
            assert "\n" not in str(problem)
    assert refused > accepted > 0
