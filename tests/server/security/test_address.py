"""The host that a client asked for, and the path below which a proxy serves this server."""

import re

import pytest
from flask import request
from PIL import Image
from serving import basic, form, png

IMAGE = png(Image.new("L", (28, 28)))


@pytest.mark.parametrize(
    "host", ["localhost", "a.example:8080", "127.0.0.1:5000", "[::1]:5000", "my_server", "x:", "a."]
)
def test_a_host_is_answered(client, host):
    assert client.get("/livez", headers={"Host": host}).status_code == 200


@pytest.mark.parametrize(
    "host", ["a b", "<script>", "", "a,b", "a/b", "user@a", "a:b", "a:99999", "[::1", "[x]", "ä", "a\\b", "a?b", ":80"]
)
def test_a_host_that_is_none_is_refused(client, host):
    answer = client.get("/livez", environ_overrides={"HTTP_HOST": host})
    assert answer.status_code == 400
    assert answer.json["detail"] == "The Host header is not a host name or address with an optional port."
    assert client.get("/", headers={"Accept": "text/html"}, environ_overrides={"HTTP_HOST": host}).status_code == 400


def test_only_old_clients_may_name_no_host(server):
    for version, status in ((b"1.0", b"200"), (b"1.1", b"400")):
        connection = server.connect(b"GET /livez HTTP/%s\r\nConnection: close\r\n\r\n" % version)
        assert connection.recv(65536).split()[1] == status


@pytest.fixture(params=["header", "header, path passed on as it is", "SCRIPT_NAME"])
def on_sub_path(request, make_app):
    """Clients of an application below /fashion, and how their paths arrive there."""
    if request.param == "SCRIPT_NAME":  # in the environment of gunicorn
        app = make_app()
        inner = app.wsgi_app
        app.wsgi_app = lambda environ, start: inner({**environ, "SCRIPT_NAME": "/fashion"}, start)
        client = app.test_client(use_cookies=False)
    else:
        client = make_app(trusted_proxies=1).test_client(use_cookies=False)
        client.environ_base["HTTP_X_FORWARDED_PREFIX"] = "/fashion"
    passed_on = "/fashion" if "passed" in request.param else ""
    return client, lambda path: passed_on + path


def test_all_links_of_the_pages_are_below_the_sub_path(on_sub_path, accounts):
    client, arrives = on_sub_path
    accounts.add("ada", "a long password", role="admin")
    client.environ_base |= {"HTTP_SEC_FETCH_SITE": "same-origin", "HTTP_ACCEPT": "text/html"}
    asked = client.get(arrives("/history?page=2"))
    assert asked.headers["Location"] == "/fashion/login?next=/fashion/history?page%3D2"
    form_page = client.get(arrives("/login?next=/fashion/history"))
    assert 'name="next" value="/fashion/history"' in form_page.text
    entered = {"name": "ada", "password": "a long password", "next": "/fashion/history"}
    signed_in = client.post(arrives("/login"), data=entered)
    assert signed_in.headers["Location"] == "/fashion/history"
    assert "; Path=/fashion" in signed_in.headers["Set-Cookie"]
    client.environ_base["HTTP_COOKIE"] = signed_in.headers["Set-Cookie"].partition(";")[0]
    assert client.get(arrives("/login?next=/other")).headers["Location"] == "/fashion/"
    result = client.post(arrives("/examples/0"))
    pages = [client.get(arrives(path)) for path in ("/", "/history", "/admin", "/nothing")]
    assert [page.status_code for page in (result, *pages)] == [200, 200, 200, 200, 404]
    links = [link for page in (result, *pages) for link in re.findall(r'(?:href|src|action)="([^"#]+)"', page.text)]
    assert len(links) > 50
    assert [link for link in links if not link.startswith(("/fashion/", "data:"))] == []
    assert "http://localhost/fashion/predict" in pages[0].text
    assert client.get(arrives("/openapi.json")).json["servers"] == [{"url": "/fashion"}]
    script = client.get(arrives("/static/page.js"))
    script.close()  # a static file stays open until then
    assert script.status_code == 200


def test_without_a_sub_path_nothing_changes(client, make_app):
    assert "servers" not in client.get("/openapi.json").json
    untrusted = client.get("/history", headers={"X-Forwarded-Prefix": "/fashion"})
    assert untrusted.headers["Location"] == "/login?next=/history"
    proxied = make_app(trusted_proxies=1).test_client()
    for prefix in ("", "/"):
        assert proxied.get("/history", headers={"X-Forwarded-Prefix": prefix}).headers["Location"] == untrusted.location


@pytest.mark.parametrize(
    "prefix",
    [
        "//evil.example",
        "https://evil.example",
        "fashion",
        "/<script>",
        "/a//b",
        "/a?b",
        "/.",
        "/..",
        "/a/../b",
        "/a/./b",
        "/a/..",
        "/./a",
    ],
)
def test_a_prefix_that_is_no_path_is_refused(make_app, prefix):
    answer = make_app(trusted_proxies=1).test_client().get("/history", headers={"X-Forwarded-Prefix": prefix})
    assert answer.status_code == 400
    assert answer.json["detail"] == "The X-Forwarded-Prefix header is not a path such as /fashion."


