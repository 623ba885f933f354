"""Sliding classifiers: the classifier itself, run on each window, is the oracle."""

import re

import keras
import numpy as np
import pytest
from keras import layers

import zoo
from tests.golden import vector
from zoo.models import sliding


def largest_difference(model, net, height, width):
    """Between every answer of the net on a larger image and the classifier on that window."""
    rows, columns, channels = model.input_shape[1:]
    image = np.random.RandomState(0).normal(size=(2, height, width, channels)).astype("float32")
    answers = np.array(net(image, training=False))  # (2, i, j, classes)
    down, right = sliding.stride(net)
    assert answers.shape[1] >= (height - rows) // down + 1
    assert answers.shape[2] >= (width - columns) // right + 1
    assert answers.std() > 1e-3
    # The last window may stick out by pixels that the classifier's strides leave out.
    image = np.pad(image, [(0, 0), (0, down), (0, right), (0, 0)], constant_values=7.0)
    differences = [
        np.abs(
            answers[:, i, j]
            - model(
                image[:, i * down : i * down + rows, j * right : j * right + columns],
                training=False,
            )
        ).max()
        for i in range(answers.shape[1])
        for j in range(answers.shape[2])
    ]
    return max(differences) / np.abs(answers).max()


def filled(model):
    vector.fill(model)
    return model


def create(name, **arguments):
    return filled(zoo.create(name, **arguments))


def branches():
    """Unpadded branches that meet, a nested stem, and a head with everything that may be there."""
    stem = keras.Sequential(
        [keras.Input((20, 18, 2)), layers.Conv2D(6, 3, name="conv"), layers.ReLU(name="relu")],
        name="stem",
    )
    image = keras.Input((20, 18, 2), name="image")
    x = stem(image)  # (batch, 18, 16, 6)
    x = layers.MaxPooling2D(2, padding="same", name="pool")(x)  # 18 and 16 are even: no padding
    left = layers.Conv2D(4, 3, name="left")(x)
    right = layers.AveragePooling2D(3, strides=1, name="right")(x)
    x = layers.Concatenate(name="join")([left, right])  # (batch, 7, 6, 10)
    x = layers.BatchNormalization(name="norm")(x)
    short = layers.Conv2D(10, 1, name="short")(x)
    x = layers.Add(name="add")([x, short])
    x = layers.Flatten(name="flatten")(x)
    x = layers.ReLU(name="flat_relu")(x)
    x = layers.Dropout(0.5, name="drop")(x)
    x = layers.Dense(12, name="fc")(x)
    x = layers.BatchNormalization(name="fc_bn")(x)
    other = layers.Dense(5, activation="tanh", use_bias=False, name="other")(x)
    x = layers.Concatenate(axis=1, name="both")([x, other])
    return keras.Model(image, layers.Dense(3, activation="softmax", name="logits")(x), name="toy")


def pooled(pool):
    image = keras.Input((16, 16, 2), name="image")
    x = layers.Conv2D(8, 3, strides=2, activation="relu", name="conv")(image)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    return keras.Model(image, layers.Dense(4, name="logits")(pool(x)), name="pooled")


