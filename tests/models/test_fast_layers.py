"""Fast layers against stock Keras on both backends: forward, gradients, statistics, training, round trip."""

import importlib

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from keras import layers

from fashion.models.conv_geometry import axis_geometry, band_pattern
from fashion.models.fast_model import FastModel, fast_layers, is_faster, stock_layers
from fashion.models.keras_graph import flatten_layers

pytestmark = pytest.mark.backend

BATCH = 16  # the smallest for which images travel channel-major on JAX

# (height, width, channels, kernel, stride, padding): every depthwise convolution of EfficientNetB0, ours at 32x32 and
# at 28x28, and Keras's, which pads by itself before strides of 2.
EFFICIENTNETB0 = [
    (16, 16, 96, 3, 2, "same"),
    (8, 8, 144, 5, 2, "same"),
    (4, 4, 240, 3, 2, "same"),
    (2, 2, 672, 5, 2, "same"),
    (14, 14, 32, 3, 1, "same"),
    (14, 14, 96, 3, 2, "same"),
    (7, 7, 144, 3, 1, "same"),
    (7, 7, 144, 5, 2, "same"),
    (16, 16, 32, 3, 1, "same"),
    (17, 17, 96, 3, 2, "valid"),
    (8, 8, 144, 3, 1, "same"),
    (11, 11, 144, 5, 2, "valid"),
    (4, 4, 240, 5, 1, "same"),
    (5, 5, 240, 3, 2, "valid"),
    (2, 2, 480, 3, 1, "same"),
    (2, 2, 480, 5, 1, "same"),
    (2, 2, 672, 5, 1, "same"),
    (5, 5, 672, 5, 2, "valid"),
    (1, 1, 1152, 5, 1, "same"),
    (1, 1, 1152, 3, 1, "same"),
]
# Larger maps, whose rows JAX adds up in blocks; 35 and 55 output rows are no multiple of a block.
LARGE_MAPS = [(40, 40, 3, 3, 1, "same"), (70, 67, 2, 5, 2, "same"), (112, 112, 2, 3, 2, "valid")]


def close(actual, expected, tolerance=1e-5):
    """Compare to `tolerance` of the largest expected value."""
    actual, expected = np.asarray(actual, "float64"), np.asarray(expected, "float64")
    scale = max(np.abs(expected).max(initial=0.0), 1e-6)
    np.testing.assert_allclose(actual, expected, rtol=0, atol=tolerance * scale)


def images(*shape, seed=0):
    return np.random.default_rng(seed).normal(size=shape).astype("float32")


def model_of(shape, *stack, randomise=True):
    """A functional model of `stack` over inputs `shape`; weights drawn so that no factor is one or zero."""
    inputs = x = keras.Input(shape)
    for layer in stack:
        x = layer(x)
    model = keras.Model(inputs, x)
    if randomise:
        for i, variable in enumerate(model.weights):
            variable.assign(np.random.default_rng(i).uniform(0.2, 1.0, variable.shape))
    return model


def run(model, x, training=True):
    """Outputs, gradients to weights and input, and the non-trainable variables after the call."""
    return (run_on_jax if keras.backend.backend() == "jax" else run_on_tensorflow)(model, x, training)


def run_on_jax(model, x, training):
    import jax

    trainable = [v.value for v in model.trainable_variables]
    state = [v.value for v in model.non_trainable_variables]

    def loss(trainable, x):
        outputs, new_state = model.stateless_call(trainable, state, x, training=training)
        return weighted_sum(outputs), (outputs, new_state)

    (_, (outputs, new_state)), gradients = jax.jit(jax.value_and_grad(loss, (0, 1), has_aux=True))(trainable, x)
    return outputs, gradients, new_state


def run_on_tensorflow(model, x, training):
    import tensorflow as tf

    before = [np.asarray(v) for v in model.non_trainable_variables]

    @tf.function
    def step(x):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = model(x, training=training)
            loss = weighted_sum(outputs)
        return outputs, tape.gradient(loss, ([v.value for v in model.trainable_variables], x))

    outputs, gradients = step(tf.constant(x))
    after = [np.asarray(v) for v in model.non_trainable_variables]
    for variable, value in zip(model.non_trainable_variables, before, strict=True):
        variable.assign(value)
    return outputs, gradients, after


