"""What passes do for a network that nobody trains: its layers fitted, on examples alone."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

import compress
from compress.graph import copy_model, leaf_layers, steps
from compress.graph.norms import Moments, moved, norms_in
from compress.passes.recovery import problem as problems
from compress.passes.recovery.feedback import Grid, Zeros, sweep
from compress.passes.recovery.layerwise import fit_layers
from compress.passes.recovery.problem import RIDGE, Problem
from compress.passes.recovery.values import refitted
from zoo.common.noise import r2

IMAGES = (load_digits().images[..., None] / 16).astype("float32")  # (1797, 8, 8, 1)
LABELS = load_digits().target
SAMPLES, OTHERS = IMAGES[:128], IMAGES[1200:]


def net(width=16):
    keras.utils.set_random_seed(0)
    x = image = keras.Input((8, 8, 1))
    for number in range(3):
        x = layers.Conv2D(width, 3, padding="same", use_bias=False, name=f"conv{number}")(x)
        x = layers.BatchNormalization(name=f"norm{number}", momentum=0.9)(x)
        x = layers.ReLU()(x)
    x = layers.GlobalAveragePooling2D()(x)
    return keras.Model(image, layers.Dense(10, name="logits")(x))


@pytest.fixture(scope="module")
def trained():
    model = net()
    model.compile("adam", keras.losses.SparseCategoricalCrossentropy(from_logits=True))
    model.fit(IMAGES[:1200], LABELS[:1200], batch_size=32, epochs=4, verbose=0)
    return model


def answers(model):
    return np.asarray(model(OTHERS))


PASSES = {
    "prune": compress.Prune(sparsity=0.7),
    "share_weights": compress.ShareWeights(bits=2),
    "prune_channels": compress.PruneChannels(ratio=0.2),
    "low_rank": compress.LowRank(ratio=0.3, convolutions="spatial"),
    "ternarize": compress.Ternarize(),
}


FITTED = {"prune": 4, "share_weights": 4, "prune_channels": 4}


@pytest.mark.parametrize("kind", PASSES)
def test_samples_without_labels_bring_the_answers_nearer(kind, trained):
    """On pictures that are not among the samples; the more is done, the nearer."""
    want, context = answers(trained), compress.Context(samples=SAMPLES)
    alone = r2(want, answers(PASSES[kind].apply(trained).model))
    little = PASSES[kind].changed(recover="statistics").apply(trained, context)
    helped, report = PASSES[kind].apply(trained, context)
    for note in (little.report.note, report.note):
        assert "normalisations measured again on 96 samples" in note
    assert "kernels fitted" not in little.report.note
    assert (f"{FITTED.get(kind)} kernels fitted" in report.note) == (kind in FITTED)
    assert r2(want, answers(little.model)) > alone
    if kind in FITTED:
        assert r2(want, answers(helped)) > r2(want, answers(little.model))
    for old, new in zip(norms_in(trained).values(), norms_in(helped).values(), strict=True):
        assert old.moving_mean is not new.moving_mean  # the input stays as it is


def test_rounded_kernels_are_fitted_and_stay_on_their_grids(trained):
    """Four bits are as good as eight, and what is stored is what is computed."""
    want, context = answers(trained), compress.Context(samples=SAMPLES)
    step = compress.Quantize(bits=4)
    rough, fitted = (step.changed(recover=how).apply(trained, context).model
                     for how in ("statistics", "layers"))  # fmt: skip
    assert 1 - r2(want, answers(fitted)) < (1 - r2(want, answers(rough))) / 4
    for path, layer in leaf_layers(fitted):
        if not (kernel := getattr(layer, "chain", None)):
            continue
        stored, computed = np.array(layer.stored()), np.array(layer.kernel())
        np.testing.assert_allclose(stored, computed, rtol=1e-5, atol=1e-7, err_msg=path)
        levels = computed.reshape(-1, *kernel[0].share.shape)
        assert max(np.unique(levels[..., i].round(6)).size for i in range(levels.shape[-1])) <= 15


def test_what_the_network_before_teaches_is_kept_where_it_helps(trained, monkeypatch):
    monkeypatch.setattr("compress.passes.recovery.teaching.STEPS", 48)
    want, context = answers(trained), compress.Context(samples=SAMPLES)
    step = compress.Prune(sparsity=0.8, skip=("conv1",))
    fitted = step.apply(trained, context).model
    taught, report = step.changed(recover="network").apply(trained, context)
    assert "taught by the network before" in report.note
    assert r2(want, answers(taught)) > r2(want, answers(fitted))
    for name in ("conv0", "conv2", "logits"):
        zeros = [np.array(m.get_layer(name).kernel) == 0 for m in (fitted, taught)]
        np.testing.assert_array_equal(*zeros)
    np.testing.assert_array_equal(  # named by `skip`
        taught.get_layer("conv1").kernel, trained.get_layer("conv1").kernel
    )


def test_where_nothing_moves_nothing_changes(trained):
    twin = copy_model(trained)
    done = fit_layers(twin, trained, [SAMPLES[:8]], settle=None, origin={})
    assert done.norms == 0 and done.kernels == 0
    np.testing.assert_array_equal(answers(twin), answers(trained))
    step, context = compress.Prune(sparsity=0), compress.Context(samples=SAMPLES)
    assert "normalisations" not in step.apply(trained, context).report.note


def test_statistics_move_as_what_they_describe_does(trained):
    """Of a scaled kernel mean and deviation scale alike, by twice."""
    twin = copy_model(trained)
    twin.get_layer("conv0").kernel.assign(2 * trained.get_layer("conv0").kernel)
    fit_layers(twin, trained, [SAMPLES], settle=None, origin={})
    old, new = trained.get_layer("norm0"), twin.get_layer("norm0")
    np.testing.assert_allclose(new.moving_variance, 4 * np.asarray(old.moving_variance), rtol=1e-4)
    seen = np.asarray(trained.get_layer("conv0")(SAMPLES)).mean((0, 1, 2))
    np.testing.assert_allclose(new.moving_mean, np.asarray(old.moving_mean) + seen, atol=1e-4)
    still = Moments(seen, np.ones(16))
    assert moved(old, old, still, still) is None


@pytest.mark.parametrize("most", [2**29, 0])
def test_steps_give_what_a_graph_gives(trained, most, monkeypatch):
    """Whether what flows is kept, or run again from the inputs."""
    monkeypatch.setattr(steps, "MOST_BYTES", most)
    walk = steps.Steps(trained, [SAMPLES[:40]])
    for name in ("norm0", "conv2", "logits", "conv1"):  # the last one goes back
        part = keras.Model(trained.inputs, trained.get_layer(name).input)
        found = np.concatenate([np.asarray(x) for x in walk.reach(name)])
        np.testing.assert_allclose(found, np.asarray(part(SAMPLES[:40])), atol=1e-5)
    assert walk.times["conv0"] == 1


def test_zeros_and_shared_values_stay_while_kernels_are_fitted(trained):
    context = compress.Context(samples=SAMPLES)
    pruned = compress.Prune(n_of_m=(2, 4), skip=("conv0",)).apply(trained, context).model
    kernel = np.array(pruned.get_layer("conv1").kernel).reshape(-1, 4, 16)
    assert ((kernel != 0).sum(1) == 2).all()
    assert not np.isin(kernel[kernel != 0], trained.get_layer("conv1").kernel).any()
    np.testing.assert_array_equal(
        pruned.get_layer("conv0").kernel, trained.get_layer("conv0").kernel
    )
    shared = compress.ShareWeights(bits=2).apply(trained).model
    both = compress.Prune(sparsity=0.3).apply(shared, context).model
    for layer in ("conv1", "logits"):
        assert np.unique(both.get_layer(layer).kernel).size <= 5


def rows(count=400, width=6, outputs=4):
    """Rows of inputs that depend on one another, and a kernel."""
    random = np.random.RandomState(0)
    x = random.normal(size=(count, width)) @ random.normal(size=(width, width))
    return x.astype("float32"), random.normal(size=(width, outputs)).astype("float32")


def posed(x, kernel):
    squares = (x.T @ x).astype(float)[None]
    return Problem(kernel[None], kernel[None].astype(float), squares, len(x), False,
                   np.zeros((1, len(kernel))), np.zeros((1, kernel.shape[1])))  # fmt: skip


def test_a_pruned_kernel_is_the_least_squares_fit():
    """Of one dense layer, beside NumPy's solver, with the ridge as rows of their own."""
    x, old = rows()
    before = keras.Sequential([keras.Input((6,)), layers.Dense(4, use_bias=False, name="fc")])
    before.set_weights([old])
    step = compress.Prune(sparsity=0.5)
    model = step.apply(before).model
    done = fit_layers(model, before, [x], settle=step.settle, origin={})
    found = np.array(model.get_layer("fc").kernel)
    assert done.kernels == 1 and (found != 0).sum() == 12
    pull = np.sqrt(RIDGE * (x**2).sum() / 6)
    for output in range(4):
        free = found[:, output] != 0
        matrix = np.vstack([x[:, free], pull * np.eye(6)[:, free]])
        aims = np.concatenate([x @ old[:, output], pull * old[:, output]])
        want = np.linalg.lstsq(matrix, aims, rcond=None)[0]
        np.testing.assert_allclose(found[free, output], want, rtol=1e-3, atol=1e-4)


