"""A model of integers, still in Keras: put together, calibrated, corrected, settled.

Sources: Jacob et al. 2018, arXiv:1712.05877; Nagel et al. 2019, Data-free quantization,
arXiv:1906.04721, section 4.2 (`correct_biases`, from data).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import Any

import keras
import numpy as np
from keras import layers, ops

from compress.graph import leaf_layers, replace_layers, trace
from compress.graph.holding import let_go, structure
from compress.graph.kernels import clone_layer, kernel_of
from compress.layers.parametrized import Parametrized
from compress.layers.quantized import Floats, KernelRange, Range, RangedSilu, kernel_bits
from compress.layers.shared import Shared
from compress.measure.samples import answers, batches
from compress.passes.quantize import entries, grids
from compress.passes.quantize.calibration import Histogram
from zoo.common.names import scope_names

SHARES = np.linspace(1.0, 0.3, 36)  # of a kernel's limit, to choose from


def assemble(
    model: keras.Model,
    bits: Mapping[str, int],
    *,
    activation_bits: int,
    bare: Collection[int] = (),
    shared: bool = True,
) -> keras.Model:
    """Returns a model with grids for kernels, and ranges for what flows between them.

    What a kernel has, zeros and shared values, it keeps in training.

    Args:
        model: As `grids.made_ready` returns it; stays as it is.
        bits: Width of the kernels, by path; a layer that is not named gets no range behind it.
        activation_bits: Width of what flows.
        bare: Places of inputs without a range, see `entries`. A kernel that reads one is not
            rounded.
        shared: Whether kernels keep values that they share; on a grid they share others.
    """
    found = dict(leaf_layers(model))
    skipped = {id(layer) for path, layer in found.items() if path not in bits}
    raw = entries.readers_of_raw(model, bare)
    placed = grids.ranged(model, activation_bits=activation_bits, bare=bare)
    placed = {op: grid for op, grid in placed.items() if id(op) not in skipped}
    last = {id(tensor._keras_history.operation) for tensor in model.outputs}
    made: dict[Any, Range] = {}
    wishes = [f"{owner.name}_range" for owner, _ in placed.values()]
    known = [name for path in found for name in path.split("/")]
    renamed = scope_names(wishes, [*known, *(f"{name}_range" for name in known)])
    for owner, ends in placed.values():
        if owner not in made:
            ends = ends if activation_bits == 8 else None  # an activation in floats fixes none
            name = f"{owner.name}_range"
            name = owner.name if id(owner) in last else renamed.get(name, name)
            made[owner] = Range(activation_bits, ends=ends, name=name)
    behind = {operation: made[grid.owner] for operation, grid in placed.items()}
    replacements: dict[Any, Any] = {}
    floats = grids.in_floats(model, activation_bits=activation_bits, bare=bare)
    for path, count in bits.items():
        layer = found[path]
        is_output = id(layer) in last and layer in behind  # which keeps its name
        name = f"{layer.name}_inner" if is_output or path in floats else layer.name
        if grids.is_kernel(layer) and path not in raw:
            new = _on_grid(layer, count, name=name, shared=shared)
        elif grids.is_silu(layer):
            new = RangedSilu(name=name, activity_regularizer=layer.activity_regularizer)
        elif is_output or path in floats:
            new = clone_layer(layer, name=name)
        else:
            continue
        chain = [new]
        if path in floats:
            own = f"{layer.name}_end" if is_output else layer.name
            end = grids.behind_floats(layer, activation_bits=activation_bits, name=own)
            chain = [Floats(name=f"{layer.name}_floats"), new, *end]
        if is_output:
            chain.append(behind.pop(layer))
        if chain[-1].name != layer.name:
            chain.append(layers.Identity(name=layer.name))
        replacements[path] = chain
    return replace_layers(model, replacements, behind=behind)


def calibrate(
    model: keras.Model, samples: list[np.ndarray], *, method: str, percentile: float = 99.99
) -> None:
    """Sets the ends of all ranges from data, in place.

    Args:
        model: As `assemble` returns it.
        samples: (n, ...) for each input.
        method: One of `calibration.METHODS`.
        percentile: See `Histogram.limits`.

    Raises:
        ValueError: A value within the model is not finite.
    """
    ranges = learning(model)
    histograms = [Histogram(layer.name) for layer in ranges]
    for task in ("widen", "count") if method != "minmax" else ("widen",):
        for layer, histogram in zip(ranges, histograms, strict=True):
            layer.see = getattr(histogram, task)
        for batch in batches(model, samples):
            model(batch, training=False)
        for layer, histogram in zip(ranges, histograms, strict=True):
            layer.see = None
            histogram.check()
    for layer, histogram in zip(ranges, histograms, strict=True):
        lo, hi = histogram.limits(method, bits=layer.bits, percentile=percentile)
        layer.lo.assign(lo)
        layer.hi.assign(hi)


def copy_ranges(model: keras.Model, other: keras.Model) -> None:
    """Sets the ends of all ranges to those of a model of the same graph, in place."""
    found = dict(leaf_layers(other))
    for path, layer in leaf_layers(model):
        if isinstance(layer, Range):
            layer.set_weights(found[path].get_weights())


def correct_biases(model: keras.Model, samples: list[np.ndarray]) -> list[str]:
    """Takes the mean error that rounding the kernels makes out of the biases, in place.

    Returns:
        The paths of the layers that have a bias.
    """
    wrapped = {p: x for p, x in leaf_layers(model) if kernel_bits(x)}
    wrapped = {path: layer for path, layer in wrapped.items() if layer.layer.use_bias}
    means = {path: _MeanError(layer) for path, layer in wrapped.items()}
    for path, layer in wrapped.items():
        layer.see = means[path]
    for batch in batches(model, samples):
        model(batch, training=False)
    for path, layer in wrapped.items():
        layer.see = None
        layer.layer.bias.assign(layer.layer.bias - means[path].value)
    return list(wrapped)


def settle(model: keras.Model) -> keras.Model:
    """Returns a model whose kernels and biases lie on their grids, and whose ranges stay.

    Kernels that are held, and have no grid, are stored.

    An integer kernel adds a bias in steps of the input's scale times the kernel's.

    Args:
        model: As `assemble` returns it; stays as it is.
    """
    scales, settled = _input_scales(model), {}
    for path, layer in leaf_layers(model):
        if kernel_bits(layer):
            *before, grid = layer.chain
            kernel = ops.convert_to_tensor(kernel_of(layer.layer))
            for part in before:
                kernel = part(kernel)
            inner = clone_layer(layer.layer)
            on_grid, scale = grid.on_grid(ops.convert_to_numpy(kernel))
            kernel_of(inner).assign(on_grid)
            kernel_of(inner).trainable = layer.learns()
            if inner.use_bias and path in scales:
                step = scale.astype("float64") * scales[path]
                bias = ops.convert_to_numpy(inner.bias).astype("float64")
                inner.bias.assign(np.round(bias / step) * step)
            settled[path] = Parametrized(inner, [KernelRange(grid.bits, per=grid.per)])
            settled[path].build()
            settled[path].chain[-1].keep(on_grid, scale)
        elif isinstance(layer, Parametrized):
            settled[path] = layer.plain()
    new = let_go(model, settled)
    for layer in learning(new):
        layer.observing.assign(0.0)
    return new


def _input_scales(model: keras.Model) -> dict[str, float]:
    """The step of the grid that each layer reads, by path, where it reads one."""
    ranges: dict[int, Range] = {}
    scales = {}
    for call in trace(model).calls:
        if not call.inputs:
            continue
        source = ranges.get(id(call.inputs[0]))
        if isinstance(call.operation, Range):
            source = call.operation
        elif source is not None and call.path:
            scales[call.path] = source.step()
        if isinstance(call.operation, Range) or grids.on_the_same_grid(call):
            ranges.update({id(tensor): source for tensor in call.outputs if source is not None})
    return scales


def has_ranges(model: keras.Model) -> bool:
    """Returns whether a model is quantised: its ranges become those of an integer file."""
    return any(isinstance(layer, Range) for _, layer in leaf_layers(model))


def learning(model: keras.Model) -> list[Range]:
    """Returns the ranges of a model whose ends are not settled yet."""
    found = [layer for _, layer in leaf_layers(model) if isinstance(layer, Range)]
    return [layer for layer in found if float(ops.convert_to_numpy(layer.observing)) > 0]


def errors(model: keras.Model, samples: list[np.ndarray], bits: int) -> dict[str, float]:
    """Returns how far the outputs move when one kernel alone is rounded.

    Args:
        model: As `grids.made_ready` returns it; stays as it is.
        samples: (n, ...) for each input.
        bits: Width of the kernel.

    Returns:
        By path, the squared error of the outputs, as a share of their squares.
    """
    expected = answers(model, samples)
    found = {}
    for path, layer in leaf_layers(model):
        if not grids.is_kernel(layer):
            continue
        kernel = kernel_of(layer)
        old = ops.convert_to_numpy(kernel)
        kernel.assign(_on_grid(layer, bits, name=layer.name).kernel())
        moved = answers(model, samples)
        kernel.assign(old)
        found[path] = sum(
            float(np.sum((new - want) ** 2) / max(np.sum(want**2), 1e-12))
            for new, want in zip(moved, expected, strict=True)
        )
    return found


class _MeanError:
    """The mean over data of what a rounded kernel makes and the stored one does not."""

    def __init__(self, layer: Parametrized) -> None:
        self._probe = clone_layer(layer.layer, activation="linear")
        kernel = kernel_of(layer.layer)
        kernel_of(self._probe).assign(layer.kernel() - ops.convert_to_tensor(kernel))
        self._probe.bias.assign(np.zeros(self._probe.bias.shape))
        self._sum, self._count = np.zeros(self._probe.bias.shape), 0

    def __call__(self, inputs: Any) -> None:
        error = ops.convert_to_numpy(self._probe(inputs)).reshape(-1, self._sum.size)
        self._sum += error.sum(0)
        self._count += len(error)

    @property
    def value(self) -> np.ndarray:
        return self._sum / max(self._count, 1)


def _on_grid(
    layer: keras.layers.Layer, bits: int, *, name: str, shared: bool = True
) -> Parametrized:
    kernel, bits = ops.convert_to_numpy(kernel_of(layer)), grids.fitting(layer, bits)
    grid = KernelRange(bits, per=grids.per(layer))
    chain = [part for part in structure(kernel) if shared or not isinstance(part, Shared)]
    wrapped = Parametrized(clone_layer(layer, name=name), [*chain, grid])
    wrapped.build()
    for part in chain:
        part.read(kernel)
    if bits < 8:
        grid.share.assign(best_share(grid, kernel))
    return wrapped


def best_share(grid: KernelRange, kernel: np.ndarray) -> np.ndarray:
    """The share of each limit that moves the weights least, by their squares."""
    flat = kernel.reshape(-1, *grid.share.shape)
    moved = []
    for share in SHARES:
        grid.share.assign(np.full(grid.share.shape, share))
        moved.append(((grid.on_grid(kernel)[0].reshape(flat.shape) - flat) ** 2).sum(0))
    best: np.ndarray = SHARES[np.argmin(moved, axis=0)]
    return best
