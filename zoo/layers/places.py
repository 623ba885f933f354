"""What layers share that answer with places in a picture."""

from __future__ import annotations

from typing import Any

from keras import layers


class PlacesLayer(layers.Layer):
    """A layer that computes in float32, whatever the policy is that it is built under.

    Half precision has 8 or 11 bits: boxes, anchors and points would move by whole pixels, and areas
    beyond 65,504 would be infinite. What comes in is cast; what goes out is float32.

    Args:
        dtype: Without effect.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    needs_float32 = True  # read by passes that would compute a layer in integers

    def __init__(self, *, dtype: Any = None, **kwargs: Any) -> None:
        super().__init__(dtype="float32", **kwargs)
