"""Accounts and tokens, on SQLite and on a real PostgreSQL."""

import datetime
import hashlib
import threading

import argon2
import pytest
from services import DATABASES
from sqlalchemy import select, update

from fashion.errors import FashionError, InputError
from fashion.server.storage import accounts as module
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.tables import AccountRow, TokenRow

PASSWORD = "correct horse"


@pytest.fixture
def real_hashing():
    """Hash as the server does, where a test is about that; elsewhere it would take most of the time."""


@pytest.fixture(autouse=True)
def quick_hashing(request, monkeypatch):
    if "real_hashing" not in request.fixturenames:
        monkeypatch.setattr(module, "HASHER", argon2.PasswordHasher(time_cost=1, memory_cost=64, parallelism=1))


@pytest.fixture(params=DATABASES)
def database_url(request, tmp_path) -> str:
    if request.param == "postgresql":
        return request.getfixturevalue("empty_postgresql_url")
    return f"sqlite:///{tmp_path}/server/fashion.db"


@pytest.fixture
def accounts(database_url):
    opened = Accounts(database_url)
    opened.upgrade()
    yield opened
    opened.database.close()


def stored(accounts, column):
    with accounts.database.reading() as connection:
        return list(connection.scalars(select(column)))


def at_once(*tasks):
    """Run tasks in threads that start together; return what each returned or raised."""
    barrier = threading.Barrier(len(tasks))
    outcomes = [None] * len(tasks)

    def run(number, task):
        barrier.wait()
        try:
            outcomes[number] = task()
        except FashionError as error:
            outcomes[number] = error

    threads = [threading.Thread(target=run, args=numbered) for numbered in enumerate(tasks)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return outcomes


def test_an_account_accepts_its_own_password_only(accounts):
    before = datetime.datetime.now(datetime.UTC)
    accounts.add("Ann", PASSWORD)
    account = accounts.verify("Ann", PASSWORD)
    assert (account.name, account.role) == ("Ann", "user")
    assert account.created.utcoffset() == datetime.timedelta(0)
    assert before <= account.created <= datetime.datetime.now(datetime.UTC)
    for name, password in [("Ann", PASSWORD + " "), ("Ann", ""), ("ann", PASSWORD), ("bob", PASSWORD), ("", "")]:
        assert accounts.verify(name, password) is None


@pytest.mark.parametrize("text", ["a\0b", "\udcff", "a:b", "' OR 1=1 --", "é" * 10_000])
def test_impossible_credentials_are_simply_wrong(accounts, text):
    accounts.add("ann", PASSWORD)
    assert accounts.verify(text, PASSWORD) is None
    assert accounts.verify("ann", text) is None
    assert accounts.verify_token(text) is None
    assert accounts.verify_token(f"fsh_{text}") is None


def test_passwords_may_be_any_text(accounts):
    accounts.add("ann", "pässwörd \N{SNOWMAN}")
    assert accounts.verify("ann", "pässwörd \N{SNOWMAN}")


def test_only_an_argon2id_hash_is_kept(real_hashing, accounts):
    accounts.add("ann", PASSWORD)
    assert stored(accounts, AccountRow.password_hash)[0].startswith("$argon2id$v=19$m=65536,t=3,p=4$")


@pytest.mark.parametrize("name", ["a", "a" * 64, "Ann.B-c_d+e@example.org", "0"])
def test_valid_names_are_accepted(accounts, name):
    accounts.add(name, PASSWORD)
    assert accounts.verify(name, PASSWORD).name == name


@pytest.mark.parametrize("name", ["", "a" * 65, "a b", "a:b", "é", "-a", ".a", "a\n", "a\0"])
def test_invalid_names_are_refused(accounts, name):
    with pytest.raises(FashionError, match=r"^account name: got .*, expected 1 to 64 of the letters"):
        accounts.add(name, PASSWORD)


@pytest.mark.parametrize(
    ("password", "said"),
    [
        ("", "got 0 characters, expected at least 8"),
        ("seven 7", "got 7 characters, expected at least 8"),
        ("x" * 1025, "got 1025 bytes, expected at most 1024"),
        ("password", "is too easy to guess"),
        ("ann.smith", "is too easy to guess"),
        ("12345678\udcff", "not text in UTF-8"),
    ],
)
def test_invalid_passwords_are_refused(accounts, password, said):
    with pytest.raises(FashionError, match=said):
        accounts.add("ann.smith", password)
    accounts.add("ann.smith", PASSWORD)
    with pytest.raises(FashionError, match=said):
        accounts.set_password("ann.smith", password)
    assert accounts.verify("ann.smith", PASSWORD)


def test_an_unknown_role_is_refused(accounts):
    with pytest.raises(FashionError, match=r"^role: got root, expected one of user, admin$"):
        accounts.add("ann", PASSWORD, role="root")


def test_a_name_is_unique(accounts):
    accounts.add("ann", PASSWORD)
    with pytest.raises(FashionError, match="account ann: exists already"):
        accounts.add("ann", "another password", role="admin")
    assert accounts.verify("ann", PASSWORD).role == "user"


def test_adding_one_name_twice_at_once_creates_one_account(accounts):
    first, second = sorted(at_once(*[lambda: accounts.add("ann", PASSWORD)] * 2), key=str)
    assert {type(first), type(second)} == {type(None), InputError}
    assert len(accounts.all()) == 1


def test_a_new_password_makes_the_old_one_wrong_everywhere_and_at_once(accounts, database_url):
    other = Accounts(database_url)  # as another process has it
    accounts.add("ann", PASSWORD)
    accounts.create_token("ann", "laptop")
    accounts.create_token("ann", "server", expires_days=1)
    assert accounts.verify("ann", PASSWORD)
    assert other.verify("ann", PASSWORD)
    assert accounts.set_password("ann", "another password") == 2
    for each in (accounts, other):
        assert each.verify("ann", PASSWORD) is None
        assert each.verify("ann", "another password")
    other.database.close()


def test_a_right_password_is_hashed_once(accounts, monkeypatch):
    accounts.add("ann", PASSWORD)
    verified = []
    hasher = module.HASHER

    class Counting(argon2.PasswordHasher):
        def verify(self, *arguments):
            verified.append(arguments)
            return hasher.verify(*arguments)

    monkeypatch.setattr(module, "HASHER", Counting(time_cost=1, memory_cost=64, parallelism=1))
    assert all(at_once(*[lambda: accounts.verify("ann", PASSWORD)] * 8))
    assert len(verified) <= module.MAX_CONCURRENT_HASHES
    for _ in range(3):
        accounts.verify("ann", "wrong password")
    assert len(verified) <= module.MAX_CONCURRENT_HASHES + 3
    accounts.remove("ann")
    assert accounts.verify("ann", PASSWORD) is None


def test_the_password_cache_is_bounded(accounts, monkeypatch):
    monkeypatch.setattr(module, "MAX_CACHED_PASSWORDS", 2)
    for name in ("a", "b", "c"):
        accounts.add(name, PASSWORD)
        assert accounts.verify(name, PASSWORD)
        assert len(accounts.verified_passwords) <= 2


def test_an_unknown_name_takes_the_same_work_as_a_wrong_password(real_hashing, accounts, monkeypatch):
    accounts.add("ann", PASSWORD)
    done = []

    class Recorded(argon2.PasswordHasher):
        def verify(self, hash, password):
            done.append((argon2.extract_parameters(hash), password))
            return super().verify(hash, password)

    monkeypatch.setattr(module, "HASHER", Recorded())
    for name in ("ann", "bob"):
        assert accounts.verify(name, "wrong password") is None
    known, unknown = done
    assert known == unknown


def test_a_hash_with_outdated_parameters_is_replaced(real_hashing, accounts):
    accounts.add("ann", PASSWORD)
    old = argon2.PasswordHasher(time_cost=1, memory_cost=8192, parallelism=1).hash(PASSWORD)
    with accounts.database.writing() as connection:
        connection.execute(update(AccountRow).values(password_hash=old))
    assert accounts.verify("ann", "wrong password") is None
    assert stored(accounts, AccountRow.password_hash) == [old]
    assert accounts.verify("ann", PASSWORD)
    assert stored(accounts, AccountRow.password_hash)[0].startswith("$argon2id$v=19$m=65536,t=3,p=4$")
    assert accounts.verify("ann", PASSWORD)


def test_the_default_account_is_created_in_an_empty_database_only(accounts):
    assert not accounts.has_default_account()
    at_once(*[accounts.create_default] * 4)
    assert [(account.name, account.role) for account in accounts.all()] == [("admin", "admin")]
    assert accounts.has_default_account()
    accounts.set_password("admin", PASSWORD)
    accounts.create_default()
    assert not accounts.has_default_account()
    assert accounts.verify("admin", PASSWORD)


def test_no_default_account_beside_others(accounts):
    accounts.add("ann", PASSWORD)
    accounts.create_default()
    assert [account.name for account in accounts.all()] == ["ann"]


def test_removing_an_account_removes_its_tokens(accounts):
    accounts.add("ann", PASSWORD)
    accounts.add("bob", PASSWORD)
    tokens = [accounts.create_token(name, "") for name in ("ann", "ann", "bob")]
    assert accounts.remove("ann") == 2
    assert accounts.verify("ann", PASSWORD) is None
    assert [accounts.verify_token(token) is not None for token in tokens] == [False, False, True]
    accounts.add("ann", PASSWORD)
    assert accounts.tokens("ann") == []
    assert [account.name for account in accounts.all()] == ["ann", "bob"]


def test_the_last_admin_stays(accounts):
    accounts.add("ann", PASSWORD, role="admin")
    accounts.add("user", PASSWORD)
    with pytest.raises(FashionError, match="account ann: is the last admin; add another admin first"):
        accounts.remove("ann")
    accounts.add("bob", PASSWORD, role="admin")
    outcomes = at_once(lambda: accounts.remove("ann"), lambda: accounts.remove("bob"))
    assert sorted(type(outcome).__name__ for outcome in outcomes) == ["InputError", "int"]
    accounts.remove("user")


@pytest.mark.parametrize(
    "operation",
    [
        lambda accounts: accounts.set_password("nobody", PASSWORD),
        lambda accounts: accounts.remove("nobody"),
        lambda accounts: accounts.create_token("nobody", "label"),
        lambda accounts: accounts.tokens("nobody"),
    ],
)
def test_a_missing_account_is_reported(accounts, operation):
    with pytest.raises(FashionError, match=r"^account nobody: does not exist"):
        operation(accounts)


def test_a_token_authenticates_its_account_until_it_is_revoked(accounts):
    accounts.add("ann", PASSWORD, role="admin")
    token = accounts.create_token("ann", "laptop")
    other = accounts.create_token("ann", "laptop")
    assert len(token) == len("fsh_") + 43
    assert token != other
    assert accounts.verify_token(token) == accounts.verify("ann", PASSWORD)
    assert {hashlib.sha256(each.encode()).hexdigest() for each in (token, other)} == set(
        stored(accounts, TokenRow.sha256)
    )
    known = accounts.tokens("ann")
    assert [(entry.account, entry.label, entry.expires) for entry in known] == [("ann", "laptop", None)] * 2
    accounts.revoke_token(known[1].id)
    assert accounts.verify_token(other) is None
    assert accounts.verify_token(token)
    with pytest.raises(FashionError, match=f"^token {known[1].id}: does not exist"):
        accounts.revoke_token(known[1].id)
    accounts.create_token("ann", "")
    assert accounts.tokens()[-1].id > known[1].id  # so that revoking twice never hits another token


def test_a_token_expires(accounts, monkeypatch):
    accounts.add("ann", PASSWORD)
    token = accounts.create_token("ann", "", expires_days=2)
    start = datetime.datetime.now(datetime.UTC)
    monkeypatch.setattr(module, "utc_now", lambda: start + datetime.timedelta(days=1, hours=23))
    assert accounts.verify_token(token)
    assert not accounts.tokens()[0].expired
    monkeypatch.setattr(module, "utc_now", lambda: start + datetime.timedelta(days=2))
    assert accounts.verify_token(token) is None
    assert accounts.tokens()[0].expired
    assert accounts.set_password("ann", PASSWORD) == 0


def test_the_last_use_is_written_once_a_minute(accounts, monkeypatch):
    accounts.add("ann", PASSWORD)
    token = accounts.create_token("ann", "")
    assert accounts.tokens()[0].last_used is None
    start = datetime.datetime.now(datetime.UTC)
    seen = []
    for seconds in (0, 30, 59, 60, 61):
        monkeypatch.setattr(module, "utc_now", lambda moment=start + datetime.timedelta(seconds=seconds): moment)
        accounts.verify_token(token)
        seen.append((accounts.tokens()[0].last_used - start).total_seconds())
    assert seen == [0, 0, 0, 60, 60]


@pytest.mark.parametrize("label", ["x" * 65, "two\nlines", "\x1b[31m", "a\0b"])
def test_invalid_labels_are_refused(accounts, label):
    accounts.add("ann", PASSWORD)
    with pytest.raises(FashionError, match=r"^label: got .*, expected at most 64 printable characters$"):
        accounts.create_token("ann", label)


@pytest.mark.parametrize("days", [0, -1, 3651, 10**12])
def test_invalid_expiry_is_refused(accounts, days):
    accounts.add("ann", PASSWORD)
    with pytest.raises(FashionError, match=f"got {days}, expected 1 to 3650"):
        accounts.create_token("ann", "", expires_days=days)
