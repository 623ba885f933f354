"""Reads what users bring: whatever is wrong with a file, one line names it and says what to do.

Files are read here and nowhere else, or inside `whole`. An error of a library that parses a file
tells of the file; so it becomes a `ValueError` with its path. Nothing is allocated for a number
that a file merely declares.
"""

from __future__ import annotations

import contextlib
import json
import math
import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

MOST_TEXT_BYTES = 2**28
ROOM_BYTES = 2**28  # what an archive may always unfold to
MOST_FOLD = 100  # and, beyond that, bytes for each byte of the archive
MOST_SHOWN = 300  # characters of a cause


class FileError(ValueError):
    """A file that is not what it should be; the line names it."""


@contextlib.contextmanager
def whole(path: str | Path | None, expected: str) -> Iterator[None]:
    """Turns any error of a block that reads a file into one line that names the file.

    Args:
        path: The file.
        expected: What it should be; the line ends with it.

    Raises:
        OSError: The file cannot be opened, for a cause that is not in the file.
        ValueError: The block failed.
    """
    try:
        yield
    except FileError:
        raise
    except OSError as error:
        if error.filename is None or isinstance(error, zipfile.BadZipFile):
            raise FileError(_line(path, error, expected)) from error
        raise type(error)(f"{path}: {error.strerror}; expected {expected}.") from error
    except MemoryError as error:
        raise FileError(f"{path}: takes more memory than there is; expected {expected}.") from error
    except Exception as error:
        raise FileError(_line(path, error, expected)) from error


def unregistered(error: BaseException) -> str | None:
    """Returns what to do where Keras does not know a class of a model; `None` of other errors."""
    missing = re.search(r"Could not locate (class|function|object) '([\w.>]+)'", str(error))
    if not missing:
        return None
    kind = "layer" if missing[1] == "class" else missing[1]
    return (
        f"has the {kind} {missing[2]!r}, which is neither Keras' nor ours. Register it "
        "with `@keras.saving.register_keras_serializable()`, and import the module that does "
        "so before the model is loaded."
    )


def one_line(error: BaseException) -> str:
    """Returns what an error says as one line that is not too long; its kind where it says nothing.

    A `KeyError` says its key alone, so its kind stands before it.
    """
    told = " ".join(str(error).split())
    if isinstance(error, KeyError):
        told = f"lacks {told}"
    if isinstance(error, RecursionError):
        told = "nested too deeply"
    told = told or type(error).__name__
    return told if len(told) <= MOST_SHOWN else f"{told[:MOST_SHOWN]}..."


def text(path: str | Path, expected: str, *, most_bytes: int = MOST_TEXT_BYTES) -> str:
    """Returns the text of a file in UTF-8.

    Args:
        path: The file.
        expected: What it should be.
        most_bytes: Size beyond which it is not read.

    Raises:
        FileNotFoundError: There is no such file.
        OSError: It cannot be read.
        ValueError: It is no text, or too long.
    """
    path = Path(path)
    if not path.is_file():
        kind = "is a directory" if path.is_dir() else "not found"
        raise FileNotFoundError(f"{path}: {kind}; expected {expected}.")
    with whole(path, expected):
        if (size := path.stat().st_size) > most_bytes:
            raise ValueError(f"{size:,} bytes; expected {most_bytes:,} at most")
        return path.read_text(encoding="utf-8-sig")


def json_object(
    path: str | Path, expected: str, *, most_bytes: int = MOST_TEXT_BYTES
) -> dict[str, Any]:
    """Returns the keys and values of a JSON file.

    Args:
        path: The file.
        expected: What it should be, for the error line.
        most_bytes: Size beyond which it is not read.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not JSON, or no object.
    """
    content = text(path, expected, most_bytes=most_bytes)
    with whole(path, expected):
        try:
            values = json.loads(content)
        except ValueError as error:
            raise FileError(
                f"{path}: not JSON ({one_line(error)}); expected {expected}."
            ) from error
    if not isinstance(values, dict):
        raise FileError(f"{path}: got {type(values).__name__}; expected keys and values.")
    return values


def arrays(
    path: str | Path, expected: str, *, starts: tuple[str, ...] = ("",)
) -> dict[str, np.ndarray]:
    """Returns the arrays of a `.npz` file by name; Python objects are not read.

    Args:
        path: The file.
        expected: What it should be.
        starts: Beginnings of the names that are wanted.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a whole file, or unfolds to far more than it holds.
    """
    import numpy as np

    with whole(path, expected), _readable(path).open("rb") as file:
        with zipfile.ZipFile(file) as archive:
            check_archive(archive, Path(path).stat().st_size)
            wanted = [i for i in archive.infolist() if i.filename.startswith(starts)]
            for member in wanted:
                with archive.open(member) as part:
                    _check_declared(part, member.file_size)
        names = {member.filename.removesuffix(".npy") for member in wanted}
        file.seek(0)
        with np.load(file, allow_pickle=False) as found:
            return {name: found[name] for name in names}


def array(path: str | Path, expected: str) -> np.ndarray:
    """Returns the array of a `.npy` file; Python objects are not read.

    Raises:
        OSError: It cannot be read.
        ValueError: It is not a whole file.
    """
    import numpy as np

    with whole(path, expected), _readable(path).open("rb") as file:
        _check_declared(file, Path(path).stat().st_size)
        file.seek(0)
        found = np.load(file, allow_pickle=False)
        if not isinstance(found, np.ndarray):
            raise ValueError("it is an archive")
        return found


def check_archive(archive: zipfile.ZipFile, num_bytes: int) -> None:
    """Refuses an archive that unfolds to far more than it holds.

    Args:
        archive: Open.
        num_bytes: Its size.

    Raises:
        ValueError: It does.
    """
    unfolded = sum(member.file_size for member in archive.infolist())
    if unfolded > max(ROOM_BYTES, MOST_FOLD * num_bytes):
        raise ValueError(f"{num_bytes:,} bytes that unfold to {unfolded:,}")


def _readable(path: str | Path) -> Path:
    path = Path(path)
    if path.exists() and not path.is_file():
        raise ValueError("it is no ordinary file")
    return path


def _check_declared(file: Any, num_bytes: int) -> None:
    """Refuses a `.npy` stream that declares another size than it has."""
    from numpy.lib import format as npy

    version = npy.read_magic(file)
    read = npy.read_array_header_1_0 if version == (1, 0) else npy.read_array_header_2_0
    shape, _, dtype = read(file)
    if dtype.hasobject:
        raise ValueError("it holds Python objects")
    declared = math.prod(shape) * dtype.itemsize
    if declared + file.tell() != num_bytes:
        raise ValueError(f"declares {declared:,} bytes of numbers, of {num_bytes:,} in all")


def _line(path: str | Path | None, error: BaseException, expected: str) -> str:
    return f"{path}: not {expected} ({one_line(error)})."