def surgeon(kernel, squares, choose, begin=lambda *_: None, block=1):
    """Optimal brain surgeon, a weight of each output at a time, by the inverse Hessian itself."""
    w, inverse, settled = kernel.astype(float), np.linalg.inv(squares), []
    for i in range(len(w)):
        if i % block == 0:
            ahead, spread = inverse.copy(), []
            for j in range(i, min(i + block, len(w))):  # what each costs once those before are gone
                spread.append(ahead[j, j])
                ahead -= np.outer(ahead[:, j], ahead[j]) / ahead[j, j]
            begin(i, w[i : i + block], np.array(spread))
        settled.append(choose(i, w[i].copy()))
        w -= np.outer(inverse[:, i] / inverse[i, i], w[i] - settled[-1])
        inverse -= np.outer(inverse[:, i], inverse[i]) / inverse[i, i]
        inverse[i, i] = 1  # it is settled
    return np.array(settled)


@pytest.mark.parametrize("block", [1, 4, 64])
def test_rounding_with_feedback_is_that_of_gptq(block):
    x, kernel = rows(300, 24, 5)
    squares, scale = (x.T @ x).astype(float), np.abs(kernel).max(0) / 7

    def rounded(_, row):
        return np.clip(np.round(row / scale), -7, 7) * scale

    want = surgeon(kernel, squares, rounded)
    found = sweep(kernel[None], squares[None], Grid(scale, 7), block=block)[0]
    np.testing.assert_allclose(found, want, atol=1e-8)

    def error(one):
        return np.sum((x @ (one - kernel)) ** 2)

    assert error(found) < error(rounded(0, kernel))