def weighted_sum(outputs):
    weight = np.cos(np.arange(np.prod(outputs.shape), dtype="float32")).reshape(outputs.shape)
    return keras.ops.sum(keras.ops.cast(outputs, "float32") * weight)


def assert_same(model, x, tolerance=1e-5, training=True):
    expected = keras.tree.flatten(run(model, x, training))
    actual = keras.tree.flatten(run(FastModel(model.input, model.output), x, training))
    for a, e in zip(actual, expected, strict=True):
        assert a.dtype == e.dtype
        close(a, e, tolerance)


def expected_depthwise(x, kernel, stride, padding):
    """Depthwise convolution and its gradients in numpy, float64."""
    n, h, w, c = x.shape
    k = kernel.shape[0]
    oh, top, bottom = axis_geometry(h, k, stride, padding)
    ow, left, right = axis_geometry(w, k, stride, padding)
    padded = np.pad(x.astype("float64"), ((0, 0), (top, bottom), (left, right), (0, 0)))
    y = np.zeros((n, oh, ow, c))
    dy = np.cos(np.arange(y.size)).reshape(y.shape)
    dpadded, dkernel = np.zeros_like(padded), np.zeros((k, k, c))
    for a in range(k):
        for b in range(k):
            at = np.s_[:, a : a + (oh - 1) * stride + 1 : stride, b : b + (ow - 1) * stride + 1 : stride]
            y += padded[at] * kernel[a, b]
            dpadded[at] += dy * kernel[a, b]
            dkernel[a, b] = np.sum(padded[at] * dy, (0, 1, 2))
    return y, dkernel, dpadded[:, top : top + h, left : left + w]


@pytest.mark.parametrize("shape", EFFICIENTNETB0 + LARGE_MAPS, ids=str)
def test_depthwise_of_efficientnetb0(shape):
    h, w, c, k, stride, padding = shape
    model = model_of((h, w, c), layers.DepthwiseConv2D(k, stride, padding, use_bias=False))
    x = images(BATCH, h, w, c)
    outputs, ((dkernel,), dx), _ = run(fast_layers(model), x)
    y, expected_dkernel, expected_dx = expected_depthwise(x, np.asarray(model.weights[0])[..., 0], stride, padding)
    close(outputs, y)
    close(dkernel[..., 0], expected_dkernel)
    close(dx, expected_dx)
    close(outputs, model(x))


