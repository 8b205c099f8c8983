"""Exported models: written, measured and kept, or refused, in this process."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from hydra import compose, initialize_config_dir

from fashion.data.fashion_mnist import fashion_mnist
from fashion.errors import FashionError
from fashion.export import agreement
from fashion.export.export_settings import ExportSettings, prepare_export
from fashion.export.formats import FORMATS
from fashion.exported import ExportCard
from fashion.inference.onnx_engine import OnnxEngine
from fashion.inference.predictor import Predictor
from fashion.paths import PROJECT

NAME = "fashion_mnist_model"
LIMIT = 1000


@pytest.fixture
def on_tensorflow(keras_backend):
    if keras_backend != "tensorflow":
        pytest.skip("the converters read a function of TensorFlow")


@pytest.fixture
def copied(small_artifact, tmp_path) -> Path:
    shutil.copytree(small_artifact, tmp_path, dirs_exist_ok=True)
    return tmp_path


@pytest.fixture
def export(on_tensorflow, copied, fashion_mnist_root, starts_processes):
    """Export the small model as the script does, which asks git for the commit."""
    from fashion.export.export import export

    data = {"root": str(fashion_mnist_root), "download": False, "limit": LIMIT, "validation_fraction": 0.1}
    node = {"_target_": "fashion.data.fashion_mnist.fashion_mnist", **data}

    def run(quantise: str = "none", format: str = "onnx") -> Path:
        return export(ExportSettings(data=node, artifact=str(copied), format=format, quantise=quantise))

    return run


def read_card(file: Path) -> ExportCard:
    return ExportCard.model_validate_json(file.with_name(file.name + ".json").read_bytes())


@pytest.mark.backend
def test_the_exported_file_answers_as_the_original_and_its_card_says_so(export, fashion_mnist_root, capsys):
    file = export()
    engine, _ = OnnxEngine.load(file.parent)
    predictor, loaded = Predictor.load(file.parent)
    test = fashion_mnist(str(fashion_mnist_root), False, LIMIT, 0.1, seed=0).test
    ours, theirs = engine.predict(test.images), predictor.predict(test.images)
    assert np.allclose(ours.probabilities, theirs.probabilities, atol=1e-5)
    assert np.allclose(ours.scores, theirs.scores, atol=1e-3)
    card = read_card(file)
    assert card.test.images == card.test.same_class == card.test.same_decision == len(test)
    right = float(np.mean(theirs.probabilities.argmax(axis=1) == test.labels))
    assert card.test.accuracy == card.test.keras_accuracy == pytest.approx(right)
    assert card.test.max_probability_difference == pytest.approx(
        np.abs(ours.probabilities.astype(float) - theirs.probabilities).max(), abs=1e-6
    )
    assert (card.bytes, card.artifact_sha256) == (file.stat().st_size, loaded.card.sha256)
    assert card.milliseconds > 0
    assert f"written        {file}" in capsys.readouterr().out


@pytest.mark.backend
@pytest.mark.parametrize(("format", "quantise"), [("saved_model", "none"), ("litert", "none"), ("litert", "float16")])
def test_other_formats_answer_as_the_original(export, copied, fashion_mnist_root, monkeypatch, format, quantise):
    monkeypatch.setitem(agreement.MAX_DIFFERENCE, "float16", 1.0)  # the model is untrained
    file = export(quantise, format)
    predictor, _ = Predictor.load(copied)
    images = fashion_mnist(str(fashion_mnist_root), False, LIMIT, 0.1, seed=0).test.images[:70]
    ours, theirs = FORMATS[format].load().open_engine(file).predict(images), predictor.predict(images)
    assert np.allclose(ours.probabilities, theirs.probabilities, atol=1e-5 if quantise == "none" else 0.05)
    assert np.allclose(ours.scores, theirs.scores, atol=1e-3 if quantise == "none" else 0.5)
    card = read_card(file)
    assert (card.format, card.quantise) == (format, quantise)
    assert card.bytes > 10_000
    again = export(quantise, format)  # replaces it
    assert again == file
    assert sorted(each.name for each in copied.iterdir()) == sorted(
        [f"{NAME}.json", f"{NAME}.keras", file.name, f"{file.name}.json"]
    )
    monkeypatch.setattr(agreement, "_allowed", lambda quantise, images: -1.0)
    with pytest.raises(FashionError, match="is not kept"):
        export(quantise, format)
    assert read_card(file).sha256
    assert FORMATS[format].load().open_engine(file).predict(images).probabilities.shape == (70, 10)
    assert len(list(copied.iterdir())) == 4


@pytest.mark.backend
def test_quantised_files_are_smaller_and_close(export, fashion_mnist_root, monkeypatch):
    for quantise in ("float16", "int8"):
        monkeypatch.setitem(agreement.MAX_DIFFERENCE, quantise, 1.0)  # the model is untrained
    files = {quantise: export(quantise) for quantise in ("none", "float16", "int8")}
    sizes = {quantise: file.stat().st_size for quantise, file in files.items()}
    assert max(sizes["int8"], sizes["float16"]) < sizes["none"]
    images = fashion_mnist(str(fashion_mnist_root), False, LIMIT, 0.1, seed=0).test.images
    expected = OnnxEngine(files["none"]).predict(images).probabilities
    for quantise, tolerance in (("float16", 1e-3), ("int8", 0.05)):
        difference = np.abs(OnnxEngine(files[quantise]).predict(images).probabilities - expected)
        assert 0 < difference.mean() < tolerance
        assert read_card(files[quantise]).quantise == quantise


@pytest.mark.backend
def test_a_model_that_is_refused_leaves_an_earlier_export_as_it_was(export, copied, monkeypatch):
    monkeypatch.setattr(agreement, "_allowed", lambda quantise, images: -1.0)
    before = sorted(copied.iterdir())
    with pytest.raises(FashionError, match=r"^the exported model is not kept: on \d+ test images its accuracy"):
        export()
    assert sorted(copied.iterdir()) == before
    (copied / f"{NAME}.onnx").write_text("an earlier one")
    with pytest.raises(FashionError, match="is not kept"):
        export()
    assert (copied / f"{NAME}.onnx").read_text() == "an earlier one"


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        (["quantise=int4"], "quantise: got 'int4', expected .*'none', 'float16' or 'int8'"),
        (["format=jpeg"], "format: got 'jpeg', expected .*'onnx'"),
        (["format=saved_model", "quantise=int8"], "quantise: got int8, expected none for format=saved_model"),
        (["artifact=nowhere"], "nowhere: there is no such model file"),
    ],
)
def test_wrong_settings_are_named(copied, overrides, message):
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        cfg = compose("export", [f"artifact={copied}", "data=fashion_mnist", *overrides])
    with pytest.raises(FashionError, match=message):
        prepare_export(cfg, lambda: "")


def test_a_missing_package_is_named_with_its_extra(copied, monkeypatch):
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with initialize_config_dir(str(PROJECT / "configs"), version_base="1.3"):
        cfg = compose("export", [f"artifact={copied}", "data=fashion_mnist"])
    with pytest.raises(FashionError, match=r"needs onnx, which is not installed; .*setup_venv.py --extra export"):
        prepare_export(cfg, lambda: "")
