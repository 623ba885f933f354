"""Masks over kernels: which weights are kept, and how the others stay zero during training.

Masks keep the weights of largest magnitude (Han et al. 2015, arXiv:1506.02626). During training
they grow by the schedule of Zhu & Gupta 2017, arXiv:1710.01878, and each step ends with the masked
weights at zero.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import keras
import numpy as np
from keras import ops

from compress.graph import leaf_layers
from compress.kernels import find_kernels

if TYPE_CHECKING:
    from compress.passes.prune import Prune


def magnitude_masks(weights: Sequence[np.ndarray], sparsity: float) -> list[np.ndarray]:
    """Keeps the weights of largest magnitude; all arrays are ranked together.

    Args:
        weights: Arrays of float.
        sparsity: Fraction of the weights to mask, in [0, 1).

    Returns:
        A boolean array for each of `weights`. Of all elements, exactly `round(sparsity * size)` are
        False, but never the last one; among equal magnitudes, the first ones.
    """
    if not weights:
        return []
    magnitude = np.abs(np.concatenate([array.ravel() for array in weights]))
    num_masked = min(round(sparsity * magnitude.size), magnitude.size - 1)
    keep = _largest(magnitude, num_masked=num_masked)
    parts = np.split(keep, np.cumsum([array.size for array in weights])[:-1])
    return [part.reshape(array.shape) for part, array in zip(parts, weights, strict=True)]


def kernel_masks(
    kernels: Mapping[str, keras.Variable], sparsity: float, *, scope: str
) -> dict[str, Any]:
    """Returns a boolean tensor for each kernel, False where its weight is to be zero.

    Args:
        kernels: Kernels by path.
        sparsity: Fraction of the weights to mask, in [0, 1).
        scope: `layer` masks that fraction of each kernel; `model` of all, ranked together.
    """
    weights = [
        ops.convert_to_numpy(kernel).astype("float32", copy=False) for kernel in kernels.values()
    ]
    if scope == "layer":
        masks = [magnitude_masks([array], sparsity)[0] for array in weights]
    else:
        masks = magnitude_masks(weights, sparsity)
    return {path: ops.convert_to_tensor(mask) for path, mask in zip(kernels, masks, strict=True)}


def apply_masks(kernels: Mapping[str, keras.Variable], masks: Mapping[str, Any]) -> None:
    """Sets the masked weights to zero, in place."""
    for path, mask in masks.items():
        kernel = kernels[path]
        kernel.assign(ops.where(mask, kernel, ops.zeros((), kernel.dtype)))


def prune_kernels(
    kernels: Mapping[str, keras.Variable], sparsity: float, *, scope: str
) -> dict[str, tuple[int, int]]:
    """Prunes at once, in place; returns the number of zeros and of weights of each kernel."""
    apply_masks(kernels, kernel_masks(kernels, sparsity, scope=scope))
    arrays = {path: ops.convert_to_numpy(kernel) for path, kernel in kernels.items()}
    return {path: (int((array == 0).sum()), array.size) for path, array in arrays.items()}


class MaskCallback(keras.callbacks.Callback):
    """Prunes the model that it sees while that model is trained.

    The layers are found by path when training begins, so the model may be a copy of the one to
    prune, on one device or under a `tf.distribute` strategy. With `steps_per_execution` above 1,
    masked weights move within an execution and are set back at its end.

    Attributes:
        sparsity: Sparsity of the masks so far.
    """

    def __init__(self, prune: Prune) -> None:
        super().__init__()
        self.sparsity = 0.0
        self._prune = prune
        self._kernels: dict[str, keras.Variable] = {}
        self._masks: dict[str, Any] = {}
        self._steps, self._epoch = 0, 0
        self._turn: int | None = None

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the kernels and starts the schedule."""
        params = self.params or {}
        if not (params.get("steps") and params.get("epochs")):
            raise ValueError(
                f"Prune.callback: got params {params}; expected numbers of epochs and of steps. "
                "Give `fit` data of known length."
            )
        self._steps, self._epoch, self._turn = params["steps"], 0, None
        found = dict(leaf_layers(self.model))
        left_out = self._prune.left_out(found)
        self._kernels, _ = find_kernels({p: found[p] for p in found if p not in left_out})
        self._advance(0)

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch, to count steps from it."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Renews the masks when the schedule says so, and sets the masked weights to zero."""
        self._advance(self._epoch * self._steps + batch + 1)

    def on_train_end(self, logs: Any = None) -> None:
        """Lets go of the trained model's variables."""
        self._kernels, self._masks = {}, {}

    def _advance(self, step: int) -> None:
        schedule, num_steps = self._prune.schedule, self._steps * self.params["epochs"]
        turn = schedule.turn(step, num_steps)
        if turn is None:
            return
        if turn != self._turn:
            self._turn = turn
            self.sparsity = schedule.sparsity(turn, num_steps, final=self._prune.sparsity)
            self._masks = kernel_masks(self._kernels, self.sparsity, scope=self._prune.scope)
        apply_masks(self._kernels, self._masks)


def _largest(magnitude: np.ndarray, *, num_masked: int) -> np.ndarray:
    """Returns a mask with exactly `num_masked` elements False, those of smallest magnitude."""
    if num_masked == 0:
        return np.ones(magnitude.shape, bool)
    # np.partition is 16 times slower on many equal values, so zeros are set apart first.
    nonzero = magnitude[magnitude > 0]
    rank = num_masked - (magnitude.size - nonzero.size)
    threshold = np.partition(nonzero, rank - 1)[rank - 1] if rank > 0 else 0.0
    keep = magnitude > threshold
    ties = np.flatnonzero(magnitude == threshold)
    num_ties_masked = num_masked - (magnitude.size - np.count_nonzero(keep) - ties.size)
    keep[ties[num_ties_masked:]] = True
    return keep
