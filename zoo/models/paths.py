"""Layers by their paths, as users type them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from zoo.common.settings import nearest

Shape = tuple[int | None, ...]


def find_path(shapes: Mapping[str, Shape], name: str, *, of: str, maps: bool = False) -> str:
    """Returns the path of a layer.

    Args:
        shapes: What each layer gives, with the batch, by its path.
        name: A path, or the end of it, where no other path ends so.
        of: What the model is called.
        maps: Whether it has to give maps (batch, height, width, channels).

    Raises:
        ValueError: There is no such layer, or several, or it gives no maps.
    """
    known = [path for path, shape in shapes.items() if not maps or len(shape) == 4]
    ends = [path for path in shapes if path == name] or [
        path for path in shapes if path.endswith(f"/{name}")
    ]
    if len(ends) == 1 and ends[0] in known:
        return ends[0]
    if len(ends) > 1:
        raise ValueError(f"layer {name!r}: got {len(ends)} such: {', '.join(ends)}.")
    if ends:
        raise ValueError(
            f"layer {name!r}: gives {shapes[ends[0]]}; expected maps (batch, height, width, "
            f"channels). {nearest(name, known)}"
        )
    raise ValueError(f"layer {name!r}: {of} has none. {nearest(name, known)}")


def refuse_channels_first(model: Any) -> None:
    """Refuses a network with a layer that computes with channels first.

    Raises:
        ValueError: It has one; whoever takes axes 1 and 2 for places would be wrong there.
    """
    for layer in model._flatten_layers(include_self=False):
        if getattr(layer, "data_format", None) == "channels_first":
            raise ValueError(
                f"{model.name}: layer {layer.name!r} computes with channels first; expected "
                "pictures and maps (batch, height, width, channels). Build it with "
                "data_format='channels_last', and take over its weights, of the same shapes."
            )
