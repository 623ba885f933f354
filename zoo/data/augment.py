"""Random shifts, rotations and mirror images of a batch, in the graph.

Every image of a batch moves by its own random numbers, which are a function of the seed and of the
image's position in the batch. What moves in from outside is 0, the pixel value of black.
"""

from __future__ import annotations

from typing import Self

import tensorflow as tf

from zoo import recipe


class Augment(recipe.Augment):
    """The recipe's settings, with `mirror` decided for the data set at hand."""

    mirror: bool = False

    @classmethod
    def decide(cls, settings: recipe.Augment, *, mirror: bool) -> Self:
        """Decides what `auto` means.

        Args:
            settings: The recipe's.
            mirror: Whether a mirrored image keeps its class (`DataSet.mirror`).
        """
        chosen = mirror if settings.mirror == "auto" else settings.mirror
        return cls(shift=settings.shift, rotate=settings.rotate, mirror=chosen)

    @property
    def active(self) -> bool:
        """Whether anything moves at all."""
        return bool(self.shift or self.rotate or self.mirror)


def augment(images: tf.Tensor, seed: tf.Tensor, settings: Augment) -> tf.Tensor:
    """Moves every image of a batch at random.

    Args:
        images: Pixels (b, h, w, c), uint8 or float32; b, h, w, c are static.
        seed: Two integers (2,).
        settings: How far the images move at most.

    Returns:
        Images (b, h, w, c): float32 when they rotate, else of the type that came in.
    """
    return move(images, draw(images.shape[0], seed), settings)


def draw(num: int, seed: tf.Tensor) -> tf.Tensor:
    """Draws what moves the images.

    Args:
        num: Images in the whole batch, over all replicas.
        seed: Two integers (2,).

    Returns:
        Uniform numbers in [0, 1) (num, 4), float32, for shift down, shift right, angle and mirror.
    """
    return tf.random.stateless_uniform((num, 4), seed)


def move(images: tf.Tensor, chance: tf.Tensor, settings: Augment) -> tf.Tensor:
    """Moves every image by its row of `draw`.

    Args:
        images: Pixels (b, h, w, c), uint8 or float32; the shape is static.
        chance: Rows of `draw` (b, 4).
        settings: How far the images move at most.

    Returns:
        Images (b, h, w, c): float32 when they rotate, else of the type that came in.
    """
    span = 2 * settings.shift + 1
    down, right = (
        tf.cast(tf.floor(chance[:, axis] * span), tf.int32) - settings.shift for axis in (0, 1)
    )
    angle = (2 * chance[:, 2] - 1) * (settings.rotate * 3.141592653589793 / 180)
    flip = (chance[:, 3] < 0.5) if settings.mirror else tf.zeros_like(chance[:, 3], tf.bool)
    if settings.rotate:
        return _transform(images, down, right, angle, flip)
    return _gather(images, down, right, flip, margin=settings.shift)


def _gather(
    images: tf.Tensor, down: tf.Tensor, right: tf.Tensor, flip: tf.Tensor, *, margin: int
) -> tf.Tensor:
    """Shifts by whole pixels and flips. One flat gather: cropping by `batch_dims` is far slower."""
    num, height, width, channels = images.shape
    padded = tf.pad(images, [[0, 0], [margin, margin], [margin, margin], [0, 0]])
    tall, wide = height + 2 * margin, width + 2 * margin
    columns = tf.range(width)[None]  # (1, w)
    columns = tf.where(flip[:, None], width - 1 - columns, columns)  # (b, w)
    columns += (margin - right)[:, None]
    rows = tf.range(height)[None] + (margin - down)[:, None]  # (b, h)
    rows += tf.range(num)[:, None] * tall
    where = rows[:, :, None] * wide + columns[:, None]  # (b, h, w)
    return tf.gather(tf.reshape(padded, (num * tall * wide, channels)), where)


def _transform(
    images: tf.Tensor, down: tf.Tensor, right: tf.Tensor, angle: tf.Tensor, flip: tf.Tensor
) -> tf.Tensor:
    """Flips, rotates about the centre, then shifts; one bilinear interpolation does all three."""
    _, height, width, _ = images.shape
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    sign = tf.where(flip, -1.0, 1.0)
    cos, sin = tf.cos(angle), tf.sin(angle)
    # The inverse map, from a pixel (x, y) of the result to its origin:
    # (x', y') = flip(rotate(-angle, (x, y) - shift - middle)) + middle.
    a, b, d, e = sign * cos, sign * sin, -sin, cos
    x0 = tf.cast(right, tf.float32) + middle_x
    y0 = tf.cast(down, tf.float32) + middle_y
    zero = tf.zeros_like(angle)
    matrix = [a, b, middle_x - a * x0 - b * y0, d, e, middle_y - d * x0 - e * y0, zero, zero]
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack(matrix, axis=1),  # (b, 8)
        output_shape=[height, width],
        fill_value=0.0,
        interpolation="BILINEAR",
        fill_mode="CONSTANT",
    )
