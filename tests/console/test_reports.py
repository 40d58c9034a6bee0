"""``report``, ``digest`` and ``export KEY``: what they say is what the API says, and stands alone."""

import csv
import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from console import cli
from console.child import MARKER
from console.reports.digest import digest_of
from console.reports.markdown import plain
from console.views import words
from metrics.catalogue import load_catalogue
from tests.console.test_comparisons import turned_back
from tests.harm import KEY, SPEC, START, story
from tests.receiver import receiving
from tests.running import running
from tests.views import T, rolled_back, view

EVIL = "<script>alert(1)</script>`|**x**| [a](http://evil.example) {{ 7 * 7 }}"
NOT_THERE = "http://127.0.0.1:9"
QUOTED = json.dumps(EVIL)
KPI_UNITS = {key: kpi.unit for key, kpi in load_catalogue().kpis.items()}


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    """A treatment that lets nobody out was turned back; every text of the file carries markup.

    Returns the report in every format from the running service, what the API says, and the
    folder of the service, which has ended.
    """
    data = tmp_path_factory.mktemp("reports") / "data"
    spec = SPEC.replace("notify: [ops]\n", "") + f"title: {QUOTED}\nhypothesis: {QUOTED}\n"
    spec += "owner: ann@example.com\n"
    out = tmp_path_factory.mktemp("out")
    with running(data=data) as it:
        applied = it.apply(spec)
        assert applied.is_success, applied.text
        for part in (list(story())[n : n + 400] for n in range(0, 900, 400)):
            assert it.http.post("/api/v1/events", json=part).is_success
        for hours in (1, 2, 3):
            to = (START + timedelta(hours=hours)).isoformat()
            assert it.http.post("/api/v1/demo/clock", json={"to": to}).is_success
        note = {"text": EVIL}
        assert it.http.post(f"/api/v1/experiments/{KEY}/notes", json=note).is_success
        made = {
            suffix: turnback("report", KEY, "-o", str(out / f"r.{suffix}"), "--url", it.url)
            for suffix in ("html", "md", "png")
        }
        assert [m.exit_code for m in made.values()] == [0, 0, 0], made["html"].stderr
        chinese = ["report", KEY, "--lang", "zh", "-o", str(out / "zh.html"), "--url", it.url]
        assert turnback(*chinese).exit_code == 0
        shown = turnback("report", KEY, "--json", "--url", it.url)
        results = {
            suffix: turnback(
                *("export", KEY, "--to", str(out / suffix), "--format", suffix, "--url", it.url)
            )
            for suffix in ("csv", "parquet", "json")
        }
        assert [r.exit_code for r in results.values()] == [0, 0, 0], results["csv"].stderr
        digest = turnback("digest", "--until", "2026-01-06T00:00Z", "--json", "--url", it.url)
        assert digest.exit_code == 0, digest.stderr
        api = it.http.get(f"/api/v1/experiments/{KEY}").json()
        printed = turnback("report", KEY, "--url", it.url)
        page = it.http.get(f"/experiments/{KEY}.json").json()
    (data / MARKER).touch()  # as a demo marks its folder
    return {
        "page": page,
        "api": api,
        "json": json.loads(shown.stdout),
        "digest": json.loads(digest.stdout)["digest"],
        "out": out,
        "data": data,
        "printed": printed.stdout,
        "html": (out / "r.html").read_text(encoding="utf-8"),
        "md": (out / "r.md").read_text(encoding="utf-8"),
    }


def turnback(*arguments, **env):
    return CliRunner(env={"COLUMNS": "100", **env}).invoke(cli.app, list(arguments))


def test_the_verdict_comes_first_and_every_part_is_there(told):
    body = told["html"].partition("<body>")[2]
    verdict = "treatment was turned back because cancel success rate fell by 100.0%."
    assert told["json"]["verdict"] == verdict
    order = [
        *(verdict, "<h2>KPIs</h2>", "<h2>Guardrails and their evidence</h2>"),
        *("<svg", "<h2>Quality of the data</h2>", "<h2>Variants</h2>", "<h2>What happened</h2>"),
        *("<h2>The experiment</h2>", "<h2>Method</h2>", "<h2>How to read it</h2>"),
    ]
    places = [body.index(part) for part in order]
    assert places == sorted(places)
    assert told["md"].index(verdict) < told["md"].index("## KPIs")
    assert told["printed"] == told["md"]


