"""What each layer of a model takes to store and to run: distinct values, bits, bytes, energy.

Energies are those of Horowitz 2014, ISSCC, "Computing's energy problem", 45 nm, as Han et al. 2015,
arXiv:1506.02626, table 1, print them for 32 bits; for fewer bits, Horowitz' own figure. What is
assumed:

    a multiply-accumulate is one product and one sum, as wide as the layer computes
    each weight is read once for each example, from DRAM
    each output of a layer is written once and read once, in SRAM; inputs of the model are free
    what has no multiply-accumulates in `compress.measure.account` costs no arithmetic

So it is an estimate of a chip with no reuse across examples, to compare models by; nothing is
measured. Whether zeros are skipped is the hardware's choice, so both cases are told: no runtime
here skips them, the accelerator of Han et al. 2016, EIE, arXiv:1602.01528, does.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import NamedTuple

import keras
import numpy as np

from compress.graph import leaf_layers
from compress.graph.kernels import inner, kernel_of
from compress.layers.quantized import kernel_bits
from compress.measure.account import KERNELS, LayerRow, layer_table
from compress.measure.packed import weight_bytes
from compress.measure.report import Cost

PICO = 1e-12
MULTIPLY = {"float32": 3.7, "float16": 1.1, "int8": 0.2}  # picojoules
ADD = {"float32": 0.9, "float16": 0.4, "int8": 0.03}
DRAM, SRAM = 640.0, 5.0  # picojoules for 32 bits; SRAM of 8 kB
WORD = 32  # bits


class _Held(NamedTuple):
    """Sums over the weights of a layer, or of several."""

    row: LayerRow
    distinct: int
    book_bits: int
    packed_bytes: int
    joules: float
    sparse_joules: float


def layer_costs(
    model: keras.Model, rows: Sequence[LayerRow] = (), *, packed: bool = False
) -> tuple[Cost, tuple[Cost, ...]]:
    """Returns what the whole model takes, and each leaf layer, in graph order.

    Args:
        model: Functional or Sequential.
        rows: Its table, where it is counted already.
        packed: Whether to code each weight as the packed file does. Sparse energy then reads the
            coded weights; without it, all weights as they are stored.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built.
    """
    found = dict(leaf_layers(model))
    held = [_held(row, found[row.path], packed=packed) for row in rows or layer_table(model)]
    return _cost(held, "", type(model).__name__, packed=packed), tuple(
        _cost([one], one.row.path, one.row.kind, packed=packed) for one in held
    )


def book_bits(array: np.ndarray) -> int:
    """Returns the bits of an array as numbers of its values, all of a length, and their list.

    Never more than those of the array as it is.
    """
    values = np.unique(array).size
    item = 8 * array.itemsize
    number = math.ceil(math.log2(values)) if values > 1 else 0
    return min(array.size * number + values * item, array.size * item)


def operand(layer: keras.layers.Layer) -> str:
    """Returns what a layer multiplies: `float32`, `float16` (and bfloat16), or `int8`."""
    if kernel_bits(layer):
        return "int8"
    layer = inner(layer)
    if getattr(layer, "quantization_mode", None) == "int8":
        return "int8"
    return "float16" if layer.compute_dtype in {"float16", "bfloat16"} else "float32"


def _held(row: LayerRow, layer: keras.layers.Layer, *, packed: bool) -> _Held:
    arrays = [keras.ops.convert_to_numpy(weight) for weight in layer.weights]
    stored = sum(8 * array.nbytes for array in arrays)
    if bits := kernel_bits(layer):
        stored -= (WORD - bits) * kernel_of(inner(layer)).value.shape.num_elements()
    packed_bytes = sum(map(weight_bytes, layer.weights)) if packed else 0
    kernels = [
        array for weight, array in zip(layer.weights, arrays, strict=True) if weight.name in KERNELS
    ]
    size = sum(kernel.size for kernel in kernels)
    kept = sum(int(np.count_nonzero(kernel)) for kernel in kernels) / size if size else 1.0
    kind = operand(layer)
    product = (row.macs or 0) * (MULTIPLY[kind] + ADD[kind])
    moved = 2 * 8 * row.activation_bytes / WORD * SRAM
    read = DRAM / WORD
    largest = max(arrays, key=lambda array: array.size, default=None)
    return _Held(
        row=row,
        distinct=0 if largest is None else np.unique(largest).size,
        book_bits=sum(map(book_bits, arrays)),
        packed_bytes=packed_bytes,
        joules=PICO * (product + moved + read * stored),
        sparse_joules=PICO
        * (product * kept + moved + read * (8 * packed_bytes if packed else stored)),
    )


def _cost(held: Iterable[_Held], path: str, kind: str, *, packed: bool) -> Cost:
    held = list(held)
    parameters = sum(one.row.parameters for one in held)
    each = max(1, parameters)
    macs = [one.row.macs for one in held if one.row.macs is not None]
    coded = sum(one.packed_bytes for one in held)
    return Cost(
        path=path,
        kind=kind,
        parameters=parameters,
        sparsity=1 - sum(one.row.nonzero for one in held) / each if parameters else 0.0,
        distinct=sum(one.distinct for one in held),
        book_bits=sum(one.book_bits for one in held) / each,
        packed_bytes=coded if packed else None,
        packed_bits=8 * coded / each if packed else None,
        macs=sum(macs) if macs else None,
        joules=sum(one.joules for one in held),
        sparse_joules=sum(one.sparse_joules for one in held),
    )
