"""Known answers: a sweep's folder written by hand, and what the table and the page must show."""

import csv
import json
import shlex

import pytest

from fashion.errors import FashionError
from fashion.sweeps import results
from fashion.sweeps.manifest import SweepJob, SweepManifest
from fashion.sweeps.sweep_page import write_report

JOBS = [  # optimizer, seed, status, val_accuracy
    ("adam", 0, "completed", 0.80),
    ("adam", 1, "completed", 0.84),
    ("sgd", 0, "completed", 0.86),
    ("sgd", 1, "failed", None),
    ("muon", 0, None, None),
]


@pytest.fixture
def folder(tmp_path):
    jobs = []
    for number, (optimizer, seed, status, accuracy) in enumerate(JOBS):
        job = SweepJob(number, ["model=cnn", f"optimizer={optimizer}", f"trainer.seed={seed}"], {})
        jobs.append(job)
        if status is None:
            continue
        folder = job.folder(tmp_path).path
        (folder / ".hydra").mkdir(parents=True)
        metrics = {} if accuracy is None else {"val_accuracy": accuracy, "val_loss": 1 - accuracy}
        result = {"status": status, "metrics": metrics}
        if status == "failed":
            result["error"] = "FashionError: the loss became <nan>"
        (folder / "result.json").write_text(json.dumps(result))
        (folder / "run.json").write_text(json.dumps({"peak_memory_mb": 700.5}))
        (folder / "history.csv").write_text("epoch,loss,val_loss,seconds\n1,1.5,0.9,2.0\n2,1.0,0.5,1.5\n")
    SweepManifest(["model=cnn"], {"objective": "val_accuracy"}, jobs).write(tmp_path)
    return tmp_path


def test_only_the_keys_that_vary_are_shown(folder):
    assert results.read(folder).varying == ["optimizer", "trainer.seed"]


def test_a_jobs_command_repeats_it_from_the_same_configuration_files(folder):
    manifest = SweepManifest.read(folder)
    for job in manifest.jobs[:2]:
        job.overrides.append("+callbacks.extra=1")
    manifest.sources = ["hydra.searchpath=['/my configs']", "--config-dir=/mine"]
    manifest.write(folder)
    table = results.read(folder)
    assert shlex.split(table.command(table.best[1])) == [
        "python", "scripts/train.py", "model=cnn", "optimizer=adam", "trainer.seed=1", "+callbacks.extra=1",
        "hydra.searchpath=['/my configs']", "--config-dir=/mine",
    ]  # fmt: skip


def test_metrics_are_averaged_over_seeds(folder):
    adam, sgd, muon = results.read(folder).groups
    assert adam.choices == {"optimizer": "adam"}
    assert adam.mean["val_accuracy"] == pytest.approx(0.82)
    assert adam.deviation["val_accuracy"] == pytest.approx(0.0282842712)  # 0.02 * sqrt(2)
    assert sgd.mean["val_accuracy"] == pytest.approx(0.86)
    assert sgd.deviation["val_accuracy"] is None
    assert muon.mean == {}


def test_the_best_job_is_the_best_of_the_best_group(folder):
    table = results.read(folder)
    group, row = table.best
    assert (group.choices["optimizer"], row.number) == ("adam", 1)
    assert table.command(row) == "python scripts/train.py model=cnn optimizer=adam trainer.seed=1"


def test_a_group_with_failed_jobs_is_the_best_only_if_no_group_completed(folder):
    """The mean of the one job that completed may be lucky."""
    (folder / "1" / "result.json").write_text(json.dumps({"status": "failed"}))
    assert results.read(folder).best[1].number == 2


def test_a_loss_is_better_when_lower(folder):
    manifest = json.loads((folder / "sweep.json").read_text())
    manifest["search"]["objective"] = "val_loss"
    (folder / "sweep.json").write_text(json.dumps(manifest))
    assert results.read(folder).best[1].number == 1
    assert [effect.value for effect in results.read(folder).effects()["optimizer"]] == ["sgd", "adam"]


