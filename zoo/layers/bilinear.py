"""Kernels of transposed convolutions that interpolate, and the initializer that begins with them.

Source: Long et al. 2015, arXiv:1411.4038, section 3.3, and the authors' `upsample_filt`. A saved
model names its initializers, so this one is registered for loading as the layers are.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np


def bilinear(side: int, channels: int) -> np.ndarray:
    """Returns the kernel of a transposed convolution that interpolates, (side, side, c, c).

    Args:
        side: Twice the factor, as in the authors' networks.
        channels: Number of maps; each is interpolated by itself.
    """
    factor = (side + 1) // 2
    middle = factor - (1.0 if side % 2 else 0.5)
    along = 1 - np.abs(np.arange(side) - middle) / factor
    kernel = np.zeros((side, side, channels, channels), np.float32)
    kernel[:, :, np.arange(channels), np.arange(channels)] = np.outer(along, along)[..., None]
    return kernel


@keras.saving.register_keras_serializable(package="zoo")
class Bilinear(keras.initializers.Initializer):
    """Begins a transposed convolution as bilinear interpolation of each map, see `bilinear`."""

    def __call__(self, shape: Sequence[int], dtype: str | None = None) -> np.ndarray:
        """Returns a kernel of a shape (side, side, channels, channels)."""
        return bilinear(shape[0], shape[2])

    def get_config(self) -> dict[str, object]:
        """There is nothing to keep."""
        return {}
