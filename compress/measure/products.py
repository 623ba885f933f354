"""Multiply-accumulates of layers that are made of others: each part's own, wherever it is called.

A layer is traced as a graph, without values, on the shapes that it is called with; each part that
has kernels notes what it returns. What stands in a loop over time counts once for each place.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Callable
from typing import Any

import keras
from keras import layers

from compress.graph import Call
from compress.graph.kernels import Kernel, kernels_in
from compress.graph.ties import on_no_values

_LOOPS = (layers.RNN, layers.TimeDistributed)
_LOOK_UPS = (layers.Embedding, layers.ReversibleEmbedding)
_TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


def products(layer: layers.Layer, call: Call) -> int | None:
    """Returns the multiply-accumulates of a call for one example; `None` if they are not known.

    Args:
        layer: What is called: built, made of parts that have kernels.
        call: Of the layer, or of what holds it.
    """
    kernels = [Kernel("", name, *one) for name, one in kernels_in(layer).items()]
    if not kernels or not all(map(_is_known, kernels)):
        return None
    owners = {id(kernel.owner): kernel.owner for kernel in kernels}
    loops = [part for part in layer._flatten_layers() if isinstance(part, _LOOPS)]
    found = 0
    lengths: list[int] = []  # of the loops that the trace is in
    seen: set[tuple[int, ...]] = set()  # parts in loops: a step may be traced several times

    def note(owner: Any, given: Any, returned: Any) -> None:
        nonlocal found
        if lengths:
            key = (id(owner), *map(id, inside))
            if key in seen:
                return
            seen.add(key)
        for kernel in kernels:
            if kernel.owner is owner:
                found += math.prod(lengths) * _of(kernel, given, returned)

    inside: list[Any] = []

    def part(owner: Any, usual: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            returned = usual(*args, **kwargs)
            note(owner, args[0], returned)
            return returned

        return called

    def loop(one: Any, usual: Callable[..., Any]) -> Callable[..., Any]:
        def called(*args: Any, **kwargs: Any) -> Any:
            sequences = args[0] if args else next(iter(kwargs.values()))
            lengths.append(keras.tree.flatten(sequences)[0].shape[1] or 1)
            inside.append(one)
            try:
                return usual(*args, **kwargs)
            finally:
                lengths.pop()
                inside.pop()

        return called

    spies: dict[int, tuple[Any, Any]] = {id(one): (one, part) for one in owners.values()}
    spies |= {id(one): (one, loop) for one in loops}
    own: list[tuple[Any, Any]] = []
    try:
        for one, spy in spies.values():
            own.append((one, vars(one).get("call")))
            vars(one)["call"] = spy(one, one.call)
        with warnings.catch_warnings():  # of an axis that is 1 here, because it may vary
            warnings.simplefilter("ignore")
            on_no_values(call)
    except Exception:  # of the user's own code
        return None
    finally:
        for one, usual in own:
            if usual is None:
                del vars(one)["call"]
            else:
                vars(one)["call"] = usual
    return found


def _is_known(kernel: Kernel) -> bool:
    return type(kernel.owner).__module__.split(".")[0] in (
        "keras",
        "compress",
        "zoo",
    ) or isinstance(kernel.owner, (layers.Dense, layers.EinsumDense, *_LOOK_UPS))


def _of(kernel: Kernel, given: Any, returned: Any) -> int:
    """The products of a kernel in one call of what has it."""
    if isinstance(kernel.owner, _LOOK_UPS):
        return 0
    inputs, outputs = kernel.sides
    if isinstance(kernel.owner, _TRANSPOSED):
        return inputs * outputs * _size(given) // int(given.shape[-1])
    first = keras.tree.flatten(returned)[0]
    if isinstance(kernel.owner, (layers.Dense, layers.EinsumDense)):
        return inputs * _size(first)
    return inputs * outputs * _size(first) // int(first.shape[-1])


def _size(tensor: Any) -> int:
    return math.prod(dimension or 1 for dimension in tensor.shape)
