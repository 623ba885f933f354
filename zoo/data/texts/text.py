"""Texts: one long text, cut into windows of tokens; and the user's own, `text:PATH`.

The last tenth of the text is the test part, the twentieth before it validation, the rest training;
nothing is shuffled between them. An example is a window of `size` + 1 tokens: all but the last are
read, all but the first are to be predicted. Training windows follow one another, in random order.
Those of the other parts overlap, and `counted` says how many of the last predictions of a window
count: every token of a part counts once, behind at least half a window of the text that stands
before it. Where a token is not one character, `lengths` says how many it stands for.

A token is a character, a word or a byte pair (`zoo.common.vocabulary`). A text that does not fit
into memory is a stream: its tokens are on the disk, and training windows are shuffled a thousand at
a time.
Limits: up to `size` tokens at the end of the training part are left out.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from importlib import import_module
from typing import Any, Literal

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.data.feeds.stream import Stream
from zoo.data.texts import text_neighbours
from zoo.data.texts.text_files import blocks, text_files
from zoo.data.texts.text_tokens import Blocks, Tokens, tokenize
from zoo.datasets import DATASETS, TEXT, text_path
from zoo.recipe import Text

SIZE = 100
"""Predictions in a window when no number is asked for."""
TEST, HELD = 0.9, 0.85  # where the test part and the validation part begin
SMALLEST = 40  # windows that a text must fill
LARGE = 1 << 28  # bytes from which on a text is a stream
NOUNS = {"character": "characters", "word": "words", "byte_pair": "byte pairs"}


def load(
    name: str,
    *,
    size: int | None = None,
    text: Text | None = None,
    stream: bool | Literal["auto"] = "auto",
) -> DataSet:
    """Reads a text of the user's own, in UTF-8.

    Args:
        name: `text:PATH`, a file or a folder of `.txt` files, which follow one another.
        size: Predictions in a window; `None` is `SIZE`.
        text: What a token is; `None`: a character.
        stream: Whether the tokens stay on the disk; `auto` does so from `LARGE` bytes on.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not UTF-8, or is too short.
    """
    path = text_path(name)
    files = text_files(path)
    large = sum(file.stat().st_size for file in files) >= LARGE
    on_disk = large if stream == "auto" else stream
    return windows(name, lambda: blocks(files), source=str(path), size=size, text=text,
                   on_disk=on_disk)  # fmt: skip


def whole(name: str) -> str:
    """Returns a whole text.

    Args:
        name: `text:PATH`, or a text of `zoo.datasets.DATASETS`, whose module has a function `read`.
    """
    if name.startswith(TEXT):
        return "".join(blocks(text_files(text_path(name))))
    module = import_module(DATASETS[name].loader.partition(":")[0])
    found: str = module.read()
    return found


def windows(
    name: str,
    read: Blocks,
    *,
    source: str,
    size: int | None = None,
    text: Text | None = None,
    on_disk: bool = False,
) -> DataSet:
    """Returns a text as windows of tokens.

    Args:
        name: Name of the data set.
        read: Gives all of it from the beginning, in blocks that end with a line.
        source: Where it was read from; its length and digest are added.
        size: Predictions in a window; `None` is `SIZE`.
        text: What a token is; `None`: a character.
        on_disk: Whether the tokens stay on the disk.

    Returns:
        `tokens` (size + 1,), indices of the vocabulary, `counted` (), and `lengths` (size + 1,)
        where tokens are not characters.

    Raises:
        ValueError: A window has fewer than 2 predictions, or the text is too short.
    """
    text = text or Text()
    usual = SIZE if text.form == "windows" else text_neighbours.SIZE
    size = usual if size is None else size
    if text.form != "windows" and (text.unit != "word" or on_disk):
        raise ValueError(
            f"data.text.form: got {text.form} of {NOUNS[text.unit]}{' on the disk' * on_disk}; "
            "expected unit word, in memory."
        )
    if size < 2:
        raise ValueError(f"size: got {size}; expected windows of at least 2 tokens.")
    length, hashed = 0, hashlib.sha256()
    for block in read():
        length += len(block)
        hashed.update(block.encode())
    noun = NOUNS[text.unit]
    _check_length(name, length, "characters", size)
    held, test = bounds(length)
    found = tokenize(read, text, training=held, on_disk=on_disk)
    if found.lengths is not None:
        _check_length(name, len(found.places), noun, size)
        held, test = _token_bounds(found.lengths, held, test)
        parts = held, test - held, len(found.places) - test
        if parts[0] <= size or not all(parts):
            raise ValueError(
                f"{name}: got {parts[0]:,}, {parts[1]:,} and {parts[2]:,} {noun} to learn from, to "
                f"validate and to test, cut at {HELD:.0%} and {TEST:.0%} of the characters; "
                f"expected more than {size} of the first and some of each. Is one very long?"
            )
    if text.form != "windows":
        return _neighbours(name, source, found, size, text.form, (held, test))
    told = f"{length:,} characters"
    if text.unit != "character":
        told += f", {len(found.places):,} {noun}"
    columns = {
        "tokens": Column("tokens", (size + 1,), found.names, text.unit),
        "counted": Column("count"),
    }
    if found.lengths is not None:
        columns["lengths"] = Column("counts", (size + 1,))
    cut = _Streamed(columns, found, size) if on_disk else _Cut(found, size)
    return DataSet(
        name,
        f"{source}: {told}, {len(found.names)} different, sha256 {hashed.hexdigest()[:16]}",
        columns,
        cut.following(held),
        cut.overlapping(held, test),
        cut.overlapping(test, len(found.places)),
    )


def _neighbours(
    name: str, source: str, found: Tokens, size: int, form: str, starts: tuple[int, int]
) -> DataSet:
    """Returns the words of a text with their neighbours, see `zoo.data.texts.text_neighbours`."""
    stops = (*starts, len(found.places))
    parts = text_neighbours.words_alone(found.places, found.names, stops)
    make = text_neighbours.contexts if form == "contexts" else text_neighbours.cooccurrences
    columns, (train, validation, test) = make(parts, found.names, size)
    count = sum(map(len, parts))
    source = f"{source}: {count:,} words, {len(found.names)} different, {size} on each side"
    return DataSet(name, source, columns, train, validation, test)


def encode(text: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the characters of a text in the order of their codes, and it as indices of them."""
    found = tokenize(lambda: [text], Text(), training=0)
    return found.names, found.places


