"""DenseNet beside torchvision, keras.applications, and the paper's table."""

import keras
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from tests.oracles.compare import close, renamed
from tests.oracles.torch_ops import Torch
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.weights.transplant import from_torch

pytestmark = pytest.mark.oracle

ODD = (61, 72, 3)  # shows on which side a stride pads

TORCHVISION = [
    (r"^stem_conv_bn$", "features.norm0"),
    (r"^stem_conv$", "features.conv0"),
    (r"^stage(\d)_layer(\d+)_", r"features.denseblock\1.denselayer\2."),
    (r"bn(\d)$", r"norm\1"),
    (r"^transition(\d)_bn$", r"features.transition\1.norm"),
    (r"^transition(\d)_conv$", r"features.transition\1.conv"),
    (r"^final_bn$", "features.norm5"),
    (r"^logits$", "classifier"),
]
KERAS = [
    (r"^stem_conv_bn$", "conv1_bn"),
    (r"^stem_conv$", "conv1_conv"),
    (r"^stage(\d)_layer(\d+)_", lambda m: f"conv{int(m[1]) + 1}_block{m[2]}_"),
    (r"_conv(\d)$", r"_\1_conv"),
    (r"_bn(\d)$", lambda m: f"_{int(m[1]) - 1}_bn"),
    (r"^transition(\d)_", lambda m: f"pool{int(m[1]) + 1}_"),
    (r"^final_bn$", "bn"),
    (r"^logits$", "predictions"),
]


def test_equals_torchvision():
    models = torch_side.module("torchvision").models
    theirs = torch_side.randomise(models.densenet121(weights=None, num_classes=10))
    ours = create("densenet121", input_shape=ODD, num_classes=10)
    from_torch(ours, torch_side.tensors(theirs), renamed(ours, TORCHVISION))
    images = vector.sample(ours)
    close(ours(images, training=False), torch_side.run(theirs, images))


@pytest.mark.parametrize("name", ["densenet161", "densenet169", "densenet201"])
def test_larger_ones_have_torchvisions_tensors(name):
    models = torch_side.module("torchvision").models
    import torch

    with torch.device("meta"):
        theirs = getattr(models, name)(weights=None)
    with keras.StatelessScope(initialize_variables=False):
        ours = create(name)
    names = renamed(ours, TORCHVISION)
    shapes = {
        f"{names[layer.name]}.weight": sorted(layer.weights[0].shape)
        for layer in ours.layers
        if layer.weights
    }
    assert shapes == {
        key: sorted(value.shape)
        for key, value in theirs.state_dict().items()
        if key.endswith("weight")
    }


def test_equals_keras_applications():
    theirs = keras.applications.DenseNet121(
        weights=None, input_shape=ODD, classes=10, classifier_activation=None
    )
    vector.fill(theirs)
    ours = create("densenet121", input_shape=ODD, num_classes=10, epsilon=1.001e-5)
    names = renamed(ours, KERAS)
    assert set(names.values()) == {layer.name for layer in theirs.layers if layer.weights}
    for old, new in names.items():
        ours.get_layer(old).set_weights(theirs.get_layer(new).get_weights())
    images = vector.sample(ours)
    close(ours(images, training=False), theirs(images, training=False))


# The nets for CIFAR: no library has them, so they are written again in torch


def cifar(net, x, layers, *, bottleneck):
    x = net.conv(x, "stem_conv")
    for stage in (1, 2, 3):
        for layer in range(1, layers + 1):
            place = f"stage{stage}_layer{layer}"
            if bottleneck:
                y = net.conv(net.act(x, f"{place}_bn1"), f"{place}_conv1")
                y = net.conv(net.act(y, f"{place}_bn2"), f"{place}_conv2")
            else:
                y = net.conv(net.act(x, f"{place}_bn"), f"{place}_conv")
            x = net.torch.cat([x, y], 1)
        if stage < 3:
            x = net.conv(net.act(x, f"transition{stage}_bn"), f"transition{stage}_conv")
            x = net.ops.avg_pool2d(x, 2)
    return net.head(net.act(x, "final_bn"))


@pytest.mark.parametrize(
    ("name", "layers", "bottleneck"), [("densenet40", 12, False), ("densenet100_bc", 16, True)]
)
def test_cifar_equals_the_paper_in_torch(name, layers, bottleneck):
    ours = create(name, input_shape=(11, 14, 3))
    vector.fill(ours)
    net = Torch(ours)
    images = vector.sample(ours)
    close(
        ours(images, training=False), cifar(net, net.images(images), layers, bottleneck=bottleneck)
    )


# Counted by hand; a normalisation has two numbers for each channel


def count(blocks, growth, *, stem, channels, bottleneck, compression, classes):
    total = stem
    for number, layers in enumerate(blocks, start=1):
        for _ in range(layers):
            if bottleneck:
                total += 2 * channels + channels * 4 * growth + 2 * 4 * growth + 36 * growth**2
            else:
                total += 2 * channels + 9 * channels * growth
            channels += growth
        if number < len(blocks):
            kept = int(channels * compression)
            total += 2 * channels + channels * kept
            channels = kept
    return total + 2 * channels + channels * classes + classes


def imagenet(blocks, growth=32):
    maps = 2 * growth
    return count(
        blocks,
        growth,
        stem=49 * 3 * maps + 2 * maps,
        channels=maps,
        bottleneck=True,
        compression=0.5,
        classes=1000,
    )


@pytest.mark.parametrize(
    ("name", "parameters"),
    [
        ("densenet121", imagenet((6, 12, 24, 16))),
        ("densenet169", imagenet((6, 12, 32, 32))),
        ("densenet201", imagenet((6, 12, 48, 32))),
        ("densenet161", imagenet((6, 12, 36, 24), growth=48)),
    ],
)
def test_counted_by_hand(name, parameters):
    """Columns of table 1; DenseNet-161 has four wider blocks."""
    assert CATALOG[name].parameters == parameters


@pytest.mark.parametrize(
    ("name", "paper", "settings"),
    [
        ("densenet40", "1.0", {"channels": 16, "bottleneck": False, "compression": 1.0}),
        ("densenet100_bc", "0.8", {"channels": 24, "bottleneck": True, "compression": 0.5}),
    ],
)
def test_cifar_counted_by_hand(name, paper, settings):
    """`paper` is in millions: table 2."""
    layers = 16 if settings["bottleneck"] else 12
    stem = 27 * settings["channels"]
    parameters = count((layers,) * 3, 12, stem=stem, classes=10, **settings)
    assert CATALOG[name].parameters == parameters
    assert f"{parameters / 1e6:.1f}" == paper


def test_dropout_stands_behind_every_convolution_but_the_first():
    net = create("densenet40", input_shape=(8, 8, 3), depth=10, dropout=0.2)
    kinds = [type(layer).__name__ for layer in net.layers]
    behind = [kinds[i + 1] for i, kind in enumerate(kinds) if kind == "Conv2D"]
    assert behind == ["BatchNormalization"] + ["Dropout"] * 8


@pytest.mark.parametrize(
    ("name", "settings", "message"),
    [
        ("densenet121", {"blocks": (6, 12)}, r"blocks got \(6, 12\); expected 4 numbers"),
        ("densenet40", {"depth": 41}, "depth got 41; expected 3n"),
        ("densenet100_bc", {"depth": 40 + 3}, "depth got 43; expected 6n"),
        ("densenet40", {"compression": 0.0}, "compression got 0.0"),
    ],
)
def test_refuses(name, settings, message):
    with pytest.raises(ValueError, match=message):
        create(name, **settings)
