"""``python scripts/users.py`` as a user runs it."""

import contextlib
import os
import pty
import re
import sqlite3
import subprocess
import sys

import pytest

from fashion.paths import PROJECT
from fashion.server.storage.accounts import Accounts

PASSWORD = "correct horse"


@pytest.fixture
def database_url(tmp_path) -> str:
    return f"sqlite:///{tmp_path}/my server/fashion.db"


@pytest.fixture
def accounts(database_url):
    opened = Accounts(database_url)
    opened.upgrade()
    yield opened
    opened.database.close()


@pytest.fixture
def users(starts_processes, database_url):
    """Run the script on the test's database, with a standard input that is no terminal."""

    def run(*arguments: str, entered: str | bytes = "", url: str = database_url) -> subprocess.CompletedProcess:
        return subprocess.run(
            [sys.executable, str(PROJECT / "scripts" / "users.py"), *arguments, "--database-url", url],
            input=entered if isinstance(entered, bytes) else entered.encode(),
            capture_output=True,
            timeout=60,
        )

    return run


@pytest.fixture
def at_a_terminal(starts_processes, database_url):
    """Run the script at a terminal, where each line is entered after a prompt; return its status and its screen."""

    def run(*arguments: str, lines: list[str]) -> tuple[int, str]:
        ours, theirs = pty.openpty()
        command = [sys.executable, str(PROJECT / "scripts" / "users.py"), *arguments, "--database-url", database_url]
        process = subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True)
        os.close(theirs)
        screen, waiting = b"", list(lines)
        with contextlib.suppress(OSError):  # Linux's way to say that the other end is closed; macOS returns nothing
            while shown := os.read(ours, 1024):
                screen += shown
                if waiting and screen.endswith(b": "):
                    os.write(ours, waiting.pop(0).encode() + b"\n")
        os.close(ours)
        return process.wait(), screen.decode()

    return run


def said(run: subprocess.CompletedProcess) -> str:
    assert run.returncode == 0, run.stderr
    assert run.stderr == b""
    return run.stdout.decode()


def refused(run: subprocess.CompletedProcess) -> str:
    assert (run.returncode, run.stdout) == (2, b"")
    line = run.stderr.decode()
    assert re.fullmatch(r"error: [^\n]+\n", line)
    return line.removeprefix("error: ").rstrip()


def test_the_life_of_an_account(users, accounts):
    assert said(users("add", "ann", "--role", "admin", entered=f"{PASSWORD}\n")) == "account ann added\n"
    assert accounts.verify("ann", PASSWORD).role == "admin"
    said(users("add", "bob", entered=PASSWORD))
    assert re.fullmatch(
        r"NAME +ROLE +CREATED \(UTC\)\nann +admin +[\d: -]{16}\nbob +user +[\d: -]{16}\n", said(users("list"))
    )
    accounts.create_token("bob", "")
    text = said(users("passwd", "bob", entered="another password\r\nmore"))
    assert text == "account bob has a new password; tokens that stay valid: 1\n"
    assert accounts.verify("bob", "another password")
    assert said(users("remove", "bob")) == "account bob removed; tokens removed with it: 1\n"
    assert refused(users("remove", "bob")).startswith("account bob: does not exist")
    assert refused(users("remove", "ann")).startswith("account ann: is the last admin")


def test_the_life_of_a_token(users, accounts):
    accounts.add("ann", PASSWORD)
    created = users("token", "create", "ann", "--label", "build server", "--expires-days", "30")
    assert created.returncode == 0
    token = created.stdout.decode().rstrip()
    assert accounts.verify_token(token).name == "ann"
    assert created.stderr.decode().count("\n") == 1
    assert token not in created.stderr.decode()
    listed = said(users("token", "list"))
    assert re.search(r"^1 +ann +build server +[\d: -]{16} +[\d: -]{16} +[\d: -]{16}$", listed, flags=re.MULTILINE)
    assert token not in listed
    assert said(users("token", "list", "ann")) == listed
    assert refused(users("token", "list", "bob")).startswith("account bob: does not exist")
    assert said(users("token", "revoke", "1")) == "token 1 revoked\n"
    assert accounts.verify_token(token) is None
    assert refused(users("token", "revoke", "1")).startswith("token 1: does not exist")


