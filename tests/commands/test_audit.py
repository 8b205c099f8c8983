"""``python scripts/audit.py`` as a user runs it."""

import json

import pytest


def test_an_audit_measures_the_artifact_and_writes_what_it_found(run_command, keras_backend, smoke_run, tmp_path):
    options = (f"backend={keras_backend}", "data.limit=1000", f"artifact={smoke_run[0]}", f"hydra.run.dir={tmp_path}")
    run = run_command("audit.py", *options)
    assert run.returncode == 0, run.stderr
    assert "exact duplicates     0 groups among 2,000 images" in run.stdout
    found = json.loads((tmp_path / "audit.json").read_text())
    promised = json.loads((smoke_run[0] / "result.json").read_text())["metrics"]
    assert found["accuracy"]["all"]["accuracy"] == pytest.approx(promised["test_accuracy"], abs=1e-3)
    assert {path.name for path in tmp_path.glob("*.png")} == {"duplicates.png", "label_errors.png"}


def test_an_audit_of_a_missing_artifact_is_one_line(run_command, tmp_path):
    run = run_command("audit.py", "artifact=/nowhere", f"hydra.run.dir={tmp_path}")
    assert run.returncode == 2
    assert run.stderr.startswith("error: /nowhere: there is no such model file")
    assert run.stderr.count("\n") == 1


def test_explore_refers_to_the_audit_that_it_used_to_run(run_command, tmp_path):
    run = run_command("explore.py", "audit=true", f"hydra.run.dir={tmp_path / 'run'}")
    assert run.returncode == 2
    assert run.stderr.startswith("error: audit: there is no such key")
    assert run.stderr.endswith("did you mean scripts/audit.py?\n")
    assert not (tmp_path / "run").exists()
