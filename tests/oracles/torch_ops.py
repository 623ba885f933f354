"""A Keras model's weights under operations of torch, to write a net again from its paper."""

from tests.oracles import torch_side


class Torch:
    """Operations by the names of the Keras layers; images are (batch, channels, height, width)."""

    def __init__(self, model):
        torch_side.module("torchvision")
        import torch

        self.torch = torch
        self.ops = torch.nn.functional
        self.weights = {
            layer.name: [torch.from_numpy(value) for value in layer.get_weights()]
            for layer in model.layers
        }

    def images(self, images):
        return self.torch.from_numpy(images.transpose(0, 3, 1, 2).copy())

    def conv(self, x, name, stride=1):
        (kernel,) = self.weights[name]
        padding = kernel.shape[0] // 2
        return self.ops.conv2d(x, kernel.permute(3, 2, 0, 1), stride=stride, padding=padding)

    def norm(self, x, name):
        gamma, beta, mean, variance = self.weights[name]
        return self.ops.batch_norm(x, mean, variance, gamma, beta, eps=1e-5)

    def act(self, x, name):
        """Normalisation and ReLU."""
        return self.norm(x, name).relu()

    def head(self, x):
        """The mean over the map, and the logits."""
        kernel, bias = self.weights["logits"]
        return x.mean((2, 3)) @ kernel + bias
