"""A layer whose kernel is computed: masked, shared, quantised, or made of signs.

One mechanism for every technique that trains through a function of the weights. PyTorch calls it a
parametrization (`torch.nn.utils.parametrize`). The gradient reaches what the function reads: the
stored kernel, or variables of its own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import keras
import numpy as np
from keras import layers

from compress.graph.kernels import clone_layer, kernel_of


class Parametrization(layers.Layer):
    """A function from a kernel to a kernel of equal shape, in float32, with variables of its own.

    Attributes:
        replaces: Whether it makes the kernel up, and does not read the one it is given.
        holds: Whether it only keeps what a kernel has: what it returns is what will be stored, and
            what a regularizer of the kernel is to see.
        constraint: Put on the stored kernel after each step of training; `None` for nothing.
    """

    replaces = False
    holds = False
    constraint: Callable[[Any], Any] | None = None

    def __init__(self, **kwargs: Any) -> None:
        super().__init__(**{**kwargs, "dtype": "float32"})

    def read(self, kernel: np.ndarray) -> None:
        """Starts the variables, built, from a kernel."""

    def compute_output_shape(self, input_shape: tuple[int, ...]) -> tuple[int, ...]:
        """The shape of the kernel."""
        return input_shape


@keras.saving.register_keras_serializable(package="compress")
class Parametrized(layers.Wrapper):
    """A layer that computes its kernel anew in every call.

    Shapes: those of the layer. It is in the graph under the layer's own name. It is frozen where
    the layer is, and adds its losses: the penalty on a kernel is on the computed one as far as the
    chain only holds, as masks and shared values do; of rounded kernels, and of those of a few
    signs, on what is stored.

    Args:
        layer: Has a kernel, see `compress.graph.kernels`.
        chain: Applied to the kernel in turn, each to what the one before returns.
        **kwargs: Keyword arguments of `keras.layers.Layer`. A `dtype` is passed on to the
            layer; the chain is computed in float32 whatever it is.
    """

    def __init__(
        self, layer: layers.Layer, chain: Sequence[Parametrization], **kwargs: Any
    ) -> None:
        if "dtype" in kwargs:
            layer.dtype_policy = keras.dtype_policies.get(kwargs["dtype"])
        kwargs = {"trainable": layer.trainable, **kwargs}
        super().__init__(layer, **{**kwargs, "dtype": "float32", "name": layer.name})
        self.autocast = False  # or the chain reads the kernel in half precision
        self.supports_masking = layer.supports_masking
        self.chain = list(chain)
        self.see: Any = None  # takes the inputs, while errors are measured

    def build(self, input_shape: Any = None) -> None:
        """Builds the layer, then the chain on its kernel."""
        super().build(input_shape)
        kernel = kernel_of(self.layer)
        for part in self.chain:
            if not part.built:
                part.build(tuple(kernel.shape))
                part.built = True
            kernel.constraint = part.constraint or kernel.constraint
        if not (self.trainable and kernel.trainable):
            for part in self.chain:
                part.trainable = False
        learnt = kernel
        for part in self.chain:
            if part.replaces:
                kernel.trainable = False  # nothing reads it
                learnt = next(iter(part.weights), kernel)
        if kernel.regularizer is not None:
            # Keras asks the variables that learn for their penalties.
            learnt.regularizer = _Penalty(self, kernel.regularizer)
            if learnt is not kernel:
                kernel.regularizer = None
        self.built = True

    @property
    def within(self) -> layers.Layer:
        """The layer whose kernel is computed."""
        return self.layer

    @property
    def learns(self) -> bool:
        """Whether the kernel is one to train: it is not frozen."""
        replaced = [part for part in self.chain if part.replaces]
        if replaced:
            return any(part.trainable_weights for part in replaced)
        return bool(kernel_of(self.layer).trainable)

    def kernel(self, *, held: bool = False) -> Any:
        """Returns what the chain makes of the stored kernel, a tensor in float32.

        Args:
            held: Whether only the first parts count, those that hold.
        """
        kernel = keras.ops.convert_to_tensor(kernel_of(self.layer))
        for part in self.chain:
            if held and not part.holds:
                break
            kernel = part(kernel)
        return kernel

    def call(self, inputs: Any, training: bool = False) -> Any:
        """Calls the layer with the computed kernel."""
        if self.see is not None:
            self.see(inputs)
        computed = [(kernel_of(self.layer), self.kernel())]
        with keras.StatelessScope(state_mapping=computed, collect_losses=True) as scope:
            outputs = self.layer(inputs)
        for loss in scope.losses:  # of the activity
            self.add_loss(loss)
        return outputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of what the layer returns."""
        return self.layer.compute_output_shape(input_shape)

    def compute_mask(self, inputs: Any, previous_mask: Any = None) -> Any:
        """The mask that the layer passes on, or makes."""
        return self.layer.compute_mask(inputs, previous_mask)

    def plain(self, *, keep: int = 0) -> layers.Layer:
        """Returns a layer of the inner class whose kernel is what the chain computes.

        Args:
            keep: How many parts, the last ones, stay a chain of their own.
        """
        twin, end = clone_layer(self.layer), len(self.chain) - keep
        kernel = keras.ops.convert_to_tensor(kernel_of(self.layer))
        for part in self.chain[:end]:
            kernel = part(kernel)
        kernel_of(twin).assign(kernel)
        kernel_of(twin).trainable = self.learns
        if not keep:
            return twin
        wrapped = Parametrized(twin, [clone_layer(part) for part in self.chain[end:]])
        wrapped.build()
        return wrapped

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        chain = [keras.saving.serialize_keras_object(part) for part in self.chain]
        policy = keras.saving.serialize_keras_object(self.layer.dtype_policy)
        return {**super().get_config(), "dtype": policy, "chain": chain}

    @classmethod
    def from_config(cls, config: dict[str, Any], custom_objects: Any = None) -> Parametrized:
        """Builds the layer, and the parts of its chain."""
        load = keras.saving.deserialize_keras_object
        parts = {
            "layer": load(config["layer"], custom_objects=custom_objects),
            "chain": [load(part, custom_objects=custom_objects) for part in config["chain"]],
        }
        return cls(**{**config, **parts})


class _Penalty:
    """What a kernel's regularizer says of the kernel that a layer computes."""

    def __init__(self, layer: Parametrized, regularizer: Callable[[Any], Any]) -> None:
        self._layer, self._regularizer = layer, regularizer

    def __call__(self, _: Any) -> Any:
        return self._regularizer(self._layer.kernel(held=True))
