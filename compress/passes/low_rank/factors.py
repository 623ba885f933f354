"""Smaller layers in place of one: of a dense layer or table two, of a convolution two or three."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from functools import partial
from typing import TypeAlias

import keras
import numpy as np

from compress.base import Note
from compress.graph.anew import made_anew
from compress.graph.kernels import Kernel, kernel_of
from compress.layers.low_rank import pair
from compress.layers.parametrized import Parametrized
from compress.passes.low_rank import convolutions, parts, singular
from compress.passes.low_rank.singular import Svd

SUFFIX = "_u"
_SPLIT = (keras.layers.Dense, keras.layers.Embedding, keras.layers.EinsumDense)

ToRank: TypeAlias = Callable[[np.ndarray, np.ndarray, Callable[[float], int]], int]
"""A matrix, its singular values, and the rank for a fraction of the weights, to a rank."""


def factorise(
    path: str,
    layer: keras.layers.Layer,
    kernels: Mapping[str, Kernel],
    paths: Collection[str],
    form: str,
    to_rank: ToRank,
) -> tuple[dict[str, Note], list[keras.layers.Layer] | None]:
    """Returns what a layer becomes, and notes by the path of a kernel; `None` where it stays.

    Args:
        path: The layer's path.
        layer: A leaf layer.
        kernels: Its kernels, by path, see `find_kernels`.
        paths: The paths of all leaf layers of its model.
        form: `keep`, or one of `convolutions.FORMS`.
        to_rank: Chooses a rank.
    """
    suffixes = (SUFFIX, *convolutions.SUFFIXES)
    stem = next((path.removesuffix(s) for s in suffixes if path.endswith(s)), path)
    if any(path + s in paths for s in suffixes) or (stem != path and stem in paths):
        return {path: Note(False, "is a factor already")}, None
    if isinstance(layer, Parametrized):
        return {path: Note(False, "its kernels are computed: factorise it before")}, None
    if isinstance(layer, keras.layers.Conv2D) and form != "keep":
        text, found = _convolution(layer, form, to_rank)
        return _note(path, text, found)
    if path in kernels and type(layer) not in _SPLIT:
        return {path: Note(False, f"{type(layer).__name__} is not a dense layer")}, None
    notes, cuts = {}, {}
    for key, kernel in kernels.items():
        if text := "" if type(layer) in _SPLIT[:2] else parts.why_not(layer, kernel):
            notes[key] = Note(False, text)
            continue
        matrix = kernel.matrix(keras.ops.convert_to_numpy(kernel.variable))
        n, m = matrix.shape
        svd = singular.decompose(matrix)
        rank = to_rank(matrix, svd.s, partial(_of_ratio, n, m))
        text, saves = _told(f"rank {rank}", f"of rank {rank}", rank * (n + m), n * m)
        if saves:
            text += f", relative error {svd.relative_error(rank):.3f}"
            cuts[kernel.name] = parts.Cut(svd, rank)
        notes[key] = Note(saves, text)
    if not cuts:
        return notes, None
    if path not in kernels:
        return notes, [parts.factorised(layer, cuts)]
    (cut,) = cuts.values()
    return _note(path, notes[path].text, split(layer, cut.svd, cut.rank))


def _of_ratio(n: int, m: int, share: float) -> int:
    return int(share * n * m / (n + m))


def _note(
    path: str, text: str, found: list[keras.layers.Layer] | None
) -> tuple[dict[str, Note], list[keras.layers.Layer] | None]:
    if found is None:
        return {path: Note(False, text)}, None
    stem = path[: len(path) - len(found[-1].name)]
    return {path: Note(True, text, into=tuple(stem + new.name for new in found))}, found


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
    shape = layer.get_build_config()["input_shape"]
    both = pair(layer, rank, suffix=SUFFIX)
    if both is None:
        raise ValueError(f"layer {layer.name!r}: {layer.equation} is not one product.")
    first, second = both
    first.build(shape)
    second.build(first.compute_output_shape(shape))
    parts.fill((first, second), layer, parts.Cut(svd, rank))
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