def test_main_effects_are_means_over_everything_else_and_compare_no_seeds(folder):
    effects = results.read(folder).effects()
    assert list(effects) == ["optimizer"]
    sgd, adam = effects["optimizer"]
    assert (sgd.value, sgd.jobs, sgd.mean, sgd.deviation) == ("sgd", 1, 0.86, None)
    assert (adam.value, adam.jobs, adam.mean) == ("adam", 2, pytest.approx(0.82))
    assert adam.deviation == pytest.approx(0.0282842712)


def test_the_page_shows_main_effects_only_where_several_keys_are_compared(folder):
    write_report(folder)
    assert "Main effects" not in (folder / "sweep.html").read_text()
    manifest = SweepManifest.read(folder)
    for job, batch_size in zip(manifest.jobs, (64, 64, 64, 128, 128), strict=True):
        job.overrides.append(f"trainer.batch_size={batch_size}")
    manifest.write(folder)
    write_report(folder)
    page = (folder / "sweep.html").read_text()
    effects = page[page.index("Main effects") : page.index("Learning curves")]
    assert "<button>optimizer</button>" in effects
    assert "<button>trainer.batch_size</button>" in effects
    assert "<button>trainer.seed</button>" not in effects


def test_the_table_has_a_line_for_each_job(folder):
    write_report(folder)
    with (folder / "sweep.csv").open() as stream:
        rows = list(csv.DictReader(stream))
    assert [row["status"] for row in rows] == ["completed", "completed", "completed", "failed", "waiting"]
    assert rows[0]["val_accuracy"] == "0.8"
    assert (rows[0]["epochs"], rows[0]["seconds"], rows[0]["memory_mb"]) == ("2", "3.5", "700.5")
    assert rows[3]["error"] == "the loss became <nan>"
    assert rows[4]["val_accuracy"] == ""


def test_the_page_is_self_contained(folder):
    write_report(folder)
    page = (folder / "sweep.html").read_text()
    assert "the loss became &lt;nan&gt;" in page
    assert "82.00 % ± 2.83" in page
    assert page.count("<polyline") == 4  # val_loss of the four jobs that have a history; none has val_accuracy
    assert not [word for word in ("http://", "https://", "src=", "<link") if word in page]


def test_a_sweep_without_a_manifest_is_found_by_its_jobs(folder):
    (folder / "sweep.json").unlink()
    for number in "0123":
        overrides = [f"optimizer={JOBS[int(number)][0]}", f"trainer.seed={JOBS[int(number)][1]}"]
        (folder / number / ".hydra" / "overrides.yaml").write_text("\n".join(f"- {line}" for line in overrides))
    assert [row.number for row in results.read(folder).rows] == [0, 1, 2, 3]
    with pytest.raises(FashionError, match="is not the folder of a sweep"):
        results.read(folder / "0")


def test_a_report_can_be_made_at_any_time(run_command, folder):
    run = run_command("sweep_report.py", folder)
    assert run.returncode == 0, run.stderr
    assert "3 completed, 1 failed of 5 jobs" in run.stdout
    assert (folder / "sweep.csv").read_text().count("\n") == 6
    assert (folder / "sweep.html").is_file()
    missing = run_command("sweep_report.py", folder / "0")
    assert missing.returncode == 2
    assert "is not the folder of a sweep" in missing.stderr


def test_macro_accuracy_has_a_column_where_classes_are_unequal(folder):
    assert "macro" not in results.read(folder).as_csv()
    path = SweepJob(0, [], {}).folder(folder).path / "result.json"
    result = json.loads(path.read_text())
    result["metrics"]["val_macro_accuracy"] = result["metrics"]["val_accuracy"]
    path.write_text(json.dumps(result))
    assert "macro" not in results.read(folder).as_csv()
    result["metrics"]["val_macro_accuracy"] = 0.125
    path.write_text(json.dumps(result))
    table = results.read(folder)
    assert table.metrics == ["val_accuracy", "val_macro_accuracy", "val_loss", "test_accuracy", "test_loss"]
    assert table.as_csv().splitlines()[1].count("0.125") == 1
    assert table.groups[0].mean["val_macro_accuracy"] == 0.125
