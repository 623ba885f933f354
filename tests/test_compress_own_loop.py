"""`compress.prepare` and `compress.finish`: the training between them is the caller's own."""

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers
from sklearn.datasets import load_digits

import compress
from compress.catalog import PASSES, pass_class
from compress.graph import leaf_layers
from compress.graph.kernels import find_kernels
from compress.layers.parametrized import Parametrized

X, Y = load_digits(return_X_y=True)
X = (X.reshape(-1, 8, 8, 1) / 16).astype("float32")
LOSS = keras.losses.SparseCategoricalCrossentropy(from_logits=True)


@pytest.fixture(scope="module")
def trained():
    keras.utils.set_random_seed(3)
    model = keras.Sequential(
        [
            keras.Input((8, 8, 1), name="image"),
            layers.Conv2D(8, 3, strides=2, activation="relu", name="conv"),
            layers.BatchNormalization(name="norm"),
            layers.Flatten(name="flat"),
            layers.Dense(32, activation="relu", name="hidden"),
            layers.Dense(10, name="logits"),
        ],
        name="digits",
    )
    model.compile(keras.optimizers.Adam(5e-3), LOSS, metrics=["accuracy"])
    model.fit(X, Y, epochs=4, batch_size=64, verbose=0)
    return model


def loop(model, *, rate, steps=40):
    """A loop that knows nothing of Keras' `fit`, and calls no callback; returns the losses."""
    optimizer = keras.optimizers.Adam(rate)
    optimizer.build(model.trainable_variables)

    @tf.function
    def step(x, y):
        with tf.GradientTape() as tape:
            loss = LOSS(y, model(x, training=True))
        slopes = tape.gradient(loss, model.trainable_variables)
        optimizer.apply(slopes, model.trainable_variables)
        return loss

    data = tf.data.Dataset.from_tensor_slices((X, Y)).shuffle(2000, seed=1).repeat().batch(64)
    return [float(step(x, y)) for x, y in data.take(steps)]


def distinct(model):
    kernels, _ = find_kernels(dict(leaf_layers(model)))
    return {path: np.unique(kernel.variable.numpy()).size for path, kernel in kernels.items()}


def zeros(model):
    kernels, _ = find_kernels(dict(leaf_layers(model)))
    return [float(np.mean(kernel.variable.numpy() == 0)) for kernel in kernels.values()]


