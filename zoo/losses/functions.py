"""The losses of the catalogue, on `keras.ops`: Keras' own where Keras has one.

Every function takes labels and raw outputs with the batch first, computes in float32 at least, and
returns one number for each example, (batch,). A label of a `binary` loss is 0 or 1, in the formulas
below y = -1 or 1; s is the output.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import ops


def zero_one(labels: Any, outputs: Any) -> Any:
    """Returns 1 where the largest output is not the label's, else 0. It has no gradient.

    Args:
        labels: Class indices, (batch,).
        outputs: (batch, classes).
    """
    outputs = exact(outputs)
    wrong = ops.argmax(outputs, axis=-1) != ops.cast(labels, "int32")
    return ops.cast(wrong, outputs.dtype)


def cross_entropy(labels: Any, outputs: Any, *, label_smoothing: float = 0.0) -> Any:
    """Returns the cross-entropy of the softmax, in nats.

    Args:
        labels: Class indices, (batch,).
        outputs: Logits, (batch, classes).
        label_smoothing: Share of the target spread evenly over all classes (Szegedy et al.,
            arXiv:1512.00567, section 7), in [0, 1).
    """
    outputs = exact(outputs)
    num_classes = outputs.shape[-1]
    targets = ops.one_hot(labels, num_classes, dtype=outputs.dtype)  # (batch, classes)
    targets = targets * (1 - label_smoothing) + label_smoothing / num_classes
    return ops.categorical_crossentropy(targets, outputs, from_logits=True)


def multiclass_svm(labels: Any, outputs: Any, *, margin: float = 1.0) -> Any:
    """Returns the sum over the wrong classes of max(0, s_j - s_label + margin).

    Source: Weston & Watkins 1999, ESANN 7. scikit-learn's `hinge_loss` is Crammer & Singer's, which
    takes the largest of these terms in place of their sum.

    Args:
        labels: Class indices, (batch,).
        outputs: (batch, classes).
        margin: By how much the label's output must exceed every other.
    """
    return ops.sum(_violations(labels, outputs, margin), axis=-1)


def multiclass_svm_squared(labels: Any, outputs: Any, *, margin: float = 1.0) -> Any:
    """Returns the sum over the wrong classes of max(0, s_j - s_label + margin) squared.

    Args:
        labels: Class indices, (batch,).
        outputs: (batch, classes).
        margin: By how much the label's output must exceed every other.
    """
    return ops.sum(ops.square(_violations(labels, outputs, margin)), axis=-1)


def multiclass_perceptron(labels: Any, outputs: Any) -> Any:
    """Returns by how much the largest output exceeds the label's.

    Args:
        labels: Class indices, (batch,).
        outputs: (batch, classes).
    """
    outputs = exact(outputs)
    own = ops.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    return ops.max(outputs, axis=-1) - ops.sum(own * outputs, axis=-1)


def focal(
    labels: Any,
    outputs: Any,
    *,
    gamma: float = 2.0,
    alpha: float = 0.25,
    label_smoothing: float = 0.0,
) -> Any:
    """Returns the focal loss -alpha (1 - p)^gamma log p of the label's share p of the softmax.

    Source: Lin et al. 2017, arXiv:1708.02002, section 3; there for a yes or no.

    Args:
        labels: Class indices, (batch,).
        outputs: Logits, (batch, classes).
        gamma: How far examples that are right already count less, at least 0.
        alpha: Weight of the whole.
        label_smoothing: See `cross_entropy`.
    """
    outputs = exact(outputs)
    num_classes = outputs.shape[-1]
    targets = ops.one_hot(labels, num_classes, dtype=outputs.dtype)  # (batch, classes)
    targets = targets * (1 - label_smoothing) + label_smoothing / num_classes
    # Keras' own clips p, and has no gradient where the answer is wrong by 16 or more.
    logs = ops.log_softmax(outputs, axis=-1)
    return alpha * ops.sum(-targets * _focus(-ops.expm1(logs), gamma) * logs, axis=-1)


def binary_focal(
    labels: Any,
    outputs: Any,
    *,
    gamma: float = 2.0,
    alpha: float = 0.25,
    label_smoothing: float = 0.0,
) -> Any:
    """Returns the focal loss of a yes or no, with alpha for a yes and 1 - alpha for a no.

    Source: Lin et al. 2017, arXiv:1708.02002, equation 5.

    Args:
        labels: 0 or 1, (batch,) or (batch, 1).
        outputs: Logits of a yes, (batch,) or (batch, 1).
        gamma: How far examples that are right already count less, at least 0.
        alpha: Weight of a yes, in [0, 1].
        label_smoothing: See `binary_cross_entropy`.
    """
    labels, outputs = _pairs(labels, outputs, "binary_focal")
    labels = labels * (1 - label_smoothing) + label_smoothing / 2
    # sigmoid(-s) is 1 - p without rounding to 0, where Keras' own gradient is no number.
    missed = labels * ops.sigmoid(-outputs) + (1 - labels) * ops.sigmoid(outputs)
    weights = labels * alpha + (1 - labels) * (1 - alpha)
    losses = keras.losses.binary_crossentropy(labels[:, None], outputs[:, None], from_logits=True)
    return weights * _focus(missed, gamma) * losses


def binary_cross_entropy(labels: Any, outputs: Any, *, label_smoothing: float = 0.0) -> Any:
    """Returns the logistic loss log(1 + exp(-y s)), in nats.

    Args:
        labels: 0 or 1, (batch,) or (batch, 1).
        outputs: Logits of a yes, (batch,) or (batch, 1).
        label_smoothing: How far both labels move towards 1/2, as a share of the way, in [0, 1).
    """
    labels, outputs = _pairs(labels, outputs, "binary_cross_entropy")
    return keras.losses.binary_crossentropy(
        labels[:, None], outputs[:, None], from_logits=True, label_smoothing=label_smoothing
    )


def hinge(labels: Any, outputs: Any, *, margin: float = 1.0) -> Any:
    """Returns max(0, margin - y s).

    Args:
        labels: 0 or 1, (batch,) or (batch, 1).
        outputs: (batch,) or (batch, 1).
        margin: How far an output must lie on its label's side of 0.
    """
    return ops.relu(margin - _signed(labels, outputs, "hinge"))


def squared_hinge(labels: Any, outputs: Any, *, margin: float = 1.0) -> Any:
    """Returns max(0, margin - y s) squared.

    Args:
        labels: 0 or 1, (batch,) or (batch, 1).
        outputs: (batch,) or (batch, 1).
        margin: How far an output must lie on its label's side of 0.
    """
    return ops.square(ops.relu(margin - _signed(labels, outputs, "squared_hinge")))


def perceptron(labels: Any, outputs: Any) -> Any:
    """Returns max(0, -y s), whose gradient is Rosenblatt's rule (1958, Psych. Review 65(6)).

    An output of 0 counts as a mistake: it costs nothing and has the gradient of one, so that
    weights of 0 learn.

    Args:
        labels: 0 or 1, (batch,) or (batch, 1).
        outputs: (batch,) or (batch, 1).
    """
    signed = _signed(labels, outputs, "perceptron")
    return ops.where(signed <= 0, -signed, ops.zeros_like(signed))


def mse(labels: Any, outputs: Any) -> Any:
    """Returns the squared error, its mean over an example's numbers.

    Args:
        labels: Targets, (batch,) or (batch, numbers).
        outputs: (batch,) or (batch, numbers).
    """
    return keras.losses.mean_squared_error(*_numbers(labels, outputs, "mse"))


def mae(labels: Any, outputs: Any) -> Any:
    """Returns the magnitude of the error, its mean over an example's numbers.

    Args:
        labels: Targets, (batch,) or (batch, numbers).
        outputs: (batch,) or (batch, numbers).
    """
    return keras.losses.mean_absolute_error(*_numbers(labels, outputs, "mae"))


def huber(labels: Any, outputs: Any, *, delta: float = 1.0) -> Any:
    """Returns half the squared error, and beyond `delta` its tangent (Huber 1964).

    Source: Ann. Math. Stat. 35(1).

    Args:
        labels: Targets, (batch,) or (batch, numbers).
        outputs: (batch,) or (batch, numbers).
        delta: Magnitude of the error, in the target's unit, up to which it is squared.
    """
    return keras.losses.huber(*_numbers(labels, outputs, "huber"), delta=delta)


def _focus(missed: Any, gamma: float) -> Any:
    """(1 - p)^gamma; near 0 it stays above 0, as powers below 1 are infinitely steep there."""
    return ops.power(ops.maximum(missed, keras.backend.epsilon()), gamma)


def exact(values: Any) -> Any:
    """In float32, or in float64 where it came so: sums of exponentials need more than 8 bits."""
    values = ops.convert_to_tensor(values)
    return ops.cast(values, keras.backend.result_type(values.dtype, "float32"))


def _violations(labels: Any, outputs: Any, margin: float) -> Any:
    """max(0, s_j - s_label + margin) of each class j, and 0 at the label, (batch, classes)."""
    outputs = exact(outputs)
    own = ops.one_hot(labels, outputs.shape[-1], dtype=outputs.dtype)
    score = ops.sum(own * outputs, axis=-1, keepdims=True)  # (batch, 1)
    return ops.relu(outputs - score + margin) * (1 - own)


def _signed(labels: Any, outputs: Any, name: str) -> Any:
    """The output as seen from its label's side, y s, (batch,)."""
    labels, outputs = _pairs(labels, outputs, name)
    return (2 * labels - 1) * outputs


def _pairs(labels: Any, outputs: Any, name: str) -> tuple[Any, Any]:
    """Labels and outputs of one number for each example, both (batch,)."""
    if tuple(ops.shape(outputs)[1:]) not in ((), (1,)):
        raise ValueError(
            f"{name}: outputs got {tuple(ops.shape(outputs))}; expected (batch,) or (batch, 1). "
            "For one output a class, take cross_entropy."
        )
    labels, outputs = _numbers(labels, outputs, name)
    return labels[:, 0], outputs[:, 0]


def _numbers(labels: Any, outputs: Any, name: str) -> tuple[Any, Any]:
    """Labels and outputs of the same shape (batch, numbers)."""
    outputs = exact(outputs)
    labels = ops.cast(labels, outputs.dtype)
    labels, outputs = (x[:, None] if len(x.shape) == 1 else x for x in (labels, outputs))
    if len(outputs.shape) != 2 or labels.shape[1:] != outputs.shape[1:]:
        raise ValueError(
            f"{name}: got labels {tuple(labels.shape)} and outputs {tuple(outputs.shape)}; "
            "expected the same shape, (batch,) or (batch, numbers)."
        )
    return labels, outputs
