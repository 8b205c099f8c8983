"""The database's schema and connections, on SQLite and on a real PostgreSQL."""

import concurrent.futures
import contextlib
import datetime
import errno
import os
import re
import resource
import shutil
import sqlite3
import stat
import subprocess
import sys

import alembic.autogenerate
import pytest
import sqlalchemy
from alembic.runtime.migration import MigrationContext
from services import DATABASES
from sqlalchemy import func, insert, select

from fashion.errors import FashionError, StorageUnavailableError
from fashion.paths import PROJECT
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.database import DEFAULT_DATABASE_URL, KEPT_CONNECTIONS, Database
from fashion.server.storage.tables import Base, RequestRow

NOW = datetime.datetime.now(datetime.UTC)
UPGRADE = "import sys; from fashion.server.storage.database import Database; Database(sys.argv[1]).upgrade()"


@pytest.fixture(params=DATABASES)
def database_url(request, tmp_path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("empty_postgresql_url")
    return f"sqlite:///{tmp_path}/server/fashion.db"


def test_the_migrations_produce_the_tables(database_url):
    database = Database(database_url)
    database.upgrade()
    with database.reading() as connection:
        context = MigrationContext.configure(connection, opts={"compare_server_default": True})
        assert alembic.autogenerate.compare_metadata(context, Base.metadata) == []
    database.upgrade()
    database.close()


@pytest.mark.process
def test_processes_that_start_at_once_upgrade_once(database_url):
    started = [
        subprocess.Popen([sys.executable, "-c", UPGRADE, database_url], stderr=subprocess.PIPE, text=True)
        for _ in range(4)
    ]
    assert [(process.communicate()[1], process.returncode) for process in started] == [("", 0)] * 4
    database = Database(database_url)
    with database.reading() as connection:
        assert connection.exec_driver_sql("SELECT version_num FROM alembic_version").all() == [("0003",)]
    database.close()


def test_a_newer_database_is_refused(database_url):
    database = Database(database_url)
    database.upgrade()
    with database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(FashionError, match="got schema 9999, expected one of 0001, 0002, 0003; use the newer program"):
        database.upgrade()
    database.close()


def test_a_sqlite_file_is_its_owners_alone(tmp_path):
    path = tmp_path / "a" / "b.db"
    database = Database(f"sqlite:///{path}")
    database.upgrade()
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
        assert connection.exec_driver_sql("PRAGMA foreign_keys").scalar() == 1
        assert connection.exec_driver_sql("PRAGMA busy_timeout").scalar() == 10_000
        files = sorted(path.parent.iterdir())
        assert [file.name for file in files] == ["b.db", "b.db-shm", "b.db-wal"]
        assert {stat.S_IMODE(file.stat().st_mode) for file in files} == {0o600}
    database.close()


def test_an_empty_file_becomes_a_database(tmp_path):
    (tmp_path / "b.db").touch()
    database = Database(f"sqlite:///{tmp_path}/b.db")
    database.upgrade()
    with database.reading() as connection:
        assert connection.exec_driver_sql("PRAGMA journal_mode").scalar() == "wal"
    database.close()


def test_a_file_that_is_no_database_is_one_line(tmp_path):
    (tmp_path / "b.db").write_text("not a database " * 100)
    with pytest.raises(FashionError, match=r"b\.db: the database cannot be used \(file is not a database\)"):
        Database(f"sqlite:///{tmp_path}/b.db").upgrade()
    assert (tmp_path / "b.db").read_text() == "not a database " * 100


def test_an_unwritable_path_is_one_line(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(FashionError, match=r"file/b\.db: the database cannot be created \(.*\); choose another path"):
        Database(f"sqlite:///{tmp_path}/file/b.db")


def test_a_full_disk_is_one_line(tmp_path):
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, before[1]))
    try:
        with pytest.raises(FashionError) as refused:
            Database(f"sqlite:///{tmp_path}/b.db")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert re.search(
        r"b\.db: the database cannot be created \(.*(full|disk).*\); choose another path", str(refused.value)
    )
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("hidden", "is not a URL"),
        ("", "is not a URL"),
        ("postgresql://ann:hid:den@host:port/db", "is not a URL"),
        ("mysql://ann:hidden@host/db", "got mysql"),
        ("postgres://ann:hidden@host/db", "got postgres"),
        ("postgresql+psycopg2://ann:hidden@host/db", r"got postgresql\+psycopg2"),
        ("sqlite://", "names no file"),
        ("sqlite:///:memory:", "names no file"),
        ("sqlite:///file:x?mode=memory&uri=true", "names no file"),
    ],
)
def test_other_addresses_are_refused_without_their_password(url, said):
    with pytest.raises(
        FashionError, match=f"^database_url: .*{said}.*, expected sqlite:///FILE or postgresql://"
    ) as refused:
        Database(url)
    assert "hid" not in str(refused.value)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda url: url.set(password="hidden"), "password authentication failed"),
        (lambda url: url.set(port=1, password="hidden"), "refused"),
        (lambda url: url.set(port=1, password=None, query={"password": "hidden"}), "refused"),
        (lambda url: url.set(database="nothing"), 'database "nothing" does not exist'),
    ],
)
def test_a_database_that_cannot_be_reached_is_one_line(postgresql_url, change, said):
    url = change(sqlalchemy.make_url(postgresql_url)).render_as_string(hide_password=False)
    with pytest.raises(FashionError, match=f"the database cannot be used .*{said}.*; check its URL") as refused:
        Database(url).upgrade()
    assert "hidden" not in str(refused.value)
    assert sqlalchemy.make_url(postgresql_url).password not in str(refused.value)


