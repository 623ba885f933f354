"""Kernels of which some weights stay zero.

`Masked` is for a kernel that one layer reads, which it computes. What is trained as it is stored
has a `MaskConstraint`, which Keras optimizers apply. Where several layers read it, `TiedZeros` has
its mask too, which is saved with the model.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import keras
import numpy as np
from keras import ops

from compress.layers.parametrized import Parametrization

UNDONE = 0.01  # share of a kernel that may have come back, as averages of weights do


@keras.saving.register_keras_serializable(package="compress")
class Masked(Parametrization):
    """What is masked is zero and gets no gradient.

    Attributes:
        mask: Mask in the kernel's shape, bool: whether a weight is kept.
    """

    holds = True

    def build(self, input_shape: tuple[int, ...]) -> None:
        """Makes a mask that keeps everything."""
        self.mask = self.add_weight(
            shape=input_shape, initializer="ones", dtype="bool", trainable=False, name="mask"
        )

    def read(self, kernel: np.ndarray) -> None:
        """Keeps what is not zero."""
        self.mask.assign(kernel != 0)

    def call(self, kernel: Any) -> Any:
        """Masks a kernel."""
        return kernel * ops.cast(self.mask, kernel.dtype)  # faster than `where`, both ways


def outside(kernel: keras.Variable, mask: keras.Variable) -> float:
    """Returns the share of a kernel that lies where its mask has zeros, by the squares."""
    squares = ops.square(ops.cast(kernel, "float32"))
    lost = ops.sum(squares * (1 - ops.cast(mask, "float32")))
    return float(ops.convert_to_numpy(lost / ops.maximum(ops.sum(squares), 1e-30)))


class MaskConstraint:
    """A constraint that keeps masked weights at zero, after the constraint that was there.

    Args:
        kernel: What it is put on.
        mask: Mask in the kernel's shape, 1 where a weight is kept; a new one by default, all 1.

    Attributes:
        kernel: What it is put on.
        mask: The mask, a variable.
        before: The kernel's own constraint, or None.
        applied: Whether something has called it; in a compiled step, while that was compiled.
    """

    def __init__(self, kernel: keras.Variable, mask: keras.Variable | None = None) -> None:
        if mask is None:
            mask = keras.Variable(np.ones(kernel.shape), dtype=kernel.dtype, trainable=False)
        self.kernel, self.mask = kernel, mask
        self.before: Callable[[Any], Any] | None = kernel.constraint
        self.applied = False

    def release(self) -> None:
        """Lets every weight move."""
        self.mask.assign(ops.ones_like(self.mask))

    def restore(self) -> None:
        """Gives the kernel back the constraint that was there."""
        if self.kernel.constraint is self:
            self.kernel.constraint = self.before
        self.release()  # a compiled step may still read the mask

    def __call__(self, kernel: Any) -> Any:
        """Returns the constrained kernel."""
        self.applied = True
        if self.before is not None:
            kernel = self.before(kernel)
        return kernel * ops.cast(self.mask, kernel.dtype)  # `where` takes more than twice the time


@keras.saving.register_keras_serializable(package="compress")
class TiedZeros(keras.layers.Layer):
    """The masks of kernels that several layers read, and that no layer can compute therefore.

    It stands behind an input of the model and gives on what it is given. A saved model has the
    masks by it, where the constraints of its kernels are lost.

    Args:
        shapes: Shape of each kernel by the path of its layer.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Attributes:
        masks: Mask by path, bool: whether a weight is kept.
    """

    def __init__(self, shapes: Mapping[str, tuple[int, ...]], **kwargs: Any) -> None:
        super().__init__(**{"name": "tied_zeros", **kwargs})
        self.autocast = False  # what it gives on is not its own
        self.supports_masking = True
        self.shapes = {path: tuple(shape) for path, shape in shapes.items()}
        self.masks: dict[str, keras.Variable] = {}

    def build(self, input_shape: Any = None) -> None:
        """Makes masks that keep everything."""
        for number, (path, shape) in enumerate(self.shapes.items()):
            fixed = {"initializer": "ones", "dtype": "bool", "trainable": False}
            self.masks[path] = self.add_weight(shape=shape, name=f"mask{number}", **fixed)
        self.built = True

    def call(self, inputs: Any) -> Any:
        """Gives on what it is given."""
        return inputs

    def compute_output_shape(self, input_shape: Any) -> Any:
        """The shape of the input."""
        return input_shape

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "shapes": self.shapes}
