"""Parity with the official GrowthBook client over 100,000 random (context, spec) pairs."""

import pytest

from tests.parity import compare

pytestmark = pytest.mark.acceptance

PAIRS = 100_000


def test_a_hundred_thousand_random_pairs_agree_with_the_official_client(record_property):
    compared = compare(PAIRS, seed=20260405, contexts=3)
    record_property("pairs of a context and an experiment", compared.pairs)
    record_property("disagreements", len(compared.wrong))
    for what, count in sorted(compared.met.items()):
        record_property(f"pairs with: {what}", count)
    assert compared.wrong == []
    assert min(compared.met.values()) > PAIRS // 500
