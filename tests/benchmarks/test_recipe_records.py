"""Recipes over seeds: real runs, the table, and the one in docs/benchmarks.md."""

import json
import os
import shutil
import statistics

import pytest

from fashion.benchmarks import recipe_records
from fashion.benchmarks.recipe_records import TrainedRun, Where
from fashion.errors import FashionError
from fashion.paths import PROJECT
from fashion.runs.folder import RunFolder

WHERE = Where("jax", "cpu:0", {"processor": "P", "cores": 2}, {"keras": "3"})


def run(accuracy: float, seconds: float = 10.0, **where: str) -> TrainedRun:
    return TrainedRun(
        accuracy,
        seconds,
        total_seconds=seconds + 5,
        parameters=1000,
        multiply_adds=2000,
        measured="2026-11-26",
        commit="abc1234",
        where=WHERE._replace(**where),
    )


def test_two_seeds_of_a_recipe_are_trained_once_and_make_a_row(run_command, fashion_mnist_root, tmp_path):
    root = f"data.root={fashion_mnist_root}"
    folders = ("--folder", str(tmp_path / "benchmarks"), "--runs", str(tmp_path / "runs"))
    auto = "trainer.precision=auto"  # the runs' own decision is not another configuration
    command = ("benchmark.py", "records", "smoke", "trainer.epochs=1", auto, "--seeds", "2", root, *folders)
    finished = run_command(*command)
    assert finished.returncode == 0, finished.stderr
    (row,) = json.loads((tmp_path / "benchmarks" / "records.json").read_text())["rows"]
    runs = sorted((tmp_path / "runs").glob("*/seed_*"))
    results = [json.loads((each / "result.json").read_text())["metrics"]["test_accuracy"] for each in runs]
    assert row["accuracies"] == results
    assert results[0] != results[1]
    assert row["accuracy_mean"] == pytest.approx(statistics.mean(results))
    assert row["accuracy_deviation"] == pytest.approx(statistics.stdev(results))
    assert row["measured"] == json.loads((runs[1] / "run.json").read_text())["started"][:10]
    assert (row["recipe"], row["overrides"]) == ("smoke", ["trainer.epochs=1", auto, root])
    assert 0 < row["seconds"] < row["total_seconds"]
    assert row["commit"] == str(RunFolder(runs[0]).read_record().git or "not recorded")
    assert row["command"] == f"python scripts/benchmark.py records smoke trainer.epochs=1 {auto} {root} --seeds 2"
    assert (tmp_path / "benchmarks" / "records.png").stat().st_size > 10_000

    card = json.loads(RunFolder(runs[0]).card.read_text())
    del card["config"]["trainer"]["hardest_to_epoch"]  # as if trained before there was such a key
    RunFolder(runs[0]).card.write_text(json.dumps(card))
    before = [(each / "run.json").read_text() for each in runs]
    again = run_command(*command)
    assert again.stdout == finished.stdout
    assert [(each / "run.json").read_text() for each in runs] == before

    shutil.copytree(runs[0], runs[1], dirs_exist_ok=True)  # a run of other settings, as when a recipe has changed since
    refused = run_command(*command)
    assert refused.returncode == 2
    assert refused.stderr.splitlines()[-1].startswith(
        f"error: {runs[1]}: trained with another configuration than the recipe has now; remove"
    )
    assert [(each / "run.json").read_text() for each in runs] == [before[0], before[0]]


def test_a_recipe_that_does_not_exist_is_one_line(run_command, tmp_path):
    finished = run_command("benchmark.py", "records", "sprint", "--runs", str(tmp_path), "--folder", str(tmp_path))
    assert finished.returncode == 2
    assert finished.stderr.startswith("error: experiment=sprint trainer.seed=0: ")
    assert finished.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("override", "message"),
    [
        (
            "trainer.seed=3",
            "trainer.seed=3: trainer.seed is set by the benchmark itself; see --seeds, --runs and RECIPE",
        ),
        ("++hydra.run.dir=x", "++hydra.run.dir=x: hydra.run.dir is set by the benchmark itself"),
        ("fast", "fast: expected KEY=VALUE, an override of the recipe"),
        ("--fast", "unrecognized arguments: --fast"),
    ],
)
def test_a_reserved_override_is_one_line(run_command, tmp_path, override, message):
    finished = run_command("benchmark.py", "records", "smoke", "--runs", str(tmp_path), override)
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: {message}")
    assert finished.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("content", ["", "[]", "{}"])
def test_a_damaged_file_of_records_is_refused_before_the_training(run_command, tmp_path, content):
    (tmp_path / "records.json").write_text(content)
    finished = run_command("benchmark.py", "records", "smoke", "--runs", str(tmp_path), "--folder", str(tmp_path))
    assert finished.returncode == 2
    assert finished.stderr.startswith(f"error: {tmp_path / 'records.json'}: cannot be read (")
    assert os.listdir(tmp_path) == ["records.json"]


def test_a_folder_that_cannot_be_made_is_refused_before_the_measurement(run_command, tmp_path):
    (tmp_path / "file").touch()
    finished = run_command("benchmark.py", "layers", "--folder", tmp_path / "file")
    assert finished.returncode == 2
    assert finished.stderr == f"error: --folder: {tmp_path / 'file'} cannot be used (File exists); choose another\n"


def test_a_row_of_one_run_has_no_deviation():
    row = recipe_records.make_row("a", [], [0], [run(0.94)])
    assert row["accuracy_deviation"] is None
    assert "94.00 %  " in recipe_records.table({"rows": [row]})


def test_runs_of_two_machines_make_no_row():
    with pytest.raises(FashionError, match="a: its runs are of different machines or versions"):
        recipe_records.make_row("a", [], [0, 1], [run(0.9), run(0.9, backend="tensorflow")])


def test_a_fresh_row_replaces_the_old_one_and_rows_are_sorted_by_seconds():
    slow, quick = (
        recipe_records.make_row("slow", [], [0], [run(0.9, 100)]),
        recipe_records.make_row("quick", [], [0], [run(0.8, 10)]),
    )
    rows = recipe_records.merged([slow], quick)
    assert [row["recipe"] for row in rows] == ["quick", "slow"]
    better = recipe_records.make_row("slow", [], [0], [run(0.95, 100)])
    assert recipe_records.merged(rows, better) == [quick, better]


def test_rows_of_several_machines_are_listed_together(tmp_path):
    here = recipe_records.make_row("a", [], [0, 1], [run(0.94), run(0.95)])
    device = "gpu:0 (NVIDIA H100 80GB HBM3)"
    there = recipe_records.make_row("a", ["trainer.backend=jax"], [0], [run(0.96, 3, device=device)])
    rows = recipe_records.merged([here], there)
    assert rows == [here, there]
    assert recipe_records.merged(rows, here) == rows
    head, first, second, overrides, _, *places = recipe_records.table({"rows": rows}).splitlines()
    assert len(head) == len(first) == len(second)
    assert overrides == "  trainer.backend=jax"
    assert (first[-3:], second[-3:]) == ("  1", "  2")
    assert places == ["1: P, 2 cores; keras 3", f"2: {device} beside P, 2 cores; keras 3"]
    recipe_records.chart({"rows": rows}, tmp_path / "both.png")
    recipe_records.chart({"rows": [here]}, tmp_path / "here.png")
    assert (tmp_path / "both.png").read_bytes() == (tmp_path / "here.png").read_bytes()


def test_the_docs_show_the_committed_rows():
    result = json.loads((PROJECT / "results" / "records.json").read_text())
    assert recipe_records.table(result) in (PROJECT / "docs" / "benchmarks.md").read_text()
