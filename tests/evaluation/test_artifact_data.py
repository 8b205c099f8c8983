"""Which data a model is evaluated on when the command line does not say."""

import json
from dataclasses import replace

import numpy as np
import pytest
import yaml
from data_sets import fashion_like
from hydra.core.config_store import ConfigStore

from fashion.card import read_card
from fashion.data.dataset import Split
from fashion.errors import InputError
from fashion.evaluation import artifact_data
from fashion.evaluation.artifact_data import CHOICE, command_line, own_data, refuse_other_classes, warn_if_redrawn
from fashion.paths import PRETRAINED

FOLDER = {
    "_target_": "fashion.data.folder.folder", "image_size": 64, "color_mode": "rgb", "fit": "crop", "limit": 100,
    "test_fraction": 0.2,
}  # fmt: skip


@pytest.fixture
def artifact(tmp_path):
    """A model's card, as if trained on 100 of the images in a folder of its own."""
    card = json.loads((PRETRAINED / "fashion_mnist_model.json").read_text())
    card["config"]["data"] = FOLDER
    (tmp_path / "mine_model.json").write_text(json.dumps(card))
    (tmp_path / "mine_model.keras").write_bytes(b"")
    return tmp_path


def save_config(folder, **data):
    (folder / ".hydra").mkdir()
    (folder / ".hydra" / "config.yaml").write_text(yaml.safe_dump({"data": data, "trainer": {"epochs": 1}}))


def test_a_card_alone_is_completed_with_the_defaults_of_its_choice(artifact):
    node = own_data(artifact / "mine_model.keras")
    assert {key: node[key] for key in FOLDER if key != "limit"} == {k: v for k, v in FOLDER.items() if k != "limit"}
    assert node["root"] == "???"  # the machine's own, which the card does not have
    assert node["on_bad_image"] == "fail"


def test_all_images_are_evaluated_where_a_run_was_limited(artifact):
    assert own_data(artifact)["limit"] is None


def test_a_run_has_saved_where_its_data_is(artifact):
    save_config(artifact, **FOLDER, root="/my/photos")
    assert own_data(artifact)["root"] == "/my/photos"


def test_the_configuration_of_another_command_in_the_folder_is_not_the_models(artifact):
    save_config(artifact, _target_="fashion.data.fashion_mnist.fashion_mnist", root="/fashion")
    assert own_data(artifact)["root"] == "???"


def test_a_card_of_a_former_release_has_todays_loader():
    node = own_data(PRETRAINED)
    assert node["_target_"] == "fashion.data.fashion_mnist.fashion_mnist"
    assert node["root"] == "${project_folder:data}"


def test_the_command_line_gets_the_artifacts_data_before_its_flags(artifact):
    given = [f"artifact='{artifact}'", "data.limit=5", "--cfg=job"]
    assert command_line(given) == [*given[:2], f"data={CHOICE}", "--cfg=job"]
    assert ConfigStore.instance().load(f"data/{CHOICE}.yaml").node.image_size == 64


@pytest.mark.parametrize("given", [["data=folder", "data.root=x"], ["+data=folder"], ["--help"]])
def test_a_data_set_that_is_named_is_the_one(given):
    assert command_line(given) == given


def test_without_an_artifact_it_is_the_data_of_the_newest_run(artifact, monkeypatch):
    monkeypatch.setattr(artifact_data, "default_model", lambda: artifact)
    for given in ([], ["artifact=null"]):
        assert command_line(given) == [*given, f"data={CHOICE}"]
        assert ConfigStore.instance().load(f"data/{CHOICE}.yaml").node.image_size == 64


def test_a_missing_artifact_is_one_line(tmp_path):
    with pytest.raises(InputError, match=r"there is no such model file"):
        command_line([f"artifact={tmp_path}/none.keras"])


def test_a_changed_data_set_whose_splits_are_drawn_is_warned_of(caplog):
    card = read_card(PRETRAINED / "fashion_mnist_model.json")
    split = Split(np.zeros((1, 28, 28, 1), np.uint8), np.zeros(1, int), np.zeros(1, int))
    fixed = replace(fashion_like(split, split, split), digests={"images": "of today"})
    drawn = replace(fixed, drawn=("test", "validation"))
    same = replace(drawn, digests=card.data.digests)
    for harmless in (replace(fixed, name="other"), same):
        warn_if_redrawn(harmless, card, {"root": "x"})
    assert caplog.text == ""
    # An image moved between given splits, one added, the folder renamed; and another share of the same images.
    for data, config in (
        (fixed, None),
        (drawn, None),
        (replace(drawn, name="other"), None),
        (same, {"test_fraction": 0.3}),
    ):
        caplog.clear()
        warn_if_redrawn(data, card, config)
        assert "is not divided as when fashion_mnist_model.keras was trained" in caplog.text


def test_other_classes_or_images_are_refused():
    card = read_card(PRETRAINED / "fashion_mnist_model.json")
    split = Split(np.zeros((1, 28, 28, 1), np.uint8), np.zeros(1, int), np.zeros(1, int))
    data = fashion_like(split, split, split)
    refuse_other_classes(data, card)
    with pytest.raises(InputError, match=r"data: got 10 classes \(T-shirt/top.*expected those of the model.*2 classes"):
        refuse_other_classes(data, card.model_copy(update={"classes": ["a", "b"]}))
    larger = card.input.model_copy(update={"height": 96, "width": 96, "channels": 3, "preprocessing": "resize"})
    with pytest.raises(InputError, match=r"28 x 28 in grey \(fashion_mnist\), the model takes .* 96 x 96 in colour"):
        refuse_other_classes(data, card.model_copy(update={"input": larger}))
