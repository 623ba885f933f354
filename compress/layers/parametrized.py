"""A layer whose kernel is computed: masked, shared, quantised, or made of signs.

One mechanism for every technique that trains through a function of the weights. PyTorch calls it a
parametrization (`torch.nn.utils.parametrize`). The gradient reaches what the function reads: the
stored kernel, or variables of its own.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from compress.graph.kernels import clone_layer, kernels_in


class Parametrization(layers.Layer):
    """A function from a kernel to a kernel of equal shape, in float32, with variables of its own.

    Attributes:
        replaces: Whether it makes the kernel up, and does not read the one it is given.
        holds: Whether it only keeps what a kernel has: what it returns is what will be stored, and
            what a regularizer of the kernel is to see.
        constraint: Put on the stored kernel after each step of training; `None` for nothing.
        toll: Of the kernel that the part is given: what it adds to the loss; `None` for nothing.
    """

    replaces = False
    holds = False
    constraint: Callable[[Any], Any] | None = None
    toll: Callable[[Any], Any] | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def read(self, kernel: np.ndarray) -> None:
        """Starts the variables, built, from a kernel."""

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the kernel."""
        return input_shape


class Around(layers.Wrapper):
    """A layer around another one: called as it is, of the same name, frozen where that is.

    Args:
        layer: The layer.
        **kwargs: Keyword arguments of `keras.layers.Layer`. A `dtype` is passed on to the layer.
    """

    def __init__(self, layer: layers.Layer, **kwargs: Any) -> None:
        if "dtype" in kwargs:
            layer.dtype_policy = keras.dtype_policies.get(kwargs["dtype"])
        kwargs = {"trainable": layer.trainable, **kwargs}
        self.call = _like(layer.call, self._call)  # Keras passes on what the layer takes
        super().__init__(layer, **{**kwargs, "dtype": "float32", "name": layer.name})
        self.autocast = False  # or what is computed of the kernel is so in half precision
        self.supports_masking = layer.supports_masking

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        return self.layer(*args, **kwargs)

    def compute_output_spec(self, *args: Any, **kwargs: Any) -> Any:
        """What the layer returns."""
        return self.layer.compute_output_spec(*args, **kwargs)

    def compute_output_shape(self, *shapes: Any, **named: Any) -> Any:
        """The shape of what the layer returns."""
        return self.layer.compute_output_shape(*shapes, **named)

    def compute_mask(self, *inputs: Any, **named: Any) -> Any:
        """The mask that the layer passes on, or makes."""
        return self.layer.compute_mask(*inputs, **named)

    def get_build_config(self) -> dict[str, Any]:
        """What the layer is built from."""
        return {"layer": self.layer.get_build_config()}

    def build_from_config(self, config: dict[str, Any]) -> None:
        """Builds the layer as it was built."""
        if not self.layer.built:
            # Files of before have the shape of the input by itself.
            self.layer.build_from_config(config.get("layer") or config)
        self.build()

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        policy = keras.saving.serialize_keras_object(self.layer.dtype_policy)
        return {**super().get_config(), "dtype": policy}


