"""The named recipes: each can be trained and does what its description says."""

import json
from collections.abc import Iterator

import keras
import pytest
from networks import GREY_28

from fashion import artifact
from fashion.config.build import build
from fashion.config.schema import resolved
from fashion.paths import PROJECT
from fashion.training import fit
from fashion.training.training_settings import prepare_training, start_training

RECIPES = sorted(file.stem for file in (PROJECT / "configs" / "experiment").glob("*.yaml"))
USERS_DATA = {recipe: ["data.root=photos"] for recipe in ("finetune", "from_scratch", "transfer")}
# A large network, as narrow as it can be.
NARROW = {"best": ["model.stem_filters=8", "model.widths=[8,8]", "model.blocks_per_stage=1"]}


@pytest.fixture(autouse=True)
def this_process_stays_in_float32() -> Iterator[None]:
    """Recipes choose the precision of a whole process, which other tests share here."""
    yield
    keras.config.set_dtype_policy("float32")


@pytest.mark.parametrize("recipe", RECIPES)
def test_every_recipe_is_a_configuration_that_can_be_trained(
    recipe, compose_train, tmp_path, keras_backend, monkeypatch
):
    (tmp_path / "photos").mkdir()
    monkeypatch.chdir(tmp_path)
    cfg = compose_train(
        tmp_path, f"experiment={recipe}", f"trainer.backend={keras_backend}", *USERS_DATA.get(recipe, [])
    )
    settings = start_training(resolved(cfg))
    assert settings.epochs >= 1 or settings.linear_probe


@pytest.mark.process
@pytest.mark.backend
@pytest.mark.parametrize("recipe", ["speedrun", "best"])
def test_a_recipe_trains_and_saves_a_model_with_flip_averaging(
    recipe, compose_train, tmp_path, keras_backend, fashion_mnist_root
):
    quick = ["data.limit=500", "trainer.epochs=1", "trainer.batch_size=60", *NARROW.get(recipe, [])]
    where = [f"trainer.backend={keras_backend}", f"data.root={fashion_mnist_root}"]
    fit.train(prepare_training(compose_train(tmp_path, f"experiment={recipe}", *where, *quick)))
    assert json.loads((tmp_path / "result.json").read_text())["status"] == "completed"
    assert "view_average" in {layer.name for layer in artifact.load(tmp_path).model.layers}


def test_tiny_has_under_100_000_parameters(compose_train, tmp_path):
    config = resolved(compose_train(tmp_path, "experiment=tiny"))
    assert build(config["model"], **GREY_28).count_params() < 100_000
