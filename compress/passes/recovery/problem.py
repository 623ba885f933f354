"""What a layer's kernel is to do on examples, as sums: what it reads now, and what it gave before.

With rows X of what the layer of the changed network reads, and Y of what that of the network before
gave, the nearest kernel W* solves (H + r) W* = X'Y + r W0, with H = X'X, the kernel before W0 and a
ridge r. Any other kernel costs trace((W - W*)' (H + r) (W - W*)) more. Where a bias or a batch
normalisation takes the mean, rows are counted from their mean.

Sources: Nagel et al. 2020, Up or down?, arXiv:2004.10568 (each layer reads what the changed layers
before it give, and aims at what the network before gave); Frantar & Alistarh 2022, Optimal brain
compression, arXiv:2208.11580 (the quadratic form). The ridge is the damping of GPTQ, Frantar et al.
2022, arXiv:2210.17323, but pulls to the kernel before.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np
from keras import layers, ops

from compress.graph.kernels import inner

ROWS = 32_768  # that a layer is fitted to
RIDGE = 0.03  # of the mean square of an input
WIDEST = 8192  # inputs: the sums of more would take half a gigabyte


class Problem(NamedTuple):
    """What a kernel is to do.

    A depthwise convolution has a kernel for each channel, everything else has one.

    Attributes:
        before: The kernel of the network before, of the same shape: the channels that are left.
        aim: The kernel that comes nearest, (kernels, inputs, outputs), float64.
        squares: H and the ridge, (kernels, inputs, inputs), float64.
        rows: Rows that were summed; below the number of inputs, the ridge decides much.
        slim: Whether channels have gone.
        inputs: Mean of what the kernel multiplies, (kernels, inputs); 0 where it is not taken off.
        outputs: Mean of what the layer gave, without its bias, (kernels, outputs); likewise.
    """

    before: np.ndarray
    aim: np.ndarray
    squares: np.ndarray
    rows: int
    slim: bool
    inputs: np.ndarray
    outputs: np.ndarray

    def cost(self, kernel: np.ndarray) -> float:
        """Returns by how much a kernel's squared error is above that of `aim`."""
        off = kernel - self.aim
        return float(np.sum(off * (self.squares @ off)))

    def shift(self, kernel: np.ndarray) -> np.ndarray:
        """Returns what a kernel leaves for the bias to add, (kernels * outputs,)."""
        return (self.outputs - (self.inputs[:, None] @ kernel)[:, 0]).ravel()


def fittable(layer: Any) -> bool:
    """Whether a layer multiplies a kernel by rows that can be laid out, and not too wide ones."""
    layer = inner(layer)
    if isinstance(layer, layers.Conv2D):
        if layer.groups != 1 or layer.data_format != "channels_last":
            return False
    elif isinstance(layer, layers.DepthwiseConv2D):
        return bool(layer.data_format == "channels_last")
    elif type(layer) is not layers.Dense:
        return False
    return int(np.prod(layer.kernel.shape[:-1])) <= WIDEST


def stacked(layer: Any, kernel: np.ndarray) -> np.ndarray:
    """Lays a layer's kernel out as (kernels, inputs, outputs), float32."""
    kernel = np.asarray(kernel, np.float32)
    if isinstance(inner(layer), layers.DepthwiseConv2D):
        high, wide, channels, times = kernel.shape
        return kernel.reshape(high * wide, channels, times).swapaxes(0, 1)
    return kernel.reshape(1, -1, kernel.shape[-1])


def unstacked(stack: np.ndarray, shape: tuple[int, ...], layer: Any) -> np.ndarray:
    """The inverse of `stacked`."""
    turned = isinstance(inner(layer), layers.DepthwiseConv2D)
    return (stack.swapaxes(0, 1) if turned else stack).reshape(shape)


