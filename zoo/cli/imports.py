"""A user's own code: `--import`, layers, losses, environments; and what another option names.

The code runs as Python's `import` runs it; nothing is imported without being asked.
"""

from __future__ import annotations

import argparse
import importlib
import importlib.util
import inspect
import sys
from collections.abc import Sequence
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType

from zoo.common.reading import one_line


def add_argument(parser: argparse.ArgumentParser) -> None:
    """Adds `--import`."""
    parser.add_argument(
        "--import", action="append", default=[], dest="imports", metavar="FILE.py|MODULE[:NAME]",
        help="run this Python code first, which defines layers of the model, or an environment; may"
        " be repeated",
    )  # fmt: skip


def bring_in(names: Sequence[str]) -> None:
    """Imports modules, and makes what they define known to Keras by its name.

    Args:
        names: Paths of Python files, modules, or `module:name` for one name of a module.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be imported, or the module has no such name.
    """
    for name in names:
        module, found = module_of(name, "--import"), name.partition(":")[2]
        if found and not hasattr(module, found):
            raise ValueError(f"--import {name}: {module.__name__} has no {found!r}.")
        import keras

        known = keras.saving.get_custom_objects()
        for key, value in vars(module).items():
            defines = inspect.isclass(value) or inspect.isfunction(value)
            own = defines and value.__module__ == module.__name__
            if key == found or (own and not found and not key.startswith("_")):
                known.setdefault(key, value)


def module_of(name: str, option: str) -> ModuleType:
    """Imports a Python file, or the module of `module:name`.

    Args:
        name: Path of a file that ends in `.py`, or a module.
        option: What asked for it, for the errors.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It cannot be imported.
    """
    path = Path(name)
    try:
        if path.suffix != ".py":
            return importlib.import_module(name.partition(":")[0])
        if not path.is_file():
            raise FileNotFoundError(f"{option} {name}: no such file; expected a Python file.")
        spec = importlib.util.spec_from_file_location(_free_name(path), path)
        if spec is None or spec.loader is None:
            raise ValueError(f"{option} {name}: not a Python file.")
        module = importlib.util.module_from_spec(spec)
        sys.modules[spec.name] = module  # where e.g. a dataclass looks for it
        try:
            spec.loader.exec_module(module)
        except BaseException:
            del sys.modules[spec.name]
            raise
        return module
    except FileNotFoundError:
        raise
    except Exception as error:
        raise ValueError(f"{option} {name}: {type(error).__name__}: {one_line(error)}") from None


def _free_name(path: Path) -> str:
    """The name of a file's module: that of the file, unless another module has it.

    A file `random.py` must not stand in for Python's own `random`, which others import.
    """
    name = path.stem
    try:
        found = importlib.util.find_spec(name)
    except (ImportError, ValueError):  # a module without a spec, or a name that none can have
        found = ModuleSpec(name, None) if name in sys.modules else None
    own = found is None or (found.origin and Path(found.origin).resolve() == path.resolve())
    return name if own else f"_imported_{name}"
