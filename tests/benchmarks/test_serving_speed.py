"""The benchmark asks real servers; docs/benchmarks.md shows what it printed."""

import json

import pytest

from fashion.benchmarks import serving_speed
from fashion.errors import FashionError
from fashion.paths import PRETRAINED, PROJECT

RESULT = json.loads((PROJECT / "results" / "benchmark_serving.json").read_text())


@pytest.mark.process
def test_all_contenders_answer_in_turns():
    result = serving_speed.measure(PRETRAINED, seconds=0.5, rounds=1)
    assert list(result["contenders"]) == list(serving_speed.NAMES)
    for by_clients in result["contenders"].values():
        for load in by_clients.values():
            (turn,) = load["turns"]
            assert load["errors"] == 0
            assert load["requests_per_second"] == turn["requests_per_second"] > 0
            assert 0 < load["p50_ms"] <= load["p99_ms"]
    assert all(name in serving_speed.table(result) for name in serving_speed.NAMES.values())


def test_a_server_that_does_not_start_says_why(small_artifact, tmp_path):
    with pytest.raises(FashionError, match="there is no such model file"):
        serving_speed.measure(tmp_path / "nowhere", seconds=1, rounds=1)


def test_a_time_that_measures_nothing_is_refused(run_command):
    finished = run_command("benchmark.py", "serving", "--seconds", "0")
    assert finished.returncode == 2
    assert finished.stderr == "error: argument --seconds: got '0', expected a whole number from 1; see --help\n"


def test_ratios_compare_turns_of_the_same_round():
    this = RESULT["contenders"]["this"]
    for name, ratios in RESULT["ratios"].items():
        other = RESULT["contenders"][name]
        for key, by_clients in ratios.items():
            for clients, ratio in by_clients.items():
                pairs = zip(this[clients]["turns"], other[clients]["turns"], strict=True)
                single = sorted(ours[key] / theirs[key] for ours, theirs in pairs)
                assert single[0] <= ratio <= single[-1]
    assert not any(load["errors"] for by_clients in RESULT["contenders"].values() for load in by_clients.values())


def test_the_docs_show_the_committed_result():
    assert serving_speed.table(RESULT) in (PROJECT / "docs" / "benchmarks.md").read_text()


def test_the_chart_is_written(tmp_path):
    serving_speed.chart(RESULT, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 10_000
