"""Two pictures in one, and their labels by the shares that they have of it.

Source: MixUp: Zhang et al. 2017, arXiv:1710.09412, section 2; CutMix: Yun et al. 2019,
arXiv:1905.04899, section 3.1. Differs: each picture has its own share, of at least a half, so that
its own label is the one it shows most of.
"""

from __future__ import annotations

from collections.abc import Mapping

import tensorflow as tf

from zoo.common.columns import MIXED, MIXED_SHARE
from zoo.recipe import Augment


def mixes(settings: Augment) -> bool:
    """Whether the settings mix any picture."""
    return bool(settings.mixup or settings.cutmix)


def draw(num: int, seed: tf.Tensor, settings: Augment) -> tf.Tensor:
    """Draws how each picture of a whole batch is mixed with its partner, as far from the end.

    Args:
        num: Pictures in the batch.
        seed: Two integers (2,).
        settings: Which of the two ways there are; of both each picture takes one by chance.

    Returns:
        Rows (num, 4): the share that is the picture's own, 1 where a rectangle is put in and 0
        where the two lie on one another, and the rectangle's middle, y and x from 0 to 1.
    """
    shares = []
    for number, alpha in enumerate((settings.mixup, settings.cutmix)):
        own = tf.random.experimental.stateless_fold_in(seed, 3 + number)
        gammas = tf.random.stateless_gamma((num, 2), own, max(alpha, 1e-3)) + 1e-12
        share = gammas[:, 0] / tf.reduce_sum(gammas, axis=1)  # of Beta(alpha, alpha)
        shares.append(tf.maximum(share, 1 - share))
    own = tf.random.experimental.stateless_fold_in(seed, 5)
    coin, *middle = tf.unstack(tf.random.stateless_uniform((num, 3), own), axis=1)
    chance = 0.5 if settings.mixup and settings.cutmix else float(settings.cutmix > 0)
    cut = coin < chance
    return tf.stack(
        [tf.where(cut, shares[1], shares[0]), tf.cast(cut, tf.float32), *middle], axis=1
    )


def mix(
    batch: Mapping[str, tf.Tensor], others: Mapping[str, tf.Tensor], drawn: tf.Tensor
) -> dict[str, tf.Tensor]:
    """Mixes each picture of a batch with another.

    Args:
        batch: Columns (b, ...): `image`, `label`.
        others: Those of the partners.
        drawn: Rows of `draw` (b, 4).

    Returns:
        The batch, with the partner's label as `MIXED`, and the share of its own as `MIXED_SHARE`.
    """
    images, partners = (tf.cast(one["image"], tf.float32) for one in (batch, others))
    _, height, width, _ = images.shape
    share, cut, y, x = tf.unstack(drawn, axis=1)  # (b,)
    span = tf.sqrt(1 - share)[:, None]
    inside = [
        tf.abs((tf.range(side, dtype=tf.float32) + 0.5) / side - middle[:, None]) < span / 2
        for side, middle in ((height, y), (width, x))
    ]
    hole = inside[0][:, :, None] & inside[1][:, None]  # (b, height, width)
    left = 1 - tf.reduce_mean(tf.cast(hole, tf.float32), axis=(1, 2))
    put = tf.where(hole[..., None], partners, images)
    laid = partners + share[:, None, None, None] * (images - partners)
    chosen = cut[:, None, None, None] > 0
    return {
        **batch,
        "image": tf.where(chosen, put, laid),
        MIXED: others["label"],
        MIXED_SHARE: tf.where(cut > 0, left, share),
    }
