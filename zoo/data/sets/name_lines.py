"""The surnames of `zoo.data.sets.names` as a text: lines such as `Irish: Ó Briain`, shuffled.

A language model that read it says names of an origin: `zoo generate RUN --prompt "Irish: "`. Each
name stands in one line, so the last tenth of the text is of names that its training part lacks.
"""

from __future__ import annotations

from zoo.data.dataset import DataSet
from zoo.data.sets import names
from zoo.data.texts.text import windows
from zoo.recipe import Text


def load(*, size: int | None = None, text: Text | None = None) -> DataSet:
    """Loads the text as windows of tokens.

    Args:
        size: Predictions in a window; `None` is `zoo.data.texts.text.SIZE`.
        text: What a token is; `None`: a character.

    Raises:
        ModuleNotFoundError, FileNotFoundError: See `zoo.data.sets.names.load`.
        ValueError: Likewise; or the windows are too short, or too long for the text.
    """
    found, source = names.read()
    whole = _lines(found)
    return windows("name_lines", lambda: [whole], source=source, size=size, text=text)


def read() -> str:
    """Returns the whole text."""
    return _lines(names.read()[0])


def _lines(found: list[names.Pair]) -> str:
    return "".join(f"{pair.target}: {pair.source}\n" for pair in found)
