"""What a layer still knows of a picture: another one that it answers to in the same way.

Source: Mahendran & Vedaldi 2015, arXiv:1412.0035, section 2: the squared error of the layer
as a share of what is looked for, the alpha-norm with alpha 6 about the middle grey, and total
variation with beta 2. Differs: L-BFGS in place of gradient descent with momentum.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

from zoo.explain.pictures.descent import Loss, Painted, Watch, paint, resized
from zoo.explain.pictures.ways import INVERT, Descent
from zoo.losses.pictures import relative, variation
from zoo.models.perception import Perception

ALPHA = 6
NOISE = 0.1  # standard deviation of the picture that is begun with, about the middle grey


def invert(
    eyes: Perception,
    picture: np.ndarray,
    layer: str,
    *,
    norm_weight: float = 0.01,
    variation_weight: float = 2.0,
    how: Descent | None = None,
    watch: Watch | None = None,
) -> Painted:
    """Returns a picture that a layer answers to as it does to the given one, from noise.

    Args:
        eyes: The network.
        picture: Intensities (height, width, channels).
        layer: One that gives maps.
        norm_weight: Weight of the alpha-norm, which keeps values within the bounds.
        variation_weight: Weight of the total variation, which keeps the picture smooth.
        how: The way; its seed is the noise's too.
        watch: See `paint`.

    Raises:
        ValueError: There is no such layer, or it cannot be had at this size.
    """
    how, path = how or INVERT, eyes.find_layer(layer)

    def loss_at(size: tuple[int, int]) -> Loss:
        net = eyes.at([path], size)
        wanted = net(resized(picture, size)[None])[path]

        def loss(x: Any) -> dict[str, Any]:
            return {
                "layer": relative(net(x)[path], wanted),
                "norm": norm_weight * ops.mean((2 * x - 1) ** ALPHA),
                "variation": variation_weight * variation(x),
            }

        return loss

    return paint(noise(picture.shape, how.seed), loss_at, how, watch=watch)


def noise(shape: tuple[int, ...], seed: int) -> np.ndarray:
    """Returns normal noise about the middle grey, float32, in [0, 1]."""
    drawn = 0.5 + NOISE * np.random.RandomState(seed).standard_normal(shape)
    return drawn.clip(0, 1).astype(np.float32)
