"""Webhook and Slack against a receiver behind a real socket that misbehaves in every way."""

import hmac
import json
import re
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from hashlib import sha256
from pathlib import Path
from threading import Event

import pytest

from guardrails.channels import DeliveryError, Message
from guardrails.channels.http import LONGEST_BODY, LONGEST_WAIT
from guardrails.channels.slack import SlackChannel, escaped, payload
from guardrails.channels.webhook import WebhookChannel
from tests.receivers import free_port, receiving

T = datetime(2026, 3, 1, 9, 30, tzinfo=UTC)
MESSAGE = Message(
    key="rolled_back:cancel-page/treatment/1/1",
    kind="rolled_back",
    experiment="cancel-page",
    variant="treatment",
    at=T,
    title="cancel-page: treatment was turned back to control",
    text="Satisfaction is 7% lower <for> everybody & everywhere.",
    evidence={"z": 3.2},
    facts={"kpi": "Satisfaction", "effect": "7% lower"},
)
SECRET = "a-long-secret"
GUIDE = Path(__file__).parents[2] / "docs" / "operations.md"


def webhook(url, **options):
    return WebhookChannel(url, lambda: T, **options)


def failure(channel, message=MESSAGE):
    with pytest.raises(DeliveryError) as caught:
        channel.send(message)
    return caught.value


def test_a_webhook_posts_the_whole_message_with_its_key():
    with receiving(status=204, body=b"") as it:
        webhook(f"{it.url}/hook").send(MESSAGE)
    ((path, headers, body),) = it.got
    assert (path, headers["Idempotency-Key"]) == ("/hook", MESSAGE.key)
    assert headers["Content-Type"] == "application/json"
    assert "X-Turnback-Signature" not in headers
    told = json.loads(body)
    assert told["at"] == "2026-03-01T09:30:00Z"
    assert (told["facts"]["effect"], told["evidence"]) == ("7% lower", {"z": 3.2})


def test_a_signed_webhook_is_verified_as_the_guide_says_and_a_changed_byte_is_noticed():
    with receiving() as it:
        webhook(it.url, secret=SECRET, bearer="knock").send(MESSAGE)
    ((_, headers, body),) = it.got
    assert headers["Authorization"] == "Bearer knock"
    given = headers["X-Turnback-Signature"]
    unix = int(T.timestamp())
    expected = hmac.new(SECRET.encode(), f"{unix}.".encode() + body, sha256).hexdigest()
    assert given == f"t={unix},v1={expected}"
    (snippet,) = re.findall(
        r"^```python\n(import hmac.*?)^```$", GUIDE.read_text(), re.DOTALL | re.MULTILINE
    )
    names: dict = {}
    exec(snippet, names)  # noqa: S102 - the guide's own words
    verified = names["verified"]
    assert verified(body, given, SECRET, now=unix + 299)
    assert not verified(body, given, SECRET, now=unix + 301), "too old: it may be a replay"
    assert not verified(body + b" ", given, SECRET, now=unix)
    assert not verified(body, given, "another", now=unix)
    assert not verified(body, given.replace(f"t={unix}", f"t={unix + 1}"), SECRET, now=unix)


@pytest.mark.parametrize(
    ("status", "retryable"),
    [
        *((status, False) for status in (400, 401, 403, 404, 405, 409, 410, 413, 415, 422, 451)),
        *((status, True) for status in (408, 425, 429, 500, 502, 503, 504)),
    ],
)
def test_a_status_that_cannot_get_better_is_permanent(status, retryable):
    with receiving(status=status, body=b"no, because\n\x1b[31mof this") as it:
        error = failure(webhook(it.url))
    assert error.retryable is retryable
    assert str(error) == f"{it.url} answered {status}: no, because [31mof this"
    assert error.hint


@pytest.mark.parametrize("status", [301, 302, 307, 308])
def test_a_redirect_is_not_followed(status):
    with receiving() as other, receiving(status=status) as it:
        it.headers["Location"] = other.url
        error = failure(webhook(it.url))
    assert (other.got, error.retryable) == ([], False)
    assert "redirects are not followed" in error.hint


@pytest.mark.parametrize(
    ("asked", "wait"),
    [
        ("7", timedelta(seconds=7)),
        ("999999999", LONGEST_WAIT),
        ("-5", None),
        ("nan", None),
        ("soon", None),
        ("Sun, 01 Mar 2020 09:30:00 GMT", None),
        pytest.param(
            format_datetime(datetime.now(UTC) + timedelta(days=9), usegmt=True),
            LONGEST_WAIT,
            id="in nine days",
        ),
    ],
)
@pytest.mark.parametrize("status", [429, 503])
def test_a_receiver_that_asks_for_time_gets_it(status, asked, wait):
    with receiving(status=status, headers={"Retry-After": asked}) as it:
        assert failure(webhook(it.url)).retry_after == wait


def test_nobody_there_is_tried_again():
    url = f"http://127.0.0.1:{free_port()}/token"
    error = failure(webhook(url))
    assert error.retryable
    assert "cannot be reached" in str(error)
    assert "token" not in str(error)


