import hashlib
import json
import zipfile

import keras
import numpy as np
import pytest

from fashion import artifact
from fashion.card import Card, SplitScores
from fashion.errors import FashionError

pytestmark = pytest.mark.backend

COLOUR = {"height": 32, "width": 32, "channels": 3, "preprocessing": "resize"}
CARD = Card(classes=list("abcdefghij"), seed=0, backend="jax", test=SplitScores(accuracy=0.1, images=10), config={})


def small_model() -> keras.Model:
    images = keras.Input((28, 28, 1))
    return keras.Model(images, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(images)))


@pytest.fixture
def saved(tmp_path):
    return artifact.save(small_model(), CARD, tmp_path)


def test_a_saved_model_is_loaded(tmp_path):
    model = small_model()
    path = artifact.save(model, CARD, tmp_path)
    images = np.random.default_rng(0).random((3, 28, 28, 1), np.float32)
    for place in (path, tmp_path):
        loaded = artifact.load(place)
        assert np.allclose(loaded.model(images), model(images), atol=1e-6)
        assert loaded.card.classes == list("abcdefghij")
        assert loaded.path == path


def test_a_link_to_a_run_is_followed_once(saved, tmp_path):
    """What is written beside the model later must not go to the run that the link leads to by then."""
    latest = tmp_path / "latest"
    latest.symlink_to(tmp_path)
    assert artifact.load(latest).path == artifact.load(latest / saved.name).path == saved


def test_a_model_that_cannot_be_read_is_one_line(saved, monkeypatch):
    def denied(*_):
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(artifact, "_sha256", denied)
    with pytest.raises(FashionError, match=r"_model\.keras: cannot be read \(Permission denied\); copy it again"):
        artifact.verify(saved)


def rewrite(path, change) -> None:
    """Change the model's configuration inside the file, and let the card agree with it."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    config = json.loads(members["config.json"])
    change(config)
    members["config.json"] = json.dumps(config).encode()
    with zipfile.ZipFile(path, "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    card = path.with_suffix(".json")
    card.write_text(
        json.dumps(json.loads(card.read_text()) | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()})
    )


def layer_of_another_package(config):
    config["config"]["layers"][1] |= {"module": "os", "class_name": "system"}


def lambda_layer(config):
    config["config"]["layers"][1] |= {"module": "keras.layers", "class_name": "Lambda"}


def custom_activation(config):
    config["config"]["layers"][2]["config"]["activation"] = {
        "module": "builtins", "class_name": "function", "config": "system", "registered_name": "function",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("change", "named"),
    [
        (layer_of_another_package, "os.system"),
        (lambda_layer, "keras.layers.Lambda"),
        (custom_activation, "builtins.function"),
    ],
)
def test_code_other_than_keras_own_layers_is_refused_before_it_runs(saved, monkeypatch, change, named):
    rewrite(saved, change)
    monkeypatch.setattr(keras.saving, "load_model", lambda *args, **kwargs: pytest.fail("it was loaded"))
    with pytest.raises(FashionError, match=f"contains {named}, expected only Keras's own layers"):
        artifact.load(saved)


def test_a_layer_unknown_to_keras_is_one_sentence(saved):
    def unknown(config):
        config["config"]["layers"][1] |= {"module": "keras.layers", "class_name": "Conv9D"}

    rewrite(saved, unknown)
    with pytest.raises(FashionError, match="Keras cannot load it"):
        artifact.load(saved)


def change_byte(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def cut(path):
    path.write_bytes(path.read_bytes()[:100])


def not_a_model(path):
    path.write_text("hello")
    card = path.with_suffix(".json")
    card.write_text(json.dumps(CARD.to_json() | {"sha256": hashlib.sha256(path.read_bytes()).hexdigest()}))


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (change_byte, "its SHA-256 is .*, the card beside it was written for"),
        (cut, "its SHA-256 is .*, the card beside it was written for"),
        (not_a_model, "is not a .keras file"),
        (lambda path: path.with_suffix(".json").unlink(), "the model's card is missing"),
        (lambda path: path.with_suffix(".json").write_text("{"), "cannot be read as JSON"),
        (
            lambda path: path.with_suffix(".json").write_text("[1]"),
            "lacks backend, classes, config, seed, sha256, test",
        ),
        (lambda path: path.unlink(), "there is no such model file"),
    ],
    ids=["changed", "cut", "not a model", "no card", "broken card", "odd card", "no model"],
)
def test_a_damaged_artifact_is_refused(saved, damage, message):
    damage(saved)
    with pytest.raises(FashionError, match=message):
        artifact.load(saved)


@pytest.mark.parametrize(
    "entry",
    [{"threshold": 1}, {"statistics": "AAAA", "statistics_sha256": "0"}, {"statistics": "?", "statistics_sha256": "0"}],
)
def test_damaged_statistics_are_refused(saved, entry):
    card = saved.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | {"abstention": entry}))
    with pytest.raises(FashionError, match="abstention statistics are damaged; copy the card again"):
        artifact.verify(saved)


@pytest.mark.parametrize(
    ("entry", "described"), [({"classes": ["a", "b"]}, "28 x 28 x 1 to 2"), ({"input": COLOUR}, "32 x 32 x 3 to 10")]
)
def test_a_card_that_describes_other_shapes_is_refused(saved, entry, described):
    card = saved.with_suffix(".json")
    card.write_text(json.dumps(json.loads(card.read_text()) | entry))
    message = f"takes 28 x 28 x 1 to 10 classes, its card describes {described} classes; copy both files again"
    with pytest.raises(FashionError, match=message):
        artifact.load(saved)


def test_a_file_of_another_kind_is_refused(tmp_path):
    (tmp_path / "model.h5").write_bytes(b"\x89HDF")
    with pytest.raises(FashionError, match=r"got a \.h5 file, expected a \.keras file"):
        artifact.load(tmp_path / "model.h5")
