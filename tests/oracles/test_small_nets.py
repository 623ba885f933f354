"""Network in network, SqueezeNet and MobileNet beside torchvision, keras.applications and torch."""

import itertools

import keras
import numpy as np
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from tests.oracles.light import Light, convolution
from tests.oracles.plain import Plain, check, filled
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.models.pooling import overlapping_pool
from zoo.weights.transplant import from_torch

pytestmark = pytest.mark.oracle


# Pooling that rounds up


@pytest.mark.parametrize("average", [False, True])
@pytest.mark.parametrize("shape", [(2, 2), (3, 3), (7, 9), (8, 6), (7, 8), (8, 7), (2, 5)])
def test_overlapping_pool_equals_ceil_mode(shape, average):
    torch_side.module("torchvision")
    from torch import from_numpy
    from torch.nn import functional

    images = -np.random.RandomState(0).uniform(1, 2, (2, *shape, 3)).astype("float32")
    image = keras.Input(images.shape[1:])
    ours = keras.Model(image, overlapping_pool(image, name="pool", average=average))
    pool = functional.avg_pool2d if average else functional.max_pool2d
    theirs = pool(from_numpy(images.transpose(0, 3, 1, 2).copy()), 3, 2, ceil_mode=True)
    np.testing.assert_allclose(ours(images), theirs.permute(0, 2, 3, 1), rtol=1e-6)


def test_overlapping_pool_refuses_what_has_no_window():
    with pytest.raises(ValueError, match="zero or negative"):
        overlapping_pool(keras.Input((8, 1, 3)), name="pool")


# Network in network: the authors' two files for Caffe, layer by layer


@pytest.mark.parametrize("shape", [(32, 32, 3), (4, 21, 1)])
def test_nin_equals_plain_torch(shape):
    ours = filled("nin", input_shape=shape)
    net, images = Plain(ours), vector.sample(ours, 2)
    x = net.conv(net.images(images), "stage1_conv", padding=2)
    x = net.conv(net.conv(x, "stage1_cccp1"), "stage1_cccp2")
    x = net.conv(net.pool(x), "stage2_conv", padding=2)
    x = net.conv(net.conv(x, "stage2_cccp1"), "stage2_cccp2")
    x = net.ops.avg_pool2d(x, 3, 2, ceil_mode=True)
    x = net.conv(x, "stage3_conv", padding=1)
    x = net.conv(net.conv(x, "stage3_cccp1"), "stage3_cccp2")
    check(ours, images, x.mean((2, 3)))


@pytest.mark.parametrize("shape", [(224, 224, 3), (39, 64, 1)])
def test_nin_imagenet_equals_plain_torch(shape):
    ours = filled("nin_imagenet", input_shape=shape)
    net, images = Plain(ours), vector.sample(ours, 2)
    x = net.images(images)
    for stage, (stride, padding) in enumerate([(4, 0), (1, 2), (1, 1), (1, 1)], start=1):
        x = net.conv(x, f"stage{stage}_conv", stride, padding)
        x = net.conv(net.conv(x, f"stage{stage}_cccp1"), f"stage{stage}_cccp2")
        x = net.pool(x) if stage < 4 else x
    assert shape[0] != 224 or x.shape[2:] == (6, 6)  # what the authors' last pooling takes
    check(ours, images, x.mean((2, 3)))


@pytest.mark.parametrize(
    ("name", "table"),
    [
        # side of the kernel and maps of each layer
        ("nin", "5x192 1x160 1x96 5x192 1x192 1x192 3x192 1x192 1x10"),
        (
            "nin_imagenet",
            "11x96 1x96 1x96 5x256 1x256 1x256 3x384 1x384 1x384 3x1024 1x1024 1x1000",
        ),
    ],
)
def test_nin_counted_by_hand(name, table):
    rows = [tuple(map(int, row.split("x"))) for row in table.split()]
    inputs = [3, *(maps for _, maps in rows)]
    count = sum(k * k * i * maps + maps for i, (k, maps) in zip(inputs, rows, strict=False))
    assert CATALOG[name].parameters == count


