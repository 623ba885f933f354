"""Each pass for itself: oracles, closed forms, and fine-tuning on scikit-learn's digits."""

import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import compress
from compress import factors, masking
from compress.graph import copy_model, leaf_layers
from compress.passes.prune import Schedule

RANDOM = np.random.RandomState(7)


def zeros(array):
    return int(np.sum(np.asarray(array) == 0))


def kernels(model):
    return masking.find_kernels(dict(leaf_layers(model)))[0]


@pytest.fixture(scope="module")
def tfmot():
    """tensorflow-model-optimization: works on Keras 2, but its mathematics is the same."""
    assert tf.keras.__name__  # pins tf.keras to Keras 3 before the import below turns it to Keras 2
    legacy = os.environ.get("TF_USE_LEGACY_KERAS")
    module = pytest.importorskip("tensorflow_model_optimization")
    if legacy is None:
        os.environ.pop("TF_USE_LEGACY_KERAS", None)
    return module


# --- oracles ---


@pytest.mark.oracle
@pytest.mark.parametrize("initial", [0.0, 0.3])
@pytest.mark.parametrize("power", [1, 3])
def test_schedule_equals_tfmots(tfmot, initial, power):
    begin, end, num_steps, final = 30, 150, 200, 0.9
    ours = Schedule(begin=begin / num_steps, end=end / num_steps, initial=initial, power=power)
    theirs = tfmot.sparsity.keras.PolynomialDecay(initial, final, begin, end, power=power)
    for step in range(num_steps + 1):
        expected = float(theirs(tf.constant(step))[1])
        assert ours.sparsity(step, num_steps, final=final) == pytest.approx(expected, abs=1e-6)


@pytest.mark.oracle
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(300, 100), (3, 3, 16, 32), (8,), (1000, 1)])
def test_masks_equal_tfmots(tfmot, sparsity, shape):
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    weights = np.random.RandomState(len(shape)).randn(*shape).astype("float32")
    schedule = tfmot.sparsity.keras.ConstantSparsity(sparsity, 0)
    theirs = pruning_impl.Pruning(lambda: tf.constant(0), [], schedule, (1, 1), "AVG")
    _, expected = theirs._update_mask(tf.constant(weights))
    (mask,) = masking.magnitude_masks([weights], sparsity)
    np.testing.assert_array_equal(mask, expected.numpy() == 1)


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(40, 25), (25, 40), (30, 30)])
@pytest.mark.parametrize("rank", [1, 7, 20])
def test_factors_are_as_close_as_eckart_and_young_allow(shape, rank):
    layer = layers.Dense(shape[1], activation="relu", name="fc")
    layer.build((None, shape[0]))
    layer.bias.assign(RANDOM.randn(shape[1]))
    matrix = np.asarray(layer.kernel, "float64")
    singular = np.linalg.svd(matrix, compute_uv=False)

    svd = factors.decompose(layer)
    first, second = factors.split(layer, svd, rank)
    product = np.asarray(first.kernel, "float64") @ np.asarray(second.kernel, "float64")
    error = np.linalg.norm(matrix - product)
    assert error == pytest.approx(np.sqrt(np.sum(singular[rank:] ** 2)), rel=1e-5)
    assert svd.relative_error(rank) == pytest.approx(error / np.linalg.norm(matrix), rel=1e-5)
    for factor in (first.kernel, second.kernel):  # the singular values are split evenly
        found = np.linalg.svd(np.asarray(factor), compute_uv=False)
        np.testing.assert_allclose(found[:rank], np.sqrt(singular[:rank]), rtol=1e-4)

    x = RANDOM.randn(5, shape[0]).astype("float32")
    expected = np.maximum(x @ product + np.asarray(layer.bias), 0)
    np.testing.assert_allclose(second(first(x)), expected, rtol=1e-3, atol=1e-4)


# --- masks ---


@pytest.mark.parametrize(
    "weights",
    [
        np.zeros(10),
        np.ones(10),
        np.array([0, 0, 0, 1, 1, 1, 1, 2, 2, -2]),
        np.array([-3.0, 2.0, 1.0, 0.5, 0.25, 0.0, 1e-30, -1e-30, 4.0, 5.0]),
    ],
    ids=["zeros", "equal", "ties", "distinct"],
)
@pytest.mark.parametrize("sparsity", np.arange(10) / 10)
def test_number_of_zeros_is_exact_even_with_ties(weights, sparsity):
    (mask,) = masking.magnitude_masks([weights.astype("float32")], sparsity)
    num_masked = round(10 * sparsity)
    assert np.count_nonzero(~mask) == num_masked
    kept, masked = np.abs(weights[mask]), np.abs(weights[~mask])
    assert num_masked in (0, 10) or masked.max() <= kept.min()


