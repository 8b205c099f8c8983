"""Authentication by password and token, and the limits on failed log-ins."""

import threading
import time

import pytest
from flask import Flask
from serving import ADMIN, basic
from sqlalchemy import func, select

from fashion.errors import FashionError, StorageUnavailableError
from fashion.server.security import authentication, login_limits
from fashion.server.security.login_limits import LoginLimits, network_of
from fashion.server.storage.tables import RequestRow

DEFAULT_IS_LOCAL = "admin / password works on the server's own machine only, at its loopback address or localhost."
UNKNOWN = "Send a valid user name and password (Basic), or a valid token (Bearer)."
PROTECTED = ["/predict", "/predict/batch", "/v2/models/fashion_mnist/infer"]


def ask(client, headers, address="127.0.0.1"):
    """Ask for a prediction that fails with 400 behind the log-in, so that 400 means: let in."""
    return client.post("/predict", headers=headers, environ_base={"REMOTE_ADDR": address})


@pytest.mark.parametrize("path", PROTECTED)
def test_predictions_need_a_login(client, path):
    answer = client.post(path)
    assert answer.status_code == 401
    assert answer.headers.getlist("WWW-Authenticate") == [
        'Basic realm="Fashion server", charset=UTF-8',
        'Bearer realm="Fashion server"',
    ]
    assert UNKNOWN in answer.text


@pytest.mark.parametrize("path", ["/", "/livez", "/readyz", "/openapi.json", "/v2", "/v2/models/fashion_mnist"])
def test_public_pages_need_no_login(client, path):
    assert client.get(path).status_code == 200


@pytest.mark.parametrize(
    "header",
    [
        "Basic", "Basic ", "Basic !!!", "Basic YWRtaW4=", "Basic /zr/", "Bearer", "Bearer ", "Bearer fsh_unknown",
        "Basic \xff\xfe", "Bearer \xe9",
        "bearer a b", "Digest username=admin", "admin:password", "\x01", "Basic " * 500, basic("admin", "wrong"),
        basic("nobody", "password"), basic("a\0b", "c"), basic("n" * 5000, "p"), basic("admin", ""), basic("", ""),
    ],
)  # fmt: skip
def test_a_wrong_or_malformed_header_is_refused_in_the_same_words(client, header):
    answer = ask(client, header if isinstance(header, dict) else {"Authorization": header})
    assert answer.status_code == 401
    assert {**answer.json, "request_id": ""} == {
        "type": "about:blank", "title": "Unauthorized", "status": 401, "detail": UNKNOWN, "request_id": "",
    }  # fmt: skip


def test_passwords_and_tokens_authenticate(client, accounts, monkeypatch):
    monkeypatch.setattr(authentication, "AUTH_CACHE_SECONDS", 0)
    accounts.add("ada", "naïve: and long")
    token = accounts.create_token("ada", "test")
    assert ask(client, basic("ada", "naïve: and long")).status_code == 400
    assert ask(client, {"Authorization": f"Bearer {token}"}).status_code == 400
    accounts.set_password("ada", "another one")
    assert ask(client, basic("ada", "naïve: and long")).status_code == 401
    accounts.remove("ada")
    assert ask(client, {"Authorization": f"Bearer {token}"}).status_code == 401


def test_the_default_password_does_not_pass_an_undeclared_proxy(client, accounts):
    accounts.add("ada", "a long password")
    for header in authentication.PROXY_HEADERS:
        refused = ask(client, {**ADMIN, header: "for=192.0.2.1"})
        assert refused.status_code == 403
        assert refused.json["detail"] == DEFAULT_IS_LOCAL
        assert ask(client, {**basic("ada", "a long password"), header: "x"}).status_code == 400
    assert ask(client, ADMIN).status_code == 400


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:5000", "localhost:5000", "[::1]:5000", "[::1]"])
def test_the_default_password_works_at_names_of_this_machine(client, host):
    assert ask(client, {**ADMIN, "Host": host}).status_code == 400


@pytest.mark.parametrize("host", ["evil.example:5000", "localhost.evil.example", "192.0.2.1", "[2001:db8::1]:5000"])
def test_the_default_password_is_refused_at_a_name_that_may_be_another_sites(client, accounts, host):
    accounts.add("ada", "a long password")
    refused = ask(client, {**ADMIN, "Host": host})
    assert (refused.status_code, refused.json["detail"]) == (403, DEFAULT_IS_LOCAL)
    assert ask(client, {**basic("ada", "a long password"), "Host": host}).status_code == 400
    assert ask(client, ADMIN).status_code == 400  # also when its header is known
    assert ask(client, {**ADMIN, "Host": host}).status_code == 403


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1:5000"])
def test_the_default_password_is_refused_from_another_machine_whatever_host_it_names(client, host):
    assert ask(client, {**ADMIN, "Host": host}).status_code == 400
    refused = ask(client, {**ADMIN, "Host": host}, address="192.0.2.1")
    assert (refused.status_code, refused.json["detail"]) == (403, DEFAULT_IS_LOCAL)


