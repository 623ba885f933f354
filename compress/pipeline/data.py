"""What a compiled model learns from, in the forms that `model.fit` takes; read several times."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import keras
import numpy as np
from keras import ops

BATCH = 32  # what Keras takes where nothing is said


@dataclass(frozen=True, eq=False)  # arrays have no one answer
class Data:
    """What a model learns from, or is measured on, with the names of `model.fit`.

        compress.Data(x, y, batch_size=64, class_weight={0: 1.0, 1: 5.0})
        compress.Data(make_batches, steps=100)  # `make_batches()` returns a generator

    Attributes:
        x: Inputs (n, ...): an array, or several in a list or a dict; or what gives whole batches: a
            `tf.data.Dataset`, a `keras.utils.PyDataset`, or a function that returns a generator.
        y: Targets of arrays.
        sample_weight: Weights (n,) of the examples of arrays; batches bring their own.
        class_weight: Weight of each class in the training.
        batch_size: Examples of a batch of arrays; `None`: 32.
        steps: Batches of an epoch, where the data does not say how many.
        verbose: How much Keras prints while it trains; `None`: its bar in a notebook, else nothing.
    """

    x: Any
    y: Any = None
    sample_weight: Any = None
    class_weight: Mapping[int, float] | None = None
    batch_size: int | None = None
    steps: int | None = None
    verbose: Any = None

    @classmethod
    def of(cls, values: Any, *, name: str = "data") -> Data:
        """Returns data in any of its forms as `Data`; it is read more than once.

        Args:
            values: `Data`, or its `x`; a tuple is `(x, y)`, or with `sample_weight` behind.
            name: What it is called in errors.

        Raises:
            TypeError: It is none of these.
            ValueError: It can be read once only, or does not say how long an epoch is.
        """
        if isinstance(values, cls):
            data = values
        elif isinstance(values, (tuple, list)):
            if len(values) not in (1, 2, 3):
                raise ValueError(
                    f"{name}: got {len(values)} parts; expected (x, y), or (x, y, sample_weight). "
                    "Several inputs are one part: ([one, other], y)."
                )
            data = cls(*values)
        else:
            data = cls(values)
        if isinstance(data.x, Iterator):
            raise ValueError(
                f"{name}: got a {type(data.x).__name__}, which can be read once; expected a "
                "function that returns a new one: compress.Data(make_batches, steps=100)."
            )
        if isinstance(data.x, (str, bytes, int, float)) or data.x is None:
            raise TypeError(
                f"{name}: got {data.x!r}; expected arrays, a tf.data.Dataset, a "
                "keras.utils.PyDataset, or a function that returns a generator."
            )
        if data.steps is None and (data.is_made or data.length == -1):
            kind = "a function that makes batches" if data.is_made else "a dataset without end"
            raise ValueError(
                f"{name}: got {kind}, which does not say how long an epoch is; expected "
                "compress.Data(..., steps=100)."
            )
        return data

    @property
    def is_made(self) -> bool:
        """Whether the batches are made by a function."""
        return callable(self.x)

    @property
    def gives_batches(self) -> bool:
        """Whether whole batches are given, targets included."""
        return self.is_made or self.length is not None or _is_batches(self.x)

    @property
    def length(self) -> int | None:
        """Batches of a `tf.data.Dataset`, -1 without end, -2 where it cannot tell; else None."""
        return int(self.x.cardinality()) if hasattr(self.x, "cardinality") else None

    def arguments(self, *, training: bool) -> dict[str, Any]:
        """Returns the arguments of `fit`, or of `evaluate`, that say what is read, and how."""
        steps = {"steps_per_epoch" if training else "steps": self.num_steps}
        weights = {"class_weight": self.class_weight} if training and self.class_weight else {}
        in_order = {"shuffle": False} if training else {}  # what gives batches shuffles them itself
        if self.is_made:  # for which Keras takes no weights of classes
            batches = _endless(self.x, self.class_weight if training else None)
            return {"x": batches, **steps, **in_order}
        if self.length is not None:
            once = self.num_steps is None or (self._is_counted and not training)
            x = self.x if once else self.x.repeat()
            return {"x": x, **steps, **in_order, **weights}
        if self.gives_batches:
            return {"x": self.x, **steps, **weights}
        values = {"x": self.x, "y": self.y, "sample_weight": self.sample_weight}
        return {**values, "batch_size": self.batch_size, **steps, **weights}

    @cached_property
    def num_steps(self) -> int | None:
        """Batches of an epoch, to be told to Keras; None where the data says it.

        Those of a data set that does not know are counted.
        """
        return self._counted[0] if self._is_counted else self.steps

    @cached_property
    def first(self) -> tuple[Any, Any, Any] | None:
        """`(x, y, sample_weight)` of the first batch, if any; of arrays the whole ones."""
        if not self.gives_batches:
            return self.x, self.y, self.sample_weight
        found: Any = self._counted[1] if self._is_counted else next(self.batches(), None)
        return found

    @property
    def _is_counted(self) -> bool:
        return self.steps is None and self.length == -2

    @cached_property
    def _counted(self) -> tuple[int, Any]:
        """The number of batches, and the first: such data may be slow to begin."""
        first, number = None, 0
        for batch in self.x:
            number += 1
            first = first or keras.utils.unpack_x_y_sample_weight(batch)
        return number, first

    def batches(self) -> Iterator[tuple[Any, Any, Any]]:
        """Gives `(x, y, sample_weight)` of the first epoch, batch by batch, in order."""
        if not self.gives_batches:
            whole = (self.x, self.y, self.sample_weight)
            size, num = self.batch_size or BATCH, _count(self.x)
            for start in range(0, num, size):
                yield tuple(_rows(part, slice(start, start + size)) for part in whole)
            return
        if isinstance(self.x, keras.utils.PyDataset):
            found: Any = (self.x[index] for index in range(self.x.num_batches or self.steps or 0))
        else:
            found = self.x() if self.is_made else iter(self.x)
        for batch in itertools.islice(found, self.steps):
            yield keras.utils.unpack_x_y_sample_weight(batch)

    def examples(self, count: int) -> Any:
        """Returns what holds inputs to calibrate on; of arrays at most `count`, of all parts."""
        if self.gives_batches:
            return self.x
        num = _count(self.x)
        return _rows(self.x, np.linspace(0, num - 1, min(num, count)).astype(int))


def check_data(data: Data, model: keras.Model, *, name: str = "data") -> None:
    """Refuses data without the targets that a compiled model learns from, or of no batches.

    Args:
        data: What is read.
        model: Compiled.
        name: What the data is called in errors.

    Raises:
        ValueError: It is such.
    """
    if data.first is None:
        raise ValueError(f"{name}: got no examples; expected batches of some hundred.")
    x, y, weight = data.first
    if y is None and model.loss is not None:
        raise ValueError(
            f"{name}: got no targets, and the loss of {model.name!r} compares with them; expected "
            "(x, y), or batches of (x, y)."
        )
    if not data.gives_batches:
        sizes = {
            key: sorted({len(part) for part in keras.tree.flatten(values)})
            for key, values in (("x", x), ("y", y), ("sample_weight", weight))
            if values is not None
        }
        if len({num for nums in sizes.values() for num in nums}) > 1:
            told = ", ".join(f"{key} of {nums}" for key, nums in sizes.items())
            raise ValueError(f"{name}: got {told} examples; expected equal numbers.")
    given = [tuple(np.shape(part)) for part in keras.tree.flatten(x)]
    single = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    if data.gives_batches and len(given) == len(single) and all(map(_fits, given, single)):
        raise ValueError(
            f"{name}: got elements of single examples, {', '.join(map(str, given))}; expected "
            "batches. A tf.data.Dataset makes them: dataset.batch(32)."
        )
    loss = getattr(model.loss, "name", model.loss)
    num = model.outputs[0].shape[-1]
    if loss == "sparse_categorical_crossentropy" and len(model.outputs) == 1 and num:
        labels = np.asarray(ops.convert_to_numpy(y))
        ignored = getattr(model.loss, "ignore_class", None)
        labels = labels if ignored is None else labels[labels != ignored]
        if labels.size and not 0 <= labels.min() <= labels.max() < num:
            raise ValueError(
                f"{name}: got labels from {labels.min()} to {labels.max()}; expected 0 to "
                f"{num - 1}, as {model.name!r} has {num} outputs."
            )


def _fits(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        size in (None, got) for got, size in zip(shape, wanted, strict=True)
    )


def _endless(make: Callable[[], Any], weights: Mapping[int, float] | None) -> Iterator[Any]:
    """Gives the batches of a generator, and of another when that is over; weighted by class."""
    while True:
        count = 0
        for count, batch in enumerate(make(), 1):  # noqa: B007 - tells whether there was any
            x, y, sample_weight = keras.utils.unpack_x_y_sample_weight(batch)
            if weights and sample_weight is None:
                batch = (x, y, of_classes(y, weights))
            yield batch
        if not count:
            raise ValueError("data: got a function whose generator gives no batch.")


def of_classes(y: Any, weights: Mapping[int, float]) -> np.ndarray:
    """Returns the weight of each example (n,), by its class: a number, or the largest of a row."""
    labels = np.asarray(ops.convert_to_numpy(y))
    if labels.ndim > 1:
        labels = labels.argmax(-1) if labels.shape[-1] > 1 else labels[..., 0]
    return np.array([weights.get(int(label), 1.0) for label in labels], "float32")


def _count(x: Any) -> int:
    return len(keras.tree.flatten(x)[0])


def _rows(values: Any, index: Any) -> Any:
    """Some rows of each array of a structure; tables of pandas are arrays here."""
    return keras.tree.map_structure(
        lambda part: None if part is None else np.asarray(part)[index], values
    )


def _is_batches(values: Any) -> bool:
    loader = any(kind.__name__ == "DataLoader" for kind in type(values).__mro__)  # of PyTorch
    return isinstance(values, keras.utils.PyDataset) or loader
