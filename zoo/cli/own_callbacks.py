"""`--callback module:NAME(key=value)`: Keras callbacks of the user's own, as they are.

The module is Python's or a file, `NAME` a class of it or a function that returns a callback, e.g.
after a service was told of the run. Settings are Python's literals. An exception in a hook becomes
one line that names the callback; the training keeps what it has done.
"""

from __future__ import annotations

import ast
import contextlib
import functools
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from zoo.cli import imports
from zoo.common.reading import one_line
from zoo.common.settings import nearest

if TYPE_CHECKING:
    import keras

HOOKS = tuple(
    f"on_{what}_{when}"
    for what in ("train", "epoch", "batch", "train_batch")
    for when in ("begin", "end")
)


class CallbackError(RuntimeError):
    """A callback of the user's failed."""


def parsed(text: str) -> tuple[str, str, dict[str, Any]]:
    """Returns the module, the name and the settings of `module:NAME(key=value)`.

    Raises:
        ValueError: It is written otherwise.
    """
    place, bracket, settings = text.partition("(")
    module, _, name = place.rpartition(":")
    with contextlib.suppress(SyntaxError, ValueError):
        tree = ast.parse(name + (bracket + settings or "()"), mode="eval").body
        if module and isinstance(tree, ast.Call) and isinstance(tree.func, ast.Name):
            values = {one.arg: ast.literal_eval(one.value) for one in tree.keywords}
            plain = {key: value for key, value in values.items() if key is not None}
            if not tree.args and len(plain) == len(values):
                return module, name, plain
    raise ValueError(
        f"--callback: got {text}; expected module:NAME or module:NAME(key=value), e.g. "
        "\"keras.callbacks:EarlyStopping(monitor='val_loss', patience=3)\"."
    )


def make(texts: Sequence[str]) -> list[keras.callbacks.Callback]:
    """Returns the callbacks that are asked for, in order.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A module cannot be imported, has no such name, or what it has is no callback.
        CallbackError: It cannot be made.
    """
    return [_made(text) for text in texts]


def _made(text: str) -> keras.callbacks.Callback:
    module, name, settings = parsed(text)
    found = imports.module_of(module, "--callback")
    if not hasattr(found, name):
        names = [key for key in vars(found) if not key.startswith("_")]
        raise ValueError(f"--callback {text}: {module} has no {name!r}. {nearest(name, names)}")
    import keras

    try:
        made = getattr(found, name)
        made = made(**settings) if callable(made) else made
    except Exception as error:
        raise CallbackError(f"--callback {text}: {_told(error)}") from error
    if not isinstance(made, keras.callbacks.Callback):
        raise ValueError(
            f"--callback {text}: got a {type(made).__name__}; expected a keras.callbacks.Callback, "
            "its class, or a function that returns one."
        )
    for hook in (*HOOKS, "set_model", "set_params"):
        if hook in vars(made) or getattr(type(made), hook) is not getattr(
            keras.callbacks.Callback, hook
        ):
            setattr(made, hook, _guarded(getattr(made, hook), f"--callback {text}: {hook}"))
    return made


def _guarded(hook: Callable[..., Any], name: str) -> Callable[..., Any]:
    @functools.wraps(hook)
    def guarded(*arguments: Any, **settings: Any) -> Any:
        try:
            return hook(*arguments, **settings)
        except CallbackError:  # of a hook that it calls itself
            raise
        except Exception as error:
            raise CallbackError(f"{name}: {_told(error)}") from error

    return guarded


def _told(error: Exception) -> str:
    """What went wrong, and in which line of the user's code."""
    frame = error.__traceback__
    while frame is not None and frame.tb_next is not None:
        frame = frame.tb_next
    place = f" ({frame.tb_frame.f_code.co_filename}:{frame.tb_lineno})" if frame else ""
    return f"{type(error).__name__}: {one_line(error)}{place}"