@given(
    size=st.tuples(*[st.integers(1, 9)] * 2), kernel=st.tuples(*[st.integers(1, 5)] * 2),
    strides=st.tuples(*[st.integers(1, 3)] * 2), padding=st.sampled_from(["same", "valid"]),
)  # fmt: skip
def test_each_output_joins_each_tap_that_is_inside_with_its_own_pixel(size, kernel, strides, padding):
    size = tuple(np.maximum(size, kernel)) if padding == "valid" else size
    pattern = band_pattern(size, kernel, strides, padding).reshape(*kernel, -1, *size)
    assert pattern.sum((3, 4)).max() <= 1
    columns = axis_geometry(size[1], kernel[1], strides[1], padding)
    for a, b, output, row, column in np.argwhere(pattern):
        for axis, tap, pixel, at in ((0, a, row, output // columns[0]), (1, b, column, output % columns[0])):
            before = axis_geometry(size[axis], kernel[axis], strides[axis], padding)[1]
            assert pixel == at * strides[axis] + tap - before
    if padding == "valid":
        assert pattern.sum() == np.prod(pattern.shape[:3])


@pytest.mark.slow
@settings(max_examples=8, deadline=None)
@given(
    h=st.integers(1, 9), w=st.integers(1, 9), k=st.integers(1, 4), stride=st.integers(1, 2),
    padding=st.sampled_from(["same", "valid"]), bias=st.booleans(), batch=st.sampled_from([1, BATCH]),
)  # fmt: skip
def test_depthwise_of_any_shape(h, w, k, stride, padding, bias, batch):
    if padding == "valid":
        h, w = max(h, k), max(w, k)
    layer = layers.DepthwiseConv2D(k, stride, padding, use_bias=bias, activation="relu" if bias else None)
    assert_same(model_of((h, w, 3), layer), images(batch, h, w, 3))


@pytest.mark.parametrize(
    ("layer", "training"),
    [
        (lambda: layers.Conv2D(5, 1, activation="silu"), True),
        (lambda: layers.Conv2D(5, 3, strides=2, padding="same", use_bias=False), True),
        (lambda: layers.Conv2D(5, 2, dilation_rate=2), True),
        (lambda: layers.Conv2D(4, 3, groups=2), True),
        (lambda: layers.Conv2D(4, 5), True),
        (lambda: layers.DepthwiseConv2D(3, dilation_rate=2), True),
        (lambda: layers.DepthwiseConv2D(3, depth_multiplier=2), True),
        (lambda: layers.DepthwiseConv2D(3, activation="softmax"), True),
        (lambda: layers.BatchNormalization(momentum=0.9), True),
        (lambda: layers.BatchNormalization(momentum=0.9), False),
        (lambda: layers.BatchNormalization(scale=False), True),
        (lambda: layers.BatchNormalization(axis=1), True),
        (lambda: layers.BatchNormalization(trainable=False), True),
        (lambda: layers.Activation("silu"), True),
        (lambda: layers.Activation("relu6"), True),
        (lambda: layers.Activation("softmax"), True),
        (lambda: layers.ZeroPadding2D(((0, 1), (2, 0))), True),
        (lambda: layers.GlobalAveragePooling2D(keepdims=True), True),
        (lambda: layers.Dropout(0.4, seed=1), True),
        (lambda: layers.Dropout(0.4, noise_shape=(None, 1, 1, 1), seed=1), True),
        (lambda: layers.Dropout(0.4, noise_shape=(None, 1, 1, 1), seed=1), False),
        (lambda: layers.Flatten(), True),
    ],
)
def test_layer_kinds_with_and_without_a_kernel(layer, training):
    # A 1x1 convolution first, so that the layer meets a channel-major image.
    first = layers.Conv2D(4, 1, use_bias=False)
    assert_same(model_of((6, 5, 4), first, layer()), images(BATCH, 6, 5, 4), 2e-5, training)


def small_model(dtype=None):
    """Stem, an inverted residual block with squeeze-excite, and a head; the blocks nested in a model."""
    keras.utils.set_random_seed(0)
    inputs = keras.Input((9, 8, 1))
    x = layers.Conv2D(8, 3, 2, "same", use_bias=False, dtype=dtype, name="stem")(inputs)
    x = skip = layers.Activation("silu", dtype=dtype)(layers.BatchNormalization(momentum=0.9, dtype=dtype)(x))
    x = layers.DepthwiseConv2D(
        3, padding="same", use_bias=False, depthwise_regularizer=keras.regularizers.L2(1e-3), dtype=dtype
    )(x)
    x = layers.Activation("silu", dtype=dtype)(layers.BatchNormalization(dtype=dtype)(x))
    gate = layers.Reshape((1, 1, 8), dtype=dtype)(layers.GlobalAveragePooling2D(dtype=dtype)(x))
    gate = layers.Conv2D(2, 1, activation="silu", dtype=dtype)(gate)
    gate = layers.Conv2D(8, 1, activation="sigmoid", dtype=dtype)(gate)
    x = layers.Conv2D(8, 1, dtype=dtype)(layers.Multiply(dtype=dtype)([x, gate]))
    x = layers.Dropout(0.2, noise_shape=(None, 1, 1, 1), seed=5, dtype=dtype)(x)
    body = keras.Model(inputs, layers.Add(dtype=dtype)([x, skip]), name="body")
    outer = keras.Input((9, 8, 1), name="image")
    x = layers.GlobalAveragePooling2D(dtype=dtype)(body(outer))
    return keras.Model(outer, layers.Dense(10, "softmax", dtype="float32", name="head")(x), name="small")


def describe(model):
    return [
        describe(layer) if isinstance(layer, keras.Model) else (layer.name, type(layer), layer.dtype_policy.name)
        for layer in model.layers
    ]


def test_three_training_steps_give_equal_losses():
    x, y = images(BATCH, 9, 8, 1), np.arange(BATCH) % 10

    def losses(model):
        model.compile(keras.optimizers.SGD(0.05), "sparse_categorical_crossentropy", jit_compile=on_jax())
        return [float(model.train_on_batch(x, y)) for _ in range(3)], [np.asarray(v) for v in model.variables]

    stock = small_model()
    (expected, variables), (actual, fast_variables) = losses(stock), losses(fast_layers(small_model()))
    assert expected[2] != expected[0]
    np.testing.assert_allclose(actual, expected, rtol=1e-5)
    for name, a, e in zip([v.path for v in stock.variables], fast_variables, variables, strict=True):
        if "moving" in name:
            close(a, e)


def on_jax():
    return keras.backend.backend() == "jax"


@pytest.mark.parametrize("batch", [2, BATCH])
def test_round_trip_through_a_file_needs_stock_keras_only(tmp_path, batch):
    model = small_model()
    fast = fast_layers(model)
    assert type(fast) is FastModel
    stock = stock_layers(fast)
    assert describe(stock) == describe(model)
    assert all(type(m).__module__.startswith("keras.") for m in [stock, *flatten_layers(stock)])
    stock.save(tmp_path / "model.keras")
    loaded = keras.saving.load_model(tmp_path / "model.keras", safe_mode=True)
    x = images(batch, 9, 8, 1)
    close(fast(x), model(x))
    close(loaded(x), model(x), 1e-6)


def test_mixed_bfloat16_keeps_its_policy_and_stock_float32_has_its_own():
    model = small_model("mixed_bfloat16")
    fast = fast_layers(model)
    assert [v.dtype for v in fast.variables] == [v.dtype for v in model.variables]
    outputs, (gradients, _), _ = run(fast, images(BATCH, 9, 8, 1))
    expected, (expected_gradients, _), _ = run(model, images(BATCH, 9, 8, 1))
    close(outputs, expected, 2e-2)
    assert [g.dtype for g in gradients] == [g.dtype for g in expected_gradients]
    stock = stock_layers(fast, "float32")
    assert all(layer.dtype_policy.name == "float32" for layer in stock.layers)
    before = np.asarray(model.weights[0])
    stock.weights[0].assign(np.zeros(before.shape))
    np.testing.assert_array_equal(np.asarray(model.weights[0]), before)


def test_weights_and_regularisers_are_those_of_the_model():
    model = small_model()
    fast = fast_layers(model)
    assert [id(v) for v in fast.variables] == [id(v) for v in model.variables]
    close(fast.losses[0], model.losses[0])


def test_a_nested_model_runs_on_the_kernels_too(monkeypatch):
    model, seen = fast_layers(small_model()), []
    kernels = importlib.import_module(f"fashion.models.{keras.backend.backend()}_kernels")
    table = kernels.table(BATCH)
    for kind in table:
        original = table[kind]
        monkeypatch.setitem(table, kind, lambda layer, *rest, call=original: seen.append(layer) or call(layer, *rest))
    model(images(BATCH, 9, 8, 1))
    assert [type(layer) for layer in seen].count(layers.DepthwiseConv2D) == 1, seen


def test_fast_layers_are_for_the_cpu(monkeypatch):
    model = small_model()
    assert is_faster(model)
    monkeypatch.setattr(keras.distribution, "list_devices", lambda: ["gpu:0"])
    assert not is_faster(model)
    assert fast_layers(model) is model


def test_a_model_that_gains_nothing_stays_as_it_is():
    inputs = keras.Input((9, 8, 1))
    model = keras.Model(inputs, layers.Dense(3)(layers.Flatten()(inputs)))
    assert fast_layers(model) is model
