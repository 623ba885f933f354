"""Style transfer and texture synthesis: the Gram matrices of a network's maps.

Sources: textures, Gatys et al. 2015, arXiv:1505.07376; styles, Gatys et al. 2016, Image style
transfer using convolutional neural networks (CVPR), sections 2.1 to 2.3. Differs: errors are shares
of what is looked for, see `zoo.losses.pictures`; total variation is added, as in Johnson et al.
2016; in octaves, the smaller first, which Gatys et al. 2017 (arXiv:1611.07865, section 5) do too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Literal

import numpy as np
from keras import ops

from zoo.explain.pictures.descent import Loss, Painted, Watch, paint, resized
from zoo.explain.pictures.inversion import noise
from zoo.explain.pictures.ways import ALIKE, STYLE, TEXTURE, Blend, Descent
from zoo.losses.pictures import gram, relative, variation
from zoo.models.perception import Perception, Pooling


def style(
    eyes: Perception,
    content: np.ndarray,
    look: np.ndarray,
    *,
    blend: Blend | None = None,
    start: Literal["content", "noise"] = "content",
    how: Descent | None = None,
    watch: Watch | None = None,
) -> Painted:
    """Returns a picture of what one shows in the manner of another.

    Args:
        eyes: The network.
        content: Intensities (height, width, channels).
        look: The picture whose manner it is; of any size.
        blend: What it is judged by.
        start: What it begins with; the noise is drawn by the way's seed.
        how: The way.
        watch: See `paint`.

    Raises:
        ValueError: There is no such layer, or it cannot be had at this size.
    """
    blend, how = blend or Blend(), how or STYLE
    paths, middle = blend.paths(eyes)

    def loss_at(size: tuple[int, int]) -> Loss:
        net = eyes.at([*paths, middle], size, pooling=blend.pooling)
        wanted = _grams(eyes, look, size, content.shape, paths, blend.pooling)
        shown = net(resized(content, size)[None])[middle]

        def loss(x: Any) -> dict[str, Any]:
            maps = net(x)
            return {
                "content": blend.content * relative(maps[middle], shown),
                "style": blend.style * _manner(maps, wanted),
                "variation": blend.variation * variation(x),
            }

        return loss

    base = content if start == "content" else noise(content.shape, how.seed)
    return paint(np.asarray(base, np.float32), loss_at, how, watch=watch)


def texture(
    eyes: Perception,
    look: np.ndarray,
    *,
    size: tuple[int, int] | None = None,
    blend: Blend | None = None,
    how: Descent | None = None,
    watch: Watch | None = None,
) -> Painted:
    """Returns more of a texture, from noise.

    Args:
        eyes: The network.
        look: The texture, intensities (height, width, channels).
        size: Height and width of what is made; `None`: those of the texture.
        blend: Its layers, pooling and weights; that of the content does not count.
        how: The way; its seed is the noise's too.
        watch: See `paint`.

    Raises:
        ValueError: There is no such layer, or it cannot be had at this size.
    """
    blend, how = blend or ALIKE, how or TEXTURE
    paths, _ = blend.paths(eyes)
    whole = size or look.shape[:2]

    def loss_at(size: tuple[int, int]) -> Loss:
        net = eyes.at(paths, size, pooling=blend.pooling)
        wanted = _grams(eyes, look, size, whole, paths, blend.pooling)
        return lambda x: {
            "style": blend.style * _manner(net(x), wanted),
            "variation": blend.variation * variation(x),
        }

    return paint(noise((*whole, eyes.channels), how.seed), loss_at, how, watch=watch)


def _manner(maps: Mapping[str, Any], wanted: Mapping[str, Any]) -> Any:
    """Mean error of the Gram matrices, (b,)."""
    errors = [relative(gram(maps[path]), one) for path, one in wanted.items()]
    return ops.mean(ops.stack(errors), axis=0)


def _grams(
    eyes: Perception,
    look: np.ndarray,
    size: tuple[int, int],
    whole: tuple[int, ...],
    paths: Sequence[str],
    pooling: Pooling,
) -> dict[str, Any]:
    """Gram matrices of a manner, as many times smaller as the picture is in this octave."""
    share = size[0] / whole[0]
    own = tuple(max(round(side * share), 1) for side in look.shape[:2])
    maps = eyes.at(paths, (own[0], own[1]), pooling=pooling)(resized(look, (own[0], own[1]))[None])
    return {path: gram(maps[path]) for path in paths}
