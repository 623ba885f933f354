"""Random changes of what a picture looks like: its crop, its colours, some of fourteen, a hole.

Source: crops of a random area and aspect: Szegedy et al. 2014, arXiv:1409.4842, section 6;
RandAugment: Cubuk et al. 2019, arXiv:1909.13719, section 3, with the ranges of torchvision;
random erasing: Zhong et al. 2017, arXiv:1708.04896, section 3. Differs: pictures are sheared about
their middle; a hole has one random colour, not one for each pixel.

All pictures of a batch change by their own numbers. Those with the same change of RandAugment go
through it together.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import tensorflow as tf

from zoo.data.augment.geometry import warped
from zoo.recipe import Augment

WHITE = 255.0
ASPECT = 4 / 3  # largest of a crop, width to height or height to width
HOLE_AREA, HOLE_ASPECT = (0.02, 0.33), 3.3
SHEAR, SHIFT, TURN, ENHANCED, BITS = 0.3, 150 / 331, 30.0, 0.9, 4  # at the largest strength
GREY = (0.299, 0.587, 0.114)  # ITU-R BT.601

Change = Callable[[tf.Tensor, tf.Tensor], tf.Tensor]


def changes(settings: Augment) -> bool:
    """Whether the settings change what any picture looks like."""
    return bool(settings.crop or settings.jitter or settings.erase or settings.rand_augment)


def draw(num: int, seed: tf.Tensor, settings: Augment) -> tf.Tensor:
    """Draws what happens to each picture of a whole batch, over all replicas.

    Args:
        num: Pictures in the batch.
        seed: Two integers (2,).
        settings: Which changes there are.

    Returns:
        Numbers from 0 to 1 (num, m).
    """
    own = tf.random.experimental.stateless_fold_in(seed, 2)
    return tf.random.stateless_uniform((num, 15 + 2 * settings.rand_augment), own)


def change(images: tf.Tensor, drawn: tf.Tensor, settings: Augment) -> tf.Tensor:
    """Changes every picture of a batch.

    Args:
        images: Pixels (b, h, w, c), 0 to 255; the shape is static.
        drawn: Rows of `draw` (b, m).
        settings: Settings that they were drawn with.

    Returns:
        Pixels (b, h, w, c), float32, 0 to 255.
    """
    images = tf.cast(images, tf.float32)
    crop, colours, hole, rest = tf.split(drawn, (4, 3, 8, 2 * settings.rand_augment), axis=1)
    if settings.crop:
        images = _cropped(images, crop, settings.crop)
    if settings.jitter:
        factors = tf.unstack(1 + settings.jitter * (2 * colours - 1), axis=1)
        for enhance, factor in zip((_bright, _contrast, _colour), factors, strict=True):
            images = enhance(images, factor)
    for number in range(settings.rand_augment):
        images = _one_of_all(images, rest[:, 2 * number : 2 * number + 2], settings.strength / 10)
    if settings.erase:
        images = _with_hole(images, hole, settings.erase)
    return images


def _cropped(images: tf.Tensor, drawn: tf.Tensor, least: float) -> tf.Tensor:
    """A part of each picture, as large as the whole."""
    _, height, width, _ = images.shape
    share, aspect, down, right = tf.unstack(drawn, axis=1)  # (b,)
    area = least + (1 - least) * share
    aspect = ASPECT ** (2 * aspect - 1)
    tall, wide = (tf.minimum(tf.sqrt(x), 1.0) for x in (area / aspect, area * aspect))
    # A pixel's middle is at a half.
    top = down * (1 - tall) * height + tall / 2 - 0.5
    left = right * (1 - wide) * width + wide / 2 - 0.5
    zero = tf.zeros_like(tall)
    return warped(images, [wide, zero, left, zero, tall, top])


def _with_hole(images: tf.Tensor, drawn: tf.Tensor, probability: float) -> tf.Tensor:
    _, height, width, channels = images.shape
    chance, share, aspect, down, right = tf.unstack(drawn[:, :5], axis=1)
    area = HOLE_AREA[0] + (HOLE_AREA[1] - HOLE_AREA[0]) * share
    aspect = HOLE_ASPECT ** (2 * aspect - 1)
    tall, wide = (tf.minimum(tf.sqrt(x), 1.0) for x in (area * aspect, area / aspect))
    inside = tf.ones_like(images[..., :1], tf.bool)
    for axis, side, size, place in ((1, height, tall, down), (2, width, wide, right)):
        form = [1, 1, 1, 1]
        form[axis] = side
        middle = tf.reshape((tf.range(side, dtype=tf.float32) + 0.5) / side, form)
        low = (place * (1 - size))[:, None, None, None]
        inside &= (middle >= low) & (middle < low + size[:, None, None, None])
    inside &= (chance < probability)[:, None, None, None]
    colour = WHITE * drawn[:, None, None, 5 : 5 + min(channels, 3)]
    return tf.where(inside, tf.broadcast_to(colour, images.shape), images)


def _one_of_all(images: tf.Tensor, drawn: tf.Tensor, strength: float) -> tf.Tensor:
    """Each picture through one of `CHANGES`."""
    which = tf.cast(drawn[:, 0] * len(CHANGES), tf.int32)  # (b,)
    sign = tf.where(drawn[:, 1] < 0.5, -1.0, 1.0)
    places = tf.dynamic_partition(tf.range(tf.shape(images)[0]), which, len(CHANGES))
    made = [
        one(tf.ensure_shape(tf.gather(images, place), (None, *images.shape[1:])),
            strength * tf.gather(sign, place))
        for one, place in zip(CHANGES, places, strict=True)
    ]  # fmt: skip
    return tf.ensure_shape(tf.dynamic_stitch(places, made), images.shape)


def _bright(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _blend(tf.zeros_like(images), images, factor)


def _contrast(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    mean = tf.reduce_mean(_grey(images), axis=(1, 2, 3), keepdims=True)
    return _blend(mean, images, factor)


def _colour(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    return _blend(_grey(images), images, factor)


def _sharp(images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    """Against a picture that is smoothed but at its edge."""
    _, height, width, _ = images.shape
    if min(height, width) < 3:
        return images
    lines = images[:, :-2] + images[:, 1:-1] + images[:, 2:]
    smooth = lines[:, :, :-2] + lines[:, :, 1:-1] + lines[:, :, 2:] + 4 * images[:, 1:-1, 1:-1]
    smooth /= 13  # the middle counts five times
    frame = [[0, 0], [1, 1], [1, 1], [0, 0]]
    edge = tf.pad(tf.ones((1, height - 2, width - 2, 1), tf.bool), frame)
    return _blend(tf.where(edge, tf.pad(smooth, frame), images), images, factor)


def _blend(base: tf.Tensor, images: tf.Tensor, factor: tf.Tensor) -> tf.Tensor:
    mixed = base + factor[:, None, None, None] * (images - base)
    return tf.clip_by_value(mixed, 0.0, WHITE)


def _grey(images: tf.Tensor) -> tf.Tensor:
    if images.shape[-1] != len(GREY):
        return tf.reduce_mean(images, axis=-1, keepdims=True)
    return tf.reduce_sum(images * GREY, axis=-1, keepdims=True)


def _enhanced(enhance: Change) -> Change:
    return lambda images, strength: enhance(images, 1 + ENHANCED * strength)


def _solarised(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    most = WHITE * (1 - tf.abs(strength))[:, None, None, None]
    return tf.where(images >= most, WHITE - images, images)


def _posterised(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    step = 2.0 ** tf.round(BITS * tf.abs(strength))[:, None, None, None]
    return tf.floor(images / step) * step


def _stretched(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Autocontrast: each channel from 0 to 255, where it is not of one value."""
    low, high = (f(images, axis=(1, 2), keepdims=True) for f in (tf.reduce_min, tf.reduce_max))
    wide = tf.maximum(high - low, 1e-6)
    return tf.where(high > low, (images - low) * (WHITE / wide), images)


