"""What pages of other sites can make a browser do: nothing, whichever browser it is."""

import pytest
from PIL import Image
from serving import ADMIN, form, png

IMAGE = png(Image.new("L", (28, 28)))
REFUSED = "Requests from other sites are not accepted."
FORMS = [
    "/login", "/logout", "/predict", "/predict/batch", "/examples/0", "/history/1/feedback", "/history/1/delete",
    "/history/delete", "/v2/models/fashion_mnist/infer",
]  # fmt: skip
CROSS_SITE = {
    "cross-site": {"Sec-Fetch-Site": "cross-site"},
    "same-site": {"Sec-Fetch-Site": "same-site"},
    "cross-site, says the newer header": {"Sec-Fetch-Site": "cross-site", "Origin": "http://localhost"},
    "wrong origin": {"Origin": "https://evil.example"},
    "wrong port": {"Origin": "http://localhost:8080"},
    "null origin": {"Origin": "null"},
    "malformed origin": {"Origin": "http://["},
    "no header": {},
}


@pytest.fixture
def signed_in(client, sign_in):
    """A client with a session, whose further requests say nothing of where they come from."""
    sign_in(client)
    del client.environ_base["HTTP_SEC_FETCH_SITE"]
    return client


@pytest.mark.parametrize("path", FORMS)
@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE)
def test_another_site_cannot_use_a_session(signed_in, path, headers):
    answer = signed_in.post(path, data={"said": "Bag", "name": "admin", "password": "password"}, headers=headers)
    assert answer.status_code == 403
    assert REFUSED in answer.text
    assert "Set-Cookie" not in answer.headers
    assert signed_in.get("/history").status_code == 200  # not signed out


@pytest.mark.parametrize("headers", CROSS_SITE.values(), ids=CROSS_SITE)
def test_another_site_cannot_sign_a_visitor_in(client, headers):
    answer = client.post("/login", data={"name": "admin", "password": "password"}, headers=headers)
    assert answer.status_code == 403
    assert REFUSED in answer.text
    assert "Set-Cookie" not in answer.headers


@pytest.mark.parametrize(
    "headers", [headers for name, headers in CROSS_SITE.items() if name != "no header"],
    ids=[name for name in CROSS_SITE if name != "no header"],
)  # fmt: skip
def test_another_site_cannot_use_the_password_that_a_browser_remembers(client, headers):
    body, kind = form(("file", IMAGE))
    answer = client.post("/predict", data=body, content_type=kind, headers={**ADMIN, **headers})
    assert answer.status_code == 403
    assert answer.json["detail"] == REFUSED


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "same-origin", "Origin": "https://proxied.example"},
        {"Sec-Fetch-Site": "none"},
        {"Origin": "http://localhost"},
        {"Origin": "https://localhost"},  # a proxy that ends TLS and is not a trusted one
    ],
)
def test_own_pages_can_use_a_session(signed_in, headers):
    body, kind = form(("file", IMAGE))
    assert signed_in.post("/predict", data=body, content_type=kind, headers=headers).status_code == 200
    assert signed_in.post("/logout", headers=headers).status_code == 303


@pytest.mark.parametrize(
    "headers", [{}, {"Origin": "http://localhost"}, {"Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}]
)
def test_programs_need_neither_header(client, headers):
    body, kind = form(("file", IMAGE))
    assert client.post("/predict", data=body, content_type=kind, headers={**ADMIN, **headers}).status_code == 200


def test_over_tls_an_origin_without_it_is_another(make_app, accounts, sign_in):
    client = make_app(trusted_proxies=1).test_client()
    secure = {"X-Forwarded-Proto": "https"}
    accounts.add("ada", "a long password")
    credentials = {"name": "ada", "password": "a long password"}
    statuses = [
        client.post("/login", data=credentials, headers={**secure, "Origin": origin}).status_code
        for origin in ("http://localhost", "https://localhost")
    ]
    assert statuses == [403, 303]


def test_own_pages_do_not_hide_their_origin_from_this_server(client):
    # With no-referrer, a browser sends "Origin: null" with the forms of a page.
    assert client.get("/").headers["Referrer-Policy"] == "same-origin"
