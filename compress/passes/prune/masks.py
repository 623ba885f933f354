"""Masks over kernels: which weights are kept, and which become zero.

Masks keep the weights of largest magnitude (Han et al. 2015, arXiv:1506.02626): one by one, in
blocks of the kernel's matrix, or N of every M inputs (Mishra et al. 2021, arXiv:2104.08378).
A kernel's matrix is (inputs, outputs); the rows of a convolution run over its taps and, fastest,
over its input channels, which runtimes also lay out side by side.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Literal, NamedTuple

import keras
import numpy as np
from keras import ops

from compress.graph import leaf_layers
from compress.graph.kernels import Kernel, find_kernels

Kernels = Mapping[str, Kernel]


class Structure(NamedTuple):
    """Which weights become zero together, and which are ranked together.

    Attributes:
        scope: `layer`, `model` or `lamp`; see `Prune`.
        block: (inputs, outputs) of a kernel's matrix that become zero together.
        n_of_m: (N, M): of every M consecutive inputs of an output, N are kept; the others are
            settled then.
    """

    scope: Literal["layer", "model", "lamp"] = "layer"
    block: tuple[int, int] = (1, 1)
    n_of_m: tuple[int, int] | None = None


def find_prunable(
    model: keras.Model, chosen: Iterable[str], structure: Structure
) -> tuple[dict[str, Kernel], dict[str, str]]:
    """Sorts layers of a model into kernels to prune and reasons against.

    A kernel whose axes do not divide into whole blocks or groups is left alone, not padded: a
    runtime could not use the rest.

    Args:
        model: Functional or Sequential.
        chosen: Paths of the leaf layers to look at.
        structure: Structure of the zeros.

    Returns:
        Kernels, and reasons, each by path; see `compress.graph.kernels.find_kernels`. A reason
        against one of several kernels of a layer is by that kernel's path.
    """
    kernels, reasons = find_kernels(dict(leaf_layers(model)), chosen)
    rows, columns = (structure.n_of_m[1], 1) if structure.n_of_m else structure.block
    for path, kernel in list(kernels.items()):
        # Of a convolution the channels; of a product over several axes all of them.
        inputs = kernel.variable.shape[kernel.input_axes[-1]]
        outputs = kernel.sides[1]
        if inputs % rows or outputs % columns:
            whole = f"groups of {rows}" if structure.n_of_m else f"blocks of {rows} x {columns}"
            reasons[path] = f"its {inputs} inputs and {outputs} outputs do not divide into {whole}"
            del kernels[path]
    return kernels, reasons


def kernel_masks(kernels: Kernels, structure: Structure, sparsity: float) -> dict[str, np.ndarray]:
    """Returns a boolean array for each kernel, False where its weight is to be zero.

    Args:
        kernels: As `find_prunable` gives them.
        structure: Structure of the zeros, in all kernels.
        sparsity: Fraction of the weights to mask, in [0, 1).
    """
    matrices = [np.abs(_matrix(kernel)) for kernel in kernels.values()]
    if structure.n_of_m is not None:
        size = structure.n_of_m[1]
        masks = [group_mask(matrix, size, round(sparsity * size)) for matrix in matrices]
    else:
        pooled = [_pooled(matrix, structure.block) for matrix in matrices]
        if structure.scope == "layer":
            masks = [magnitude_masks([array], sparsity)[0] for array in pooled]
        elif structure.scope == "lamp":
            masks = lamp_masks(pooled, sparsity)
        else:
            masks = magnitude_masks(pooled, sparsity)
        masks = [_spread(mask, structure.block) for mask in masks]
    pairs = zip(kernels.items(), masks, strict=True)
    return {path: kernel.from_matrix(mask) for (path, kernel), mask in pairs}


def prune_kernels(
    kernels: Kernels, structure: Structure, sparsity: float
) -> dict[str, tuple[int, int]]:
    """Prunes at once, in place; returns the number of zeros and of weights of each kernel."""
    counts = {}
    for path, mask in kernel_masks(kernels, structure, sparsity).items():
        kernel = kernels[path].variable
        set_zeros(kernel, mask)
        array = ops.convert_to_numpy(kernel)
        counts[path] = int((array == 0).sum()), array.size
    return counts


def set_zeros(kernel: keras.Variable, mask: Any) -> None:
    """Sets the weights to zero, in place, where the mask is."""
    kernel.assign(ops.where(ops.cast(mask, "bool"), kernel, ops.zeros((), kernel.dtype)))


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


def lamp_masks(weights: Sequence[np.ndarray], sparsity: float) -> list[np.ndarray]:
    """Keeps the weights of largest score; all arrays are ranked together.

    Source: Lee et al. 2021, arXiv:2010.07611, eq. 4: the score is w^2 over the sum of the squares
    of those weights of its array that are no smaller. The last weight of an array has 1, so that no
    array is emptied; wide layers, whose weights are small, are not cut first.

    Args:
        weights: Arrays of float.
        sparsity: Fraction of the weights to mask, in [0, 1).

    Returns:
        As `magnitude_masks`.
    """
    scores = []
    for array in weights:
        squares = np.sort(np.square(array), axis=None)  # rising, and so do the scores
        sums = np.cumsum(squares[::-1], dtype=np.float64)[::-1]
        scores.append((squares / np.maximum(sums, np.finfo(np.float64).tiny)).astype(np.float32))
    kept = magnitude_masks(scores, sparsity)
    return [
        _largest(np.abs(array).ravel(), num_masked=int((~some).sum())).reshape(array.shape)
        for array, some in zip(weights, kept, strict=True)
    ]


def group_mask(matrix: np.ndarray, size: int, num_masked: int) -> np.ndarray:
    """Masks the smallest weights of each group of consecutive rows, in every column.

    Args:
        matrix: Magnitudes, (inputs, outputs).
        size: Rows of a group; divides the number of rows.
        num_masked: Weights to mask in each group.
    """
    groups = matrix.reshape(-1, size, matrix.shape[1])
    order = np.argsort(groups, axis=1, kind="stable")
    keep = np.ones(groups.shape, bool)
    np.put_along_axis(keep, order[:, :num_masked], False, axis=1)
    return keep.reshape(matrix.shape)


def _matrix(kernel: Kernel) -> np.ndarray:
    """The kernel as a matrix, float32."""
    return kernel.matrix(ops.convert_to_numpy(kernel.variable).astype("float32", copy=False))


def _pooled(matrix: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """The mean of each block."""
    if block == (1, 1):
        return matrix
    high, wide = block
    pooled: np.ndarray = matrix.reshape(
        matrix.shape[0] // high, high, matrix.shape[1] // wide, wide
    ).mean(axis=(1, 3))
    return pooled


def _spread(mask: np.ndarray, block: tuple[int, int]) -> np.ndarray:
    """The inverse of `_pooled`, for masks."""
    return mask if block == (1, 1) else mask.repeat(block[0], axis=0).repeat(block[1], axis=1)


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
