"""Builds a row of the catalogue, after checking what was asked for."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from importlib import import_module
from numbers import Integral
from typing import TYPE_CHECKING, Any

from zoo.catalog import Architecture, find
from zoo.settings import nearest

if TYPE_CHECKING:
    import keras


def create(
    name: str,
    *,
    input_shape: Sequence[int] | None = None,
    num_classes: int | None = None,
    **settings: Any,
) -> keras.Model:
    """Builds an architecture of the zoo, with fresh weights.

    Args:
        name: A row of the catalogue, e.g. `vgg16`.
        input_shape: (height, width, channels). Default: the paper's.
        num_classes: Length of the output, at least 2. Default: the paper's.
        **settings: The builder's own settings, e.g. `dropout=0.3`; they go before the row's.

    Returns:
        A Functional model called `name`: `image` (batch, height, width, channels) in, `logits`
        (batch, num_classes) out. The logits are float32 under mixed precision too.

    Raises:
        ValueError: The name or a setting is unknown, the image is too small, or there are fewer
            than two classes.
    """
    row = find(name)
    shape = _image_shape(row, row.input_shape if input_shape is None else input_shape)
    classes = row.num_classes if num_classes is None else num_classes
    if not isinstance(classes, Integral) or classes < 2:
        raise ValueError(
            f"create({name!r}): num_classes got {classes!r}; expected an integer of at least 2. "
            "For a yes or no, write 2."
        )
    module, function = row.builder.split(":")
    builder = getattr(import_module(module), function)
    known = set(inspect.signature(builder).parameters) - {"name", "input_shape", "num_classes"}
    for key in settings:
        if key not in known:
            hint = nearest(key, sorted(known)) if known else "It has none."
            raise ValueError(f"create({name!r}): unknown setting {key!r}. {hint}")
    return builder(
        name=name, input_shape=shape, num_classes=int(classes), **{**row.settings, **settings}
    )


def _image_shape(row: Architecture, shape: Sequence[int]) -> tuple[int, ...]:
    """Checks (height, width, channels) against the smallest side that works."""
    got = f"create({row.name!r}): input_shape got {shape!r}"
    if len(shape) != 3 or not all(isinstance(size, Integral) and size > 0 for size in shape):
        raise ValueError(
            f"{got}; expected (height, width, channels), three integers above 0. "
            "Grey pictures have one channel, e.g. (28, 28, 1)."
        )
    if min(shape[:2]) < row.smallest:
        raise ValueError(
            f"{got}; expected a height and width of at least {row.smallest}. Enlarge the pictures."
        )
    return tuple(int(size) for size in shape)