def _equalised(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    """Each channel's histogram made flat, as PIL and torchvision do."""
    count, height, width, channels = tf.unstack(tf.shape(images))
    values = tf.cast(tf.transpose(images, (0, 3, 1, 2)), tf.int32)
    flat = tf.reshape(values, (count * channels, height * width))
    histogram = tf.math.bincount(flat, minlength=256, maxlength=256, axis=-1)
    last = tf.reduce_max(tf.where(histogram > 0, tf.range(256), 0), axis=1)  # brightest that occurs
    step = (height * width - tf.gather(histogram, last, batch_dims=1)) // 255
    below = tf.cumsum(histogram, axis=1, exclusive=True)
    table = (below + step[:, None] // 2) // tf.maximum(step, 1)[:, None]
    table = tf.where(step[:, None] > 0, tf.clip_by_value(table, 0, 255), tf.range(256))
    found = tf.gather(table, flat, batch_dims=1)
    found = tf.reshape(found, (count, channels, height, width))
    return tf.cast(tf.transpose(found, (0, 2, 3, 1)), tf.float32)


def _turned(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
    angle = math.radians(TURN) * strength
    return _about_middle(images, tf.cos(angle), tf.sin(angle), -tf.sin(angle), tf.cos(angle))


def _sheared(axis: int) -> Change:
    def sheared(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        one, none = tf.ones_like(strength), tf.zeros_like(strength)
        across, down = (SHEAR * strength, none) if axis else (none, SHEAR * strength)
        return _about_middle(images, one, across, down, one)

    return sheared


def _shifted(axis: int) -> Change:
    def shifted(images: tf.Tensor, strength: tf.Tensor) -> tf.Tensor:
        one, none = tf.ones_like(strength), tf.zeros_like(strength)
        far = SHIFT * strength * images.shape[1 + axis]
        across, down = (far, none) if axis else (none, far)
        return warped(images, [one, none, across, none, one, down])

    return shifted


def _about_middle(
    images: tf.Tensor, a: tf.Tensor, b: tf.Tensor, c: tf.Tensor, d: tf.Tensor
) -> tf.Tensor:
    """A pixel (x, y) from the middle comes from (a x + b y, c x + d y)."""
    x, y = (images.shape[2] - 1) / 2, (images.shape[1] - 1) / 2
    return warped(images, [a, b, x - a * x - b * y, c, d, y - c * x - d * y])


CHANGES: tuple[Change, ...] = (
    lambda images, strength: images,
    _stretched,
    _equalised,
    _turned,
    _solarised,
    _enhanced(_colour),
    _posterised,
    _enhanced(_contrast),
    _enhanced(_bright),
    _enhanced(_sharp),
    _sheared(1),
    _sheared(0),
    _shifted(1),
    _shifted(0),
)
