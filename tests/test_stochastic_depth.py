"""Stochastic depth: the draws, the expectation, and the nets that hold it."""

import keras
import numpy as np
import pytest
import tensorflow as tf

import export
from compress.graph import copy_model
from tests.golden import vector
from zoo.layers import StochasticDepth
from zoo.models import create
from zoo.training.twin import make_twin

ONES = np.ones((4, 2, 2, 3), "float32")


def draws(layer, number=2000):
    """Of each draw in training, the factor of each row."""
    step = tf.function(lambda: layer(ONES, training=True))
    return np.stack([step().numpy().reshape(4, -1) for _ in range(number)])


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_draws_have_the_survival_probability(mode):
    found = draws(StochasticDepth(0.7, mode=mode, seed=1))
    assert set(np.unique(found)) == {0, 1}  # what is kept is left unscaled
    assert (found == found[:, :, :1]).all()  # a whole row
    assert found.mean() == pytest.approx(0.7, abs=0.04)  # four deviations of 2,000 draws
    together = (found[:, :, 0] == found[:, :1, 0]).all(axis=1).mean()
    alone = 0.7**4 + 0.3**4  # four independent rows that happen to agree
    assert together == pytest.approx(1 if mode == "batch" else alone, abs=0.04)


@pytest.mark.parametrize("mode", ["batch", "row"])
def test_inference_is_the_expectation(mode):
    layer = StochasticDepth(0.7, mode=mode, seed=1)
    np.testing.assert_array_equal(layer(3 * ONES), 3 * np.float32(0.7) * ONES)
    assert draws(layer).mean() == pytest.approx(layer(ONES).numpy().mean(), abs=0.04)


def test_equal_seeds_give_equal_draws_and_a_state_continues():
    first, second = (draws(StochasticDepth(0.5, seed=3), 50) for _ in range(2))
    np.testing.assert_array_equal(first, second)
    layer, again = StochasticDepth(0.5, seed=3), StochasticDepth(0.5, seed=3)
    draws(layer, 20)
    for old, new in zip(layer.variables, again.variables, strict=True):
        new.assign(old)
    np.testing.assert_array_equal(draws(again, 30), first[20:])


def test_a_dropped_branch_gets_no_gradient():
    layer = StochasticDepth(0.5, seed=0)
    x = tf.constant(ONES)
    seen = set()
    for _ in range(20):
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = layer(x, training=True)
            loss = tf.reduce_sum(2 * y)
        gradient = tape.gradient(loss, x).numpy()
        np.testing.assert_array_equal(gradient, 2 * y.numpy())
        seen.add(float(gradient[0, 0, 0, 0]))
    assert seen == {0.0, 2.0}


def test_gradient_at_inference_equals_finite_differences():
    layer = StochasticDepth(0.6, dtype="float64")
    x = tf.constant(np.random.RandomState(0).normal(size=(2, 3)))
    (exact,), (numeric,) = tf.test.compute_gradient(layer, [x])
    np.testing.assert_allclose(exact, 0.6 * np.eye(6))
    np.testing.assert_allclose(numeric, exact, atol=1e-6)


def test_config_round_trip():
    layer = StochasticDepth(0.8, mode="row", seed=5, name="depth")
    again = keras.layers.deserialize(keras.layers.serialize(layer))
    assert type(again) is StochasticDepth
    assert again.get_config() == layer.get_config()
    np.testing.assert_array_equal(draws(again, 20), draws(layer, 20))


@pytest.mark.parametrize("dtype", ["float16", "bfloat16", "float64"])
def test_keeps_the_type(dtype):
    layer = StochasticDepth(0.75, dtype=dtype, seed=0)
    for training in (False, True):
        assert layer(tf.ones((2, 3), dtype), training=training).dtype == dtype


def test_half_precision_draws_in_single():
    """In bfloat16 0.999 is 1, and nothing would ever be dropped."""
    layer = StochasticDepth(0.99, mode="row", dtype="mixed_bfloat16", seed=0)
    kept = layer(tf.ones((20_000, 1)), training=True).numpy().astype("float32").mean()
    assert kept == pytest.approx(0.99, abs=0.003)


