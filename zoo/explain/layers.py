"""Which layers there are in a classifier's graph, and which one stands for the last map."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import keras

from compress.graph.graph import Call, infer, is_graph
from compress.graph.kernels import inner
from zoo.common.settings import nearest

CONVOLUTIONS = (
    *("Conv2D", "DepthwiseConv2D", "SeparableConv2D", "WinogradConv2D", "Conv2DTranspose"),
    *("LocallyConnected2D", "TableConv2D"),
)
ANYWHERE = "saliency, guided_backprop, deconvnet, integrated_gradients, smooth_grad, occlusion"


def find_step(calls: Sequence[Call], path: str, *, model: str) -> int:
    """Returns the last step of a layer.

    Args:
        calls: The steps of a graph, in order.
        path: Path of the layer.
        model: Name of the model.

    Raises:
        ValueError: There is no such layer.
    """
    places = [place for place, call in enumerate(calls) if call.path == path]
    if not places:
        names = list(dict.fromkeys(call.path for call in calls if call.path))
        raise ValueError(f"layer {path!r}: {model} has none. {nearest(path, names)}")
    return places[-1]


def last_map(calls: Sequence[Call], *, model: str) -> str:
    """Returns the layer behind the last convolution; see `Classifier.last_map`."""
    found = None
    for place, call in enumerate(calls):
        if type(inner(call.operation)).__name__ in CONVOLUTIONS and _places(call) != (1, 1):
            found = place
    if found is None:
        raise ValueError(
            f"{model}: has no convolution; expected one. These methods work on it: {ANYWHERE}."
        )
    size, end = _places(calls[found]), calls[found].path
    for call in calls[found + 1 :]:
        if is_graph(call.operation):
            continue
        pools = "Pooling" in type(call.operation).__name__
        if pools or len(call.outputs[0].shape) != 4 or _places(call) != size:
            break
        end = call.path or end
    return end


def without_share(operation: Any, *args: Any, **kwargs: Any) -> Any:
    """Returns what a step gives without the softmax or the sigmoid at its end."""
    layer = inner(operation)
    if getattr(layer, "activation", None) is None:
        return args[0]
    own, layer.activation = layer.activation, keras.activations.linear
    try:
        return infer(operation, *args, **kwargs)
    finally:
        layer.activation = own


def _places(call: Call) -> tuple[Any, ...]:
    """Height and width of the map that a step gives."""
    return tuple(call.outputs[0].shape[1:3]) if call.outputs else ()
