"""Readiness: the server takes no traffic while predictions cannot be answered, and says why."""

import pytest
from PIL import Image
from serving import ADMIN, form, png

from fashion.server.service import readiness
from fashion.server.service.served_model import ServedModel

IMAGE = png(Image.new("L", (28, 28)))


@pytest.fixture
def always_checked(monkeypatch):
    monkeypatch.setattr(readiness, "CHECK_SECONDS", 0)


def metric(client, line: str) -> bool:
    return line in client.get("/metrics").text


def test_without_redis_the_server_starts_but_is_not_ready(make_app):
    client = make_app(redis_url="redis://127.0.0.1:1/0").test_client()
    answer = client.get("/readyz")
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "5")
    assert answer.json["detail"] == "Redis is unavailable, so nobody can log in."
    for path in ("/v2/health/ready", "/v2/models/fashion_mnist/ready"):
        answer = client.get(path)
        assert (answer.status_code, answer.json) == (503, {"error": "Redis is unavailable, so nobody can log in."})
    body, kind = form(("file", IMAGE))
    assert client.post("/predict", data=body, content_type=kind, headers=ADMIN).status_code == 503
    assert [client.get(path).status_code for path in ("/livez", "/v2/health/live", "/", "/metrics")] == [200] * 4
    assert metric(client, 'fashion_unavailable_total{reason="redis",route="/predict"} 1.0')


def test_without_the_database_the_server_is_not_ready_until_it_is_back(make_app, accounts, always_checked):
    client = make_app().test_client()
    assert client.get("/readyz").status_code == 200
    for old, new, status in (("accounts", "elsewhere", 503), ("elsewhere", "accounts", 200)):
        with accounts.database.writing() as connection:
            connection.exec_driver_sql(f"ALTER TABLE {old} RENAME TO {new}")
        answer = client.get("/readyz")
        assert answer.status_code == status
        if status == 503:
            assert answer.json["detail"] == "The database is unavailable, so nobody can log in."


def test_a_model_that_is_being_loaded_is_no_server_error(make_app, small_artifact, keras_backend):
    client = make_app(ServedModel(small_artifact, keras_backend)).test_client()
    body, kind = form(("file", IMAGE))
    answer = client.post("/predict", data=body, content_type=kind, headers=ADMIN)
    assert (answer.status_code, answer.json["detail"]) == (503, "The model is being loaded.")
    assert metric(client, 'fashion_unavailable_total{reason="not_ready",route="/predict"} 1.0')


def test_probes_do_not_wait_for_a_check_nor_repeat_it(served_model):
    checked = []

    def check() -> None:
        checked.append(1)
        ready.require()  # as another thread would, during the check

    ready = readiness.Readiness(served_model, check)
    ready.require()
    ready.require()
    assert checked == [1]
