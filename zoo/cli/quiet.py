"""Keeps libraries' noise from the terminal, and tells a user's mistake from a defect.

TensorFlow writes to descriptor 2 before any of its log levels apply. So the descriptor points to a
file while a command runs, Python's own `sys.stderr` keeps the terminal, and the file is replayed
after a failure.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
import sys
import tempfile
import traceback
import warnings
from collections.abc import Iterator

PACKAGES = ("zoo", "compress", "export", "serving")
OURS = (ValueError, TypeError, OSError, ImportError, RuntimeError)


class Lines(logging.Handler):
    """Prints what the zoo says of its own accord, one line each, on standard error."""

    def emit(self, record: logging.LogRecord) -> None:
        """Prints one line."""
        print(record.getMessage(), file=sys.stderr)


@contextlib.contextmanager
def quiet(*, verbose: bool) -> Iterator[None]:
    """Silences descriptor 2 during the block; replays it when the block fails unexpectedly."""
    if verbose:
        yield
        return
    terminal, python_stderr = os.dup(2), sys.stderr
    # It warns of functions that are traced again, which is what a new model in a loop does.
    tensorflow = logging.getLogger("tensorflow")
    level = tensorflow.level
    tensorflow.setLevel(logging.ERROR)
    with tempfile.TemporaryFile() as noise, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        os.dup2(noise.fileno(), 2)
        if _descriptor(python_stderr) == 2:
            sys.stderr = os.fdopen(os.dup(terminal), "w", buffering=1)
        try:
            yield
        except Exception as error:
            if told(error) is None:
                noise.seek(0)
                os.write(terminal, noise.read())
            raise
        finally:
            tensorflow.setLevel(level)
            if sys.stderr is not python_stderr:
                sys.stderr.close()
                sys.stderr = python_stderr
            os.dup2(terminal, 2)
            os.close(terminal)


def told(error: BaseException) -> str | None:
    """Returns the line for the user, or `None` when the error is a defect.

    An error that our code raised speaks to the user. One that a library raised does not, unless it
    names a file.
    """
    if isinstance(error, OSError) and error.filename:
        return f"{error.filename}: {error.strerror}"
    if not isinstance(error, OURS):
        return None
    frames = traceback.extract_tb(error.__traceback__)
    innermost = list(traceback.walk_tb(error.__traceback__))[-1][0] if frames else None
    module = innermost.f_globals.get("__name__", "") if innermost else ""
    return plain(str(error)) if module.split(".")[0] in PACKAGES else None


def plain(text: str) -> str:
    """Returns what an error says without what Keras lays around it within a layer's call."""
    found = re.fullmatch(
        r"Exception encountered when calling .*?\n\n(?:\x1b\[1m)?(.*?)(?:\x1b\[0m)?\n\nArguments "
        r"received by .*", text, re.DOTALL,
    ) or re.fullmatch(
        r"Could not automatically infer .*? Error encountered:\n\n(.*)", text, re.DOTALL
    )  # fmt: skip
    return plain(found[1]) if found else text


def _descriptor(stream: object) -> int:
    try:
        return int(stream.fileno())  # type: ignore[attr-defined]
    except (AttributeError, OSError, ValueError):
        return -1
