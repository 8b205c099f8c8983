"""Every model satisfies the contract; EfficientNetB0 is the paper's, without the two traps of Keras's."""

import keras
import numpy as np
import pytest
from hydra.utils import instantiate
from networks import COLOUR_PIXELS, GREY_28, Images, images_of
from omegaconf import OmegaConf

from fashion.data.dataset import PixelStatistics
from fashion.data.fashion_mnist import PIXELS, fashion_mnist
from fashion.models.blocks import image_input, standardise, stem_stride_for
from fashion.models.efficientnetb0 import efficientnetb0
from fashion.models.resnet import resnet
from fashion.models.wide_resnet import wide_resnet
from fashion.paths import PROJECT

PAPER_STRIDES = [1, 2, 2, 2, 1, 2, 1]
HALVED_FIVE_TIMES = ("efficientnet", "keras_application")  # deep networks, which take a second to build
MODELS = [
    pytest.param(file.stem, marks=pytest.mark.slow if file.stem.startswith(HALVED_FIVE_TIMES) else ())
    for file in sorted((PROJECT / "configs" / "model").glob("*.yaml"))
]


def build(name: str, images: Images = GREY_28) -> keras.Model:
    node = OmegaConf.load(PROJECT / "configs" / "model" / f"{name}.yaml")
    if name == "keras_application":
        node.weights = None  # those of ImageNet are downloaded
    return instantiate(node, _convert_="all", **images)


@pytest.mark.backend
@pytest.mark.parametrize("name", MODELS)
def test_every_model_satisfies_the_contract(name):
    model = build(name)
    assert model.input_shape == (None, 28, 28, 1)
    assert model.input.dtype == "float32"
    probabilities = keras.ops.convert_to_numpy(model(np.random.default_rng(0).random((3, 28, 28, 1), np.float32)))
    assert probabilities.shape == (3, 10)
    assert probabilities.dtype == np.float32
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)
    assert all(type(layer).__module__.startswith("keras.") for layer in model.layers)


@pytest.mark.backend
def test_oblong_colour_images_are_classified_in_mixed_precision_too():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = resnet(4, "auto", [4, 8], 1, 0.9, 0.0, input_shape=(49, 66, 3), classes=2, pixels=COLOUR_PIXELS)
    finally:
        keras.config.set_dtype_policy("float32")
    assert model.get_layer("standardise").compute_dtype == "bfloat16"
    probabilities = keras.ops.convert_to_numpy(model(np.random.default_rng(0).random((2, 49, 66, 3), np.float32)))
    assert (probabilities.shape, probabilities.dtype) == ((2, 2), np.float32)
    assert np.allclose(probabilities.sum(axis=1), 1, atol=1e-5)


@pytest.mark.backend
def test_each_colour_channel_is_standardised_by_its_own_statistics():
    inputs = image_input((5, 7, 3))
    model = keras.Model(inputs, standardise(inputs, COLOUR_PIXELS))
    images = np.random.default_rng(0).random((2, 5, 7, 3), np.float32)
    expected = (images - np.array(COLOUR_PIXELS.mean)) / np.array(COLOUR_PIXELS.deviation)
    assert np.allclose(keras.ops.convert_to_numpy(model(images)), expected, atol=1e-5)


def test_a_constant_channel_is_only_centred():
    inputs = image_input((2, 2, 3))
    model = keras.Model(inputs, standardise(inputs, PixelStatistics((0.5, 0.5, 0.25), (0.5, 0.5, 0.0))))
    out = keras.ops.convert_to_numpy(model(np.full((1, 2, 2, 3), 0.25, np.float32)))
    assert np.allclose(out, [-0.5, -0.5, 0.0])


LAST_LAYERS = {"cnn": "flatten", "keras_application": "avg_pool"}  # the others: "pool"
# Side of the images: sides of the maps that each network reduces to one vector, with the settings of its file.
MAPS = {
    28: {"cnn": 7, "resnet": 7, "wide_resnet": 7, "halved five times": 1},
    32: {"cnn": 8, "resnet": 8, "wide_resnet": 8, "halved five times": 1},
    64: {"cnn": 8, "resnet": 8, "wide_resnet": 8, "halved five times": 2},
    96: {"cnn": 8, "resnet": 12, "wide_resnet": 12, "halved five times": 3},
    100: {"cnn": 7, "resnet": 13, "wide_resnet": 13, "halved five times": 4},
    128: {"cnn": 8, "resnet": 8, "wide_resnet": 8, "halved five times": 4},
    224: {"cnn": 8, "resnet": 14, "wide_resnet": 14, "halved five times": 7},
    384: {"cnn": 8, "resnet": 24, "wide_resnet": 24, "halved five times": 12},
}


@pytest.mark.parametrize("name", MODELS)
def test_the_maps_stay_small_at_every_size(name):
    parameters = set()
    for side, maps in MAPS.items():
        if name.startswith(HALVED_FIVE_TIMES) and side not in (28, 100, 224):
            continue
        model = build(name, images_of(side, 3, classes=5))
        assert model.input_shape == (None, side, side, 3)
        assert model.output_shape == (None, 5)
        last = model.get_layer(LAST_LAYERS.get(name, "pool")).input
        assert (side, *last.shape[1:3]) == (side, *[maps.get(name, maps["halved five times"])] * 2)
        parameters.add(model.count_params())
    assert max(parameters) < 1.4 * min(parameters)


