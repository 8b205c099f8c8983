"""Rendered photos are what the photo pipeline takes for photos, and equal wherever they are drawn."""

import numpy as np
import pytest
from PIL import Image

from fashion.benchmarks import scenes
from fashion.data.fashion_mnist.idx_files import load_idx_files
from fashion.inference.predictor import Predictor
from fashion.paths import PRETRAINED
from fashion.preprocessing.fashion_mnist import prepare


@pytest.fixture(scope="module")
def test_set(fashion_mnist_root):
    return load_idx_files(fashion_mnist_root, download=False)


@pytest.mark.parametrize("scene", scenes.SCENES, ids=lambda scene: scene.name)
def test_a_scene_is_a_photo_whose_object_is_found(scene, test_set):
    pixels = test_set.test_images[scene.position]
    photo = scenes.render(pixels, scene)
    assert np.array_equal(photo, scenes.render(pixels, scene))
    prepared = prepare(Image.fromarray(photo))
    assert prepared.is_photo
    assert 0.2 < prepared.mask.mean() < 0.6
    # Rotated and cropped, it still covers about as much as the garment it was drawn from.
    assert abs(np.mean(prepared.pixels[..., 0] > 60) - np.mean(pixels > 60)) < 0.25


@pytest.mark.slow
def test_the_scenes_are_named_and_drawn_with_their_answers(test_set, tmp_path):
    predictor, loaded = Predictor.load(PRETRAINED)
    classes = loaded.card.classes
    answered = scenes.answer(test_set.test_images, test_set.test_labels, predictor, classes)
    assert [each.scene.name for each in answered] == [
        each.label.lower().replace(" ", "_").replace("-", "_").removesuffix("/top") for each in answered
    ]
    assert sum(each.answer == each.label for each in answered) >= 4
    rows = scenes.table(answered).splitlines()[1:]
    assert [row.split()[0] for row in rows] == [f"{scene.name}.jpg" for scene in scenes.SCENES]
    scenes.chart(answered, tmp_path / "scenes.png")
    with Image.open(tmp_path / "scenes.png") as figure:
        assert figure.size == (1500, 810)
