"""Classification: one label for each image.

The model gives logits. Training minimises the cross-entropy; top-1 and top-5 are the fractions of
images whose label is the largest, or among the five largest, of the logits.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import ops

from zoo.data.feed import Feed


@dataclass(frozen=True)
class Classify:
    """The task of a softmax classifier.

    Attributes:
        num_classes: Number of classes.
        label_smoothing: Share of the target spread evenly over all classes (Szegedy et al.,
            arXiv:1512.00567, section 7), in [0, 1).
    """

    num_classes: int
    label_smoothing: float = 0.0

    def loss(self, labels: Any, logits: Any) -> Any:
        """Returns the cross-entropy in nats.

        Args:
            labels: Class indices, (batch,).
            logits: (batch, classes).

        Returns:
            (batch,).
        """
        targets = ops.one_hot(labels, self.num_classes, dtype="float32")  # (batch, classes)
        targets = targets * (1 - self.label_smoothing) + self.label_smoothing / self.num_classes
        return ops.categorical_crossentropy(targets, logits, from_logits=True)  # (batch,)

    def measures(self, labels: Any, logits: Any) -> dict[str, Any]:
        """Returns whether each label is among the largest logits, as 0 or 1, each (batch,)."""
        top = min(5, self.num_classes)
        return {
            "top1": ops.cast(ops.in_top_k(labels, logits, 1), "float32"),
            "top5": ops.cast(ops.in_top_k(labels, logits, top), "float32"),
        }


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on one split.

    Attributes:
        metrics: `top1` and `top5` as fractions, `loss` in nats.
        per_class: `label`, `precision`, `recall`, `f1` and `support` of each class.
        confusion: Counts, (classes, classes); rows are true classes, columns are predicted ones.
    """

    metrics: dict[str, float]
    per_class: tuple[dict[str, Any], ...]
    confusion: np.ndarray


def evaluate(model: keras.Model, feed: Feed, labels: tuple[str, ...]) -> Evaluation:
    """Measures a model, without label smoothing.

    Args:
        model: Gives logits, (batch, classes).
        feed: Batches in order.
        labels: Class names in the order of the logits.
    """
    from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

    logits, truth = predict_all(model, feed)  # (n, classes), (n,)
    task = Classify(len(labels))
    values = {"loss": task.loss(truth, logits), **task.measures(truth, logits)}
    metrics = {name: float(np.mean(value, dtype="float64")) for name, value in values.items()}
    guess, classes = logits.argmax(axis=-1), range(len(labels))
    scores = precision_recall_fscore_support(truth, guess, labels=classes, zero_division=0.0)
    per_class = tuple(
        {
            "label": label,
            "precision": float(p),
            "recall": float(r),
            "f1": float(f),
            "support": int(s),
        }
        for label, p, r, f, s in zip(labels, *scores, strict=True)
    )
    return Evaluation(metrics, per_class, confusion_matrix(truth, guess, labels=classes))


def predict_all(model: keras.Model, feed: Feed) -> tuple[np.ndarray, np.ndarray]:
    """Returns the logits (n, classes) and labels (n,) of all examples of a feed."""
    forward = tf.function(lambda images: model(images, training=False), autograph=False)
    logits, truth = [], []
    for images, labels, weights in feed.dataset():
        real = weights.numpy() > 0  # the last batch is padded
        logits.append(forward(images).numpy()[real])
        truth.append(labels.numpy()[real])
    return np.concatenate(logits), np.concatenate(truth)