@pytest.mark.parametrize("header", ["foo", "Basic !!!", "Bearer ", "Digest username=admin"])
def test_a_header_that_is_no_guess_leaves_no_row_in_the_database(client, accounts, header):
    assert ask(client, {"Authorization": header}).status_code == 401
    assert ask(client, basic("admin", "wrong")).status_code == 401
    client.application.services.monitor.request_log.close()
    with accounts.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(RequestRow)) == 1


def test_a_token_works_while_its_last_use_cannot_be_stored(client, accounts, monkeypatch, caplog):
    token = {"Authorization": f"Bearer {accounts.create_token('admin', 'test')}"}

    def full():
        raise StorageUnavailableError("the database cannot be used (database or disk is full)")

    monkeypatch.setattr(accounts.database, "writing", full)
    assert ask(client, token).status_code == 400
    assert "update skipped: the database cannot be used" in caplog.text


def test_a_removed_accounts_token_is_void_a_second_later(client, accounts):
    accounts.add("ada", "a long password")
    token = {"Authorization": f"Bearer {accounts.create_token('ada', 'test')}"}
    assert ask(client, token).status_code == 400
    accounts.remove("ada")
    time.sleep(authentication.AUTH_CACHE_SECONDS)
    assert ask(client, token).status_code == 401
    assert authentication.AUTH_CACHE_SECONDS <= 1


def test_guessing_from_one_address_ends_before_any_hashing(client, accounts, monkeypatch):
    hashed = []
    verify = accounts.verify
    monkeypatch.setattr(accounts, "verify", lambda *arguments: hashed.append(arguments) or verify(*arguments))
    statuses = [ask(client, basic(f"user{number}", "guess")).status_code for number in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    assert len(hashed) == 20
    refused = ask(client, ADMIN)
    assert refused.status_code == 429  # also with the right password, or guessing would go on
    assert 250 <= int(refused.headers["Retry-After"]) <= 301
    assert len(hashed) == 20
    assert ask(client, ADMIN, address="127.0.0.2").status_code == 400


def test_guessing_from_many_addresses_does_not_lock_the_owner_out(client, accounts):
    accounts.add("ada", "a long password")
    owner = basic("ada", "a long password")
    assert ask(client, owner, address="198.51.100.7").status_code == 400  # the owner has been here
    statuses = [ask(client, basic("ada", "guess"), address=f"203.0.113.{number}").status_code for number in range(25)]
    assert statuses == [401] * 20 + [429] * 5
    assert ask(client, owner, address="203.0.113.77").status_code == 429  # a stranger, even with the right password
    assert ask(client, owner, address="198.51.100.7").status_code == 400


def test_guessing_beside_the_owner_is_limited_too(client):
    assert ask(client, ADMIN).status_code == 400
    assert [ask(client, basic("admin", "guess")).status_code for _ in range(22)] == [401] * 20 + [429] * 2


def test_parallel_guesses_are_limited_like_sequential_ones(make_app):
    app: Flask = make_app()
    statuses = []
    barrier = threading.Barrier(40)

    def guess(number):
        client = app.test_client()
        barrier.wait()
        statuses.append(ask(client, basic("admin", f"guess {number}")).status_code)

    threads = [threading.Thread(target=guess, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(statuses) == [401] * 20 + [429] * 20


def test_tokens_are_limited_by_address(client):
    statuses = [ask(client, {"Authorization": f"Bearer fsh_{number}"}).status_code for number in range(22)]
    assert statuses == [401] * 20 + [429] * 2


def test_processes_count_together_in_redis(make_app, redis_url):
    one, other = (make_app(redis_url=redis_url).test_client() for _ in range(2))
    # Not admin, whom other tests with this Redis let in.
    statuses = [ask(client, basic("mallory", "guess")).status_code for _ in range(12) for client in (one, other)]
    assert statuses == [401] * 20 + [429] * 4


def test_a_missing_redis_is_reported_at_the_start():
    with pytest.raises(FashionError, match=r"server.redis_url: no Redis answers there"):
        LoginLimits("redis://127.0.0.1:1/0")
    with pytest.raises(FashionError, match=r"server.redis_url: no Redis answers there"):
        LoginLimits("nonsense")


def test_without_redis_all_log_ins_are_refused(make_app, monkeypatch):
    client = make_app().test_client()

    def fail(*arguments):
        raise login_limits.StorageError(ConnectionError("gone"))

    monkeypatch.setattr(login_limits.MovingWindowRateLimiter, "test", fail)
    answer = ask(client, ADMIN)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert "gone" not in answer.text


@pytest.mark.parametrize(
    ("address", "counted"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("2001:db8::1", "2001:db8::/64"),
        ("2001:db8::ffff:1", "2001:db8::/64"),
        ("::ffff:192.0.2.1", "192.0.2.1"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
    ],
)
def test_an_ipv6_network_counts_as_one_address(address, counted):
    assert network_of(address) == counted
