"""Files of text, read whole or block by block: a file, or all `.txt` files of a folder in turn."""

from __future__ import annotations

import codecs
import io
from collections.abc import Iterator
from pathlib import Path

from zoo.datasets import TEXT

ENDING = ".txt"
BLOCK = 1 << 20  # bytes that are read at once


def text_files(path: Path) -> tuple[Path, ...]:
    """Returns the files of a text: itself, or those of a folder, sorted by their path in it.

    Args:
        path: A file of any name, or a folder, whose `.txt` files count at any depth.

    Raises:
        FileNotFoundError: There is no such file or folder, or no text in it.
    """
    if path.is_file():
        return (path,)
    if not path.is_dir():
        raise FileNotFoundError(f"{TEXT}{path}: no such file.")
    found = sorted(
        one
        for one in path.rglob(f"*{ENDING}")
        if one.is_file() and not any(part.startswith(".") for part in one.relative_to(path).parts)
    )
    if not found:
        raise FileNotFoundError(
            f"{TEXT}{path}: got a folder without a file that ends in {ENDING}; expected one or "
            "more. Rename them, or give a single file."
        )
    return tuple(found)


def blocks(files: tuple[Path, ...]) -> Iterator[str]:
    """Gives the text of files, in blocks that end with a line break, but for the last of a file.

    Args:
        files: In UTF-8, with a mark of the order of bytes or without; line breaks of other systems
            become our own.

    Raises:
        ValueError: A file is not UTF-8; the line names the first byte that is not.
    """
    for path in files:
        decoder = io.IncrementalNewlineDecoder(codecs.getincrementaldecoder("utf-8")(), True)
        read, rest, begun = 0, "", False
        with path.open("rb") as file:
            while True:
                block = file.read(BLOCK)
                try:
                    rest += decoder.decode(block, final=not block)
                except UnicodeDecodeError as error:
                    first = read - (len(error.object) - len(block)) + error.start
                    raise _not_utf8(f"{TEXT}{path}", path, first) from None
                if "\0" in rest:
                    raise _of_zeros(f"{TEXT}{path}")
                if rest and not begun:  # a mark of the order of bytes is no part of the text
                    rest, begun = rest.removeprefix("\ufeff"), True
                read += len(block)
                if not block:
                    break
                whole, newline, rest = rest.rpartition("\n")
                if newline:
                    yield whole + newline
        if rest:
            yield rest


def text_lines(text: str) -> list[str]:
    """Returns the lines of a text, without the line feed, or carriage return and feed, at an end.

    Other signs that Python's `splitlines` ends a line at, e.g. U+2028 and U+0085, may stand within.
    """
    found = text.replace("\r\n", "\n").split("\n")
    return found if found[-1] else found[:-1]


def read_text(path: Path, *, kind: str = "") -> str:
    """Returns the text of a file.

    Args:
        path: In UTF-8, with a mark of the order of bytes or without.
        kind: What the name of the data set begins with, e.g. `trees:`; it opens an error line.

    Raises:
        ValueError: It is not UTF-8; the line names the first byte that is not.
    """
    try:
        text = path.read_bytes().decode("utf-8").removeprefix("\ufeff")
    except UnicodeDecodeError as error:
        raise _not_utf8(f"{kind}{path}", path, error.start) from None
    if "\0" in text:
        raise _of_zeros(f"{kind}{path}")
    return text


def _not_utf8(where: str, path: Path, byte: int) -> ValueError:
    with path.open("rb") as file:
        wide = file.read(2) in (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
    return ValueError(
        f"{where}: byte {byte} is not UTF-8; expected a text in UTF-8. Convert it, e.g. "
        f"`iconv -f {'utf-16' if wide else 'latin1'} -t utf-8`."
    )


def _of_zeros(where: str) -> ValueError:
    return ValueError(
        f"{where}: has bytes of zero, which no text has; expected one in UTF-8. Of UTF-16, it is "
        "made by `iconv -f utf-16le -t utf-8`."
    )