@pytest.mark.parametrize("prefix", ["/v1.2", "/...", "/.hidden", "/a..b/c."])
def test_a_prefix_may_contain_dots(make_app, prefix):
    answer = make_app(trusted_proxies=1).test_client().get("/history", headers={"X-Forwarded-Prefix": prefix})
    assert answer.location == f"{prefix}/login?next={prefix}/history"


def test_a_prefix_may_be_one_of_the_servers_own_paths(make_app):
    client = make_app(trusted_proxies=1).test_client()
    paths = {"/": 200, "/login": 200, "/history": 303, "/history/5": 303, "/history/5/picture": 303, "/admin": 303}
    paths |= {"/predict": 405, "/examples/0": 200, "/static/page.js": 200, "/v2": 200, "/v2/health/live": 200}
    paths |= {"/v2/models/fashion_mnist": 200, "/openapi.json": 200, "/no/such/page": 404}
    for prefix in ("/login", "/predict", "/history", "/admin", "/examples", "/static", "/v2", "/v2/models", "/livez"):
        for path, status in paths.items():
            for arriving in (path, prefix + path):  # from a proxy that removes the prefix, and from one that does not
                answer = client.get(arriving, headers={"X-Forwarded-Prefix": prefix, "Accept": "text/html"})
                answer.close()
                assert (arriving, answer.status_code) == (arriving, status)
                assert answer.location is None or answer.location == f"{prefix}/login?next={prefix}{path}"


@pytest.mark.parametrize(
    ("trusted", "values", "first"),
    [
        (1, "a", "a"),
        (1, "forged, a", "a"),
        (2, "a, b", "a"),  # both proxies append
        (2, "a,b", "a"),
        (2, "forged, a, b", "a"),
        (2, "a", "a"),  # the nearest replaces, or passes on what the other set
        (3, "a, b", "a"),  # the outermost or the middle one replaces, and those behind it append
        (2, "", None),
        (2, None, None),
    ],
)
def test_the_scheme_and_the_host_are_the_outermost_trusted_proxys(make_app, trusted, values, first):
    app = make_app(trusted_proxies=trusted)
    seen = []
    app.before_request(lambda: seen.append((request.host, request.scheme, request.remote_addr)))
    headers = {} if values is None else {f"X-Forwarded-{name}": values for name in ("Host", "Proto")}
    app.test_client().get("/livez", headers={"X-Forwarded-For": "192.0.2.1", **headers})
    address = "192.0.2.1" if trusted == 1 else "127.0.0.1"  # to which every proxy appends
    assert seen == [(first or "localhost", first or "http", address)]


@pytest.mark.parametrize("proto", ["https, https", "https", "https, http"])
def test_over_tls_the_cookie_is_bound_to_the_host_or_to_the_sub_path(make_app, accounts, proto):
    accounts.add("ada", "a long password")
    client = make_app(trusted_proxies=2).test_client()
    headers = {"X-Forwarded-Proto": proto, "Origin": "https://localhost"}
    entered = {"name": "ada", "password": "a long password"}
    for prefix, start in (("", "__Host-fashion="), ("/a/b", "__Secure-fashion=")):
        answer = client.post("/login", data=entered, headers={**headers, "X-Forwarded-Prefix": prefix})
        cookie = answer.headers["Set-Cookie"]
        assert cookie.startswith(start)
        assert f"; Path={prefix or '/'}" in cookie
        assert "; Secure" in cookie


def test_predictions_work_below_the_sub_path(make_app, accounts):
    accounts.add("ada", "a long password")
    client = make_app(trusted_proxies=1).test_client()
    body, kind = form(("file", IMAGE))
    headers = {**basic("ada", "a long password"), "X-Forwarded-Prefix": "/fashion"}
    assert client.post("/predict", data=body, content_type=kind, headers=headers).status_code == 200


@pytest.mark.parametrize(
    ("forwarded", "address"),
    [
        ("192.0.2.1", "192.0.2.1"),
        ("192.0.2.1:555", "192.0.2.1"),
        ("2001:DB8::1", "2001:db8::1"),
        ("[2001:db8::1]", "2001:db8::1"),
        ('"[2001:db8::1]:555"', "2001:db8::1"),
        ("fe80::1%a", "fe80::1"),
        ("192.0.2.9, 192.0.2.1:555", "192.0.2.1"),
        *((nonsense, "127.0.0.1") for nonsense in (
            "not-an-ip", "a" * 3000, "192.0.2.1:x", "192.0.2.256", "192.0.2:80", "[::1", "[x]:1", "unknown", "_a:1",
            "1", "192.0.2.1%a", "1:2:3:4:5:6:7:8:555", "[::1]:555:1", "",
        )),
    ],
)  # fmt: skip
def test_a_forwarded_address_is_an_ip_address_or_the_proxys_own(make_app, forwarded, address):
    app = make_app(trusted_proxies=1)
    seen = []
    app.before_request(lambda: seen.append(request.remote_addr))
    app.test_client().get("/livez", headers={"X-Forwarded-For": forwarded})
    assert seen == [address]