def test_its_numbers_are_those_of_the_api(told):
    api, report = told["api"], told["json"]
    values = {(k["kpi"], k["window"], k["variant"]): k for k in api["kpis"]}
    (guardrail,) = [g for g in api["guardrails"] if g["kpi"] == "cancel_success_rate"]
    judged = {w["window"]: w for w in guardrail["windows"] if w["effect_low"] is not None}
    assert judged
    lengths = {"PT1H": "1 hour", "PT3600S": "1 hour", "P1D": "1 day", "PT86400S": "1 day"}
    rows = {(r["kpi"], r["window"]): r for r in report["kpis"]}
    seen = 0
    for (kpi, window, variant), told_of in values.items():
        base = values[kpi, window, "control"]
        if variant == "control" or told_of["value"] is None or base["value"] is None:
            continue
        row = rows[kpi, lengths[window]]
        found = judged.get(window) if kpi == "cancel_success_rate" else None
        effect = found["effect"] if found else told_of["effect"]
        units = found["units"] if found else [base["units"], told_of["units"]]
        assert row["units"] == f"{units[0]:,} / {units[1]:,}"
        apart = None if found else told_of["difference"]
        assert row["effect"] == words.lift(effect, apart, KPI_UNITS.get(kpi, ""))
        ends = found or told_of
        known = ends["effect_low"] is not None
        said = words.interval(ends["effect_low"], ends["effect_high"]) if known else ""
        assert row["interval"] == said
        assert row["value"] in told["html"]
        seen += 1
    assert seen == len(report["kpis"]) > 3
    (line,) = report["guardrails"]
    assert line["line"]["evidence"] == guardrail["evidence"]
    assert [point[1] for point in line["shown"]["points"]] == [p[1] for p in guardrail["history"]]
    assert [t["id"] for t in report["transitions"]] == [t["id"] for t in api["transitions"]]


def test_it_begins_like_the_page_of_a_rollback(told):
    asked = [question for question, _said in told["json"]["opening"]]
    assert asked == [
        *("What happened?", "How sure is it?", "Who was affected?"),
        "What to do next?",
    ]
    happened, sure, affected, after = (said for _question, said in told["json"]["opening"])
    assert any("100.0% lower" in said and "units" in said for said in happened)
    assert sure[1] == "That harm exceeds 2.5% is proven."
    assert len(affected) == 2
    assert any("resume treatment" in said for said in after)
    start = told["md"].partition("## Method")[0].partition("## What happened")[0]
    assert "boundary" not in start
    assert "Recorded of" in told["md"].partition("## Method")[2]


def test_the_page_and_the_report_say_one_number(told):
    report = {(r["kpi"], r["window"]): r for r in told["json"]["kpis"]}
    seen = 0
    for row in told["page"]["kpis"]:
        if row["empty"] or not row["cells"][1]["effect"]:
            continue
        control, cell = row["cells"]
        there = report[row["kpi"], row["window"]]
        assert (control["value"], cell["value"]) == (there["control"], there["value"])
        shown = (cell["effect"], cell["interval"], cell["tone"], cell["note"])
        assert shown == tuple(there[name] for name in ("effect", "interval", "tone", "note"))
        units = [each["units"].split()[0] for each in (control, cell)]
        assert " / ".join(units) == there["units"]
        seen += 1
    assert seen > 3
    decided = [row for row in told["page"]["kpis"] if row["decided"]]
    assert [row["kpi"] for row in decided] == ["cancel_success_rate"]


def test_it_says_the_same_from_the_files_of_a_service_that_ended(told):
    shown = turnback("report", KEY, "--json", "--data", str(told["data"]))
    assert shown.exit_code == 0, shown.stderr
    assert json.loads(shown.stdout) == told["json"]
    missing = turnback("report", "nobody", "--data", str(told["data"]))
    assert (missing.exit_code, missing.stdout) == (1, "")
    assert "nobody" in missing.stderr


