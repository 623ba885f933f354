"""What an autoencoder's loss asks of a code: that it is sparse, or that it moves little."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import keras


def whole_mean(values: Any, weight: Any) -> Any:
    """Returns the weighted mean of each unit over the whole batch, on all devices; no gradient.

    Args:
        values: Of this device's examples, (b, ...).
        weight: Of each example (b,); 0 is padding.
    """
    import tensorflow as tf

    weight = tf.reshape(tf.cast(weight, values.dtype), (-1, *[1] * (len(values.shape) - 1)))
    parts = [tf.reduce_sum(values * weight, axis=0), tf.reduce_sum(weight)]
    parts = [tf.stop_gradient(part) for part in parts]
    context = tf.distribute.get_replica_context()
    if context is not None and context.num_replicas_in_sync > 1:
        parts = context.all_reduce("SUM", parts)
    return parts[0] / tf.maximum(parts[1], 1)


def rate_divergence(code: Any, weight: Any, *, rate: float, tiny: float) -> Any:
    """Returns sum_j KL(rate, mean_j), the same for each example (b,), of means over the batch.

    The mean over the examples has the gradient of that sum: the mean activation is held still, and
    its derivative multiplies what each example adds to it.

    Args:
        code: In [0, 1], (b, ...).
        weight: Of each example (b,).
        rate: Wanted mean, in (0, 1).
        tiny: Least distance of a mean from 0 and 1.
    """
    from keras import ops

    mean = ops.clip(whole_mean(code, weight), tiny, 1 - tiny)
    value = ops.sum(rate * ops.log(rate / mean) + (1 - rate) * ops.log((1 - rate) / (1 - mean)))
    slope = (1 - rate) / (1 - mean) - rate / mean
    axes = tuple(range(1, len(code.shape)))
    return value + ops.sum(slope * (code - ops.stop_gradient(code)), axis=axes)


def magnitude(code: Any) -> Any:
    """Returns the sum of the magnitudes of each code, (b,)."""
    from keras import ops

    return ops.sum(ops.abs(code), axis=tuple(range(1, len(code.shape))))


def contraction(encoder: keras.Model, code: Any) -> Any:
    """Returns the squared Frobenius norm of the Jacobian of each code by its picture, (b,).

    Args:
        encoder: One logistic layer.
        code: What it gives, (b, units).

    Raises:
        ValueError: It is another network.
    """
    from keras import ops

    kernel = check_logistic(encoder, "task.contraction: got a weight", alone=True)
    squares = ops.sum(ops.square(kernel), axis=0)  # (units,)
    return ops.sum(ops.square(code * (1 - code)) * squares, axis=-1)


def check_logistic(encoder: keras.Model, got: str, *, alone: bool = False) -> Any:
    """Refuses an encoder whose code is not of logistic units; returns the last layer's kernel.

    Args:
        encoder: Functional; of a compressed one the kernel is what is computed with, and ends of
            grids are no layer of weights.
        got: What asks for it; it opens the line.
        alone: Whether one layer has to be all there is.

    Raises:
        ValueError: The code is of other units, or there are more layers.
    """
    from compress.graph.kernels import computed_kernel, inner
    from compress.layers.quantized import Range

    weighted = [layer for layer in encoder.layers if layer.weights and not isinstance(layer, Range)]
    last = getattr(inner(encoder.layers[-1]), "activation", None)
    kernel = computed_kernel(weighted[-1]) if weighted else None
    logistic = getattr(last, "__name__", "") == "sigmoid"
    if not logistic or kernel is None or (alone and (len(weighted) > 1 or len(kernel.shape) != 2)):
        size = "one dense layer of logistic units" if alone else "a code of logistic units"
        raise ValueError(
            f"{got} for the encoder {encoder.layers[-1].name!r} with {len(weighted)} layers of "
            f"weights; expected {size}, as in autoencoder."
        )
    return kernel
