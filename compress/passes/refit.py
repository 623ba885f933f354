"""Kernels with zeros fitted anew to what the layers of the network before gave, one after another.

Sources: Frantar & Alistarh 2022, Optimal brain compression, arXiv:2208.11580: what is left of a
layer is to minimise the squared error of what the layer gives. Nagel et al. 2020, arXiv:2004.10568:
each layer sees what the changed layers before it give, and aims at what the network before gave.
Differs: the zeros are given, and the minimum is that of a linear system for each output; the
weights are pulled towards those before, by a ridge.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compress.graph.holding import structure
from compress.graph.norms import walk
from compress.layers.shared import Shared

ROWS = 16_384  # of inputs and outputs that a layer is fitted to
CHUNK_BYTES = 2**28  # of the rows that are laid out at once
RIDGE = 0.3  # of the mean square of an input


class Refit:
    """Fits the kernels of a changed network, as `compress.graph.norms.walk` comes by.

    Args:
        before: The network that the other was made of.
        samples: As both take them, (n, ...) for each input.

    Attributes:
        count: Kernels that were fitted.
    """

    def __init__(self, before: keras.Model, samples: Any) -> None:
        self.count = 0
        self._random = np.random.default_rng(0)
        self._chosen: dict[str, np.ndarray] = {}
        self._kernels: dict[str, np.ndarray] = {}
        self._targets: dict[str, np.ndarray] = {}
        walk(before, samples, self._aim)

    def _aim(self, path: str, layer: Any, tensor: Any) -> None:
        """Notes what a layer gives, without its bias."""
        if fittable(layer):
            self._kernels[path] = _matrix(layer)
            self._targets[path] = self._rows(path, layer, tensor) @ self._kernels[path]

    def __call__(self, path: str, layer: Any, tensor: Any) -> None:
        """Fits the weights of a layer that are not zero, where some are and it had fewer zeros."""
        if path not in self._targets or not fittable(layer):
            return
        kernel, old = _matrix(layer), self._kernels[path]
        kept = kernel != 0
        if kernel.shape != old.shape or kept.all() or not (kept < (old != 0)).any():
            return
        if any(isinstance(part, Shared) for part in structure(kernel)):
            return  # values that are shared stay
        rows = self._rows(path, layer, tensor)
        squares = (rows.T @ rows).astype(np.float64)  # (inputs, inputs)
        products = (rows.T @ self._targets[path]).astype(np.float64)  # (inputs, outputs)
        ridge = RIDGE * np.trace(squares) / len(squares)
        squares[np.diag_indices_from(squares)] += ridge
        products += ridge * old
        fitted = np.zeros(kernel.shape)
        for output in range(kernel.shape[1]):
            free = np.flatnonzero(kept[:, output])
            system = squares[np.ix_(free, free)]
            if free.size and ridge > 0:
                fitted[free, output] = np.linalg.solve(system, products[free, output])
        if not np.isfinite(fitted).all() or ridge <= 0:
            return
        # A weight that comes out at 0 would be taken for one that was pruned.
        fitted = np.where(kept & (fitted == 0), np.finfo(np.float32).tiny, fitted)
        layer.kernel.assign(fitted.reshape(layer.kernel.shape))
        self.count += 1

    def _rows(self, path: str, layer: Any, tensor: Any) -> np.ndarray:
        """What the kernel multiplies, (n, inputs), float32: the same rows of both networks."""
        examples = len(tensor)
        positions = int(np.prod(layer.compute_output_shape(tuple(tensor.shape))[1:-1]))
        if path not in self._chosen:
            count = examples * positions
            few = self._random.choice(count, min(ROWS, count), replace=False)
            self._chosen[path] = np.sort(few)
        chosen, found = self._chosen[path], []
        step = max(1, CHUNK_BYTES // max(1, 4 * int(np.prod(layer.kernel.shape[:-1])) * positions))
        for start in range(0, examples, step):
            laid = ops.convert_to_numpy(laid_out(layer, tensor[start : start + step]))
            low, high = start * positions, min(start + step, examples) * positions
            mine = chosen[(chosen >= low) & (chosen < high)] - low
            found.append(laid.reshape(-1, laid.shape[-1])[mine].astype(np.float32))
        return np.concatenate(found)


def fittable(layer: Any) -> bool:
    """Whether a layer multiplies a kernel by rows that can be laid out."""
    if isinstance(layer, layers.Conv2D) and not isinstance(layer, layers.DepthwiseConv2D):
        return bool(layer.groups == 1 and layer.data_format == "channels_last")
    return type(layer) is layers.Dense


def laid_out(layer: Any, tensor: Any) -> Any:
    """Returns the rows that a layer's kernel, as a matrix, multiplies: (..., inputs)."""
    if isinstance(layer, layers.Dense):
        return tensor
    if layer.kernel_size == (1, 1):
        down, across = layer.strides
        return tensor[:, ::down, ::across]
    return ops.image.extract_patches(
        tensor, layer.kernel_size, strides=layer.strides,
        dilation_rate=layer.dilation_rate, padding=layer.padding,
    )  # fmt: skip


def _matrix(layer: Any) -> np.ndarray:
    kernel: np.ndarray = ops.convert_to_numpy(layer.kernel).astype(np.float32)
    return kernel.reshape(-1, kernel.shape[-1])
