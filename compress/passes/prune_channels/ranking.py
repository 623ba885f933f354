"""Which channels matter least: scores of filters, and the classes of channels in their order.

Sources: Li et al. 2017, arXiv:1608.08710 (norms); Liu et al. 2017, arXiv:1708.06519 (scale of the
batch normalisation); Molchanov et al. 2019, arXiv:1906.10771, eq. 8 (Taylor: the square of the sum
of gradient times weight).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from compress.graph import leaf_layers, units
from compress.graph.channels import Channels, output_axis
from compress.graph.kernels import kernel_of


class Ranking:
    """The classes of channels that may go, the least important first.

    Args:
        channels: A model's channels.
        scores: Score of each filter of each maker, by path, (filters,).
        chosen: Makers that may lose filters, by path.
        tied: Whether channels that several makers share may go.
    """

    def __init__(
        self,
        channels: Channels,
        scores: Mapping[str, np.ndarray],
        chosen: set[str],
        *,
        tied: bool = True,
    ) -> None:
        means = {path: values.mean() or 1.0 for path, values in scores.items()}
        self._score = {
            number: float(np.mean([scores[p][c] / means[p] for p, c in members]))
            for number, members in channels.members.items()
            if (makers := {path for path, _ in members}) <= chosen and (tied or len(makers) == 1)
        }
        self._groups = [
            sorted((n for n in group if n in self._score), key=self._score.__getitem__)
            for group in channels.groups()
        ]
        self._heads = {
            number
            for number, members in channels.members.items()
            if any(path in channels.heads for path, _ in members)
        }

    def least(self, ratio: float, *, scope: str, keep: int, multiple: int = 1) -> set[int]:
        """Returns the classes to remove.

        Args:
            ratio: Their share, of each group (`layer`) or of all (`model`), rounded down.
            scope: `layer` or `model`.
            keep: Number of classes that stay in each group at least; of heads one does.
            multiple: The number that stay in a group is raised to a multiple of this; that of heads
                is not.
        """
        free = [group[: max(0, len(group) - self._of(group, keep))] for group in self._groups]
        if scope == "layer":
            pairs = zip(free, self._groups, strict=True)
            gone = [some[: int(ratio * len(group))] for some, group in pairs]
        else:
            ranked = sorted((n for some in free for n in some), key=self._score.__getitem__)
            first = set(ranked[: int(ratio * len(self._score))])
            gone = [[n for n in some if n in first] for some in free]
        pairs = zip(gone, self._groups, strict=True)
        return {
            n
            for some, group in pairs
            for n in _rounded(some, len(group), self._of(group, multiple))
        }

    def _of(self, group: list[int], number: int) -> int:
        return 1 if any(one in self._heads for one in group) else number


def _rounded(gone: list[int], size: int, multiple: int) -> list[int]:
    """Leaves out the last of those that go, so that a multiple stays, or all."""
    return gone[: max(0, len(gone) - (len(gone) - size) % multiple)]


def norms(model: keras.Model, paths: Iterable[str], *, order: int) -> dict[str, np.ndarray]:
    """Returns the L1 or L2 norm of each filter, unit or head, by path, (filters,)."""
    found = dict(leaf_layers(model))
    return {
        path: sum(
            (np.abs(laid(_array(kernel))) ** order).sum(0) for kernel, laid in _kernels(found[path])
        )
        ** (1 / order)
        for path in paths
    }


def scales(model: keras.Model, channels: Channels) -> dict[str, np.ndarray]:
    """Returns the magnitude of the scale that normalises each filter's map, by path, (filters,).

    A filter without one has its L2 norm, over the mean of its layer.
    """
    found = dict(leaf_layers(model))
    gammas = {
        channels.ends[path][0].tobytes(): np.abs(keras.ops.convert_to_numpy(layer.gamma))
        for path, layer in found.items()
        if isinstance(layer, layers.BatchNormalization) and layer.scale and path in channels.ends
    }
    others = norms(model, channels.makers, order=2)
    return {
        path: gammas.get(channels.ends[path][1].tobytes(), others[path]) for path in channels.makers
    }


def taylor(
    model: keras.Model, paths: Iterable[str], gradients: Iterable[Sequence[np.ndarray]]
) -> dict[str, np.ndarray]:
    """Returns the mean over batches of the squared sum of gradient times weight, (filters,).

    Args:
        model: The gradients are those of its trainable variables.
        paths: Layers with kernels.
        gradients: For each batch, an array for each trainable variable.
    """
    found = dict(leaf_layers(model))
    place = {id(v): index for index, v in enumerate(model.trainable_variables)}
    sums: dict[str, Any] = dict.fromkeys(paths, 0.0)
    batches = list(gradients)
    for batch in batches:
        for path in sums:
            part = sum(
                laid(batch[place[id(kernel)]] * _array(kernel)).sum(0)
                for kernel, laid in _kernels(found[path])
            )
            sums[path] = sums[path] + part**2
    return {path: np.asarray(value) / max(1, len(batches)) for path, value in sums.items()}


def _kernels(layer: Any) -> list[tuple[keras.Variable, Callable[[np.ndarray], np.ndarray]]]:
    """The kernels of a maker, each with a function that lays it out as (..., filters)."""
    if units.is_recurrent(layer) or units.is_attention(layer):
        return units.by_unit(layer)
    layer = layer.layer if isinstance(layer, layers.TimeDistributed) else layer
    kernel, axis = kernel_of(layer), output_axis(layer)

    def laid(array: np.ndarray) -> np.ndarray:
        return np.moveaxis(array, axis, -1).reshape(-1, array.shape[axis])

    return [(kernel, laid)]


def _array(kernel: keras.Variable) -> np.ndarray:
    array: np.ndarray = keras.ops.convert_to_numpy(kernel).astype("float32")
    return array
