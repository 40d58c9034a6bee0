"""Channels of the running service: settings, list, test, what is shown, and a kill in between."""

import json
import os
import re
import signal
import subprocess
import sys
import time
from datetime import timedelta
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

import service
from console.cli import app
from console.client import ServiceClient
from console.commands import planning
from guardrails.channels.registry import CHANNELS, read_channels
from guardrails.spec_file import load_spec_file
from tests.receivers import free_port, receiving
from tests.running import KEY, SPEC, running

ROOT = Path(__file__).parents[2]
GUIDE = (ROOT / "docs" / "operations.md").read_text(encoding="utf-8")
TOKEN = "T0/B1/SECRETPART"


def test_channels_come_from_the_environment_and_never_show_a_secret(monkeypatch):
    given = {
        "hook": {"type": "webhook", "url": f"https://h/{TOKEN}", "secret": "SECRETPART-1"},
        "ops": {"type": "slack", "url": f"https://hooks.slack.com/services/{TOKEN}"},
        "mail": {
            "type": "email",
            "host": "smtp.example.com",
            "user": "u",
            "password": "SECRETPART-2",
            "from": "t@example.com",
            "to": ["ops@example.com"],
        },
        "am": {"type": "alertmanager", "url": "http://am:9093", "bearer": "SECRETPART-3"},
        "more": {"type": "log"},
    }
    monkeypatch.setenv("TURNBACK_CHANNELS", json.dumps(given))
    monkeypatch.setenv("TURNBACK_WEBHOOKS", f'{{"old": "https://h/{TOKEN}"}}')
    settings = service.Settings().checked()
    channels = {n: c.build(lambda: None) for n, c in settings.all_channels().items()}
    assert {n: c.type for n, c in channels.items()} == {
        "old": "webhook",
        **{name: config["type"] for name, config in given.items()},
    }
    told = repr(settings) + str(settings.model_dump()) + repr(channels)
    told += "".join(c.where for c in channels.values())
    assert "SECRETPART" not in told
    assert channels["mail"].port == 587


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ("nonsense SECRETPART", "is no JSON"),
        ("[1]", 'must be an object such as {"ops": {"type": "slack"'),
        ('{"ops": 1}', "ops: must be an object with a type"),
        ('{"ops": {}}', "ops: has no type; the types are webhook, slack, email, alertmanager"),
        ('{"ops": {"type": "slak", "url": "SECRETPART"}}', "did you mean 'slack'?"),
        ('{"ops": {"type": "slack"}}', "ops.url: is missing; a channel of type slack needs it"),
        ('{"ops": {"type": "slack", "url": "SECRETPART"}}', "ops.url: must be an address"),
        ('{"o": {"type": "slack", "url": "ftp://SECRETPART"}}', "o.url: must be an address"),
        ('{"o": {"type": "slack", "url": "http://h", "secrt": "x"}}', "o.secrt: unknown key"),
        (
            '{"o": {"type": "webhook", "url": "http://h", "secrt": "SECRETPART"}}',
            "o.secrt: unknown key; did you mean 'secret'?",
        ),
        (
            '{"o": {"type": "webhook", "url": "http://h", "secret": "short"}}',
            "o.secret: must have at least 8 characters",
        ),
        (
            '{"o": {"type": "webhook", "url": "http://h", "bearer": "SECRETPART\\n"}}',
            "o.bearer: must be printable ASCII",
        ),
        (
            '{"o": {"type": "webhook", "url": "http://h", "timeout": "2h"}}',
            "o.timeout: must be from 0.1 to 60 seconds",
        ),
        ('{"log": {"type": "log"}}', "log: this channel is always there"),
        ('{"a b": {"type": "log"}}', "'a b': a channel's name is a letter"),
        (
            '{"m": {"type": "email", "host": "h", "from": "a@b.de\\nBcc: x@y.de", "to": []}}',
            "m.from: must be an address such as ops@example.com",
        ),
        (
            '{"m": {"type": "email", "host": "h", "from": "a@b.de", "to": []}}',
            "m.to: must name at least one",
        ),
        (
            '{"m": {"type": "email", "host": "mx.b", "security": "none", "user": "u", "password":"SECRETPART", "from": "a@b.de", "to": ["c@d.de"]}}',
            "m: a password is not sent over an open line",
        ),
        (
            '{"m": {"type": "email", "host": "h", "user": "u", "from": "a@b.de", "to": ["c@d.e"]}}',
            "m: user and password go together",
        ),
        ('{"a": {"type": "alertmanager"}}', "a: give url, or urls"),
        (
            '{"a": {"type": "alertmanager", "url": "http://h", "every": "1h"}}',
            "a.every: must be from 1s to 10m",
        ),
    ],
)
def test_a_wrong_channel_is_refused_with_where_and_what_to_do(monkeypatch, tmp_path, given, words):
    monkeypatch.setenv("TURNBACK_CHANNELS", given)
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path)])
    assert done.exit_code == 2, done.output
    assert f"TURNBACK_CHANNELS: {words}" in done.output or words in done.output
    assert "SECRETPART" not in done.output
    assert done.output.startswith("TURNBACK_CHANNELS: ")


