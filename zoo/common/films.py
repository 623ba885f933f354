"""Animated pictures: how files of them are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from PIL import Image


def save_gif(pictures: Sequence[Image.Image], path: Any, *, seconds: float) -> None:
    """Writes an animated GIF that repeats for ever.

    Args:
        pictures: At least one, of equal size.
        path: The file to write.
        seconds: Time of each picture; viewers show at most 50 in a second.
    """
    flat = [picture.quantize(colors=32, dither=Image.Dither.NONE) for picture in pictures]
    flat[0].save(
        path, format="GIF", save_all=True, append_images=flat[1:], loop=0,
        duration=max(20, round(1000 * seconds)),
    )  # fmt: skip
