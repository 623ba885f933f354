"""Names of a package whose modules are imported when they are first asked for."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import import_module
from typing import Any


def attach(
    package: str, exports: Mapping[str, str], *here: str
) -> tuple[Callable[[str], Any], Callable[[], list[str]], list[str]]:
    """Returns `__getattr__`, `__dir__` and `__all__` of a package.

    Args:
        package: Its `__name__`.
        exports: Each name, to the module that defines it, or to `module:name there`.
        *here: Further names, which the package itself defines.
    """
    names = sorted([*exports, *here])

    def get(name: str) -> Any:
        if name not in exports:
            raise AttributeError(f"module {package!r} has no attribute {name!r}")
        module, _, called = exports[name].partition(":")
        return getattr(import_module(module), called or name)

    return get, lambda: names, names
