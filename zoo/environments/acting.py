"""Networks that are asked from NumPy, what they choose, and batches for the replicas.

One forward pass of all copies costs 0.3 ms, on a 2-core Xeon, whatever their number up to a
hundred; a step of CartPole costs 7 us. So copies side by side are what makes acting fast.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import keras
import numpy as np
import tensorflow as tf

Ask = Callable[[np.ndarray], np.ndarray]  # what is seen (n, features) to values (n, ...)


def asked(network: keras.Model) -> Ask:
    """Returns a network as a function from NumPy to NumPy; it reads the weights at each call."""
    signature = tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)

    @tf.function(autograph=False)
    def forward(features: Any) -> Any:
        return network(features, training=False)

    found = forward.get_concrete_function(signature)
    return lambda features: np.asarray(found(tf.constant(np.asarray(features, np.float32))))


class Asked:
    """The functions of networks; a network is traced once."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[keras.Model, Ask]] = {}

    def __call__(self, networks: Mapping[str, keras.Model], name: str) -> Ask:
        """Returns the function of one network, see `asked`."""
        network = networks[name]
        if name not in self._known or self._known[name][0] is not network:
            self._known[name] = network, asked(network)
        return self._known[name][1]


def greedy(values: np.ndarray) -> np.ndarray:
    """Returns the action of the largest value, the first of equals: (n, actions) to (n,)."""
    return np.asarray(values.argmax(axis=1))


def sampled(logits: np.ndarray, uniform: np.ndarray) -> np.ndarray:
    """Returns actions drawn from the softmax of logits, by its cumulative sums.

    Args:
        logits: (n, actions).
        uniform: Random numbers in [0, 1), (n,).
    """
    shares = np.exp(logits.astype(np.float64) - logits.max(axis=1, keepdims=True))
    sums = np.cumsum(shares, axis=1)
    below = sums <= uniform[:, None] * sums[:, -1:]
    return np.minimum(below.sum(axis=1), logits.shape[1] - 1)


def explored(values: np.ndarray, epsilon: float, uniform: np.ndarray) -> np.ndarray:
    """Returns the greedy action, or with probability `epsilon` any action.

    Args:
        values: (n, actions).
        epsilon: Probability in [0, 1].
        uniform: Random numbers in [0, 1), (n, 2): whether to explore, and what to do then.
    """
    num_actions = values.shape[1]
    other = (uniform[:, 1] * num_actions).astype(np.int64)
    return np.where(uniform[:, 0] < epsilon, other, greedy(values))


def returns(finished: list[float], size: int) -> dict[str, np.ndarray]:
    """Returns the columns that carry the returns of finished episodes, and takes those away.

    Args:
        finished: Returns; those beyond `size` wait for the next batch.
        size: Examples in the batch.

    Returns:
        `return` (size,), and `finished` (size,), which is 1 where there is a return.
    """
    values, there = np.zeros(size, np.float32), np.zeros(size, np.float32)
    known = finished[:size]
    values[: len(known)], there[: len(known)] = known, 1.0
    del finished[:size]
    return {"return": values, "finished": there}


def dealt(columns: Mapping[str, np.ndarray], strategy: tf.distribute.Strategy) -> Any:
    """Deals a batch out to the replicas.

    Args:
        columns: The whole batch, (b, ...) by name, `weight` among them; it is filled up with rows
            of weight 0 until all replicas have the same number.
        strategy: Has the replicas.
    """
    replicas = strategy.num_replicas_in_sync
    missing = -len(columns["weight"]) % replicas
    if missing:
        columns = {
            name: np.concatenate([values, np.zeros_like(values[:1]).repeat(missing, axis=0)])
            for name, values in columns.items()
        }
    share = len(columns["weight"]) // replicas

    def part(context: Any) -> dict[str, Any]:
        first = context.replica_id_in_sync_group * share
        return {name: tf.constant(v[first : first + share]) for name, v in columns.items()}

    return strategy.experimental_distribute_values_from_function(part)


class Acting:
    """What sources of batches share that come from acting; see `zoo.data.feeds.source.Source`.

    Attributes:
        steps: Batches in an epoch.
    """

    steps: int
    own_code = True  # see `Source`: an environment is anybody's

    def batches(
        self,
        strategy: tf.distribute.Strategy,
        epoch: int = 0,
        *,
        start: int = 0,
        networks: Any = None,
    ) -> Iterator[Any]:
        """See `zoo.data.feeds.source.Source.batches`; the networks act."""
        for step in range(start, self.steps):
            yield dealt(self.batch(networks, epoch * self.steps + step), strategy)

    def batch(self, networks: Mapping[str, Any], number: int) -> dict[str, np.ndarray]:
        """Returns the columns of one batch; here, what is collected for it.

        Args:
            networks: What acts, by name.
            number: Number of the batch, from 0.
        """
        return self.collect(networks, number)

    def collect(self, networks: Mapping[str, Any], number: int) -> dict[str, np.ndarray]:
        """Acts, and returns columns; subclasses say how far, and by which networks."""
        raise NotImplementedError
