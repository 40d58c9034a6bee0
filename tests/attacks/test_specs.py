"""Spec files of a hostile author: refused with their place, or shown as the text they are."""

import html
import re
import time
from html.parser import HTMLParser

import pytest

from tests.attacks.fortress import ADMIN, INGEST, bearer, fortress, holds, in_one_shape
from tests.receivers import receiving
from tests.running import KEY, SPEC


@pytest.fixture(scope="module")
def it():
    with fortress() as it:
        yield it


def lines(*extra, instead=()):
    text = SPEC.replace("cancel-page", "mine")
    for old, new in instead:
        assert old in text
        text = text.replace(old, new)
    return text + "".join(f"{line}\n" for line in extra)


def aliases(depth=12, width=10):
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * width)}]" for n in range(1, depth)]
    return "\n".join(rows)


FILES = {
    "aliases": aliases(),
    "one alias": lines("owner: &me a@example.com", "hypothesis: *me"),
    "a loop": "a: &a [*a]",
    "python object": lines("owner: !!python/object/apply:os.system ['true']"),
    "python name": lines("owner: !!python/name:os.system"),
    "another tag": lines("owner: !ruby/object:Gem x"),
    "binary": lines("owner: !!binary aGVsbG8="),
    "merge key": lines("base: &base {a: 1}", "more: {<<: *base}"),
    "the same key twice": lines("title: another"),
    "the same arm twice": lines(
        instead=[("  treatment: ", "  control: {weight: 50%}\n  treatment: ")]
    ),
    "two documents": lines("---", "experiment: other"),
    "a directive": "%YAML 3.0\n---\n" + lines(),
    "NUL": lines("owner: \0"),
    "control characters": lines('owner: "\x07\x1b[31m"'),
    "a huge number": lines(instead=[("expect_units: 50000", f"expect_units: {'9' * 5_000}")]),
    "an exponent": lines(instead=[("expect_units: 50000", "expect_units: 1e400")]),
    "not a number": lines(instead=[("expect_units: 50000", "expect_units: .nan")]),
    "an infinity": lines(instead=[("10d", ".inf")]),
    "hexadecimal": lines(instead=[("expect_units: 50000", "expect_units: 0xFFFFFFFFFFFFFFFFFF")]),
    "sexagesimal": lines(instead=[("expect_units: 50000", "expect_units: 190:20:30")]),
    "a negative weight": lines(instead=[("50%, flow: {steps: [confirm]}", "-50%")]),
    "a long key": lines(f"{'k' * 100_000}: 1"),
    "a long text": lines(f"owner: {'k' * 900_000}"),
    "deep": "a: " + "[" * 5_000 + "]" * 5_000,
    "deep block": "\n".join(" " * n + "a:" for n in range(900)),
    "a key of another kind": "? [a, b]\n: 1\n" + lines(),
    "an arm with markup": lines(instead=[("treatment", "<script>alert(1)</script>")]),
    "an arm with a path": lines(instead=[("treatment", "../../etc/passwd")]),
    "a name with a path": SPEC.replace("cancel-page", "../../etc/passwd"),
    "a name with markup": SPEC.replace("cancel-page", "<b>x</b>"),
    "a name with a line": SPEC.replace("cancel-page", '"a\\r\\nSet-Cookie: b"'),
    "a name in other letters": SPEC.replace("cancel-page", "cаncel-page"),  # noqa: RUF001 - Cyrillic
    "a name turned around": SPEC.replace("cancel-page", '"\\u202eegap-lecnac"'),
    "a title turned around": lines(instead=[("title: Cancel page", 'title: "\u202eegap"')]),
    "an address of Prometheus": lines("prometheus_url: http://169.254.169.254/"),
    "an address to tell": lines("webhooks: {mine: 'http://169.254.169.254/'}"),
    "an address as a channel": lines("notify: ['http://169.254.169.254/']"),
    "a channel of one's own": lines("notify: [{type: webhook, url: 'http://169.254.169.254/'}]"),
    "PromQL": lines(
        instead=[("  - {kpi", "  - {rule: promql, query: 'up or vector(1)', max: 1}\n  - {kpi")]
    ),
    "a query with an address": lines(
        instead=[
            ("  - {kpi", "  - {rule: promql, query: 'http://169.254.169.254/', max: 1}\n  - {kpi")
        ]
    ),
    "a pattern that never ends": lines('audience: {app: {matches: "(a+)+$"}}'),
}


@pytest.mark.parametrize("name", FILES)
def test_a_hostile_file_is_refused_at_once_and_nothing_of_it_is_kept(it, name):
    before, begun = holds(it), time.monotonic()
    for path in ("/api/v1/experiments?source=mine.yaml", "/api/v1/experiments?dry_run=true"):
        answer = it.http.post(path, content=FILES[name].encode(), headers=bearer(ADMIN))
        assert answer.status_code in {400, 413, 422}, answer.text
        in_one_shape(answer)
        assert len(answer.text) < 100_000
    checked = it.http.post("/api/v1/validate", content=FILES[name].encode(), headers=bearer(INGEST))
    assert checked.status_code in {400, 413} or checked.json()["ok"] is False
    assert holds(it) == before
    assert time.monotonic() - begun < 20


