"""Batches of a split, their order and their noise functions of (seed, epoch, step).

Examples stay in one tensor for each column, images as uint8; a batch is one gather by index.
What stays on the disk is read by index, to the same values. Any step can be asked for
directly, so a resumed run sees what an uninterrupted one would have seen, and one device or several
see the same examples.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator, Mapping
from typing import Any

import tensorflow as tf

from zoo.common.columns import PLACED
from zoo.data.augment import appearance, mixing, mosaic
from zoo.data.augment.geometry import carry, draw, moves
from zoo.data.dataset import Split
from zoo.data.feeds.buckets import Buckets
from zoo.data.feeds.on_disk import OnDisk
from zoo.data.feeds.source import Draw, noise, told
from zoo.data.feeds.stream import Stream
from zoo.data.preprocessing import Preprocessing
from zoo.recipe import Augment

PARALLEL = min(8, os.cpu_count() or 1)  # batches that are made at the same time
PLACES = (*PLACED, "regions")  # usual names of columns
WORDS = ("tokens", "phrases")
MOSAIC = 1 << 16  # folded into the seed of a step, beyond the numbers of columns of noise


class Batches:
    """What every source of a data set does with the examples of a step.

    Args:
        preprocessing: How the values of a column become inputs, by name of the column; the other
            columns come as they are.
        shapes: Shape of one example of each column, by name.
        batch_size: Examples in a step, over all replicas.
        seed: Seed of the augmentation and the noise, in [0, 2**31).
        augment: Random changes of the images, and of what is in them; `None` changes nothing.
        draws: Columns of noise, by name.

    Raises:
        ValueError: Augmentation is asked for without images, or mosaics of what four pictures
            cannot share, or `mirror` is `auto`.
    """

    def __init__(
        self,
        preprocessing: Mapping[str, Preprocessing],
        shapes: Mapping[str, tuple[int, ...]],
        *,
        batch_size: int,
        seed: int,
        augment: Augment | None,
        draws: Mapping[str, Draw] | None,
    ):
        self.batch_size, self.seed = batch_size, seed
        self.augment = augment if augment is not None and moves(augment) else None
        if self.augment is not None and "image" not in shapes:
            raise ValueError(
                "data.augment: got a shift, rotation, scale or mirror for rows of a table or texts;"
                " expected none. Only images, and what is in them, can move."
            )
        if self.augment is not None and self.augment.mirror and "points" in shapes:
            raise ValueError(
                f"data.augment.mirror: got {self.augment.mirror} for a column of points, of which "
                "left and right would be taken for each other; expected none."
            )
        self.looks = augment if augment is not None and appearance.changes(augment) else None
        self.mixed = augment if augment is not None and mixing.mixes(augment) else None
        if augment is not None:
            _check_looks(augment, shapes)
        self.mosaic = augment.mosaic if augment is not None else 0.0
        if self.mosaic:
            mosaic.check(shapes)
            self._side = shapes["image"][0], shapes["image"][1]
        self.draws = dict(draws or {})
        # On the CPU, where tf.data runs, whatever the default device is.
        with tf.device("CPU:0"):
            # Spread over the whole image: TensorFlow broadcasts 3 channels three times slower.
            self.affine = {
                name: [tf.broadcast_to(value, shapes[name]) for value in known.affine]
                for name, known in preprocessing.items()
            }

    def share(self, replicas: int) -> int:
        """Returns the number of examples of a replica in a step.

        Raises:
            ValueError: The batch cannot be shared evenly.
        """
        if self.batch_size % replicas:
            below = self.batch_size // replicas * replicas or replicas
            raise ValueError(
                f"train.batch_size: got {self.batch_size}; expected a multiple of {replicas}, the "
                f"number of devices that share it, e.g. {below} or {below + replicas}."
            )
        return self.batch_size // replicas

    def four(
        self, chosen: tf.Tensor, element: tf.Tensor, *, of: int, epoch: int, replicas: int
    ) -> tuple[tf.Tensor, tf.Tensor]:
        """Draws the mosaics of an element.

        Args:
            chosen: Numbers of its examples (b,), int64.
            element: See `prepared`.
            of: Number of examples that the others are chosen from.
            epoch: Number of the epoch.
            replicas: Number of devices that share a step.

        Returns:
            Numbers of the four pictures of each (b, 4), its own first, and where they meet (b, 2).
        """
        share = self.share(replicas)
        seed = tf.random.experimental.stateless_fold_in(
            self._seed(element, epoch, replicas), MOSAIC
        )
        drawn = mosaic.draw(self.batch_size, seed, of=of, side=self._side, share=self.mosaic)
        start = element % replicas * share
        others, meets = (tf.slice(x, [start, 0], [share, -1]) for x in drawn)
        return tf.concat([chosen[:, None], others], axis=1), meets

    def _seed(self, element: tf.Tensor, epoch: int, replicas: int) -> tf.Tensor:
        """The seed of a step: numbers are drawn for a whole batch, so sharing it changes none."""
        return tf.random.experimental.stateless_fold_in([self.seed, epoch], element // replicas)

    def prepared(
        self,
        batch: Mapping[str, tf.Tensor],
        element: tf.Tensor,
        *,
        epoch: int,
        replicas: int,
        partners: Mapping[str, tf.Tensor] | None = None,
    ) -> dict[str, tf.Tensor]:
        """Changes and preprocesses the examples of an element, and adds its noise.

        Args:
            batch: Columns (b, ...), as they are.
            element: Its number: the share of replica `element % replicas` in step
                `element // replicas`.
            epoch: Number of the epoch.
            replicas: Number of devices that share a step.
            partners: Columns of the examples that each is mixed with; `None` where a share is a
                whole batch, which has them.
        """
        share, replica = self.share(replicas), element % replicas
        seed = self._seed(element, epoch, replicas)
        places = replica * share + tf.range(share, dtype=tf.int64)
        batch = self._changed(batch, seed, places)
        if self.mixed is not None:
            if partners is None:
                partners = {name: batch[name][::-1] for name in ("image", "label")}
            else:
                partners = self._changed(partners, seed, self.batch_size - 1 - places)
            drawn = mixing.draw(self.batch_size, seed, self.mixed)
            batch = mixing.mix(batch, partners, tf.gather(drawn, places))
        for name, (factor, offset) in self.affine.items():
            batch[name] = tf.cast(batch[name], tf.float32) * factor + offset
        return batch | noise(self.draws, seed, self.batch_size, start=replica * share, count=share)

    def _changed(
        self, batch: Mapping[str, tf.Tensor], seed: tf.Tensor, places: tf.Tensor
    ) -> dict[str, tf.Tensor]:
        """Moves and changes the examples at some places of a whole batch."""
        batch = dict(batch)
        if self.augment is not None:
            motions = tf.gather(draw(self.batch_size, seed, self.augment), places)
            batch = carry(batch, motions, self.augment)
        if self.looks is not None:
            drawn = tf.gather(appearance.draw(self.batch_size, seed, self.looks), places)
            batch["image"] = appearance.change(batch["image"], drawn, self.looks)
        return batch


def _check_looks(augment: Augment, shapes: Mapping[str, Any]) -> None:
    """Refuses changes of what pictures look like that make their columns untrue.

    Raises:
        ValueError: There are no pictures, or columns that a change does not keep.
    """
    keys = ("crop", "rand_augment", "jitter", "erase", "mixup", "cutmix")
    for key in (key for key in keys if getattr(augment, key)):
        others = [name for name in (*WORDS, *PLACES) if name in shapes]
        if key in ("jitter", "erase"):
            others = [name for name in WORDS if name in shapes]
        if key in ("mixup", "cutmix") and "label" not in shapes:
            others = others or [name for name in shapes if name != "image"]
        if "image" not in shapes or others:
            told = f"a column {others[0]}, which it makes untrue" if others else "no pictures"
            raise ValueError(
                f"data.augment.{key}: got {getattr(augment, key)} for examples with {told}; "
                f"expected pictures and their label. Write data.augment.{key}=0."
            )


class Feed:
    """Preprocessed batches of a split: a `zoo.data.feeds.source.Source`.

    Training shuffles anew in every epoch, all or blocks of `split.buffer`, and drops the remainder,
    a different one each time.
    Evaluation keeps the order and fills the last batch with repeated examples of weight 0.

    Args:
        split: The examples.
        preprocessing: How the values of a column become inputs, by name of the column; the other
            columns come as they are.
        batch_size: Examples in a step, over all replicas; when training on fewer than that, the
            batch is reduced to all of them, with a warning.
        seed: Seed of the order, the augmentation and the noise, in [0, 2**31).
        training: Whether to shuffle, and to drop the remainder.
        augment: Random changes of the training images, and of what is in them; `None` changes
            nothing.
        draws: Columns of noise, by name.
        buckets: What batches are cut by when training, see `zoo.data.feeds.buckets`; `None`: not.

    Attributes:
        batch_size: Examples in a step, over all replicas.
        steps: Steps in an epoch.
        even: Whether all batches have one shape.

    Raises:
        ValueError: The split is empty, the batch size is below 1, a column does not fit its
            preprocessing, augmentation is asked for outside training or without images, or mosaics
            of a stream or of what four pictures cannot share, or `mirror` is `auto`.
    """

    def __init__(
        self,
        split: Split | Stream,
        preprocessing: Mapping[str, Preprocessing],
        *,
        batch_size: int,
        seed: int = 0,
        training: bool = False,
        augment: Augment | None = None,
        draws: Mapping[str, Draw] | None = None,
        buckets: Buckets | None = None,
    ):
        num = len(split)
        if not num or batch_size < 1:
            raise ValueError(
                f"Feed: got {num} images in batches of {batch_size}; expected 1 or more."
            )
        if augment is not None and not training:
            raise ValueError("Feed: got augment with training=False; evaluation changes no image.")
        head = split[:1]
        for name, known in preprocessing.items():
            known.check(split[name] if isinstance(split, Split) else head[name])
        if training and num < batch_size:
            warnings.warn(
                f"batch_size: got {batch_size} for {num} training images; using {num}.",
                stacklevel=2,
            )
            batch_size = num
        for name, one in (draws or {}).items():
            if training and one.kind == "place" and batch_size > one.shape[0]:
                raise ValueError(
                    f"train.batch_size: got {batch_size}; expected {one.shape[0]} at most, the "
                    f"places of the column {name}. Write train.batch_size."
                )
        shapes = {name: tuple(values.shape[1:]) for name, values in head.columns.items()}
        self._made = Batches(
            preprocessing, shapes, batch_size=batch_size, seed=seed, augment=augment, draws=draws
        )
        self.batch_size = batch_size
        self.steps = num // batch_size if training else -(-num // batch_size)
        self._num, self._seed, self._training = num, seed, training
        self._buffer, self._buckets = split.buffer, buckets
        self.even = buckets is None
        self._whole: tuple[tf.distribute.Strategy, Any] | None = None
        self._stream = split if isinstance(split, Stream) else None
        if self._stream is not None and self._made.mosaic:
            raise ValueError(
                "data.augment.mosaic: got a stream, whose examples come one after another; "
                "expected examples that can be asked for by number. Write data.augment.mosaic=0."
            )
        if isinstance(split, Split):
            with tf.device("CPU:0"):
                self._columns = {
                    name: values if isinstance(values, OnDisk) else tf.constant(values)
                    for name, values in split.columns.items()
                }

    def batches(
        self,
        strategy: tf.distribute.Strategy,
        epoch: int = 0,
        *,
        start: int = 0,
        networks: Any = None,
    ) -> Iterator[Any]:
        """See `zoo.data.feeds.source.Source.batches`; the networks are not asked."""
        if self._training or start:
            return told(self._distributed(strategy, epoch, start))
        if self._whole is None or self._whole[0] is not strategy:
            # Read again and again: to make it takes longer than to read a small split.
            self._whole = strategy, self._distributed(strategy, 0, 0)
        return told(self._whole[1])

    def check_shared(self, replicas: int) -> None:
        """Refuses a number of devices that cannot share a step evenly.

        Raises:
            ValueError: They cannot.
        """
        self._made.share(replicas)

    def state(self) -> dict[str, Any]:
        """See `zoo.data.feeds.source.Source.state`; there is nothing to keep."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `zoo.data.feeds.source.Source.restore`."""

    def dataset(
        self,
        epoch: int = 0,
        *,
        start: int = 0,
        replicas: int = 1,
        worker: int = 0,
        workers: int = 1,
    ) -> tf.data.Dataset:
        """Returns the batches of an epoch, or what one of several workers sees of them.

        Element k is the share of replica k % replicas in step start + k // replicas, as
        `tf.distribute.Strategy.distribute_datasets_from_function` deals them out. Of these a worker
        has those of its own replicas, which follow one another.

        Args:
            epoch: Number of the epoch, from 0; evaluation gives the same batches in every epoch.
            start: First step, in [0, steps].
            replicas: Number of devices that share a step, of all workers.
            worker: Number of the worker, from 0.
            workers: Number of workers, all with equally many devices.

        Returns:
            Elements that map the name of each column to its values (b, ...), float32 where the
            column is preprocessed, and `weight` to (b,) float32, with b = batch_size / replicas; a
            weight is 0 for an example that fills up the last batch, else 1.

        Raises:
            ValueError: The batch cannot be shared evenly, or `start` is out of range.
        """
        share = self._made.share(replicas)
        if replicas % workers:
            raise ValueError(
                f"workers: got {workers} for {replicas} devices; expected as many devices on each."
            )
        if not 0 <= start <= self.steps:
            raise ValueError(f"start: got step {start}; expected 0 to {self.steps}.")
        own = replicas // workers
        elements = tf.data.Dataset.range(start * own, self.steps * own)
        if workers > 1:
            elements = elements.map(lambda k: k // own * replicas + worker * own + k % own)

        def fetch(
            element: tf.Tensor,
            values: Mapping[str, tf.Tensor],
            partners: Mapping[str, tf.Tensor] | None = None,
        ) -> dict[str, tf.Tensor]:
            batch = self._made.prepared(
                values, element, epoch=epoch, replicas=replicas, partners=partners
            )
            place = element * share + tf.range(share, dtype=tf.int64)
            return batch | {"weight": tf.cast(place < self._num, tf.float32)}

        made: Any = fetch
        if self._stream is not None:
            if self._made.mixed is not None and replicas > 1:
                raise ValueError(
                    "data.augment: got mixup or cutmix of a stream for several devices, none of "
                    "which reads what another has; expected one. Write hardware.strategy=one."
                )
            shuffled = (self._seed, epoch) if self._training else None
            shares = self._stream.dataset(shuffled).batch(share, drop_remainder=True)
            shares = shares.skip(start * replicas)
            if workers > 1:  # each reads all of them, and keeps its own
                mine = shares.enumerate().filter(lambda k, _: k % replicas // own == worker)
                shares = mine.map(lambda _, values: values)
            elements = tf.data.Dataset.zip(elements, shares)
        else:
            with tf.device("CPU:0"):
                order = self._order(epoch)

            def gathered(element: tf.Tensor) -> dict[str, tf.Tensor]:
                chosen = tf.slice(order, [element * share], [share])
                if self._made.mixed is not None and replicas > 1:
                    step, place = element // replicas, element % replicas * share
                    last = (step + 1) * self.batch_size - 1 - place
                    others = tf.gather(order, last - tf.range(share, dtype=tf.int64))
                    return fetch(element, self._gathered(chosen), self._gathered(others))
                if self._buckets is not None:
                    step = element // replicas * self.batch_size
                    whole = tf.slice(order, [step], [self.batch_size])
                    return fetch(element, self._buckets.cut(self._gathered(chosen), whole))
                if not self._made.mosaic:
                    return fetch(element, self._gathered(chosen))
                four, meets = self._made.four(
                    chosen, element, of=self._num, epoch=epoch, replicas=replicas
                )
                columns = {
                    name: tf.reshape(values, (share, mosaic.CORNERS, *values.shape[1:]))
                    for name, values in self._gathered(tf.reshape(four, [-1])).items()
                }
                return fetch(element, mosaic.compose(columns, meets))

            made = gathered
        batches = elements.map(made, num_parallel_calls=PARALLEL, deterministic=True).prefetch(4)
        # The autotuner's thread sleeps for up to a minute between two looks, and the end of an
        # epoch would wait for it: epochs of VGG-16 took 41 s in place of 21 s.
        options = tf.data.Options()
        options.autotune.enabled = False
        return batches.with_options(options)

    def _distributed(self, strategy: tf.distribute.Strategy, epoch: int, start: int) -> Any:
        replicas = strategy.num_replicas_in_sync
        return strategy.distribute_datasets_from_function(
            lambda context: self.dataset(
                epoch,
                start=start,
                replicas=replicas,
                worker=context.input_pipeline_id,
                workers=context.num_input_pipelines,
            )
        )

    def _gathered(self, chosen: tf.Tensor) -> dict[str, tf.Tensor]:
        """The columns of some examples, by their numbers (b,)."""
        return {name: _gather(values, chosen) for name, values in self._columns.items()}

    def _order(self, epoch: int) -> tf.Tensor:
        """Indices of the examples of an epoch (at least steps * batch_size,), int64."""
        if self._training:
            seed, indices = (self._seed, epoch), tf.range(self._num, dtype=tf.int64)
            if self._buffer is None or self._buffer >= self._num:
                order = tf.random.experimental.stateless_shuffle(indices, seed=seed)
            else:
                order = _by_blocks(indices, self._buffer, seed)
            if self._buckets is not None:
                order = self._buckets.order(order, self.batch_size, seed)
            return order
        return tf.range(self.steps * self.batch_size, dtype=tf.int64) % self._num


def _by_blocks(indices: tf.Tensor, buffer: int, seed: tuple[int, int]) -> tf.Tensor:
    """Blocks of neighbours, in random order and each shuffled within itself.

    The blocks begin elsewhere in every epoch.

    Args:
        indices: 0, 1, ... (n,).
        buffer: Indices of a block, below n.
        seed: Of the order.
    """
    folded = [tf.random.experimental.stateless_fold_in(seed, number) for number in range(3)]
    first = tf.random.stateless_uniform((), folded[0], 1, buffer + 1, tf.int64)
    block = (indices + buffer - first) // buffer
    places = tf.random.experimental.stateless_shuffle(tf.range(block[-1] + 1), folded[1])
    mixed = tf.random.experimental.stateless_shuffle(indices, folded[2])
    return tf.gather(mixed, tf.argsort(tf.gather(places, tf.gather(block, mixed)), stable=True))


def _gather(column: tf.Tensor | OnDisk, chosen: tf.Tensor) -> tf.Tensor:
    """The values of some examples."""
    if not isinstance(column, OnDisk):
        return tf.gather(column, chosen)
    values = tf.numpy_function(column.read, [chosen], column.dtype, stateful=False)
    values.set_shape((chosen.shape[0], *column.shape[1:]))
    return values
