"""Two-dimensional convolutions as several smaller ones.

Sources: Kim et al. 2016, arXiv:1511.06530 (Tucker-2); Lebedev et al. 2015, arXiv:1412.6553 (CP);
Jaderberg, Vedaldi & Zisserman 2014, arXiv:1405.3866 (k x 1, then 1 x k). The decompositions are
those of `tensorly`. For a kernel (h, w, n, m):

    tucker     1x1 n -> a, hxw a -> b, 1x1 b -> m          n a + h w a b + b m weights
    cp         1x1 n -> r, hxw of each, 1x1 r -> m            (n + h w + m) r
    spatial    hx1 n -> r, 1xw r -> m                         (h n + w m) r

Differs: of CP the hx1 and the 1xw part are one depthwise convolution, which runtimes have. A 1x1
kernel is a matrix, and becomes two 1x1 kernels in any form: its singular value decomposition.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import layers

from compress.passes.low_rank import singular

FORMS = ("tucker", "cp", "spatial")
SUFFIXES = ("_a", "_b")  # of the parts before the last, which keeps the name
CP_STEPS = 200


class Part(NamedTuple):
    """One of the smaller convolutions: its kernel, and whether it strides along either axis."""

    kernel: np.ndarray
    strides: tuple[bool, bool]
    depthwise: bool = False


def form_of(form: str, kernel: np.ndarray) -> str:
    """Returns the form for a kernel, (h, w, n, m): of a matrix `spatial` is the closest."""
    return "spatial" if kernel.shape[:2] == (1, 1) else form


def num_weights(form: str, shape: Sequence[int], ranks: Sequence[int]) -> int:
    """Returns the number of weights of the parts.

    Args:
        form: One of `FORMS`.
        shape: Shape of the kernel, (h, w, n, m).
        ranks: (a, b) of `tucker`, else (r,).
    """
    h, w, n, m = shape
    if form == "tucker":
        a, b = ranks
        return n * a + h * w * a * b + b * m
    (r,) = ranks
    return (n + h * w + m) * r if form == "cp" else (h * n + w * m) * r


def ranks_of_ratio(form: str, shape: Sequence[int], ratio: float) -> list[int]:
    """Returns the largest ranks, in the proportion of the channels, that hold a share of weights.

    Args:
        form: One of `FORMS`.
        shape: Shape of the kernel, (h, w, n, m).
        ratio: The share, in (0, 1].
    """
    h, w, n, m = shape
    aim = ratio * h * w * n * m
    if form != "tucker":
        return [max(1, int(aim / num_weights(form, shape, [1])))]
    # h w n m c^2 + (n^2 + m^2) c = aim, for ranks c n and c m
    square, linear = h * w * n * m, n * n + m * m
    c = (np.sqrt(linear**2 + 4 * square * aim) - linear) / (2 * square)
    return [max(1, int(c * n)), max(1, int(c * m))]


def unfoldings(form: str, kernel: np.ndarray) -> list[np.ndarray]:
    """Returns the matrices whose singular values tell the ranks, one for each rank."""
    h, w, n, m = kernel.shape
    if form == "spatial":
        return [kernel.transpose(0, 2, 1, 3).reshape(h * n, w * m)]
    inward = kernel.transpose(2, 0, 1, 3).reshape(n, -1)
    outward = kernel.transpose(3, 0, 1, 2).reshape(m, -1)
    return [inward, outward] if form == "tucker" else [outward]


def parts(form: str, kernel: np.ndarray, ranks: Sequence[int]) -> list[Part]:
    """Decomposes a kernel.

    Args:
        form: One of `FORMS`.
        kernel: (h, w, n, m), float32.
        ranks: (a, b) of `tucker`, else (r,).
    """
    if form == "spatial":
        return _spatial(kernel, ranks[0])
    return _tucker(kernel, ranks) if form == "tucker" else _cp(kernel, ranks[0])


def product(form: str, found: Sequence[Part]) -> np.ndarray:
    """Returns the kernel that the parts make together, (h, w, n, m)."""
    kernels = [part.kernel for part in found]
    if form == "spatial":
        return np.einsum("hanr,bwrm->hwnm", *kernels, optimize=True)
    if form == "tucker":
        return np.einsum("xyna,hwab,uvbm->hwnm", *kernels, optimize=True)
    return np.einsum("xynr,hwra,uvrm->hwnm", *kernels, optimize=True)


def split(layer: layers.Conv2D, found: Sequence[Part]) -> list[layers.Layer]:
    """Returns built layers that convolve with the parts in turn; the last keeps name and bias.

    A penalty on the kernel becomes one on each part, those on bias and activity stay the last's.
    """
    config, made = layer.get_config(), []
    width = layer.kernel.shape[2]
    for index, part in enumerate(found):
        last = index + 1 == len(found)
        size = part.kernel.shape[:2]
        settings: dict[str, Any] = {
            "kernel_size": size,
            "strides": [s if on else 1 for s, on in zip(layer.strides, part.strides, strict=True)],
            "padding": layer.padding,
            "use_bias": layer.use_bias and last,
            "name": layer.name if last else layer.name + SUFFIXES[index],
            "dtype": layer.dtype_policy,
            "trainable": layer.trainable,
        }
        kind = "depthwise_regularizer" if part.depthwise else "kernel_regularizer"
        settings[kind] = layer.kernel_regularizer
        if last:
            settings |= {
                "activation": config["activation"],
                "bias_regularizer": layer.bias_regularizer,
                "activity_regularizer": layer.activity_regularizer,
            }
        new = (
            layers.DepthwiseConv2D(**settings)
            if part.depthwise
            else layers.Conv2D(part.kernel.shape[-1], **settings)
        )
        new.build((None, None, None, width))
        new.kernel.assign(part.kernel)
        new.kernel.trainable = layer.kernel.trainable
        width = width if part.depthwise else part.kernel.shape[-1]
        made.append(new)
    if layer.use_bias:
        made[-1].bias.assign(layer.bias)
        made[-1].bias.trainable = layer.bias.trainable
    return made


def why_not(layer: layers.Layer) -> str:
    """Returns why a convolution stays, or an empty line."""
    if type(layer) is not layers.Conv2D:
        return f"{type(layer).__name__} is not a plain convolution"
    if layer.groups > 1:
        return "its channels are in groups"
    if max(layer.dilation_rate) > 1:
        return "it is dilated"
    if layer.data_format == "channels_first":
        return "its channels come first"
    if not (isinstance(layer.kernel, keras.Variable) and "float" in layer.kernel.dtype):
        return "its kernel is quantised or adapted"
    return ""


def _spatial(kernel: np.ndarray, rank: int) -> list[Part]:
    h, w, n, m = kernel.shape
    (matrix,) = unfoldings("spatial", kernel)
    u, s, vt = singular.decompose(matrix)
    root = np.sqrt(s[:rank])
    down = (u[:, :rank] * root).reshape(h, 1, n, rank)
    across = (root[:, None] * vt[:rank]).reshape(rank, w, m).transpose(1, 0, 2)[None]
    return [Part(down, (True, w == 1)), Part(across, (False, w > 1))]


def _tucker(kernel: np.ndarray, ranks: Sequence[int]) -> list[Part]:
    from tensorly.decomposition import partial_tucker

    (core, (inward, outward)), _ = partial_tucker(kernel, rank=list(ranks), modes=[2, 3])
    return [
        Part(np.asarray(inward)[None, None], (False, False)),  # (1, 1, n, a)
        Part(np.asarray(core), (True, True)),  # (h, w, a, b)
        Part(np.asarray(outward).T[None, None], (False, False)),  # (1, 1, b, m)
    ]


def _cp(kernel: np.ndarray, rank: int) -> list[Part]:
    from tensorly.decomposition import parafac

    weights, factors = parafac(kernel, rank, n_iter_max=CP_STEPS, init="svd", random_state=0)
    # The scale is shared evenly, so that fine-tuning moves the factors at the same pace.
    norms = [np.linalg.norm(f, axis=0) for f in factors]
    scale = (np.asarray(weights) * np.prod(norms, axis=0)) ** 0.25
    down, across, inward, outward = (
        np.asarray(f) / np.maximum(norm, 1e-12) * scale
        for f, norm in zip(factors, norms, strict=True)
    )
    return [
        Part(inward[None, None], (False, False)),  # (1, 1, n, r)
        Part(np.einsum("hr,wr->hwr", down, across)[..., None], (True, True), True),  # (h, w, r, 1)
        Part(outward.T[None, None], (False, False)),  # (1, 1, r, m)
    ]