def test_survival_of_one_changes_nothing():
    layer = StochasticDepth(1.0)
    for training in (False, True):
        np.testing.assert_array_equal(layer(ONES, training=training), ONES)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"survival": 0.0}, r"survival got 0.0; expected a number in \(0, 1\]"),
        ({"survival": 1.5}, "survival got 1.5"),
        ({"survival": 0.5, "mode": "image"}, "mode got 'image'"),
    ],
)
def test_refuses(arguments, message):
    with pytest.raises(ValueError, match=message):
        StochasticDepth(**arguments)


# In the nets


def depths(net):
    return [layer for layer in net.layers if isinstance(layer, StochasticDepth)]


def test_survival_falls_linearly_to_the_papers_expected_depth():
    """Section 3: 54 blocks, of which 40.25 are active on average, 3/4 of them and a little."""
    with keras.StatelessScope(initialize_variables=False):
        net = create("resnet110_sd")
    rates = [layer.survival for layer in depths(net)]
    np.testing.assert_allclose(rates, 1 - np.arange(1, 55) / 54 * 0.5)
    assert sum(rates) == pytest.approx(40.25)
    keras.utils.clear_session()


def test_expected_depth():
    """Blocks that are active in many draws of the layers' own generators."""
    layers = [StochasticDepth(1 - 0.5 * block / 54, seed=block) for block in range(1, 55)]

    @tf.function
    def active():
        return tf.add_n([layer(tf.ones(()), training=True) for layer in layers])

    counts = np.array([active().numpy() for _ in range(1000)])
    assert counts.mean() == pytest.approx(40.25, abs=0.4)  # four deviations: sqrt(8.8 / 1000)
    assert counts.var() == pytest.approx(
        sum(x.survival * (1 - x.survival) for x in layers), rel=0.2
    )


@pytest.fixture(scope="module")
def small():
    """Three blocks, half of them dropped; of the seeds one in ten always drops the last."""
    keras.utils.set_random_seed(0)
    net = create("resnet110_sd", input_shape=(8, 8, 3), depth=8, survival=0.25)
    vector.fill(net)
    return net


def test_twin_trains_and_keeps_the_rates(small):
    twin = make_twin(small, "mixed_bfloat16", replicas=1)
    assert [x.survival for x in depths(twin)] == [x.survival for x in depths(small)]
    x = vector.sample(small)
    dropped = 0
    for _ in range(8):
        with tf.GradientTape() as tape:
            loss = tf.reduce_sum(tf.square(twin(x, training=True)))
        weights = {w.path: w for w in twin.trainable_variables}
        found = tape.gradient(loss, [w.value for w in weights.values()])
        gradients = dict(zip(weights, found, strict=True))
        assert all(np.isfinite(g).all() for g in gradients.values())
        last = np.abs(gradients["stage3_block1_conv2/kernel"]).max()
        dropped += last == 0
    assert 0 < dropped < 8


def test_copies_continue_the_draws(small):
    copy = copy_model(small)
    x = vector.sample(small)
    for _ in range(3):
        np.testing.assert_array_equal(small(x, training=True), copy(x, training=True))


@pytest.mark.parametrize("target", ["tflite", "onnx"])
def test_exports(small, target, tmp_path):
    """`export` compares the file with Keras, and refuses one that differs."""
    done = export.export(small, target, tmp_path / target)
    assert done.manifest.parity.passed


def test_deeper_than_pythons_recursion():
    """Keras walks a graph by recursion where it builds, clones or loads one."""
    with keras.StatelessScope(initialize_variables=False):
        net = create("resnet1202_sd", input_shape=(8, 8, 3), depth=302)
        clone = keras.models.clone_model(net)
        loaded = keras.Model.from_config(net.get_config())
    assert len(net.layers) == len(clone.layers) == len(loaded.layers) > 1200
    keras.utils.clear_session()
