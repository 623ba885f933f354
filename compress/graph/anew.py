"""A layer made anew from its settings, with the very functions of the user's own.

As data these would be code, which Keras does not run unasked, or a name that is not registered.
"""

from __future__ import annotations

from types import FunctionType
from typing import Any

import keras
from keras.src.saving.serialization_lib import SafeModeScope  # it has no public name


def made_anew(operation: Any, **changes: Any) -> Any:
    """Returns an operation of equal class and settings, not built.

    Args:
        operation: A layer, or another operation of Keras; stays as it is.
        **changes: Other settings.
    """
    config, kind = dict(operation.get_config()), type(operation)
    # A `from_config` of the user's own expects data; what `__init__` takes may be the function.
    reader = next(one for one in kind.__mro__ if "from_config" in vars(one))
    plain = reader.__module__.startswith("keras.")
    for name in config if plain else ():
        value = getattr(operation, name, getattr(operation, f"_{name}", None))
        if isinstance(value, FunctionType) and not value.__module__.startswith("keras."):
            config[name] = value
    config |= changes
    if isinstance(operation, keras.layers.Lambda):  # whose `from_config` takes data alone
        base = {
            **keras.layers.Layer.get_config(operation),
            "dtype": operation.dtype_policy,
            **changes,
        }
        return kind(
            operation.function,
            output_shape=operation._output_shape,
            mask=operation.mask,
            arguments=operation.arguments,
            **base,
        )
    with SafeModeScope(False):  # the code in it is of this very process
        new = kind.from_config(config)
    if isinstance(operation, keras.layers.Wrapper):
        for old, made in zip(operation._flatten_layers(), new._flatten_layers(), strict=False):
            if isinstance(old, keras.layers.Lambda):  # made of data, it has lost its globals
                made.function, made.mask, made._output_shape = (
                    old.function,
                    old.mask,
                    old._output_shape,
                )
    return new
