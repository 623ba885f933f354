"""Structured pruning: without channels that are zero, every family answers as before."""

import keras
import numpy as np
import pytest
from keras import layers

import compress
from compress.graph import copy_model, leaf_layers
from compress.graph.channels import Channels, shrink
from compress.passes.prune_channels.ranking import Ranking, norms, scales, taylor
from tests.golden import vector
from zoo.models import create

NETS = ["vgg11_bn", "resnet20", "resnet50_v2", "densenet40", "mobilenet_v2", "googlenet_bn"]
NETS = [*NETS, "squeezenet1_1", "nin", "lenet5", "alexnet"]
SLOW = {"resnet50_v2", "googlenet_bn"}


def zeroed(model, channels, drop):
    """The same graph, with all that makes the dropped channels at zero."""
    twin = copy_model(model)
    for path, layer in leaf_layers(twin):
        if path not in channels.ends:
            continue
        places = [i for i, n in enumerate(channels.ends[path][1]) if channels.find(n) in drop]
        for weight in layer.weights:
            value = np.array(weight.value)
            affine = weight.name in ("gamma", "beta", "bias", "moving_mean")
            kernel = weight.name in ("kernel", "pointwise_kernel")
            if affine or (kernel and path in channels.makers):
                axis = -2 if "Transpose" in type(layer).__name__ and kernel else -1
                np.moveaxis(value, axis, 0)[places] = 0
            weight.assign(value)
    return twin


def compare(model, ratio=0.4):
    channels = Channels(model)
    ranking = Ranking(channels, norms(model, channels.makers, order=2), set(channels.makers))
    drop = ranking.least(ratio, scope="layer", keep=2)
    small = shrink(model, channels, drop)
    image = vector.sample(model)
    expected = np.array(zeroed(model, channels, drop)(image, training=False))
    found = np.array(small(image, training=False))
    assert np.abs(found - np.array(model(image, training=False))).max() > 1e-3 * np.abs(found).max()
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-5 * np.abs(expected).max())
    return small.count_params() / model.count_params()


@pytest.mark.parametrize(
    "name", [pytest.param(n, marks=pytest.mark.slow if n in SLOW else []) for n in NETS]
)
def test_without_channels_of_zeros_the_answers_stay(name):
    side = 67 if name == "alexnet" else 32
    model = create(name, input_shape=(side, side, 3), num_classes=7)
    vector.fill(model)
    assert compare(model) < 0.75


def grouped():
    image = keras.Input((8, 8, 3), name="image")
    x = layers.Conv2D(12, 3, name="stem")(image)
    x = layers.DepthwiseConv2D(3, depth_multiplier=2, name="depthwise")(x)
    x = layers.SeparableConv2D(16, 3, padding="same", name="separable")(x)
    x = layers.PReLU(shared_axes=(1, 2), name="prelu")(x)
    gate = layers.GlobalAveragePooling2D(name="squeeze")(x)
    gate = layers.Dense(8, activation="relu", name="less")(gate)
    gate = layers.Reshape((1, 1, 16), name="shape")(layers.Dense(16, name="more")(gate))
    x = layers.Multiply(name="excite")([x, layers.Activation("sigmoid", name="gate")(gate)])
    x = layers.Conv2DTranspose(8, 3, strides=2, name="transpose")(x)
    x = layers.UpSampling2D(name="up")(x)
    return keras.Model(image, layers.Dense(5, name="logits")(layers.Flatten(name="flat")(x)))


def test_every_kind_of_layer_is_narrowed():
    model = grouped()
    vector.fill(model)
    assert compare(model, ratio=0.5) < 0.6


def test_groups_stay_equally_wide():
    image = keras.Input((8, 8, 8), name="image")
    x = layers.Conv2D(12, 1, name="before")(image)
    x = layers.Conv2D(16, 3, groups=4, name="grouped")(x)
    model = keras.Model(image, layers.Conv2D(3, 1, name="after")(x))
    small = compress.PruneChannels(ratio=0.5, least=1).apply(model).model
    before, conv, after = (small.get_layer(n) for n in ("before", "grouped", "after"))
    assert before.filters % 4 == conv.filters % 4 == 0
    # Of 3 channels in a group one goes, of 4 two: a class is one channel of each group.
    assert (before.filters, conv.filters, after.filters) == (8, 8, 3)
    assert conv.kernel.shape == (3, 3, 2, 8)


def test_what_has_no_rule_stays():
    image = keras.Input((8, 8, 8), name="image")
    x = layers.Conv2D(12, 1, name="first")(image)
    x = layers.LayerNormalization(name="norm")(x)  # its statistics are over the channels
    x = layers.Conv2D(10, 1, name="second")(x)
    x = x * np.linspace(0, 1, 10, dtype="float32")
    model = keras.Model(image, layers.Conv2D(3, 1, name="third")(x))
    small, report = compress.PruneChannels(ratio=0.5).apply(model)
    assert small.count_params() == model.count_params()
    assert not any(row.changed for row in report.layers)


@pytest.mark.parametrize("aim", [0.25, 0.5, 0.75])
def test_macs_are_met(aim):
    model = create("resnet20", input_shape=(16, 16, 3), num_classes=5)
    _, report = compress.PruneChannels(macs=aim, least=1).apply(model)
    share = report.after.macs / report.before.macs
    assert 0.8 * aim < share <= aim


