"""Every decision keeps what it was decided from."""

import json
from dataclasses import replace
from datetime import timedelta

from sqlmodel import select

from guardrails.evidence import (
    cells_of,
    cells_text,
    inputs_of,
    sha256,
    state_of,
    state_text,
    text_of,
)
from guardrails.models import EvidenceRow, FindingRow, KeptRow
from guardrails.outcome import WindowState
from metrics.cells import Cell, Sums
from tests.engine_world import T, World

STATE = WindowState(2, 12.5, 1e-5, 4.25, (0.1, 0.2), (0.5, 1e-300), watermark=7, crossed=True)


def rows(w, model):
    with w.control.reading() as session:
        return list(session.exec(select(model)))


def test_a_state_is_kept_bit_for_bit_and_its_watermark_is_no_part_of_it():
    assert state_of(state_text(STATE)) == replace(STATE, watermark=-1)
    assert state_text(STATE) == state_text(replace(STATE, watermark=8))
    assert state_text(STATE) != state_text(replace(STATE, mass=(0.5, 2e-300)))


def test_cells_are_kept_exactly_whatever_their_order_and_size():
    large = Sums(3, 10**30, *range(8))
    cells = (Cell("treatment", 1, 0, 5, large), Cell("control", 0, 2, 4, Sums.of(-3)))
    text = cells_text(cells)
    assert text == cells_text(cells[::-1])
    assert set(cells_of(text)) == set(cells)
    assert sha256(text) != sha256(text.replace("1" + "0" * 30, "1" + "0" * 29 + "1"))


def test_a_text_stands_for_one_value():
    assert text_of({"b": 1, "a": [0.1]}) == '{"a":[0.1],"b":1}'


def test_a_check_that_turns_back_keeps_all_it_decided_from():
    w = World(treatment=0.3)
    w.hours(12)
    (back,) = w.rollbacks()
    account = next(r for r in rows(w, EvidenceRow) if r.evaluation == back.evaluation)
    assert sha256(account.body) == account.sha256
    body = json.loads(account.body)
    assert body["decision"]["rollbacks"] == [["flow_failure_rate", "treatment"]]
    assert [t["after"] for t in body["transitions"]] == ["rolled_back"]
    assert body["config"]["revision"] == 1
    assert account.engine == body["engine"] == w.engine.settings.version
    parts = {r.sha256: r.body for r in rows(w, KeptRow)}
    assert all(sha256(text) == sha for sha, text in parts.items())
    inputs = inputs_of(body, parts)
    assert inputs.at == back.at
    assert inputs.record.key == "cancel-page"
    assert inputs.snapshot.cells["flow_failure_rate", timedelta(hours=1)]
    assert inputs.treatments["treatment"].state == "live"
    before = inputs.monitors["flow_failure_rate", "treatment", 1]
    assert before.states["3600"].looks == body_looks(w, back) - 1


def body_looks(w, back):
    found = [f for f in rows(w, FindingRow) if f.evaluation == back.evaluation]
    return found[0].body["windows"][0]["look"]


def test_whoever_decided_nothing_keeps_the_hashes_of_cells_only():
    w = World()
    w.hours(4)
    account = json.loads(rows(w, EvidenceRow)[-1].body)
    assert account["snapshot"]["whole"] is False
    assert account["transitions"] == []
    cells = {sha for *_, sha in account["snapshot"]["cells"]}
    assert len(cells) >= 1
    assert cells.isdisjoint(r.sha256 for r in rows(w, KeptRow))


def test_every_kept_finding_belongs_to_an_account():
    w = World(treatment=0.15)
    w.hours(30)
    kept = {r.evaluation: json.loads(r.body) for r in rows(w, EvidenceRow)}
    for finding in rows(w, FindingRow):
        sealed = [
            f["sha256"]
            for f in kept[finding.evaluation]["findings"]
            if (f["guardrail"], f["treatment"]) == (finding.guardrail, finding.treatment)
        ]
        assert sealed == [sha256(text_of(finding.body))]


def test_a_check_without_a_store_keeps_why():
    w = World()
    w.store.broken = True
    w.hours(1)
    (account,) = rows(w, EvidenceRow)
    body = json.loads(account.body)
    assert body["snapshot"] is None
    assert body["failure"] == "the disk is gone"
    assert body["check"]["result"] == "error"
    assert account.at == T + timedelta(hours=1)