@pytest.mark.parametrize("n_of_m", [None, (2, 4)])
def test_zeros_with_feedback_are_those_of_sparse_gpt(n_of_m):
    x, kernel = rows(300, 24, 5)
    squares, kept = (x.T @ x).astype(float), {}

    def begin(start, weights, spread):
        costs, size = weights**2 / spread[:, None], 4 if n_of_m else weights.size
        parts = costs.reshape(-1, 4, 5) if n_of_m else costs.reshape(1, -1, 1)
        order = np.argsort(np.argsort(parts, 1, kind="stable"), 1, kind="stable")
        kept[start] = (order >= size // 2).reshape(costs.shape)

    def choose(place, row):
        return row * kept[place // 8 * 8][place % 8]

    want = surgeon(kernel, squares, choose, begin, block=8)
    there = np.zeros((1, 24, 5), bool)
    found = sweep(kernel[None], squares[None], Zeros(0.5, there, n_of_m), block=8)[0]
    np.testing.assert_allclose(found, want, atol=1e-8)
    assert (found == 0).sum() == 60


@pytest.mark.parametrize("per_channel", [False, True])
def test_shared_values_are_the_least_squares_ones(per_channel):
    """Beside NumPy's solver, for the weights that share each."""
    x, kernel = rows(300, 24, 5)
    step = compress.ShareWeights(bits=2, per_channel=per_channel)
    shared = step._share(np.where(np.abs(kernel) < 0.3, 0, kernel))
    problem = posed(x, kernel)
    found = refitted(problem, shared[None], per_channel=per_channel)
    assert problem.cost(found) < 0.8 * problem.cost(shared[None])
    np.testing.assert_array_equal(found[0] == 0, shared == 0)
    groups = [found[0][:, [i]] for i in range(5)] if per_channel else [found[0]]
    aims = [kernel[:, [i]] for i in range(5)] if per_channel else [kernel]
    for group, aim in zip(groups, aims, strict=True):
        values = np.unique(group[group != 0])
        assert len(values) <= 4
        design = np.stack([(x @ (group == value)).ravel() for value in values], 1)
        want = np.linalg.lstsq(design, (x @ aim).ravel(), rcond=None)[0]
        np.testing.assert_allclose(values, want, rtol=1e-3, atol=1e-4)


def test_channels_that_are_left_are_found_by_their_weights():
    random = np.random.RandomState(0)
    then = random.normal(size=(1, 8, 6))
    kept = [0, 2, 3, 7], [1, 4, 5]
    found = problems._places(then[:, kept[0]][:, :, kept[1]], then)
    assert [list(x) for x in found[1:]] == [list(x) for x in kept]
    assert problems._places(then[:, :4, :3] + 1, then) is None


def test_a_network_that_is_trained_is_let_be(trained):
    context = compress.Context(fit=lambda model, *, epochs, callbacks: None, samples=SAMPLES)
    assert "normalisations" not in compress.Prune(sparsity=0.5).apply(trained, context).report.note


def test_too_few_samples_and_wrong_ones(trained):
    step = compress.Prune(sparsity=0.5)
    report = step.apply(trained, compress.Context(samples=SAMPLES[:7])).report
    assert "7 samples are fewer than 8" in report.note
    with pytest.raises(ValueError, match="prune: samples"):
        step.apply(trained, compress.Context(samples=SAMPLES[:, :4]))
    with pytest.raises(ValueError, match="prune: samples"):
        step.apply(trained, compress.Context(samples=np.full_like(SAMPLES, np.nan)))
