"""The benchmark measures what it says; docs/benchmarks.md shows what it printed."""

import json

import pytest

from fashion.benchmarks import training_speed
from fashion.benchmarks.contender_process import ContenderProcess
from fashion.errors import FashionError
from fashion.paths import PROJECT

RESULT = json.loads((PROJECT / "results" / "benchmark_training.json").read_text())


@pytest.mark.process
def test_a_contender_is_measured_in_its_own_process(fashion_mnist_root, tmp_path):
    result = training_speed.measure(rounds=1, steps=3, contenders=("tensorflow",))
    (rate,) = result["training"]["all_images_per_second"]["tensorflow"]
    assert result["training"]["images_per_second"] == {"tensorflow": rate}
    assert 10 < rate < 1e6
    assert result["training"]["first_step_seconds"]["tensorflow"] > 2 * 128 / rate
    (gflops,) = result["training"]["all_matrix_product_gflops"]["tensorflow"]
    assert 1 < gflops < 1e6
    # 47.6 million operations train an image.
    assert result["training"]["share_of_roofline"]["tensorflow"] == pytest.approx(rate * 47.58e6 / (gflops * 1e9))
    for batch in (1, 128):
        inference = result["inference"][str(batch)]
        milliseconds = inference["milliseconds"]["tensorflow.compiled"]
        assert inference["images_per_second"]["tensorflow.compiled"] == pytest.approx(1000 * batch / milliseconds)
    assert 300 < result["peak_memory_mb"]["tensorflow"] < 20_000
    assert training_speed.NAMES["tensorflow"] in training_speed.table(result)


@pytest.mark.process
def test_a_contender_that_stops_says_why(tmp_path):
    with pytest.raises(FashionError, match="the contender nonsense stopped: KeyError: 'nonsense'"):
        ContenderProcess("nonsense", tmp_path, tmp_path)


def test_a_count_that_measures_nothing_is_refused(run_command):
    finished = run_command("benchmark.py", "training", "--rounds", "0")
    assert finished.returncode == 2
    assert finished.stderr == "error: argument --rounds: got '0', expected a whole number from 1; see --help\n"


def test_ratios_are_those_of_the_medians():
    rates = RESULT["training"]["images_per_second"]
    for other in ("baseline", "stock_jax"):
        ratios = RESULT["training"][f"times_{other}"]
        assert ratios == pytest.approx({name: rate / rates[other] for name, rate in rates.items()})
    assert set(RESULT["inference"]["1"]["milliseconds"]) >= {"baseline.predict", "jax.compiled", "onnx.compiled"}


def test_a_turn_is_compared_with_the_matrix_product_of_the_same_turn():
    training = RESULT["training"]
    for name, shares in training["all_shares_of_roofline"].items():
        turns = zip(training["all_images_per_second"][name], training["all_matrix_product_gflops"][name], strict=True)
        assert shares == pytest.approx([rate * 47.58e6 / (gflops * 1e9) for rate, gflops in turns])


def test_the_range_of_the_turns_is_shown():
    table = training_speed.table(RESULT)
    rates = RESULT["training"]["all_images_per_second"]["jax"]
    assert f"({min(rates):.0f}-{max(rates):.0f})" in table
    assert "roofline in float32" in table


def test_the_docs_show_the_committed_result():
    assert training_speed.table(RESULT) in (PROJECT / "docs" / "benchmarks.md").read_text()


def test_the_chart_is_written(tmp_path):
    training_speed.chart(RESULT, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 10_000
