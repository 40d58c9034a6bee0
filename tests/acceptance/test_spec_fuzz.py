"""Twenty thousand mutated spec files: each is read, or refused with problems at their places."""

import pytest

from tests.mutations import run

pytestmark = pytest.mark.acceptance

CASES = 20_000


def test_twenty_thousand_mutated_files_raise_nothing_but_problems(record_property, tmp_path):
    counts = run(CASES, seed=20260401, folder=tmp_path)
    record_property("mutated files", sum(counts.values()))
    for outcome in ("accepted", "refused"):
        total = sum(number for name, number in counts.items() if name.endswith(outcome))
        record_property(outcome, total)
    for name, number in sorted(counts.items()):
        record_property(name, number)
    assert sum(counts.values()) == CASES
    assert counts["tree accepted"] > 200
