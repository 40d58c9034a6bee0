"""A service under attack: what it holds, what it answers, and raw requests that no client sends."""

import hashlib
import re
import socket
import sqlite3
from contextlib import closing, contextmanager
from urllib.parse import urlsplit

from guardrails import keys
from guardrails.files import CONTROL
from tests.running import KEY, SPEC, running

ADMIN, INGEST, CLIENT = "adm-1", "ing-1", "cli-1"
TREATMENT = "treatment"
# every call that was let in is recorded, refused or not: that is no harm
RECORDS = {"audit"}


@contextmanager
def fortress(**settings):
    """Run a service whose address wants keys for everything, with one experiment and one event."""
    given = {"admin_key": ADMIN, "ingest_key": INGEST, "client_key": CLIENT, **settings}
    # the address decides what is open; the socket of the test listens on loopback all the same
    with running(host="0.0.0.0", **given) as it:  # noqa: S104 - see above
        it.http.headers.clear()
        assert it.apply(SPEC, headers=bearer(ADMIN)).status_code == 201
        yield it


def bearer(key):
    return {} if key is None else {"Authorization": f"Bearer {key}"}


def holds(it):
    """Return everything the service holds but the record of calls: equal when nothing changed."""
    it.services.admission.note()  # when a key was used last is written later
    path = it.services.settings.data / CONTROL
    kept = {}
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as database:
        tables = database.execute("select name from sqlite_master where type = 'table'").fetchall()
        for (table,) in tables:
            if table not in RECORDS and re.fullmatch(r"\w+", table):
                rows = database.execute(f'select * from "{table}"').fetchall()  # noqa: S608 - our own tables
                kept[table] = hashlib.sha256(repr(sorted(rows, key=repr)).encode()).hexdigest()
    it.services.flush()
    store = it.services.store
    served = it.services.engine.serving().version
    return kept, store.watermark(), store.exposed_units(KEY, 1), served


def in_one_shape(answer):
    """Return the error's code, where an answer has the one shape or that of a protocol."""
    body = answer.json()
    if "errorCode" in body:  # OFREP
        assert body["errorDetails"]
        return body["errorCode"]
    if "status" in body:  # GrowthBook
        assert body["error"]
        return body["status"]
    error = body["error"]
    assert set(error) >= {"code", "message", "hint", "path"}
    assert error["message"]
    assert "Traceback" not in answer.text
    return error["code"]


def raw(it, sent, *, wait=5.0):
    """Send bytes as they are; return what comes back until the connection ends or is silent."""
    parts = urlsplit(it.url)
    got = b""
    with socket.create_connection((parts.hostname, parts.port), timeout=wait) as connection:
        try:
            connection.sendall(sent)
            while part := connection.recv(65_536):
                got += part
        except (TimeoutError, OSError):
            pass
    return got


def statuses(got):
    """Return the statuses of all answers in what came back."""
    return [int(each) for each in re.findall(rb"HTTP/1\.1 (\d{3}) ", got)]


def made(it, name, scope):
    """Make a key as a person does, beside the running service, and let it be in force."""
    with it.services.guarding.control.transaction() as session:
        key = keys.create(session, name, scope, actor="anna", now=it.services.clock.now())
    it.services.admission.look()
    return key


def revoked(it, name):
    """Revoke a key as a person does, and let it be in force."""
    with it.services.guarding.control.transaction() as session:
        keys.revoke(session, name, now=it.services.clock.now())
    it.services.admission.look()
