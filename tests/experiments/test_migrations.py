"""The control plane's tables come from numbered steps, and an older database is brought along."""

import os
import shutil
import sqlite3
import subprocess
import sys
import threading
from contextlib import closing, contextmanager
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy import create_engine, text
from sqlmodel import SQLModel

import guardrails.models  # noqa: F401 - its tables are compared too
from experiments import migrations
from experiments.database import ControlPlane
from experiments.errors import ControlPlaneError
from experiments.migrations import steps
from experiments.repository import load_experiment

BINARIES = Path("/usr/lib/postgresql/15/bin")
ROOT = Path(__file__).parents[2]
PREVIOUS = ROOT / "tests" / "previous"
EVENTS_BEYOND_32_BITS = """
INSERT INTO experiment (key, version, state, seed, revision, step, step_since, started_at, ends_at,
observe_until, checks, watermark) VALUES ('x', 0, 'running', 1, 1, 0, now(), now(), now(), now(), 0,
1099511627776)
"""


def created(path):
    control = ControlPlane(f"sqlite:///{path}")
    control.create()
    return control


def from_sql(name, path):
    with closing(sqlite3.connect(path)) as old:
        old.executescript((PREVIOUS / name / "control.sql").read_text(encoding="utf-8"))
    return path


def differences(engine):
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        return compare_metadata(context, SQLModel.metadata)


def revision(control):
    with control.engine.connect() as connection:
        return migrations.revision_of(connection)


def test_the_steps_give_what_the_models_say(tmp_path):
    with closing(created(tmp_path / "c.db")) as control:
        assert differences(control.engine) == []
        assert revision(control) == migrations.NEWEST


def test_a_difference_between_steps_and_models_would_be_seen(tmp_path):
    with closing(created(tmp_path / "c.db")) as control:
        with control.engine.begin() as connection:
            connection.execute(text("DROP INDEX ix_experiment_layer"))
            connection.execute(text("ALTER TABLE experiment DROP COLUMN holdout"))
        kinds = sorted(each[0] for each in differences(control.engine))
        assert kinds == ["add_column", "add_index"]


@pytest.mark.parametrize(
    ("name", "was"), [("first-loop", "0001"), ("spec-language", "0003")], ids=lambda each: each
)
def test_a_database_from_before_the_steps_is_recognised_and_brought_up_to_date(tmp_path, name, was):
    path = from_sql(name, tmp_path / "c.db")
    with closing(ControlPlane(f"sqlite:///{path}")) as control:
        assert migrations.upgrade(control.engine) == was
        assert differences(control.engine) == []
        assert migrations.upgrade(control.engine) == migrations.NEWEST
        with control.engine.connect() as connection:
            query = text("SELECT key, step_exposed, approved, holdout, layer FROM experiment")
            assert connection.execute(query).one() == ("cancel-page", "{}", -1, 0.0, None)


def test_every_version_between_is_recognised(tmp_path):
    engine = create_engine(f"sqlite:///{tmp_path / 'c.db'}")
    with engine.begin() as connection:
        config = steps.config()
        config.attributes["connection"] = connection
        command.upgrade(config, "0002")
        connection.execute(text("DROP TABLE alembic_version"))
        assert migrations.revision_of(connection) == "0002"
    assert migrations.upgrade(engine) == "0002"
    assert differences(engine) == []
    engine.dispose()


def test_a_database_that_is_up_to_date_is_opened_without_alembic(tmp_path):
    url = f"sqlite:///{tmp_path / 'c.db'}"
    control = ControlPlane(url)
    control.create()
    control.close()
    code = (
        "import sys, service\n"
        "from experiments.database import ControlPlane\n"
        f"control = ControlPlane({url!r}); control.create(); control.close()\n"
        "print('alembic' in sys.modules)"
    )
    said = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert said.stdout == "False\n"


def test_a_newer_database_is_refused_with_what_to_do(tmp_path):
    with closing(created(tmp_path / "c.db")) as control:
        with control.engine.begin() as connection:
            connection.execute(text("UPDATE alembic_version SET version_num = '0099'"))
        with pytest.raises(ControlPlaneError, match=r"newer version \(revision 0099") as refused:
            control.create()
        assert "start the version that wrote it" in refused.value.hint
        assert revision(control) == "0099"


def test_tables_of_somebody_else_are_not_touched(tmp_path):
    with closing(sqlite3.connect(tmp_path / "c.db")) as other:
        other.execute("CREATE TABLE experiment (name TEXT)")
    with (
        closing(ControlPlane(f"sqlite:///{tmp_path / 'c.db'}")) as control,
        pytest.raises(ControlPlaneError, match="is not Turnback's"),
    ):
        control.create()
    with closing(sqlite3.connect(tmp_path / "c.db")) as other:
        assert [row[0] for row in other.execute("SELECT name FROM sqlite_master")] == ["experiment"]