def test_scope_model_ranks_all_kernels_together():
    small, large = np.full((4, 5), 0.1), np.full((2, 5), 3.0)
    first, second = masking.magnitude_masks([small, large], 20 / 30)
    assert not first.any()
    assert second.all()
    assert first.shape == small.shape


def test_layers_without_a_prunable_kernel_say_why():
    image = keras.Input((8, 8, 2))
    x = layers.SeparableConv2D(4, 3, name="separable")(image)
    x = layers.DepthwiseConv2D(3, name="depthwise")(x)
    x = layers.BatchNormalization(name="norm")(x)
    x = layers.Flatten(name="flat")(x)
    model = keras.Model(image, layers.Dense(3, name="fc")(x))
    pruned, report = compress.Prune(sparsity=0.5, skip=("fc",)).apply(model)
    assert {row.path: row.note for row in report.layers} == {
        "separable": "4 of 8 kernel weights are zero",
        "depthwise": "depthwise: its few weights are all that each channel has",
        "norm": "BatchNormalization is neither a dense layer nor a convolution",
        "flat": "has no weights",
        "fc": "named by `skip`: fc",
    }
    assert zeros(pruned.get_layer("separable").depthwise_kernel) == 0
    assert zeros(pruned.get_layer("separable").pointwise_kernel) == 4


def test_quantised_kernels_stay():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6, name="fc")])
    model.quantize("int8")
    for item in (compress.Prune(sparsity=0.5), compress.LowRank(rank=1)):
        (row,) = item.apply(model)[1].layers
        assert (row.changed, row.note) == (False, "its kernel is quantised or adapted")


# --- ranks ---


@pytest.fixture
def diagonal():
    """A layer whose singular values are 4, 3, 2, 1, 0, 0."""
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6, name="fc")])
    model.layers[0].kernel.assign(np.diag([4.0, 3.0, 2.0, 1.0, 0.0, 0.0]))
    return model


@pytest.mark.parametrize(
    ("item", "note"),
    [
        (compress.LowRank(rank=1), "rank 1: 12 weights for 36, relative error 0.683"),
        (compress.LowRank(energy=0.5), "rank 1: 12 weights for 36, relative error 0.683"),
        (compress.LowRank(energy=0.8), "rank 2: 24 weights for 36, relative error 0.408"),
        (
            compress.LowRank(energy=0.9),
            "its factors of rank 3 would hold 36 weights, it holds 36",
        ),
        (
            compress.LowRank(energy=1.0),
            "its factors of rank 4 would hold 48 weights, it holds 36",
        ),
        (compress.LowRank(ratio=0.7), "rank 2: 24 weights for 36, relative error 0.408"),
        (compress.LowRank(ratio=0.01), "rank 1: 12 weights for 36, relative error 0.683"),
        (compress.LowRank(rank=99), "its factors of rank 6 would hold 72 weights, it holds 36"),
    ],
)
def test_rank_and_note(diagonal, item, note):
    small, report = item.apply(diagonal)
    assert report.layers[0].note == note
    assert report.layers[0].changed is note.startswith("rank")
    names = ["fc_u", "fc"] if report.layers[0].changed else ["fc"]
    assert [layer.name for layer in small.layers] == names


def test_kernel_of_zeros_has_rank_one():
    model = keras.Sequential([keras.Input((6,)), layers.Dense(6, kernel_initializer="zeros")])
    small, report = compress.LowRank(energy=0.9).apply(model)
    assert report.layers[0].note == "rank 1: 12 weights for 36, relative error 0.000"
    assert zeros(small(np.ones((2, 6)))) == 12


def test_full_rank_keeps_the_outputs():
    model = keras.Sequential([keras.Input((40,)), layers.Dense(10, activation="tanh", name="fc")])
    low = RANDOM.randn(40, 3) @ RANDOM.randn(3, 10) / 10
    model.layers[0].kernel.assign(low)
    small = compress.LowRank(energy=1 - 1e-6).apply(model).model
    assert small.layers[0].units == 3
    x = RANDOM.randn(8, 40).astype("float32")
    np.testing.assert_allclose(small(x), model(x), atol=1e-5)


# --- fine-tuning ---