def test_the_default_account_triggers_a_warning(users, accounts):
    accounts.create_default()
    listed = users("list")
    assert listed.returncode == 0
    assert listed.stderr.decode().startswith("warning: admin / password is a valid log-in")


def test_a_password_is_prompted_for_twice_and_not_shown(at_a_terminal, accounts):
    status, screen = at_a_terminal("add", "ann", lines=[PASSWORD, PASSWORD])
    assert (status, screen.split()) == (0, ["Password:", "Repeat", "password:", "account", "ann", "added"])
    assert accounts.verify("ann", PASSWORD)
    status, screen = at_a_terminal("passwd", "ann", lines=["another password", "another passwort"])
    assert status == 2
    assert "error: password: the two entries differ" in screen
    assert "another passwor" not in screen  # codespell:ignore passwor
    assert accounts.verify("ann", PASSWORD)


@pytest.mark.parametrize(
    ("arguments", "entered", "reason"),
    [
        (("add", "ann"), "", "password: got 0 characters, expected at least 8"),
        (("add", "ann"), "short", "password: got 5 characters, expected at least 8"),
        (("add", "ann"), b"\xff\xfe12345678", "password: .* not text in UTF-8"),
        (("add", "a b"), PASSWORD, "account name: got 'a b', expected"),
        (("add", "ann", "--role", "king"), PASSWORD, "argument --role: invalid choice: 'king'"),
        (("add", "ann", PASSWORD), "", "unrecognized arguments: correct horse; see --help"),
        (("passwd", "nobody"), PASSWORD, "account nobody: does not exist"),
        (("token", "create", "nobody"), "", "account nobody: does not exist"),
        (("token", "revoke", "x"), "", "argument ID: invalid int value: 'x'; see --help"),
    ],
)
def test_a_mistake_is_one_line(users, arguments, entered, reason):
    assert re.match(reason, refused(users(*arguments, entered=entered)))


def test_a_database_that_cannot_be_reached_is_one_line(users):
    url = "postgresql://ann:hidden@127.0.0.1:1/fashion"
    line = refused(users("list", url=url))
    assert line.startswith("postgresql://ann:***@127.0.0.1:1/fashion: the database cannot be used (")
    assert "hidden" not in line


@pytest.mark.parametrize("arguments", [("list",), ("token", "list"), ("token", "list", "ann")])
def test_commands_that_only_read_create_nothing(users, tmp_path, arguments):
    for missing in (tmp_path / "fashoin.db", tmp_path / "nowhere" / "fashion.db"):
        line = refused(users(*arguments, url=f"sqlite:///{missing}"))
        assert line.startswith(f"sqlite:///{missing}: there is no such database; check its URL")
    assert list(tmp_path.iterdir()) == []


def test_commands_that_only_read_leave_other_databases_as_they_are(users, tmp_path, empty_postgresql_url):
    other = tmp_path / "other.db"
    with contextlib.closing(sqlite3.connect(other)) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    before = other.read_bytes()
    assert "is not a database of this server; check its URL" in refused(users("list", url=f"sqlite:///{other}"))
    assert other.read_bytes() == before
    for _ in range(2):  # no tables were made by the first
        assert "is not a database of this server" in refused(users("token", "list", url=empty_postgresql_url))


def test_the_accounts_may_be_on_postgresql(users, empty_postgresql_url):
    assert said(users("add", "ann", entered=PASSWORD, url=empty_postgresql_url)) == "account ann added\n"
    assert "ann" in said(users("list", url=empty_postgresql_url))


@pytest.mark.parametrize("arguments", [(), ("add",), ("token", "create")])
def test_help_says_what_there_is(run_command, arguments):
    run = run_command("users.py", *arguments, "--help")
    assert run.returncode == 0
    assert run.stdout.startswith("usage: users.py")
