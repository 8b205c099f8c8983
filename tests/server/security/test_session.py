"""Signing in on the page: what a session allows, and when it ends."""

import datetime
import html

import pytest
from PIL import Image
from serving import basic, form, png
from sqlalchemy import func, insert, select, update

from fashion.errors import StorageUnavailableError
from fashion.server.pages.login import WRONG, local_path
from fashion.server.storage.accounts import Accounts, secret_digest
from fashion.server.storage.sessions import AGE_LIMIT, IDLE_LIMIT, Sessions
from fashion.server.storage.tables import AccountRow, SessionRow

IMAGE = png(Image.linear_gradient("L"))
PAGE = {"Accept": "text/html"}
SAME_ORIGIN = {"Sec-Fetch-Site": "same-origin"}
CREDENTIALS = {"name": "admin", "password": "password"}


def predict(client, **headers):
    body, kind = form(("file", IMAGE))
    return client.post("/predict", data=body, content_type=kind, headers={**SAME_ORIGIN, **headers})


def cookie_line(answer) -> str:
    return answer.headers["Set-Cookie"]


def test_a_session_authenticates_like_a_password(client, sign_in):
    assert predict(client).status_code == 401
    sign_in(client)
    assert predict(client).json["predicted_class"]
    page = client.get("/")
    assert 'title="Signed in as admin"' in page.text
    assert "Sign out" in page.text


def test_the_cookie_is_for_this_server_alone(make_app, accounts):
    accounts.add("ada", "a long password")
    client = make_app(trusted_proxies=1).test_client()
    credentials = {"name": "ada", "password": "a long password"}
    plain = cookie_line(client.post("/login", data=credentials, headers=SAME_ORIGIN))
    assert plain.startswith("fashion=")
    assert plain.endswith("; HttpOnly; Path=/; SameSite=Lax")
    secure = cookie_line(client.post("/login", data=credentials, headers={**SAME_ORIGIN, "X-Forwarded-Proto": "https"}))
    assert secure.startswith("__Host-fashion=")
    assert secure.endswith("; Secure; HttpOnly; Path=/; SameSite=Lax")


def test_a_session_lasts_while_its_last_use_cannot_be_stored(client, accounts, sign_in, monkeypatch, caplog):
    sign_in(client)
    long_ago = datetime.datetime.now(datetime.UTC) - datetime.timedelta(minutes=2)
    with accounts.database.writing() as connection:
        connection.execute(update(SessionRow).values(last_used=long_ago))

    def full():
        raise StorageUnavailableError("the database cannot be used (database or disk is full)")

    monkeypatch.setattr(accounts.database, "writing", full)
    assert client.get("/history", headers=PAGE).status_code == 200
    assert "update skipped: the database cannot be used" in caplog.text


def test_visitors_get_no_cookie(client):
    for path in ("/", "/login", "/nothing"):
        assert "Set-Cookie" not in client.get(path, headers=PAGE).headers


def test_signing_in_changes_the_cookie_and_only_its_digest_is_kept(client, accounts, sign_in):
    client.set_cookie("fashion", "chosen by an attacker")
    sign_in(client)
    first = client.get_cookie("fashion").value
    sign_in(client)
    second = client.get_cookie("fashion").value
    assert len({"chosen by an attacker", first, second}) == 3
    with accounts.database.reading() as connection:
        assert connection.scalars(select(SessionRow.sha256)).all() == [secret_digest(second)]


def test_signing_out_voids_every_copy_of_the_cookie(make_app, sign_in):
    app = make_app()
    client, thief = app.test_client(), app.test_client()
    sign_in(client)
    thief.set_cookie("fashion", client.get_cookie("fashion").value)
    assert predict(thief).status_code == 200
    assert client.get("/logout").status_code == 405
    answer = client.post("/logout")
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert predict(thief).status_code == 401
    assert client.get("/history").headers["Location"] == "/login?next=/history"


