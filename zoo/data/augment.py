"""Random shifts, rotations and mirror images of a batch, in the graph.

Every image of a batch moves by its own random numbers, which are a function of the seed and of the
image's position in the batch. What moves in from outside is 0, the pixel value of black.
"""

from __future__ import annotations

import math

import tensorflow as tf

from zoo.recipe import Augment


def moves(settings: Augment) -> bool:
    """Whether the settings change any image.

    Raises:
        ValueError: `mirror` is `auto`; only the data set can decide it (`DataSet.mirror`).
    """
    if settings.mirror == "auto":
        raise ValueError("augment.mirror: got 'auto'; expected True or False, see DataSet.mirror.")
    return bool(settings.shift or settings.rotate or settings.mirror)


def augment(images: tf.Tensor, seed: tf.Tensor, settings: Augment) -> tf.Tensor:
    """Moves every image of a batch at random.

    Args:
        images: Pixels (b, h, w, c), uint8 or float32; the shape is static.
        seed: Two integers (2,).
        settings: How far the images move at most.

    Returns:
        Images (b, h, w, c): float32 when they rotate, else of the type that came in.

    Raises:
        ValueError: `mirror` is `auto`.
    """
    if not moves(settings):
        return images
    return move(images, draw(images.shape[0], seed, settings), settings)


def draw(num: int, seed: tf.Tensor, settings: Augment) -> tf.Tensor:
    """Draws a motion for every image of a whole batch, over all replicas.

    Args:
        num: Images in the batch.
        seed: Two integers (2,).
        settings: How far the images move at most.

    Returns:
        Motions (num, 5), float32: shift down and right in whole pixels, cosine and sine of the
        clockwise angle, and -1 for a mirror image, else 1.
    """
    down, right, turn, flip = tf.unstack(tf.random.stateless_uniform((num, 4), seed), axis=1)
    span = 2 * settings.shift + 1
    angle = (2 * turn - 1) * math.radians(settings.rotate)
    sign = tf.where(flip < 0.5, -1.0, 1.0) if settings.mirror else tf.ones_like(flip)
    shifts = [tf.floor(share * span) - settings.shift for share in (down, right)]
    return tf.stack([*shifts, tf.cos(angle), tf.sin(angle), sign], axis=1)


def move(
    images: tf.Tensor,
    motions: tf.Tensor,
    settings: Augment,
    *,
    outside: int = 0,
    nearest: bool = False,
) -> tf.Tensor:
    """Mirrors, rotates about the centre, then shifts every image by its motion.

    Args:
        images: Pixels (b, h, w, c), uint8 or float32; the shape is static.
        motions: Rows of `draw` (b, 5).
        settings: Settings that the motions were drawn with.
        outside: Value of what moves in from outside.
        nearest: Whether a rotation takes the nearest pixel, as the classes of a mask need, in place
            of interpolating.

    Returns:
        Images (b, h, w, c): float32 when they rotate and are interpolated, else of the type that
        came in.
    """
    if settings.rotate:
        moved = _transform(images, motions, outside=outside, nearest=nearest)
        return tf.cast(moved, images.dtype) if nearest else moved
    return _gather(images, motions, margin=settings.shift, outside=outside)


def _gather(images: tf.Tensor, motions: tf.Tensor, *, margin: int, outside: int = 0) -> tf.Tensor:
    """Whole pixels: one flat gather, as cropping by `batch_dims` is far slower."""
    num, height, width, channels = images.shape
    down, right, _, _, sign = tf.unstack(tf.cast(motions, tf.int32), axis=1)  # (b,)
    rows = tf.range(height) - down[:, None]  # (b, h)
    columns = tf.range(width) - right[:, None]  # (b, w)
    columns = tf.where(sign[:, None] < 0, width - 1 - columns, columns)
    frame = [[0, 0], [margin, margin], [margin, margin], [0, 0]]
    padded = tf.pad(images, frame, constant_values=tf.cast(outside, images.dtype))
    tall, wide = height + 2 * margin, width + 2 * margin
    lines = tf.range(num)[:, None] * tall + rows + margin  # (b, h)
    where = lines[:, :, None] * wide + (columns + margin)[:, None]  # (b, h, w)
    return tf.gather(tf.reshape(padded, (num * tall * wide, channels)), where)


def _transform(
    images: tf.Tensor, motions: tf.Tensor, *, outside: int = 0, nearest: bool = False
) -> tf.Tensor:
    """One interpolation for the whole motion."""
    _, height, width, _ = images.shape
    down, right, cos, sin, sign = tf.unstack(motions, axis=1)  # (b,)
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    # The inverse, from a pixel (x, y) of the result to its origin: undo the shift, turn back by
    # [[cos, sin], [-sin, cos]] about the middle, mirror.
    x, y = right + middle_x, down + middle_y
    horizontal = [sign * cos, sign * sin, middle_x - sign * (cos * x + sin * y)]
    vertical = [-sin, cos, middle_y - (cos * y - sin * x)]
    perspective = [tf.zeros_like(cos)] * 2
    return tf.raw_ops.ImageProjectiveTransformV3(
        images=tf.cast(images, tf.float32),
        transforms=tf.stack([*horizontal, *vertical, *perspective], axis=1),  # (b, 8)
        output_shape=[height, width],
        fill_value=float(outside),
        interpolation="NEAREST" if nearest else "BILINEAR",
        fill_mode="CONSTANT",
    )
