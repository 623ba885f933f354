"""Layers whose kernels are products of two smaller ones, where they stand within other layers.

    dense       y = act((x U) V + b)                two layers of Keras, one behind the other
    cells       z = (x U) V + (h U') V' + b         either pair, or both
    the rest    of a layer made of others, e.g. attention, the dense layers within it are such pairs

Source: Sainath et al. 2013, ICASSP, "Low-rank matrix factorization for deep neural network
training"; of cells Lu, Sindhwani & Sainath 2016, arXiv:1604.02594, section 3.
Differs: of a cell the two factors of a recurrent kernel are its own; its output is as wide as ever.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
from keras import layers, ops

from compress.graph.anew import made_anew
from compress.graph.kernels import kernels_in
from compress.graph.limits import passing
from compress.layers.parametrized import Around


class Terms(NamedTuple):
    """The equation of an einsum dense layer as two, see `terms`."""

    first: str
    second: str


def terms(equation: str) -> Terms | None:
    """Writes an equation as two: the kernel's inputs to one letter, and that to its outputs.

    `abc,cde->abde` becomes `abc,cz->abz` and `abz,zde->abde`.

    Args:
        equation: Of `keras.layers.EinsumDense`.

    Returns:
        Both; `None` where a letter of the kernel is one of the input and of the output: it is then
        not one product.
    """
    left, output = equation.replace(" ", "").split("->")
    given, kernel = left.split(",")
    summed = [letter for letter in kernel if letter not in output]
    made = [letter for letter in kernel if letter in output]
    if not summed or not made or any(letter in given for letter in made):
        return None
    new = next(letter for letter in "zyxwvutsrqponmlkjihgfedcba" if letter not in equation)
    between = "".join(letter for letter in given if letter not in summed)
    # The dots stay where they are; the new letter is the last, but for dots at the end.
    dots = "..." if between.endswith("...") and given.endswith("...") else ""
    between = f"{between.removesuffix(dots) if dots else between}{new}{dots}"
    first = f"{given},{''.join(summed)}{new}->{between}"
    return Terms(first, f"{between},{new}{''.join(made)}->{output}")


def pair(layer: layers.Layer, rank: int, *, suffix: str = "_u") -> list[layers.Layer] | None:
    """Returns two layers, not built, that stand for a dense or an einsum dense layer.

    The first is named with `suffix` and has neither bias nor activation; the second has the name.

    Args:
        layer: Stays as it is.
        rank: What they have between them.
        suffix: Of the first.

    Returns:
        `None` where the layer's equation is not one product.
    """
    first = {
        "kernel_regularizer": layer.kernel_regularizer,
        "name": layer.name + suffix,
        "dtype": layer.dtype_policy,
        "trainable": layer.trainable,
    }
    if not isinstance(layer, layers.EinsumDense):
        return [layers.Dense(rank, use_bias=False, **first), made_anew(layer)]
    split = terms(layer.equation)
    if split is None:
        return None
    letters, output = (
        one.split("->")[1].replace("...", "")["..." not in one :]  # without the batch
        for one in (split.first, layer.equation.replace(" ", ""))
    )
    new = split.second.split(",")[1][0]
    known = dict(zip(output, layer.partial_output_shape, strict=True))
    shape = [rank if letter == new else known.get(letter) for letter in letters]
    inward = layers.EinsumDense(split.first, shape, **first)
    return [inward, made_anew(layer, equation=split.second)]


@keras.saving.register_keras_serializable(package="compress")
class Factors(layers.Layer):
    """A dense or einsum dense layer whose kernel is a product, as a part of another layer.

    Args:
        layer: The layer; of it the class and the settings are used.
        rank: Columns of the first factor.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Attributes:
        inward: Multiplies by the first factor.
        outward: Multiplies by the second one; it has the bias and the activation.
    """

    def __init__(self, layer: layers.Layer, rank: int, **kwargs: Any) -> None:
        both = pair(layer, rank)
        if both is None:
            raise ValueError(f"Factors: {layer.equation!r} is not one product.")
        facts = {"dtype": layer.dtype_policy, "trainable": layer.trainable}
        super().__init__(**{"name": layer.name, **facts, **kwargs})
        self._whole = keras.saving.serialize_keras_object(layer)
        self._whole.pop("build_config", None)
        self.rank = rank
        self.inward, self.outward = both
        self.supports_masking = True

    def build(self, input_shape: Any) -> None:
        """Builds both."""
        self.inward.build(input_shape)
        self.outward.build(self.inward.compute_output_shape(input_shape))
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Multiplies twice."""
        return self.outward(self.inward(inputs))

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of what the layer returns."""
        return self.outward.compute_output_shape(self.inward.compute_output_shape(input_shape))

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "layer": self._whole, "rank": self.rank}

    @classmethod
    def from_config(cls, config: dict[str, Any]) -> Factors:
        """Builds the layer that is meant, then this one."""
        return cls(**{**config, "layer": keras.saving.deserialize_keras_object(config["layer"])})


class LowRankCell:
    """What the three cells share: a kernel of fewer rows, and what multiplies before it.

    Args:
        *args: Of the cell.
        ranks: Of the kernel and of the recurrent kernel; 0 where it is whole.
        **kwargs: Of the cell.
    """

    def __init__(self, *args: Any, ranks: tuple[int, int] = (0, 0), **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.ranks = (int(ranks[0]), int(ranks[1]))
        self.inward, self.recurrent_inward = (
            layers.Dense(rank, use_bias=False, kernel_regularizer=penalty, name=name,
                         dtype=self.dtype_policy) if rank else None  # type: ignore[attr-defined]
            for rank, penalty, name in zip(
                self.ranks,
                (self.kernel_regularizer, self.recurrent_regularizer),  # type: ignore[attr-defined]
                ("inward", "recurrent_inward"),
                strict=True,
            )
        )  # fmt: skip

    def build(self, input_shape: Any) -> None:
        """Builds the cell, whose kernels read what the first factors give."""
        super().build((*input_shape[:-1], self.ranks[0] or input_shape[-1]))  # type: ignore[misc]
        if self.inward is not None:
            self.inward.build(input_shape)
        if self.recurrent_inward is not None:
            self.recurrent_inward.build((None, self.units))  # type: ignore[attr-defined]

    def add_weight(self, shape: Any = None, *args: Any, name: Any = None, **kwargs: Any) -> Any:
        """Makes a weight; of the recurrent kernel as many rows as the rank."""
        if name == "recurrent_kernel" and self.ranks[1]:
            shape = (self.ranks[1], shape[-1])
        return super().add_weight(shape, *args, name=name, **kwargs)  # type: ignore[misc]

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """One step; all gates have the same dropout."""
        nested = isinstance(states, (list, tuple))
        first, *rest = states if nested else [states]
        back = self.back(first, training)
        x = self.into(inputs, training)  # what was to be dropped is, so that the cell drops nothing
        return super().call(x, [back, *rest] if nested else back)  # type: ignore[misc]

    def into(self, inputs: Any, training: bool) -> Any:
        """Multiplies by the first factor of the kernel."""
        if training and self.dropout:  # type: ignore[attr-defined]
            inputs = inputs * _one(self.get_dropout_mask(inputs))  # type: ignore[attr-defined]
        return inputs if self.inward is None else self.inward(inputs)

    def back(self, state: Any, training: bool) -> Any:
        """Multiplies by the first factor of the recurrent kernel."""
        if training and self.recurrent_dropout:  # type: ignore[attr-defined]
            mask = self.get_recurrent_dropout_mask(state)  # type: ignore[attr-defined]
            state = state * _one(mask)
        return state if self.recurrent_inward is None else self.recurrent_inward(state)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this cell again."""
        return {**super().get_config(), "ranks": list(self.ranks)}  # type: ignore[misc]


