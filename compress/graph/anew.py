"""A layer made anew from its settings, with the very functions of the user's own.

As data these would be code, which Keras does not run unasked, or a name that is not registered.
"""

from __future__ import annotations

import inspect
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
    tell_what_is_taken(operation)
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
    if new.name != config.get("name", new.name):
        new.name = config["name"]  # a class that names its layers after a counter, or its parts
    tell_what_is_taken(new)
    if isinstance(operation, keras.layers.Wrapper):
        for old, made in zip(operation._flatten_layers(), new._flatten_layers(), strict=False):
            if isinstance(old, keras.layers.Lambda):  # made of data, it has lost its globals
                made.function, made.mask, made._output_shape = (
                    old.function,
                    old.mask,
                    old._output_shape,
                )
    return new


def tell_what_is_taken(operation: Any) -> None:
    """Leaves out of a layer's settings those that its class does not take back.

    Some classes tell more, e.g. sizes that follow from others: a file of them cannot be read. It is
    the layer's `get_config` that is mended, so that a file can.
    """
    kind = type(operation)
    own = kind.__module__.split(".")[0] not in ("keras", "compress", "zoo")
    if not own or "get_config" in vars(operation) or not isinstance(operation, keras.layers.Layer):
        return
    if not next(one for one in kind.__mro__ if "from_config" in vars(one)).__module__.startswith(
        "keras."
    ):
        return  # it knows what to do with them
    taken = _taken(kind)
    if set(operation.get_config()) <= taken:
        return
    told = kind.get_config
    operation.get_config = lambda: {k: v for k, v in told(operation).items() if k in taken}


def _taken(kind: type) -> set[str]:
    """The settings that a class takes, by name; those that it passes on are of the next one."""
    taken: set[str] = set()
    for one in kind.__mro__:
        if "__init__" in vars(one):
            parameters = inspect.signature(vars(one)["__init__"]).parameters.values()
            taken |= {each.name for each in parameters if each.kind is not each.VAR_KEYWORD}
            if all(each.kind is not each.VAR_KEYWORD for each in parameters):
                break
    return taken - {"self"}