CASES = {
    "prune": (
        compress.Prune(sparsity=0.75),
        2e-3,
        lambda model: zeros(model) == pytest.approx([0.75] * 3, abs=0.01),
    ),
    "share": (
        compress.ShareWeights(bits=3),
        2e-3,
        lambda model: max(distinct(model).values()) == 8,
    ),
    "ternary": (
        compress.Ternarize(ends=True),
        5e-3,
        lambda model: set(distinct(model).values()) == {3},
    ),
    "binary": (
        compress.Binarize(method="binary_connect", ends=True),
        5e-3,
        lambda model: set(distinct(model).values()) == {2},
    ),
    "entropy": (
        compress.Entropy(rate=1e-5, vector_bits=None),
        2e-3,
        lambda model: max(distinct(model).values()) < 40,
    ),
    "int4": (compress.Quantize(bits=4), 1e-3, lambda model: compress.has_ranges(model)),
    "zeros_shared": (
        compress.Pipeline([compress.Prune(sparsity=0.75), compress.ShareWeights(bits=3)]),
        2e-3,
        lambda model: (
            min(zeros(model)) > 0.7 and max(distinct(model).values()) <= 9  # zero beside them
        ),
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_a_loop_of_the_callers_own_trains_what_a_pass_prepares(trained, name):
    plan, rate, is_so = CASES[name]
    before = [weight.numpy() for weight in trained.weights]
    prepared = compress.prepare(plan, trained, samples=X[:200])
    assert not prepared.compiled
    at_once = compress.finish(prepared)
    losses = loop(prepared, rate=rate)
    assert np.mean(losses[-10:]) < np.mean(losses[:3]), "it does not learn"
    small = compress.finish(prepared)
    assert is_so(small)
    moved = [
        float(np.abs(a - b).max()) for a, b in zip(at_once.weights, small.weights, strict=True)
    ]
    assert max(moved) > 1e-3, "the loop has not changed what is stored"
    # What is stored is what the prepared model computed; 4 bits round their biases too.
    want, got = (model(X[:256], training=False).numpy() for model in (prepared, small))
    scale = np.abs(want).max()
    assert np.abs(got - want).max() <= (0.15 if name == "int4" else 1e-5) * scale
    kept = [layer for _, layer in leaf_layers(small) if isinstance(layer, Parametrized)]
    assert bool(kept) == (name == "int4")  # plain Keras layers, but for a grid that export reads
    # It is what the pass makes, where nothing trains, and no samples make up for that.
    if name != "zeros_shared":
        context = compress.Context(samples=X[:200] if plan.kind == "quantize" else None)
        alone = plan.changed(epochs=0).apply(trained, context).model
        for one, other in zip(at_once.weights, alone.weights, strict=True):
            np.testing.assert_allclose(one.numpy(), other.numpy(), atol=1e-6)
    for weight, value in zip(trained.weights, before, strict=True):
        np.testing.assert_array_equal(weight.numpy(), value)


def test_fit_trains_it_too_and_it_comes_back_compiled(trained, tmp_path):
    model = compress.prepare("qat-int8", trained, samples=X[:200])
    model.compile(keras.optimizers.Adam(5e-5), LOSS, metrics=["accuracy"])
    stop = compress.Quantize(freeze=0.5).callback()
    model.fit(X, Y, epochs=2, batch_size=128, callbacks=[stop], verbose=0)
    small = compress.finish(model)
    found = small.evaluate(X, Y, verbose=0, return_dict=True)
    assert (
        found["accuracy"] > trained.evaluate(X, Y, verbose=0, return_dict=True)["accuracy"] - 0.02
    )
    small.save(tmp_path / "small.keras")
    again = keras.saving.load_model(tmp_path / "small.keras", compile=False)
    np.testing.assert_array_equal(again(X[:50]).numpy(), small(X[:50]).numpy())


@pytest.mark.parametrize(
    ("recipe", "most"), [("binary", 2), ("ternary", 3), ("deep-compression", 17)]
)
def test_a_recipe_that_ends_in_a_packed_file_is_prepared(trained, recipe, most, tmp_path):
    prepared = compress.prepare(recipe, trained)
    loop(prepared, rate=1e-3, steps=2)
    small = compress.finish(prepared)
    kernel = small.get_layer("hidden").kernel.numpy()
    assert max(np.unique(column).size for column in kernel.T) <= most
    before = compress.pack(trained, tmp_path / "trained.packed")
    assert compress.pack(small, tmp_path / "small.packed") < 0.6 * before


def test_what_cannot_be_prepared_is_said_in_a_line(trained):
    formless = {kind for kind in PASSES if "prepare" not in vars(pass_class(kind))}
    assert formless == {
        "prune_channels", "low_rank", "winograd", "fold_batch_norm", "distill", "huffman",
    }  # fmt: skip
    for kind in sorted(formless):
        settings = {"ratio": 0.5} if kind == "prune_channels" else {}
        settings = {"rank": 2} if kind == "low_rank" else settings
        with pytest.raises(ValueError, match=f"prepare: {kind} has no form of its own"):
            compress.prepare(pass_class(kind)(**settings), trained)
    with pytest.raises(ValueError, match="rounds and rewind of Prune take several trainings"):
        compress.prepare(compress.Prune(sparsity=0.5, rounds=2), trained)
    limits = compress.Budget(max_drop=0.1)
    with pytest.raises(ValueError, match="got a plan with a budget"):
        compress.prepare(compress.Pipeline([compress.Prune(sparsity=0.5)], limits), trained)
    with pytest.raises(ValueError, match="finish: 'digits' has no layer in a form to be trained"):
        compress.finish(trained)