@keras.saving.register_keras_serializable(package="compress")
class LowRankSimpleRNNCell(LowRankCell, layers.SimpleRNNCell):
    """`keras.layers.SimpleRNNCell` with `ranks`."""


@keras.saving.register_keras_serializable(package="compress")
class LowRankLSTMCell(LowRankCell, layers.LSTMCell):
    """`keras.layers.LSTMCell` with `ranks`."""


@keras.saving.register_keras_serializable(package="compress")
class LowRankGRUCell(LowRankCell, layers.GRUCell):
    """`keras.layers.GRUCell` with `ranks`; its state is mixed as well as multiplied."""

    def call(self, inputs: Any, states: Any, training: bool = False) -> Any:
        """One step."""
        nested = isinstance(states, (list, tuple))
        old = states[0] if nested else states
        bias = back_bias = 0.0
        if self.use_bias:
            bias, back_bias = (self.bias[0], self.bias[1]) if self.reset_after else (self.bias, 0.0)

        def back(state: Any, kernel: Any) -> Any:
            return ops.matmul(self.back(state, training), kernel)

        x = self.into(inputs, training)
        x_z, x_r, x_h = ops.split(ops.matmul(x, self.kernel) + bias, 3, axis=-1)
        kernel, gates = self.recurrent_kernel, 2 * self.units
        if self.reset_after:
            h_z, h_r, h_h = ops.split(back(old, kernel) + back_bias, 3, axis=-1)
            h_h = self.recurrent_activation(x_r + h_r) * h_h
        else:
            h_z, h_r = ops.split(back(old, kernel[:, :gates]), 2, axis=-1)
            h_h = back(self.recurrent_activation(x_r + h_r) * old, kernel[:, gates:])
        share = self.recurrent_activation(x_z + h_z)
        new = share * old + (1 - share) * self.activation(x_h + h_h)
        return new, [new] if nested else new


