"""Keys: made once, shown once, revoked for good; what they open, how often, and what is kept."""

import json
import logging
import re
import sqlite3
import stat
import time
from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

import service
from console.cli import app
from experiments.database import ControlPlane
from experiments.errors import ConflictError, InvalidRequestError
from guardrails import keys
from guardrails.files import CONTROL
from guardrails.logs import JsonFormatter, TextFormatter, request_id
from guardrails.service_settings import SettingsError
from metrics.access import AccessError, Keys, Known, Role, digest
from metrics.keyring import KeyRing
from tests.running import KEY, SPEC, running

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def command(*arguments):
    done = CliRunner().invoke(app, ["keys", *map(str, arguments)])
    return done.exit_code, done.stdout, done.stderr


def made(data, name, scope):
    code, out, err = command("create", name, "--scope", scope, "--data", data)
    assert code == 0, err
    return out.strip()


def bearer(key):
    return {"Authorization": f"Bearer {key}"}


@pytest.fixture
def session():
    control = ControlPlane()
    control.create()
    with control.transaction() as held:
        yield held


def test_the_key_of_a_new_folder_comes_with_what_it_may_not_open(tmp_path):
    data = tmp_path / "typed otherwise"
    code, out, err = command("create", "shop", "--scope", "ingest", "--data", data)
    assert code == 0
    assert re.fullmatch(r"tb_ingest_\S+\n", out)
    told = " ".join(err.split())
    assert f"{data} is new: it was made for this key. A service that runs on another" in told
    assert f"`turnback keys create NAME --scope admin --data '{data}'`" in told
    code, out, err = command("create", "shop-2", "--scope", "ingest", "--data", data)
    assert (code, err) == (0, "")
    (tmp_path / "empty").mkdir()
    code, out, err = command("create", "ops", "--scope", "admin", "--data", tmp_path / "empty")
    assert "held no control plane: one was made" in " ".join(err.split())
    assert "No admin key" not in err


def test_as_json_a_key_comes_alone(tmp_path):
    given = ("create", "shop", "--scope", "client", "--data", tmp_path / "new", "--json")
    code, out, err = command(*given)
    assert (code, err) == (0, "")
    assert set(json.loads(out)) == {"name", "scope", "key"}


def test_an_admin_key_of_the_environment_leaves_nothing_to_tell(tmp_path, monkeypatch):
    monkeypatch.setenv("TURNBACK_ADMIN_KEY", "an-admin-key-of-a-test")
    tmp_path.joinpath("data").mkdir()
    _, _, err = command("create", "shop", "--scope", "client", "--data", tmp_path / "data")
    assert "first key" not in err


@pytest.mark.parametrize(
    ("scope", "asks", "open_"),
    [
        ("client", "evaluations, events and changes", "only reading"),
        ("ingest", "changes and trusted events", "evaluating, sending other events and reading"),
    ],
)
def test_the_first_key_closes_what_its_maker_is_told(tmp_path, scope, asks, open_):
    _, _, err = command("create", "first", "--scope", scope, "--data", tmp_path)
    told = " ".join(err.split())
    assert f"asks for one from now on, for {asks}; {open_} stay" in told.replace("stays", "stay")
    stored = [Known("first", keys.SCOPES[scope], digest("first"))]
    on = Keys.of(host="127.0.0.1", stored=stored)
    assert on.anyone is {"client": Role.NOBODY, "ingest": Role.CLIENT}[scope]


def test_a_key_is_random_and_only_its_digest_is_kept(tmp_path):
    first, second = made(tmp_path, "ops", "admin"), made(tmp_path, "shop", "ingest")
    assert re.fullmatch(r"tb_admin_[A-Za-z0-9_-]{43}", first)
    assert re.fullmatch(r"tb_ingest_[A-Za-z0-9_-]{43}", second)
    kept = b"".join(path.read_bytes() for path in tmp_path.iterdir())
    assert digest(first).hex().encode() in kept
    for secret in (first, second):
        assert secret.encode() not in kept
        assert secret.split("_", 2)[2].encode() not in kept


