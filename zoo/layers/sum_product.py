"""Layers of a sum-product network, in logarithms: leaves, products and sums over regions of pixels.

Source: Poon & Domingos 2011, Sum-product networks: a new deep architecture, UAI, arXiv:1202.3732.
A region is a set of pixels with several distributions of them, its nodes. A product joins two
regions that share no pixel, a sum mixes the nodes of one region, so each node is a distribution
that sums to 1, whatever the weights are; a pixel that nobody knows is a leaf of probability 1, and
what is left is the marginal of the others. Sums of logarithms are computed as Peharz et al. 2020
(arXiv:2004.06231) do: the largest is taken out, so that the rest is one product of matrices.
"""

from __future__ import annotations

from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from zoo.layers.places import PlacesLayer

TINY = 1e-37  # a sum that is less counts as this: float32 ends at 1e-38


@keras.saving.register_keras_serializable(package="zoo")
class PixelRegions(PlacesLayer):
    """The leaves: regions of a few binary pixels that are independent within a node.

    Shapes: (batch, height, width, channels) to log-probabilities (batch, views * regions, units). A
    pixel is 0 or 1, or negative where it is not known; a value between counts as its share. Regions
    are squares in the order of `pixel_order`, so that neighbours join first.

    Args:
        units: Nodes of a region.
        block: Side of a region, in pixels.
        views: Ways of laying the squares; each has regions of its own.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, units: int, *, block: int = 1, views: int = 1, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.block, self.views = units, block, views

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the weights: log-odds that a pixel is 1, (views * regions, pixels, units)."""
        self.order = pixel_order(input_shape[1:], block=self.block, views=self.views)
        size = int(np.prod(input_shape[1:]))
        slots = self.order.reshape(self.views, -1)
        self._places = np.stack(
            [np.argsort(own, kind="stable")[:size] + v * own.size for v, own in enumerate(slots)]
        )  # where each pixel is, in each view: (views, size)
        self.log_odds = self.add_weight(
            shape=(*self.order.shape, self.units),
            initializer=keras.initializers.RandomNormal(stddev=1.0),
            name="log_odds",
        )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See the class."""
        size = int(np.prod(inputs.shape[1:]))
        flat = ops.reshape(inputs, (-1, size))
        flat = ops.pad(flat, [[0, 0], [0, 1]], constant_values=-1.0)  # the last is no pixel
        pixels = ops.take(flat, self.order.reshape(-1), axis=1)
        pixels = ops.reshape(pixels, (-1, *self.order.shape))  # (batch, regions, pixels)
        known = ops.cast(pixels >= 0, "float32")
        # log p(x) = x l - log(1 + e^l) by the log-odds l
        on = ops.einsum("brp,rpu->bru", pixels * known, self.log_odds)
        return on - ops.einsum("brp,rpu->bru", known, ops.softplus(self.log_odds))

    def expected(self, shares: KerasTensor) -> KerasTensor:
        """Returns the probability that each pixel is 1, (batch, height * width * channels).

        Args:
            shares: How likely each node made its region, (batch, views * regions, units).
        """
        each = ops.einsum("bru,rpu->brp", shares, ops.sigmoid(self.log_odds))
        flat = ops.reshape(each, (-1, self.order.size))
        found = ops.take(flat, self._places.reshape(-1), axis=1)
        return ops.sum(ops.reshape(found, (-1, *self._places.shape)), axis=1)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, views * regions, units)."""
        order = pixel_order(input_shape[1:], block=self.block, views=self.views)
        return input_shape[0], len(order), self.units

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        own = {"units": self.units, "block": self.block, "views": self.views}
        return {**super().get_config(), **own}


@keras.saving.register_keras_serializable(package="zoo")
class ProductNodes(PlacesLayer):
    """Joins each two neighbouring regions, node by node: log-probabilities add up.

    Shapes: (batch, regions, nodes) to (batch, regions / 2, nodes).
    """

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See the class."""
        _, regions, nodes = inputs.shape
        return ops.sum(ops.reshape(inputs, (-1, regions // 2, 2, nodes)), axis=2)

    def down(self, shares: KerasTensor) -> KerasTensor:
        """Returns how likely each node below made its region: as its parent is."""
        return ops.repeat(shares, 2, axis=1)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, regions / 2, nodes)."""
        return input_shape[0], input_shape[1] // 2, input_shape[2]


