"""Every page in a browser: nothing complains, nothing comes from elsewhere, everybody can use it."""

import pytest

from tests import browsing
from tests.browsing import HARMED, pages


@pytest.fixture(scope="module")
def browser():
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def it(browser):
    with browsing.shop() as service:
        yield service


def test_a_rollback_shows_without_a_reload_and_focus_stays(browser, it):
    with browsing.visit(browser, it) as page:
        page.goto(f"{it.url}/experiments/{HARMED}")
        page.evaluate("window.unbroken = true")
        opened = page.locator("#about details").first
        opened.locator("summary").focus()
        page.keyboard.press("Enter")
        page.evaluate("scrollTo(0, 600)")
        browsing.turn_back(it)
        page.get_by_role("heading", level=1, name="treatment was turned back because").wait_for()
        assert page.evaluate("window.unbroken"), "the page was not loaded again"
        assert opened.get_attribute("open") is not None
        assert page.evaluate("document.activeElement.matches('#about summary')")
        assert page.evaluate("scrollY") > 0
        assert browsing.complaints(page) == []


def test_a_chart_answers_to_the_pointer_under_the_policy(browser, it):
    with browsing.visit(browser, it) as page:
        page.goto(f"{it.url}/experiments/{HARMED}")
        figure = page.locator("#leading .chart").first
        figure.locator("img").wait_for()
        figure.hover()
        figure.locator(".drawn svg").wait_for(timeout=60_000)
        box = figure.bounding_box()
        page.mouse.move(box["x"] + box["width"] * 0.7, box["y"] + box["height"] * 0.5)
        page.locator("#vg-tooltip-element.visible").wait_for()
        assert "UTC" in page.locator("#vg-tooltip-element").inner_text()
        assert browsing.complaints(page) == []


def test_the_overview_filters_as_one_types(browser, it):
    with browsing.visit(browser, it) as page:
        page.goto(f"{it.url}/")
        rows = page.locator("#list > li")
        assert rows.count() == 3
        page.get_by_role("searchbox").fill("courier")
        assert page.locator("#list > li:visible").count() == 1
        assert page.locator("#found").inner_text() == "1 of 3 shown"
        page.get_by_role("searchbox").fill("no such thing")
        page.get_by_text("No experiment is like that.").wait_for()
        assert browsing.complaints(page) == []


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_no_page_complains_or_shuts_anybody_out(browser, it, theme):
    browsing.turn_back(it)
    script, found = browsing.axe(), {}
    language, width = {"light": ("en", 1440), "dark": ("zh", 360)}[theme]
    with browsing.visit(browser, it, theme=theme, language=language, width=width) as page:
        every = {**pages(it), "report": f"/experiments/{HARMED}/report"}
        for name, path in every.items():
            page.goto(f"{it.url}{path}")
            wrong = [*browsing.serious(page, script), *browsing.cut(page)]
            wrong += browsing.complaints(page)
            page.complaints.clear()
            if wrong:
                found[name] = wrong
    assert found == {}
