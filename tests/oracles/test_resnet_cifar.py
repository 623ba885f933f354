"""The residual nets for CIFAR: no library has them, so they are written again in torch."""

import pytest

from tests.golden import vector
from tests.oracles.compare import close
from tests.oracles.torch_ops import Torch
from zoo.catalog import CATALOG
from zoo.models import create

pytestmark = pytest.mark.oracle


def cifar_resnet(net, x, depth, preactivation, survival):
    x = net.act(net.conv(x, "stem_conv"), "stem_conv_bn")
    blocks, number = (depth - 2) // 6, 0
    for stage in (1, 2, 3):
        for block in range(1, blocks + 1):
            number += 1
            place = f"stage{stage}_block{block}"
            stride = 2 if block == 1 and stage > 1 else 1
            y = x
            if preactivation:
                if number > 1:
                    y = net.act(y, f"{place}_bn1")
                y = net.conv(y, f"{place}_conv1", stride)
                y = net.conv(net.act(y, f"{place}_bn2"), f"{place}_conv2")
            else:
                y = net.act(net.conv(y, f"{place}_conv1", stride), f"{place}_conv1_bn")
                y = net.norm(net.conv(y, f"{place}_conv2"), f"{place}_conv2_bn")
            y = y * (1 - number / (3 * blocks) * (1 - survival))
            if stride == 2:
                x = x[:, :, ::2, ::2]
                x = net.torch.cat([x, net.torch.zeros_like(x)], 1)
            x = x + y if preactivation else (x + y).relu()
    return net.head(net.act(x, "final_bn") if preactivation else x)


def wide_resnet(net, x, depth):
    x = net.conv(x, "stem_conv")
    for stage in (1, 2, 3):
        for block in range(1, (depth - 4) // 6 + 1):
            place = f"stage{stage}_block{block}"
            stride = 2 if block == 1 and stage > 1 else 1
            active = net.act(x, f"{place}_bn1")
            y = net.conv(active, f"{place}_conv1", stride)
            y = net.conv(net.act(y, f"{place}_bn2"), f"{place}_conv2")
            x = y + (net.conv(active, f"{place}_shortcut", stride) if block == 1 else x)
    return net.head(net.act(x, "final_bn"))


@pytest.mark.parametrize(
    "settings",
    [
        {"depth": 20, "preactivation": False, "survival": 1.0},
        {"depth": 20, "preactivation": True, "survival": 1.0},
        {"depth": 32, "preactivation": False, "survival": 0.5},
    ],
)
def test_cifar_equals_the_paper_in_torch(settings):
    ours = create("resnet20", input_shape=(19, 24, 3), **settings)
    vector.fill(ours)
    net = Torch(ours)
    images = vector.sample(ours)
    close(ours(images, training=False), cifar_resnet(net, net.images(images), **settings))


def test_wide_equals_the_paper_in_torch():
    ours = create("wrn16_4", input_shape=(19, 24, 3))
    vector.fill(ours)
    net = Torch(ours)
    images = vector.sample(ours)
    close(ours(images, training=False), wide_resnet(net, net.images(images), 16))


# Counted by hand; a normalisation has two numbers for each channel


def plain(depth):
    """Table 6 of He et al. 2015: each convolution has its normalisation behind it."""
    total, channels = 27 * 16 + 2 * 16, 16
    for maps in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            total += 9 * channels * maps + 9 * maps**2 + 4 * maps
            channels = maps
    return total + 64 * 10 + 10


def preactivated(depth):
    """The stem and each convolution have their normalisation in front, but for the first block."""
    total, channels = 27 * 16 + 2 * 16 - 2 * 16, 16
    for maps in (16, 32, 64):
        for _ in range((depth - 2) // 6):
            total += 2 * channels + 9 * channels * maps + 2 * maps + 9 * maps**2
            channels = maps
    return total + 2 * 64 + 64 * 10 + 10


def wide(depth, width):
    """Table 1 of Zagoruyko & Komodakis; the first block of a stage has a projection."""
    total, channels = 27 * 16, 16
    for maps in (16 * width, 32 * width, 64 * width):
        total += channels * maps
        for _ in range((depth - 4) // 6):
            total += 2 * channels + 9 * channels * maps + 2 * maps + 9 * maps**2
            channels = maps
    return total + 2 * channels + channels * 10 + 10


@pytest.mark.parametrize(
    ("name", "count", "paper"),
    [
        ("resnet20", plain(20), "0.27"),
        ("resnet32", plain(32), "0.46"),
        ("resnet44", plain(44), "0.66"),
        ("resnet56", plain(56), "0.85"),
        ("resnet110", plain(110), "1.7"),
        ("resnet110_v2", preactivated(110), "1.7"),
        ("resnet110_sd", plain(110), "1.7"),
        ("resnet1202_sd", plain(1202), "19.4"),
        ("wrn40_4", wide(40, 4), "8.9"),
        ("wrn16_8", wide(16, 8), "11.0"),
        ("wrn28_10", wide(28, 10), "36.5"),
        ("wrn16_4", wide(16, 4), "2.7"),
    ],
)
def test_cifar_counted_by_hand(name, count, paper):
    """`paper` is in millions."""
    assert CATALOG[name].parameters == count
    assert f"{count / 1e6:.{len(paper.split('.')[1])}f}" == paper
