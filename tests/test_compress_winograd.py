"""Winograd's convolution: exact, within the paper's rounding, fewer products, in every runtime."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import compress
import export
from compress.layers.winograd import TRANSFORMS, WinogradConv2D, transformed

RANDOM = np.random.RandomState(11)


def conv(padding="same", size=(9, 14), channels=5, **options):
    options = {"padding": padding, "activation": "relu", "name": "conv", **options}
    model = keras.Sequential([keras.Input((*size, channels)), layers.Conv2D(7, 3, **options)])
    for weight in model.weights:
        weight.assign(RANDOM.randn(*weight.shape))
    return model


@pytest.mark.parametrize("tile", [2, 4])
def test_one_tile_by_hand(tile):
    """A^T [(G g G^T) * (B^T d B)] A of one tile, in float64, is the direct form exactly."""
    back, g, forth = TRANSFORMS[tile]
    d, kernel = RANDOM.randn(tile + 2, tile + 2), RANDOM.randn(3, 3)
    found = forth @ ((g @ kernel @ g.T) * (back @ d @ back.T)) @ forth.T
    expected = [
        [np.sum(d[i : i + 3, j : j + 3] * kernel) for j in range(tile)] for i in range(tile)
    ]
    np.testing.assert_allclose(found, expected, atol=1e-12)
    one = transformed(kernel[:, :, None, None], tile)[:, :, 0, 0]
    np.testing.assert_allclose(one, g @ kernel @ g.T, atol=1e-12)


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("padding", ["same", "valid"])
@pytest.mark.parametrize("size", [(9, 14), (8, 8), (3, 3), (4, 17)])
def test_winograd_is_the_convolution(tile, padding, size):
    model = conv(padding, size)
    small, report = compress.Winograd(tile=tile).apply(model)
    assert type(small.layers[0]) is WinogradConv2D
    assert report.layers[0].note == f"F({tile}x{tile}, 3x3)"
    x = RANDOM.randn(3, *size, 5).astype("float32")
    np.testing.assert_allclose(small(x), model(x), rtol=1e-4, atol=2e-4)
    assert small.output_shape == model.output_shape


@pytest.mark.parametrize(("tile", "bound"), [(2, 1.53e-5), (4, 2.84e-4)])
def test_rounding_is_within_lavin_and_grays(tile, bound):
    """Table 6: the largest error of a layer of VGG in single precision, values in [-1, 1]."""
    model = conv(size=(28, 28), channels=64, activation=None, use_bias=False)
    model.layers[0].kernel.assign(RANDOM.uniform(-1, 1, (3, 3, 64, 7)))
    x = RANDOM.uniform(-1, 1, (1, 28, 28, 64)).astype("float32")
    kernel = np.asarray(model.layers[0].kernel.value, "float64")
    exact = tf.nn.conv2d(x.astype("float64"), kernel, 1, "SAME")
    found = compress.Winograd(tile=tile).apply(model).model(x)
    assert 0 < np.abs(np.asarray(found, "float64") - exact).max() < bound


@pytest.mark.parametrize(("tile", "times"), [(2, 2.25), (4, 4.0)])
def test_multiplications_are_counted(tile, times):
    report = compress.Winograd(tile=tile).apply(conv(size=(16, 16))).report
    assert report.before.macs == 16 * 16 * 9 * 5 * 7
    assert report.after.macs == report.before.macs / times
    odd = compress.Winograd(tile=tile).apply(conv(size=(15, 13))).report
    tiles = -(-15 // tile) * -(-13 // tile)  # the last ones hang over
    assert odd.after.macs == tiles * (tile + 2) ** 2 * 5 * 7


@pytest.mark.parametrize("tile", [2, 4])
@pytest.mark.parametrize("target", ["tflite", "onnx", "saved_model"])
def test_winograd_exports(target, tile, tmp_path):
    model = conv(size=(8, 9))
    model.add(layers.Conv2D(4, 3, name="second"))
    made = export.export(compress.Winograd(tile=tile).apply(model).model, target, tmp_path / "out")
    assert made.manifest.parity.relative < 1e-5


def test_transformed_zeros_hold_in_training():
    small, report = compress.Winograd(sparsity=0.7).apply(conv())
    kernel = small.layers[0].kernel
    before = np.array(kernel.value)
    assert np.sum(before == 0) == round(0.7 * 16 * 5 * 7)
    assert report.layers[0].note == "F(2x2, 3x3), 392 of 560 weights are zero"
    x = RANDOM.randn(64, 9, 14, 5).astype("float32")
    wanted = np.asarray(conv()(x))

    def loss():
        return float(np.mean((small(x) - wanted) ** 2))

    def fit(model, *, epochs, callbacks):
        model.compile(keras.optimizers.Adam(0.02), "mse")
        model.fit(x, wanted, epochs=epochs, verbose=0)

    old = loss()
    compress.Context(fit).fine_tune(small, epochs=4)
    np.testing.assert_array_equal(np.asarray(kernel.value) == 0, before == 0)
    assert np.abs(np.asarray(kernel.value) - before).max() > 0
    assert loss() < old


def test_gradient_is_that_of_the_transformed_kernel():
    """By the chain rule: that of the direct kernel is G^T (that of the transformed) G."""
    model = conv()
    small = compress.Winograd(tile=4).apply(model).model
    x = tf.constant(RANDOM.randn(2, 9, 14, 5), "float32")

    def slope(net):
        with tf.GradientTape() as tape:
            tape.watch(x)
            total = tf.reduce_sum(net(x) ** 2)
        return tape.gradient(total, [net.layers[0].kernel.value, x])

    g = TRANSFORMS[4][1]
    (direct, into), (found, also) = slope(model), slope(small)
    pulled = np.einsum("ta,tunm,ub->abnm", g, found, g)
    np.testing.assert_allclose(pulled, direct, atol=1e-4 * np.abs(direct).max())
    np.testing.assert_allclose(also, into, atol=1e-4 * np.abs(into).max())


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_and_the_file(policy, tmp_path):
    model = conv(dtype=policy)
    small = compress.Winograd().apply(model).model
    assert small.layers[0].compute_dtype == policy.removeprefix("mixed_")
    assert small.layers[0].kernel.dtype == "float32"
    small.save(tmp_path / "small.keras")
    loaded = keras.saving.load_model(tmp_path / "small.keras")
    x = RANDOM.randn(2, 9, 14, 5).astype("float32")
    expected = np.asarray(model(x), "float32")
    assert np.abs(np.asarray(small(x), "float32") - expected).max() < 0.05 * expected.max()
    np.testing.assert_array_equal(loaded(x), small(x))


def test_which_convolutions_stay_direct():
    image = keras.Input((8, 8, 4), name="image")
    x = layers.Conv2D(4, 5, name="five")(image)
    x = layers.Conv2D(4, 3, strides=2, padding="same", name="stride")(x)
    x = layers.Conv2D(4, 3, padding="same", groups=2, name="groups")(x)
    x = layers.Conv2D(4, 3, padding="same", dilation_rate=2, name="dilated")(x)
    model = keras.Model(image, layers.Conv2D(4, 3, padding="same", name="plain")(x))
    report = compress.Winograd().apply(model).report
    assert {row.path: row.note for row in report.layers} == {
        "five": "its kernel is not 3x3",
        "stride": "its stride is above 1",
        "groups": "its channels are in groups",
        "dilated": "it is dilated",
        "plain": "F(2x2, 3x3)",
    }
    free = keras.Input((None, 8, 4), name="image")
    model = keras.Model(free, layers.Conv2D(4, 3, name="plain")(free))
    (row,) = compress.Winograd().apply(model).report.layers
    assert row.note == "its input has no fixed size"


def test_a_shared_convolution_keeps_its_calls():
    left, right = keras.Input((8, 8, 3), name="left"), keras.Input((6, 10, 3), name="right")
    shared = layers.Conv2D(4, 3, name="shared")
    pool = layers.GlobalMaxPooling2D(name="pool")
    total = layers.Add(name="add")([pool(shared(left)), pool(shared(right))])
    model = keras.Model([left, right], total)
    small, report = compress.Winograd(tile=4).apply(model)
    x = [RANDOM.randn(2, *size).astype("float32") for size in ((8, 8, 3), (6, 10, 3))]
    np.testing.assert_allclose(small(x), model(x), atol=1e-4)
    assert report.layers[0].after.macs == (2 * 2 + 1 * 2) * 36 * 3 * 4
