"""The headers of every response, health, metrics, logs, and the form of errors."""

import json
import re
import shutil

import keras
import numpy as np
import pytest
from serving import ADMIN, CARD, Server, basic, form, png
from sqlalchemy import select

from fashion import artifact
from fashion.errors import FashionError
from fashion.server.security.authentication import PROXY_HEADERS
from fashion.server.security.headers import HEADERS
from fashion.server.service.served_model import ServedModel
from fashion.server.storage.tables import RequestRow

IMAGE = png(np.arange(784, dtype=np.uint8).reshape(28, 28))


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 200), ("GET", "/static/style.css", 200), ("GET", "/nothing", 404), ("GET", "/predict", 405),
        ("POST", "/predict", 401), ("OPTIONS", "/predict", 200), ("HEAD", "/", 200), ("DELETE", "/livez", 405),
        ("GET", "/static/../app.py", 404), ("GET", "/static/%2e%2e/app.py", 404), ("GET", "/openapi.json", 200),
        ("POST", "/v2/models/fashion_mnist/infer", 401), ("GET", "/v2/models/other", 404), ("GET", "/metrics", 200),
    ],
)  # fmt: skip
def test_every_answer_carries_the_headers(client, method, path, status):
    answer = client.open(path, method=method)
    answer.close()  # a static file stays open until then
    assert answer.status_code == status
    for name, value in HEADERS.items():
        assert answer.headers.getlist(name) == [value]
    assert "unsafe" not in answer.headers["Content-Security-Policy"]
    assert answer.headers["X-Request-ID"]
    assert "Strict-Transport-Security" not in answer.headers
    if status == 405:
        assert answer.headers["Allow"]


def test_the_pages_need_nothing_inline(client, post):
    for page in (client.get("/"), post(IMAGE, headers={**ADMIN, "Accept": "text/html"})):
        assert re.findall("<script[^>]*>[^<]*", page.text) == ['<script type="module" src="/static/page.js">']
        assert not re.findall(r"<style|\sstyle=|\son\w+=|javascript:", page.text)


def test_behind_tls_browsers_get_hsts(make_app):
    proxied = make_app(trusted_proxies=1).test_client()
    answer = proxied.get("/livez", headers={"X-Forwarded-Proto": "https"})
    assert answer.headers["Strict-Transport-Security"].startswith("max-age=31536000")


def test_without_a_trusted_proxy_forwarded_headers_mean_nothing(client):
    headers = {"X-Forwarded-Proto": "https", "X-Forwarded-For": "127.0.0.1"}
    answer = client.get("/metrics", headers=headers, environ_base={"REMOTE_ADDR": "192.0.2.1"})
    assert answer.status_code == 401
    assert "Strict-Transport-Security" not in answer.headers


def test_other_host_names_are_refused(make_app):
    client = make_app(allowed_hosts=["fashion.example", ".example.org"]).test_client()
    for host, status in (("fashion.example", 200), ("a.example.org:5000", 200), ("evil.example", 400)):
        answer = client.get("/openapi.json", headers={"Host": host})
        assert answer.status_code == status
    assert answer.json["detail"] == "This server does not answer to that host name."
    for path in ("/nothing", "/static/nothing", "/history"):
        assert client.get(path, headers={"Host": "evil.example"}).status_code == 400
    assert client.get("/", headers={"Host": "evil.example", "Accept": "text/html"}).status_code == 400


def test_probes_need_no_host_name(make_app):
    """Such as those of a load balancer of AWS, whose Host is the server's address."""
    client = make_app(allowed_hosts=["fashion.example"], platform="sagemaker").test_client()
    for path in ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/ping"):
        assert client.get(path, headers={"Host": "10.0.0.7:8080"}).status_code == 200
    assert client.get("/metrics", headers={"Host": "10.0.0.7:8080"}).status_code == 400
    assert client.post("/invocations", headers={"Host": "10.0.0.7:8080"}).status_code == 400


@pytest.mark.parametrize(
    ("accept", "kind"),
    [
        (None, "application/problem+json"),
        ("*/*", "application/problem+json"),
        ("application/json", "application/problem+json"),
        ("text/html,*/*;q=0.8", "text/html"),
    ],
)
def test_errors_are_problems_or_pages(client, accept, kind):
    answer = client.get("/nothing", headers={"Accept": accept} if accept else {})
    assert answer.status_code == 404
    assert answer.mimetype == kind
    assert "Not Found" in answer.text


def test_a_bug_tells_the_client_nothing(make_app, monkeypatch, caplog):
    app = make_app()

    def fail(images):
        raise RuntimeError("secret detail")

    monkeypatch.setattr(app.services.model, "predict", fail)
    body, kind = form(("file", IMAGE))
    answer = app.test_client().post("/predict", data=body, content_type=kind, headers=ADMIN)
    assert answer.status_code == 500
    assert "secret" not in answer.text
    assert "Traceback" not in answer.text
    assert "secret detail" in caplog.text
    assert answer.json["request_id"] in caplog.text