def test_a_step_that_fails_leaves_the_database_as_it_was(tmp_path, monkeypatch):
    path = from_sql("first-loop", tmp_path / "c.db")
    before = path.read_bytes()

    def fail(*_args, **_kwargs):
        raise RuntimeError("the machine stopped here")

    with closing(ControlPlane(f"sqlite:///{path}")) as control:
        with monkeypatch.context() as broken:
            broken.setattr("alembic.operations.Operations.create_index", fail)  # in the last step
            with pytest.raises(RuntimeError, match="stopped here"):
                control.create()
        with control.engine.connect() as connection:
            columns = [row[1] for row in connection.execute(text("PRAGMA table_info(experiment)"))]
        assert "step_exposed" not in columns
        assert revision(control) == "0001"
        assert len(before) == path.stat().st_size
        control.create()
        assert differences(control.engine) == []


def test_two_that_start_at_once_both_find_the_tables(tmp_path):
    path, errors = from_sql("first-loop", tmp_path / "c.db"), []

    def start():
        try:
            created(path).close()
        except Exception as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    threads = [threading.Thread(target=start) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    with closing(created(path)) as control:
        assert differences(control.engine) == []


def test_the_steps_as_sql_make_the_same_tables(tmp_path):
    with closing(sqlite3.connect(tmp_path / "c.db")) as made:
        made.executescript(migrations.offline_sql("sqlite"))
    with closing(created(tmp_path / "c.db")) as control:
        assert differences(control.engine) == []


def test_the_command_prints_sql_for_postgresql_and_names_the_dialects_it_knows():
    ask = [sys.executable, "-m", "experiments.migrations"]
    printed = subprocess.run(
        [*ask, "postgresql"], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert "watermark BIGINT NOT NULL" in printed.stdout
    assert printed.stdout.rstrip().endswith("COMMIT;")
    refused = subprocess.run(
        [*ask, "oracle"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (refused.returncode, "known: postgresql, sqlite" in refused.stderr) == (1, True)


def test_the_steps_are_found_beside_their_package():
    folder = Path(migrations.__file__).parent
    assert (folder / "env.py").is_file()
    assert max(p.name for p in (folder / "versions").glob("v*.py")).startswith(
        f"v{migrations.NEWEST}"
    )


@contextmanager
def postgresql(folder):
    """A server of its own in a folder, reached by a socket; skip with the reason without one."""
    if not (BINARIES / "initdb").is_file():
        pytest.skip(f"PostgreSQL is not installed ({BINARIES} has no initdb)")
    pytest.importorskip("psycopg", reason="the PostgreSQL driver psycopg is not installed")
    account = []
    if os.geteuid() == 0:  # the server refuses to run as root
        if shutil.which("runuser") is None:
            pytest.skip("PostgreSQL does not run as root, and there is no runuser")
        shutil.chown(folder, "postgres")
        for parent in [folder, *folder.parents][:4]:  # one more for each of several test workers
            parent.chmod(parent.stat().st_mode | 0o055)
        account = ["runuser", "-u", "postgres", "--"]

    def run(*words):
        done = subprocess.run([*account, *words], cwd=folder, capture_output=True, check=False)
        assert done.returncode == 0, (done.stdout + done.stderr).decode()

    data = folder / "pg"
    run(BINARIES / "initdb", "-D", data, "-U", "turnback", "-A", "trust", "--no-sync")
    options = f"-k {folder} -c listen_addresses= -c fsync=off"
    log = folder / "log"
    run(BINARIES / "pg_ctl", "-D", data, "-o", options, "-l", log, "-w", "start")
    try:
        yield f"postgresql+psycopg://turnback@/postgres?host={folder}"
    finally:
        run(BINARIES / "pg_ctl", "-D", data, "-m", "immediate", "-w", "stop")


def test_postgresql_gets_the_same_tables_online_and_from_sql(tmp_path_factory):
    # a socket's path may have 107 characters
    folder = tmp_path_factory.mktemp("pg")
    with postgresql(folder) as url:
        with closing(ControlPlane(url)) as control:
            control.create()
            assert differences(control.engine) == []
            with control.engine.begin() as connection:
                connection.execute(text("DROP SCHEMA public CASCADE"))
                connection.execute(text("CREATE SCHEMA public"))
                connection.exec_driver_sql(migrations.offline_sql("postgresql"))
        with closing(ControlPlane(url)) as control:
            control.create()
            assert differences(control.engine) == []
            with control.engine.begin() as connection:  # numbers beyond 32 bits
                connection.execute(text(EVENTS_BEYOND_32_BITS))
            with control.reading() as session:
                assert load_experiment(session, "x").watermark == 2**40
