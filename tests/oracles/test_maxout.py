"""The maxout net beside its authors' configuration, and beside PyTorch."""

import numpy as np
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from zoo.catalog import CATALOG
from zoo.models import create

pytestmark = pytest.mark.oracle


def test_parameters_by_hand():
    """(maps in, units, pieces, window), and the maps of 5x5 that are left of 32x32."""
    convs = [(3, 96, 2, 8), (96, 192, 2, 8), (192, 192, 2, 5)]
    count = sum((maps * size**2 + 1) * units * pieces for maps, units, pieces, size in convs)
    count += (5 * 5 * 192 + 1) * 500 * 5 + (500 + 1) * 10
    assert CATALOG["maxout"].parameters == count


def test_sizes_of_the_authors():
    """Their `partial_sum` divides the number of places of the first two layers: 33**2 and 15**2."""
    net = create("maxout")
    sides = [net.get_layer(name).output.shape[1] for name in ("h0", "h1", "h2", "h2_pool")]
    assert sides == [33, 15, 9, 5]
    rates = [layer.rate for layer in net.layers if layer.name.endswith("_drop")]
    assert rates == [0.2, 0.5, 0.5, 0.5, 0.5]


@pytest.mark.parametrize("shape", [(32, 32, 3), (15, 18, 1)])
def test_equals_torch(shape):
    torch = torch_side.module("torch")
    functional = torch.nn.functional
    ours = create("maxout", input_shape=shape, num_classes=7)
    vector.fill(ours)
    weights = iter([torch.from_numpy(np.array(w)) for w in ours.weights])
    images = vector.sample(ours)
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    for padding, pool in ((4, 4), (3, 4), (3, 2)):
        x = functional.conv2d(x, next(weights).permute(3, 2, 0, 1), next(weights), padding=padding)
        x = torch.maximum(x[:, 0::2], x[:, 1::2])
        x = functional.max_pool2d(x, pool, 2, ceil_mode=True)
    x = x.permute(0, 2, 3, 1).flatten(1) @ next(weights) + next(weights)
    x = x.reshape(-1, 500, 5).amax(2)
    expected = x @ next(weights) + next(weights)
    np.testing.assert_allclose(ours(images, training=False), expected, rtol=1e-4, atol=1e-4)
