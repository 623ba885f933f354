"""What every kind of learning offers, and how a model is measured by it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Protocol

import keras
import numpy as np
import tensorflow as tf

from zoo.data.feed import Feed
from zoo.metrics.calibration import Bin


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on one split.

    Attributes:
        metrics: Named numbers; which ones, the task says.
        per_class: `label`, `precision`, `recall`, `f1` and `support` of each class; empty for
            numbers.
        confusion: Counts, (classes, classes); rows are true classes, columns are predicted ones;
            (0, 0) for numbers.
        reliability: Confidence and accuracy in bins, see `zoo.metrics.calibration`; empty for
            numbers.
    """

    metrics: dict[str, float]
    per_class: tuple[dict[str, Any], ...] = ()
    confusion: np.ndarray = field(default_factory=lambda: np.zeros((0, 0), int))
    reliability: tuple[Bin, ...] = ()


class Task(Protocol):
    """A kind of learning: what a model's outputs are, what is minimised, what is measured."""

    @property
    def kind(self) -> str:
        """The module of `zoo.tasks`."""

    @property
    def num_outputs(self) -> int:
        """Number of outputs that a model needs."""

    def loss(self, labels: Any, outputs: Any) -> Any:
        """Returns the loss of each example, (batch,).

        Args:
            labels: Those of a data set, (batch,).
            outputs: (batch, num_outputs).
        """

    def measures(self, labels: Any, outputs: Any) -> dict[str, Any]:
        """Returns named quantities whose means are of interest, each (batch,)."""

    def score(self, labels: np.ndarray, outputs: np.ndarray) -> Evaluation:
        """Measures the outputs of a whole split, without label smoothing.

        Args:
            labels: (n,).
            outputs: (n, num_outputs).
        """


def evaluate(model: keras.Model, feed: Feed, task: Task) -> Evaluation:
    """Measures a model.

    Args:
        model: Gives (batch, num_outputs).
        feed: Batches in order.
        task: Says what is measured.
    """
    outputs, labels = predict_all(model, feed)
    return task.score(labels, outputs)


def predict_all(model: keras.Model, feed: Feed) -> tuple[np.ndarray, np.ndarray]:
    """Returns the outputs (n, num_outputs) and labels (n,) of all examples of a feed."""
    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    outputs, truth = [], []
    for images, labels, weights in feed.dataset():
        real = weights.numpy() > 0  # the last batch is padded
        outputs.append(forward(images).numpy()[real])
        truth.append(labels.numpy()[real])
    return np.concatenate(outputs), np.concatenate(truth)


def mean(values: Any) -> float:
    """Returns the mean of a tensor of numbers, summed in float64."""
    return float(np.mean(keras.ops.convert_to_numpy(values), dtype="float64"))