EXACT = {
    "lenet5": (lambda: create("lenet5"), (4, 4), (45, 53)),
    "lenet5_1998": (lambda: create("lenet5_1998"), (4, 4), (41, 36)),
    "mlp": (lambda: create("mlp", input_shape=(9, 7, 2), units=[20, 10]), (1, 1), (12, 10)),
    "linear": (lambda: create("linear", input_shape=(5, 5, 1), num_classes=3), (1, 1), (6, 8)),
    "branches": (lambda: filled(branches()), (2, 2), (26, 22)),
    "average": (lambda: filled(pooled(layers.GlobalAveragePooling2D())), (2, 2), (21, 24)),
    "maximum": (
        lambda: filled(pooled(layers.GlobalMaxPooling2D(keepdims=False))), (2, 2), (21, 24),
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", EXACT)
def test_every_window_equals_the_classifier(name):
    build, stride, size = EXACT[name]
    model = build()
    net = zoo.convolutionalize(model)
    assert sliding.inexact(model) == ()
    assert sliding.stride(net) == stride
    assert net.name == model.name
    assert largest_difference(model, net, *model.input_shape[1:3]) < 1e-5
    assert largest_difference(model, net, *size) < 1e-5


PADDED = {
    "vgg11": ({"input_shape": (32, 32, 1), "num_classes": 10}, 32, "stage1_conv1"),
    "alexnet": ({"input_shape": (67, 67, 3), "num_classes": 10}, 32, "stage2_conv_a"),
    "resnet18": ({"input_shape": (32, 32, 1), "num_classes": 10}, 32, "stem_conv_pad"),
}


@pytest.mark.parametrize("name", PADDED)
def test_padding_is_named_and_the_classifier_s_size_is_exact(name):
    arguments, stride, padded = PADDED[name]
    model = create(name, **arguments)
    net = zoo.convolutionalize(model)
    side = model.input_shape[1]
    assert padded in sliding.inexact(model) and "logits" not in sliding.inexact(model)
    assert sliding.stride(net) == (stride, stride)
    assert largest_difference(model, net, side, side) < 1e-5
    assert largest_difference(model, net, side + stride, side + 2 * stride) > 1e-3


def test_the_classifier_stays_and_nothing_is_shared():
    model = create("lenet5")
    before = [np.array(weight) for weight in model.weights]
    net = zoo.convolutionalize(model)
    for weight in net.weights:
        weight.assign(np.zeros(weight.shape))
    for weight, old in zip(model.weights, before, strict=True):
        np.testing.assert_array_equal(weight, old)
    assert model.output_shape == (None, 10)
    assert [layer.name for layer in net.layers] == [layer.name for layer in model.layers]


def test_bfloat16():
    keras.config.set_dtype_policy("mixed_bfloat16")
    try:
        model = zoo.create("lenet5")
    finally:
        keras.config.set_dtype_policy("float32")
    vector.fill(model)
    net = zoo.convolutionalize(model)
    assert net.get_layer("c5").compute_dtype == "bfloat16" and net.output.dtype == "float32"
    assert largest_difference(model, net, 36, 36) < 0.02


def test_round_trip_and_exports(tmp_path):
    from export import export

    model = create("lenet5")
    net = zoo.convolutionalize(model, size=(40, 36))
    assert net.output_shape == (None, 3, 2, 10)
    net.save(tmp_path / "net.keras")
    again = keras.saving.load_model(tmp_path / "net.keras")
    image = vector.sample(net)
    np.testing.assert_array_equal(again(image), net(image))
    for target in ("tflite", "onnx"):
        parity = export(net, target, tmp_path / target).manifest.parity
        assert parity.passed and parity.relative < 1e-5


def reshaped():
    image = keras.Input((8, 8, 2))
    x = layers.Reshape((64, 2), name="rows")(image)
    return keras.Model(image, layers.Dense(3)(layers.GlobalAveragePooling1D()(x)))


def squeezed():
    image = keras.Input((8, 8, 2))
    scale = layers.GlobalAveragePooling2D(keepdims=True)(image)
    x = layers.Multiply(name="excite")([image, scale])
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def normalised():
    image = keras.Input((8, 8, 2))
    x = layers.BatchNormalization(name="flat_bn")(layers.Flatten()(image))
    return keras.Model(image, layers.Dense(3)(x))


def learnt_by_place():
    image = keras.Input((8, 8, 2))
    x = layers.PReLU(name="slopes")(image)
    return keras.Model(image, layers.Dense(3)(layers.Flatten()(x)))


def tabular():
    row = keras.Input((8,))
    return keras.Model(row, layers.Dense(3)(row), name="table")


def free():
    return zoo.convolutionalize(zoo.create("lenet5"))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (reshaped, "'rows' (Reshape) gives no map; expected Flatten or global pooling"),
        (squeezed, "'excite' (Multiply) mixes maps of several sizes"),
        (normalised, "'flat_bn' (BatchNormalization) works on a flattened map; expected a dense"),
        (learnt_by_place, "'slopes' (PReLU)"),
        (tabular, "'table' takes [(8,)]; expected one image (height, width, channels)"),
        (free, "'lenet5' takes [(None, None, 1)]; expected one image"),
    ],
)
def test_refuses(build, message):
    model = build()
    with pytest.raises(ValueError, match=rf"^convolutionalize: {re.escape(message)}"):
        zoo.convolutionalize(model)


def test_a_layer_that_needs_a_size_gets_it():
    """Maxout's pooling wants to know the size of its map."""
    model = create("maxout")
    with pytest.raises(ValueError, match=r"^convolutionalize: 'h0_pool' \(CeilMaxPooling2D\) Ceil"):
        zoo.convolutionalize(model)
    net = zoo.convolutionalize(model, size=(32, 32))
    image = vector.sample(model)
    expected = model(image, training=False)
    np.testing.assert_allclose(net(image, training=False)[:, 0, 0], expected, rtol=1e-3, atol=1e-4)


def test_refuses_a_smaller_image():
    with pytest.raises(ValueError, match=r"size got \(28, 40\); expected at least \(32, 32\)"):
        zoo.convolutionalize(zoo.create("lenet5"), size=(28, 40))
