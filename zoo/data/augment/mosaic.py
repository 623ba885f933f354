"""Four pictures in one, each in a corner, with the masks and boxes that are in them.

Source: Bochkovskiy et al. 2020, YOLOv4, arXiv:2004.10934, section 3.3. Differs: the pictures keep
their size and are cut; `data.augment.scale` makes them smaller. Where the four meet is drawn from
the middle half of both sides.

A pixel (y, x) of a mosaic that meets at (p, q) is that at (y - p, x - q) of the picture in its
corner, modulo the sides: of the upper left picture one sees the lower right part.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from zoo.data.augment.geometry import LOST, cut

COLUMNS = ("image", "mask", "boxes", "classes", "instances", "count")  # those that it can carry
MOST_INSTANCES = 255  # numbers of `instances`, uint8
CORNERS = 4


def check(shapes: Mapping[str, tuple[int, ...]]) -> None:
    """Refuses examples that are told by more than four pictures can share.

    Args:
        shapes: Shape of one example of each column, by name.

    Raises:
        ValueError: A column is none of `COLUMNS`, or there are too many instances.
    """
    others = [name for name in shapes if name not in COLUMNS]
    if others or "image" not in shapes:
        raise ValueError(
            f"data.augment.mosaic: got examples of {', '.join(shapes)}; expected pictures, with "
            f"{', '.join(COLUMNS[1:])} alone: four of them in one have no one "
            f"{others[0] if others else 'picture'}. Write data.augment.mosaic=0."
        )
    if "instances" in shapes and CORNERS * shapes["boxes"][0] > MOST_INSTANCES:
        raise ValueError(
            f"data.augment.mosaic: got up to {shapes['boxes'][0]} things in a picture; expected at "
            f"most {MOST_INSTANCES // CORNERS} where they have masks. Write data.augment.mosaic=0."
        )


def draw(
    num: int, seed: tf.Tensor, *, of: int, side: tuple[int, int], share: float
) -> tuple[tf.Tensor, tf.Tensor]:
    """Draws the mosaics of a whole batch, over all replicas.

    Args:
        num: Examples in the batch.
        seed: Two integers (2,).
        of: Number of examples to choose the others from.
        side: Height and width of a picture.
        share: Probability that an example becomes a mosaic.

    Returns:
        Which examples stand beside each (num, 3), int64, and where the four meet, y and x (num, 2),
        int32. A picture that stays alone meets the others at its own lower right end.
    """
    numbers = tf.random.stateless_uniform((num, CORNERS - 1), seed, 0, of, tf.int64)
    seed = tf.random.experimental.stateless_fold_in(seed, 1)
    draws = tf.random.stateless_uniform((num, 3), seed)
    ends = tf.constant(side, tf.int32)
    meets = tf.cast(tf.round((0.25 + 0.5 * draws[:, :2]) * tf.cast(ends, tf.float32)), tf.int32)
    return numbers, tf.where(draws[:, 2:] < share, meets, ends)


def compose(four: Mapping[str, tf.Tensor], meets: tf.Tensor) -> dict[str, tf.Tensor]:
    """Puts four pictures in one.

    Args:
        four: Columns (b, 4, ...): upper left, upper right, lower left, lower right.
        meets: Where they meet, y and x (b, 2), int32.

    Returns:
        Columns (b, ...), with places for four times as many boxes. A box that has lost more than
        `LOST` of its area is no box any more: class -1.
    """
    height, width = four["image"].shape[2:4]
    down, right = meets[:, :1], meets[:, 1:]  # (b, 1)
    rows, columns = tf.range(height) - down, tf.range(width) - right  # (b, height), (b, width)
    corner = tf.where(rows < 0, 0, 2)[:, :, None] + tf.where(columns < 0, 0, 1)[:, None]
    picture = CORNERS * tf.range(tf.shape(meets)[0])[:, None, None] + corner  # (b, height, width)
    line = picture * height + tf.math.floormod(rows, height)[:, :, None]
    place = line * width + tf.math.floormod(columns, width)[:, None]
    found = dict(four)
    for name in ("image", "mask", "instances"):
        if name in four:
            depth = four[name].shape[4:]
            found[name] = tf.gather(tf.reshape(four[name], (-1, *depth)), place)
    if "boxes" in four:
        most = four["boxes"].shape[2]
        boxes, kept = _boxes(four["boxes"], meets, (height, width))
        real = tf.logical_and(four["classes"] >= 0, kept >= 1 - LOST)  # (b, 4, most)
        flat = (-1, CORNERS * most)
        found["boxes"] = tf.reshape(tf.where(real[..., None], boxes, 0.0), (*flat, 4))
        found["classes"] = tf.reshape(tf.where(real, four["classes"], -1), flat)
        if "count" in four:
            found["count"] = tf.reduce_sum(tf.cast(real, tf.int32), axis=(1, 2))
        if "instances" in four:
            numbers = tf.cast(found["instances"], tf.int32)
            numbers += tf.where(numbers > 0, corner * most, 0)
            found["instances"] = tf.cast(numbers, four["instances"].dtype)
    return found


def _boxes(
    boxes: tf.Tensor, meets: tf.Tensor, side: tuple[int, int]
) -> tuple[tf.Tensor, tf.Tensor]:
    """Boxes (b, 4, most, 4) within their corner, and the share that is left (b, 4, most)."""
    meets = tf.cast(meets, tf.float32)[:, None]  # (b, 1, 2)
    ends = tf.constant(side, tf.float32)
    first = tf.constant([[1.0, 1.0], [1.0, 0.0], [0.0, 1.0], [0.0, 0.0]])  # upper, left: (4, 2)
    moved = boxes + tf.tile(meets - first * ends, (1, 1, 2))[:, :, None]
    low = tf.where(first > 0, 0.0, meets)[:, :, None]  # (b, 4, 1, 2)
    high = tf.where(first > 0, meets, ends)[:, :, None]
    return cut(moved[..., :2], moved[..., 2:], low, high)
