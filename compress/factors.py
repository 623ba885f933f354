"""Two dense layers in place of one, by a truncated singular value decomposition."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import keras
import numpy as np

SUFFIX = "_u"


class Svd(NamedTuple):
    """W (n, m) = u @ diag(s) @ vt, with u (n, k), s (k,) falling, vt (k, m) and k = min(n, m)."""

    u: np.ndarray
    s: np.ndarray
    vt: np.ndarray

    @property
    def num_weights(self) -> int:
        """Number of weights of W: n m."""
        return int(self.u.shape[0] * self.vt.shape[1])

    def num_factor_weights(self, rank: int) -> int:
        """Number of weights of two factors of this rank: r (n + m)."""
        return int(rank * (self.u.shape[0] + self.vt.shape[1]))

    def rank_of_energy(self, energy: float) -> int:
        """Returns the smallest rank with this fraction of the sum of squared singular values."""
        kept = np.cumsum(np.square(self.s, dtype=np.float64))
        return min(int(np.searchsorted(kept, energy * kept[-1])) + 1, self.s.size)

    def rank_of_ratio(self, ratio: float) -> int:
        """Returns the largest rank, at least 1, whose factors hold this fraction of W's weights."""
        return max(int(ratio * self.num_weights / self.num_factor_weights(1)), 1)

    def relative_error(self, rank: int) -> float:
        """Returns ||W - W_r|| / ||W||, Frobenius norms, for the closest W_r of this rank."""
        squares = np.square(self.s, dtype=np.float64)
        return float(np.sqrt(squares[rank:].sum() / max(squares.sum(), np.finfo(np.float64).tiny)))


def why_not(path: str, layer: keras.layers.Layer, paths: Collection[str]) -> str:
    """Returns why a layer stays, or an empty line.

    Args:
        path: The layer's path.
        layer: A leaf layer.
        paths: The paths of all leaf layers of its model.
    """
    if type(layer) is not keras.layers.Dense:
        return f"{type(layer).__name__} is not a dense layer"
    if path + SUFFIX in paths or (path.endswith(SUFFIX) and path.removesuffix(SUFFIX) in paths):
        return "is a factor already"
    if not (isinstance(layer.kernel, keras.Variable) and "float" in layer.kernel.dtype):
        return "its kernel is quantised or adapted"
    return ""


def decompose(layer: keras.layers.Dense) -> Svd:
    """Returns the singular value decomposition of the kernel, in float32."""
    kernel = keras.ops.convert_to_numpy(layer.kernel).astype(np.float32, copy=False)  # (n, m)
    return Svd(*np.linalg.svd(kernel, full_matrices=False))


def split(layer: keras.layers.Dense, svd: Svd, rank: int) -> list[keras.layers.Dense]:
    """Returns two built layers that together multiply by the closest matrix of this rank.

    The first is named `NAME_u`; the second keeps the name, the bias and the activation.
    """
    first = keras.layers.Dense(
        rank,
        use_bias=False,
        kernel_regularizer=layer.kernel_regularizer,
        name=layer.name + SUFFIX,
        dtype=layer.dtype_policy,
        trainable=layer.trainable,
    )
    second = keras.layers.Dense.from_config(layer.get_config())
    first.build((None, svd.u.shape[0]))
    second.build((None, rank))
    root = np.sqrt(svd.s[:rank])
    first.kernel.assign(svd.u[:, :rank] * root)  # (n, r)
    second.kernel.assign(root[:, None] * svd.vt[:rank])  # (r, m)
    if layer.use_bias:
        second.bias.assign(layer.bias)
    return [first, second]
