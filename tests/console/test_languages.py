"""Languages: which one a visitor gets, that every message is found, and that each has its text."""

import ast

import pytest

from console import i18n
from metrics.catalogue import load_catalogue
from metrics.wording import gettext, language, ngettext
from tests import languages
from tests.running import KEY, running


@pytest.fixture(scope="module")
def it():
    with running() as service:
        service.apply()
        yield service


@pytest.mark.parametrize(
    ("accept", "code"),
    [
        (None, "en"),
        ("", "en"),
        ("*", "en"),
        ("zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("de-DE,de;q=0.9,en;q=0.5,zh;q=0.7", "zh"),
        ("fr,en-GB;q=0.8,zh;q=0.8", "en"),
        ("zh;q=0, en;q=0", "en"),
        ("zh;q=nonsense", "en"),
        ("ZH-Hant-TW", "zh"),
    ],
)
def test_a_browser_gets_the_language_it_asks_for(accept, code):
    assert i18n.wanted(accept) == code


def test_a_message_is_said_in_the_language_of_its_context():
    assert gettext("{a} of {b}", a=1, b=2) == "1 of 2"
    assert gettext("{braces} stay") == "{braces} stay"
    assert [ngettext("{n} unit", "{n} units", n) for n in (0, 1, 2400)] == [
        "0 units",
        "1 unit",
        "2,400 units",
    ]
    with i18n.in_language("zh"):
        assert language() == "zh"
        with i18n.in_language("en"):
            assert language() == "en"
        assert gettext("no such message") == "no such message"
    assert language() == "en"


def test_an_unknown_language_is_an_error():
    with pytest.raises(KeyError), i18n.in_language("xx"):
        pass


def test_the_address_chooses_and_a_cookie_remembers(it):
    chosen = it.http.get("/?lang=zh&theme=dark")
    assert '<html lang="zh" data-theme="dark">' in chosen.text
    assert chosen.headers["content-language"] == "zh"
    cookies = dict(chosen.cookies)
    assert cookies == {"turnback_lang": "zh", "turnback_theme": "dark"}
    later = it.http.get(f"/experiments/{KEY}", headers={"Accept-Language": "en"})
    assert '<html lang="zh" data-theme="dark">' in later.text
    it.http.cookies.clear()
    assert '<html lang="en" data-theme="system">' in it.http.get("/").text
    asked = it.http.get("/", headers={"Accept-Language": "zh-CN"})
    assert '<html lang="zh" data-theme="system">' in asked.text


@pytest.mark.parametrize("query", ["lang=xx", "theme=pink", "colour=red"])
def test_a_choice_that_there_is_not_is_refused(it, query):
    answer = it.http.get(f"/?{query}")
    assert answer.status_code == 400
    assert answer.json()["error"]["path"] == query.split("=")[0]


def test_a_cookie_from_elsewhere_is_no_choice(it):
    answer = it.http.get("/", headers={"Cookie": "turnback_lang=xx; turnback_theme=pink"})
    assert '<html lang="en" data-theme="system">' in answer.text


def test_every_message_has_a_chinese_text():
    known = languages.catalogue()
    missing = {m: where for m, where in languages.messages().items() if not known.get(m)}
    assert missing == {}


def test_the_catalogue_holds_nothing_that_is_said_nowhere():
    assert [m for m in languages.catalogue() if m not in languages.messages()] == []


def test_a_text_has_the_places_and_the_markup_of_its_message():
    wrong = [
        (message, text)
        for message, text in languages.catalogue().items()
        for said in ([text] if isinstance(text, str) else text)
        if languages.places(said)
        != languages.places(message if isinstance(message, str) else message[1])
    ]
    assert wrong == []


def test_no_text_of_a_template_is_said_outside_of_the_catalogue():
    assert list(languages.bare_text()) == []


def test_a_message_is_a_literal_without_anything_put_in():
    built = [
        f"{path.name}:{node.lineno}"
        for path, node in languages.calls()
        if node.args and isinstance(node.args[0], (ast.JoinedStr, ast.BinOp))
    ]
    assert built == []


def test_every_core_kpi_has_a_chinese_title():
    assert [kpi.key for kpi in load_catalogue().core if not kpi.title_zh] == []


def test_a_page_in_chinese_says_what_the_kpis_and_guardrails_are(it):
    page = it.http.get(f"/experiments/{KEY}?lang=zh")
    it.http.cookies.clear()
    assert "用户满意度相对 control 的降幅不得超过 3%" in page.text
    assert "取消转化率" in page.text
    twin = it.http.get(f"/experiments/{KEY}.json?lang=zh")
    assert "set-cookie" not in twin.headers
    assert twin.json()["headline"] in page.text
    assert "尚未进行首次检查" in twin.json()["headline"]


def test_what_is_recorded_is_english_whoever_looked_first(it):
    it.http.get(f"/experiments/{KEY}", headers={"Accept-Language": "zh"})
    it.http.post("/api/v1/demo/clock", json={"to": "2026-01-05T02:00:00Z"})
    view = it.http.get(f"/api/v1/experiments/{KEY}", headers={"Accept-Language": "zh"}).json()
    assert view["guardrails"][0]["limit"].startswith("Satisfaction may not drop")
