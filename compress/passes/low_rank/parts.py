"""Kernels that stand within a layer, as factors: of recurrent cells, attention, what wraps a layer.

A recurrent layer becomes `keras.layers.RNN` of a cell from `compress.layers.low_rank`; a wrapper
wraps what it wrapped, factorised; any other layer is in a `Factored`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
from keras import layers

from compress.graph.kernels import Kernel, clone_layer, kernels_in
from compress.layers.low_rank import CELLS, Factored, Factors, LowRankCell, terms
from compress.passes.low_rank.singular import Svd

_DENSE = (layers.Dense, layers.EinsumDense)
_BY_SETTINGS = (layers.RNN, layers.LSTM, layers.GRU, layers.SimpleRNN, layers.Bidirectional,
                layers.TimeDistributed)  # fmt: skip
_SETTINGS = ("return_sequences", "return_state", "go_backwards", "stateful", "unroll",
              "zero_output_for_mask", "name", "trainable")  # fmt: skip
IN_FILES = (
    "recurrent layers with factors are no single operator of a file: one of floats has the factors "
    "in its loop, one of integers is unrolled, and larger than without them"
)


class Cut(NamedTuple):
    """What becomes of a kernel: its decomposition and the rank."""

    svd: Svd
    rank: int

    def both(self) -> tuple[np.ndarray, np.ndarray]:
        """The factors, (n, r) and (r, m), each with the root of the singular values."""
        root = np.sqrt(self.svd.s[: self.rank])
        return self.svd.u[:, : self.rank] * root, root[:, None] * self.svd.vt[: self.rank]


def why_not(layer: layers.Layer, kernel: Kernel) -> str:
    """Returns why a kernel within a layer has no factors; empty where it may have them."""
    owner = kernel.owner
    if any(isinstance(owner, kind) for kind in (LowRankCell, Factors)):
        return "is a factor already"
    if ".inward." in f".{kernel.name}" or ".outward." in f".{kernel.name}":
        return "is a factor already"
    if type(owner) in CELLS:
        known = type(layer) in _BY_SETTINGS
        return "" if known else f"{type(layer).__name__} makes its {type(owner).__name__} itself"
    if type(owner) not in _DENSE:
        return f"{type(owner).__name__} is not a dense layer"
    if isinstance(owner, layers.EinsumDense) and terms(owner.equation) is None:
        return f"{owner.equation} is not one product"
    return ""


def factorised(layer: layers.Layer, cuts: Mapping[str, Cut]) -> layers.Layer:
    """Returns a layer of equal name and settings, built, some of whose kernels are products.

    Args:
        layer: Built; stays as it is.
        cuts: What becomes of its kernels, by name.
    """
    owners: dict[int, dict[str, Cut]] = {}
    found = kernels_in(layer)
    for name, cut in cuts.items():
        owners.setdefault(id(found[name][0]), {})[name] = cut
    made = _made(layer, owners)
    if made is not None:
        return made
    twin = clone_layer(layer)
    inside = kernels_in(twin)
    parts = {
        name: _part(inside[name][0], {name: cut})
        for name, cut in cuts.items()
        if type(inside[name][0]) in _DENSE
    }
    wrapped = Factored(twin, {name: cuts[name].rank for name in parts})
    wrapped.exchange(parts)
    wrapped.built = True
    return wrapped


def is_recurrent(found: list[layers.Layer]) -> bool:
    """Returns whether there are cells with factors among some layers, or in them."""
    parts = [part for layer in found for part in layer._flatten_layers()]
    return any(isinstance(part, LowRankCell) for part in parts)


def fill(both: tuple[layers.Layer, layers.Layer], old: layers.Layer, cut: Cut) -> None:
    """Gives two built layers the factors of a kernel, the bias, and what of it learns."""
    for factor, values in zip(both, cut.both(), strict=True):
        factor.kernel.assign(np.reshape(values, factor.kernel.shape))
        factor.kernel.trainable = old.kernel.trainable
    if old.bias is not None:
        both[1].bias.assign(old.bias)
        both[1].bias.trainable = old.bias.trainable


def _made(layer: layers.Layer, owners: Mapping[int, Mapping[str, Cut]]) -> Any:
    """The layer, where its own settings hold its parts; else `None`."""
    if id(layer) in owners:
        return _part(layer, owners[id(layer)])
    if type(layer) in _BY_SETTINGS[:4]:
        cell = _made(layer.cell, owners)
        if cell is None:
            return None
        config = {key: value for key, value in layer.get_config().items() if key in _SETTINGS}
        made = layers.RNN(cell, dtype=layer.dtype_policy, **config)
        made.activity_regularizer = layer.activity_regularizer
    elif type(layer) is layers.StackedRNNCells:
        made = layers.StackedRNNCells(
            [_made(one, owners) or clone_layer(one) for one in layer.cells]
        )
    elif type(layer) is layers.Bidirectional:
        both = [_made(one, owners) for one in (layer.forward_layer, layer.backward_layer)]
        if all(one is None for one in both):
            return None
        pairs = zip(both, (layer.forward_layer, layer.backward_layer), strict=True)
        one, two = (new or clone_layer(old) for new, old in pairs)
        made = layers.Bidirectional(
            one, merge_mode=layer.merge_mode, backward_layer=two, name=layer.name
        )
        made.trainable = layer.trainable
        made.build_from_config(layer.get_build_config())
        # It has made both anew, from their settings.
        for new, old in ((made.forward_layer, one), (made.backward_layer, two)):
            for variable, value in zip(new.variables, old.variables, strict=True):
                variable.assign(value)
        return made
    elif type(layer) is layers.TimeDistributed:
        within = _made(layer.layer, owners)
        if within is None:
            return None
        made = layers.TimeDistributed(within, name=layer.name, trainable=layer.trainable)
    else:
        return None
    made.build_from_config(layer.get_build_config())
    return made


def _part(old: layers.Layer, cuts: Mapping[str, Cut]) -> layers.Layer:
    """A dense layer, or a cell, with factors."""
    if isinstance(old, _DENSE):
        (cut,) = cuts.values()
        new = Factors(old, cut.rank)
        new.build_from_config(old.get_build_config())
        fill((new.inward, new.outward), old, cut)
        return new
    by = {name.rsplit(".", 1)[-1]: cut for name, cut in cuts.items()}
    names = ("kernel", "recurrent_kernel")
    ranks = tuple(by[name].rank if name in by else 0 for name in names)
    cell: Any = CELLS[type(old)].from_config({**old.get_config(), "ranks": ranks})
    for name in ("activation", "recurrent_activation"):  # which may be the user's own
        if hasattr(old, name):
            setattr(cell, name, getattr(old, name))
    cell.build_from_config(old.get_build_config())
    for name, first in zip(names, (cell.inward, cell.recurrent_inward), strict=True):
        stored, whole = getattr(cell, name), getattr(old, name)
        if first is None:
            stored.assign(whole)
        else:
            for variable, values in zip((first.kernel, stored), by[name].both(), strict=True):
                variable.assign(values)
                variable.trainable = whole.trainable
    if old.bias is not None:
        cell.bias.assign(old.bias)
    cell.trainable = old.trainable
    return cell
