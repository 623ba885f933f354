"""Pruning beside tfmot; structures, schedules within a step, rounds and rewinding."""

import gc
import itertools
import os
import subprocess
import sys

import keras
import numpy as np
import pytest
import tensorflow as tf
from keras import layers

import compress
from compress.graph import copy_model, leaf_layers
from compress.graph.kernels import find_kernels
from compress.layers import Shared
from compress.layers.masked import MaskConstraint
from compress.passes.prune.masks import lamp_masks, magnitude_masks
from compress.passes.prune.schedule import Schedule
from compress.passes.share_weights import clustering
from compress.tfmot import import_tfmot, prune

RANDOM = np.random.RandomState(11)


def kernels(model):
    found, _ = find_kernels(dict(leaf_layers(model)))
    return {path: np.array(kernel.variable.value) for path, kernel in found.items()}


def dense(weights):
    """A model of one layer, `fc`, that has these weights."""
    model = keras.Sequential(
        [keras.Input((weights.shape[0],)), layers.Dense(weights.shape[1], name="fc")]
    )
    model.layers[0].kernel.assign(weights)
    return model


# --- tfmot: the adapter ---


@pytest.fixture(scope="module")
def tfmot():
    pytest.importorskip("tf_keras")
    return import_tfmot()


IMPORTED = """
import os, sys
import compress.tfmot
assert not {"tensorflow", "keras", "tensorflow_model_optimization"} & set(sys.modules)
before = os.environ.get("TF_USE_LEGACY_KERAS")
compress.tfmot.import_tfmot().sparsity.keras.PolynomialDecay
assert os.environ.get("TF_USE_LEGACY_KERAS") == before
import keras, tensorflow as tf
assert tf.keras.layers.Dense is keras.layers.Dense, tf.keras.__name__
print(keras.__version__)
"""


@pytest.mark.oracle
@pytest.mark.parametrize("switch", [None, pytest.param("0", marks=pytest.mark.slow)])
def test_loading_tfmot_leaves_keras_and_the_environment_alone(switch, tfmot):
    environment = {k: v for k, v in os.environ.items() if k != "TF_USE_LEGACY_KERAS"}
    if switch is not None:
        environment["TF_USE_LEGACY_KERAS"] = switch
    done = subprocess.run(
        [sys.executable, "-c", IMPORTED], capture_output=True, text=True, env=environment
    )
    assert done.stdout.split()[-1:] == [keras.__version__], done.stderr[-2000:]


