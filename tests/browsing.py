"""Pages in a real browser: one service with something of everything, and what must hold on each.

`PAGES` is the list that every test of pages goes through; another page is one line there
(``{rollback}`` stands for the id of the rollback).
"""

import shutil
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests import harm
from tests.clients import javascript
from tests.running import running

NODE = Path(__file__).parent / "console" / "node"
FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
HARMED = harm.KEY
PAGES = {
    "overview": "/",
    "overview, filtered": "/?state=rolled_back&q=exp",
    "experiment": f"/experiments/{HARMED}",
    "ramp": "/experiments/courier-map",
    "draft": "/experiments/coupon-reminder",
    "rollback": f"/experiments/{HARMED}/rollbacks/{{rollback}}",
    "replay": f"/experiments/{HARMED}/rollbacks/{{rollback}}/replay",
    "confirm": "/experiments/courier-map/actions/approve",
    "sign in": "/session",
    "kpis": "/kpis",
    "events": "/events",
    "audit": "/audit",
    "health": "/health",
    "runbooks": "/runbooks",
    "api": "/docs",
    "nothing": "/experiments/none",
}
RAMP = """\
experiment: courier-map
title: Courier on a map
owner: delivery@example.com
hypothesis: Seeing the courier move makes people wait instead of cancelling.
unit: order_id
audience: {platform: [ios, android], order_value: {at_least: 20}}
variants:
  control: {weight: 50%, flow: {map: false}}
  map: {weight: 50%, flow: {map: true}}
ramp:
  - {traffic: 5%, hold: 6h, min_units: 500, approval: true}
  - {traffic: 100%}
goal: {kpi: save_rate, expect: +5%}
watch: [repurchase_rate]
guardrails:
  - {kpi: cancel_success_rate, max_drop: 5%}
  - {rule: limit, kpi: flow_failure_rate, max: 5%}
ends: {after: 14d, observe_for: 14d}
check_every: 1h
expect_units: 50000
"""
DRAFT = """\
experiment: coupon-reminder
title: Remind people of their coupon before they cancel
unit: order_id
starts: manual
variants:
  control: {weight: 34%, flow: 0}
  gentle: {weight: 33%, flow: 1}
  loud: {weight: 33%, flow: 2}
guardrails:
  - {kpi: satisfaction, max_drop: 3%}
ends: {after: 14d, observe_for: 1d}
check_every: 1h
expect_units: 50000
"""


def pages(it):
    """Return name and path of every page of a service whose harmful treatment was turned back."""
    changes = it.http.get(f"/api/v1/experiments/{HARMED}/transitions").json()["transitions"]
    back = next(f"t{t['id']}" for t in changes if t["after"] == "rolled_back")
    return {name: path.format(rollback=back) for name, path in PAGES.items()}


def to(it, at):
    assert it.http.post("/api/v1/demo/clock", json={"to": at.isoformat()}).status_code == 200


@contextmanager
def shop():
    """Run a service whose harmful treatment is one check before its rollback."""
    with running() as it:
        for text in (harm.SPEC, RAMP, DRAFT):
            answer = it.apply(text)
            assert answer.status_code == 201, answer.text
        it.apply(RAMP.replace("+5%", "+8%"))
        to(it, harm.START + harm.HOUR)
        events = [
            e for e in harm.story() if e["happened_at"] <= (harm.START + harm.HOUR).isoformat()
        ]
        assert it.http.post("/api/v1/events", json=events).status_code in {200, 202}
        it.http.post("/api/v1/events", json=[{"id": "1", "name": "satisfaction_rated"}])
        yield it


def turn_back(it):
    """Let the check come that turns the harmful treatment back."""
    to(it, harm.BREACH)


@contextmanager
def chromium(*flags):
    """Start Debian's Chromium, with flags of one's own; skip where it is not installed."""
    sync_api = pytest.importorskip("playwright.sync_api")
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("chromium is not installed")
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=[*FLAGS, *flags])
        try:
            yield browser
        finally:
            browser.close()


@contextmanager
def visit(browser, it, *, theme="light", language="en", width=1440):
    """Open a page that nobody complains on and that asks no other host."""
    context = browser.new_context(
        viewport={"width": width, "height": 900},
        locale={"en": "en-GB", "zh": "zh-CN"}[language],
        color_scheme=theme,
        reduced_motion="reduce",
    )
    page = context.new_page()
    page.complaints = []
    page.on("console", lambda message: page.complaints.append(message.text))
    page.on("pageerror", lambda error: page.complaints.append(str(error)))
    page.on(
        "request",
        lambda request: (
            request.url.startswith((it.url, "data:"))
            or page.complaints.append(f"asked {request.url}")
        ),
    )
    try:
        yield page
    finally:
        context.close()


def complaints(page):
    """Return what was complained of, but that a page which is not there was not found."""
    return [text for text in page.complaints if "404 (Not Found)" not in text]


def axe():
    """Return the script of axe-core, as its registry has it."""
    folder = javascript.packages(NODE)
    return (folder / "node_modules" / "axe-core" / "axe.min.js").read_text(encoding="utf-8")


def serious(page, script):
    """Return the violations of a page that are serious or worse, each with where."""
    page.evaluate(script)
    found = page.evaluate("axe.run(document, {resultTypes: ['violations']})")
    return [
        (each["id"], [node["html"][:120] for node in each["nodes"]][:3])
        for each in found["violations"]
        if each["impact"] in {"serious", "critical"}
    ]


def cut(page):
    """Return what is wider than the page, and text that is cut off."""
    return page.evaluate(
        """() => {
          const wide = document.documentElement.scrollWidth > document.documentElement.clientWidth;
          const said = wide ? [`the page is ${document.documentElement.scrollWidth} wide`] : [];
          for (const e of document.querySelectorAll("main *")) {
            const box = e.getBoundingClientRect();
            if (!box.width || e.closest(".scroll, svg, .bar, .scale, .meter, pre, .chart")) continue;
            if (box.right > document.documentElement.clientWidth + 1) said.push(e.outerHTML.slice(0, 100));
          }
          return said;
        }"""
    )