MARKUP = [
    "<script>alert(1)</script>",
    "{{7*7}}",
    "{% a %}",
    "${7*7}",
    "<%= 7 %>",
    "<img src=x onerror=alert(1)>",
    "javascript:alert(1)",
    "[x](javascript:a)",
    "'\"><svg/onload=alert(1)>",
    "</title><script>alert",
    "-->",
    "&lt;b&gt;",
]
ACTOR = " ".join(MARKUP).encode()
SHOWN = """\
experiment: shown
title: {0}
owner: {0}
hypothesis: {0}
unit: order_id
variants:
  control: {{weight: 50%, flow: {{steps: [{0}], {0}: {0}}}}}
  treatment: {{weight: 50%, flow: {{steps: [{0}, {0}]}}}}
kpis:
  odd:
    title: {0}
    words: {0}
    unit: {0}
    kind: proportion
    better: lower
    windows: {{1h: 100%}}
    measures: {{hits: {{event: odd_thing}}}}
    value: hits
guardrails:
  - {{kpi: satisfaction, max_drop: 3%}}
  - {{kpi: odd, max_rise: 10%, action: alert}}
ends: {{after: 10d, observe_for: 1d}}
expect_units: 50000
"""


@pytest.fixture(scope="module")
def shown():
    """Return every page of an experiment in whose every text all markup stands."""
    text = " ".join(MARKUP)
    assert len(text) <= 200, "no title is longer"
    quoted = "'" + text.replace("'", "''") + "'"
    with fortress() as it:
        answer = it.http.post(
            "/api/v1/experiments",
            params={"source": text},
            content=SHOWN.format(quoted).encode(),
            headers={**bearer(ADMIN), "X-Turnback-Actor": ACTOR},
        )
        assert answer.status_code == 201, answer.text
        for body in (
            {"action": "pause", "reason": text},
            {"action": "continue", "reason": text},
            {"action": "roll_back", "variant": "treatment", "reason": text},
        ):
            done = it.http.post(
                "/api/v1/experiments/shown/actions",
                json=body,
                headers={**bearer(ADMIN), "X-Turnback-Actor": ACTOR},
            )
            assert done.status_code == 200, done.text
        noted = it.http.post(
            "/api/v1/experiments/shown/notes", json={"text": text}, headers=bearer(ADMIN)
        )
        assert noted.status_code == 200, noted.text
        paths = ["/", "/experiments/shown", "/docs"]
        first = it.http.get("/experiments/shown", headers=bearer(ADMIN)).text
        links = {html.unescape(link) for link in re.findall(r'href="(/[^"#]*)"', first)}
        paths += sorted(link for link in links if not link.startswith("/static/"))
        yield (
            text,
            {path: it.http.get(path, headers=bearer(ADMIN)) for path in dict.fromkeys(paths)},
        )


class Acts(HTMLParser):
    """What a browser would run: elements and attributes, as a browser reads them."""

    def __init__(self):
        super().__init__()
        self.found = []

    def handle_starttag(self, tag, attrs):
        for name, value in attrs:
            if name.startswith("on") or (value or "").strip().lower().startswith("javascript:"):
                self.found.append((tag, name, value))
        source = dict(attrs).get("src", "")
        if tag == "script" and not source.startswith("/static/"):
            self.found.append((tag, "src", source))


def test_markup_in_every_text_is_shown_as_the_text_it_is(shown):
    text, pages = shown
    page = pages["/experiments/shown"]
    assert page.status_code == 200
    assert html.escape(text).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in page.text
    for path, answer in pages.items():
        if "html" not in answer.headers["content-type"]:
            assert answer.headers["x-content-type-options"] == "nosniff", path
            continue
        for raw in ("<script>alert", "<img src=x", "<svg/onload", "<%= 7", "</title><script"):
            assert raw not in answer.text, path
        acts = Acts()
        acts.feed(answer.text)
        assert acts.found == [], path
        policy = answer.headers["content-security-policy"]
        assert "default-src 'none'" in policy
        assert "'unsafe-inline'" not in policy.partition("script-src")[2].partition(";")[0]


def test_nothing_in_a_text_is_computed(shown):
    _, pages = shown
    for path in ("/", "/experiments/shown"):
        assert "${49}" not in pages[path].text
    assert pages["/experiments/shown"].text.count("{{7*7}}") >= 5


def test_a_service_asks_only_the_addresses_of_its_settings():
    with receiving() as trap:
        target = trap.url
        with fortress() as it:
            for name, extra in {
                "title": f"title: '{target}'",
                "hypothesis": f"hypothesis: '[x]({target})'",
                "owner": f"owner: '{target}'",
            }.items():
                key = f"asks-{name}"
                text = SPEC.replace("cancel-page", key).replace("title: Cancel page\n", "")
                answer = it.http.post(
                    "/api/v1/experiments", content=f"{text}{extra}\n", headers=bearer(ADMIN)
                )
                assert answer.status_code == 201, answer.text
                it.http.get(f"/experiments/{key}", headers=bearer(ADMIN))
            event = {
                "id": target,
                "name": target,
                "happened_at": "2026-01-05T00:00:00Z",
                "units": {"order_id": target},
                "fields": {"url": target},
            }
            it.http.post("/api/v1/events", json=[event], headers=bearer(INGEST))
            moved = {"to": "2026-01-05T03:00:00Z"}
            assert it.http.post("/api/v1/demo/clock", json=moved, headers=bearer(ADMIN)).is_success
            assert it.http.get(f"/experiments/{KEY}", headers=bearer(ADMIN)).is_success
        assert list(trap.got) == []