@pytest.mark.parametrize(("side", "stride"), [(28, 1), (47, 1), (48, 2), (127, 2), (128, 4), (384, 4)])
def test_the_stem_reduces_large_images(side, stride):
    assert stem_stride_for((side, 2 * side, 3), "auto") == stem_stride_for((2 * side, side, 1), "auto") == stride
    assert stem_stride_for((side, side, 3), 2) == 2


@pytest.mark.parametrize("name", MODELS)
def test_no_two_kernels_start_equal(name):
    kernels = [v for v in build(name).trainable_variables if v.name in {"kernel", "depthwise_kernel"}]
    first = {float(keras.ops.convert_to_numpy(kernel).ravel()[0]) for kernel in kernels}
    assert len(first) == len(kernels)


def baseline_features() -> keras.Model:
    model = efficientnetb0(28, 2, PAPER_STRIDES, "divide_by_255", 0.99, 0.2, [128], 0.0, **GREY_28)
    return keras.Model(model.input, model.get_layer("head_activation").output)


@pytest.mark.slow
@pytest.mark.backend
def test_efficientnetb0_computes_what_keras_computes():
    """Known answer: with equal weights, equal features. The baseline's settings are those of Keras's own network."""
    reference = keras.applications.EfficientNetB0(
        include_top=False, weights=None, input_tensor=keras.Input((28, 28, 1))
    )
    ours = baseline_features()
    random = np.random.default_rng(0)
    for variable in reference.weights:
        if variable.path.startswith("normalization"):  # not adapted: the identity, which ours leaves out
            continue
        positive = variable.name in {"gamma", "moving_variance"}
        values = random.uniform(0.1, 0.2, variable.shape) if positive else random.normal(0, 0.05, variable.shape)
        variable.assign(values)
    ours.set_weights([
        keras.ops.convert_to_numpy(v) for v in reference.weights if not v.path.startswith("normalization")
    ])  # fmt: skip
    images = random.random((2, 28, 28, 1), np.float32)
    expected = keras.ops.convert_to_numpy(reference([images]))
    assert np.abs(expected).max() > 0.01
    assert np.allclose(keras.ops.convert_to_numpy(ours(images)), expected, atol=1e-6)


def activation_scale_after_stem(scaling: str, images: np.ndarray) -> float:
    model = efficientnetb0(32, 2, PAPER_STRIDES, scaling, 0.9, 0.2, [128], 0.0, **GREY_28)
    stem = keras.Model(model.input, model.get_layer("stem_norm").output)
    return float(np.std(keras.ops.convert_to_numpy(stem(images, training=True))))


def test_the_stem_sees_pixels_of_a_scale_that_batch_normalisation_can_handle(fashion_mnist_root):
    data = fashion_mnist(str(fashion_mnist_root), False, 2000, 0.1, seed=0)
    images = data.train.images[:512].astype(np.float32) / 255
    assert activation_scale_after_stem("standardise", images) == pytest.approx(1, abs=0.05)
    # The trap: divided by 255 twice, the stem's variance drowns in batch normalisation's epsilon.
    assert activation_scale_after_stem("divide_by_255", images) < 0.3


def test_the_standardising_constants_are_those_of_the_training_images(fashion_mnist_root):
    data = fashion_mnist(str(fashion_mnist_root), False, None, 0.1, seed=0)
    pixels = np.concatenate([data.train.images, data.validation.images]).astype(np.float64) / 255
    assert pixels.mean() == pytest.approx(PIXELS.mean[0], abs=5e-5)
    assert pixels.std() == pytest.approx(PIXELS.deviation[0], abs=5e-5)


def test_strides_decide_what_is_left_of_an_image():
    small = efficientnetb0(32, 1, [1, 2, 1, 2, 1, 1, 1], "standardise", 0.9, 0.2, [], 0.0, **GREY_28)
    assert small.get_layer("head_activation").output.shape[1:3] == (8, 8)
    small = resnet(4, 2, [8, 8], 1, 0.9, 0.0, **GREY_28)
    assert small.get_layer("stage1_block1_activation").output.shape[1:3] == (14, 14)
    assert small.get_layer("stage2_block1_activation").output.shape[1:3] == (7, 7)


def test_a_wide_residual_network_has_the_parameters_of_the_paper():
    # Table 4 gives 2.7 million for WRN-16-4 and 36.5 for WRN-28-10, on colour images.
    assert wide_resnet(2, 4, 0.9, 0.0, **GREY_28).count_params() == pytest.approx(2.7e6, rel=0.02)
    assert wide_resnet(4, 10, 0.9, 0.3, **GREY_28).count_params() == pytest.approx(36.5e6, rel=0.002)


def test_efficientnetb0_is_regularised_by_dropping_whole_blocks():
    drops = [layer for layer in build("efficientnetb0").layers if layer.name.endswith("_drop_connect")]
    rates = [layer.rate for layer in drops]
    assert len(drops) == 9  # blocks of stride 1 with equal width, as many as the paper's table repeats
    assert rates == sorted(rates)
    assert all(layer.noise_shape == (None, 1, 1, 1) for layer in drops)