def posed(
    layer: Any, given: Iterable[Any], before: Any, gave: Iterable[Any], *, count: int, centred: bool
) -> Problem | None:
    """Returns what the kernel of a changed layer is to do; `None` where that cannot be said.

    Args:
        layer: Of the changed network, see `fittable`.
        given: What it reads, some examples at a time.
        before: That of the network before.
        gave: What that reads, of the same examples.
        count: Number of examples.
        centred: Whether something takes the mean.
    """
    now, then = (stacked(x, ops.convert_to_numpy(inner(x).kernel)) for x in (layer, before))
    places = _places(now, then)
    if places is None:
        return None
    kernels, inputs, outputs = places
    sums = _Sums(now.shape)
    random = np.random.default_rng(0)
    for mine, other in zip(given, gave, strict=True):
        positions = int(np.prod(inner(layer).compute_output_shape(tuple(mine.shape))[:-1]))
        most = max(1, ROWS * len(mine) // count)
        few = np.sort(random.choice(positions, min(most, positions), replace=False))
        made = _rows(before, other, few)[kernels] @ then[kernels][:, :, outputs]
        sums.add(_rows(layer, mine, few), made)
    old = then[np.ix_(kernels, inputs, outputs)]
    return sums.problem(old, slim=now.shape != then.shape, centred=centred)


def _places(now: np.ndarray, then: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray] | None:
    """Which kernels, inputs and outputs a kernel has kept; `None` where that does not show."""
    if now.shape == then.shape:
        return np.arange(now.shape[0]), np.arange(now.shape[1]), np.arange(now.shape[2])
    order = np.argsort(then, axis=None)
    line = then.ravel()[order]
    found = []
    for axis, edge in enumerate((now[:, 0, 0], now[0, :, 0], now[0, 0])):
        at, end = (np.searchsorted(line, edge, side=side) for side in ("left", "right"))
        if (end - at != 1).any():  # it is new, or there twice
            return None
        found.append(np.unravel_index(order[at], then.shape)[axis])
    same = np.array_equal(then[np.ix_(*found)], now)
    return (found[0], found[1], found[2]) if same else None


class _Sums:
    """Sums over rows."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        kernels, inputs, outputs = shape
        self.squares = np.zeros((kernels, inputs, inputs))
        self.products = np.zeros((kernels, inputs, outputs))
        self.inputs, self.outputs = np.zeros((kernels, inputs)), np.zeros((kernels, outputs))
        self.rows = 0

    def add(self, rows: np.ndarray, made: np.ndarray) -> None:
        turned = rows.swapaxes(1, 2)
        self.squares += turned @ rows
        self.products += turned @ made
        self.inputs += rows.sum(1)
        self.outputs += made.sum(1)
        self.rows += rows.shape[1]

    def problem(self, old: np.ndarray, *, slim: bool, centred: bool) -> Problem | None:
        inputs, outputs = self.inputs / self.rows, self.outputs / self.rows
        squares, products = self.squares, self.products
        if centred:
            squares = squares - self.rows * inputs[:, :, None] * inputs[:, None]
            products = products - self.rows * inputs[:, :, None] * outputs[:, None]
        else:
            inputs, outputs = np.zeros_like(inputs), np.zeros_like(outputs)
        diagonal = np.diagonal(squares, axis1=1, axis2=2)
        ridge = RIDGE * diagonal.mean(1) + 1e-9 * diagonal.mean() + 1e-12
        if not np.isfinite(ridge).all() or not diagonal.any():
            return None
        squares = squares + ridge[:, None, None] * np.eye(squares.shape[1])
        aim = np.linalg.solve(squares, products + ridge[:, None, None] * old)
        return Problem(old, aim, squares, self.rows, slim, inputs, outputs)


def _rows(layer: Any, tensor: Any, few: np.ndarray) -> np.ndarray:
    """Some of the rows that the kernel multiplies, (kernels, rows, inputs), float32."""
    laid = ops.convert_to_numpy(_laid_out(inner(layer), tensor))
    rows = laid.reshape(-1, laid.shape[-1])[few].astype(np.float32)
    if isinstance(inner(layer), layers.DepthwiseConv2D):
        channels = tensor.shape[-1]
        return np.ascontiguousarray(rows.reshape(len(rows), -1, channels).transpose(2, 0, 1))
    return rows[None]


def _laid_out(layer: Any, tensor: Any) -> Any:
    if isinstance(layer, layers.Dense):
        return tensor
    if tuple(layer.kernel_size) == (1, 1) and isinstance(layer, layers.Conv2D):
        down, across = layer.strides
        return tensor[:, ::down, ::across]
    return ops.image.extract_patches(
        tensor, layer.kernel_size, strides=layer.strides,
        dilation_rate=layer.dilation_rate, padding=layer.padding,
    )  # fmt: skip


def masked_fit(problem: Problem, kept: np.ndarray) -> np.ndarray:
    """Returns the kernel that comes nearest among those with given zeros.

    Args:
        problem: What the kernel is to do.
        kept: Where it may be other than 0, (kernels, inputs, outputs).
    """
    fitted = np.zeros(kept.shape)
    for number, squares in enumerate(problem.squares):
        products = squares @ problem.aim[number]
        for output in range(kept.shape[2]):
            free = np.flatnonzero(kept[number, :, output])
            if free.size:
                system = squares[np.ix_(free, free)]
                fitted[number, free, output] = np.linalg.solve(system, products[free, output])
    # A weight that comes out at 0 would be taken for one that was pruned.
    return np.where(kept & (fitted == 0), np.finfo(np.float32).tiny, fitted)