def test_a_name_is_used_once_and_a_revoked_key_never_comes_back(session):
    keys.create(session, "shop", "ingest", actor="anna", now=NOW)
    keys.revoke(session, "shop", now=NOW + timedelta(hours=1))
    with pytest.raises(ConflictError, match=r"a key 'shop' already \(made 2026-03-01 .*, revoked"):
        keys.create(session, "shop", "ingest", actor="anna", now=NOW)
    with pytest.raises(ConflictError, match="is revoked since 2026-03-01 13:00 UTC"):
        keys.revoke(session, "shop", now=NOW)
    with pytest.raises(keys.UnknownKeyError, match="there is no key 'shopp'"):
        keys.revoke(session, "shopp", now=NOW)
    assert keys.made(session) == keys.Made((), ever=True)


@pytest.mark.parametrize("name", ["", "A", "a b", "-a", "a" * 65, "a\n", "ü"])
def test_a_name_that_cannot_be_is_refused(session, name):
    with pytest.raises(InvalidRequestError, match="cannot be the name of a key"):
        keys.create(session, name, "ingest", actor="anna", now=NOW)


def test_the_commands_tell_what_there_is(tmp_path):
    assert command("list", "--data", tmp_path)[0] == 1
    made(tmp_path, "ops", "admin")
    made(tmp_path, "web", "client")
    code, out, _ = command("revoke", "web", "--data", tmp_path)
    assert (code, out) == (0, "the key 'web' opens nothing any more\n")
    told = command("list", "--data", tmp_path)[1]
    assert re.search(r"ops +admin .* never +in force", told)
    assert re.search(r"web +client .* never +revoked \d{4}", told)
    rows = json.loads(command("list", "--data", tmp_path, "--json")[1])["keys"]
    assert [(row["name"], row["scope"]) for row in rows] == [("ops", "admin"), ("web", "client")]
    assert not any("digest" in row or "key" in row for row in rows)
    code, _, err = command("revoke", "nobody", "--data", tmp_path)
    assert code == 1
    assert "there is no key 'nobody'" in err
    assert "there are ops" in err


def test_keys_of_the_environment_are_named_without_their_secrets(tmp_path, monkeypatch):
    made(tmp_path, "web", "client")
    _, _, err = command("revoke", "web", "--data", tmp_path)
    assert "none is in this environment" in err
    monkeypatch.setenv("TURNBACK_ADMIN_KEY", "a-secret-of-this-test")
    monkeypatch.setenv("TURNBACK_CLIENT_KEY", "a-public-one-of-this-test")
    told = command("list", "--data", tmp_path)[1]
    assert re.search(r"TURNBACK_ADMIN_KEY +admin +environment +set here", told)
    assert re.search(r"TURNBACK_CLIENT_KEY +client +environment +set here", told)
    assert "of-this-test" not in told
    rows = json.loads(command("list", "--data", tmp_path, "--json")[1])["environment"]
    assert [row["scope"] for row in rows] == ["admin", "client"]
    made(tmp_path, "web-2", "client")
    _, _, err = command("revoke", "web-2", "--data", tmp_path)
    assert "goes on with TURNBACK_ADMIN_KEY, TURNBACK_CLIENT_KEY" in err
    assert "nobody" not in err


def test_the_files_of_another_version_are_left_to_its_service(tmp_path):
    made(tmp_path, "ops", "admin")
    with sqlite3.connect(tmp_path / CONTROL) as file:
        file.execute("UPDATE alembic_version SET version_num = '0004'")
    code, _, err = command("create", "b", "--scope", "admin", "--data", tmp_path)
    assert code == 1
    assert "its tables are of another version (revision 0004, not" in err


def test_a_public_address_needs_an_admin_key_that_is_in_force(tmp_path):
    settings = service.Settings(data=tmp_path, host="0.0.0.0")  # noqa: S104 - refused
    with pytest.raises(SettingsError, match="without keys") as refused:
        service.build(settings)
    assert "turnback keys create ops --scope admin" in refused.value.hint
    made(tmp_path, "web", "client")
    with pytest.raises(SettingsError, match="without keys"):
        service.build(settings)
    made(tmp_path, "ops", "admin")
    service.build(settings).close()
    command("revoke", "ops", "--data", tmp_path)
    with pytest.raises(SettingsError, match="without keys"):
        service.build(settings)


