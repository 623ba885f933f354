"""Kernels that learn what a bit of them costs, and the coder that their bits are those of."""

import itertools

import keras
import numpy as np
import pytest
from keras import layers, ops
from sklearn.datasets import load_digits

import compress
from compress.graph.holding import parametrize
from compress.layers.latent import Latent, bits, prices
from compress.measure.coder import decoded, encoded, matrix_shape
from compress.measure.weights import short, step_of
from compress.passes.entropy.multiplier import Multiplier
from compress.passes.entropy.rounding import on_grid, rounded

RANDOM = np.random.RandomState(0)
IMAGES, LABELS = load_digits(return_X_y=True)
IMAGES = (IMAGES / 16).astype("float32")


def sparse(shape, share, most=3):
    """Integers at random places, of sizes that are equally frequent."""
    sizes = RANDOM.randint(1, most + 1, shape) * RANDOM.choice([-1, 1], shape)
    return sizes * (RANDOM.rand(*shape) < share)


def entropy_bytes(matrix):
    counts = np.unique(matrix, return_counts=True)[1]
    return -(counts * np.log2(counts / counts.sum())).sum() / 8


def net():
    keras.utils.set_random_seed(0)
    pixels = keras.Input((64,), name="pixels")
    x = layers.Dense(32, "relu", name="fc1")(pixels)
    model = keras.Model(pixels, layers.Dense(10, name="logits")(x), name="net")
    loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
    model.compile(keras.optimizers.Adam(3e-3), loss, metrics=["accuracy"])
    return model


@pytest.fixture(scope="module")
def trained():
    model = net()
    model.fit(IMAGES, LABELS, batch_size=64, epochs=6, verbose=0)
    return model


def apply(plan, model, **settings):
    data = compress.Data(IMAGES, LABELS, batch_size=64)
    return compress.apply(plan, model, data=data, validation=(IMAGES, LABELS), **settings)


# --- the coder ---


@pytest.mark.parametrize("lag", [0, 1, 3])
def test_every_matrix_comes_back(lag):
    for rows, columns, most in itertools.product((1, 9, 40), (1, 17), (1, 5, 1 << 20)):
        for share in (0, 0.1, 1):
            matrix = sparse((rows, columns), share, most)
            code = encoded(matrix, lag)
            np.testing.assert_array_equal(decoded(code, (rows, columns), lag), matrix)


@pytest.mark.parametrize(
    ("shape", "share", "most"), [((784, 300), 0.05, 3), ((300, 200), 0.5, 1), ((400, 300), 0.9, 7)]
)
def test_a_code_is_near_the_entropy(shape, share, most):
    matrix = sparse(shape, share, most)
    assert len(encoded(matrix)) < 1.02 * entropy_bytes(matrix)


def test_structure_is_worth_bytes():
    """Dead rows and columns, and rows that resemble one another at a distance."""
    matrix = sparse((400, 100), 0.2)
    matrix[RANDOM.rand(400) < 0.5] = 0
    matrix[:, RANDOM.rand(100) < 0.5] = 0
    alive = matrix[np.ix_(matrix.any(1), matrix.any(0))]
    assert len(encoded(matrix)) < min(1.1 * entropy_bytes(alive), 0.85 * entropy_bytes(matrix))
    again = np.tile(sparse((20, 100), 0.2), (20, 1))
    assert len(encoded(again, 20)) < 0.5 * len(encoded(again))


def test_a_damaged_code_gives_another_matrix_or_an_error():
    matrix = sparse((50, 50), 0.2)
    code, kinds = encoded(matrix), set()
    for place in range(0, len(code), 7):
        broken = code[:place] + bytes([code[place] ^ 255]) + code[place + 1 :]
        try:
            kinds.add(type(decoded(broken, (50, 50))).__name__)
        except BaseException as error:  # the coder's own is no `Exception`
            kinds.add(type(error).__name__)
    assert kinds <= {"ndarray", "ValueError", "AssertionError", "PanicException"}


@pytest.mark.parametrize(
    ("shape", "sides"),
    [((784, 300), (784, 300)), ((3, 3, 16, 1), (9, 16)), ((7,), (1, 7)), ((3, 3, 1, 20), (9, 20))],
)
def test_matrices_of_kernels(shape, sides):
    assert matrix_shape(shape) == sides


# --- weights on grids ---


@pytest.mark.parametrize("step", [0.05, 1.0, 3e-4, 7.7])
def test_a_step_is_found_again(step):
    step = short(step)
    kernel = on_grid(RANDOM.randn(40, 30).astype("float32") * 2 * step, step)
    assert step_of(kernel) == step
    assert step_of(RANDOM.randn(40, 30).astype("float32")) is None
    assert rounded(rounded(kernel[0], "bias", 6), "bias", 6).tobytes() == (
        rounded(kernel[0], "bias", 6).tobytes()
    )


