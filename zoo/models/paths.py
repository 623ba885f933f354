"""Layers by their paths, as users type them."""

from __future__ import annotations

from collections.abc import Mapping

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
