"""What a converter, a compiler or a runtime raises, as one line of ours.

They raise classes of their own, with a graph in the text, or with nothing in it. The line says what
was being done and the cause; the error itself stays its `__cause__`.
"""

from __future__ import annotations

import contextlib
import errno
import re
import traceback
from collections.abc import Iterator

from zoo.common.claims import FULL

OURS = ("export", "zoo")
SPOKEN = (ValueError, TypeError, RuntimeError, ImportError, FileNotFoundError)
OF_THE_DISK = (*FULL, errno.EROFS, errno.EACCES, errno.EPERM, errno.EIO, errno.ENAMETOOLONG)
PLACES = r"(Exception from|Check '.*?' failed at) \S+:\d+:?|\[\w*Error\] : \d+ : (FAIL|\w+) : "
MOST = 300  # letters of a cause


@contextlib.contextmanager
def told_as(kind: str, doing: str) -> Iterator[None]:
    """Turns what others raise within the block into one line; what we raise passes.

    Args:
        kind: Name of the target.
        doing: What fails, e.g. `the converter failed`.

    Raises:
        OSError: The disk refuses to be written.
        RuntimeError: Anything else that is not ours.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, OSError) and error.errno in OF_THE_DISK:
            raise
        if is_ours(error):
            if type(error) is RuntimeError and not str(error).startswith(f"export to {kind}:"):
                said = re.sub(
                    r"^export( to \S+)?: ", "", str(error)
                )  # of the file that it is made of
                raise RuntimeError(f"export to {kind}: {said}") from error
            raise
        raise RuntimeError(f"export to {kind}: {doing}: {cause(error)}.") from error


def is_ours(error: BaseException) -> bool:
    """Whether our own code raised an error, and meant it to be read."""
    if not isinstance(error, SPOKEN):
        return False
    frames = list(traceback.walk_tb(error.__traceback__))
    module = str(frames[-1][0].f_globals.get("__name__", "")) if frames else ""
    return module.split(".")[0] in OURS


def cause(error: BaseException) -> str:
    """Returns what an error says as the end of a line: its text, or its class without any."""
    said = " ".join(re.sub(PLACES, "", str(error)).split()).rstrip(".")
    if len(said) > MOST:
        said = said[:MOST].rstrip() + " ..."
    named = isinstance(error, (KeyError, AttributeError, AssertionError, IndexError))
    return f"{type(error).__name__}: {said}" if named and said else said or type(error).__name__
