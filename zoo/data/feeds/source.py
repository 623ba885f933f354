"""Where batches come from: a split in memory, files on a disk, or an environment that is acted in.

The source owns the order of the examples, the noise and the environment. What it gives in a step is
a function of (seed, epoch, step) and of its state, which a snapshot keeps.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal, NamedTuple, Protocol, TypeVar

import tensorflow as tf

_T = TypeVar("_T")


class Source(Protocol):
    """Gives batches of named columns.

    A batch maps names of columns to tensors (b, ...), and `weight` to (b,), which is 0 for an
    example that only fills the batch up.

    Attributes:
        batch_size: Examples in a step, over all replicas.
        steps: Steps in an epoch.
    """

    batch_size: int
    steps: int

    def batches(
        self,
        strategy: tf.distribute.Strategy,
        epoch: int = 0,
        *,
        start: int = 0,
        networks: Any = None,
    ) -> Iterator[Any]:
        """Gives the batches of an epoch, dealt out to the replicas.

        Args:
            strategy: Where the batches go.
            epoch: Number of the epoch, from 0.
            start: First step, in [0, steps].
            networks: The networks that learn, by name: a source that acts asks them.
        """

    def state(self) -> dict[str, Any]:
        """Returns what is needed to go on exactly: plain numbers, text and arrays by name."""

    def restore(self, state: Mapping[str, Any]) -> None:
        """Goes back to a state."""


def told(batches: Iterable[_T]) -> Iterator[_T]:
    """Gives what it is given; an error of Python within TensorFlow's graph is itself again.

    Raises:
        FileNotFoundError, ValueError: What was raised where examples are read.
    """
    try:
        yield from batches
    except (tf.errors.InvalidArgumentError, tf.errors.UnknownError) as error:
        found = re.search(r"(FileNotFoundError|ValueError): (.+?)(?:\\n|\n|$)", error.message)
        if found is None:
            raise
        kind = FileNotFoundError if found[1] == "FileNotFoundError" else ValueError
        raise kind(found[2]) from None


class Draw(NamedTuple):
    """A column of random numbers, or of what an example is in its batch.

    Attributes:
        kind: `normal`, of mean 0 and deviation 1; `uniform`, in [0, 1); or `place`, which is not
            drawn: 1 at the place of the example in its batch, of so many places, 0 elsewhere.
        shape: Shape of one example.
    """

    kind: Literal["normal", "uniform", "place"]
    shape: tuple[int, ...]


def noise(
    draws: Mapping[str, Draw], seed: tf.Tensor, num: int, *, start: Any = 0, count: Any = None
) -> dict[str, tf.Tensor]:
    """Returns the columns of noise of a step.

    They are drawn for the whole batch, so that sharing it between replicas changes nothing.

    Args:
        draws: What to draw, by name.
        seed: Two integers (2,), a function of the run's seed, the epoch and the step.
        num: Examples in the whole batch.
        start: First example to return.
        count: Number of examples to return; `None` returns all from `start` on.
    """
    drawn = {}
    for number, (name, (kind, shape)) in enumerate(sorted(draws.items())):
        if kind == "place":
            values = tf.one_hot(tf.range(num) % shape[0], shape[0])
        else:
            draw = tf.random.stateless_normal if kind == "normal" else tf.random.stateless_uniform
            own = tf.random.experimental.stateless_fold_in(seed, number + 1)
            values = draw((num, *shape), own)
        values = values[start:][:count]
        # A start that is a tensor hides how many are left.
        drawn[name] = values if count is None else tf.ensure_shape(values, (count, *shape))
    return drawn
