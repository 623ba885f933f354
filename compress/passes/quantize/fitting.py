"""A kernel on its grid, by what its layer gave on samples; see `compress.passes.recovery`.

Source: Frantar et al. 2022, GPTQ, arXiv:2210.17323, algorithm 1. Differs: the ends of a grid are
cut off where the weights' squared error, each by the power of its input, is least.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from compress.layers.parametrized import Parametrized
from compress.layers.quantized import SMALLEST, kernel_bits
from compress.passes.quantize.integers import SHARES
from compress.passes.recovery.feedback import Grid, Masked, sweep
from compress.passes.recovery.problem import Problem, masked_fit


def on_grid(layer: Any, kernel: np.ndarray, problem: Problem) -> np.ndarray | None:
    """Returns a kernel that lies on a grid, which the layer then has, and keeps its zeros.

    Args:
        layer: What may have a grid; its share is set.
        kernel: (kernels, inputs, outputs).
        problem: What the kernel is to do.
    """
    if not kernel_bits(layer) or not isinstance(layer, Parametrized):
        return None
    grid, kept = layer.chain[-1], kernel != 0
    aim = problem.aim if kept.all() else masked_fit(problem, kept)
    top = 2 ** (grid.bits - 1) - 1
    axes = (0, 1, 2) if grid.per == "tensor" else (1,)
    most = np.maximum(
        np.abs(aim).max(axes, keepdims=True), SMALLEST
    )  # (kernels or 1, 1, outputs or 1)
    weights = np.diagonal(problem.squares, axis1=1, axis2=2)[..., None]

    def error(share: float) -> np.ndarray:
        moved = Grid(share * most / top, top).settle(0, aim) - aim
        return (weights * moved**2).sum(axes, keepdims=True)

    shares = SHARES if grid.bits < 8 else SHARES[:1]
    best = shares[np.argmin([error(share) for share in shares], axis=0)]
    scale = (best * most / top).astype(np.float32).astype(np.float64)
    rule = Masked(Grid(scale[:, 0], top), kept)
    found = sweep(aim, problem.squares, rule)
    # (channels, multiples) of a depthwise kernel are one axis of its grids
    largest = np.abs(found).max(axes, keepdims=True)
    share = np.where(largest > 0, scale * top / np.maximum(largest, SMALLEST), 1.0)
    grid.share.assign(share.reshape(grid.share.shape))
    return found
