"""The benchmark of backends and precisions compares the one that ``auto`` chooses with the fastest."""

import contextlib
import json

import pytest

from fashion.benchmarks import precision_speed
from fashion.config.command import training_configuration
from fashion.paths import PROJECT
from fashion.training.auto_settings import fastest

QUICK = ("model.widths=[4]", "model.dense_units=[4]", "data.limit=2000")


@pytest.mark.process
def test_a_recipe_is_trained_for_some_steps_in_a_process(fashion_mnist_root, monkeypatch, tmp_path):
    auto = fastest(training_configuration(tmp_path, "experiment=smoke"), precision_speed.find_processor()).values
    monkeypatch.setattr(precision_speed, "COMBINATIONS", ((auto["backend"], auto["precision"]),))
    result = precision_speed.measure(["smoke"], QUICK, rounds=1, steps=2)
    (recipe,) = result["recipes"]
    (((milliseconds,),),) = [list(recipe["step_ms"].values())]
    assert 0.1 < milliseconds < 10_000
    assert recipe["batch_size"] == 128
    assert recipe["times_fastest"] == 1
    assert "smoke             128 " in precision_speed.table(result)


def test_auto_is_compared_with_the_fastest_median(monkeypatch, tmp_path):
    seconds = {"tensorflow float32": [3, 9, 4], "tensorflow mixed_bfloat16": [8] * 3, "jax float32": [1] * 3}
    asked = []

    class Process:
        """Answers with the next of the given times."""

        def ask(self, do: str, steps: int) -> dict[str, float]:
            return {"seconds": seconds.get(self.way, [2] * 3)[asked.count(self.way) - 1] * steps}

    @contextlib.contextmanager
    def running(name, folder, *overrides):
        process = Process()
        process.way = " ".join(each.partition("=")[2] for each in overrides[-2:])
        asked.append(process.way)
        yield process

    monkeypatch.setattr(precision_speed, "running", running)
    result = precision_speed.measure(["efficientnetb0"], [], rounds=3, steps=5)
    (recipe,) = result["recipes"]
    assert recipe["step_ms"]["tensorflow float32"] == [3000, 9000, 4000]
    assert (recipe["auto"], recipe["times_fastest"]) == ("tensorflow float32", 4)
    assert asked == [" ".join(each) for each in precision_speed.COMBINATIONS] * 3  # in turns
    assert precision_speed.table(result).splitlines()[-1].split() == (
        ["efficientnetb0", "128", "1000.0", "2000.0", "4000.0", "8000.0", "tensorflow", "float32", "4.00"]
    )


def test_the_docs_show_the_committed_result_and_auto_is_nowhere_far_from_the_fastest():
    result = json.loads((PROJECT / "results" / "benchmark_precision.json").read_text())
    assert precision_speed.table(result) in (PROJECT / "docs" / "benchmarks.md").read_text()
    assert max(row["times_fastest"] for row in result["recipes"]) <= 1.15