CELLS: dict[type, Any] = {
    layers.SimpleRNNCell: LowRankSimpleRNNCell,
    layers.LSTMCell: LowRankLSTMCell,
    layers.GRUCell: LowRankGRUCell,
}


@keras.saving.register_keras_serializable(package="compress")
class Factored(Around):
    """A layer made of others, e.g. attention, with `Factors` in the place of some of them.

    It is called as the layer is, and returns what that returns.

    Args:
        layer: Stays what it is, but for those parts.
        ranks: By the name of a part's kernel, see `compress.graph.kernels.kernels_in`.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, layer: layers.Layer, ranks: Mapping[str, int], **kwargs: Any) -> None:
        super().__init__(layer, **kwargs)
        self.ranks = dict(ranks)

    def build(self, *shapes: Any, **named: Any) -> None:
        """Builds the layer, then exchanges its parts."""
        if not self.layer.built:
            self.layer.build(*shapes, **named)
            self.layer.built = True
        self.exchange({})
        self.built = True

    def exchange(self, parts: Mapping[str, layers.Layer]) -> None:
        """Puts parts in their places.

        Args:
            parts: By the name of a kernel; those that are not named are made, not yet filled.
        """
        found = kernels_in(self.layer)
        new: dict[int, layers.Layer] = {}
        for name, rank in self.ranks.items():
            if name not in found:  # its settings hold the part already
                continue
            owner = found[name][0]
            made = parts.get(name) or Factors(owner, rank)
            if not made.built:
                made.build(owner.get_build_config()["input_shape"])
            new[id(owner)] = made
        put(self.layer, new, set())

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "ranks": self.ranks}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Factored:
        """Builds the layer whole, then exchanges its parts."""
        inner = dict(config["layer"])
        shapes = inner.pop("build_config", None)
        layer = keras.saving.deserialize_keras_object(inner, custom_objects=custom_objects)
        with passing(layer):
            if shapes:
                layer.build_from_config(shapes)
            made = cls(**{**config, "layer": layer})
            if layer.built:
                made.exchange({})
        return made


def put(layer: layers.Layer, new: Mapping[int, layers.Layer], seen: set[int]) -> None:
    """Exchanges parts of a built layer, at any depth, wherever they stand in it.

    Args:
        layer: Is changed.
        new: What takes the place of a part, by its id.
        seen: Ids of layers that are done.
    """
    if id(layer) in seen or not new:
        return
    seen.add(id(layer))

    def exchanged(value: Any) -> Any:
        if id(value) in new:
            layer._tracker.untrack(value)
            return new[id(value)]
        if isinstance(value, layers.Layer):
            put(value, new, seen)
        return value

    for name, value in list(vars(layer).items()):
        if name.startswith("_inbound") or name in ("_layers", "_metrics", "_tracker"):
            continue
        several = isinstance(value, (list, tuple))
        if several and any(isinstance(one, layers.Layer) for one in value):
            changed: Any = [exchanged(one) for one in value]
            same = all(a is b for a, b in zip(changed, value, strict=True))
        elif isinstance(value, layers.Layer):
            changed, same = exchanged(value), id(value) not in new
        else:
            continue
        if not same:
            layer._tracker.unlock()
            setattr(layer, name, changed)
            layer._tracker.lock()


def _one(mask: Any) -> Any:
    """The mask of all gates."""
    return mask[0] if isinstance(mask, list) else mask
