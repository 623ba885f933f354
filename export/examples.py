"""Example inputs: the caller's, checked, or random ones; and a run over them in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from export.manifest import Signature

NUM_RANDOM = 32  # examples drawn when none are given

Arrays = Mapping[str, np.ndarray]  # (n, ...) by input or output name


def in_batches(
    call: Callable[[Arrays], Mapping[str, Any]], inputs: Arrays, *, size: int = 32
) -> dict[str, np.ndarray]:
    """Calls with `size` examples at a time, so that memory does not grow with their number."""
    total = len(next(iter(inputs.values())))
    parts = [
        call({name: array[start : start + size] for name, array in inputs.items()})
        for start in range(0, total, size)
    ]
    return {name: np.concatenate([np.asarray(part[name]) for part in parts]) for name in parts[0]}


def one_by_one(inputs: Arrays) -> list[dict[str, np.ndarray]]:
    """Returns each of the examples as a batch of its own."""
    total = len(next(iter(inputs.values())))
    return [{name: array[i : i + 1] for name, array in inputs.items()} for i in range(total)]


def check_inputs(samples: Any, signature: Signature) -> dict[str, np.ndarray]:
    """Returns the examples as arrays by input name, of the model's types.

    Args:
        samples: One array (n, ...), or a mapping from input name to array.
        signature: The model's signature.

    Raises:
        ValueError: A name, a shape or a value does not fit the model.
    """
    if not isinstance(samples, Mapping):
        samples = {signature.inputs[0].name: samples}
    expected = [spec.name for spec in signature.inputs]
    if sorted(samples) != sorted(expected):
        raise ValueError(f"export: samples: got inputs {sorted(samples)}; expected {expected}.")
    arrays = {}
    for spec in signature.inputs:
        array = np.asarray(samples[spec.name], dtype=spec.dtype)
        if array.ndim != len(spec.shape) or any(
            want not in (None, got) for want, got in zip(spec.shape, array.shape, strict=True)
        ):
            raise ValueError(
                f"export: samples of {spec.name!r}: got shape {array.shape};"
                f" expected {('n', *spec.shape[1:])}."
            )
        if not np.isfinite(array).all():
            raise ValueError(f"export: samples of {spec.name!r}: got NaN or infinite values.")
        arrays[spec.name] = array
    if len({len(array) for array in arrays.values()}) != 1 or not len(arrays[expected[0]]):
        counts = {name: len(array) for name, array in arrays.items()}
        raise ValueError(f"export: samples: got {counts} examples; expected the same n >= 1.")
    return arrays


def draw_inputs(signature: Signature) -> dict[str, np.ndarray]:
    """Draws `NUM_RANDOM` examples: standard normal floats, small whole numbers.

    Raises:
        ValueError: An input has a free dimension or a type that cannot be drawn.
    """
    rng = np.random.default_rng(0)
    arrays = {}
    for spec in signature.inputs:
        size = [NUM_RANDOM, *(side for side in spec.shape[1:] if side is not None)]
        kind = np.dtype(spec.dtype).kind if spec.dtype != "string" else "S"
        if len(size) != len(spec.shape) or kind not in "fiub":
            raise ValueError(
                f"export: input {spec.name!r} has shape {spec.shape} and type {spec.dtype}, which"
                " cannot be drawn at random. Pass `samples`."
            )
        # An index into a table of unknown length: 0 and 1 exist in nearly every table.
        values = rng.standard_normal(size) if kind == "f" else rng.integers(0, 2, size)
        arrays[spec.name] = values.astype(spec.dtype)
    return arrays


def one_example(signature: Signature) -> dict[str, np.ndarray]:
    """Draws one example to time a file with; a free dimension is 1 long."""
    rng = np.random.default_rng(0)
    arrays = {}
    for spec in signature.inputs:
        shape = [1, *(size or 1 for size in spec.shape[1:])]
        floats = "float" in spec.dtype
        values = rng.standard_normal(shape) if floats else rng.integers(0, 2, shape)
        arrays[spec.name] = values.astype(spec.dtype)
    return arrays


def edge_inputs(inputs: Arrays) -> dict[str, np.ndarray]:
    """Returns inputs at the edges of those: zeros, their least, their greatest values, and noise.

    Args:
        inputs: Examples (n, ...) by input name.

    Returns:
        Eight examples by input name: one of zeros, two of a single value, five of noise.
    """
    rng = np.random.default_rng(0)
    edges = {}
    for name, array in inputs.items():
        if array.dtype.kind not in "fiu":  # no order: any of the examples
            edges[name] = array[rng.integers(0, len(array), 8)]
            continue
        low, high, shape = array.min(), array.max(), array.shape[1:]
        noise = (
            rng.uniform(low, high, (5, *shape))
            if array.dtype.kind == "f"
            else rng.integers(low, high, (5, *shape), endpoint=True)
        )
        flat = [np.full((1, *shape), value) for value in (0, low, high)]
        edges[name] = np.concatenate([*flat, noise]).astype(array.dtype)
    return edges