@pytest.mark.parametrize("status", [200, 500])
def test_a_receiver_that_never_answers_costs_the_timeout_and_no_more(status):
    with receiving(status=status, hold=Event()) as it:
        begun = time.monotonic()
        error = failure(webhook(it.url, timeout=timedelta(seconds=0.3)))
        assert time.monotonic() - begun < 3
    assert error.retryable
    assert str(error) == f"{it.url} did not answer within 0.3 s"


def test_a_receiver_that_drips_its_answer_costs_the_timeout_and_no_more():
    with receiving(status=500, body=b"x" * 100, slowly=0.1) as it:
        begun = time.monotonic()
        error = failure(webhook(it.url, timeout=timedelta(seconds=0.5)))
        assert time.monotonic() - begun < 3
    assert "did not answer within 0.5 s" in str(error)


def test_a_huge_answer_is_not_read():
    with receiving(status=500, body=b"x" * 50_000_000) as it:
        begun = time.monotonic()
        error = failure(webhook(it.url))
        assert time.monotonic() - begun < 3
    assert len(str(error)) < 300


def test_a_receiver_that_repeats_the_address_or_the_secrets_does_not_get_them_shown():
    said = b"no hook at /services/T0/B1/SECRETPART, key a-long-secret, Bearer knock"
    with receiving(status=404, body=said) as it:
        channel = webhook(f"{it.url}/services/T0/B1/SECRETPART", secret=SECRET, bearer="knock")
        words = str(failure(channel))
    assert words.endswith("answered 404: no hook at ***, key ***, Bearer ***")
    assert "SECRETPART" not in repr(channel)


def test_a_message_that_is_too_long_goes_without_its_evidence():
    huge = replace(MESSAGE, evidence={"x": "y" * LONGEST_BODY}, text="t" * 100_000)
    with receiving() as it:
        webhook(it.url).send(huge)
    (told,) = it.bodies()
    assert told["evidence"] is None
    assert len(told["text"]) == 20_000
    assert told["title"] == MESSAGE.title


def test_a_key_with_any_letters_is_a_header():
    with receiving() as it:
        webhook(it.url).send(replace(MESSAGE, key="blind:cancel-page/1/评分\r\nX-Evil: 1@2026"))
    ((_, headers, _),) = it.got
    assert (
        headers["Idempotency-Key"] == "blind:cancel-page/1/%E8%AF%84%E5%88%86%0D%0AX-Evil: 1@2026"
    )
    assert headers["X-Evil"] is None


def test_slack_gets_text_and_blocks_with_nothing_in_them_that_steers():
    nasty = replace(
        MESSAGE,
        title="<!channel> & <@U1>\nsecond line",
        text="<!here> *bold* <https://evil|click> &amp;\n\nnext \x00 line",
        facts={"kpi": "a <b>", "next": 'turnback resume k t --reason "..."'},
    )
    with receiving(body=b"ok") as it:
        SlackChannel(f"{it.url}/services/T0").send(nasty)
    (told,) = it.bodies()
    text = json.dumps(told)
    assert "<" not in text
    assert told["blocks"][0]["text"]["text"] == "&lt;!channel&gt; &amp; &lt;@U1&gt; second line"
    assert "&lt;https://evil|click&gt; &amp;amp;" in told["blocks"][1]["text"]["text"]
    assert {b["text"]["type"] for b in told["blocks"] if "text" in b} == {"plain_text"}
    assert told["blocks"][2]["text"]["text"].startswith("KPI: a &lt;b&gt;\nNext: turnback resume")
    assert told["blocks"][3]["elements"][0]["text"].endswith(f"key {MESSAGE.key}")
    assert told["text"].startswith("&lt;!channel&gt;")


def test_a_slack_message_stays_inside_the_sizes_slack_takes():
    long = replace(MESSAGE, title="&" * 500, text="<&>" * 9_000, facts={"kpi": ">" * 9_000})
    told = payload(long)
    sizes = [len(b["text"]["text"]) for b in told["blocks"] if "text" in b]
    assert [size <= most for size, most in zip(sizes, (150, 3000, 3000), strict=True)] == [True] * 3
    assert len(told["text"]) <= 3000
    assert len(told["blocks"]) <= 50


@pytest.mark.parametrize("longest", range(12))
def test_what_is_cut_is_never_cut_inside_an_entity(longest):
    safe = escaped("a<b>&c<d>&", longest)
    assert len(safe) <= max(longest, 0)
    assert re.fullmatch(r"(?:&(?:amp|lt|gt);|[^&<>])*", safe)


def test_what_slack_refuses_is_told_in_words():
    with receiving(status=403, body=b"action_prohibited") as it:
        error = failure(SlackChannel(f"{it.url}/services/T0/B0/XXX"))
    assert str(error) == f"{it.url} answered 403: action_prohibited"
    assert (error.retryable, "withdrawn" in error.hint) == (False, True)
