"""Whether clients follow a rollback, in words for each thing that can be missing."""

from datetime import UTC, datetime, timedelta

import pytest

from guardrails.views import RollbackView
from guardrails.words_rollback import unverified_words

AT = datetime(2026, 3, 2, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("before", "after", "said"),
    [
        (None, None, "is verified after 2026-03-02 12:15 UTC"),
        (40.0, None, "nobody was newly exposed to any variant since 2026-03-02 12:15 UTC"),
        (1.0, 0.0, "too few exposures to it were due since 2026-03-02 12:15 UTC"),
    ],
)
def test_what_is_awaited_is_said(before, after, said):
    grace = AT + timedelta(minutes=15)
    words = unverified_words(RollbackView("map", 1, AT, grace, None, before, after))
    assert words.startswith("Whether clients follow the rollback of map is ")
    assert said in words