@pytest.mark.parametrize("scope", ["layer", "model"])
def test_blocks_narrow_within_by_eights(scope):
    model = create("resnet20", input_shape=(16, 16, 3), num_classes=5)
    vector.fill(model)
    item = compress.PruneChannels(macs=0.5, tied=False, multiple=8, scope=scope)
    small, report = item.apply(model)
    assert report.after.macs <= 0.5 * report.before.macs
    for path, layer in leaf_layers(small):
        if isinstance(layer, layers.Conv2D):
            before = model.get_layer(path).filters
            assert layer.filters % 8 == 0
            assert (layer.filters < before) == path.endswith("conv1") or scope == "model"
            assert layer.filters == before or path.endswith("conv1")


def test_seconds_are_met_and_need_a_measure():
    model = create("lenet5", input_shape=(28, 28, 1), num_classes=10)
    item = compress.PruneChannels(seconds=0.5, least=1)
    with pytest.raises(ValueError, match="a context that does not measure latency"):
        item.apply(model)

    def measure(*models):
        return [{"file": compress.Runtime(1, 1, model.count_params() / 1e6)} for model in models]

    context = compress.Context(measure=measure)
    small = item.apply(model, context).model
    assert small.count_params() <= 0.5 * model.count_params()


def test_rounds_reach_the_same_ratio():
    model = create("lenet300", input_shape=(28, 28, 1), num_classes=10)
    calls = []
    context = compress.Context(fit=lambda model, *, epochs, callbacks: calls.append(model))
    item = compress.PruneChannels(ratio=0.5, steps=3, epochs=1)
    small, report = item.apply(model, context)
    assert len(calls) == 3 and report.note == "fine-tuned for 1 epochs, 3 times"
    widths = [layer.units for layer in small.layers if isinstance(layer, layers.Dense)]
    assert widths[0] == pytest.approx(150, abs=3) and widths[1] == pytest.approx(50, abs=3)
    assert widths[2] == 10


def by_hand():
    """One hidden layer whose four units have known norms, scales and gradients."""
    image = keras.Input((2,), name="image")
    x = layers.Dense(4, use_bias=False, name="hidden")(image)
    x = layers.BatchNormalization(name="norm")(x)
    model = keras.Model(image, layers.Dense(3, name="logits")(x))
    model.get_layer("hidden").kernel.assign([[3.0, 0.0, 1.0, -6.0], [4.0, -2.0, 1.0, 8.0]])
    model.get_layer("norm").gamma.assign([0.5, -2.0, 1.0, 0.1])
    return model


def test_scores_by_hand():
    model = by_hand()
    channels = Channels(model)
    np.testing.assert_allclose(norms(model, ["hidden"], order=1)["hidden"], [7, 2, 2, 14])
    np.testing.assert_allclose(norms(model, ["hidden"], order=2)["hidden"], [5, 2, 2**0.5, 10])
    np.testing.assert_allclose(scales(model, channels)["hidden"], [0.5, 2.0, 1.0, 0.1])
    slopes = [np.zeros(v.shape) for v in model.trainable_variables]
    slopes[0] = np.array([[1.0, 1.0, 1.0, 1.0], [0.0, 2.0, 1.0, 1.0]])
    found = taylor(model, ["hidden"], [slopes, [2 * slope for slope in slopes]])["hidden"]
    np.testing.assert_allclose(found, 2.5 * np.array([3.0, -4.0, 2.0, 2.0]) ** 2)


@pytest.mark.parametrize(
    ("criterion", "gone"), [("l1", {1, 2}), ("l2", {1, 2}), ("bn", {0, 3}), ("random", None)]
)
def test_the_least_important_go(criterion, gone):
    model = by_hand()
    item = compress.PruneChannels(ratio=0.5, criterion=criterion, least=1)
    kernel = np.array(item.apply(model).model.get_layer("hidden").kernel.value)
    old = np.array(model.get_layer("hidden").kernel.value)
    left = {i for i in range(4) if (old[:, i] == kernel.T).all(axis=1).any()}
    assert len(left) == 2 and (gone is None or left == {0, 1, 2, 3} - gone)


def test_taylor_needs_gradients():
    with pytest.raises(ValueError, match="taylor needs a context with gradients"):
        compress.PruneChannels(ratio=0.5, criterion="taylor").apply(by_hand())


@pytest.mark.parametrize("scope", ["layer", "model"])
def test_layers_that_are_skipped_keep_their_channels(scope):
    model = create("lenet300", input_shape=(8, 8, 1), num_classes=10)
    name = next(layer.name for layer in model.layers if isinstance(layer, layers.Dense))
    item = compress.PruneChannels(ratio=0.5, scope=scope, skip=(name,))
    assert item.apply(model).model.get_layer(name).units == 300


def test_exactly_one_aim():
    with pytest.raises(ValueError, match="exactly one of ratio, macs, seconds"):
        compress.PruneChannels()
    with pytest.raises(ValueError, match=r"For 50 %, write 0\.5"):
        compress.PruneChannels(ratio=50)
