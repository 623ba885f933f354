"""AlexNet, ZFNet and Caffe's LeNet beside torchvision, ONNX' published graphs and plain torch."""

import numpy as np
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from tests.oracles.light import Light, convolution, dense
from tests.oracles.plain import Plain, check, filled
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.weights.transplant import from_torch

pytestmark = pytest.mark.oracle


# AlexNet


@pytest.mark.parametrize("shape", [(224, 224, 3), (227, 230, 3)])
def test_one_tower_equals_torchvision(shape):
    """At 227 and 230 the maps are 6x6 too, so that the average which we leave out does nothing."""
    models = torch_side.module("torchvision").models
    theirs = torch_side.randomise(models.alexnet(weights=None))
    tensors = torch_side.tensors(theirs)
    fc6 = tensors["classifier.1.weight"].reshape(4096, 256, 6, 6)
    tensors["classifier.1.weight"] = fc6.transpose(0, 2, 3, 1).reshape(4096, -1)
    ours = create("alexnet_one_tower", input_shape=shape)
    places = {1: 0, 2: 3, 3: 6, 4: 8, 5: 10}
    names = {f"stage{stage}_conv": f"features.{place}" for stage, place in places.items()}
    names |= {"fc6": "classifier.1", "fc7": "classifier.4", "logits": "classifier.6"}
    from_torch(ours, tensors, names)
    images = vector.sample(ours, 2)
    check(ours, images, torch_side.run(theirs, images))
    assert CATALOG["alexnet_one_tower"].parameters == sum(p.numel() for p in theirs.parameters())


def test_two_towers_equal_the_published_caffe_net():
    """With the paper's constants: Caffe's net has k = 1 and a fifth of the alpha."""
    ours = filled("alexnet")
    theirs = Light("bvlc_alexnet")
    assert theirs.num_weights == CATALOG["alexnet"].parameters
    theirs.change("LRN", bias=2.0, alpha=5e-4)  # times 5: ONNX divides by the size
    weights = {}
    for stage in range(1, 6):
        places = (f"stage{stage}_conv_a", f"stage{stage}_conv_b")
        places = places if stage in (2, 4, 5) else (f"stage{stage}_conv",)
        halves = [convolution(ours.get_layer(place)) for place in places]
        kernels, biases = zip(*halves, strict=True)
        weights[f"conv{stage}_w_0"] = np.concatenate(kernels)
        weights[f"conv{stage}_b_0"] = np.concatenate(biases)
    for place, name in (("fc6", "fc6"), ("fc7", "fc7"), ("fc8", "logits")):
        maps = (6, 6, 256) if place == "fc6" else None
        weights[f"{place}_w_0"], weights[f"{place}_b_0"] = dense(ours.get_layer(name), maps)
    images = 20 * vector.sample(ours, 2)  # or the normalisation does little
    (expected,) = theirs.run(weights, images)
    check(ours, images, expected, 1e-3)


# ZFNet


def test_zfnet512_equals_the_published_caffe2_net():
    ours = filled("zfnet512")
    theirs = Light("zfnet512")
    assert theirs.num_weights == CATALOG["zfnet512"].parameters
    weights = {}
    for stage in range(1, 6):
        kernel, bias = convolution(ours.get_layer(f"stage{stage}_conv"))
        weights |= {f"gpu_0/conv{stage}_w_0": kernel, f"gpu_0/conv{stage}_b_0": bias}
    for place, name in (("fc6", "fc6"), ("fc7", "fc7"), ("fc8", "logits")):
        kernel, bias = dense(ours.get_layer(name), (6, 6, 512) if place == "fc6" else None)
        weights |= {f"gpu_0/{place}_w_0": kernel, f"gpu_0/{place}_b_0": bias}
    images = 20 * vector.sample(ours, 2)
    (expected,) = theirs.run(weights, images)
    check(ours, images, expected, 1e-3)


def test_zfnet_counted_by_hand():
    """Fig. 3: sides of the kernels, maps, and units; its row is a secondary source's number."""
    convs = [(7, 3, 96), (5, 96, 256), (3, 256, 384), (3, 384, 384), (3, 384, 256)]
    dense = [(6 * 6 * 256, 4096), (4096, 4096), (4096, 1000)]
    count = sum(k * k * a * b + b for k, a, b in convs) + sum(a * b + b for a, b in dense)
    assert CATALOG["zfnet"].parameters == count == 62_357_608


def test_zfnet_has_the_maps_of_figure_3():
    model = create("zfnet")
    sides = {layer.name: layer.output.shape[1] for layer in model.layers}
    assert [sides[f"stage{i}_conv"] for i in range(1, 6)] == [110, 26, 13, 13, 13]
    assert [sides[f"stage{i}_pool"] for i in (1, 2, 5)] == [55, 13, 6]


@pytest.mark.parametrize("shape", [(224, 224, 3), (47, 64, 1)])
def test_zfnet_equals_plain_torch(shape):
    ours = filled("zfnet", input_shape=shape)
    net, images = Plain(ours), 20 * vector.sample(ours, 2)
    x = net.pool(net.conv(net.images(images), "stage1_conv", 2, 1))
    x = net.conv(net.normalise(x), "stage2_conv", 2)
    x = net.normalise(net.pool(x))
    for stage in (3, 4, 5):
        x = net.conv(x, f"stage{stage}_conv", 1, 1)
    x = net.dense(net.pool(x), "fc6").relu()
    x = net.dense(net.dense(x, "fc7").relu(), "logits")
    check(ours, images, x, 1e-3)


# LeNet


@pytest.mark.parametrize("shape", [(28, 28, 1), (13, 30, 3)])
def test_caffe_lenet_equals_plain_torch(shape):
    ours = filled("caffe_lenet", input_shape=shape)
    net, images = Plain(ours), vector.sample(ours, 2)
    x = net.conv(net.images(images), "conv1", relu=False)
    x = net.conv(net.pool(x, 2), "conv2", relu=False)
    x = net.dense(net.dense(net.pool(x, 2), "fc1").relu(), "logits")
    check(ours, images, x)


def test_caffe_lenet_counted_by_hand():
    """The LeNet-5 that Han et al. 2015 prune from 431,000 weights."""
    count = (25 * 20 + 20) + (25 * 20 * 50 + 50) + (4 * 4 * 50 * 500 + 500) + (500 * 10 + 10)
    assert CATALOG["caffe_lenet"].parameters == count
