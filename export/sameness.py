"""A graph that was rewritten is another model until it answers as the user's own does.

A clone in float32, a softmax cut off, a class with a `call` of its own: what is written would be
compared with the rewritten graph alone, so that is compared with the user's model first.
"""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np
import tensorflow as tf

from export.answers import Examples
from export.examples import Arrays
from export.parity import compare
from export.target import FLOAT32, Tolerance
from zoo.common.examples import spread

NUM_COMPARED = 32  # examples that a rewritten graph is compared on
# Half precision has 8 or 11 bits: two computations of a deep net in it are a few hundredths apart.
HALF = Tolerance(max_relative=None, min_cosine=0.98, min_top1_agreement=0.8, tie=0.05)
REWRITTEN = FLOAT32.model_copy(update={"max_relative": 1e-3})


def check_same(model: keras.Model, examples: Examples, *, kind: str, half: bool) -> None:
    """Compares what was prepared with the user's own model, as the user calls it.

    Args:
        model: The user's.
        examples: With the answers of the prepared model.
        kind: Name of the target.
        half: Whether layers of the user's compute in half precision, which became float32.

    Raises:
        RuntimeError: They answer otherwise.
    """
    few = examples.at(spread(len(examples), NUM_COMPARED))
    arrays = list(few.inputs.values())
    struct = getattr(model, "input", model.inputs[0])  # a Sequential model has none before a call
    given = keras.tree.pack_sequence_as(struct, [tf.constant(array) for array in arrays])
    with tf.device("/CPU:0"):
        answers = keras.tree.flatten(model(given, training=False))
    own = {
        name: np.asarray(keras.ops.convert_to_numpy(keras.ops.cast(one, want.dtype)))
        if want.dtype.kind == "f"
        else np.asarray(one)
        for (name, want), one in zip(few.expected.items(), answers, strict=True)
    }
    refuse_others(own, few.expected, HALF if half else REWRITTEN, where=f"export to {kind}")


def check_cut(whole: Arrays, without: Arrays, cut: Sequence[str], *, kind: str) -> None:
    """Compares a model without its softmax with that which has it.

    Args:
        whole: Answers (n, ...) by name of the model with it.
        without: Answers of the other.
        cut: Names of the outputs that are logits now.
        kind: Name of the target.

    Raises:
        RuntimeError: They answer otherwise.
    """
    refuse_others(whole, as_shares(without, cut), REWRITTEN, where=f"export to {kind}")


def refuse_others(expected: Arrays, got: Arrays, tolerance: Tolerance, *, where: str) -> None:
    """Refuses a rewritten model whose answers are not those of the user's own.

    Args:
        expected: Answers (n, ...) of the user's, by name.
        got: Those of the rewritten one.
        tolerance: How far they may be apart.
        where: What the error line opens with.

    Raises:
        RuntimeError: They are farther apart.
    """
    found = compare(expected, got, tolerance, runtime="keras", inputs="given")
    if found.reason:
        raise RuntimeError(
            f"{where}: the model in the form that is written does not answer as yours does:"
            f" {found.reason}. Nothing was written."
        )


def as_shares(answers: Arrays, cut: Sequence[str]) -> Arrays:
    """Returns answers (n, ...) by name of a model without its softmax as it would give them.

    Args:
        answers: What it gives.
        cut: Names of the outputs that are logits; `facts.logits` of a manifest.
    """
    return {name: softmax(array) if name in cut else array for name, array in answers.items()}


def softmax(logits: np.ndarray) -> np.ndarray:
    """Returns shares (..., classes) of logits (..., classes)."""
    powers = np.exp(logits - logits.max(axis=-1, keepdims=True))
    return np.asarray(powers / powers.sum(axis=-1, keepdims=True), logits.dtype)
