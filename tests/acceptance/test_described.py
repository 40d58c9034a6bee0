"""Schemathesis over the OpenAPI document: 5,000 cases and more, sequences included.

All checks: no 500, 502 or 504, a 503 or 429 only with ``Retry-After``, no status, content type,
header or body that is not described, what fits is taken and what does not is refused.
"""

import shutil

import pytest

from tests.described import CLIENT, FOLDER, KEY, run
from tests.running import SPEC, running

pytestmark = pytest.mark.acceptance

CASES = 5_000
EXAMPLES = 60


def test_five_thousand_requests_are_answered_as_described(record_property):
    with running(demo=False, host="0.0.0.0", admin_key=KEY, client_key=CLIENT) as it:  # noqa: S104 - the address decides that everything wants a key
        it.http.headers["X-API-Key"] = KEY
        assert it.apply(SPEC).status_code == 201
        try:
            found = run(it.url, examples=EXAMPLES, seed=20260401, edges=True)
        finally:
            shutil.rmtree(FOLDER, ignore_errors=True)
        for phase, count in sorted(found.cases.items()):
            record_property(f"requests: {phase}", count)
        statuses = {}
        for (_, status), count in found.statuses.items():
            statuses[status] = statuses.get(status, 0) + count
        for status, count in sorted(statuses.items()):
            record_property(f"answers {status}", count)
        assert not found.words(), found.words()
        assert found.cases.total() >= CASES
        assert found.cases["stateful"] > 0
        assert not {500, 502, 504} & set(statuses)
        assert it.http.get("/readyz").status_code == 200