@pytest.mark.parametrize("scale", [short(0.013), 1.0])
def test_kernels_on_grids_are_packed_as_integers(scale, tmp_path):
    places = sparse((64, 48), 0.1, 5)
    layer = layers.Dense(48, name="fc")
    model = keras.Sequential([keras.Input((64,)), layer])
    layer.kernel.assign(places * np.float32(scale))
    layer.bias.assign(rounded(RANDOM.randn(48).astype("float32"), "bias", 8))
    size = compress.pack(model, tmp_path / "m")
    assert size < 1.1 * entropy_bytes(places) + 48 + 350  # with its graph
    again = compress.unpack(tmp_path / "m")
    for one, other in zip(model.weights, again.weights, strict=True):
        assert np.array(one.value).tobytes() == np.array(other.value).tobytes()


# --- what a bit costs ---


def code_bits(matrix):
    """The code length of a matrix of which all rows, and all columns, have equally many."""
    count, total = np.count_nonzero(matrix), abs(matrix).sum()
    flags = [count, matrix.size - count]
    ends = [count, total - count]  # of geometric sizes: where each ends
    length = sum(n * np.log2(sum(numbers) / n) for numbers in (flags, ends) for n in numbers if n)
    return length + count


def test_prices_are_the_slope_of_the_code_length():
    rows, columns = np.indices((200, 200))
    matrix = np.where((rows + columns) % 20 < 3, 1 + (rows + columns) % 2, 0).astype("float32")
    one, more = map(np.asarray, prices(abs(matrix)))
    zeros, ones = np.argwhere(matrix == 0), np.argwhere(matrix == 1)
    longer = matrix.copy()
    longer[tuple(zeros[0])] = 1
    assert one[tuple(zeros[0])] == pytest.approx(code_bits(longer) - code_bits(matrix), rel=0.05)
    longer = matrix.copy()
    longer[tuple(ones[0])] = 2
    assert more == pytest.approx(code_bits(longer) - code_bits(matrix), rel=0.05)


def test_a_full_row_is_cheaper_than_an_empty_one():
    matrix = np.zeros((10, 10), "float32")
    matrix[0], matrix[1, :2] = 1, 1
    one, _ = prices(matrix)
    assert (np.diff(np.asarray(one)[:3, 5]) > 0).all() and np.isfinite(one).all()
    for count in (0, 100):
        assert np.isfinite(np.asarray(prices(np.full((10, 10), count, "float32"))[0])).all()


def test_rounding_passes_the_gradient_and_bits_have_one():
    import tensorflow as tf

    kernel = RANDOM.randn(12, 10).astype("float32")
    latent = Latent(0.7)
    latent.build(kernel.shape)
    latent.read(kernel)
    latent.rate.assign(0.5)
    step = float(latent.step())
    assert step == pytest.approx(0.7 * np.sqrt((kernel**2).mean()), rel=2e-3)
    given = tf.Variable(kernel)
    with tf.GradientTape(persistent=True) as tape:
        used = ops.sum(latent(given) * np.arange(10.0, dtype="float32"))
        toll = latent.toll(given)
    places = np.rint(kernel / step)
    np.testing.assert_allclose(latent(given), places * step, rtol=1e-5)
    np.testing.assert_allclose(tape.gradient(used, given), np.tile(np.arange(10.0), (12, 1)))
    one, more = map(np.asarray, prices(abs(places)))
    slopes = np.where(abs(kernel / step) < 1, one, more) * np.sign(kernel) * 0.5 / step
    np.testing.assert_allclose(tape.gradient(toll, given), slopes, rtol=1e-4)
    # One step for all: sum of what each weight is off, and of x times its slope.
    scale = latent.slowness * step
    off = ((places - kernel / step) * np.arange(10.0)).sum() * scale
    assert float(tape.gradient(used, latent.log_step.value)) == pytest.approx(off, rel=1e-3)
    assert float(tape.gradient(toll, latent.log_step.value)) < 0  # a wider step has fewer bits
    assert float(bits(ops.zeros((12, 10)))) == 0


def test_the_toll_is_in_the_loss_of_a_model_that_computes_its_kernel(trained):
    held = parametrize(trained, {"fc1": [Latent()]})
    assert float(sum(held.losses)) == 0
    latent = held.get_layer("fc1").chain[0]
    latent.rate.assign(1e-3)
    kernel = trained.get_layer("fc1").kernel
    expected = 1e-3 * float(bits(kernel / latent.step()))
    assert float(sum(held.losses)) == pytest.approx(expected, rel=1e-5)
    frozen = keras.models.clone_model(trained)
    frozen.get_layer("fc1").trainable = False
    assert not parametrize(frozen, {"fc1": [Latent()]}).losses


