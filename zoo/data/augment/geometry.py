"""Random shifts, rotations, scales and mirror images of a batch, in the graph.

Every image of a batch moves by its own random numbers, which are a function of the seed and of the
image's position in the batch. What moves in from outside is 0, the pixel value of black.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import tensorflow as tf

from zoo.common.columns import IGNORED
from zoo.recipe import Augment

LOST = 0.7  # largest share of a box that may be outside the picture
STILL = (0.0, 0.0, 1.0, 0.0, 1.0, 1.0)  # the motion of a picture that does not move, see `draw`


def moves(settings: Augment) -> bool:
    """Whether the settings change any image.

    Raises:
        ValueError: `mirror` is `auto`; only the data set can decide it (`DataSet.mirror`).
    """
    if settings.mirror == "auto":
        raise ValueError("augment.mirror: got 'auto'; expected True or False, see DataSet.mirror.")
    return bool(settings.shift or settings.rotate or settings.scale or settings.mirror)


def augment(images: tf.Tensor, seed: tf.Tensor, settings: Augment) -> tf.Tensor:
    """Moves every image of a batch at random.

    Args:
        images: Pixels (b, h, w, c), uint8 or float32; the shape is static.
        seed: Two integers (2,).
        settings: How far the images move at most.

    Returns:
        Images (b, h, w, c): float32 when they rotate or scale, else of the type that came in.

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
        Motions (num, 6), float32: shift down and right in whole pixels, cosine and sine of the
        clockwise angle, -1 for a mirror image, else 1, and how many times larger it becomes.
    """
    down, right, turn, flip = tf.unstack(tf.random.stateless_uniform((num, 4), seed), axis=1)
    span = 2 * settings.shift + 1
    angle = (2 * turn - 1) * math.radians(settings.rotate)
    sign = tf.where(flip < 0.5, -1.0, 1.0) if settings.mirror else tf.ones_like(flip)
    shifts = [tf.floor(share * span) - settings.shift for share in (down, right)]
    times = tf.ones_like(flip)
    if settings.scale:  # a draw of its own, so that it changes no other
        own = tf.random.experimental.stateless_fold_in(seed, 1)
        times = (1 + settings.scale) ** tf.random.stateless_uniform((num,), own, -1, 1)
    return tf.stack([*shifts, tf.cos(angle), tf.sin(angle), sign, times], axis=1)


def carry(
    batch: Mapping[str, tf.Tensor], motions: tf.Tensor, settings: Augment
) -> dict[str, tf.Tensor]:
    """Moves the images of a batch, and with them what says where something is in them.

    Args:
        batch: Columns (b, ...): `image`; `mask`, `instances`, `boxes` with `classes` and `count`,
            `regions`, `box`, `ellipse` and `points` where there are some.
        motions: Rows of `draw` (b, 6).
        settings: Settings that the motions were drawn with.

    Returns:
        The batch. What moves into a mask counts for nothing. A box that has lost more than
        `LOST` of its area out of the picture is no box any more: class -1; a region is zero. A
        picture whose only thing, its `box`, would be lost so stays as it was.
    """
    batch = dict(batch)
    height, width = batch["image"].shape[1:3]
    if "box" in batch:
        _, kept = _move_boxes(batch["box"][:, None], motions, (height, width))
        motions = tf.where(kept >= 1 - LOST, motions, STILL)  # (b, 1) for (b, 6)
    before = batch.get("instances")
    batch["image"] = move(batch["image"], motions, settings)
    for name, outside in (("mask", IGNORED), ("instances", 0)):
        if name in batch:
            moved = move(batch[name][..., None], motions, settings, outside=outside, nearest=True)
            batch[name] = moved[..., 0]
    if "points" in batch:
        batch["points"] = move_points(batch["points"], motions, (height, width))
    if "ellipse" in batch:
        batch["ellipse"] = _move_ellipses(batch["ellipse"], motions, (height, width))
    if "box" in batch:
        batch["box"] = _move_boxes(batch["box"][:, None], motions, (height, width))[0][:, 0]
    if "boxes" in batch:
        boxes, kept = _move_boxes(batch["boxes"], motions, (height, width))
        if before is not None and settings.rotate:
            boxes = _hugging(batch["boxes"], before, batch["instances"], boxes)
        real = tf.logical_and(batch["classes"] >= 0, kept >= 1 - LOST)
        batch["boxes"] = tf.where(real[..., None], boxes, 0.0)
        batch["classes"] = tf.where(real, batch["classes"], -1)
        if "count" in batch:
            batch["count"] = tf.reduce_sum(tf.cast(real, tf.int32), axis=1)
    if "regions" in batch:
        regions, kept = _move_boxes(batch["regions"], motions, (height, width))
        real = tf.logical_and(batch["regions"][..., 2] > 0, kept >= 1 - LOST)
        batch["regions"] = tf.where(real[..., None], regions, 0.0)
    return batch


def move_points(points: tf.Tensor, motions: tf.Tensor, side: tuple[int, int]) -> tf.Tensor:
    """Moves points as `move` moves the pixels that they are in.

    Args:
        points: y x, from the picture's upper left corner, in pixels, (b, n, 2).
        motions: Rows of `draw` (b, 6).
        side: Height and width of the picture.
    """
    down, right, cos, sin, sign, times = (x[:, None] for x in tf.unstack(motions, axis=1))
    y, x = points[..., 0] - side[0] / 2, sign * (points[..., 1] - side[1] / 2)
    return tf.stack(
        [
            times * (sin * x + cos * y) + side[0] / 2 + down,
            times * (cos * x - sin * y) + side[1] / 2 + right,
        ],
        axis=-1,
    )


def _move_ellipses(ellipses: tf.Tensor, motions: tf.Tensor, side: tuple[int, int]) -> tf.Tensor:
    """Ellipses (b, 5), moved."""
    _, _, cos, sin, sign, times = tf.unstack(motions, axis=1)
    centre = move_points(ellipses[:, None, :2], motions, side)[:, 0]
    axes, angle = ellipses[:, 2:4] * times[:, None], ellipses[:, 4]
    x, y = sign * tf.cos(angle), tf.sin(angle)
    turned = tf.math.floormod(tf.atan2(sin * x + cos * y, cos * x - sin * y), math.pi)
    return tf.concat([centre, axes, turned[:, None]], axis=1)


def _move_boxes(
    boxes: tf.Tensor, motions: tf.Tensor, side: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """The boxes around the moved boxes (b, n, 4), within the picture, and what is left of them."""
    # Where it turns, the ellipse within a box says more of what is in it than its corners do.
    centre = move_points((boxes[..., :2] + boxes[..., 2:]) / 2, motions, side)  # (b, n, 2)
    half = (boxes[..., 2:] - boxes[..., :2]) / 2
    tall, wide = half[..., 0], half[..., 1]
    _, _, cos, sin, _, times = (x[:, None] for x in tf.unstack(motions, axis=1))
    spans = [tf.sqrt((a * cos) ** 2 + (b * sin) ** 2) for a, b in ((tall, wide), (wide, tall))]
    half = times[..., None] * tf.stack(spans, axis=-1)
    low, high = centre - half, centre + half
    return cut(low, high, 0.0, tf.constant([float(side[0]), float(side[1])]))


def _hugging(old: tf.Tensor, before: tf.Tensor, after: tf.Tensor, boxes: tf.Tensor) -> tf.Tensor:
    """Boxes (b, n, 4) around what is seen of things that turned.

    A box that held what was seen of its thing, to a pixel, holds what is seen of it now. One that
    was drawn around more, of a thing that others cover, stays as it was moved.

    Args:
        old: Boxes before they moved (b, n, 4).
        before: Instances before they moved (b, h, w).
        after: Instances (b, h, w).
        boxes: Boxes, moved (b, n, 4).
    """
    was, now = (_bounds(instances, old.shape[1]) for instances in (before, after))
    tight = tf.reduce_all(tf.abs(was - old) <= 1, axis=-1)
    seen = tf.reduce_all(now[..., 2:] > now[..., :2], axis=-1)
    return tf.where(tf.logical_and(tight, seen)[..., None], now, boxes)


def _bounds(instances: tf.Tensor, num: int) -> tf.Tensor:
    """The bounds (b, num, 4) of the pixels of things 1 to num; where there are none, no area."""
    count, height, width = instances.shape
    y, x = tf.meshgrid(tf.range(height), tf.range(width), indexing="ij")
    sides = tf.stack([y, x, -(y + 1), -(x + 1)], axis=-1)  # the least of each is a bound
    sides = tf.tile(tf.reshape(sides, (-1, 4)), (count, 1))  # (b * h * w, 4)
    whose = tf.cast(instances, tf.int32) + tf.range(count)[:, None, None] * (num + 1)
    least = tf.math.unsorted_segment_min(sides, tf.reshape(whose, [-1]), count * (num + 1))
    least = tf.reshape(tf.maximum(least, -max(height, width)), (count, num + 1, 4))[:, 1:]
    found = tf.concat([least[..., :2], -least[..., 2:]], axis=-1)
    return tf.cast(found, tf.float32)


def cut(low: tf.Tensor, high: tf.Tensor, least: Any, most: Any) -> tuple[tf.Tensor, tf.Tensor]:
    """Returns boxes cut at a frame, (..., 4), and the share of their area that is left, (...).

    Args:
        low: Their upper left ends, y and x (..., 2).
        high: Their lower right ends.
        least: Upper left end of the frame, that broadcasts to (..., 2).
        most: Its lower right end.
    """
    inside = [tf.clip_by_value(end, least, most) for end in (low, high)]
    area = tf.reduce_prod(high - low, axis=-1)
    left = tf.reduce_prod(inside[1] - inside[0], axis=-1) / tf.maximum(area, 1e-6)
    return tf.concat(inside, axis=-1), left


def move(
    images: tf.Tensor,
    motions: tf.Tensor,
    settings: Augment,
    *,
    outside: int = 0,
    nearest: bool = False,
) -> tf.Tensor:
    """Mirrors, rotates and scales about the centre, then shifts every image by its motion.

    Args:
        images: Pixels (b, h, w, c), uint8 or float32; the shape is static.
        motions: Rows of `draw` (b, 6).
        settings: Settings that the motions were drawn with.
        outside: Value of what moves in from outside.
        nearest: Whether a rotation takes the nearest pixel, as the classes of a mask need, in place
            of interpolating.

    Returns:
        Images (b, h, w, c): float32 when they rotate or scale and are interpolated, else of the
        type that came in.
    """
    if settings.rotate or settings.scale:
        moved = _transform(images, motions, outside=outside, nearest=nearest)
        return tf.cast(moved, images.dtype) if nearest else moved
    return _gather(images, motions, margin=settings.shift, outside=outside)


def _gather(images: tf.Tensor, motions: tf.Tensor, *, margin: int, outside: int = 0) -> tf.Tensor:
    """Whole pixels: one flat gather, as cropping by `batch_dims` is far slower."""
    num, height, width, channels = images.shape
    down, right, _, _, sign, _ = tf.unstack(tf.cast(motions, tf.int32), axis=1)  # (b,)
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
    down, right, cos, sin, sign, times = tf.unstack(motions, axis=1)  # (b,)
    cos, sin = cos / times, sin / times
    middle_x, middle_y = (width - 1) / 2, (height - 1) / 2
    # The inverse, from a pixel (x, y) of the result to its origin: undo the shift, turn back by
    # [[cos, sin], [-sin, cos]] about the middle, mirror.
    x, y = right + middle_x, down + middle_y
    horizontal = [sign * cos, sign * sin, middle_x - sign * (cos * x + sin * y)]
    vertical = [-sin, cos, middle_y - (cos * y - sin * x)]
    return warped(
        tf.cast(images, tf.float32), [*horizontal, *vertical], outside=outside, nearest=nearest
    )


def warped(
    images: tf.Tensor, rows: Sequence[tf.Tensor], *, outside: int = 0, nearest: bool = False
) -> tf.Tensor:
    """Returns images of which a pixel (x, y) comes from (a x + b y + c, d x + e y + f).

    Args:
        images: Pixels (b, h, w, c), float32.
        rows: a to f, of each image (b,).
        outside: Value of what comes from outside.
        nearest: Whether the nearest pixel is taken, in place of interpolating.
    """
    perspective = [tf.zeros_like(rows[0])] * 2
    made = tf.raw_ops.ImageProjectiveTransformV3(
        images=images,
        transforms=tf.stack([*rows, *perspective], axis=1),  # (b, 8)
        output_shape=images.shape[1:3],
        fill_value=float(outside),
        interpolation="NEAREST" if nearest else "BILINEAR",
        fill_mode="CONSTANT",
    )
    return tf.ensure_shape(made, images.shape)