SIMULATED = "A demo: shop, people and clock are simulated."


def test_a_report_of_a_demo_says_so_whether_it_runs_or_not(told, tmp_path):
    assert told["json"]["simulated"] == SIMULATED
    assert told["md"].index(SIMULATED) < told["md"].index("was turned back because")
    assert told["html"].partition("<body>")[2].count(SIMULATED) == 1
    data = shutil.copytree(told["data"], tmp_path / "data")
    assert SIMULATED in turnback("report", KEY, "--data", str(data)).stdout
    (data / MARKER).unlink()
    assert SIMULATED not in turnback("report", KEY, "--data", str(data)).stdout


def test_the_html_stands_alone_and_shows_markup_as_text(told):
    html = told["html"]
    assert "Content-Security-Policy" in html
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?!#|data:)""", html)
    assert "@import" not in html
    assert not re.search(r"url\((?!#|['\"]?#)", html)
    assert "<script" not in html
    escaped = "&lt;script&gt;alert(1)&lt;/script&gt;"
    assert html.count(escaped) >= 3  # title, hypothesis, note
    assert "{{ 7 * 7 }}" in html


def test_the_markdown_shows_markup_as_text(told):
    assert "<script" not in told["md"]
    assert plain(EVIL) in told["md"]
    assert not re.search(r"(?<!\\)\]\(", told["md"])
    tables = [line for line in told["md"].splitlines() if line.startswith("|")]
    widths = {line.replace("\\|", "").count("|") for line in tables}
    assert widths <= {8, 5, 6}


def test_the_picture_is_one_and_there_is_none_without_looks(told):
    assert (told["out"] / "r.png").read_bytes().startswith(b"\x89PNG")
    with running() as it:
        it.apply()
        none = turnback("report", "cancel-page", "-o", "x.png", "--url", it.url)
        assert (none.exit_code, Path("x.png").exists()) == (1, False)
        assert "has no evidence to draw yet" in none.stderr
        young = turnback("report", "cancel-page", "--url", it.url)
        assert young.exit_code == 0
        assert "not checked yet" in young.stdout


def test_it_is_written_in_the_language_asked_for(told):
    chinese = (told["out"] / "zh.html").read_text(encoding="utf-8")
    assert '<html lang="zh">' in chinese
    assert "取消成功率" in chinese


@pytest.mark.parametrize(
    ("command", "words_"),
    [
        (["report", KEY, "-o", "report.pdf"], "report.pdf: its name does not say which format"),
        (["report", KEY, "--format", "pdf"], "--format: 'pdf' is not one of 'html', 'md', 'png'"),
        (["digest", "--since", "often"], "--since: 'often' is no length of time"),
        (["digest", "--until", "tomorrow"], "--until: 'tomorrow' is no instant"),
        (
            ["digest", "--send", "pager", "--data", "."],
            "there is no channel 'pager' in the settings here",
        ),
        (["export", "--to", "x", "--format", "csv"], "--format is of the results of an experiment"),
        (
            ["export", KEY, "--to", "x", "--since", "2026-01-01"],
            "--since and --until are of events",
        ),
    ],
)
def test_what_cannot_be_asked_is_refused_before_anybody_is_asked(command, words_):
    result = turnback(*command, "--url", NOT_THERE)
    assert (result.exit_code, result.stdout) == (2, "")
    assert words_ in result.stderr


@pytest.mark.parametrize("command", [("report", KEY), ("digest",)])
def test_where_no_service_answers_its_files_are_named(command):
    result = turnback(*command, "--url", NOT_THERE)
    assert result.exit_code == 3
    assert "--data FOLDER opens the files of one that does not run" in " ".join(
        result.stderr.split()
    )


