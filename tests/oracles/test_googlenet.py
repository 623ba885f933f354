"""GoogLeNet beside torchvision's form and beside the graph of Caffe's that ONNX published."""

import keras
import numpy as np
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from tests.oracles.light import Light, convolution, dense
from tests.oracles.plain import Plain, check, filled
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.models.googlenet import INCEPTIONS
from zoo.weights.transplant import from_torch

pytestmark = pytest.mark.oracle

OUTPUTS = ("logits", "auxiliary1", "auxiliary2")
BRANCHES = {
    "1x1": "branch1",
    "3x3_reduce": "branch2.0",
    "3x3": "branch2.1",
    "5x5_reduce": "branch3.0",
    "5x5": "branch3.1",
    "pool_proj": "branch4.1",
}


# torchvision's form


def torch_names():
    blocks = {"conv1": "conv1", "conv2_reduce": "conv2", "conv2": "conv3"}
    for place in INCEPTIONS:
        for ours, theirs in BRANCHES.items():
            blocks[f"inception{place}_{ours}"] = f"inception{place}.{theirs}"
    names = {"logits": "fc"}
    for index in (1, 2):
        blocks[f"auxiliary{index}_conv"] = f"aux{index}.conv"
        names |= {f"auxiliary{index}_fc": f"aux{index}.fc1", f"auxiliary{index}": f"aux{index}.fc2"}
    for ours, theirs in blocks.items():
        names |= {ours: f"{theirs}.conv", f"{ours}_bn": f"{theirs}.bn"}
    return names


@pytest.fixture(scope="module")
def torchvision():
    """The net, and its weights with those of the heads in the order of our `Flatten`."""
    models = torch_side.module("torchvision").models
    net = torch_side.randomise(models.googlenet(weights=None, aux_logits=True, init_weights=False))
    tensors = torch_side.tensors(net)
    for index in (1, 2):
        fc = tensors[f"aux{index}.fc1.weight"].reshape(1024, 128, 4, 4)
        tensors[f"aux{index}.fc1.weight"] = fc.transpose(0, 2, 3, 1).reshape(1024, -1)
    return net, tensors


# 224 is the paper's; at 15 the maps of the heads are 1x1, and at 125x160 windows hang over edges.
@pytest.mark.parametrize("shape", [(224, 224, 3), (15, 15, 3), (125, 160, 3)])
def test_form_with_batch_norm_equals_torchvision(torchvision, shape):
    theirs, tensors = torchvision
    ours = create("googlenet_bn", input_shape=shape, auxiliary=True)
    from_torch(ours, tensors, torch_names())
    images = vector.sample(ours, 2)
    seen = []  # torchvision runs its heads in training only, so they are called by hand
    hooks = [
        getattr(theirs, place).register_forward_hook(lambda *call: seen.append(call[-1]))
        for place in ("inception4a", "inception4d")
    ]
    logits = torch_side.run(theirs, images)
    for hook in hooks:
        hook.remove()
    heads = [theirs.aux1(seen[0]), theirs.aux2(seen[1])]
    expected = dict(zip(OUTPUTS, [logits, *heads], strict=True))
    assert set(ours.output) == set(expected)
    for name, output in ours.output.items():
        check(keras.Model(ours.input, output), images, expected[name].detach())


def test_parameters_equal_torchvision(torchvision):
    theirs, _ = torchvision
    count = {
        name: sum(p.numel() for p in part.parameters()) for name, part in theirs.named_children()
    }
    heads = count["aux1"] + count["aux2"]
    assert CATALOG["googlenet_bn"].parameters == sum(count.values()) - heads == 6_624_904
    full = create("googlenet_bn", auxiliary=True)
    assert sum(np.prod(w.shape) for w in full.trainable_weights) == sum(count.values())
    assert sum(count.values()) == 13_004_888


# Caffe's form


def caffe_weights(model):
    """The weights by the names of the published graph."""
    names = {"conv1": "conv1/7x7_s2", "conv2_reduce": "conv2/3x3_reduce", "conv2": "conv2/3x3"}
    for place in INCEPTIONS:
        for branch in BRANCHES:
            names[f"inception{place}_{branch}"] = f"inception_{place}/{branch}"
    weights = {}
    for ours, theirs in names.items():
        kernel, bias = convolution(model.get_layer(ours))
        weights |= {f"{theirs}_w_0": kernel, f"{theirs}_b_0": bias}
    kernel, bias = dense(model.get_layer("logits"))
    return weights | {
        "loss3/classifier_w_0": kernel.reshape(1, 1, *kernel.shape),
        "loss3/classifier_b_0": bias,
    }


def test_first_form_equals_the_published_caffe_net():
    """And the heads, which no published graph has, equal plain torch on its features."""
    theirs = Light("inception_v1")
    assert theirs.num_weights == CATALOG["googlenet"].parameters
    # Made for opset 9, which cannot round up: at 224 all sides are even, and one more row at the
    # bottom and the right does the same. The last pooling takes the whole map of 7x7.
    theirs.change("MaxPool", {"strides": [2, 2]}, pads=[0, 0, 1, 1])
    theirs.change("AveragePool", pads=[0, 0, 0, 0])
    modules = [node.output[0] for node in theirs.nodes("Concat")]
    assert len(modules) == len(INCEPTIONS)
    features = dict(zip(INCEPTIONS, modules, strict=True))

    ours = filled("googlenet", auxiliary=True)
    images = 20 * vector.sample(ours, 2)  # or the normalisation does little
    logits, *middle = theirs.run(caffe_weights(ours), images, [features["4a"], features["4d"]])
    check(keras.Model(ours.input, ours.output["logits"]), images, logits, 1e-3)

    net = Plain(ours)
    for x, place in zip(middle, OUTPUTS[1:], strict=True):
        x = net.ops.avg_pool2d(net.torch.from_numpy(x), 5, 3)
        assert tuple(x.shape[2:]) == (4, 4)  # as section 5 has it
        x = net.dense(net.conv(x, f"{place}_conv"), f"{place}_fc").relu()
        head = keras.Model(ours.input, ours.output[place])
        check(head, images, net.dense(x, place), 1e-3)


def test_heads_counted_by_hand():
    """Section 5: 128 maps, 1024 units, a classifier; on 512 and on 528 maps."""
    heads = sum(
        (maps * 128 + 128) + (4 * 4 * 128 * 1024 + 1024) + (1024 * 1000 + 1000)
        for maps in (512, 528)
    )
    full = create("googlenet", auxiliary=True)
    assert sum(np.prod(w.shape) for w in full.weights) == CATALOG["googlenet"].parameters + heads


@pytest.mark.parametrize("side", [31, 64])
def test_heads_work_on_small_images(side):
    """Windows of 5x5 reach over the edge of smaller maps; nothing outside counts in their mean."""
    model = create("googlenet", input_shape=(side, side, 1), num_classes=10, auxiliary=True)
    assert sorted(model.output) == sorted(model.output_names) == sorted(OUTPUTS)
    maps, pool = model.get_layer("inception4a").output, model.get_layer("auxiliary1_pool")
    assert maps.shape[1] < 5
    ones = np.ones((1, *maps.shape[1:]), "float32")
    np.testing.assert_allclose(pool(ones), 1)
