"""Binary and ternary networks: the papers' formulas, forwards and backwards."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import compress
from compress.layers import Binary, BinaryActivation, Ternary
from compress.passes.few_values.training import between

KERNEL = np.array([[0.4, -1.5, 0.0], [-0.2, 0.05, 0.9], [1.2, -0.6, -0.3]], "float32")
UPSTREAM = np.array([[1.0, 2.0, -1.0], [0.5, -3.0, 4.0], [2.0, 1.0, -2.0]], "float32")


def run(part, kernel=KERNEL):
    """What a parametrization makes of a kernel, and its gradients for a given upstream."""
    part.build(kernel.shape)
    part.read(kernel)
    variable = tf.Variable(kernel)
    with tf.GradientTape() as tape:
        out = part(tf.convert_to_tensor(variable))
        total = tf.reduce_sum(out * UPSTREAM)
    sources = [variable, *(weight.value for weight in part.trainable_weights)]
    return out.numpy(), [None if g is None else g.numpy() for g in tape.gradient(total, sources)]


SIGNS = np.where(KERNEL >= 0, 1.0, -1.0)


def test_binary_connect():
    out, (slope,) = run(Binary("binary_connect"))
    np.testing.assert_array_equal(out, SIGNS)
    np.testing.assert_array_equal(slope, UPSTREAM)
    clipped = Binary("binary_connect").constraint(tf.constant(KERNEL))
    np.testing.assert_array_equal(clipped, np.clip(KERNEL, -1, 1))


def test_bnn():
    out, (slope,) = run(Binary("bnn"))
    np.testing.assert_array_equal(out, SIGNS)
    np.testing.assert_array_equal(slope, UPSTREAM * (np.abs(KERNEL) <= 1))


def test_xnor():
    out, (slope,) = run(Binary("xnor"))
    scale = np.abs(KERNEL).mean(0)
    np.testing.assert_allclose(out, scale * SIGNS, rtol=1e-6)
    # d(a_j b_ij)/dw_kj = a_j 1[i = k, |w| <= 1] + sign(w_kj) / n b_ij
    through = UPSTREAM * scale * (np.abs(KERNEL) <= 1)
    expected = through + np.sign(KERNEL) / 3 * (UPSTREAM * SIGNS).sum(0)
    np.testing.assert_allclose(slope, expected, rtol=1e-5, atol=1e-6)


def test_binary_activation():
    x = tf.Variable([-2.0, -0.5, 0.0, 0.3, 1.5])
    with tf.GradientTape() as tape:
        y = BinaryActivation()(tf.convert_to_tensor(x))
    np.testing.assert_array_equal(y, [-1, -1, 1, 1, 1])
    np.testing.assert_array_equal(tape.gradient(y, x), [0, 1, 1, 1, 0])


def test_twn():
    out, (slope,) = run(Ternary("twn"))
    limit = 0.7 * np.abs(KERNEL).mean()
    large = np.abs(KERNEL) > limit
    scale = np.abs(KERNEL)[large].mean()
    np.testing.assert_allclose(out, scale * np.sign(KERNEL) * large, rtol=1e-6)
    np.testing.assert_array_equal(slope, UPSTREAM)


def test_twn_is_near_the_best_scale_and_threshold():
    """The paper: the approximation of eq. 6 is close to the least squares of eq. 3."""
    kernel = np.random.RandomState(0).randn(40, 50).astype("float32")
    part = Ternary("twn")
    part.build(kernel.shape)
    found = np.sum((np.array(part(kernel)) - kernel) ** 2)
    errors = []
    for limit in np.linspace(0, 2, 81):
        large = np.abs(kernel) > limit
        scale = np.abs(kernel)[large].mean()
        errors.append(np.sum((scale * np.sign(kernel) * large - kernel) ** 2))
    assert min(errors) <= found < 1.02 * min(errors)


def test_ttq():
    part = Ternary("ttq", threshold=0.3)
    out, (slope, scales) = run(part)
    above, below = KERNEL > 0.45, KERNEL < -0.45
    positive, negative = KERNEL[above].mean(), -KERNEL[below].mean()
    np.testing.assert_allclose(part.scales.value, [positive, negative], rtol=1e-6)
    np.testing.assert_allclose(out, positive * above - negative * below, rtol=1e-6)
    factor = np.where(above, positive, np.where(below, negative, 1.0))
    np.testing.assert_allclose(slope, factor * UPSTREAM, rtol=1e-6)
    np.testing.assert_allclose(scales, [UPSTREAM[above].sum(), -UPSTREAM[below].sum()], rtol=1e-6)


def chain():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(6, 3, name="first")(image)
    x = layers.ReLU(name="relu1")(x)
    x = layers.MaxPooling2D(name="pool")(x)
    x = layers.Conv2D(8, 2, name="second")(x)
    x = layers.Activation("relu", name="relu2")(x)
    x = layers.Flatten(name="flat")(x)
    x = layers.Dropout(0.1, name="drop")(x)
    x = layers.Dense(9, name="third")(x)
    x = layers.ReLU(negative_slope=0.1, name="leaky")(x)
    return keras.Model(image, layers.Dense(5, name="last")(x), name="chain")


def test_which_activations_become_signs():
    model = chain()
    assert between(model, {"second", "third"}) == {"relu1": "relu1", "relu2": "relu2"}
    assert between(model, {"third", "last"}) == {"relu2": "relu2"}
    small, report = compress.Binarize(method="xnor").apply(model)
    assert isinstance(small.get_layer("relu1"), BinaryActivation)
    assert type(small.get_layer("leaky")) is layers.ReLU
    notes = {row.path: row.note for row in report.layers}
    assert notes["relu1"] == "its ReLU is a sign now"
    assert notes["first"].startswith("the first and the last kernel are spared")
    for name in ("second", "third"):
        kernel = np.array(small.get_layer(name).kernel.value)
        scale = np.abs(kernel).reshape(-1, kernel.shape[-1])
        np.testing.assert_allclose(scale, np.broadcast_to(scale[:1], scale.shape))
    plain = compress.Binarize(method="binary_connect").apply(model).model
    assert type(plain.get_layer("relu1")) is layers.ReLU
    assert set(np.unique(plain.get_layer("second").kernel)) == {-1.0, 1.0}


SLOW = pytest.mark.slow


@pytest.mark.parametrize(
    "item",
    [
        pytest.param(compress.Binarize(method="binary_connect", epochs=30), marks=SLOW),
        pytest.param(compress.Binarize(method="bnn", epochs=30), marks=SLOW),
        pytest.param(compress.Binarize(method="xnor", epochs=30), marks=SLOW),
        pytest.param(compress.Ternarize(method="twn", epochs=15), marks=SLOW),
        pytest.param(compress.Ternarize(method="ttq", epochs=15), marks=SLOW),
    ],
    ids=lambda item: item.method,
)
def test_they_learn_digits_and_take_few_bits(item, tmp_path):
    from sklearn.datasets import load_digits

    digits = load_digits()
    order = np.random.RandomState(0).permutation(len(digits.target))
    x, y = (digits.images[order, ..., None] / 16).astype("float32"), digits.target[order]
    keras.utils.set_random_seed(2)
    image = keras.Input((8, 8, 1), name="image")
    net = layers.Conv2D(32, 3, padding="same", name="conv1")(image)
    for index in (2, 3):
        net = layers.BatchNormalization(momentum=0.9, name=f"norm{index}")(net)
        net = layers.ReLU(name=f"relu{index}")(net)
        net = layers.Conv2D(64, 3, padding="same", name=f"conv{index}")(net)
    net = layers.BatchNormalization(momentum=0.9, name="norm4")(net)
    net = layers.GlobalMaxPooling2D(name="pool")(net)
    model = keras.Model(image, layers.Dense(10, name="logits")(net), name="digits")

    def fit(model, *, epochs, callbacks):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(3e-3), loss)
        model.fit(x[:1300], y[:1300], batch_size=50, epochs=epochs, verbose=0)

    def evaluate(model):
        found = np.argmax(model.predict(x[1300:], verbose=0), axis=-1)
        return {"top1": float(np.mean(found == y[1300:]))}

    fit(model, epochs=8, callbacks=())
    small = compress.apply(item, model, fit=fit, evaluate=evaluate)
    assert small.report.before.metrics["top1"] > 0.9
    assert small.report.after.metrics["top1"] > 0.85
    compress.pack(small.model, tmp_path / "m")
    again = compress.unpack(tmp_path / "m")
    assert evaluate(again) == small.report.after.metrics
    kernel = small.model.get_layer("conv3").kernel
    from compress.measure.packed import weight_bytes

    bits = 8 * weight_bytes(kernel) / np.prod(kernel.shape)
    assert bits < (1.2 if item.kind == "binarize" and item.method != "xnor" else 2.2)
