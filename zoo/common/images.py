"""Brings images to one size and to a number of channels."""

from __future__ import annotations

from typing import NamedTuple

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
    place = placing(height, width, size)
    if place.whole:
        padded = np.zeros((num, size, size, channels), np.uint8)
        padded[:, *place.inside] = images
        return padded
    resized = np.empty((num, size, size, channels), np.uint8)
    for source, target in zip(images, resized, strict=True):
        picture = Image.fromarray(source if channels == 3 else source[..., 0])
        picture = picture.resize((size, size), Image.Resampling.BILINEAR)
        target[:] = np.asarray(picture).reshape(target.shape)
    return resized


class Placing(NamedTuple):
    """Where a picture lies in its square: what is at y is at y * height / from_height + top.

    Attributes:
        top: Rows above it.
        left: Columns to its left.
        height: Its rows in the square.
        width: Its columns.
        from_height: Its own height, in pixels.
        from_width: Its own width.
        side: Of the square, in pixels.
    """

    top: int
    left: int
    height: int
    width: int
    from_height: int
    from_width: int
    side: int

    @property
    def whole(self) -> bool:
        """Whether it keeps its pixels."""
        return (self.height, self.width) == (self.from_height, self.from_width)

    def points(self, points: np.ndarray) -> np.ndarray:
        """Moves points of the picture, (..., 2) of y and x, or boxes (..., 4) of y1 x1 y2 x2."""
        times = points.shape[-1] // 2
        scale = self.height / self.from_height, self.width / self.from_width
        moved: np.ndarray = points * np.tile(scale, times) + np.tile((self.top, self.left), times)
        return moved

    def back(self, points: np.ndarray) -> np.ndarray:
        """Moves points or boxes of the square into the picture's own pixels, as `points` back."""
        times = points.shape[-1] // 2
        scale = self.height / self.from_height, self.width / self.from_width
        moved: np.ndarray = (points - np.tile((self.top, self.left), times)) / np.tile(scale, times)
        return moved

    @property
    def inside(self) -> tuple[slice, slice]:
        """Which rows and columns of the square it takes."""
        return slice(self.top, self.top + self.height), slice(self.left, self.left + self.width)

    def mask(self, mask: np.ndarray, size: int) -> np.ndarray:
        """Moves a mask (from_height, from_width): a pixel takes what lies at its middle.

        Args:
            mask: Classes, or whether.
            size: Side of the square.

        Returns:
            The mask (size, size), of zeros outside of the picture.
        """
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for new, old in ((self.height, self.from_height), (self.width, self.from_width))
        )
        moved = np.zeros((size, size), mask.dtype)
        moved[self.inside] = mask[rows[:, None], columns]
        return moved

    def mask_back(self, mask: np.ndarray) -> np.ndarray:
        """Moves a mask of the square into the picture, (from_height, from_width), likewise."""
        own: np.ndarray = mask[self.inside]
        rows, columns = (
            (2 * np.arange(new) + 1) * old // (2 * new)
            for new, old in ((self.from_height, self.height), (self.from_width, self.width))
        )
        return own[rows[:, None], columns]


def placing(height: int, width: int, size: int) -> Placing:
    """Returns where `fit` puts a picture.

    Args:
        height: Of the picture, in pixels.
        width: Of the picture.
        size: Side of the square.
    """
    if 0 <= size - height <= PAD and 0 <= size - width <= PAD:
        top, left = (size - height) // 2, (size - width) // 2
        return Placing(top, left, height, width, height, width, size)
    return Placing(0, 0, size, size, height, width, size)
