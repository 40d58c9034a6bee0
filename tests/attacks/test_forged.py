"""Events of somebody who holds no more than the public key: they turn nobody back."""

from datetime import timedelta

import pytest

from tests.attacks.fortress import ADMIN, CLIENT, INGEST, TREATMENT, bearer, fortress
from tests.running import KEY, START

UNITS = 400


@pytest.fixture(scope="module")
def it():
    with fortress() as it:
        yield it


def event(number, name, unit, **fields):
    return {
        "id": f"{name}-{number}",
        "name": name,
        "happened_at": (START + timedelta(minutes=5)).isoformat(),
        "units": {"order_id": unit},
        "fields": fields,
    }


def sent(it, events, *, key, path="/api/v1/events", **headers):
    answer = it.http.post(path, json=events, headers={**bearer(key), **headers})
    assert answer.status_code == 200, answer.text
    return answer.json()


def satisfaction(it):
    """Return the number of units and the value of the guardrail's KPI, by arm."""
    view = it.http.get(f"/api/v1/experiments/{KEY}", headers=bearer(ADMIN)).json()
    return {
        (arm["name"], kpi["key"]): (kpi["units"], kpi["value"])
        for arm in view["variants"]
        for kpi in arm["kpis"]
        if kpi["key"] == "satisfaction"
    }, view


def test_ratings_sent_with_the_public_key_turn_nobody_back(it):
    units = [f"unit-{number}" for number in range(UNITS)]
    arms = {TREATMENT: [], "control": []}
    for unit in units:
        body = {"context": {"targetingKey": unit}}
        flag = it.http.post(
            f"/ofrep/v1/evaluate/flags/{KEY}", json=body, headers=bearer(CLIENT)
        ).json()
        arms[flag["variant"]].append(unit)
    low = [
        event(n, "satisfaction_rated", u, score=1, trusted=True)
        for n, u in enumerate(arms[TREATMENT])
    ]
    high = [event(f"c{n}", "satisfaction_rated", u, score=5) for n, u in enumerate(arms["control"])]
    assert sent(it, low + high, key=CLIENT)["accepted"] == UNITS
    claimed = [{**each, "id": f"t-{each['id']}", "trusted": True} for each in low]
    sent(it, claimed, key=CLIENT)
    sent(it, low, key=CLIENT, **{"X-Turnback-Trust": "server"})
    moved = {"to": (START + timedelta(days=2)).isoformat()}
    done = it.http.post("/api/v1/demo/clock", json=moved, headers=bearer(ADMIN)).json()
    assert done["checks"] > 0
    assert done["transitions"] == []
    view = it.http.get(f"/api/v1/experiments/{KEY}", headers=bearer(ADMIN)).json()
    assert view["state"] == "running"
    (guardrail,) = [g for g in view["guardrails"] if g["kpi"] == "satisfaction"]
    assert guardrail["outcome"] in {"no_data", "inconclusive"}
    # the same ratings by a key that is secret do: the test above is no accident
    real = [{**each, "id": f"r-{each['id']}"} for each in low + high]
    assert sent(it, real, key=INGEST)["accepted"] == UNITS
    moved = {"to": (START + timedelta(days=3)).isoformat()}
    done = it.http.post("/api/v1/demo/clock", json=moved, headers=bearer(ADMIN)).json()
    assert [t["after"] for t in done["transitions"] if t["variant"]] == ["rolled_back"]


def test_exposures_that_the_hash_does_not_give_are_refused(it):
    lies = []
    for number in range(50):
        flag = it.http.post(
            f"/ofrep/v1/evaluate/flags/{KEY}",
            json={"context": {"targetingKey": f"lie-{number}"}},
            headers=bearer(CLIENT),
        ).json()
        other = "control" if flag["variant"] == TREATMENT else TREATMENT
        lies.append(event(number, "exposure", f"liar-{number}", experiment=KEY, variant=other))
    answer = sent(it, lies, key=CLIENT)
    assert answer["accepted"] + len(answer["rejected"]) == 50
    assert len(answer["rejected"]) > 0
    assert all(each["field"].startswith("fields") for each in answer["rejected"])
