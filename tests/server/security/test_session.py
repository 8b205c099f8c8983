"""Signing in on the page: who gets in, what a session is worth, and what other sites can do with it."""

import datetime
import html

import pytest
from PIL import Image
from serving import basic, csrf, form, png
from sqlalchemy import func, insert, select, update

from fashion.server.pages.login import WRONG, own_path
from fashion.server.security import session
from fashion.server.storage.accounts import Accounts
from fashion.server.storage.database import AccountRow, SessionRow

IMAGE = png(Image.linear_gradient("L"))
PAGE = {"Accept": "text/html"}
STALE = "This form is not from here, or no longer valid: load the page again, then repeat it."


def predict(client, token=None, **headers):
    body, kind = form(("file", IMAGE))
    token_header = {} if token is None else {"X-CSRF-Token": token}
    return client.post("/predict", data=body, content_type=kind, headers={**token_header, **headers})


def cookie_line(answer) -> str:
    return answer.headers["Set-Cookie"]


def test_a_session_opens_what_a_password_opens(client, sign_in):
    assert predict(client).status_code == 401
    token = sign_in(client)
    assert predict(client, token).json["predicted_class"]
    page = client.get("/")
    assert 'title="Signed in as admin"' in page.text
    assert "Sign out" in page.text


def test_the_cookie_is_for_this_server_alone(make_app):
    client = make_app(trusted_proxies=1).test_client()
    assert cookie_line(client.get("/login")).endswith("; HttpOnly; Path=/; SameSite=Lax")
    secure = cookie_line(client.get("/login", headers={"X-Forwarded-Proto": "https"}))
    assert secure.startswith("__Host-fashion=")
    assert secure.endswith("; Secure; HttpOnly; Path=/; SameSite=Lax")


def test_signing_in_changes_the_cookie_and_only_its_digest_is_kept(client, accounts, sign_in):
    client.get("/login")
    visitor = client.get_cookie("fashion").value
    sign_in(client)
    signed_in = client.get_cookie("fashion").value
    assert signed_in != visitor
    with accounts.database.reading() as connection:
        assert connection.scalars(select(SessionRow.sha256)).all() == [session._sha256(signed_in)]


def test_signing_out_voids_every_copy_of_the_cookie(make_app, sign_in):
    app = make_app()
    client, thief = app.test_client(), app.test_client()
    token = sign_in(client)
    thief.set_cookie("fashion", client.get_cookie("fashion").value)
    assert predict(thief, token).status_code == 200
    assert client.get("/logout").status_code == 405
    answer = client.post("/logout", data={"csrf": token})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    assert predict(thief, token).status_code == 401
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


@pytest.mark.parametrize(("column", "age"), [("last_used", session.IDLE), ("created", session.LONGEST)])
def test_sessions_end_by_themselves(client, accounts, sign_in, column, age):
    sign_in(client)
    for margin, status in ((datetime.timedelta(minutes=1), 200), (datetime.timedelta(0), 303)):
        with accounts.database.writing() as connection:
            then = datetime.datetime.now(datetime.UTC) - age + margin
            connection.execute(update(SessionRow).values({column: then}))
        assert client.get("/history").status_code == status
    sign_in(client)  # what is past its time goes
    with accounts.database.reading() as connection:
        assert connection.scalar(select(func.count()).select_from(SessionRow)) == 1


def test_sessions_are_shared_by_processes(make_app, sign_in, empty_postgresql_url):
    machines = [Accounts(empty_postgresql_url) for _ in range(2)]
    machines[0].upgrade()
    machines[0].create_default()
    sessions = [session.Sessions(machine.database) for machine in machines]
    secret = sessions[0].begin("admin")
    assert sessions[1].find(secret).name == "admin"
    sessions[1].end(secret)
    assert sessions[0].find(secret) is None
    for machine in machines:
        machine.database.close()


def test_a_wrong_password_is_told_in_words(client):
    token = csrf(client.get("/login"))
    answer = client.post("/login", data={"csrf": token, "name": "admin", "password": "guess", "next": "/history"})
    assert answer.status_code == 401
    assert answer.headers.getlist("WWW-Authenticate") == ['Bearer realm="Fashion server"']  # no browser's own window
    assert WRONG in answer.text
    assert 'value="admin"' in answer.text
    assert 'value="guess"' not in answer.text
    assert 'name="next" value="/history"' in answer.text


def test_failures_count_with_those_of_programs(client):
    token = csrf(client.get("/login"))
    guess = {"csrf": token, "name": "admin", "password": "guess"}
    for _ in range(10):
        assert client.post("/login", data=guess).status_code == 401
        assert client.get("/metrics", headers=basic("admin", "guess"), environ_base={}).status_code == 200
        assert client.post("/predict", headers=basic("admin", "guess")).status_code == 401
    answer = client.post("/login", data={**guess, "password": "password"})
    assert answer.status_code == 429
    assert 200 < int(answer.headers["Retry-After"]) <= 301
    assert "Too many wrong passwords. Try again in 4 min" in answer.text or "in 5 min" in answer.text