# SqueezeNet


# Index of each layer in torchvision's `features`.
FIRES = {
    "1.0": dict(zip(range(2, 10), (3, 4, 5, 7, 8, 9, 10, 12), strict=True)),
    "1.1": dict(zip(range(2, 10), (3, 4, 6, 7, 9, 10, 11, 12), strict=True)),
}


@pytest.mark.parametrize("shape", [(224, 224, 3), (51, 64, 3), (21, 21, 3)])
@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_squeezenet_equals_torchvision(version, shape):
    models = torch_side.module("torchvision").models
    name = f"squeezenet{version.replace('.', '_')}"
    theirs = torch_side.randomise(getattr(models, name)(weights=None))
    names = {"conv1": "features.0", "conv10": "classifier.1"}
    for fire, place in FIRES[version].items():
        for ours, leaf in (("squeeze", ""), ("expand1", "1x1"), ("expand3", "3x3")):
            names[f"fire{fire}_{ours}"] = f"features.{place}.{ours.rstrip('13')}{leaf}"
    ours = create(name, input_shape=shape)
    from_torch(ours, torch_side.tensors(theirs), names)
    images = vector.sample(ours, 2)
    check(ours, images, torch_side.run(theirs, images))
    assert CATALOG[name].parameters == sum(p.numel() for p in theirs.parameters())


def test_squeezenet_equals_the_published_graph():
    ours = filled("squeezenet1_1")
    theirs = Light("squeezenet")
    assert theirs.num_weights == CATALOG["squeezenet1_1"].parameters
    weights = {}
    for layer in ours.layers:
        if layer.weights:
            place = layer.name.replace("_squeeze", "/squeeze1x1")
            place = place.replace("_expand1", "/expand1x1").replace("_expand3", "/expand3x3")
            weights[f"{place}_w_0"], weights[f"{place}_b_0"] = convolution(layer)
    images = vector.sample(ours, 2)
    (expected,) = theirs.run(weights, images)
    check(ours, images, expected[:, :, 0, 0])


# MobileNet


def fill(model):
    """As the goldens, but with the variance that nine inputs of a depthwise unit ask for."""
    vector.fill(model)
    for index, layer in enumerate(model.layers):
        if isinstance(layer, keras.layers.DepthwiseConv2D):
            high = np.sqrt(6 / 9)
            kernel = np.random.RandomState(index).uniform(-high, high, layer.kernel.shape)
            layer.kernel.assign(kernel)


@pytest.mark.parametrize("alpha", [1.0, 0.5])
@pytest.mark.parametrize("shape", [(224, 224, 3), (45, 64, 3), (33, 71, 1)])
def test_mobilenet_equals_keras_applications(shape, alpha):
    theirs = keras.applications.MobileNet(
        weights=None, input_shape=shape, alpha=alpha, classifier_activation=None
    )
    fill(theirs)
    ours = create("mobilenet", input_shape=shape, alpha=alpha)
    ours.set_weights(
        [
            value.reshape(weight.shape)  # their classifier is a 1x1 convolution
            for value, weight in zip(theirs.get_weights(), ours.weights, strict=True)
        ]
    )
    images = vector.sample(ours, 2)
    expected = theirs(images, training=False)
    check(ours, images, expected)
    clipped = ours.get_layer("block1_pointwise_relu6").output
    assert np.max(keras.Model(ours.input, clipped)(10 * images)) == 6.0


def test_mobilenet_counted_by_hand():
    """Table 1: kernels of each separable convolution, and two numbers a map and normalisation."""
    widths = [32, 64, 128, 128, 256, 256, *6 * [512], 1024, 1024]
    pairs = list(itertools.pairwise(widths))
    assert len(pairs) == 13
    kernels = 27 * 32 + sum(9 * a + a * b for a, b in pairs)
    norms = 2 * 32 + sum(2 * a + 2 * b for a, b in pairs)
    assert CATALOG["mobilenet"].parameters == kernels + norms + 1024 * 1000 + 1000
