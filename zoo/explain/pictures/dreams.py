"""DeepDream: a picture in which a layer finds more and more of what it knows.

Source: Mordvintsev et al. 2015, "Inceptionism: going deeper into neural networks" (Google Research
blog), and its notebook: the squared answers of a layer are climbed, in octaves of a ratio of 1.4,
by steps of the gradient over its mean size, the picture moved a little before each.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
from keras import ops

from zoo.explain.pictures.descent import Loss, Painted, Watch, paint
from zoo.explain.pictures.ways import DREAM, Descent
from zoo.models.perception import Perception


def dream(
    eyes: Perception,
    picture: np.ndarray,
    layers: Sequence[str],
    *,
    how: Descent | None = None,
    watch: Watch | None = None,
) -> Painted:
    """Returns a picture in which layers answer more strongly.

    Args:
        eyes: The network.
        picture: Where it starts, intensities (height, width, channels).
        layers: Those that give maps; their answers are added up.
        how: The way.
        watch: See `paint`.

    Returns:
        The picture; its losses are minus the mean squares of the layers' answers.

    Raises:
        ValueError: There is no such layer, or it cannot be had at this size.
    """
    paths = [eyes.find_layer(layer) for layer in layers]

    def loss_at(size: tuple[int, int]) -> Loss:
        net = eyes.at(paths, size)

        def loss(x: Any) -> dict[str, Any]:
            maps = net(x)
            return {path: -ops.mean(ops.square(ops.cast(maps[path], "float32"))) for path in paths}

        return loss

    return paint(picture, loss_at, how or DREAM, watch=watch)
