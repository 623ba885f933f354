"""Batches from memory, their order a function of (seed, epoch, step).

Examples stay in one tensor, images as uint8; a batch is one gather by index. Any step can be asked
for directly, so a resumed run sees what an uninterrupted one would have seen, and one device or
several see the same images.
"""

from __future__ import annotations

import os
import warnings

import tensorflow as tf

from zoo.data.augment import draw, move, moves
from zoo.data.dataset import Split
from zoo.data.preprocessing import Preprocessing
from zoo.recipe import Augment

PARALLEL = min(8, os.cpu_count() or 1)  # batches that are made at the same time


class Feed:
    """Preprocessed batches of a split.

    Training shuffles anew in every epoch and drops the remainder, a different one each time.
    Evaluation keeps the order and fills the last batch with repeated images of weight 0.

    Args:
        split: Examples and their labels.
        preprocessing: How pixels or rows become inputs.
        batch_size: Images in a step, over all replicas; when training on fewer images than that,
            the batch is reduced to all of them, with a warning.
        seed: Seed of the order and of the augmentation, in [0, 2**31).
        training: Whether to shuffle, and to drop the remainder.
        augment: Random changes of the training images; `None` changes nothing.

    Attributes:
        batch_size: Images in a step, over all replicas.
        steps: Steps in an epoch.

    Raises:
        ValueError: The split is empty, the batch size is below 1, the images do not fit the
            preprocessing, augmentation is asked for outside training or of a table's rows, or its
            `mirror` is `auto`.
    """

    def __init__(
        self,
        split: Split,
        preprocessing: Preprocessing,
        *,
        batch_size: int,
        seed: int = 0,
        training: bool = False,
        augment: Augment | None = None,
    ):
        num = len(split)
        if not num or batch_size < 1:
            raise ValueError(
                f"Feed: got {num} images in batches of {batch_size}; expected 1 or more."
            )
        if augment is not None and not training:
            raise ValueError("Feed: got augment with training=False; evaluation changes no image.")
        if augment is not None and split.is_table and moves(augment):
            raise ValueError(
                "data.augment: got a shift, rotation or mirror for rows of a table; expected none. "
                "Only images can move."
            )
        preprocessing.check(split.images)
        if training and num < batch_size:
            warnings.warn(
                f"batch_size: got {batch_size} for {num} training images; using {num}.",
                stacklevel=2,
            )
            batch_size = num
        self.batch_size = batch_size
        self.steps = num // batch_size if training else -(-num // batch_size)
        self._num = num
        self._seed = seed
        self._training = training
        self._augment = augment if augment is not None and moves(augment) else None
        # On the CPU, where tf.data runs, whatever the default device is.
        with tf.device("CPU:0"):
            self._images = tf.constant(split.images)
            self._labels = tf.constant(split.labels)
            # Spread over the whole image: TensorFlow broadcasts 3 channels three times slower.
            self._factor, self._offset = (
                tf.broadcast_to(value, split.images.shape[1:]) for value in preprocessing.affine
            )

    def dataset(self, epoch: int = 0, *, start: int = 0, replicas: int = 1) -> tf.data.Dataset:
        """Returns the batches of an epoch.

        Element k is the share of replica k % replicas in step start + k // replicas, as
        `tf.distribute.Strategy.distribute_datasets_from_function` deals them out.

        Args:
            epoch: Number of the epoch, from 0; evaluation gives the same batches in every epoch.
            start: First step, in [0, steps].
            replicas: Number of devices that share a step.

        Returns:
            Elements (inputs (b, ...) float32, labels (b,) int32 for classes and float32 for
            numbers, weights (b,) float32), with b = batch_size / replicas; a weight is 0 for an
            example that fills up the last batch, else 1.

        Raises:
            ValueError: The batch cannot be shared evenly, or `start` is out of range.
        """
        if self.batch_size % replicas:
            raise ValueError(
                f"batch_size: got {self.batch_size}; expected a multiple of {replicas} replicas."
            )
        if not 0 <= start <= self.steps:
            raise ValueError(f"start: got step {start}; expected 0 to {self.steps}.")
        share = self.batch_size // replicas
        with tf.device("CPU:0"):
            order = self._order(epoch)

        def fetch(element: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor, tf.Tensor]:
            first = element * share
            chosen = tf.slice(order, [first], [share])
            images = tf.gather(self._images, chosen)
            if self._augment is not None:
                step, replica = element // replicas, element % replicas
                seed = tf.random.experimental.stateless_fold_in([self._seed, epoch], step)
                # Drawn for the whole batch, so that sharing it changes no image.
                motions = draw(self.batch_size, seed, self._augment)
                motions = tf.slice(motions, [replica * share, 0], [share, -1])
                images = move(images, motions, self._augment)
            inputs = tf.cast(images, tf.float32) * self._factor + self._offset
            weights = tf.cast(first + tf.range(share, dtype=tf.int64) < self._num, tf.float32)
            return inputs, tf.gather(self._labels, chosen), weights

        elements = tf.data.Dataset.range(start * replicas, self.steps * replicas)
        batches = elements.map(fetch, num_parallel_calls=PARALLEL, deterministic=True).prefetch(4)
        # The autotuner's thread sleeps for up to a minute between two looks, and the end of an
        # epoch would wait for it: epochs of VGG-16 took 41 s in place of 21 s.
        options = tf.data.Options()
        options.autotune.enabled = False
        return batches.with_options(options)

    def _order(self, epoch: int) -> tf.Tensor:
        """Indices of the images of an epoch (at least steps * batch_size,), int64."""
        if self._training:
            indices = tf.range(self._num, dtype=tf.int64)
            return tf.random.experimental.stateless_shuffle(indices, seed=(self._seed, epoch))
        return tf.range(self.steps * self.batch_size, dtype=tf.int64) % self._num
