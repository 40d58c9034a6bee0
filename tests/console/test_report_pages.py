"""The report of an experiment as a page of the service, and as files to download."""

import re
import subprocess
import sys

import pytest

from tests.running import KEY, running


@pytest.fixture(scope="module")
def it():
    with running() as service:
        service.apply()
        service.http.post("/api/v1/demo/clock", json={"to": "2026-01-05T02:00:00Z"})
        yield service


def get(it, suffix="", **headers):
    return it.http.get(f"/experiments/{KEY}/report{suffix}", headers=headers)


def test_an_experiments_page_leads_to_its_report_and_back(it):
    page = it.http.get(f"/experiments/{KEY}").text
    assert f'href="/experiments/{KEY}/report"' in page
    report = get(it)
    assert report.status_code == 200
    assert f'<a href="/experiments/{KEY}">Back to the experiment</a>' in report.text
    view = it.http.get(f"/experiments/{KEY}.json").json()
    assert view["headline"] in report.text


def test_a_report_is_read_under_the_policy_of_a_page_that_loads_nothing(it):
    answer = get(it)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers["content-security-policy"].startswith("default-src 'none'")
    loaded = re.findall(r"""(?:src|xlink:href)=["']?(?!#|data:)\S""", answer.text)
    assert loaded == []


def test_a_downloaded_report_stands_alone(it):
    answer = get(it, ".html")
    assert answer.headers["content-disposition"] == f'attachment; filename="{KEY}.html"'
    assert "Back to the experiment" not in answer.text
    assert "href=" not in answer.text


def test_a_report_is_also_markdown(it):
    answer = get(it, ".md")
    assert answer.headers["content-type"] == "text/markdown; charset=utf-8"
    assert answer.text.startswith("# ")
    assert it.http.get(f"/experiments/{KEY}.json").json()["headline"] in answer.text


def test_a_picture_that_cannot_be_drawn_yet_says_so(it):
    answer = get(it, ".png")
    assert answer.status_code == 404
    assert "two looks" in answer.json()["error"]["hint"]
    assert "report.png" not in get(it).text


def test_a_report_is_in_the_language_of_the_visitor(it):
    assert '<html lang="zh">' in get(it, **{"Accept-Language": "zh"}).text


def test_the_report_of_no_experiment_is_a_page_that_leads_on(it):
    answer = it.http.get("/experiments/no-such/report", headers={"Accept": "text/html"})
    assert answer.status_code == 404
    assert '<a href="/">All experiments</a>' in answer.text


@pytest.mark.parametrize("module", ["console.reports.experiment", "console.dashboard"])
def test_reports_and_pages_are_imported_in_either_order(module):
    done = subprocess.run(
        [sys.executable, "-c", f"import {module}"], capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")
