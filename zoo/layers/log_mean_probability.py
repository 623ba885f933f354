"""The answer of an ensemble: the logarithm of the mean of its members' probabilities.

Source: Hansen & Salamon 1990, IEEE TPAMI 12(10), who let the members vote; probabilities are
averaged as in Huang et al. 2017, arXiv:1704.00109, section 3.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
from typing import Any

import keras
from keras import KerasTensor, layers, ops


@keras.saving.register_keras_serializable(package="zoo")
class LogMeanProbability(layers.Layer):
    """`log((softmax(a) + softmax(b) + ...) / members)`: logits whose softmax is the mean.

    Shapes: two or more (batch, ..., classes) to one of the same. Finite where each member's logits
    are: no probability is computed that could underflow.

    Args:
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def call(self, inputs: Sequence[KerasTensor]) -> KerasTensor:
        """Combines the members' logits, each (batch, ..., classes)."""
        logs = [ops.log_softmax(logits, axis=-1) for logits in inputs]
        largest = ops.stop_gradient(functools.reduce(ops.maximum, logs))
        total = functools.reduce(ops.add, [ops.exp(log - largest) for log in logs])
        return largest + ops.log(total / len(logs))

    def compute_output_shape(self, input_shape: Any) -> tuple[int | None, ...]:
        """The shape of one member's."""
        return tuple(input_shape[0])
