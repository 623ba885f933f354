"""Masks and factors: oracles and closed forms."""

import keras
import numpy as np
import pytest
from keras import layers

import compress
from compress.passes.low_rank import factors, singular
from compress.passes.prune import masks

RANDOM = np.random.RandomState(7)


def zeros(array):
    return int(np.sum(np.asarray(array) == 0))


# --- oracles ---


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


@pytest.mark.oracle
@pytest.mark.parametrize("shape", [(30, 90), (90, 30)])
@pytest.mark.parametrize("smallest", [1.0, 1e-4, 0.0])
def test_singular_values_are_those_of_lapack(shape, smallest):
    u, _, vt = np.linalg.svd(RANDOM.randn(*shape), full_matrices=False)
    matrix = ((u * np.linspace(5, smallest, 30)) @ vt).astype("float32")
    expected = np.linalg.svd(matrix.astype("float64"), compute_uv=False)
    found = singular.decompose(matrix)
    np.testing.assert_allclose(found.s, expected, atol=5e-7 * expected[0])
    np.testing.assert_allclose(singular.values(matrix), expected, atol=1e-7 * expected[0])
    np.testing.assert_allclose((found.u * found.s) @ found.vt, matrix, atol=2e-6 * expected[0])
    for basis in (found.u.T, found.vt):
        gram = basis @ basis.T
        np.testing.assert_allclose(gram, np.diag(np.round(np.diag(gram))), atol=1e-3)


def test_a_kernel_of_zeros_has_no_singular_values():
    assert not any(part.any() for part in singular.decompose(np.zeros((4, 6), "float32"))[1:])


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
    (mask,) = masks.magnitude_masks([weights.astype("float32")], sparsity)
    num_masked = round(10 * sparsity)
    assert np.count_nonzero(~mask) == num_masked
    kept, masked = np.abs(weights[mask]), np.abs(weights[~mask])
    assert num_masked in (0, 10) or masked.max() <= kept.min()


def test_scope_model_ranks_all_kernels_together():
    small, large = np.full((4, 5), 0.1), np.full((2, 5), 3.0)
    first, second = masks.magnitude_masks([small, large], 20 / 30)
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


def test_a_table_of_words_is_a_kernel():
    """Pruned, shared, and as a product of two; one that does not learn stays."""
    keras.utils.set_random_seed(0)
    words = keras.Input((5,), dtype="int32", name="words")
    table = layers.Embedding(30, 8, mask_zero=True, name="table")
    fixed = layers.Embedding(30, 8, trainable=False, name="fixed")
    x = layers.LSTM(4, name="lstm")(layers.Add(name="add")([table(words), fixed(words)]))
    model = keras.Model(words, layers.Dense(3, name="fc")(x))
    old = table.embeddings.numpy()
    for item, note in (
        (compress.Prune(sparsity=0.5), "of 240 kernel weights are zero"),
        (compress.ShareWeights(bits=3), "8 values"),
        (compress.LowRank(rank=2), "rank 2: 76 weights for 240"),
    ):
        small, report = item.apply(model)
        rows = {row.path: row for row in report.layers}
        assert rows["table"].changed and note in rows["table"].note
        assert not rows["fixed"].changed and rows["fixed"].note == "its table does not learn"
        assert rows["lstm"].changed
    u, s, vt = np.linalg.svd(old, full_matrices=False)
    tokens = np.arange(30).reshape(6, 5)
    first, second = small.get_layer("table_u"), small.get_layer("table")
    np.testing.assert_allclose(
        second(first(tokens[0])), ((u[:, :2] * s[:2]) @ vt[:2])[:5], atol=1e-6
    )
    assert first.mask_zero and small(tokens).shape == (6, 3)


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
