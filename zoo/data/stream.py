"""A split that is read anew in every epoch: from files of records, a generator, a database.

    train = Stream(columns, lambda: tf.data.TFRecordDataset(files).map(parse), num=50_000)
    data = zoo.data.DataSet("mine", "records of mine", columns, train, validation, test)
    zoo.fit("resnet18", data=data, out="runs/mine")

The order of an epoch is a function of (seed, epoch): blocks of `buffer` examples are shuffled, each
within itself, and the blocks begin elsewhere in every epoch. So no more than a block is in memory,
and a resumed run sees what an uninterrupted one would have seen; it reads again what it skips.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.common.columns import KINDS, Column
from zoo.data.dataset import Split


class Stream:
    """Examples that are read one after another, in the same order every time.

    Args:
        columns: What an example is made of.
        make: Returns the examples from the first on: a `tf.data.Dataset`, or an iterable, of
            mappings from the names of the columns to one example's values. It is called for every
            epoch.
        num: Number of examples.
        buffer: Examples that are shuffled together, and in memory at the same time.

    Raises:
        ValueError: There is no example, or no buffer.
    """

    def __init__(
        self,
        columns: Mapping[str, Column],
        make: Callable[[], Iterable[Mapping[str, Any]] | tf.data.Dataset],
        num: int,
        *,
        buffer: int = 1024,
    ):
        if num < 1 or buffer < 1:
            raise ValueError(f"Stream: got {num} examples, buffer {buffer}; expected 1 or more.")
        self.columns, self.buffer = dict(columns), buffer
        self._make, self._num = make, num

    def __len__(self) -> int:
        return self._num

    def __iter__(self) -> Any:
        return iter(self.columns)

    def __getitem__(self, which: slice) -> Split:
        """Returns the first examples, read into memory; no others can be asked for."""
        if not isinstance(which, slice) or which.start or which.step or which.stop is None:
            raise TypeError(f"Stream: got [{which!r}]; expected [:count], the first examples.")
        count = min(which.stop, self._num)
        rows = list(self._examples().take(count).as_numpy_iterator())
        if len(rows) < count:
            raise ValueError(f"Stream: {len(rows)} examples came; expected {self._num}.")
        return Split({name: np.stack([row[name] for row in rows]) for name in self.columns})

    def dataset(self, shuffled: tuple[int, int] | None = None) -> tf.data.Dataset:
        """Returns the examples, again and again.

        Args:
            shuffled: Seed and epoch to shuffle by; `None` keeps the order.
        """
        examples = self._examples().take(self._num)
        if shuffled is None or self.buffer == 1:
            return examples.repeat()
        with tf.device("CPU:0"):
            seed = tf.constant(shuffled, tf.int64)
            first = tf.random.stateless_uniform((), seed, 1, self.buffer + 1, tf.int64)
        blocks = examples.take(first).batch(self.buffer)
        blocks = blocks.concatenate(examples.skip(first).batch(self.buffer))

        def shuffle(number: tf.Tensor, block: Mapping[str, tf.Tensor]) -> Mapping[str, tf.Tensor]:
            own = tf.random.experimental.stateless_fold_in(seed, number)
            order = tf.random.experimental.stateless_shuffle(
                tf.range(tf.shape(next(iter(block.values())))[0]), own
            )
            return {name: tf.gather(values, order) for name, values in block.items()}

        return blocks.enumerate().map(shuffle).unbatch()

    def _examples(self) -> tf.data.Dataset:
        """The examples as a `tf.data.Dataset` of the columns, in their types."""
        made = self._make()
        signature = {
            name: tf.TensorSpec(column.shape, KINDS[column.kind][0])
            for name, column in self.columns.items()
        }
        if not isinstance(made, tf.data.Dataset):
            return tf.data.Dataset.from_generator(
                lambda: ({name: row[name] for name in signature} for row in self._make()),
                output_signature=signature,
            )
        missing = set(signature) - set(made.element_spec)
        if missing:
            raise ValueError(
                f"Stream: got {', '.join(made.element_spec)}; expected {', '.join(signature)} too."
            )

        def typed(row: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
            values = {name: tf.cast(row[name], spec.dtype) for name, spec in signature.items()}
            return {name: tf.ensure_shape(values[name], s.shape) for name, s in signature.items()}

        return made.map(typed)
