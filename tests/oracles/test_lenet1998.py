"""LeNet-5 of 1998 beside the paper's table I and counts, and beside PyTorch."""

import numpy as np
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from zoo.layers.rbf import digit_codes
from zoo.models import create
from zoo.models.lenet1998 import TABLE

pytestmark = pytest.mark.oracle

# Rows: the maps of S2; columns: the maps of C3.
TABLE_I = """
X . . . X X X . . X X X X . X X
X X . . . X X X . . X X X X . X
X X X . . . X X X . . X . X X X
. X X X . . X X X X . . X . X X
. . X X X . . X X X X . X X . X
. . . X X X . . X X X X . X X X
"""


def test_table():
    marks = np.array([line.split() for line in TABLE_I.strip().splitlines()]) == "X"
    assert [set(np.flatnonzero(column)) for column in marks.T] == [set(row) for row in TABLE]


def test_parameters_of_every_layer():
    net = create("lenet5_1998")
    counts = {layer.name: layer.count_params() for layer in net.layers if layer.count_params()}
    assert counts == {"c1": 156, "s2": 12, "c3": 1516, "s4": 32, "c5": 48_120, "f6": 10_164}
    assert sum(counts.values()) == 60_000


@pytest.mark.parametrize("shape", [(32, 32, 1), (37, 41, 3)])
def test_equals_torch(shape):
    torch = torch_side.module("torch")
    ours = create("lenet5_1998", input_shape=shape)
    vector.fill(ours)
    weights = {w.path: torch.from_numpy(np.array(w)) for w in ours.weights}
    images = vector.sample(ours)
    x = torch.from_numpy(images).permute(0, 3, 1, 2)

    def squash(x):
        return 1.7159 * torch.tanh(2 / 3 * x)

    def conv(x, name):
        kernel = weights[f"{name}/kernel"].permute(3, 2, 0, 1)
        return squash(torch.nn.functional.conv2d(x, kernel, weights[f"{name}/bias"]))

    def subsample(x, name):
        total = 4 * torch.nn.functional.avg_pool2d(x, 2)
        coefficient, bias = weights[f"{name}/coefficient"], weights[f"{name}/bias"]
        return squash(coefficient[:, None, None] * total + bias[:, None, None])

    x = subsample(conv(x, "c1"), "s2")
    marks = np.array([line.split() for line in TABLE_I.strip().splitlines()]) == "X"
    maps, start = [], 0
    for column, row in zip(marks.T, TABLE, strict=True):
        # The kernel holds the windows in the order of our table, row by row.
        kernel = weights["c3/kernel"][..., start : start + len(row)].permute(2, 0, 1)
        full = torch.zeros(1, 6, 5, 5)
        full[0, list(row)] = kernel
        assert (full[0].abs().sum((1, 2)) > 0).numpy().tolist() == column.tolist()
        maps.append(torch.nn.functional.conv2d(x, full))
        start += len(row)
    x = squash(torch.cat(maps, 1) + weights["c3/bias"][:, None, None])
    x = conv(subsample(x, "s4"), "c5").permute(0, 2, 3, 1).flatten(1)
    x = squash(x @ weights["f6/kernel"] + weights["f6/bias"])
    codes = torch.from_numpy(digit_codes().astype("float32"))
    expected = -(torch.cdist(x, codes, compute_mode="donot_use_mm_for_euclid_dist") ** 2)
    np.testing.assert_allclose(ours(images, training=False), expected, rtol=1e-4)


def test_other_numbers_of_classes():
    net = create("lenet5_1998", num_classes=36)
    assert net.get_layer("logits").codes == "random"
    assert sum(np.prod(w.shape) for w in net.trainable_weights) == 60_000
