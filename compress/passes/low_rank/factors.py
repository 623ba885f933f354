"""Smaller layers in place of one: of a dense layer or table two, of a convolution two or three."""

from __future__ import annotations

from collections.abc import Callable, Collection
from typing import TypeAlias

import keras
import numpy as np

from compress.graph.anew import made_anew
from compress.graph.kernels import find_kernels, kernel_of
from compress.passes.low_rank import convolutions, singular
from compress.passes.low_rank.singular import Svd

SUFFIX = "_u"

ToRank: TypeAlias = Callable[[np.ndarray, np.ndarray, Callable[[float], int]], int]
"""A matrix, its singular values, and the rank for a fraction of the weights, to a rank."""


def factorise(
    path: str, layer: keras.layers.Layer, paths: Collection[str], form: str, to_rank: ToRank
) -> tuple[str, list[keras.layers.Layer] | None]:
    """Returns what a layer becomes, and a line on it; `None` and the reason where it stays.

    Args:
        path: The layer's path.
        layer: A leaf layer.
        paths: The paths of all leaf layers of its model.
        form: `keep`, or one of `convolutions.FORMS`.
        to_rank: Chooses a rank.
    """
    suffixes = (SUFFIX, *convolutions.SUFFIXES)
    stem = next((path.removesuffix(s) for s in suffixes if path.endswith(s)), path)
    if any(path + s in paths for s in suffixes) or (stem != path and stem in paths):
        return "is a factor already", None
    if isinstance(layer, keras.layers.Conv2D) and form != "keep":
        return _convolution(layer, form, to_rank)
    if type(layer) not in (keras.layers.Dense, keras.layers.Embedding):
        return f"{type(layer).__name__} is not a dense layer", None
    kernels, reasons = find_kernels({path: layer})
    if not kernels:
        return reasons[path], None
    array = keras.ops.convert_to_numpy(kernels[path].variable)
    n, m = array.shape
    svd = decompose(layer)
    rank = to_rank(array, svd.s, lambda share: int(share * n * m / (n + m)))
    text, saves = _told(f"rank {rank}", f"of rank {rank}", rank * (n + m), n * m)
    if not saves:
        return text, None
    return f"{text}, relative error {svd.relative_error(rank):.3f}", split(layer, svd, rank)


def _convolution(
    layer: keras.layers.Conv2D, form: str, to_rank: ToRank
) -> tuple[str, list[keras.layers.Layer] | None]:
    if reason := convolutions.why_not(layer):
        return reason, None
    kernel = keras.ops.convert_to_numpy(layer.kernel)
    form = convolutions.form_of(form, kernel)
    matrices = convolutions.unfoldings(form, kernel)
    ranks = []
    for axis, matrix in enumerate(matrices):
        values = singular.values(matrix)

        def of_ratio(share: float, axis: int = axis) -> int:
            return convolutions.ranks_of_ratio(form, kernel.shape, share)[axis]

        ranks.append(min(to_rank(matrix, values, of_ratio), matrix.shape[0]))
    name = " x ".join(map(str, ranks))
    size = convolutions.num_weights(form, kernel.shape, ranks)
    text, saves = _told(f"{form}, rank {name}", f"of rank {name}", size, kernel.size)
    if not saves:
        return text, None
    found = convolutions.parts(form, kernel, ranks)
    error = np.linalg.norm(convolutions.product(form, found) - kernel) / np.linalg.norm(kernel)
    return f"{text}, relative error {error:.3f}", list(convolutions.split(layer, found))


def _told(kept: str, lost: str, size: int, old: int) -> tuple[str, bool]:
    if size >= old:
        return f"its factors {lost} would hold {size:,} weights, it holds {old:,}", False
    return f"{kept}: {size:,} weights for {old:,}", True


def decompose(layer: keras.layers.Layer) -> Svd:
    """Returns the singular value decomposition of the kernel, (n, m)."""
    return singular.decompose(keras.ops.convert_to_numpy(kernel_of(layer)))


def split(layer: keras.layers.Layer, svd: Svd, rank: int) -> list[keras.layers.Layer]:
    """Returns two built layers that together multiply by the closest matrix of this rank.

    Of an embedding the first is one of shorter vectors, and the second a dense layer.

    The first is named `NAME_u`; the second keeps the name, the bias and the activation. A penalty
    on the kernel becomes one on each factor: for an L2 of weight c, at the start 2 c times the sum
    of the singular values, not c times that of their squares; it favours a low rank.
    """
    if isinstance(layer, keras.layers.Embedding):
        return _split_table(layer, svd, rank)
    first = keras.layers.Dense(
        rank,
        use_bias=False,
        kernel_regularizer=layer.kernel_regularizer,
        name=layer.name + SUFFIX,
        dtype=layer.dtype_policy,
        trainable=layer.trainable,
    )
    second = made_anew(layer)
    first.build((None, svd.u.shape[0]))
    second.build((None, rank))
    root = np.sqrt(svd.s[:rank])
    first.kernel.assign(svd.u[:, :rank] * root)  # (n, r)
    second.kernel.assign(root[:, None] * svd.vt[:rank])  # (r, m)
    for factor in (first, second):
        factor.kernel.trainable = layer.kernel.trainable
    if layer.use_bias:
        second.bias.assign(layer.bias)
        second.bias.trainable = layer.bias.trainable
    return [first, second]


def _split_table(layer: keras.layers.Embedding, svd: Svd, rank: int) -> list[keras.layers.Layer]:
    facts = {"dtype": layer.dtype_policy, "trainable": layer.trainable}
    first = made_anew(layer, output_dim=rank, name=layer.name + SUFFIX)
    second = keras.layers.Dense(layer.output_dim, use_bias=False, name=layer.name, **facts)
    first.build()
    second.build((None, rank))
    root = np.sqrt(svd.s[:rank])
    first.embeddings.assign(svd.u[:, :rank] * root)  # (n, r)
    second.kernel.assign(root[:, None] * svd.vt[:rank])  # (r, m)
    return [first, second]