def test_all_problems_of_all_channels_are_told_at_once():
    with pytest.raises(ValueError, match="a: has no type") as caught:
        read_channels({"a": {}, "b": {"type": "slack", "x": 1}})
    assert len(str(caught.value).splitlines()) == 3


def test_unreadable_webhooks_are_refused_without_showing_them(monkeypatch, tmp_path):
    monkeypatch.setenv("TURNBACK_WEBHOOKS", "{SECRETPART")
    done = CliRunner().invoke(app, ["serve", "--data", str(tmp_path)])
    assert (done.exit_code, "SECRETPART" in done.output) == (2, False)
    assert "WEBHOOKS" in done.output.upper()


def test_one_name_in_both_settings_is_refused(tmp_path):
    settings = service.Settings(
        data=tmp_path,
        webhooks={"ops": "http://h"},
        channels={"ops": {"type": "slack", "url": "http://h"}},
    )
    with pytest.raises(service.SettingsError, match="ops: named by TURNBACK_CHANNELS and by"):
        settings.checked()


def test_the_guide_describes_every_type_and_every_key_of_it():
    section = GUIDE.partition("## Channels")[2].partition("\n## ")[0]
    for name, config in CHANNELS.items():
        part = section.partition(f"### `{name}`")[2].partition("\n### ")[0]
        assert part, f"{name} is not in the guide"
        keys = {f.alias or key for key, f in config.model_fields.items()} - {"type"}
        assert [key for key in sorted(keys) if f"`{key}`" not in part] == []


