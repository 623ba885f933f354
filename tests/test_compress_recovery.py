"""What passes do for a network that nobody trains: statistics measured again on examples."""

import keras
import numpy as np
import pytest
from keras import layers
from sklearn.datasets import load_digits

import compress
from compress.graph.norms import moments, norms_in, restate, walk
from compress.passes.refit import RIDGE, Refit
from zoo.common.noise import r2

IMAGES = (load_digits().images[..., None] / 16).astype("float32")  # (1797, 8, 8, 1)
LABELS = load_digits().target
SAMPLES, OTHERS = IMAGES[:128], IMAGES[1200:]


def net(width=24):
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


@pytest.mark.parametrize("kind", PASSES)
def test_samples_without_labels_bring_the_answers_nearer(kind, trained):
    """On pictures that are not among the samples."""
    want = answers(trained)
    alone = PASSES[kind].apply(trained).model
    helped, report = PASSES[kind].apply(trained, compress.Context(samples=SAMPLES))
    assert "normalisations measured again on 96 samples" in report.note
    assert ("4 kernels fitted" in report.note) == (kind == "prune")
    assert r2(want, answers(helped)) > r2(want, answers(alone))
    for old, new in zip(norms_in(trained).values(), norms_in(helped).values(), strict=True):
        assert old.moving_mean is not new.moving_mean  # the input stays as it is


def test_where_nothing_moves_nothing_changes(trained):
    twin = keras.models.clone_model(trained)
    twin.set_weights(trained.get_weights())
    assert restate(twin, trained, moments(trained, SAMPLES[:8]), SAMPLES[:8]) == 0
    np.testing.assert_array_equal(answers(twin), answers(trained))
    assert (
        "normalisations"
        not in compress.Prune(sparsity=0)
        .apply(trained, compress.Context(samples=SAMPLES))
        .report.note
    )


def test_moments_are_those_of_a_closed_form(trained):
    """Of a scaled kernel: the mean and the deviation scale alike, by twice."""
    twin = keras.models.clone_model(trained)
    twin.set_weights(trained.get_weights())
    twin.get_layer("conv0").kernel.assign(2 * trained.get_layer("conv0").kernel)
    assert (
        restate(twin, trained, moments(trained, SAMPLES), SAMPLES) >= 1
    )  # the others by what `epsilon` moves
    old, new = trained.get_layer("norm0"), twin.get_layer("norm0")
    np.testing.assert_allclose(new.moving_variance, 4 * np.asarray(old.moving_variance), rtol=1e-4)
    seen = moments(trained, SAMPLES)["norm0"].mean
    np.testing.assert_allclose(new.moving_mean, np.asarray(old.moving_mean) + seen, atol=1e-4)


def test_zeros_and_shared_values_stay_while_kernels_are_fitted(trained):
    context = compress.Context(samples=SAMPLES)
    pruned = compress.Prune(n_of_m=(2, 4), skip=("conv0",)).apply(trained, context).model
    kernel = np.array(pruned.get_layer("conv1").kernel).reshape(-1, 4, 24)
    assert ((kernel != 0).sum(1) == 2).all()
    assert not np.isin(kernel[kernel != 0], trained.get_layer("conv1").kernel).any()
    np.testing.assert_array_equal(
        pruned.get_layer("conv0").kernel, trained.get_layer("conv0").kernel
    )
    shared = compress.ShareWeights(bits=2).apply(trained).model
    both = compress.Prune(sparsity=0.3).apply(shared, context).model
    for layer in ("conv1", "logits"):
        assert np.unique(both.get_layer(layer).kernel).size <= 5


def test_a_kernel_is_the_least_squares_fit():
    """Of one dense layer, beside NumPy's solver, with the ridge as rows of their own."""
    random = np.random.RandomState(0)
    x = random.normal(size=(400, 6)).astype("float32")
    x[:, 1] += x[:, 0]  # so that one can stand for another
    before = keras.Sequential([keras.Input((6,)), layers.Dense(4, name="fc")])
    model = compress.Prune(sparsity=0.5).apply(before).model
    kept = np.array(model.get_layer("fc").kernel) != 0
    old = np.array(before.get_layer("fc").kernel)
    fit = Refit(before, x)
    walk(model, x, fit)
    pull = np.sqrt(RIDGE * (x**2).sum() / 6)
    for output in range(4):
        free = kept[:, output]
        rows = np.vstack([x[:, free], pull * np.eye(6)[:, free][free]])
        aims = np.concatenate([x @ old[:, output], pull * old[free, output]])
        want = np.linalg.lstsq(rows, aims, rcond=None)[0]
        found = np.array(model.get_layer("fc").kernel)[free, output]
        np.testing.assert_allclose(found, want, rtol=1e-3, atol=1e-4)
    assert fit.count == 1


def test_a_network_that_is_trained_is_let_be(trained):
    context = compress.Context(fit=lambda model, *, epochs, callbacks: None, samples=SAMPLES)
    assert "normalisations" not in compress.Prune(sparsity=0.5).apply(trained, context).report.note


def test_too_few_samples_and_wrong_ones(trained):
    step = compress.Prune(sparsity=0.5)
    report = step.apply(trained, compress.Context(samples=SAMPLES[:7])).report
    assert "statistics stay: 7 samples are fewer than 8" in report.note
    with pytest.raises(ValueError, match="prune: samples"):
        step.apply(trained, compress.Context(samples=SAMPLES[:, :4]))
    with pytest.raises(ValueError, match="prune: samples"):
        step.apply(trained, compress.Context(samples=np.full_like(SAMPLES, np.nan)))
