import keras
import numpy as np
import pytest

from fashion.inference.batcher import BATCH_SIZES
from fashion.inference.predictor import Predictor

pytestmark = pytest.mark.backend


@pytest.fixture(scope="module")
def model() -> keras.Model:
    images = keras.Input((28, 28, 1))
    x = keras.layers.Conv2D(4, 3, activation="relu")(images)
    return keras.Model(images, keras.layers.Dense(10, activation="softmax")(keras.layers.Flatten()(x)))


@pytest.mark.parametrize("count", [1, 2, 8, 9, 65, 512, 513, 1100])
def test_any_number_of_images_gives_what_the_model_computes(model, count):
    images = np.random.default_rng(count).integers(0, 256, (count, 28, 28, 1), np.uint8)
    expected = keras.ops.convert_to_numpy(model(images[..., None].astype(np.float32) / 255, training=False))
    predicted = Predictor(model).probabilities(images)
    assert predicted.shape == (count, 10)
    assert predicted.dtype == np.float32
    assert np.allclose(predicted, expected, atol=1e-5)


def test_few_shapes_are_compiled():
    assert len(BATCH_SIZES) <= 4
    assert BATCH_SIZES[0] == 1
