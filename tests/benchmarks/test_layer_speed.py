"""The benchmark of the layers times stock and fast ones in one process."""

import json

import pytest

from fashion.benchmarks import layer_speed
from fashion.errors import InputError
from fashion.paths import PROJECT


@pytest.mark.process
def test_stock_and_fast_layers_are_timed_on_images_of_the_size_asked_for(capsys):
    result = layer_speed.measure(["resnet"], [32], [3], [4], ["tensorflow"], "float32", rounds=2)
    (case,) = result["cases"]
    assert (case["model"], case["size"], case["channels"], case["batch"], case["used"]) == ("resnet", 32, 3, 4, "fast")
    for layers in ("stock", "fast"):
        assert 0.1 < case[f"{layers}_ms"] <= 1000 * case[f"{layers}_first_seconds"] + 50
    row = layer_speed.table(result).splitlines()[-1]
    assert capsys.readouterr().err == f"{row}\n"
    assert row.startswith("resnet          32 x 32 x 3        4  tensorflow")
    assert f"{case['stock_ms'] / case['fast_ms']:.2f}" in row


@pytest.mark.process
def test_a_network_that_does_not_exist_stops_the_benchmark():
    with pytest.raises(InputError, match="benchmark: nonsense at 32 pixels on jax stopped: "):
        layer_speed.measure(["nonsense"], [32], [1], [4], ["jax"], "float32", rounds=1)


def test_the_docs_show_the_committed_result():
    result = json.loads((PROJECT / "results" / "benchmark_layers.json").read_text())
    assert layer_speed.table(result) in (PROJECT / "docs" / "benchmarks.md").read_text()
    for case in result["cases"]:  # what is used is what was faster, or as fast
        assert case[f"{case['used']}_ms"] <= 1.01 * min(case["stock_ms"], case["fast_ms"])