DIGITS = load_digits()
ORDER = np.random.RandomState(0).permutation(len(DIGITS.target))
IMAGES, LABELS = (DIGITS.images[ORDER, ..., None] / 16).astype("float32"), DIGITS.target[ORDER]
BATCH, TRAIN = 50, 1300  # 26 steps for each epoch


def fit(model, *, epochs, callbacks=()):
    """What a user of Keras alone would write."""
    keras.utils.set_random_seed(0)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(2e-3), loss)
    model.fit(
        IMAGES[:TRAIN],
        LABELS[:TRAIN],
        batch_size=BATCH,
        epochs=epochs,
        callbacks=list(callbacks),
        verbose=0,
    )


def fit_a_copy(model, *, epochs, callbacks=()):
    """Like a trainer that trains a twin elsewhere, and brings its weights back."""
    twin = copy_model(model)
    fit(twin, epochs=epochs, callbacks=callbacks)
    model.set_weights(twin.get_weights())


def evaluate(model):
    found = np.argmax(model.predict(IMAGES[TRAIN:], verbose=0), axis=-1)
    return {"top1": float(np.mean(found == LABELS[TRAIN:]))}


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(1)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(16, 3, padding="same", activation="relu", name="conv1"),
            layers.BatchNormalization(name="norm"),
            layers.Conv2D(32, 3, strides=2, padding="same", activation="relu", name="conv2"),
            layers.Flatten(name="flat"),
            layers.Dense(96, activation="relu", name="fc"),
            layers.Dense(10, name="logits"),
        ],
        name="digits",
    )
    fit(model, epochs=8)
    return model


class Spy(keras.callbacks.Callback):
    """Counts the zeros of each kernel after each step."""

    def __init__(self):
        super().__init__()
        self.counts = []

    def on_train_batch_end(self, batch, logs=None):
        self.counts.append({path: zeros(kernel) for path, kernel in kernels(self.model).items()})


@pytest.mark.parametrize(
    ("item", "trainer"),
    [
        (compress.Prune(sparsity=0.8, epochs=4), fit),
        (compress.Prune(sparsity=0.8, epochs=4), fit_a_copy),
        (compress.Prune(sparsity=0.9, epochs=6, scope="model"), fit),
        (compress.LowRank(energy=0.8, epochs=2), fit_a_copy),
    ],
    ids=["prune80", "prune80_copy", "prune90_model", "low_rank_copy"],
)
def test_fine_tuning_keeps_the_accuracy(trained, item, trainer):
    before = [w.numpy() for w in trained.weights]
    small = compress.apply(item, trained, fit=trainer, evaluate=evaluate)
    at_once = evaluate(item.apply(trained).model)["top1"]
    old, new = small.report.before.metrics["top1"], small.report.after.metrics["top1"]
    assert new >= old - 0.03  # measured: 0.978 before; 0.964, 0.970 and 0.970 after
    if item.kind == "prune":
        assert at_once < old - 0.05, "without fine-tuning it would have done as well"
    assert small.report.passes[0].note == f"fine-tuned for {item.epochs} epochs"
    assert new == evaluate(small.model)["top1"]
    assert not small.model.compiled
    for a, b in zip(trained.weights, before, strict=True):
        np.testing.assert_array_equal(a.numpy(), b)


@pytest.mark.parametrize("scope", ["layer", "model"])
def test_sparsity_follows_the_schedule_in_the_weights(trained, scope):
    schedule = Schedule(begin=0.2, end=0.7, initial=0.3, every=4)
    item = compress.Prune(sparsity=0.9, scope=scope, schedule=schedule)
    model, spy = copy_model(trained), Spy()
    fit(model, epochs=2, callbacks=[item.callback(), spy])  # a user of Keras alone
    sizes = {path: int(np.prod(kernel.shape)) for path, kernel in kernels(model).items()}
    assert len(spy.counts) == 52
    for step, counts in enumerate(spy.counts, start=1):
        turn = schedule.turn(step, 52)
        sparsity = 0.0 if turn is None else schedule.sparsity(turn, 52, final=0.9)
        if scope == "layer":
            expected = {path: round(sparsity * size) for path, size in sizes.items()}
            assert counts == expected
        else:
            assert sum(counts.values()) == round(sparsity * sum(sizes.values()))
    assert spy.counts[-1] == {path: zeros(kernel) for path, kernel in kernels(model).items()}


