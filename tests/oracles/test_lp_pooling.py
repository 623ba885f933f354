"""The Lp-pooling net beside its authors' sizes, and beside PyTorch."""

import numpy as np
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.models.lp_pooling import table

pytestmark = pytest.mark.oracle


def test_sizes_of_the_authors():
    """1,792 connections of 2 to 5 maps, 8,448 features, 20 hidden units; the first one is full."""
    connections = table()
    assert len(connections) == 512 and sum(map(len, connections)) == 1792
    assert {len(row) for row in connections} == {2, 3, 4, 5}
    assert set().union(*connections) == set(range(16))
    net = create("lp_pooling")
    assert net.get_layer("features").output.shape == (None, 8448)
    counts = [3 * 25 * 16 + 16, 1792 * 49 + 512, 8448 * 20 + 20, 20 * 10 + 10]
    assert CATALOG["lp_pooling"].parameters == sum(counts)


@pytest.mark.parametrize(("shape", "p"), [((32, 32, 3), 4), ((23, 30, 1), 3)])
def test_equals_torch(shape, p):
    torch = torch_side.module("torch")
    functional = torch.nn.functional
    ours = create("lp_pooling", input_shape=shape, p=p)
    vector.fill(ours)
    weights = {w.path: torch.from_numpy(np.array(w)).double() for w in ours.weights}
    images = vector.sample(ours)
    x = torch.from_numpy(images).double().permute(0, 3, 1, 2)

    def bell(size, width):
        distance = torch.arange(size).double() - (size - 1) / 2
        line = torch.exp(-(distance**2) / width)
        return torch.outer(line, line) / line.sum() ** 2

    def pool(x, size, stride):
        channels = x.shape[1]
        kernel = bell(size, (size / 4) ** 2).expand(channels, 1, size, size)
        return functional.conv2d(x.abs() ** p, kernel, stride=stride, groups=channels) ** (1 / p)

    def normalise(x, size):
        channels = x.shape[1]
        kernel = bell(size, size).expand(1, channels, size, size) / channels
        return x - functional.conv2d(x, kernel, padding=size // 2)

    kernel = weights["stage1_conv/kernel"].permute(3, 2, 0, 1)
    x = torch.tanh(functional.conv2d(x, kernel, weights["stage1_conv/bias"]))
    stage1 = normalise(pool(x, 2, 2), 5)
    full, start = torch.zeros(512, 16, 7, 7).double(), 0
    for out, row in enumerate(table()):
        part = weights["stage2_conv/kernel"][..., start : start + len(row)]
        full[out, row] = part.permute(2, 0, 1)
        start += len(row)
    x = torch.tanh(functional.conv2d(stage1, full, weights["stage2_conv/bias"]))
    x = normalise(pool(x, 2, 2), 7)
    around = normalise(pool(stage1, 5, 3), 5)
    x = torch.cat([part.permute(0, 2, 3, 1).flatten(1) for part in (x, around)], 1)
    x = torch.tanh(x @ weights["hidden/kernel"] + weights["hidden/bias"])
    expected = x @ weights["logits/kernel"] + weights["logits/bias"]
    np.testing.assert_allclose(ours(images, training=False), expected, rtol=1e-4, atol=1e-5)
