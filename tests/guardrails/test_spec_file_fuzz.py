"""Whatever stands in a file, the loader answers with a spec or with problems."""

import pytest

from tests.mutations import MUTATIONS, run

CASES = 1_600


@pytest.mark.parametrize("part", range(4))
def test_mutated_files_are_read_or_their_problems_told(part, tmp_path):
    counts = run(CASES // 4, seed=1000 + part, folder=tmp_path)
    assert sum(counts.values()) == CASES // 4
    assert {f"{kind} refused" for kind in MUTATIONS} <= set(counts)
    assert counts["tree accepted"] > 5
