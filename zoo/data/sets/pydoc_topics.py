"""The help texts of Python's own language reference, 465,000 characters, as they come with Python.

Source: the module `pydoc_data.topics` of the standard library, what `help()` prints of a topic,
made from the Python documentation (Python Software Foundation licence, version 2). The topics
follow one another in the order of their names.
Differs: each version of Python has its own text, and so its own figures; the version and a digest
of the text stand in `DataSet.source`.
"""

from __future__ import annotations

import platform

from zoo.data.dataset import DataSet
from zoo.data.texts.text import windows
from zoo.recipe import Text


def load(*, size: int | None = None, text: Text | None = None) -> DataSet:
    """Loads the text as windows of tokens.

    Args:
        size: Predictions in a window; `None` is `zoo.data.texts.text.SIZE`.
        text: What a token is; `None`: a character.

    Raises:
        ModuleNotFoundError: This Python was installed without its help texts.
        ValueError: The windows are too short, or too long for the text.
    """
    source = f"Python {platform.python_version()}, pydoc_data.topics"
    whole = read()
    return windows("pydoc_topics", lambda: [whole], source=source, size=size, text=text)


def read() -> str:
    """Returns the whole text."""
    try:
        from pydoc_data.topics import topics
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "pydoc_topics: this Python lacks pydoc_data, its help texts; expected a full "
            "installation of Python. Take another data set, e.g. text:PATH."
        ) from None
    return "".join(topics[name] for name in sorted(topics))
