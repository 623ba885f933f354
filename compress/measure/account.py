"""What a model costs: parameters, multiply-accumulates, activation bytes, bytes on disk.

Everything is counted on the built model or measured on a saved file. Counts are for one example;
any other dimension that may vary counts as 1. A multiply-accumulate is a product with a weight of a
kernel; biases, normalisation and products without weights are left out.
"""

from __future__ import annotations

import math
import tempfile
import zlib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import NamedTuple

import keras
import numpy as np

from compress.graph import Call, leaf_layers, trace
from compress.graph.kernels import inner
from compress.measure.packed import pack, unpack
from compress.measure.products import products
from compress.measure.reading import uncompiled, unreadable
from compress.measure.report import Counts, FileSize

KERNELS = ("kernel", "depthwise_kernel", "pointwise_kernel", "recurrent_kernel")

# Each weight of the kernel is used once for each position of the output ...
_PER_OUTPUT = (
    keras.layers.Dense,
    keras.layers.Conv1D,
    keras.layers.Conv2D,
    keras.layers.Conv3D,
    keras.layers.DepthwiseConv1D,
    keras.layers.DepthwiseConv2D,
    keras.layers.SeparableConv1D,
    keras.layers.SeparableConv2D,
)
# ... or of the input: products that `padding` crops away are counted.
_PER_INPUT = (
    keras.layers.Conv1DTranspose,
    keras.layers.Conv2DTranspose,
    keras.layers.Conv3DTranspose,
)
_LOOK_UPS = (keras.layers.Embedding,)

_BLOCK_BYTES = 1 << 20


class NotFiniteError(ValueError):
    """A weight is infinite or no number."""


class LayerRow(NamedTuple):
    """One leaf layer of a model.

    Attributes:
        path: Where the layer stands, e.g. `encoder/conv1`.
        kind: Name of its class.
        output_shape: Shape of the first output of its first call; None where it may vary.
        parameters: Number of weights, the non-trainable ones included.
        nonzero: Number of weights that are not zero.
        macs: Multiply-accumulates of all its calls for one example; None when they are not known.
        activation_bytes: Bytes of all its outputs for one example.
    """

    path: str
    kind: str
    output_shape: tuple[int | None, ...]
    parameters: int
    nonzero: int
    macs: int | None
    activation_bytes: int


def layer_table(model: keras.Model) -> list[LayerRow]:
    """Returns one row for each leaf layer, in graph order; what several share is the first's.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built.
    """
    calls: dict[str, list[Call]] = {}
    for call in trace(model).calls:
        calls.setdefault(call.path, []).append(call)
    seen: set[int] = set()
    rows = []
    for path, layer in leaf_layers(model):
        weights = [weight for weight in layer.weights if id(weight) not in seen]
        seen |= {id(weight) for weight in weights}
        rows.append(_row(path, layer, calls[path], weights))
    return rows


def total(rows: Iterable[LayerRow]) -> Counts:
    """Adds up the rows of a table, or of a part of it."""
    rows = list(rows)
    return Counts(
        parameters=sum(row.parameters for row in rows),
        nonzero=sum(row.nonzero for row in rows),
        macs=sum(row.macs for row in rows if row.macs is not None),
        num_uncounted=sum(row.macs is None for row in rows),
        activation_bytes=sum(row.activation_bytes for row in rows),
    )


def reload(model: keras.Model, *, packed: bool = False) -> tuple[keras.Model, FileSize]:
    """Saves a model without an optimizer, loads it again, and weighs its files.

    Args:
        model: Built.
        packed: Whether to write the packed file too.

    Returns:
        The model as it comes from the packed file, or else from the `.keras` file; and the bytes
        of the latter, of the same after gzip at level 6, and of the packed file.

    Raises:
        NotFiniteError: A weight is not finite.
        ValueError: A layer cannot be read back.
        RuntimeError: A file, loaded again, holds other weights than the model.
    """
    for weight in model.weights:
        if not np.isfinite(weight.numpy()).all():
            raise NotFiniteError(f"{weight.path}: holds values that are not finite.")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "model.keras"
        uncompiled(model).save(path)
        try:
            # The code in it, if there is some, is of this very process.
            loaded = keras.saving.load_model(path, compile=False, safe_mode=False)
        except Exception as error:  # of the user's own code too
            raise unreadable(model, error) from None
        _check_saved(loaded, model)
        raw, gzip = path.stat().st_size, _gzip_bytes(path)
        if not packed:
            return loaded, FileSize(raw, gzip)
        packed_bytes = pack(model, path)
        loaded = unpack(path)
        _check_saved(loaded, model)
        return loaded, FileSize(raw, gzip, packed_bytes)


def _row(
    path: str,
    layer: keras.layers.Layer,
    calls: Sequence[Call],
    weights: Sequence[keras.Variable],
) -> LayerRow:
    outputs = [tensor for call in calls for tensor in call.outputs]
    return LayerRow(
        path=path,
        kind=type(layer).__name__,
        output_shape=tuple(outputs[0].shape),
        parameters=sum(_size(weight.shape) for weight in weights),
        nonzero=sum(int(np.count_nonzero(weight.numpy())) for weight in weights),
        macs=_macs(layer, calls),
        activation_bytes=sum(_size(x.shape) * _item_bytes(x.dtype) for x in outputs),
    )


def _macs(layer: keras.layers.Layer, calls: Sequence[Call]) -> int | None:
    """Positions times weights, summed over the calls."""
    layer = inner(layer)
    if hasattr(layer, "count_macs"):  # a layer of ours
        return sum(layer.count_macs(call.outputs[0].shape) for call in calls)
    if isinstance(layer, _PER_OUTPUT):
        tensors = [call.outputs[0] for call in calls]
    elif isinstance(layer, _PER_INPUT):
        tensors = [call.inputs[0] for call in calls]
    elif isinstance(layer, keras.layers.ReversibleEmbedding):
        back = [call for call in calls if call.kwargs.get("reverse") or any(call.args[1:])]
        return sum(_size(call.outputs[0].shape) * layer.output_dim for call in back)
    else:
        known = isinstance(layer, _LOOK_UPS) or all(len(w.shape) < 2 for w in layer.weights)
        found = [0 if known else products(layer, call) for call in calls]
        return None if None in found else sum(one or 0 for one in found)
    axis = 1 if getattr(layer, "data_format", None) == "channels_first" else -1
    positions = sum(_size(x.shape) // int(x.shape[axis]) for x in tensors)
    return positions * sum(_size(w.shape) for w in layer.weights if w.name in KERNELS)


def _size(shape: Sequence[int | None]) -> int:
    return math.prod(dimension or 1 for dimension in shape)


def _item_bytes(dtype: str) -> int:
    return 0 if dtype == "string" else np.dtype(dtype).itemsize


def _check_saved(loaded: keras.Model, model: keras.Model) -> None:
    # A layer decides itself what it saves, and may save less than it holds.
    for new, old in zip(loaded.weights, model.weights, strict=True):
        if not np.array_equal(new.numpy(), old.numpy()):
            raise RuntimeError(f"saved model: weight {old.path!r} differs after loading.")


def _gzip_bytes(path: Path) -> int:
    gzip = zlib.compressobj(level=6, wbits=31)  # 31: the gzip container
    size = 0
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            size += len(gzip.compress(block))
    return size + len(gzip.flush())
