"""Which window each answer of a sliding net is for, and whether it is exactly that window's.

See `zoo.models.convolutional`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from functools import partial
from typing import Any

import keras
from keras import KerasTensor, layers

# What computes each place of a map from that place alone, by class name: layers, and operations of
# `keras.ops` that work along the channels.
POINTWISE = frozenset(
    """
    Activation ReLU LeakyReLU ELU PReLU Softmax Identity Rescaling Normalization BatchNormalization
    Dropout SpatialDropout2D GaussianDropout GaussianNoise AlphaDropout ActivityRegularization Dense
    Add Subtract Multiply Average Maximum Minimum Concatenate Split GetItem
    LocalResponseNormalization Maxout ChannelLPPooling StochasticDepth ScaledTanh RBFOutput
    LogMeanProbability
    """.split()  # noqa: SIM905  a list would take thirty lines
)
# What slides over a map; it sees beyond its window only where it pads.
SLIDING = frozenset(
    """
    Conv2D DepthwiseConv2D SeparableConv2D TableConv2D MaxPooling2D AveragePooling2D LPPooling2D
    Subsampling2D
    """.split()  # noqa: SIM905
)
FAR = 2**10 * 3**3 * 5**2 * 7  # pixels; every stride that a net can have divides it


def stride(net: keras.Model) -> tuple[int, int]:
    """Returns by how many pixels the windows of two neighbouring answers differ, down and right.

    Args:
        net: What `zoo.convolutionalize` returned, of free size.
    """
    channels = net.inputs[0].shape[-1]
    near, far = (net.compute_output_shape((1, side, side, channels)) for side in (FAR, 2 * FAR))
    return FAR // (far[1] - near[1]), FAR // (far[2] - near[2])


def inexact(model: keras.Model) -> tuple[str, ...]:
    """Names the layers of a classifier that keep its sliding form from being exact.

    They pad, work on the whole map, or are not known here. Without any, each answer of
    `zoo.convolutionalize(model)` equals the classifier's on the window alone.

    Args:
        model: Functional or built Sequential, on images of a fixed size.
    """
    found: dict[str, None] = {}

    def call(prefix: str, operation: Any, *args: Any, **kwargs: Any) -> Any:
        outputs = operation.compute_output_spec(*args, **kwargs)
        shape = keras.tree.flatten((args, kwargs))[0].shape
        pooled = isinstance(operation, (layers.GlobalAveragePooling2D, layers.GlobalMaxPooling2D))
        maps = len(shape) == len(keras.tree.flatten(outputs)[0].shape) == 4 and not pooled
        if maps and not _local(operation, shape[1:3]):
            found[prefix + operation.name] = None
        return outputs

    replay(model, model.inputs, call)
    return tuple(found)


def replay(graph: keras.Model, inputs: Any, call: Callable[..., Any], prefix: str = "") -> Any:
    """Runs a graph, nested models included, by `call(prefix, operation, *args, **kwargs)`.

    Args:
        graph: Functional or built Sequential.
        inputs: Symbolic tensors in the place of the graph's own.
        call: Stands in for every call of a layer or operation.
        prefix: Names of the models around this one, each with an underscore.
    """

    def run(operation: Any, *args: Any, **kwargs: Any) -> Any:
        if isinstance(operation, (keras.Sequential, keras.Function)):
            return replay(operation, args[0], call, f"{prefix}{operation.name}_")
        return call(prefix, operation, *args, **kwargs)

    plain = keras.Model(graph.inputs, graph.outputs)  # a Sequential model has a graph, too
    # Keras infers shapes and clones models by this method; it has no public name.
    outputs = plain._run_through_graph(
        keras.tree.flatten(inputs), operation_fn=lambda operation: partial(run, operation)
    )
    return outputs[0] if len(outputs) == 1 else outputs


def tensors(*structures: Any) -> list[KerasTensor]:
    """Returns the symbolic tensors of a call."""
    return [x for x in keras.tree.flatten(structures) if isinstance(x, KerasTensor)]


def _local(operation: Any, sides: tuple[int, int]) -> bool:
    """Whether what it computes depends on nothing outside the window."""
    kind = type(operation).__name__
    if kind in POINTWISE:
        return True
    if kind not in SLIDING:
        return False
    if getattr(operation, "padding", "valid") == "valid":
        return True
    size = getattr(operation, "kernel_size", None) or operation.pool_size
    dilation = getattr(operation, "dilation_rate", (1, 1))
    # `same` computes ceil(side / stride) values; the kernel must not stick out for the last one.
    return all(
        (math.ceil(side / step) - 1) * step + (kernel - 1) * rate < side
        for side, step, kernel, rate in zip(sides, operation.strides, size, dilation, strict=True)
    )