@keras.saving.register_keras_serializable(package="zoo")
class SumNodes(PlacesLayer):
    """Mixes the nodes of each region: `log sum_j w_j exp(x_j)`, the weights w by a softmax.

    Shapes: (batch, regions, nodes) to (batch, regions, units).

    Args:
        units: Mixtures of each region.
        whole: Whether all regions are the whole picture, each in a view of its own: then the nodes
            of all are mixed, and (batch, 1, units) comes out.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, units: int, *, whole: bool = False, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.units, self.whole = units, whole

    def build(self, input_shape: tuple[Any, ...]) -> None:
        """Makes the weights: (regions, nodes, units), a softmax over the nodes."""
        _, regions, nodes = self._joined(input_shape)
        self.logits = self.add_weight(
            shape=(regions, nodes, self.units),
            initializer=keras.initializers.RandomNormal(stddev=0.5),
            name="logits",
        )

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See the class."""
        x = ops.reshape(inputs, (-1, *self._joined(inputs.shape)[1:]))
        largest = ops.stop_gradient(ops.max(x, axis=-1, keepdims=True))
        total = ops.einsum("brk,rku->bru", ops.exp(x - largest), ops.exp(self.log_weights()))
        return largest + ops.log(ops.maximum(total, TINY))

    def log_weights(self) -> KerasTensor:
        """Returns the logarithms of the weights, (regions, nodes, units)."""
        return self.logits - ops.logsumexp(self.logits, axis=1, keepdims=True)

    def down(self, inputs: KerasTensor, outputs: KerasTensor, shares: KerasTensor) -> KerasTensor:
        """Returns how likely each node below made its region, of the shape of `inputs`.

        Args:
            inputs: What the layer read, (batch, regions, nodes).
            outputs: What it answered, (batch, regions, units).
            shares: How likely each of its units made its region, of the same shape.
        """
        x = ops.reshape(inputs, (-1, *self._joined(inputs.shape)[1:]))
        logs = self.log_weights() + x[..., None] - outputs[:, :, None]
        found = ops.sum(ops.exp(logs) * shares[:, :, None], axis=-1)  # (batch, regions, nodes)
        return ops.reshape(found, (-1, *inputs.shape[1:]))

    def _joined(self, shape: tuple[Any, ...]) -> tuple[Any, int, int]:
        batch, regions, nodes = shape
        return (batch, 1, regions * nodes) if self.whole else (batch, regions, nodes)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, regions, units)."""
        batch, regions, _ = self._joined(input_shape)
        return batch, regions, self.units

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "units": self.units, "whole": self.whole}


def pixel_order(shape: tuple[int, ...], *, block: int = 1, views: int = 1) -> np.ndarray:
    """Returns the pixels of each region, (views * regions, block * block * channels), int32.

    The picture lies in a grid of squares whose sides are powers of 2. The grid is halved across its
    longer side until one square is left, and the squares are numbered in the order of the halves:
    then 2 i and 2 i + 1 are neighbours, and so are the rectangles that they become. Other views lie
    elsewhere in the grid, and every second one halves squares the other way first.

    Args:
        shape: (height, width, channels).
        block: Side of a square, in pixels.
        views: Ways of laying the squares.

    Returns:
        Indices of the flattened picture; height * width * channels where a square lies beyond it.
    """
    height, width, channels = shape
    grid = [2 ** max(0, int(np.ceil(np.log2(side / block)))) for side in (height, width)]
    numbers = np.arange(height * width * channels).reshape(shape)
    found = []
    for view in range(views):
        free = [cells * block - side for cells, side in zip(grid, (height, width), strict=True)]
        share = view / max(views - 1, 1)
        before = [round(share * spare) for spare in free]
        after = [spare - own for spare, own in zip(free, before, strict=True)]
        wide = np.pad(
            numbers, [*zip(before, after, strict=True), (0, 0)], constant_values=numbers.size
        )
        cells = _halved(0, 0, *grid, tall=view % 2 == 0)
        found += [
            wide[top * block : (top + 1) * block, left * block : (left + 1) * block].ravel()
            for top, left in cells
        ]
    return np.array(found, np.int32)


def _halved(top: int, left: int, height: int, width: int, *, tall: bool) -> list[tuple[int, int]]:
    """The cells of a rectangle in the order of its halves; a square is halved down if `tall`."""
    if height == width == 1:
        return [(top, left)]
    if height > width or (height == width and tall):
        half = height // 2
        return [
            *_halved(top, left, half, width, tall=tall),
            *_halved(top + half, left, half, width, tall=tall),
        ]
    half = width // 2
    return [
        *_halved(top, left, height, half, tall=tall),
        *_halved(top, left + half, height, half, tall=tall),
    ]
