"""Brings images to one size and to a number of channels."""

from __future__ import annotations

import numpy as np
from PIL import Image

PAD = 8
"""Images up to this many pixels short of the size are padded, not resized."""


def pixels(image: Image.Image, *, size: int, channels: int) -> np.ndarray:
    """Returns the pixels of an RGB picture (size, size, channels), uint8.

    Args:
        image: A picture in mode RGB.
        size: Side in pixels, see `fit`.
        channels: 3, or 1 for grey by ITU-R 601 luma.
    """
    array = np.asarray(image if channels == 3 else image.convert("L"))
    images = fit(array.reshape(1, image.height, image.width, channels), size)
    return images.reshape(size, size, channels)


def recolour(images: np.ndarray, channels: int) -> np.ndarray:
    """Brings images to a number of channels.

    Grey is repeated for red, green and blue; colour becomes grey by ITU-R 601 luma, bit for bit as
    Pillow does it.

    Args:
        images: Pixels (n, height, width, 1 or 3), uint8.
        channels: 1 or 3.

    Returns:
        Pixels (n, height, width, channels), uint8.
    """
    if images.shape[-1] == channels:
        return images
    if channels == 3:
        return np.repeat(images, 3, axis=-1)
    grey = np.empty((*images.shape[:-1], 1), np.uint8)
    for source, target in zip(images, grey, strict=True):
        target[..., 0] = np.asarray(Image.fromarray(source).convert("L"))
    return grey


def fit(images: np.ndarray, size: int) -> np.ndarray:
    """Brings images to a square of `size` pixels.

    When no side is longer than `size` nor more than `PAD` pixels shorter, zeros are added evenly on
    both sides (28 to 32 keeps every pixel of a digit). Otherwise the whole image is resized by
    Pillow's bilinear filter, which averages when it shrinks; other proportions are stretched.

    Args:
        images: Pixels (n, height, width, channels), uint8; 1 or 3 channels.
        size: Side in pixels.

    Returns:
        Pixels (n, size, size, channels), uint8.
    """
    num, height, width, channels = images.shape
    if height == width == size:
        return images
    if 0 <= size - height <= PAD and 0 <= size - width <= PAD:
        top, left = (size - height) // 2, (size - width) // 2
        padded = np.zeros((num, size, size, channels), np.uint8)
        padded[:, top : top + height, left : left + width] = images
        return padded
    resized = np.empty((num, size, size, channels), np.uint8)
    for source, target in zip(images, resized, strict=True):
        picture = Image.fromarray(source if channels == 3 else source[..., 0])
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        target[:] = np.asarray(picture).reshape(target.shape)
    return resized
