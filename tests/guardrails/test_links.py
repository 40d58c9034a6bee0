"""Messages of rollbacks lead to the page of the rollback, in every channel."""

import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from pydantic import ValidationError

from guardrails.channels import Message
from guardrails.channels.alertmanager import AlertmanagerChannel
from guardrails.channels.email import mail_of
from guardrails.channels.slack import payload
from guardrails.channels.webhook import body_of
from guardrails.links import SECTIONS, leading, pages_at, rollback_link
from guardrails.service_settings import Settings
from tests.engine_world import T, World

BASE = "https://turnback.example.com"
LINK = f"{BASE}/experiments/cancel-page/rollbacks/t2"
MESSAGE = Message("k", "rolled_back", "cancel-page", "b", T, "Title", "Text", None, link=LINK)


def test_a_rollback_of_a_person_and_of_the_engine_links_to_its_page():
    by_hand = World(settings={"public_url": BASE})
    by_hand.engine.roll_back("cancel-page", "treatment", reason="people complain", actor="ann")
    (told,) = [m for m in by_hand.channel.told if m.kind == "rolled_back"]
    assert told.link == LINK
    by_engine = World(settings={"public_url": BASE}, treatment=0.5)
    by_engine.hours(8)
    (back,) = by_engine.rollbacks()
    (told,) = [m for m in by_engine.channel.told if m.kind == "rolled_back"]
    assert told.link == f"{BASE}/experiments/cancel-page/rollbacks/t{back.id}"


def test_a_rollback_that_clients_do_not_follow_links_there_too():
    world = World(settings={"public_url": BASE})
    world.hours(2)
    world.engine.roll_back("cancel-page", "treatment", reason="people complain", actor="ann")
    at = world.clock.now()
    for minutes in range(0, 600, 5):
        world.store.exposures.append((at + timedelta(minutes=minutes - 120), "treatment"))
    world.hours(3)
    told = [m for m in world.channel.told if m.kind == "rollback_ineffective"]
    assert [m.link.split("/")[-1] for m in told] == [f"t{world.rollbacks()[0].id}"]


def test_every_message_leads_to_a_page_and_to_its_runbook():
    world = World(settings={"public_url": BASE})
    world.engine.pause("cancel-page", reason="a look at the logs", actor="ann")
    (told,) = [m for m in world.channel.told if m.kind == "paused"]
    assert told.link == f"{BASE}/experiments/cancel-page"
    assert told.facts["runbook"] == f"{BASE}/runbooks#messages-that-ask-or-report"
    world.engine.suspend(reason="a migration", actor="ann")
    (told,) = [m for m in world.channel.told if m.kind == "suspended"]
    assert (told.link, told.facts["runbook"]) == (
        f"{BASE}/",
        f"{BASE}/runbooks#turnbacksuspendedlong",
    )


def test_a_page_of_its_own_is_kept_and_a_stop_by_a_breach_has_its_own_runbook():
    assert leading(MESSAGE, BASE).link == LINK
    stopped = replace(MESSAGE, kind="stopped", evidence={"z": 4.0})
    by_breach, by_person = leading(stopped, BASE), leading(replace(stopped, evidence=None), BASE)
    assert by_breach.facts["runbook"].endswith("/runbooks#an-experiment-was-stopped")
    assert by_person.facts["runbook"].endswith("/runbooks#messages-that-ask-or-report")
    assert leading(MESSAGE, "") is MESSAGE


def test_the_guide_names_the_section_of_every_kind_as_messages_do():
    text = (Path(__file__).parents[2] / "docs" / "operations.md").read_text(encoding="utf-8")
    named = {
        kind: section
        for kinds, section in re.findall(
            r"^\| (`[a-z_`, ]+) \| \[.*?\]\(#(.+?)\) \|$", text, re.MULTILINE
        )
        for kind in re.findall(r"`(\w+)`", kinds)
    }
    assert "rolled_back" in named
    for kind, section in named.items():
        told = leading(replace(MESSAGE, kind=kind, evidence={"z": 4.0}), BASE)
        assert told.facts["runbook"] == f"{BASE}/runbooks#{section}"
    assert SECTIONS.keys() <= named.keys()


def test_without_an_address_there_is_no_link():
    world = World()
    world.engine.roll_back("cancel-page", "treatment", reason="people complain", actor="ann")
    assert {m.link for m in world.channel.told} == {""}
    assert rollback_link("", "x", 1) == ""
    plain = replace(MESSAGE, link="")
    assert "Page:" not in mail_of(plain, "a@example.com", ("b@example.com",)).get_content()
    assert all(block["type"] != "actions" for block in payload(plain)["blocks"])


def test_every_channel_carries_the_link():
    assert f'"link":"{LINK}"' in body_of(MESSAGE).decode()
    slack = payload(MESSAGE)
    (buttons,) = [b for b in slack["blocks"] if b["type"] == "actions"]
    assert buttons["elements"][0]["url"] == LINK
    assert LINK in slack["text"]
    mail = mail_of(MESSAGE, "turnback@example.com", ("ops@example.com",))
    assert f"Page: {LINK}" in mail.get_content().replace("=\n", "")
    alerts = AlertmanagerChannel(("http://127.0.0.1:9093",), lambda: datetime.now(UTC))
    alert = alerts.alert(MESSAGE, over_at=None)
    assert (alert["generatorURL"], alert["annotations"]["link"]) == (LINK, LINK)


@pytest.mark.parametrize(
    ("given", "kept"),
    [
        ("", ""),
        ("https://turnback.example.com/", BASE),
        ("http://10.0.0.7:8300", "http://10.0.0.7:8300"),
        ("https://example.com/turnback/", "https://example.com/turnback"),
    ],
)
def test_an_address_of_pages_is_kept_without_its_last_slash(given, kept):
    assert pages_at(given) == kept
    assert Settings(public_url=given).public_url == kept


@pytest.mark.parametrize(
    "given",
    [
        "turnback.example.com",
        "ftp://example.com",
        "javascript:alert(1)",
        "https://a:b@example.com",
        "https://example.com?x=1",
        "https://example.com/a b",
        "https://[",
    ],
)
def test_what_is_no_address_of_pages_is_refused(given):
    with pytest.raises(ValidationError, match="must be an address such as https://turnback"):
        Settings(public_url=given)


def test_a_key_is_quoted_in_an_address():
    assert rollback_link(BASE, "a/b c", 7) == f"{BASE}/experiments/a%2Fb%20c/rollbacks/t7"
