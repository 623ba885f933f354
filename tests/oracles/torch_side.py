"""torchvision and timm beside Keras: imported where they are installed, and weights carried over.

    pip install -e '.[oracle]'

torchvision's wheel is linked against CUDA; on a CPU build of torch its operators are missing, so
their schemas are declared before the import. Nothing here calls them.
"""

import functools

import numpy as np
import pytest


@functools.cache
def _declare():
    import torch

    library = torch.library.Library("torchvision", "FRAGMENT")
    for name in ("nms", "qnms"):
        library.define(f"{name}(Tensor dets, Tensor scores, float iou_threshold) -> Tensor")
    return library  # it must stay alive


def module(name):
    """Imports `torchvision` or `timm`, or skips the test with the way to install it."""
    reason = "the oracle extra is not installed: pip install -e '.[oracle]'"
    pytest.importorskip("torch", reason=reason)
    _declare()
    return pytest.importorskip(name, reason=reason)


def randomise(net, seed=0):
    """Fills a torch module with a frozen stream of numbers; variances are positive."""
    import torch

    random = np.random.RandomState(seed)
    with torch.no_grad():
        for name, value in net.state_dict().items():
            if name.endswith("num_batches_tracked"):
                continue
            if value.ndim > 1:
                high = np.sqrt(6 / np.prod(value.shape[1:]))
                new = random.uniform(-high, high, tuple(value.shape))
            elif name.endswith(("running_var", "weight")):
                new = random.uniform(0.5, 1.5, tuple(value.shape))
            else:
                new = random.uniform(-0.1, 0.1, tuple(value.shape))
            value.copy_(torch.from_numpy(np.asarray(new)))
    return net.eval()


def tensors(net):
    """The state of a torch module as arrays."""
    return {name: value.numpy() for name, value in net.state_dict().items()}


def run(net, images):
    """The outputs of a torch module on images (batch, height, width, channels)."""
    import torch

    with torch.no_grad():
        return net(torch.from_numpy(np.ascontiguousarray(images.transpose(0, 3, 1, 2))))