def test_each_scope_opens_what_it_says_and_nothing_else(tmp_path):
    admin, ingest, client = (made(tmp_path, name, name) for name in ("admin", "ingest", "client"))
    with running(data=tmp_path) as it:

        def status(method, path, key, **more):
            headers = bearer(key) if key else {}
            return it.http.request(method, path, headers=headers, **more).status_code

        assert status("POST", "/api/v1/experiments", admin, content=SPEC) == 201
        context = {"json": {"context": {"targetingKey": "u1"}}}
        wake = {"suspended": False, "reason": "a test"}
        wanted = [
            ("POST", f"/ofrep/v1/evaluate/flags/{KEY}", context, (200, 200, 200, 401)),
            ("POST", "/api/v1/events", {"json": []}, (200, 200, 200, 401)),
            ("POST", "/api/v1/experiments", {"content": SPEC}, (200, 403, 403, 401)),
            ("POST", "/api/v1/store/check", {}, (200, 403, 403, 401)),
            ("POST", "/api/v1/suspension", {"json": wake}, (409, 403, 403, 401)),
        ]
        for method, path, more, statuses in wanted:
            found = tuple(status(method, path, k, **more) for k in (admin, ingest, client, None))
            assert found == statuses, path
            assert status(method, path, "tb_admin_" + "x" * 43, **more) == 401


def test_a_running_service_takes_new_keys_and_refuses_revoked_ones(tmp_path):
    ops = made(tmp_path, "ops", "admin")
    with running(data=tmp_path) as it:
        look = it.services.admission.look
        later = made(tmp_path, "later", "admin")

        def status(key):
            return it.http.post("/api/v1/store/check", headers=bearer(key)).status_code

        assert (status(ops), status(later)) == (200, 401)
        look()
        assert (status(ops), status(later)) == (200, 200)
        command("revoke", "ops", "--data", tmp_path)
        look()
        assert (status(ops), status(later)) == (401, 200)
        command("revoke", "later", "--data", tmp_path)
        look()
        assert (status(ops), status(later)) == (401, 401)
        assert it.http.post("/api/v1/store/check").status_code == 401, "revoking opens nothing"


def test_a_real_service_follows_its_keys_by_itself(tmp_path):
    made(tmp_path, "ops", "admin")
    with running(data=tmp_path, demo=False) as it:
        key = made(tmp_path, "second", "admin")
        until = time.monotonic() + 30
        while it.http.post("/api/v1/store/check", headers=bearer(key)).status_code == 401:
            assert time.monotonic() < until, "the key was never taken"
            time.sleep(0.1)


def test_the_last_use_of_a_key_is_kept(tmp_path):
    ops = made(tmp_path, "ops", "admin")
    made(tmp_path, "idle", "ingest")
    with running(data=tmp_path) as it:
        assert it.http.post("/api/v1/store/check", headers=bearer(ops)).status_code == 200
        listed = it.http.get("/api/v1/keys", headers=bearer(ops)).json()["keys"]
    assert [(key["name"], key["last_used_at"]) for key in listed] == [
        ("ops", "2026-01-05T00:00:00Z"),
        ("idle", None),
    ]
    assert "2026-01-05 00:00 UTC" in command("list", "--data", tmp_path)[1]


def test_a_key_that_asks_too_often_waits_and_holds_up_nobody_else():
    at = [0.0]
    known = tuple(Known(name, Role.INGEST, digest(name)) for name in ("one", "two"))
    ring = KeyRing(Keys(known), limit=10, now=lambda: NOW, seconds=lambda: at[0])
    for _ in range(20):
        ring.require(Role.INGEST, None, "one")
    with pytest.raises(AccessError, match=r"'one' may ask 10 times a second") as refused:
        ring.require(Role.INGEST, None, "one")
    assert (refused.value.status, refused.value.headers()) == (429, {"Retry-After": "1"})
    ring.require(Role.INGEST, None, "two")
    at[0] = 0.5
    for _ in range(5):
        ring.require(Role.INGEST, None, "one")
    with pytest.raises(AccessError):
        ring.require(Role.INGEST, None, "one")
    at[0] = 100.0
    for _ in range(20):
        ring.require(Role.INGEST, None, "one")
    with pytest.raises(AccessError):
        ring.require(Role.INGEST, None, "one")