def test_results_are_tables_with_the_numbers_of_the_api(told):
    api, out = told["api"], told["out"]
    with (out / "csv" / "kpis.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    values = [None if not r["value"] else float(r["value"]) for r in rows]
    assert values == [k["value"] for k in api["kpis"]]
    evidence = pq.read_table(out / "parquet" / "evidence.parquet").to_pylist()
    points = [p for g in api["guardrails"] for p in g["history"]]
    assert [e["evidence"] for e in evidence] == [p[1] for p in points]
    assert [e["effect_low"] for e in evidence] == [p[3] for p in points]
    transitions = json.loads((out / "json" / "transitions.json").read_bytes())
    assert [t["id"] for t in transitions] == [t["id"] for t in api["transitions"]]
    judged = json.loads((out / "json" / "guardrails.json").read_bytes())
    windows = [w for g in api["guardrails"] for w in g["windows"] or [{"effect": None}]]
    assert [row["effect"] for row in judged] == [w["effect"] for w in windows]


def test_a_digest_tells_what_was_turned_back_and_by_whom_it_was_tried(told):
    digest = told["digest"]
    (turned,) = digest["turned_back"]
    assert turned["what"] == "treatment was turned back by the engine"
    assert "Cancel success rate" in turned["because"][0]
    assert [e["key"] for e in digest["running"]] == [KEY]
    (owner,) = digest["owners"]
    assert owner == {
        "owner": "ann@example.com",
        "started": 1,
        "running": 1,
        "shipped": 0,
        "turned_back": 1,
        "ended": 0,
    }


HERE = "sent through product (webhook), a channel of TURNBACK_CHANNELS here\n"


def test_beside_a_service_a_digest_goes_through_its_channels_not_through_those_here():
    with receiving() as receiver:
        channels = {
            "product": {"type": "webhook", "url": f"{receiver.url}/product"},
            "am": {"type": "alertmanager", "url": receiver.url},
        }
        elsewhere = {"product": {"type": "webhook", "url": "http://127.0.0.1:9"}}
        env = {"TURNBACK_CHANNELS": json.dumps(elsewhere)}
        with running(channels=channels) as it:
            asked = ("digest", "--until", "2026-01-06T00:00Z", "--url", it.url, "--send")
            sent = turnback(*asked, "product", **env)
            whose = f"sent through product (webhook), a channel of the service at {it.url}\n"
            assert (sent.exit_code, sent.stdout) == (0, whose)
            near = turnback(*asked, "produkt")
            assert near.exit_code == 1
            assert "did you mean product? the channels are log, product, am" in near.stderr
            assert "a digest is no alert" in turnback(*asked, "am").stderr
            receiver.statuses = [404]
            refused = turnback(*asked, "product")
            assert refused.exit_code == 1
            assert "product did not take it" in refused.stderr
    (first, _again) = (got.body for got in receiver.got)
    assert first["kind"] == "digest"
    assert first["key"] == "digest:20251223T000000:20260106T000000:product"


def test_a_digest_is_written_as_markdown_and_html_and_sent_through_a_channel(told, tmp_path):
    span = ["--until", "2026-01-06T00:00Z", "--data", str(told["data"])]
    shown = turnback("digest", *span)
    assert shown.exit_code == 0, shown.stderr
    assert shown.stdout.startswith("# Experiments from 23 Dec 2025")
    assert "<script" not in shown.stdout
    page = tmp_path / "digest.html"
    assert turnback("digest", *span, "-o", str(page)).exit_code == 0
    html = page.read_text(encoding="utf-8")
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    with receiving() as receiver:
        channels = {
            "product": {"type": "webhook", "url": f"{receiver.url}/product"},
            "am": {"type": "alertmanager", "url": receiver.url},
        }
        env = {"TURNBACK_CHANNELS": json.dumps(channels)}
        sent = turnback("digest", *span, "--send", "product", **env)
        assert (sent.exit_code, sent.stdout) == (0, HERE)
        near = turnback("digest", *span, "--send", "produkt", **env)
        assert "did you mean product?" in near.stderr
        assert "a digest is no alert" in turnback("digest", *span, "--send", "am", **env).stderr
        receiver.statuses = [404]
        refused = turnback("digest", *span, "--send", "product", **env)
        assert refused.exit_code == 1
        assert "product did not take it" in refused.stderr
    (first, _again) = receiver.got
    assert "treatment was turned back by the engine" in json.dumps(first.body)


def over(**changes):
    base = view(key="y", owner="bob", state="finished", **changes)
    ended = rolled_back()
    moved = {"variant": None, "before": "observing", "after": "finished"}
    kept = {name: getattr(ended, name) for name in ended.__dataclass_fields__} | moved
    return base, type(ended)(**kept)


def test_what_was_turned_back_is_learned_with_its_effects():
    now, ended = over(guardrails=turned_back().guardrails, kpis=turned_back().kpis)
    turned = tuple(replace(v, state="rolled_back") if v.name == "b" else v for v in now.variants)
    now = replace(now, variants=turned, transitions=(rolled_back(), ended))
    digest = digest_of([now], {}, since=T - timedelta(days=1), until=T + timedelta(days=1))
    (entry,) = digest.learned
    assert "Satisfaction of b, over 1 hour: 5.0% lower" in entry.because[0]


def test_an_end_that_was_moved_is_told_with_who_and_why():
    moved = {"variant": None, "before": f"ends {T.isoformat()}", "actor": "ann", "reason": "more."}
    later = replace(rolled_back(), **moved, after=f"ends {(T + timedelta(days=7)).isoformat()}")
    digest = digest_of([view(transitions=(later,))], {}, since=T, until=T + timedelta(days=1))
    (entry,) = digest.running
    (said,) = entry.because
    assert said.startswith("It takes units in until 2026-03-08 12:00 UTC, moved from 2026-03-01")
    assert said.endswith(" by ann: more.")


@pytest.mark.parametrize(
    ("advice", "shipped_by", "what"),
    [
        (
            {"recommended": "ship", "words": "Ship b.", "reasons": ["Goal: 4% higher"]},
            None,
            "Ship b.",
        ),
        ({}, "b", "b was shipped"),
        ({"recommended": "keep_control", "words": "Keep control.", "reasons": []}, None, None),
    ],
)
def test_what_ended_is_learned_and_what_is_good_is_shipped(advice, shipped_by, what):
    base, ended = over(advice=advice or None, shipped=shipped_by)
    done = type(base)(
        **{n: getattr(base, n) for n in base.__dataclass_fields__} | {"transitions": (ended,)}
    )
    day = timedelta(days=1)
    digest = digest_of([done], {}, since=T - day, until=T + day)
    assert [e.what for e in digest.shipped] == ([what] if what else [])
    (learned,) = digest.learned
    if advice.get("words"):
        assert learned.what == advice["words"]
    assert learned.because
    assert [(o.owner, o.ended, o.shipped) for o in digest.owners] == [("bob", 1, int(bool(what)))]
    later = digest_of([done], {}, since=T + day, until=T + 2 * day)
    assert (later.learned, later.shipped, later.owners) == ((), (), ())


def test_the_report_prints_to_pdf_without_an_error_or_a_request(told):
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium")
    if chromium is None:
        pytest.skip("chromium is not installed")
    quiet = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    said, asked = [], []
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=chromium, args=quiet)
        page = browser.new_page(viewport={"width": 360, "height": 800})
        page.on("console", lambda message: said.append(message.text))
        page.on("request", lambda request: asked.append(request.url))
        page.goto((told["out"] / "r.html").as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        assert page.locator("figure svg").count() >= 1
        page.emulate_media(media="print")
        page.set_viewport_size({"width": 680, "height": 1000})  # A4 without its margins
        assert page.evaluate("document.documentElement.scrollWidth") <= 680, "print is not shrunk"
        names = "[...document.querySelectorAll('tbody td:first-child')].map(e => e.clientWidth)"
        assert min(page.evaluate(names)) > 100, "names of KPIs wrap seldom"
        printed = page.pdf(prefer_css_page_size=True)
        browser.close()
    assert (said, len(asked)) == ([], 1)
    assert printed.startswith(b"%PDF")
    assert 2 <= len(re.findall(rb"/Type\s*/Page\b", printed)) <= 8
