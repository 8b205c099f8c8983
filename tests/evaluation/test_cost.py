import keras
import pytest

from fashion.evaluation.cost import multiply_adds, network_cost

pytestmark = pytest.mark.backend


def test_a_network_counted_by_hand():
    images = keras.Input((8, 8, 2))
    x = keras.layers.Conv2D(4, 3, padding="same", groups=2)(images)  # 64 places, 4 filters of 3 x 3 x 1
    x = keras.layers.DepthwiseConv2D(3, strides=2, padding="same", depth_multiplier=2)(x)  # 16 places, 8 of 3 x 3
    x = keras.layers.BatchNormalization()(x)
    inner = keras.Sequential([keras.Input((4, 4, 8)), keras.layers.Conv2D(3, 1, use_bias=False)])  # 16 places, 3 of 8
    x = keras.layers.Flatten()(inner(x))
    model = keras.Model(images, keras.layers.Dense(10)(x))  # 48 x 10
    counted = network_cost(model)
    assert counted.multiply_adds == 64 * 4 * 9 + 16 * 8 * 9 + 16 * 3 * 8 + 480
    statistics = 2 * 8  # of batch normalisation: a mean and a variance for each channel
    assert counted.parameters == model.count_params() - statistics
    assert multiply_adds(keras.layers.ReLU(), (None, 2)) == 0
