"""Ranzato's numbers of weights, and the locally connected net beside PyTorch."""

import keras
import numpy as np
import pytest

from tests.golden import vector
from tests.oracles import torch_side
from zoo.catalog import CATALOG
from zoo.models import create
from zoo.models.local import local

pytestmark = pytest.mark.oracle


@pytest.mark.parametrize(
    ("connection", "weights"),
    [("full", 40_000 * 40_000), ("local", 40_000 * 100), ("conv", 100 * 100)],
)
def test_weights_of_the_slides(connection, weights):
    """Shapes alone: the fully connected one would take 6.4 GB."""
    with keras.StatelessScope(initialize_variables=False):
        net = local(name="net", input_shape=(200, 200, 1), num_classes=10, connection=connection)
        kernel = net.get_layer("hidden").kernel
        assert np.prod(kernel.shape, dtype=int) == weights
        units = np.prod(net.get_layer("hidden_relu").output.shape[1:])
        assert units == (4_000_000 if connection == "conv" else 40_000)
    keras.utils.clear_session()


def test_parameters_by_hand():
    head = 10 * 10 * 10 + 10
    assert CATALOG["local200"].parameters == 4_000_000 + 40_000 + head
    assert CATALOG["conv200"].parameters == 10_000 + 100 + 100 * 10 * 10 * 10 + 10


@pytest.mark.parametrize("connection", ["local", "conv", "full"])
def test_equals_torch(connection):
    """10x10 windows reach 4 pixels up and left, 5 down and right."""
    torch = torch_side.module("torch")
    name = "conv200" if connection == "conv" else "local200"
    ours = create(name, input_shape=(24, 31, 2), num_classes=7, connection=connection)
    vector.fill(ours)
    kernel, bias, head, head_bias = (torch.from_numpy(np.array(w)) for w in ours.weights)
    images = vector.sample(ours)
    x = torch.from_numpy(images).permute(0, 3, 1, 2)
    if connection == "full":
        x = (torch.from_numpy(images).flatten(1) @ kernel + bias).reshape(-1, 1, 24, 31)
    else:
        windows = torch.nn.functional.unfold(torch.nn.functional.pad(x, (4, 5, 4, 5)), 10)
        columns = kernel.permute(2, 0, 1, 3).reshape(200, -1)  # (channels, row, column), units
        product = "bip,ip->bp" if connection == "local" else "bip,iu->bup"
        x = torch.einsum(product, windows, columns)
        x = (x + (bias if connection == "local" else bias[:, None])).reshape(3, -1, 24, 31)
    x = torch.nn.functional.avg_pool2d(torch.relu(x), (2, 3))
    expected = x.permute(0, 2, 3, 1).flatten(1) @ head + head_bias
    np.testing.assert_allclose(ours(images, training=False), expected, rtol=1e-4, atol=1e-5)


def test_refuses_another_connection():
    with pytest.raises(ValueError, match="connection got 'sparse'; expected one of"):
        create("local200", connection="sparse")