def test_masks_are_final_after_the_schedule(trained):
    class Keep(Spy):
        def on_train_batch_end(self, batch, logs=None):
            self.counts.append({p: np.asarray(k) != 0 for p, k in kernels(self.model).items()})

    item, keep, model = compress.Prune(sparsity=0.8), Keep(), copy_model(trained)
    fit(model, epochs=2, callbacks=[item.callback(), keep])
    end = round(0.75 * 52)
    for masks in keep.counts[end:]:
        for path, mask in masks.items():
            np.testing.assert_array_equal(mask, keep.counts[end - 1][path])
    before, after = keep.counts[0], keep.counts[-1]
    assert all(not np.any(after[path] & ~before[path]) for path in after), "a zero came back"


def test_training_cut_short_still_reaches_the_target(trained):
    class Stop(keras.callbacks.Callback):
        def on_epoch_end(self, epoch, logs=None):
            self.model.stop_training = True

    def fit_one_epoch(model, *, epochs, callbacks):
        fit(model, epochs=epochs, callbacks=[*callbacks, Stop()])

    item = compress.Prune(sparsity=0.9, epochs=3)
    small, report = item.apply(trained, compress.Context(fit=fit_one_epoch))
    assert report.note.startswith("fine-tuned for 3 epochs; from sparsity 0.")
    assert report.note.endswith(" to 0.9 in one shot")
    for kernel in kernels(small).values():
        assert zeros(kernel) == round(0.9 * np.prod(kernel.shape))


def test_without_fit_or_epochs_pruning_is_one_shot(trained):
    _, report = compress.Prune(sparsity=0.5).apply(trained)
    assert report.note == "not fine-tuned: no `fit`; from sparsity 0 to 0.5 in one shot"
    _, report = compress.Prune(sparsity=0.5, epochs=0).apply(trained, compress.Context(fit=fit))
    assert report.note == "not fine-tuned: `epochs` is 0; from sparsity 0 to 0.5 in one shot"


def test_callback_needs_the_number_of_steps(trained):
    def endless():
        while True:
            yield IMAGES[:BATCH], LABELS[:BATCH]

    model = copy_model(trained)
    model.compile("sgd", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    callback = compress.Prune(sparsity=0.5).callback()
    with pytest.raises(ValueError, match="expected numbers of epochs and of steps"):
        model.fit(endless(), callbacks=[callback], verbose=0)


def test_callback_names_layers_that_the_trained_model_lacks(trained):
    callback = compress.Prune(sparsity=0.5, layers=("fc9",)).callback()
    with pytest.raises(ValueError, match=r"'fc9' matches no layer. Did you mean 'fc'\?"):
        fit(copy_model(trained), epochs=1, callbacks=[callback])


def test_callback_counts_steps_of_longer_executions(trained):
    model = copy_model(trained)
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(1e-3), loss, steps_per_execution=4)
    callback = compress.Prune(sparsity=0.8).callback()
    model.fit(IMAGES[:1200], LABELS[:1200], batch_size=BATCH, callbacks=[callback], verbose=0)
    assert callback.sparsity == 0.8
    for kernel in kernels(model).values():
        assert zeros(kernel) == round(0.8 * np.prod(kernel.shape))


MIRRORED = """
import keras, numpy as np, tensorflow as tf, compress
cpu = tf.config.list_physical_devices("CPU")[0]
tf.config.set_logical_device_configuration(cpu, [tf.config.LogicalDeviceConfiguration()] * 2)
strategy = tf.distribute.MirroredStrategy(["CPU:0", "CPU:1"])
with strategy.scope():
    fc = keras.layers.Dense(20, name="fc")
    model = keras.Sequential([keras.Input((6,)), fc, keras.layers.Dense(3)])
    model.compile(keras.optimizers.Adam(0.01), "mse")
x = np.random.RandomState(0).randn(64, 6)
callback = compress.Prune(sparsity=0.75).callback()
model.fit(x, x[:, :3], batch_size=16, epochs=5, verbose=0, callbacks=[callback])
values = strategy.experimental_local_results(fc.kernel.value)
assert len(values) == 2
np.testing.assert_array_equal(values[0], values[1])
print(int(np.sum(values[0].numpy() == 0)), values[0].shape)
"""


@pytest.mark.dist
def test_callback_under_a_mirrored_strategy():
    done = subprocess.run(
        [sys.executable, "-c", MIRRORED], capture_output=True, text=True, timeout=300
    )
    assert done.stdout.strip() == "90 (6, 20)", done.stderr[-2000:]
