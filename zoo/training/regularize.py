"""Elastic net and max-norm on the kernels of the twin; the saved model carries none of it.

Sources: Zou & Hastie 2005, J. R. Stat. Soc. B 67(2) (elastic net); Srivastava et al. 2014, JMLR 15,
section 5.1 (max-norm). Keras has both; here they are put on a model that was built without them.
"""

from __future__ import annotations

from collections.abc import Iterator

import keras
from keras import layers

from zoo.layers.connection_table import TableConv2D
from zoo.recipe import Regularize

DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)
TRANSPOSED = (layers.Conv1DTranspose, layers.Conv2DTranspose, layers.Conv3DTranspose)


def regularize(model: keras.Model, settings: Regularize) -> None:
    """Puts the penalty and the bound on every kernel of a model, in place.

    Args:
        model: Its `losses` then hold the penalty; an optimizer's `apply` then keeps the bound.
        settings: How much of each.

    Raises:
        ValueError: See `unit_axes`.
    """
    for layer, kernel in kernels(model):
        if settings.l1 or settings.l2:
            kernel.regularizer = keras.regularizers.L1L2(l1=settings.l1, l2=settings.l2)
        if settings.max_norm is not None:
            bound = keras.constraints.MaxNorm(settings.max_norm, axis=unit_axes(layer, kernel))
            kernel.constraint = bound


def kernels(model: keras.Model) -> Iterator[tuple[layers.Layer, keras.Variable]]:
    """Gives every weight called `kernel`, or `..._kernel`, with its layer."""
    for layer in model._flatten_layers(include_self=False):
        for weight in layer._trainable_variables:
            if weight.name.endswith("kernel"):
                yield layer, weight


def unit_axes(layer: layers.Layer, kernel: keras.Variable) -> tuple[int, ...]:
    """Returns the axes of a kernel that hold the weights into one unit.

    A unit is an output of a dense layer, or a map of a convolution.

    Raises:
        ValueError: The weights into one unit do not lie along axes.
    """
    axes = tuple(range(len(kernel.shape)))
    if isinstance(layer, TableConv2D):
        raise ValueError(
            f"train.regularize.max_norm: got a model with the layer {layer.name!r}, whose table "
            "keeps the weights into one map apart; expected none. Take l1 or l2."
        )
    if isinstance(layer, DEPTHWISE) or kernel.name == "depthwise_kernel":
        return axes[:-2]  # (..., channels, multiplier)
    if isinstance(layer, TRANSPOSED):
        return (*axes[:-2], axes[-1])  # (..., out, in)
    return axes[:-1]  # (..., in, out)