def test_every_setting_of_the_guide_is_taken():
    section = GUIDE.partition("## Channels")[2].partition("\n## ")[0]
    examples = re.findall(r"^```json\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    settings = [json.loads(text) for text in examples]
    channels = [each for each in settings if all("type" in v for v in each.values())]
    assert {v["type"] for each in channels for v in each.values()} == set(CHANNELS) - {"log"}
    for each in channels:
        assert set(read_channels(each)) == set(each)


def test_channels_are_listed_and_tried_through_the_running_service(monkeypatch):
    with receiving() as good, receiving(status=403, body=b"invalid_token") as bad:
        channels = {
            "good": {"type": "webhook", "url": good.url, "secret": "long-enough"},
            "bad": {"type": "slack", "url": f"{bad.url}/services/{TOKEN}"},
        }
        with running(channels=channels) as it:
            monkeypatch.setenv("TURNBACK_URL", it.url)
            tried = CliRunner().invoke(app, ["channels", "test", "good"])
            assert tried.exit_code == 0, tried.output
            assert re.match(r"good \(webhook\): delivered in \d\.\d\d s\n", tried.stdout)
            (told,) = good.bodies()
            assert (told["kind"], told["experiment"]) == ("test", "")
            assert good.got[0][1]["X-Turnback-Signature"].startswith("t=")
            failed = CliRunner().invoke(app, ["channels", "test", "bad"])
            assert failed.exit_code == 1
            words = " ".join(failed.stdout.split())
            assert words == (
                f"bad (slack): {bad.url} answered 403: invalid_token the receiver does not allow "
                "it: has the address or the key been withdrawn?"
            )
            every = CliRunner().invoke(app, ["channels", "test", "--json"])
            assert every.exit_code == 1
            done = json.loads(every.stdout)["tests"]
            assert {t["channel"]: t["delivered"] for t in done} == {
                "log": True,
                "good": True,
                "bad": False,
            }
            nobody = CliRunner().invoke(app, ["channels", "test", "goood"])
            assert nobody.exit_code == 1
            assert "there is no channel 'goood'" in nobody.stderr
            assert "log, good, bad" in nobody.stderr
            listed = CliRunner().invoke(app, ["channels", "list"])
            assert listed.exit_code == 0
            assert f"bad (slack, {bad.url})" in listed.stdout
            assert "SECRETPART" not in listed.stdout + failed.output + every.output
    monkeypatch.setenv("TURNBACK_URL", f"http://127.0.0.1:{free_port()}")
    assert CliRunner().invoke(app, ["channels", "list"]).exit_code == 3


def test_a_missing_channel_is_told_before_the_start_with_those_there_are(tmp_path, monkeypatch):
    file = tmp_path / "spec.yaml"
    file.write_text(f"{SPEC}notify: [ops]\n", encoding="utf-8")
    with running(channels={"oops": {"type": "webhook", "url": "http://127.0.0.1:9"}}) as it:
        monkeypatch.setenv("TURNBACK_URL", it.url)
        asked = CliRunner().invoke(app, ["validate", "--live", str(file)])
        assert asked.exit_code == 1
        assert "the service has no channel `ops`; did you mean `oops`?" in asked.stderr
        planned = CliRunner().invoke(app, ["apply", "--dry-run", str(file)])
        assert planned.exit_code == 0
        for told in (asked, planned):
            assert "`turnback channels list` shows where each leads" in told.stderr
        assert "no channel named `ops` (it has: log, oops)" in planned.stderr
        spec = load_spec_file(file)
        with ServiceClient(it.url) as client:
            (warned,) = planning.undelivered(file, spec, client)
        assert "notify[0]: the service has no channel `ops`" in warned
        assert planning.undelivered(file, spec, None) == ()


def test_channels_are_for_admins_alone():
    with running(admin_key="adm", client_key="cli") as it:
        for method, path in (("GET", ""), ("POST", "/log/test")):
            url = f"/api/v1/channels{path}"
            assert it.http.request(method, url).status_code == 401
            knows = {"Authorization": "Bearer cli"}
            assert it.http.request(method, url, headers=knows).status_code == 403
            knows = {"Authorization": "Bearer adm"}
            assert it.http.request(method, url, headers=knows).status_code == 200


def test_what_could_not_be_told_is_in_status_page_and_series():
    with receiving(status=404) as gone, receiving(status=500) as broken:
        hooks = {"gone": gone.url, "broken": broken.url}
        with running(webhooks=hooks) as it:
            series = it.http.get("/metrics").text
            for name in ("gone", "broken", "log"):
                assert f'turnback_notifications_waiting{{channel="{name}"}} 0.0' in series
                assert f'turnback_notifications_given_up{{channel="{name}"}} 0.0' in series
            it.apply(SPEC + "notify: [gone, broken]\n")
            it.act("roll_back", variant="treatment")
            it.services.clock.move_to(it.services.clock.now() + timedelta(minutes=2))
            time.sleep(1.1)  # what is shown is remembered for a second
            series = it.http.get("/metrics").text
            assert 'turnback_notifications_given_up{channel="gone"} 1.0' in series
            assert 'turnback_notifications_waiting{channel="broken"} 1.0' in series
            result = 'turnback_notifications_total{channel="gone",result="given_up"} 1.0'
            assert result in series
            words = it.http.get(f"/api/v1/experiments/{KEY}").json()["attention"]
            page = it.http.get(f"/experiments/{KEY}").text
    given_up = next(w for w in words if "gone" in w)
    assert given_up.startswith("1 message to gone could not be told and was given up within a day")
    assert "answered 404: ok" in given_up
    assert "turnback channels test gone" in given_up
    assert any(w.startswith("1 message to broken waits since 2026-01-05") for w in words)
    assert "given up within a day" in page


def test_a_channel_the_service_lacks_is_told_at_its_experiment_and_never_to_be_tried(monkeypatch):
    other = SPEC.replace(f"experiment: {KEY}", "experiment: other")
    with running() as it:
        it.apply(SPEC + "notify: [ops]\n")
        it.apply(other)
        monkeypatch.setenv("TURNBACK_URL", it.url)
        listed = CliRunner().invoke(app, ["channels", "list"]).stdout
        assert "ops (missing)" in listed, "before the first message is lost"
        it.act("roll_back", variant="treatment")
        time.sleep(1.1)  # what is shown is remembered for a second
        mine = it.http.get(f"/api/v1/experiments/{KEY}").json()["attention"]
        others = it.http.get("/api/v1/experiments/other").json()["attention"]
        overview, health = it.http.get("/").text, it.http.get("/health").text
    said = (
        "ops: this service has no such channel: 1 message was not told (the newest at 2026-01-05 "
        "00:00 UTC); name it in TURNBACK_CHANNELS (docs/operations.md)"
    )
    assert said in mine
    assert not [words for words in others if "ops" in words]
    assert overview.count("this service has no such channel") == 1
    assert "this service has no such channel" in health
    assert not [page for page in (*mine, overview, health) if "channels test ops" in page]


def after_an_hour(it):
    it.services.clock.move_to(it.services.clock.now() + timedelta(hours=1))
    it.services.engine.run_due()


def test_a_flag_nobody_asks_for_is_told_of_and_pages_nobody():
    with running() as it:
        it.apply()
        asked = ("application has asked for this flag yet", "docs/clients.md")
        seen = {}
        for hours in (1, 2):
            after_an_hour(it)
            seen[hours] = it.http.get(f"/api/v1/experiments/{KEY}").json()["attention"]
        assert not seen[1], "an application may take its time"
        assert all(words in seen[2][0] for words in asked)
        overview, chinese = (
            it.http.get("/", headers={"Accept-Language": code}).text for code in ("en", "zh")
        )
        assert asked[0] in overview
        assert "还没有应用请求过这个开关" in chinese
        assert it.evaluate("u").is_success
        after_an_hour(it)
        assert not it.http.get(f"/api/v1/experiments/{KEY}").json()["attention"]


def test_a_kill_between_delivery_and_mark_tells_again_with_the_same_key(tmp_path):
    program = tmp_path / "dying.py"
    program.write_text(
        "import os\n"
        "from guardrails.channels.webhook import WebhookChannel\n"
        "send = WebhookChannel.send\n"
        "def dies(self, message):\n"
        "    send(self, message)\n"
        "    os.kill(os.getpid(), 9)  # delivered, and not yet marked\n"
        "WebhookChannel.send = dies\n"
        "from console.cli import main\n"
        "main()\n"
    )
    data, spec = tmp_path / "data", tmp_path / "spec.yaml"
    spec.write_text(SPEC + "notify: [ops]\n")

    def serve(*start):
        port = free_port()
        environment = {
            **os.environ,
            "PYTHONPATH": str(ROOT),
            "TURNBACK_CHANNELS": json.dumps({"ops": {"type": "webhook", "url": it.url}}),
        }
        process = subprocess.Popen(
            [sys.executable, *start, "serve", "--data", str(data), "--port", str(port)],
            env=environment,
            cwd=ROOT,
            stderr=subprocess.PIPE,
            text=True,
        )
        assert "serves" in process.stderr.readline()
        return process, f"http://127.0.0.1:{port}/api/v1"

    with receiving() as it:
        process, url = serve(str(program))
        assert httpx.post(f"{url}/experiments", content=spec.read_text()).is_success
        body = {"action": "roll_back", "variant": "treatment", "reason": "a test"}
        assert httpx.post(f"{url}/experiments/{KEY}/actions", json=body).is_success
        assert process.wait(20) == -signal.SIGKILL
        process.stderr.close()
        assert len(it.got) == 1
        it.asked.clear()
        process, url = serve("-m", "console.cli")
        try:
            assert it.asked.wait(20), "a message was lost"
            end = time.monotonic() + 20
            while httpx.get(f"{url}/channels").json()["channels"][1]["waiting"]:
                assert time.monotonic() < end
                time.sleep(0.05)
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)
            process.stderr.close()
    assert it.keys() == [f"rolled_back:{KEY}/treatment/1/1"] * 2
    first, second = it.bodies()
    assert first == second