def test_not_ready_until_the_model_is_loaded_nor_once_it_stops(make_app, small_artifact, keras_backend):
    model = ServedModel(small_artifact, keras_backend)
    client = make_app(model).test_client()
    body, kind = form(("file", IMAGE))

    def statuses():
        paths = ("/livez", "/readyz", "/v2/health/live", "/v2/health/ready", "/v2/models/fashion_mnist/ready")
        return [client.get(path).status_code for path in paths]

    assert statuses() == [200, 503, 200, 503, 503]
    answer = client.post("/predict", data=body, content_type=kind, headers=ADMIN)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    model.load()
    assert statuses() == [200] * 5
    model.stopping.set()
    assert statuses() == [200, 503, 200, 503, 503]
    assert client.post("/predict", data=body, content_type=kind, headers=ADMIN).status_code == 200  # in flight


def test_metrics_count_what_happened(client, post):
    result = post(IMAGE).json
    post(b"text")
    client.post("/predict", headers={"Authorization": "Basic eDp5"})
    text = client.get("/metrics").text
    assert 'fashion_requests_total{method="POST",route="/predict",status="200"} 1.0' in text
    assert 'fashion_requests_total{method="POST",route="/predict",status="415"} 1.0' in text
    assert f'fashion_predictions_total{{predicted_class="{result["predicted_class"]}"}} 1.0' in text
    assert "fashion_login_failures_total 1.0" in text
    assert "fashion_confidence_count 1.0" in text
    assert "fashion_abstentions_total 0.0" in text
    assert "fashion_queue_length 0.0" in text
    for stage in ("decode", "preprocess", "infer"):
        assert f'fashion_stage_seconds_count{{stage="{stage}"}}' in text


def test_metrics_are_for_this_machine_and_for_accounts(client, accounts):
    accounts.add("ada", "a long password")
    ada, elsewhere = basic("ada", "a long password"), {"REMOTE_ADDR": "192.0.2.1"}
    assert client.get("/metrics").status_code == 200
    assert client.get("/metrics", environ_base=elsewhere).status_code == 401
    assert client.get("/metrics", environ_base=elsewhere, headers=ada).status_code == 200
    rebound = {"Host": "evil.example:5000"}  # a page of that name, which now has this machine's address
    for other in (rebound, *({header: "192.0.2.1"} for header in PROXY_HEADERS)):
        assert client.get("/metrics", headers=other).status_code == 401
        assert client.get("/metrics", headers={**other, **ada}).status_code == 200


def test_a_database_that_fails_is_the_servers_fault_for_now(client, post, accounts, caplog):
    with accounts.database.writing() as connection:
        connection.exec_driver_sql("ALTER TABLE accounts RENAME TO elsewhere")
    answer = post(IMAGE)
    assert answer.status_code == 503
    assert answer.headers["Retry-After"] == "5"
    assert answer.json["detail"] == "The server's storage is unavailable; try again later."
    assert "the database cannot be used (no such table: accounts)" in caplog.text
    assert "Traceback" not in caplog.text
    assert client.get("/livez").status_code == 200


def test_a_served_model_stays_the_one_that_was_verified(small_artifact, keras_backend, tmp_path):
    one, other, latest = tmp_path / "one", tmp_path / "other", tmp_path / "latest"
    shutil.copytree(small_artifact, one)
    images = keras.Input((28, 28, 1))
    artifact.save(keras.Model(images, keras.layers.Dense(10)(keras.layers.Flatten()(images))), CARD, other)
    latest.symlink_to(one)
    model = ServedModel(latest, keras_backend)
    latest.unlink()
    latest.symlink_to(other)  # as a training run that finishes in the meantime does
    model.load()
    image = np.zeros((1, 28, 28, 1), np.uint8)
    first = model.probabilities(image)
    shutil.copytree(other, one, dirs_exist_ok=True)
    with pytest.raises(FashionError, match="was replaced after the server started; restart the server"):
        model.load()
    assert np.array_equal(model.probabilities(image), first)


def test_requests_are_kept_in_the_database(make_app, accounts):
    app = make_app()
    body, kind = form(("file", IMAGE))
    result = app.test_client().post("/predict", data=body, content_type=kind, headers=ADMIN).json
    app.services.monitor.request_log.close()
    with accounts.database.reading() as connection:
        row = connection.execute(select(*RequestRow.__table__.columns)).one()
    assert (row.account, row.route, row.status) == ("admin", "/predict", 200)
    assert row.request_id == result["request_id"]
    assert (row.predicted_class, row.confidence) == (result["predicted_class"], result["confidence"])
    assert min(row.decode_ms, row.preprocess_ms, row.infer_ms) > 0
    assert len(row.picture_sha256) == 64


def test_a_request_is_one_json_log_line(server: Server):
    answer = server.predict(IMAGE, **{"X-Request-ID": "line-1"})
    assert answer.status == 200
    (line,) = (line for line in server.lines("request") if line["request_id"] == "line-1")
    assert set(line) == {
        "timestamp", "level", "message", "request_id", "address", "account", "method", "route", "status", "ms",
        "decode_ms", "preprocess_ms", "infer_ms", "picture_sha256", "predicted_class", "confidence", "decision",
    }  # fmt: skip
    assert line["predicted_class"] == answer.json["predicted_class"]
    log = server.log()
    assert "p.png" not in log
    assert ADMIN["Authorization"].split()[1] not in log
    assert all(json.loads(text) for text in log.splitlines())