# --- the pass ---


def test_a_dearer_bit_makes_a_smaller_file(trained):
    sizes, falls = [], []
    for rate in (1e-6, 1e-4):
        plan = compress.Pipeline([compress.Entropy(rate=rate, epochs=8), compress.Huffman()])
        report = apply(plan, trained).report
        sizes.append(report.after.size.packed_bytes)
        falls.append(report.before.metrics["accuracy"] - report.after.metrics["accuracy"])
    assert sizes[1] < 0.7 * sizes[0] and sizes[0] < 1500 and falls[0] < 0.02 and falls[1] < 0.1
    assert "a bit at 0.0001" in report.passes[0].note


def test_kernels_are_integers_of_a_step_and_zeros_stay(trained):
    pruned = compress.apply(compress.Prune(sparsity=0.5), trained).model
    pruned.compile(keras.optimizers.Adam(3e-3), trained.loss, metrics=["accuracy"])
    small = apply(compress.Entropy(epochs=2, skip=("logits",)), pruned)
    notes = {row.path: row.note for row in small.report.passes[0].layers}
    old, new = pruned.get_layer("fc1"), small.model.get_layer("fc1")
    assert type(new) is layers.Dense
    kernel = np.array(new.kernel.value)
    assert not kernel[np.array(old.kernel.value) == 0].any() and kernel.any()
    step = step_of(kernel)
    assert abs(kernel / step).max() < 32 and f"in steps of {step:.3g}" in notes["fc1"]
    assert np.unique(np.array(new.bias.value)).size <= 32
    logits = np.array(small.model.get_layer("logits").kernel.value)
    assert np.unique(logits).size > 100 and step_of(logits) is None


def test_a_size_is_met_or_told_of(trained):
    def plan(most):
        steps = [compress.Entropy(epochs=10), compress.Huffman()]
        return compress.Pipeline(steps, compress.Budget(max_drop=None, max_bytes=most))

    found = apply(plan(700), trained).report
    assert found.passed and 550 < found.after.size.packed_bytes <= 700
    assert found.after.metrics["accuracy"] > 0.9
    missed = apply(plan(150), trained, epochs=2).report
    assert not missed.passed and "too many" in missed.budget.over[0]


def test_a_fit_that_calls_no_callback_trains_at_full_cost(trained):
    def fit(model, *, epochs, callbacks):
        loss = keras.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(keras.optimizers.Adam(3e-3), loss)
        model.fit(IMAGES, LABELS, batch_size=64, epochs=epochs, verbose=0)

    _, report = compress.Entropy(rate=3e-5, epochs=2).apply(trained, compress.Context(fit))
    assert "at full cost" in report.note and report.after.nonzero < 0.8 * report.before.nonzero


def test_a_loop_of_ones_own(trained, tmp_path):
    model = compress.prepare(compress.Entropy(rate=3e-5), trained)
    model.compile(keras.optimizers.Adam(3e-3), trained.loss)
    model.fit(IMAGES, LABELS, batch_size=64, epochs=2, verbose=0)
    small = compress.finish(model)
    assert step_of(np.array(small.get_layer("fc1").kernel.value))
    whole = compress.pack(trained, tmp_path / "trained")
    assert compress.pack(small, tmp_path / "small") < 0.4 * whole


def test_a_cost_that_follows_a_size_goes_on_where_it_was(trained):
    model = parametrize(trained, {"fc1": [Latent()]})
    one = Multiplier(1e-5, ramp=0.5, target=100)
    one.set_model(model)
    one.set_params({"epochs": 4, "steps": 2})
    one.on_train_begin()
    latent, costs = model.get_layer("fc1").chain[0], []
    for epoch in range(4):
        one.on_epoch_begin(epoch)
        for batch in range(2):
            one.on_train_batch_end(batch)
            costs.append(float(latent.rate.value))
        one.on_epoch_end(epoch)
        if epoch == 2:
            state = one.saved_state()
    np.testing.assert_allclose(costs[:4], [2.5e-6, 5e-6, 7.5e-6, 1e-5], rtol=1e-5)
    assert costs[4] == pytest.approx(2e-5) and costs[6] == pytest.approx(4e-5)
    again = Multiplier(1e-5, ramp=0.5, target=100)
    again.set_model(model)
    again.set_params({"epochs": 4, "steps": 2})
    again.on_train_begin()
    assert float(latent.rate.value) == 0
    again.restore_state(state)
    assert float(latent.rate.value) == pytest.approx(costs[6])