def test_a_missing_tfmot_is_told(monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorflow_model_optimization", None)
    monkeypatch.setenv("TF_USE_LEGACY_KERAS", "0")
    with pytest.raises(ImportError, match=r"expected tensorflow-model-optimization 0\.8\.1 and"):
        import_tfmot()
    assert os.environ["TF_USE_LEGACY_KERAS"] == "0"


@pytest.mark.oracle
@pytest.mark.parametrize("initial", [0.0, 0.3])
@pytest.mark.parametrize("power", [1, 3, 4.5])
def test_schedule_equals_tfmots(tfmot, initial, power):
    theirs = tfmot.sparsity.keras.PolynomialDecay(initial, 0.9, 30, 150, power=power, frequency=8)
    ours = prune(theirs, num_steps=200, epochs=3)
    assert (ours.sparsity, ours.epochs) == (0.9, 3)
    for step in range(201):
        turn, expected = theirs(tf.constant(step))
        found = ours.schedule.sparsity(step, 200, final=ours.sparsity)
        assert found == pytest.approx(float(expected), abs=1e-6)
        assert bool(turn) == (ours.schedule.turn(step, 200) == step or step == 150)


@pytest.mark.oracle
@pytest.mark.parametrize("end", [-1, 200, 120])
def test_constant_schedule_equals_tfmots(tfmot, end):
    theirs = tfmot.sparsity.keras.ConstantSparsity(0.7, 40, end, frequency=20)
    ours = prune(theirs, num_steps=200, scope="model")
    assert ours.scope == "model"
    for step in range(201):
        turn, expected = theirs(tf.constant(step))
        assert ours.schedule.sparsity(step, 200, final=ours.sparsity) == pytest.approx(
            float(expected)
        )
        assert bool(turn) == (ours.schedule.turn(step, 200) == step)


@pytest.mark.oracle
def test_schedules_that_do_not_fit_are_refused(tfmot):
    theirs = tfmot.sparsity.keras
    with pytest.raises(ValueError, match="got steps 0 to 300; expected begin < end <= num_steps"):
        prune(theirs.PolynomialDecay(0, 0.5, 0, 300), num_steps=200)
    with pytest.raises(ValueError, match="got steps 5 to 5; expected begin < end"):
        prune(theirs.ConstantSparsity(0.5, 5, 5), num_steps=200)
    with pytest.raises(TypeError, match="got Schedule; expected tfmot's PolynomialDecay"):
        prune(Schedule(), num_steps=200)


# --- tfmot: an oracle ---


def tfmots_mask(weights, sparsity=0.0, **structure):
    from tensorflow_model_optimization.python.core.sparsity.keras import pruning_impl

    schedule = import_tfmot().sparsity.keras.ConstantSparsity(sparsity, 0)
    settings = {"block_size": (1, 1), "block_pooling_type": "AVG"} | structure
    theirs = pruning_impl.Pruning(lambda: tf.constant(0), [], schedule, **settings)
    _, mask = theirs._maybe_update_block_mask(tf.constant(weights))
    return np.array(mask) == 1


@pytest.mark.oracle
@pytest.mark.parametrize("sparsity", [0.1, 0.5, 0.77, 0.9, 0.99])
@pytest.mark.parametrize("shape", [(300, 100), (3, 3, 16, 32), (8,), (1000, 1)])
def test_masks_equal_tfmots(tfmot, sparsity, shape):
    weights = np.random.RandomState(len(shape)).randn(*shape).astype("float32")
    (mask,) = magnitude_masks([weights], sparsity)
    np.testing.assert_array_equal(mask, tfmots_mask(weights, sparsity))


@pytest.mark.oracle
@pytest.mark.parametrize("block", [(4, 1), (1, 8), (2, 4)])
@pytest.mark.parametrize("sparsity", [0.3, 0.75])
def test_blocks_equal_tfmots(tfmot, block, sparsity):
    weights = RANDOM.randn(64, 48).astype("float32")
    pruned = compress.Prune(sparsity=sparsity, block=block).apply(dense(weights)).model
    expected = tfmots_mask(weights, sparsity, block_size=block)
    np.testing.assert_array_equal(kernels(pruned)["fc"] != 0, expected)


@pytest.mark.oracle
@pytest.mark.parametrize(("kept", "size"), [(2, 4), (4, 8), (1, 4), (3, 4)])
def test_n_of_m_equals_tfmots(tfmot, kept, size):
    model = keras.Sequential(
        [keras.Input((6, 6, 8)), layers.Conv2D(12, 3, name="conv"), layers.Dense(5, name="fc")]
    )
    model.layers[1].kernel.assign(RANDOM.randn(12, 5))
    before = kernels(model)
    # Theirs says how many of the group become zero; 12 inputs are not groups of 8, which they pad.
    item = compress.Prune(n_of_m=(kept, size))
    after, report = item.apply(model)
    for path, kernel in kernels(after).items():
        if path == "fc" and size == 8:
            assert report.layers[1].note == (
                "its 12 inputs and 5 outputs do not divide into groups of 8"
            )
            np.testing.assert_array_equal(kernel, before[path])
        else:
            expected = tfmots_mask(before[path], sparsity_m_by_n=(size - kept, size))
            np.testing.assert_array_equal(kernel != 0, expected)
    assert item.sparsity == 1 - kept / size


@pytest.mark.oracle
@pytest.mark.parametrize("constant", [False, True], ids=["polynomial", "constant"])
def test_training_equals_tfmots_on_its_twin(tfmot, constant):
    """Same weights, batches and plain SGD: equal masks, close weights, after 20 steps."""
    import tf_keras

    def net(framework):
        kinds = framework.layers
        return framework.Sequential(
            [
                kinds.InputLayer((8, 8, 3)),
                kinds.Conv2D(8, 3, activation="relu", name="conv"),
                kinds.Flatten(name="flat"),
                kinds.Dense(12, activation="relu", name="fc"),
                kinds.Dense(4, name="logits"),
            ]
        )

    def fit(framework, model, callbacks):
        loss = framework.losses.SparseCategoricalCrossentropy(from_logits=True)
        model.compile(framework.optimizers.SGD(0.5), loss)
        model.fit(images, labels, batch_size=16, shuffle=False, verbose=0, callbacks=callbacks)

    images = RANDOM.randn(320, 8, 8, 3).astype("float32")
    labels = images.reshape(320, 4, -1).sum(-1).argmax(-1)
    keras.utils.set_random_seed(5)
    ours, twin = net(keras), net(tf_keras)
    before = ours.get_weights()
    twin.set_weights(before)
    # tfmot counts the step that it is in, from 1; ours the steps done.
    sparsity = 0.3 if constant else 0.8
    if constant:
        theirs = tfmot.sparsity.keras.ConstantSparsity(0.3, 4, 16, frequency=3)
        schedule = Schedule(shape="constant", begin=3 / 20, end=15 / 20, every=3)
    else:
        theirs = tfmot.sparsity.keras.PolynomialDecay(0.2, 0.8, 4, 16, frequency=3)
        schedule = Schedule(begin=3 / 20, end=15 / 20, initial=0.2, every=3)
    wrapped = tfmot.sparsity.keras.prune_low_magnitude(twin, theirs)
    fit(tf_keras, wrapped, [tfmot.sparsity.keras.UpdatePruningStep()])
    spy = Spy()
    fit(keras, ours, [compress.Prune(sparsity=sparsity, schedule=schedule).callback(), spy])

    expected = tfmot.sparsity.keras.strip_pruning(wrapped).get_weights()
    moved = max(np.abs(a - b).max() for a, b in zip(before, expected, strict=True))
    for found, weight in zip(ours.get_weights(), expected, strict=True):
        np.testing.assert_array_equal(found == 0, weight == 0)
        np.testing.assert_allclose(found, weight, atol=1e-4 * moved)
    assert (expected[0] == 0).mean() == pytest.approx(sparsity, abs=0.01)
    first, last = spy.seen[5]["fc"] != 0, spy.seen[-1]["fc"] != 0
    assert (last & ~first).any() == constant  # weights that came back


@pytest.mark.oracle
def test_shared_values_and_their_gradients_equal_tfmots(tfmot):
    weights = RANDOM.randn(40, 30).astype("float32")
    values = np.linspace(-1.5, 1.4, 16, dtype="float32")  # each is the nearest of some weights
    theirs = tfmot.clustering.keras.ClusteringAlgorithm(tf.Variable(values))
    places = theirs.get_pulling_indices(tf.constant(weights))
    kernel = clustering.nearest_of(weights, values)
    np.testing.assert_array_equal(kernel, values[np.array(places)])

    ours = Shared(16)
    ours.build(kernel.shape)
    ours.read(kernel)
    np.testing.assert_array_equal(ours.values.numpy(), values)
    np.testing.assert_array_equal(ours.places.numpy(), places)
    slope = tf.constant(RANDOM.randn(40, 30).astype("float32"))
    with tf.GradientTape(persistent=True) as tape:
        clustered = theirs.get_clustered_weight(places, tf.Variable(weights))
        expected = tf.reduce_sum(slope * clustered**2)
        found = tf.reduce_sum(slope * ours(tf.zeros((40, 30))) ** 2)
    np.testing.assert_allclose(
        tape.gradient(found, ours.values.value),
        tf.convert_to_tensor(tape.gradient(expected, theirs.cluster_centroids)),
        rtol=1e-5,
        atol=1e-5,
    )


@pytest.mark.oracle
@pytest.mark.parametrize("narrow", [False, True])
@pytest.mark.parametrize("per_channel", [False, True])
@pytest.mark.parametrize("bits", [8, 4])
def test_fake_quantisation_equals_tfmots(tfmot, bits, per_channel, narrow):
    x = (3 * RANDOM.randn(50, 6)).astype("float32")
    shape = (6,) if per_channel else ()
    low, high = -np.float32(RANDOM.rand(*shape)) - 1, np.float32(RANDOM.rand(*shape)) + 2
    quantizer = tfmot.quantization.keras.quantizers.LastValueQuantizer(
        bits, per_axis=per_channel, symmetric=False, narrow_range=narrow
    )
    ranges = {"min_var": tf.Variable(low), "max_var": tf.Variable(high)}
    expected = quantizer(tf.constant(x), training=False, weights=ranges)
    found = keras.quantizers.fake_quant_with_min_max_vars(
        x, low, high, num_bits=bits, narrow_range=narrow, axis=1 if per_channel else None
    )
    np.testing.assert_allclose(found, expected, rtol=1e-6, atol=1e-6)
    assert 2 ** (bits - 1) < np.unique(np.array(found)[:, 0]).size <= 2**bits or bits == 8


# --- structures ---


def test_lamp_keeps_the_largest_scores_of_the_paper():
    """Lee et al. 2021, eq. 4, term by term; zeros and small weights are no exception."""
    random = np.random.RandomState(0)
    weights = [random.normal(size=(5, 7)), 1e-3 * random.normal(size=(40, 11)), np.zeros((3, 2))]
    weights[1][:20] = 0
    masks = lamp_masks(weights, 0.8)
    scores = [
        np.array([w**2 / max(np.sum(a[abs(a) >= abs(w)] ** 2), 1e-300) for w in a.flat])
        for a in weights
    ]
    kept = np.concatenate([mask.ravel() for mask in masks])
    assert kept.sum() == kept.size - round(0.8 * kept.size)
    line = np.concatenate(scores)
    assert line[kept].min() >= line[~kept].max()
    assert masks[0].any() and masks[1].any()
    by_magnitude = magnitude_masks(weights, 0.8)
    assert masks[1].sum() > by_magnitude[1].sum()


def test_groups_lie_along_the_inputs_of_every_kind_of_layer():
    image = keras.Input((8, 8, 4))
    x = layers.Conv2D(6, 3, name="conv")(image)
    x = layers.Conv2DTranspose(8, 3, name="no")(x)  # 6 inputs
    x = layers.Conv2DTranspose(3, 3, name="transpose")(x)  # its kernel is (3, 3, 3, 8)
    x = layers.SeparableConv2D(4, 3, name="three")(x)  # 3 inputs
    x = layers.Conv2D(8, 3, name="before")(x)
    x = layers.Conv2D(4, 3, groups=2, name="grouped")(x)
    x = layers.SeparableConv2D(5, 3, name="separable")(x)
    model = keras.Model(image, x)
    pruned, report = compress.Prune(n_of_m=(2, 4)).apply(model)
    axes = {"conv": 2, "transpose": 3, "before": 2, "grouped": 2, "separable": 2}
    for path, kernel in kernels(pruned).items():
        if path not in axes:
            assert np.count_nonzero(kernel) == kernel.size
            continue
        moved = np.moveaxis(kernel, axes[path], -1)
        groups = np.moveaxis(kernels(model)[path], axes[path], -1).reshape(-1, 4)
        kept = moved.reshape(-1, 4) != 0
        assert (kept.sum(-1) == 2).all(), path
        order = np.argsort(-np.abs(groups), axis=-1)
        np.testing.assert_array_equal(np.take_along_axis(kept, order, -1)[:, :2], True)
    notes = {row.path: row.note for row in report.layers}
    assert notes["no"] == "its 6 inputs and 8 outputs do not divide into groups of 4"
    assert notes["three"] == "its 3 inputs and 4 outputs do not divide into groups of 4"
    assert not {row.path: row.changed for row in report.layers}["three"]


def test_blocks_of_a_convolution_take_inputs_side_by_side_and_rank_the_model():
    model = keras.Sequential(
        [
            keras.Input((8, 8, 4)),
            layers.Conv2D(8, 3, use_bias=False, name="small"),
            layers.Conv2D(6, 3, use_bias=False, name="large"),
            layers.Conv2D(5, 3, use_bias=False, name="odd"),
        ]
    )
    model.layers[1].kernel.assign(10 + model.layers[1].kernel)
    item = compress.Prune(sparsity=0.3, block=(4, 1), scope="model")
    pruned, report = item.apply(model)
    found = kernels(pruned)
    groups = found["small"].transpose(0, 1, 3, 2).reshape(-1, 4)
    zeros = (groups == 0).sum(-1)
    assert set(zeros) == {0, 4} and (found["large"] != 0).all()
    assert (zeros == 4).sum() == round(0.3 * (9 * 8 + 9 * 2 * 6))
    strength = np.abs(kernels(model)["small"]).mean(axis=2).ravel()
    assert strength[zeros == 4].max() <= strength[zeros == 0].min()
    assert report.layers[2].note == "its 6 inputs and 5 outputs do not divide into blocks of 4 x 1"


# --- during training ---

IMAGES = RANDOM.randn(160, 8).astype("float32")
TARGETS = np.tanh(IMAGES @ RANDOM.randn(8, 3)).astype("float32")


def net(**settings):
    keras.utils.set_random_seed(2)
    return keras.Sequential(
        [
            keras.Input((8,)),
            layers.Dense(16, activation="relu", name="fc", **settings),
            layers.Dense(3, name="out"),
        ]
    )


class Spy(keras.callbacks.Callback):
    """Keeps the kernels after each step."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def on_train_batch_end(self, batch, logs=None):
        self.seen.append(kernels(self.model))


def fit(model, *, epochs=1, callbacks=(), **settings):
    model.compile(keras.optimizers.Adam(0.05), "mse", **settings)
    refit(model, epochs=epochs, callbacks=callbacks)


def refit(model, *, epochs=1, callbacks=()):
    keras.utils.set_random_seed(0)
    model.fit(IMAGES, TARGETS, batch_size=16, epochs=epochs, callbacks=list(callbacks), verbose=0)


@pytest.mark.parametrize("again", [False, True], ids=["first", "compiled before"])
@pytest.mark.parametrize(
    "schedule",
    [Schedule(shape="one_shot", begin=0.3), Schedule(shape="constant", begin=0.3, every=1)],
    ids=lambda schedule: schedule.shape,
)
def test_one_shot_holds_its_masks_and_constant_renews_them(schedule, again):
    model, spy = net(), Spy()
    if again:
        fit(model)
    item = compress.Prune(sparsity=0.125, schedule=schedule)
    train = refit if again else fit
    train(model, epochs=2, callbacks=[item.callback(), spy])
    masks = [seen["fc"] == 0 for seen in spy.seen]
    assert [mask.sum() for mask in masks] == [0] * 5 + [16] * 15
    renewed = any((a != b).any() for a, b in itertools.pairwise(masks[6:]))
    assert renewed == (schedule.shape == "constant")
    refit(model)  # nothing is left behind
    assert (kernels(model)["fc"] != 0).all() and model.layers[0].kernel.constraint is None


def test_masks_hold_within_an_execution_and_beside_a_constraint():
    class Bound(keras.constraints.Constraint):
        def __call__(self, kernel):
            return keras.ops.clip(kernel, -0.3, 0.3)

    model = net(kernel_constraint=Bound())
    callback = compress.Prune(sparsity=0.5, schedule=Schedule(shape="one_shot")).callback()
    fit(model, callbacks=[callback], steps_per_execution=10)
    kernel = kernels(model)["fc"]
    assert (kernel == 0).sum() == 64 and np.abs(kernel).max() == pytest.approx(0.3)
    assert isinstance(model.layers[0].kernel.constraint, Bound)


def test_the_step_applies_the_mask_by_itself():
    model = net()
    kernel = model.layers[0].kernel
    kernel.constraint = keep = MaskConstraint(kernel)
    mask = RANDOM.rand(*kernel.shape) < 0.5
    keep.mask.assign(mask)
    fit(model)
    assert keep.applied
    np.testing.assert_array_equal(np.array(kernel.value) != 0, mask)


def test_n_of_m_grows_by_whole_weights_of_a_group():
    model, spy = net(), Spy()
    item = compress.Prune(n_of_m=(2, 8), schedule=Schedule(every=1, power=1))
    fit(model, epochs=2, callbacks=[item.callback(), spy])
    kept = [(seen["fc"].reshape(1, 8, 16) != 0).sum(axis=1) for seen in spy.seen]
    assert all((counts == counts.flat[0]).all() for counts in kept)
    assert sorted({int(counts.flat[0]) for counts in kept}) == [2, 3, 4, 5, 6, 7, 8]
    assert [int(c.flat[0]) for c in kept] == sorted((int(c.flat[0]) for c in kept), reverse=True)


def test_masks_survive_later_passes_and_training():
    def trained(model, *, epochs, callbacks):
        fit(model, epochs=epochs, callbacks=callbacks)

    model = net()
    pruned = compress.apply(compress.Prune(n_of_m=(2, 4)), model, fit=trained).model
    masks = {path: kernel != 0 for path, kernel in kernels(pruned).items()}
    assert all(mask.mean() == 0.5 for mask in masks.values())
    plan = compress.Pipeline(
        [
            compress.ShareWeights(bits=3, epochs=2),
            compress.Prune(sparsity=0.5, epochs=1),
            compress.FoldBatchNorm(),
            compress.Huffman(),
        ]
    )
    small = compress.apply(plan, pruned, fit=trained).model
    for path, kernel in kernels(small).items():
        np.testing.assert_array_equal(kernel != 0, masks[path])
        assert np.unique(kernel[kernel != 0]).size <= 8
        assert not np.array_equal(kernel, kernels(pruned)[path])


# --- rounds ---


class Watch:
    """A `fit` that notes the weights which each training begins and ends with."""

    def __init__(self):
        self.begun, self.ended = [], []

    def __call__(self, model, *, epochs, callbacks):
        assert epochs == 3 and not callbacks
        self.begun.append(kernels(model))
        fit(model, epochs=epochs)
        self.ended.append(kernels(model))


@pytest.mark.parametrize("rewind", [False, True])
def test_rounds_keep_the_same_share_and_go_back(rewind):
    model, watch = net(), Watch()
    early = kernels(model)
    item = compress.Prune(sparsity=0.875, rounds=3, rewind=rewind, epochs=3)
    pruned, report = item.apply(model, compress.Context(watch))
    begun, ended = watch.begun, watch.ended
    if rewind:  # the input is trained first, dense
        np.testing.assert_array_equal(begun[0]["fc"], early["fc"])
        begun = begun[1:]
    assert [round(float((seen["fc"] == 0).mean()), 3) for seen in begun] == [0.5, 0.75, 0.875]
    source = ended if rewind else [early, *ended]
    for seen, old in zip(begun, source, strict=False):
        mask = seen["fc"] != 0
        # What is left is what was largest after the training before.
        assert np.abs(old["fc"][mask]).min() >= np.abs(old["fc"][~mask]).max()
        expected = early["fc"] if rewind else old["fc"]
        np.testing.assert_array_equal(seen["fc"], np.where(mask, expected, 0))
    assert (kernels(pruned)["fc"] == 0).mean() == 0.875
    back = ", weights back to those of the input" if rewind else ""
    assert report.note == f"sparsity 0.5, 0.75, 0.875{back}; after each fine-tuned for 3 epochs"
    np.testing.assert_array_equal(kernels(model)["fc"], early["fc"])


def test_weights_go_back_to_those_of_a_file(tmp_path):
    early = net()
    early.save(tmp_path / "early.keras")
    model = copy_model(early)
    fit(model, epochs=3)
    late, biases = kernels(model), model.layers[0].bias.numpy()
    assert biases.any()
    item = compress.Prune(
        sparsity=0.5, rewind=str(tmp_path / "early.keras"), skip=("out",), epochs=0
    )
    ticket, report = item.apply(model)
    kept = kernels(ticket)["fc"] != 0
    assert np.abs(late["fc"][kept]).min() >= np.abs(late["fc"][~kept]).max()
    np.testing.assert_array_equal(kernels(ticket)["fc"], np.where(kept, kernels(early)["fc"], 0))
    np.testing.assert_array_equal(kernels(ticket)["out"], kernels(early)["out"])
    assert not ticket.layers[0].bias.numpy().any()
    assert "back to those of" in report.note and "not fine-tuned" in report.note


def test_what_cannot_be_gone_back_to_is_refused(tmp_path):
    item = compress.Prune(sparsity=0.5, rewind=str(tmp_path / "early.keras"))
    with pytest.raises(FileNotFoundError, match=r"early\.keras: not found; expected a \.keras"):
        item.apply(net())
    dense(np.ones((4, 4))).save(tmp_path / "early.keras")
    with pytest.raises(ValueError, match="other shapes than the model's; expected the same net"):
        item.apply(net())
    with pytest.raises(ValueError, match="rounds and rewind take several trainings; use apply"):
        item.callback()


class Stop(keras.callbacks.Callback):
    """Ends after some epochs, and takes back the weights of before the training, or none."""

    def __init__(self, after, back):
        super().__init__()
        self.after, self.back = after, back

    def on_train_begin(self, logs=None):
        self.weights = self.model.get_weights()

    def on_epoch_end(self, epoch, logs=None):
        self.model.stop_training = epoch + 1 == self.after

    def on_train_end(self, logs=None):
        if self.back:
            self.model.set_weights(self.weights)


@pytest.mark.parametrize(
    ("after", "back", "told"),
    [
        (4, False, ""),
        (2, False, "training ended at sparsity"),
        (4, True, "weights of an earlier step were brought back"),
        (3, False, "training ended early"),
    ],
)
def test_what_a_training_of_the_users_own_ends_with_is_told(after, back, told, caplog):
    model = keras.Sequential([keras.Input((4,)), layers.Dense(8)])
    model.compile("sgd", "mse")
    callbacks = [Stop(after, back), compress.Prune(sparsity=0.5).callback()]
    model.fit(np.ones((64, 4)), np.ones((64, 8)), epochs=4, verbose=0, callbacks=callbacks)
    if told:
        assert told in caplog.text and "EarlyStopping `start_from_epoch=3`" in caplog.text
    else:
        assert not caplog.text
    zeros = float((model.layers[0].kernel.numpy() == 0).mean())
    assert (zeros == 0.5) == (told != "training ended at sparsity")


class Interrupt(keras.callbacks.Callback):
    def on_epoch_end(self, epoch, logs=None):
        raise KeyboardInterrupt


def test_an_interrupted_training_leaves_no_constraint():
    layer = layers.Dense(8, kernel_constraint="non_neg")
    model = keras.Sequential([keras.Input((4,)), layer])
    model.compile("sgd", "mse")
    own, data = layer.kernel.constraint, {"x": np.ones((8, 4)), "y": np.ones((8, 8)), "verbose": 0}
    step = compress.Prune(sparsity=0.5, schedule={"shape": "one_shot", "begin": 0.0})
    callback = step.callback()
    for again in (True, False):
        with pytest.raises(KeyboardInterrupt):
            model.fit(**data, epochs=4, callbacks=[callback, Interrupt()])
        assert isinstance(layer.kernel.constraint, MaskConstraint)
        if again:  # the same callback begins anew, over no constraint of its own
            model.fit(**data, epochs=4, callbacks=[callback])
            assert layer.kernel.constraint is own
    del callback
    gc.collect()
    assert layer.kernel.constraint is own
    layer.kernel.assign(np.ones((4, 8)))
    model.fit(**data, epochs=1)
    assert (layer.kernel.numpy() != 0).all()
