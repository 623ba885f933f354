"""Nets written again from their papers in plain torch functions, with the weights of our model."""

import numpy as np

from tests.golden import vector
from tests.oracles import torch_side
from tests.oracles.light import convolution, dense
from zoo.models import create


def filled(name, **settings):
    model = create(name, **settings)
    vector.fill(model)
    return model


def check(model, images, expected, tolerance=1e-4):
    """The model's outputs are the expected ones, which differ between two images."""
    ours, expected = np.asarray(model(images, training=False)), np.asarray(expected)
    assert ours.shape == expected.shape
    assert np.abs(expected).max() > 0.1
    assert np.abs(expected[0] - expected[1]).max() > 1e-3
    np.testing.assert_allclose(ours, expected, rtol=tolerance, atol=tolerance)


class Plain:
    """The layers of a model by name; features are (batch, channels, height, width)."""

    def __init__(self, model):
        torch_side.module("torchvision")
        import torch

        self.torch, self.ops, self.model = torch, torch.nn.functional, model

    def images(self, images):
        return self.torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2)))

    def conv(self, x, name, stride=1, padding=0, relu=True):
        kernel, bias = map(self.torch.from_numpy, convolution(self.model.get_layer(name)))
        x = self.ops.conv2d(x, kernel, bias, stride, padding)
        return x.relu() if relu else x

    def dense(self, x, name):
        maps = (*x.shape[2:], x.shape[1]) if x.ndim == 4 else None
        kernel, bias = map(self.torch.from_numpy, dense(self.model.get_layer(name), maps))
        return self.ops.linear(x.flatten(1), kernel, bias)

    def pool(self, x, size=3):
        return self.ops.max_pool2d(x, size, 2, ceil_mode=True)

    def normalise(self, x, k=2.0, alpha=5e-4):
        """As torch has it, alpha multiplies a mean over five maps."""
        return self.ops.local_response_norm(x, 5, alpha=alpha, beta=0.75, k=k)