def bounds(length: int) -> tuple[int, int]:
    """Returns where the validation part and the test part of a text begin."""
    return int(length * HELD), int(length * TEST)


def _check_length(name: str, length: int, noun: str, size: int) -> None:
    if length < SMALLEST * size:
        raise ValueError(
            f"{name}: got {length:,} {noun}; expected at least {SMALLEST * size:,}, "
            f"{SMALLEST} windows of {size}. Take a longer text, or a smaller data.size."
        )


def _token_bounds(lengths: np.ndarray, *places: int) -> tuple[int, ...]:
    """The first token that begins at some characters of the text, or behind them."""
    begins = np.cumsum(lengths, dtype=np.int64) - lengths
    return tuple(int(place) for place in np.searchsorted(begins, places))


class _Cut:
    """Cuts a text into windows.

    Args:
        tokens: The text.
        size: Predictions in a window.
    """

    def __init__(self, tokens: Tokens, size: int):
        self._tokens, self._size = tokens, size

    def following(self, stop: int) -> Any:
        """Windows one after another, in random order: each prefix is a random part of the text."""
        starts = np.random.RandomState(0).permutation((stop - 1) // self._size) * self._size
        return self.split(starts, np.full(len(starts), self._size, np.int32))

    def overlapping(self, start: int, stop: int) -> Any:
        """Windows whose last predictions are the tokens from `start` to `stop`, each once."""
        stride = self._size - self._size // 2
        firsts = np.arange(start, stop, stride)
        lasts = np.minimum(firsts + stride, stop)
        return self.split(lasts - self._size - 1, (lasts - firsts).astype(np.int32))

    def split(self, starts: np.ndarray, counted: np.ndarray) -> Any:
        """Returns the windows that begin at some tokens (n,), and how much of each counts (n,)."""
        return Split(self.rows(starts, counted))

    def rows(self, starts: np.ndarray, counted: np.ndarray) -> dict[str, np.ndarray]:
        """Likewise, as columns."""
        places = starts[:, None] + np.arange(self._size + 1)  # (n, size + 1)
        found = {"tokens": np.asarray(self._tokens.places[places]), "counted": counted}
        if self._tokens.lengths is not None:
            found["lengths"] = np.asarray(self._tokens.lengths[places])
        return found


class _Streamed(_Cut):
    """Likewise, of tokens on the disk: windows come in the order of the text.

    Args:
        columns: See `windows`.
        tokens: The text.
        size: Predictions in a window.
    """

    def __init__(self, columns: dict[str, Column], tokens: Tokens, size: int):
        super().__init__(tokens, size)
        self._columns = columns

    def following(self, stop: int) -> Any:
        """See `_Cut.following`; a stream is shuffled as it is read."""
        starts = np.arange((stop - 1) // self._size) * self._size
        return self.split(starts, np.full(len(starts), self._size, np.int32))

    def split(self, starts: np.ndarray, counted: np.ndarray) -> Any:
        """See `_Cut.split`."""

        def make() -> Iterator[dict[str, Any]]:
            for at in range(0, len(starts), 256):
                block = self.rows(starts[at : at + 256], counted[at : at + 256])
                for row in zip(*block.values(), strict=True):
                    yield dict(zip(block, row, strict=True))

        return Stream(self._columns, make, len(starts))
