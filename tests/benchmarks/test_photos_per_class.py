"""Random subsets of each size, and the last layer that a run would fit to them."""

import json
import math

import numpy as np
import pytest
from image_folders import write_classes

from fashion.benchmarks import photos_per_class
from fashion.benchmarks.photos_per_class import Labelled
from fashion.config.command import training_configuration
from fashion.errors import InputError
from fashion.paths import PROJECT
from fashion.training.training_settings import check_trainer

RESULT = json.loads((PROJECT / "results" / "benchmark_photos_per_class.json").read_text())
SMALL = ["experiment=transfer", "data.image_size=32", "model=cnn", "model.widths=[4]", "model.dense_units=[6]"]


def test_a_subset_has_as_many_of_each_class_and_differs_by_draw():
    labels = np.array([0] * 30 + [1] * 8 + [2] * 12)
    subsets = [photos_per_class.class_balanced(labels, 5, draw) for draw in range(80)]
    for subset in subsets:
        assert np.bincount(labels[subset]).tolist() == [5, 5, 5]
        assert len(set(subset.tolist())) == 15
    assert np.array_equal(subsets[3], photos_per_class.class_balanced(labels, 5, 3))
    assert set(np.concatenate(subsets).tolist()) == set(range(50))


def test_an_estimate_has_the_t_interval_of_the_mean_and_the_spread_of_the_draws():
    found = photos_per_class.estimate([0.80, 0.84, 0.82, 0.86])
    assert found["mean"] == pytest.approx(0.83)
    deviation = math.sqrt(sum((value - 0.83) ** 2 for value in found["draws"]) / 3)
    assert found["margin"] == pytest.approx(3.18245 * deviation / 2, rel=1e-5)  # of Student's t, 3 degrees of freedom
    assert 0.80 < found["low"] < 0.82
    assert 0.84 < found["high"] < 0.86


@pytest.fixture(scope="module")
def run(tmp_path_factory, keras_backend):
    """The configuration of a run on two classes of different colours, with a small network."""
    folder = tmp_path_factory.mktemp("photos")
    write_classes(folder / "root", {"cat": 20, "dog": 14}, first_seed=0)
    overrides = [*SMALL, f"data.root={folder}/root", f"data.cache={folder}/cache", f"trainer.backend={keras_backend}"]
    config = training_configuration(folder, *overrides)
    return config, check_trainer(config)


def test_each_size_is_drawn_and_all_photos_of_a_run(run, capsys):
    result = photos_per_class.measure(*run, draws=3)
    assert (result["photos"], result["test_photos"], result["classes"]) == (31, 3, 2)
    assert [row["photos_per_class"] for row in result["sizes"]] == [5, 10, None]
    assert [row["photos"] for row in result["sizes"]] == [10, 20, 28]  # of a run, without its validation photos
    assert [len(row["accuracy"]["draws"]) for row in result["sizes"]] == [3, 3, photos_per_class.RUNS]
    for row in result["sizes"]:
        assert all(3 * share == pytest.approx(round(3 * share)) for share in row["accuracy"]["draws"])
    assert "50 photos of each class: left out, a class has only 13" in capsys.readouterr().err


def test_one_draw_is_refused(run):
    with pytest.raises(InputError, match="--draws: got 1, expected 2 or more"):
        photos_per_class.measure(*run, draws=1)


def test_a_limited_pool_is_refused(run):
    config, settings = run
    with pytest.raises(InputError, match=r"data\.limit: got 20, expected null"):
        photos_per_class.measure({**config, "data": {**config["data"], "limit": 20}}, settings, draws=2)


def test_the_layer_is_tested_on_photos_that_it_was_not_fitted_to():
    random = np.random.default_rng(0)
    labels = np.arange(60) % 3
    pool, test = (
        Labelled((np.eye(3)[labels] + 0.01 * random.normal(size=(60, 3))).astype(np.float32), labels, [])
        for _ in range(2)
    )
    wrong = test._replace(labels=np.where(labels == 2, 1, labels))
    row = photos_per_class._row(5, pool, wrong, [np.arange(15), np.arange(15, 30)], balanced=False)
    assert row["accuracy"]["draws"] == pytest.approx([2 / 3] * 2)
    assert row["macro_accuracy"]["draws"] == pytest.approx([(1 + 0.5) / 2] * 2)


def test_the_docs_show_the_committed_result():
    shown = photos_per_class.table(RESULT)
    assert shown in (PROJECT / "docs" / "training.md").read_text()
    assert "| 5 | 20 | " in shown


def test_the_chart_is_written(tmp_path):
    photos_per_class.chart(RESULT, tmp_path / "chart.png")
    assert (tmp_path / "chart.png").stat().st_size > 10_000