def test_the_limit_of_a_key_holds_on_every_route(tmp_path):
    ops = made(tmp_path, "ops", "admin")
    made(tmp_path, "web", "client")
    with running(data=tmp_path, key_requests_per_second=0.01) as it:
        it.services.admission.ring._limit = 1e-6
        it.services.admission.ring._buckets.clear()
        for method, path in [
            ("POST", "/api/v1/store/check"),
            ("POST", "/api/v1/events"),
            ("POST", "/ofrep/v1/evaluate/flags"),
        ]:
            answer = it.http.request(method, path, headers=bearer(ops))
            assert answer.status_code == 429, path
            assert int(answer.headers["Retry-After"]) >= 1


def test_every_change_is_recorded_with_key_actor_and_outcome(tmp_path):
    ops = made(tmp_path, "ops", "admin")
    with running(data=tmp_path) as it:
        headers = bearer(ops) | {"X-Turnback-Actor": "anna%0A", "X-Request-ID": "deploy-7"}
        answer = it.http.post("/api/v1/experiments?source=s", content=SPEC, headers=headers)
        assert answer.headers["X-Request-ID"] == "deploy-7"
        it.http.post("/api/v1/experiments", content="nonsense: [", headers=bearer(ops))
        it.http.post("/api/v1/experiments", content=SPEC, headers=bearer("wrong"))
        it.http.get("/api/v1/experiments", headers=bearer(ops))
        it.http.post("/api/v1/events", json=[], headers=bearer(ops))
        calls = it.http.get("/api/v1/audit", headers=bearer(ops)).json()["calls"]
    assert [(c["key"], c["method"], c["path"], c["status"]) for c in calls] == [
        ("ops", "POST", "/api/v1/experiments", 422),
        ("ops", "POST", "/api/v1/experiments", 201),
    ]
    assert (calls[1]["actor"], calls[1]["request"]) == ("anna\N{REPLACEMENT CHARACTER}", "deploy-7")
    assert re.fullmatch(r"[0-9a-f]{32}", calls[0]["request"])


def test_answers_keep_browsers_from_guessing_and_framing():
    with running() as it:
        for path in ("/", "/healthz", "/api/v1/experiments", "/nowhere"):
            headers = it.http.get(path).headers
            assert headers["X-Content-Type-Options"] == "nosniff"
            assert headers["X-Frame-Options"] == "DENY"
            assert headers["Referrer-Policy"] == "no-referrer"
            assert headers["X-Request-ID"]


@pytest.mark.parametrize("given", ["a b", "x" * 65, "<script>", ""])
def test_a_request_id_that_is_none_is_replaced(given):
    with running() as it:
        answer = it.http.get("/healthz", headers={"X-Request-ID": given})
        assert re.fullmatch(r"[0-9a-f]{32}", answer.headers["X-Request-ID"])


def test_a_log_line_for_people_says_when():
    record = logging.LogRecord("turnback.x", logging.WARNING, "f", 1, "a %s", ("b",), None)
    record.created = 1_767_225_600.0
    assert TextFormatter().format(record) == "2026-01-01T00:00:00Z WARNING: a b"


def test_a_log_line_is_one_json_object_with_what_it_belongs_to():
    record = logging.LogRecord("turnback.x", logging.WARNING, "f", 1, "a\n%s", ("b",), None)
    record.experiment, record.tick = "cancel-page", NOW
    token = request_id.set("r1")
    line = JsonFormatter().format(record)
    request_id.reset(token)
    told = json.loads(line)
    assert "\n" not in line
    assert (told["message"], told["level"], told["logger"]) == ("a\nb", "warning", "turnback.x")
    assert (told["request"], told["experiment"]) == ("r1", "cancel-page")
    assert told["tick"] == "2026-03-01 12:00:00+00:00"


def test_no_key_is_in_a_repr_or_a_setting(tmp_path):
    ops = made(tmp_path, "ops", "admin")
    with running(data=tmp_path, admin_key="s3cret-of-settings") as it:
        text = repr(it.services.admission.ring) + repr(it.services.admission.ring.keys)
        text += repr(it.services.settings)
    assert ops not in text
    assert "s3cret" not in text
    assert digest(ops).hex() not in text
    assert repr(digest(ops)) not in text


def test_a_new_folder_is_its_owner_s_alone(tmp_path):
    made(tmp_path / "one", "ops", "admin")
    with running(data=tmp_path / "two"):
        modes = [stat.S_IMODE((tmp_path / name).stat().st_mode) for name in ("one", "two")]
    assert modes == [0o700, 0o700]