def test_the_default_password_does_not_pass_a_proxy(client):
    token = csrf(client.get("/login"))
    form = {"csrf": token, "name": "admin", "password": "password"}
    answer = client.post("/login", data=form, headers={"X-Forwarded-For": "192.0.2.1"})
    assert answer.status_code == 403
    assert "own machine alone" in answer.text


# -- Other sites


FORMS = [
    "/login", "/logout", "/predict", "/predict/batch", "/examples/bag", "/history/1/feedback", "/history/1/delete",
    "/history/delete", "/v2/models/fashion_mnist/infer",
]  # fmt: skip


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("token", [None, "", "0" * 64, "é"])
def test_a_cookie_alone_changes_nothing(client, sign_in, path, token):
    sign_in(client)
    sent = {} if token is None else {"csrf": token}
    answer = client.post(path, data=sent)
    assert answer.status_code == 403
    assert STALE in answer.text
    assert client.get("/history").status_code == 200


def test_the_token_of_another_session_is_worth_nothing(make_app, sign_in):
    app = make_app()
    mine, theirs = app.test_client(), app.test_client()
    sign_in(mine)
    assert predict(mine, sign_in(theirs)).status_code == 403


def test_the_token_of_a_visitor_is_worth_nothing_after_signing_in(client, sign_in):
    before = csrf(client.get("/login"))
    after = sign_in(client)
    assert predict(client, before).status_code == 403
    assert predict(client, after).status_code == 200


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
    ],
)
def test_another_site_is_refused_even_with_the_token(client, sign_in, path, headers):
    token = sign_in(client)
    answer = client.post(path, data={"csrf": token}, headers=headers)
    assert answer.status_code == 403
    assert "Requests from other sites are not accepted." in answer.text
    assert client.get("/history").status_code == 200


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
def test_signing_in_leads_nowhere_else(client, target):
    token = csrf(client.get("/login"))
    answer = client.post("/login", data={"csrf": token, "name": "admin", "password": "password", "next": target})
    assert (answer.status_code, answer.headers["Location"]) == (303, "/")
    again = client.get("/login", query_string={"next": target})  # signed in already
    assert (again.status_code, again.headers["Location"]) == (303, "/")


def test_signing_in_leads_back(client):
    asked = client.get("/history?page=2")
    assert (asked.status_code, asked.headers["Location"]) == (303, "/login?next=/history?page%3D2")
    page = client.get(asked.headers["Location"])
    assert 'name="next" value="/history?page=2"' in page.text
    form = {"csrf": csrf(page), "name": "admin", "password": "password", "next": "/history?page=2"}
    assert client.post("/login", data=form).headers["Location"] == "/history?page=2"
    with client.application.test_request_context():
        assert own_path("/admin?period=week") == "/admin?period=week"


HOSTILE = "<script>alert(1)</script>\"'><img src=x>"


def test_a_hostile_name_is_shown_as_text(client, accounts, sign_in):
    token = csrf(client.get("/login"))
    answer = client.post("/login", data={"csrf": token, "name": HOSTILE, "password": "x", "next": f"/{HOSTILE}"})
    assert answer.status_code == 401
    assert "<script>alert" not in answer.text
    assert "<img src=x>" not in answer.text
    assert html.escape(HOSTILE).replace("&#x27;", "&#39;").replace("&quot;", "&#34;") in answer.text
    # No account can be called so; were one, it would be text too.
    secret = session.Sessions(accounts.database)
    with accounts.database.writing() as connection:
        created = datetime.datetime.now(datetime.UTC)
        connection.execute(insert(AccountRow).values(name=HOSTILE, role="admin", password_hash="x", created=created))
    client.set_cookie("fashion", secret.begin(HOSTILE))
    for path in ("/", "/history", "/admin", "/nothing"):
        page = client.get(path, headers=PAGE)
        assert "Signed in as &lt;script&gt;" in page.text
        assert "<script>alert" not in page.text


def test_visitors_without_a_session_are_asked_for_one(client):
    body, kind = form(("file", IMAGE))
    answer = client.post("/predict", data=body, content_type=kind, headers=PAGE)
    assert answer.status_code == 401
    assert "Sign in first, then do this again." in answer.text
    assert 'href="/login"' in answer.text
    assert answer.headers.getlist("WWW-Authenticate") == ['Bearer realm="Fashion server"']
    assert client.get("/admin").headers["Location"] == "/login?next=/admin"


def test_a_database_that_fails_is_told_on_a_page_too(client, accounts, sign_in):
    sign_in(client)
    with accounts.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE sessions RENAME TO elsewhere")
        connection.exec_driver_sql("ALTER TABLE pictures RENAME TO nowhere")
    answer = client.get("/history", headers=PAGE)
    assert answer.status_code == 503
    assert "Something this server needs does not work now." in answer.text
    assert client.get("/").status_code == 200


def test_a_request_of_another_site_does_not_replace_the_cookie(make_app):
    answer = make_app().test_client().post("/logout", headers={**PAGE, "Sec-Fetch-Site": "cross-site"})
    assert answer.status_code == 403
    assert "Set-Cookie" not in answer.headers
