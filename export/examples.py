"""Example inputs: the caller's, checked, or random ones; and a run over them in batches."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from export.manifest import Signature
from zoo.common.examples import gather

NUM_RANDOM = 32  # examples drawn when none are given
WORDS = ("a", "model", "reads", "these", "words")
EDGES = ("zeros", "the least", "the greatest", *(f"noise {i}" for i in range(1, 6)))

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


def check_inputs(
    samples: Any, signature: Signature, *, also: Mapping[str, str] | None = None
) -> dict[str, np.ndarray]:
    """Returns the examples as arrays by input name, of the model's types.

    Args:
        samples: In any form that `zoo.common.examples.gather` takes.
        signature: The model's signature.
        also: Further names of inputs, to those of the signature.

    Raises:
        FileNotFoundError: There is no folder of that path.
        ValueError: A name, a shape or a value does not fit the model.
    """
    return gather(samples, signature.inputs, where="export: samples", also=also)


def draw_inputs(signature: Signature, words: Sequence[str] = WORDS) -> dict[str, np.ndarray]:
    """Draws `NUM_RANDOM` examples: standard normal floats, small whole numbers, a few words.

    Args:
        signature: The model's signature.
        words: What strings are made of.

    Raises:
        ValueError: An input has a free dimension or a type that cannot be drawn.
    """
    rng = np.random.default_rng(0)
    arrays = {}
    for spec in signature.inputs:
        size = [NUM_RANDOM, *(side for side in spec.shape[1:] if side is not None)]
        kind = np.dtype(spec.dtype).kind if spec.dtype != "string" else "S"
        if len(size) != len(spec.shape) or kind not in "fiubS":
            raise ValueError(
                f"export: input {spec.name!r} has shape {spec.shape} and type {spec.dtype}, which"
                " cannot be drawn at random. Pass `samples`."
            )
        if kind == "S":
            arrays[spec.name] = _texts(rng, size, words)
            continue
        # An index into a table of unknown length: 0 and 1 exist in nearly every table.
        values = rng.standard_normal(size) if kind == "f" else rng.integers(0, 2, size)
        arrays[spec.name] = values.astype(spec.dtype)
    return arrays


def _texts(rng: np.random.Generator, size: Sequence[int], words: Sequence[str]) -> np.ndarray:
    """Single words first, which a table of categories knows; then texts of some words."""
    texts = np.empty(size, object)
    for place, index in enumerate(np.ndindex(*size)):
        count = 1 if place % 2 else int(rng.integers(1, 7))
        texts[index] = " ".join(rng.choice(list(words), count))
    return texts


def one_example(signature: Signature) -> dict[str, np.ndarray]:
    """Draws one example to time a file with; a free dimension is 1 long."""
    rng = np.random.default_rng(0)
    arrays = {}
    for spec in signature.inputs:
        shape = [1, *(size or 1 for size in spec.shape[1:])]
        if spec.dtype == "string":
            arrays[spec.name] = _texts(rng, shape, WORDS)
            continue
        floats = "float" in spec.dtype
        values = rng.standard_normal(shape) if floats else rng.integers(0, 2, shape)
        arrays[spec.name] = values.astype(spec.dtype)
    return arrays


def edge_inputs(inputs: Arrays) -> dict[str, np.ndarray]:
    """Returns inputs at the edges of those: zeros, their least, their greatest values, and noise.

    Args:
        inputs: Examples (n, ...) by input name.

    Returns:
        Eight examples by input name, called as in `EDGES`: one of zeros, two of a single value,
        five of noise. What has no order is drawn from the examples; of texts the first is empty,
        and the second of letters that no table has.
    """
    rng = np.random.default_rng(0)
    edges = {}
    for name, array in inputs.items():
        if array.dtype.kind not in "fiu":  # no order: any of the examples
            edges[name] = array[rng.integers(0, len(array), len(EDGES))]
            if array.dtype.kind == "O":
                edges[name][0], edges[name][1] = "", "\u00e9\u4e2d ?!"
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