@keras.saving.register_keras_serializable(package="compress")
class Parametrized(Around):
    """A layer that computes kernels of its own anew in every call.

    It is called as the layer is, and returns what that returns. It is in the graph under the
    layer's own name. It is frozen where the layer is, and adds its losses: the penalty on a kernel
    is on the computed one as far as the chain only holds, as masks and shared values do; of rounded
    kernels, and of those of a few signs, on what is stored.

    Args:
        layer: Has kernels, see `compress.graph.kernels`.
        chain: Applied to the kernels; those of a kernel in turn, each to what the one before
            returns.
        of: The kernel of each part of the chain, by its name in the layer; by default all are of
            the first.
        **kwargs: Keyword arguments of `keras.layers.Layer`. A `dtype` is passed on to the
            layer; the chain is computed in float32 whatever it is.
    """

    def __init__(
        self,
        layer: layers.Layer,
        chain: Sequence[Parametrization],
        of: Sequence[str] = (),
        **kwargs: Any,
    ) -> None:
        super().__init__(layer, **kwargs)
        self.chain = list(chain)
        self._of = tuple(of)
        self.see: Any = None  # takes the inputs, while errors are measured

    def build(self, *shapes: Any, **named: Any) -> None:
        """Builds the layer, then the chain on its kernels."""
        if not self.layer.built:
            self.layer.build(*shapes, **named)
            self.layer.built = True
        for part, name in self.pairs():
            kernel = self.stored(name)
            if not part.built:
                part.build(tuple(kernel.shape))
                part.built = True
            kernel.constraint = part.constraint or kernel.constraint
        for name in dict.fromkeys(self.of):
            self._let_learn(name)
        self.built = True

    def _let_learn(self, name: str) -> None:
        """Sees to it that what is trained is what is read, and is what is penalised."""
        kernel = learnt = self.stored(name)
        chain = self._chain(name)
        if not (self.trainable and kernel.trainable):
            for part in chain:
                part.trainable = False
        for part in chain:
            if part.replaces:
                kernel.trainable = False  # nothing reads it
                learnt = next(iter(part.weights), kernel)
        if kernel.regularizer is not None:
            # Keras asks the variables that learn for their penalties.
            learnt.regularizer = _Penalty(self, name, kernel.regularizer)
            if learnt is not kernel:
                kernel.regularizer = None
        for part in chain:
            if part.toll is not None:  # of its first variable, which learns
                part.weights[0].regularizer = _Penalty(self, name, part.toll)

    @property
    def within(self) -> layers.Layer:
        """The layer whose kernels are computed."""
        return self.layer

    @property
    def of(self) -> tuple[str, ...]:
        """The name of the kernel that each part of the chain is applied to."""
        return self._of or (next(iter(kernels_in(self.layer))),) * len(self.chain)

    def pairs(self) -> list[tuple[Parametrization, str]]:
        """Returns the parts of the chain, each with the name of its kernel."""
        return list(zip(self.chain, self.of, strict=True))

    def stored(self, name: str = "") -> keras.Variable:
        """Returns a stored kernel by its name; the first by default."""
        kernels = kernels_in(self.layer)
        return kernels[name or next(iter(kernels))][1]

    def learns(self, name: str = "") -> bool:
        """Returns whether a kernel is one to train: it is not frozen."""
        replaced = [part for part in self._chain(name) if part.replaces]
        if replaced:
            return any(part.trainable_weights for part in replaced)
        return bool(self.stored(name).trainable)

    def kernel(self, name: str = "", *, held: bool = False) -> Any:
        """Returns what the chain makes of a stored kernel, a tensor in float32.

        Args:
            name: Of the kernel; the first by default.
            held: Whether only the first parts count, those that hold.
        """
        kernel = keras.ops.convert_to_tensor(self.stored(name))
        for part in self._chain(name):
            if held and not part.holds:
                break
            kernel = part(kernel)
        return kernel

    def _chain(self, name: str) -> list[Parametrization]:
        name = name or next(iter(self.of), "")
        return [part for part, its in self.pairs() if its == name]

    def _call(self, *args: Any, **kwargs: Any) -> Any:
        """Calls the layer with the computed kernels."""
        if self.see is not None:
            self.see(args[0])
        computed = [(self.stored(name), self.kernel(name)) for name in dict.fromkeys(self.of)]
        with keras.StatelessScope(state_mapping=computed, collect_losses=True) as scope:
            outputs = self.layer(*args, **kwargs)
        for loss in scope.losses:  # of the activity
            self.add_loss(loss)
        for variable in self.layer.non_trainable_variables:  # e.g. the state of a dropout
            value = scope.get_current_value(variable)
            if value is not None and not any(variable is kernel for kernel, _ in computed):
                variable.assign(value)
        return outputs

    def plain(self, *, keep: int = 0) -> layers.Layer:
        """Returns a layer of the inner class whose kernels are what the chain computes.

        Args:
            keep: How many parts, the last ones, stay a chain of their own.
        """
        twin, end = clone_layer(self.layer), len(self.chain) - keep
        stored = kernels_in(twin)
        for name in dict.fromkeys(self.of):
            kernel = keras.ops.convert_to_tensor(self.stored(name))
            for part, its in self.pairs()[:end]:
                kernel = part(kernel) if its == name else kernel
            stored[name][1].assign(kernel)
            stored[name][1].trainable = self.learns(name)
        if not keep:
            return twin
        rest = [clone_layer(part) for part in self.chain[end:]]
        wrapped = Parametrized(twin, rest, self.of[end:])
        wrapped.build()
        return wrapped

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        chain = [keras.saving.serialize_keras_object(part) for part in self.chain]
        return {**super().get_config(), "chain": chain, "of": list(self.of)}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Parametrized:
        """Builds the layer, and the parts of its chain."""
        load = keras.saving.deserialize_keras_object
        parts = {
            "layer": load(config["layer"], custom_objects=custom_objects),
            "chain": [load(part, custom_objects=custom_objects) for part in config["chain"]],
        }
        return cls(**{**config, **parts})


def _like(call: Callable[..., Any], own: Callable[..., Any]) -> Callable[..., Any]:
    """A function with the signature of another, which is what Keras reads."""

    def called(*args: Any, **kwargs: Any) -> Any:
        return own(*args, **kwargs)

    called.__signature__ = inspect.signature(call)  # type: ignore[attr-defined]
    return called


class _Penalty:
    """What a kernel's regularizer says of the kernel that a layer computes."""

    def __init__(self, layer: Parametrized, name: str, regularizer: Callable[[Any], Any]) -> None:
        self._layer, self._name, self._regularizer = layer, name, regularizer

    def __call__(self, _: Any) -> Any:
        return self._regularizer(self._layer.kernel(self._name, held=True))
