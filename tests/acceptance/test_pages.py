"""Every page in both languages, both themes, on a phone and on a desk, with the keyboard alone."""

import pytest

from tests import browsing
from tests.browsing import pages
from tests.crowded import page_costs

pytestmark = pytest.mark.acceptance


@pytest.fixture(scope="module")
def browser():
    with browsing.chromium() as found:
        yield found


@pytest.fixture(scope="module")
def it(browser):
    with browsing.shop() as service:
        browsing.turn_back(service)
        yield service


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("theme", ["light", "dark"])
@pytest.mark.parametrize("language", ["en", "zh"])
def test_every_page_holds_everywhere(browser, it, language, theme, width):
    script, found = browsing.axe(), {}
    with browsing.visit(browser, it, theme=theme, language=language, width=width) as page:
        for name, path in pages(it).items():
            page.goto(f"{it.url}{path}")
            wrong = [*browsing.serious(page, script), *browsing.cut(page)]
            wrong += browsing.complaints(page)
            page.complaints.clear()
            assert page.evaluate("document.documentElement.lang") == language
            if wrong:
                found[name] = wrong
    assert found == {}


REACHED = """() => {
  const e = document.activeElement;
  const box = e.getBoundingClientRect();
  const style = getComputedStyle(e);
  const seen = box.width > 0 && (style.outlineStyle !== "none" || e.matches(".skip"));
  return [e.outerHTML.slice(0, 90), seen, e === document.body];
}"""
USED = "main a[href], main button, main input:not([type=hidden]), main select, main summary"


@pytest.mark.parametrize("width", [360, 1440])
def test_every_page_is_used_with_the_keyboard_alone(browser, it, width):
    with browsing.visit(browser, it, width=width) as page:
        for name, path in pages(it).items():
            page.goto(f"{it.url}{path}")
            page.keyboard.press("Tab")
            assert page.evaluate("document.activeElement.matches('.skip')"), name
            page.keyboard.press("Enter")
            assert page.evaluate("location.hash") == "#page", name
            wanted = page.locator(USED).locator("visible=true").count()
            met, unseen = 0, []
            for _ in range(3 * wanted + 60):
                page.keyboard.press("Tab")
                html, seen, left = page.evaluate(REACHED)
                if left:
                    break
                met += page.evaluate(f"document.activeElement.matches('{USED}')")
                if not seen:
                    unseen.append(html)
            assert unseen == [], name
            assert met >= wanted, f"{name}: {met} of {wanted} reached"


def test_a_page_answers_within_200_ms_with_100_experiments(record_property):
    costs = page_costs(100)
    for path, seconds in costs.items():
        record_property(f"ms {path}", round(1000 * seconds))
    assert max(costs.values()) < 0.2