def test_a_new_password_and_a_removed_account_end_sessions(make_app, accounts, sign_in):
    accounts.add("ada", "a long password")
    client = make_app().test_client()
    sign_in(client, "ada", "a long password")
    accounts.set_password("ada", "another one")
    assert client.get("/history").status_code == 303
    sign_in(client, "ada", "another one")
    assert client.get("/history").status_code == 200
    accounts.remove("ada")
    assert client.get("/history").status_code == 303


@pytest.mark.parametrize(("column", "age"), [("last_used", IDLE_LIMIT), ("created", AGE_LIMIT)])
def test_sessions_expire(client, accounts, sign_in, column, age):
    sign_in(client)
    for margin, status in ((datetime.timedelta(minutes=1), 200), (datetime.timedelta(0), 303)):
        with accounts.database.writing() as connection:
            then = datetime.datetime.now(datetime.UTC) - age + margin
            connection.execute(update(SessionRow).values({column: then}))
        assert client.get("/history").status_code == status
    sign_in(client)  # deletes expired sessions
    with accounts.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(SessionRow)) == 1


def test_sessions_are_shared_by_processes(empty_postgresql_url):
    machines = [Accounts(empty_postgresql_url) for _ in range(2)]
    machines[0].upgrade()
    machines[0].create_default()
    sessions = [Sessions(machine.database) for machine in machines]
    secret = sessions[0].begin("admin")
    assert sessions[1].find(secret).name == "admin"
    sessions[1].end(secret)
    assert sessions[0].find(secret) is None
    for machine in machines:
        machine.database.close()


def test_a_wrong_password_is_explained_on_the_page(client):
    answer = client.post("/login", data={"name": "admin", "password": "guess", "next": "/history"}, headers=SAME_ORIGIN)
    assert answer.status_code == 401
    assert answer.headers.getlist("WWW-Authenticate") == ['Bearer realm="Fashion server"']  # no dialog of the browser
    assert WRONG in answer.text
    assert 'value="admin"' in answer.text
    assert 'value="guess"' not in answer.text
    assert 'name="next" value="/history"' in answer.text


def test_failures_count_with_those_of_programs(client):
    guess = {"name": "admin", "password": "guess"}
    for _ in range(10):
        assert client.post("/login", data=guess, headers=SAME_ORIGIN).status_code == 401
        assert client.get("/metrics", headers=basic("admin", "guess"), environ_base={}).status_code == 200
        assert client.post("/predict", headers=basic("admin", "guess")).status_code == 401
    answer = client.post("/login", data={**guess, "password": "password"}, headers=SAME_ORIGIN)
    assert answer.status_code == 429
    assert 200 < int(answer.headers["Retry-After"]) <= 301
    text = "Too many failed log-ins. Try again in"
    assert f"{text} 4 min" in answer.text or f"{text} 5 min" in answer.text


def test_an_account_that_is_removed_while_it_signs_in_is_refused(client, accounts, monkeypatch):
    accounts.add("ada", "a long password")
    begin = Sessions.begin

    def remove_and_begin(*arguments):
        accounts.remove("ada")
        return begin(*arguments)

    monkeypatch.setattr(Sessions, "begin", remove_and_begin)
    answer = client.post("/login", data={"name": "ada", "password": "a long password"}, headers=SAME_ORIGIN)
    assert answer.status_code == 401
    assert "Wrong name or password" in answer.text
    assert client.get("/history").status_code == 303


def test_the_default_password_does_not_pass_a_proxy(client):
    answer = client.post("/login", data=CREDENTIALS, headers={**SAME_ORIGIN, "X-Forwarded-For": "192.0.2.1"})
    assert answer.status_code == 403
    assert "own machine only" in answer.text


