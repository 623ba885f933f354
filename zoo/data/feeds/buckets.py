"""Examples of about one length share a batch, which is cut behind the longest of them.

A row of tokens is as long as the longest text; behind its own end is padding, which is read for
nothing. The lengths that batches are cut to are few, as each is a graph of its own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.common.sentences import PADDING

ORDER = 1 << 17  # folded into the seed of an epoch


class Buckets:
    """Which bucket each example is in, and how long each bucket's columns are.

    An example's length is that of all its columns; buckets hold about equally many examples.

    Args:
        columns: Rows of tokens (n, time) by name, `zoo.common.sentences.PADDING` behind their ends.
        count: Number of buckets, at most.

    Attributes:
        lengths: Of each column, the length of each bucket: its longest row, or a shorter bucket's.
    """

    def __init__(self, columns: Mapping[str, Any], count: int):
        ends = {name: _ends(np.asarray(values)) for name, values in columns.items()}
        whole = np.sum(list(ends.values()), axis=0)  # (n,)
        shares = np.arange(1, count + 1) / count
        edges = np.unique(np.quantile(whole, shares, method="higher"))
        own = np.searchsorted(edges, whole)
        self.lengths = {
            name: np.maximum.accumulate([end[own == one].max() for one in range(len(edges))])
            for name, end in ends.items()
        }
        with tf.device("CPU:0"):
            self._own = tf.constant(own, tf.int64)
            self._lengths = {name: tf.constant(lengths) for name, lengths in self.lengths.items()}

    def order(self, shuffled: tf.Tensor, batch_size: int, seed: Sequence[int]) -> tf.Tensor:
        """Puts examples of one bucket together, then whole batches in random order.

        Args:
            shuffled: Numbers of the examples of an epoch, at least a batch.
            batch_size: Examples of a batch; what is left over at the end is dropped.
            seed: Of the epoch, (2,).
        """
        kept = shuffled[: len(shuffled) // batch_size * batch_size]
        together = tf.gather(kept, tf.argsort(tf.gather(self._own, kept), stable=True))
        batches = tf.reshape(together, (-1, batch_size))
        folded = tf.random.experimental.stateless_fold_in(seed, ORDER)
        places = tf.random.experimental.stateless_shuffle(tf.range(len(batches)), folded)
        return tf.reshape(tf.gather(batches, places), (-1,))

    def cut(self, columns: Mapping[str, tf.Tensor], batch: tf.Tensor) -> dict[str, tf.Tensor]:
        """Cuts columns (b, time) behind what the longest example of a whole batch may have.

        Args:
            columns: Those of the batch, or of a share of it.
            batch: Numbers of the examples of the whole batch.
        """
        bucket = tf.reduce_max(tf.gather(self._own, batch))
        short = {
            name: columns[name][:, : lengths[bucket]] for name, lengths in self._lengths.items()
        }
        return {**columns, **short}


def _ends(rows: np.ndarray) -> np.ndarray:
    """How many tokens stand before the padding at the end of each row."""
    there = rows != PADDING
    return np.where(there.any(axis=1), rows.shape[1] - there[:, ::-1].argmax(axis=1), 1)