def test_without_the_driver_the_extra_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "psycopg", None)
    with pytest.raises(FashionError, match=r"needs the package psycopg; .*setup_venv\.py --extra postgresql$"):
        Database("postgresql://ann@127.0.0.1/db")


def test_a_lost_connection_is_reopened(empty_postgresql_url, postgresql_url):
    accounts = Accounts(empty_postgresql_url)
    accounts.upgrade()
    administrator = Database(postgresql_url)
    with administrator.writing() as connection:
        connection.exec_driver_sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert accounts.all() == []
    administrator.close()
    accounts.database.close()


def test_a_sqlite_file_that_is_gone_or_replaced_is_noticed(tmp_path):
    accounts = Accounts(f"sqlite:///{tmp_path}/b.db")
    accounts.upgrade()
    accounts.create_default()
    assert len(accounts.all()) == 1
    for file in tmp_path.glob("b.db*"):
        file.unlink()
    for _ in range(2):
        with pytest.raises(
            FashionError, match=r"the database cannot be used \(the file is gone or cannot be reached\)"
        ):
            accounts.all()
    assert not list(tmp_path.iterdir())
    other = Accounts(f"sqlite:///{tmp_path}/b.db")
    other.upgrade()
    other.add("ann", "a long password")
    assert [account.name for account in accounts.all()] == ["ann"]
    for each in (accounts, other):
        each.database.close()


def test_a_sqlite_file_that_cannot_be_reached_is_an_outage(tmp_path, monkeypatch):
    accounts = Accounts(f"sqlite:///{tmp_path}/b.db")
    accounts.upgrade()
    opened = os.stat

    def denied(path, *arguments, **options):
        if str(path).endswith("b.db"):
            raise PermissionError(errno.EACCES, "Permission denied")
        return opened(path, *arguments, **options)

    with monkeypatch.context() as patch:  # permissions would not stop root
        patch.setattr(os, "stat", denied)
        with pytest.raises(
            StorageUnavailableError, match=r"the database cannot be used \(the file is gone or cannot be reached\)"
        ):
            accounts.all()
    assert accounts.all() == []
    accounts.database.close()


def test_connections_beyond_a_few_are_closed_after_use(database_url):
    database = Database(database_url)
    with contextlib.ExitStack() as busy:
        for _ in range(KEPT_CONNECTIONS + 5):
            busy.enter_context(database.reading())
    assert database._engine.pool.checkedin() == KEPT_CONNECTIONS
    database.close()


def test_writers_wait_for_each_other(database_url):
    databases = [Database(database_url) for _ in range(4)]
    databases[0].upgrade()

    def work(number):
        for turn in range(25):
            with databases[number].writing() as connection:  # reads first, after which SQLite's plain BEGIN fails
                count = connection.scalar(select(func.count()).select_from(RequestRow))
                values = {"time": NOW, "request_id": f"{number} {turn}", "route": str(count), "status": 200}
                connection.execute(insert(RequestRow).values(values))

    with concurrent.futures.ThreadPoolExecutor() as threads:
        list(threads.map(work, range(4)))
    with databases[0].reading() as connection:
        assert connection.scalar(select(func.count()).select_from(RequestRow)) == 100
    for database in databases:
        database.close()


@pytest.mark.process
def test_the_default_is_a_file_that_git_ignores():
    path = sqlalchemy.make_url(DEFAULT_DATABASE_URL).database
    ignored = subprocess.run(["git", "check-ignore", path], cwd=PROJECT, capture_output=True, text=True)
    if shutil.which("git") is None or ignored.returncode == 128:
        pytest.skip("not a checkout")
    assert ignored.returncode == 0


@pytest.mark.process
def test_the_wheel_contains_the_migrations(tmp_path):
    source = tmp_path / "source"
    shutil.copytree(PROJECT / "fashion", source / "fashion", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(PROJECT / "pyproject.toml", source)
    build = [*(sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation")]
    subprocess.run([*build, "--wheel-dir", tmp_path, source], check=True, capture_output=True)
    unpacked = tmp_path / "unpacked"
    shutil.unpack_archive(next(tmp_path.glob("*.whl")), unpacked, "zip")
    url = f"sqlite:///{tmp_path}/b.db"
    program = f"import fashion; assert fashion.__file__.startswith({str(unpacked)!r}); {UPGRADE}"
    environment = {**os.environ, "PYTHONPATH": str(unpacked)}
    subprocess.run([sys.executable, "-c", program, url], check=True, cwd=tmp_path, env=environment)
    for kind in ("templates/base.html", "static/style.css", "static/page.js", "static/icon.svg"):
        assert (unpacked / "fashion" / "server" / kind).is_file()
    with contextlib.closing(sqlite3.connect(tmp_path / "b.db")) as connection, connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("0003",)]