@pytest.mark.parametrize("path", ["/", "/login", "/history", "/admin", "/nothing"])
def test_no_page_can_be_framed_or_run_what_is_not_its_own(client, sign_in, path):
    sign_in(client)
    headers = client.get(path, headers=PAGE).headers
    assert headers["X-Frame-Options"] == "DENY"
    policy = dict(part.strip().partition(" ")[::2] for part in headers["Content-Security-Policy"].split(";"))
    assert policy == {
        "default-src": "'none'", "script-src": "'self'", "style-src": "'self'", "img-src": "'self' data: blob:",
        "connect-src": "'self'", "form-action": "'self'", "base-uri": "'none'", "frame-ancestors": "'none'",
        "require-trusted-types-for": "'script'", "trusted-types": "'none'",
    }  # fmt: skip


@pytest.mark.parametrize(
    "target",
    [
        "https://evil.example", "http:evil.example", "//evil.example", "/\\evil.example", "\\\\evil.example",
        "/\t/evil.example", "/\n/evil.example", "javascript:alert(1)", "evil.example", "", " /history", "/" + "a" * 600,
        "/\x00", "data:text/html,x", "///evil.example",
    ],
)  # fmt: skip
def test_signing_in_redirects_nowhere_else(client, target):
    answer = client.post("/login", data={**CREDENTIALS, "next": target}, headers=SAME_ORIGIN)
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    again = client.get("/login", query_string={"next": target})  # signed in already
    assert (again.status_code, again.headers["Location"]) == (303, "/")


def test_signing_in_redirects_back(client):
    asked = client.get("/history?page=2")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/login?next=/history?page%3D2")
    page = client.get(asked.headers["Location"])
    assert 'name="next" value="/history?page=2"' in page.text
    answer = client.post("/login", data={**CREDENTIALS, "next": "/history?page=2"}, headers=SAME_ORIGIN)
    assert answer.headers["Location"] == "/history?page=2"
    with client.application.test_request_context():
        assert local_path("/admin?period=week") == "/admin?period=week"


HOSTILE = "<script>alert(1)</script>\"'><img src=x>"


def test_a_hostile_name_is_shown_as_text(client, accounts):
    answer = client.post("/login", data={"name": HOSTILE, "password": "x", "next": f"/{HOSTILE}"}, headers=SAME_ORIGIN)
    assert answer.status_code == 401
    assert "<script>alert" not in answer.text
    assert "<img src=x>" not in answer.text
    assert html.escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in answer.text
    # No account can have this name; if one could, it would be text, too.
    with accounts.database.writing() as connection:
        created = datetime.datetime.now(datetime.UTC)
        connection.execute(insert(AccountRow).values(name=HOSTILE, role="admin", password_hash="x", created=created))
    client.set_cookie("fashion", Sessions(accounts.database).begin(HOSTILE))
    for path in ("/", "/history", "/admin", "/nothing"):
        page = client.get(path, headers=PAGE)
        assert "Signed in as &lt;script&gt;" in page.text
        assert "<script>alert" not in page.text


def test_visitors_without_a_session_are_asked_for_one(client):
    body, kind = form(("file", IMAGE))
    answer = client.post("/predict", data=body, content_type=kind, headers=PAGE)
    assert answer.status_code == 401
    assert "Sign in first, then try again." in answer.text
    assert 'href="/login"' in answer.text
    assert answer.headers.getlist("WWW-Authenticate") == ['Bearer realm="Fashion server"']
    assert client.get("/admin").headers["Location"] == "/login?next=/admin"


def test_a_database_that_fails_is_reported_on_a_page_too(client, accounts, sign_in):
    sign_in(client)
    with accounts.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE sessions RENAME TO elsewhere")
        connection.exec_driver_sql("ALTER TABLE pictures RENAME TO nowhere")  # vocabulary:ignore
    answer = client.get("/history", headers=PAGE)
    assert answer.status_code == 503
    assert "storage is unavailable; try again later." in answer.text
    assert client.get("/").status_code == 200
