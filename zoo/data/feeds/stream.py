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

from zoo.common.columns import IGNORED, KINDS, Column
from zoo.data.dataset import Split
from zoo.data.faults import first_fault
from zoo.data.feeds.source import told

PLACES = {"box", "boxes", "instances"}  # kinds that have to fit a picture


class Stream:
    """Examples that are read one after another, in the same order every time.

    Args:
        columns: What an example is made of.
        make: Returns the examples from the first on: a `tf.data.Dataset`, or an iterable, of
            mappings from the names of the columns to one example's values. It is called for every
            epoch.
        num: Number of examples; of more, the first so many are read.
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
        if not callable(make):
            raise TypeError(
                f"Stream: make: got {type(make).__name__}; expected a function that returns the "
                "examples from the first on, e.g. `lambda: dataset`: it is called in every epoch."
            )
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
        rows = list(told(self._examples().take(count).as_numpy_iterator()))
        return Split({name: np.stack([row[name] for row in rows]) for name in self.columns})

    def dataset(self, shuffled: tuple[int, int] | None = None) -> tf.data.Dataset:
        """Returns the examples, again and again.

        Args:
            shuffled: Seed and epoch to shuffle by; `None` keeps the order.

        Raises:
            ValueError: While they are read: fewer examples came than were promised, or a value is
                not one of its column.
        """
        examples = self._examples()
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
        """The promised examples as a `tf.data.Dataset` of the columns, in their types."""
        made = self._make()
        signature = {
            name: tf.TensorSpec(column.shape, KINDS[column.kind][0])
            for name, column in self.columns.items()
        }
        if not isinstance(made, tf.data.Dataset):
            examples = tf.data.Dataset.from_generator(
                lambda: (self._row(row, signature) for row in self._make()),
                output_signature=signature,
            )
        else:
            _check_row(made.element_spec, signature)
            for name, spec in signature.items():
                given = made.element_spec[name]
                _check_type(name, given.dtype.as_numpy_dtype, spec)
                if not spec.shape.is_compatible_with(given.shape):
                    hint = " Take `.unbatch()`." if given.shape.rank == spec.shape.rank + 1 else ""
                    raise ValueError(_other_shape(name, given.shape, spec) + hint)
            examples = made.map(
                lambda row: {
                    name: _typed(name, row[name], spec, self.columns[name])
                    for name, spec in signature.items()
                }
            )
            if PLACES & {column.kind for column in self.columns.values()}:
                examples = examples.map(self._checked)
        return examples.concatenate(self._end(signature)).take(self._num)

    def _row(self, row: Any, signature: Mapping[str, tf.TensorSpec]) -> dict[str, np.ndarray]:
        """An example of a generator, in the types of the columns."""
        _check_row(row, signature)
        values = {name: _converted(name, row[name], spec) for name, spec in signature.items()}
        self._check(values)
        return values

    def _check(self, values: Mapping[str, np.ndarray]) -> None:
        """Refuses an example whose values are not those of its columns, or do not fit its picture.

        Raises:
            ValueError: One is not.
        """
        one = {name: value[None] for name, value in values.items()}
        for name, value in one.items():
            self.columns[name].check(f"Stream: {name}", value)
        if (fault := first_fault(self.columns, one)) is not None:
            place = str(list(fault.place[1:])) if fault.place[1:] else ""
            raise ValueError(f"Stream: {fault.column}{place}: {fault.told}")

    def _checked(self, row: Mapping[str, tf.Tensor]) -> dict[str, tf.Tensor]:
        """An example of a graph, once it has been looked at."""

        def look(*values: np.ndarray) -> np.ndarray:
            self._check(dict(zip(row, map(np.asarray, values), strict=True)))
            return np.zeros((), np.int32)

        seen = tf.numpy_function(look, list(row.values()), tf.int32)
        with tf.control_dependencies([seen]):
            return {name: tf.identity(value) for name, value in row.items()}

    def _end(self, signature: Mapping[str, tf.TensorSpec]) -> tf.data.Dataset:
        """An example that cannot be read; it stands where the last one should have come."""

        def refuse() -> None:
            raise ValueError(
                f"Stream: got fewer examples than num, {self._num}; expected at least as many. "
                "Count them first."
            )

        def example(_: tf.Tensor) -> dict[str, tf.Tensor]:
            values = tf.numpy_function(refuse, [], [spec.dtype for spec in signature.values()])
            for value, spec in zip(values, signature.values(), strict=True):
                value.set_shape(spec.shape)
            return dict(zip(signature, values, strict=True))

        return tf.data.Dataset.range(1).map(example)


def _check_row(row: Any, signature: Mapping[str, tf.TensorSpec]) -> None:
    """Refuses an example that lacks a column."""
    wanted = ", ".join(signature)
    if not isinstance(row, Mapping):
        raise ValueError(
            f"Stream: got an example that is a {type(row).__name__}; expected a mapping of {wanted}"
            " to values."
        )
    if set(signature) - set(row):
        raise ValueError(f"Stream: got an example of {', '.join(row)}; expected {wanted}.")


def _other_shape(name: str, shape: Any, spec: tf.TensorSpec) -> str:
    return f"Stream: {name}: got the shape {tuple(shape)}; expected {tuple(spec.shape)}."


def _check_type(name: str, dtype: Any, spec: tf.TensorSpec) -> None:
    """Refuses numbers with fractions where there are whole ones: pixels in [0, 1] would be 0."""
    wanted = spec.dtype.as_numpy_dtype
    if np.issubdtype(wanted, np.integer) and not np.issubdtype(dtype, np.integer):
        raise ValueError(
            f"Stream: {name}: got {np.dtype(dtype)}; expected whole numbers, {np.dtype(wanted)}. "
            + ("Pixels are 0 to 255." if name in ("image", "mask") else "Round them yourself.")
        )


def _converted(name: str, value: Any, spec: tf.TensorSpec) -> np.ndarray:
    """A value of a generator in the type of its column."""
    array = np.asarray(value)
    _check_type(name, array.dtype, spec)
    if not spec.shape.is_compatible_with(array.shape):
        raise ValueError(_other_shape(name, array.shape, spec))
    new = array.astype(spec.dtype.as_numpy_dtype)
    if array.dtype.kind in "iu" and not np.array_equal(new, array):
        raise ValueError(_too_large(name, spec))
    return new


def _typed(name: str, value: tf.Tensor, spec: tf.TensorSpec, column: Column) -> tf.Tensor:
    """A tensor in the type of its column; an index is one of its names."""
    new = tf.ensure_shape(tf.cast(value, spec.dtype), spec.shape)
    checks = []
    if value.dtype.is_integer and value.dtype != spec.dtype:
        same = tf.reduce_all(tf.cast(new, value.dtype) == value)
        checks.append(tf.debugging.Assert(same, [f"ValueError: {_too_large(name, spec)}"]))
    low, high = column.span
    if high is not None:
        index = tf.cast(value, tf.int64)
        known = (index >= low) & (index <= high)
        if column.kind == "mask":
            known |= index == IGNORED
        within = tf.reduce_all(known)
        told = f"ValueError: Stream: {name}: got an index beyond {low} to {high}."
        checks.append(tf.debugging.Assert(within, [told]))
    with tf.control_dependencies(checks):
        return tf.identity(new)


def _too_large(name: str, spec: tf.TensorSpec) -> str:
    return f"Stream: {name}: got a value that is no {spec.dtype.name}; expected only such."
