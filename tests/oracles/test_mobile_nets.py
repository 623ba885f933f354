"""MobileNetV2 and EfficientNet-Lite beside torchvision and timm, on the same random weights."""

import itertools

import keras
import numpy as np
import pytest

from tests.oracles import torch_side
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.weights import transplant
from zoo.weights.torch_names import torch_names

pytestmark = pytest.mark.oracle

LITES = ["efficientnet_lite0", "efficientnet_lite1", "efficientnet_lite2"]
SCALE = 1e-4  # of the largest logit


def mobilenet_v2(width=1.0):
    return torch_side.module("torchvision").models.mobilenet_v2(weights=None, width_mult=width)


def lite(name):
    return torch_side.module("timm").create_model(f"tf_{name}")


def size(net):
    return sum(value.numel() for value in net.parameters())


def modules(net):
    """Names of the modules with weights, in timm's order, which is that of the computation."""
    return list(dict.fromkeys(name.rpartition(".")[0] for name in net.state_dict()))


def compare(model, net, *shapes):
    for shape in shapes:
        images = np.random.RandomState(1).normal(size=(2, *shape)).astype("float32")
        expected = torch_side.run(net, images).numpy()
        assert np.abs(expected[0] - expected[1]).max() > 0.1  # no saturated net
        got = np.asarray(model(images, training=False))
        np.testing.assert_allclose(got, expected, rtol=0, atol=SCALE * np.abs(expected).max())


@pytest.mark.parametrize("side", [(224, 224), (97, 66)])
@pytest.mark.parametrize("width", [1.0, 0.35, 1.4])
def test_mobilenet_v2_equals_torchvision(width, side):
    """At an odd side a symmetric and a one-sided padding differ."""
    if width != 1.0 and side == (224, 224):
        side = (64, 64)
    net = torch_side.randomise(mobilenet_v2(width))
    model = create("mobilenet_v2", input_shape=(*side, 3), width=width)
    assert sum(np.prod(w.shape) for w in model.trainable_weights) == size(net)
    names = torch_names(model, "mobilenet_v2")
    transplant.from_torch(model, torch_side.tensors(net), names)
    compare(model, net, (*side, 3))


@pytest.mark.parametrize("name", LITES)
def test_lite_equals_timm(name):
    net = torch_side.randomise(lite(name))
    model = create(name)
    layers = [layer.name for layer in model.layers if layer.weights]
    names = dict(zip(layers, modules(net), strict=True))
    transplant.from_torch(model, torch_side.tensors(net), names)
    compare(model, net, model.input_shape[1:])
    odd = create(name, input_shape=(97, 66, 3))
    odd.set_weights(model.get_weights())
    compare(odd, net, (97, 66, 3))


@pytest.mark.parametrize("name", ["mobilenet_v2", *LITES])
def test_counts(name):
    net = mobilenet_v2() if name == "mobilenet_v2" else lite(name)
    assert CATALOG[name].parameters == size(net)


def test_table_2_of_the_paper():
    """Output sizes of MobileNetV2 at 224x224; and dropout, statistics and ReLU6 as torchvision."""
    with keras.StatelessScope(initialize_variables=False):
        model = create("mobilenet_v2")
    keras.utils.clear_session()
    last = {}
    for layer in model.layers:
        if layer.name.endswith("_project_bn"):
            last[layer.name.partition("_")[0]] = layer.output.shape[1:]
    assert list(last.values()) == [
        (112, 112, 16),
        (56, 56, 24),
        (28, 28, 32),
        (14, 14, 64),
        (14, 14, 96),
        (7, 7, 160),
        (7, 7, 320),
    ]
    net = mobilenet_v2()
    assert model.get_layer("drop").rate == net.classifier[0].p
    for layer in model.layers:
        if isinstance(layer, keras.layers.BatchNormalization):
            assert layer.epsilon == net.features[0][1].eps
            assert layer.momentum == 1 - net.features[0][1].momentum
        if isinstance(layer, keras.layers.ReLU):
            assert layer.max_value == 6


@pytest.mark.parametrize("name", ["mobilenet_v2", "efficientnet_lite0"])
def test_fresh_kernels_differ_and_carry_the_signal(name):
    """He's variance for a depthwise kernel is 2 / (height * width)."""
    keras.utils.set_random_seed(0)
    model = create(name, input_shape=(32, 32, 3), num_classes=10)
    kinds = [one for one in model.layers if isinstance(one, keras.layers.DepthwiseConv2D)]
    kernels = [one.get_weights()[0] for one in kinds]
    for kernel in kernels:
        assert np.std(kernel) == pytest.approx(np.sqrt(2 / kernel[..., 0, 0].size), rel=0.15)
    pairs = [(a, b) for a, b in itertools.pairwise(kernels) if a.shape == b.shape]
    assert len(pairs) > 3
    assert all(np.abs(a - b).max() > 0.1 for a, b in pairs)
    images = np.random.RandomState(0).normal(size=(8, 32, 32, 3)).astype("float32")
    assert 0.05 < np.std(model(images, training=True)) < 10
