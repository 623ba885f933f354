"""Kernels: the weights that compression works on, found by the class of their layer."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import keras
from keras import layers

from compress.graph.anew import made_anew
from zoo.common.reading import one_line

_KERNELS = {
    layers.Dense: "kernel",
    layers.Embedding: "embeddings",
    layers.Conv1D: "kernel",
    layers.Conv2D: "kernel",
    layers.Conv3D: "kernel",
    layers.Conv1DTranspose: "kernel",
    layers.Conv2DTranspose: "kernel",
    layers.Conv3DTranspose: "kernel",
    layers.SeparableConv1D: "pointwise_kernel",
    layers.SeparableConv2D: "pointwise_kernel",
    layers.DepthwiseConv1D: "kernel",
    layers.DepthwiseConv2D: "kernel",
}
_DEPTHWISE = (layers.DepthwiseConv1D, layers.DepthwiseConv2D)


def inner(layer: layers.Layer) -> layers.Layer:
    """Returns the layer within a `compress.layers.Parametrized`; any other as it is."""
    found: layers.Layer = getattr(layer, "within", layer)
    return found


def kernel_of(layer: layers.Layer) -> keras.Variable:
    """Returns the stored kernel of a dense layer or convolution; of a separable one, the pointwise.

    That of an embedding is its table.

    Raises:
        KeyError: The layer has none.
    """
    kernel: keras.Variable = getattr(layer, _name(layer))
    return kernel


def computed_kernel(layer: layers.Layer) -> Any:
    """Returns the kernel that a layer computes with, a variable or a tensor; `None` without one.

    That of a `compress.layers.Parametrized` is made of the stored one.
    """
    kernel = getattr(layer, "kernel", None)
    return kernel() if callable(kernel) else kernel


def find_kernels(
    found: Mapping[str, layers.Layer], *, depthwise: bool = False
) -> tuple[dict[str, keras.Variable], dict[str, str]]:
    """Sorts layers, given by path, into kernels to work on and reasons why there is none.

    Args:
        found: Layers by path; a `Parametrized` counts as the layer within it.
        depthwise: Whether the kernels of depthwise convolutions are among those to work on.
    """
    kernels, reasons = {}, {}
    for path, layer in ((path, inner(layer)) for path, layer in found.items()):
        if not layer.weights:
            reasons[path] = "has no weights"
        elif isinstance(layer, _DEPTHWISE) and not depthwise:
            reasons[path] = "depthwise: its few weights are all that each channel has"
        elif not _name(layer):
            reasons[path] = f"{type(layer).__name__} is neither a dense layer nor a convolution"
        elif isinstance(layer, layers.Embedding) and not layer.trainable_weights:
            reasons[path] = "its table does not learn"
        elif not _is_plain(getattr(layer, _name(layer))):
            reasons[path] = "its kernel is quantised or adapted"
        else:
            kernels[path] = kernel_of(layer)
    return kernels, reasons


def is_own(layer: Any) -> bool:
    """Returns whether a layer, or an operation, is of the user's own classes."""
    return type(layer).__module__.split(".")[0] not in ("keras", "compress")


def clone_layer(layer: layers.Layer, **changes: Any) -> layers.Layer:
    """Returns a layer of equal class, settings and weights, built, that shares no variable.

    Args:
        layer: Built.
        **changes: New settings, of those that no weight depends on.

    Raises:
        ValueError: It cannot be built apart from other layers.
    """
    twin = made_anew(layer, **changes)
    try:
        twin.build_from_config(layer.get_build_config())
    except Exception as error:  # of the user's own code
        raise ValueError(
            f"layer {layer.name!r} ({type(layer).__name__}) cannot be copied on its own: "
            f"{one_line(error)}; leave it out: skip: [{layer.name}]."
        ) from None
    for old, new in zip(layer.variables, twin.variables, strict=True):
        new.assign(old)
        if old.trainable != new.trainable:
            new.trainable = old.trainable
    return twin


def _name(layer: layers.Layer) -> str:
    own: str = getattr(layer, "kernel_name", "")  # of a layer of ours
    if isinstance(layer, layers.ReversibleEmbedding):  # which is called in two ways
        return own
    return next((name for kind, name in _KERNELS.items() if isinstance(layer, kind)), own)


def _is_plain(kernel: Any) -> bool:
    return isinstance(kernel, keras.Variable) and "float" in kernel.dtype
