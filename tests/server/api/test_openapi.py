"""``/openapi.json`` is true: what it allows is answered as it says, what it forbids is refused, nothing gives a 5xx."""

import re
import subprocess
import sys
from pathlib import Path

from serving import ADMIN, Server

# Forms for people, which programs have no use for.
FORMS = ("login.", "history.", "admin.", "web.example", "web.try_example")


def test_every_operation_is_described(client):
    described = {
        (method.upper(), path)
        for path, operations in client.get("/openapi.json").json["paths"].items()
        for method in operations
    }
    served = {
        (method, re.sub(r"<(\w+)>", r"{\1}", rule.rule))
        for rule in client.application.url_map.iter_rules()
        for method in rule.methods - {"HEAD", "OPTIONS"}
        if rule.endpoint != "static" and not rule.endpoint.startswith(FORMS)
    }
    assert described == served


def test_a_fuzzer_that_reads_it_finds_nothing(start_server, tmp_path):
    server: Server = start_server().wait_until_ready()
    finished = subprocess.run(
        [
            str(Path(sys.executable).with_name("schemathesis")),
            "run",
            f"http://127.0.0.1:{server.port}/openapi.json",
            "--header=Authorization: " + ADMIN["Authorization"],
            "--max-examples=40",
            "--seed=0",
            # No schema can say which bytes are an image, so what the fuzzer makes up is rightly refused.
            "--exclude-checks=positive_data_acceptance",
        ],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        timeout=120,
    )
    assert finished.returncode == 0, finished.stdout
    assert not [line for line in server.lines("request") if line["status"] >= 500 and line["route"] != "/readyz"]
