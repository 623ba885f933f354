"""Points out of maps, and windows around points."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras
import numpy as np
from keras import KerasTensor, ops

from zoo.layers.places import PlacesLayer


@keras.saving.register_keras_serializable(package="zoo")
class SoftArgmax(PlacesLayer):
    """The mean place under each map's softmax (Sun et al. 2018, arXiv:1711.08229, equation 2).

    Shapes: (batch, height, width, points) to (batch, points, 2), y x in fractions of the sides. The
    sides must be known.
    """

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See the class."""
        _, height, width, num = inputs.shape
        shares = ops.softmax(ops.reshape(inputs, (-1, height * width, num)), axis=1)
        y, x = np.meshgrid(
            (np.arange(height) + 0.5) / height, (np.arange(width) + 0.5) / width, indexing="ij"
        )
        places = np.stack([y.ravel(), x.ravel()], axis=-1).astype(np.float32)  # (places, 2)
        return ops.matmul(ops.transpose(shares, (0, 2, 1)), ops.convert_to_tensor(places))

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, points, 2)."""
        return input_shape[0], input_shape[-1], 2


@keras.saving.register_keras_serializable(package="zoo")
class Windows(PlacesLayer):
    """A window of fixed size around each point, whose place no gradient moves.

    Shapes: (batch, points, 2), y x in fractions, to (batch, points, 4), y1 x1 y2 x2 in pixels; a
    window may reach out of the picture.

    Args:
        side: Height and width of the picture.
        share: Height and width of a window, as a share of the picture's.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(self, side: Sequence[int], *, share: float, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self.side, self.share = (side[0], side[1]), share

    def call(self, inputs: KerasTensor) -> KerasTensor:
        """See the class."""
        scale = ops.convert_to_tensor(self.side, dtype=self.compute_dtype)
        points, half = ops.stop_gradient(inputs) * scale, scale * (self.share / 2)
        return ops.concatenate([points - half, points + half], axis=-1)

    def compute_output_shape(self, input_shape: tuple[Any, ...]) -> tuple[Any, ...]:
        """(batch, points, 4)."""
        return *input_shape[:2], 4

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {**super().get_config(), "side": self.side, "share": self.share}
