"""Languages: which one a visitor gets, that every message is found, and that each has its text."""

import pytest

from console import i18n
from metrics.wording import gettext, language, ngettext
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
