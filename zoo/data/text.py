"""Texts: one long text, cut into windows of characters; and the user's own, `text:PATH`.

The last tenth of the text is the test part, the twentieth before it validation, the rest training;
nothing is shuffled between them. An example is a window of `size` + 1 characters: all but the last
are read, all but the first are to be predicted. Training windows follow one another, in random
order. Those of the other parts overlap, and `counted` says how many of the last predictions of a
window count: every character of a part counts once, behind at least half a window of the text that
stands before it.
Limits: the whole text is held in memory; each character is a token of its own, and the vocabulary
is that of the whole text; up to `size` characters at the end of the training part are left out.
"""

from __future__ import annotations

import hashlib

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split
from zoo.datasets import TEXT, text_path

SIZE = 100
"""Predictions in a window when no number is asked for."""
TEST, HELD = 0.9, 0.85  # where the test part and the validation part begin
SMALLEST = 40  # windows that a text must fill


def load(name: str, *, size: int | None = None) -> DataSet:
    """Reads a text of the user's own, in UTF-8.

    Args:
        name: `text:PATH`.
        size: Predictions in a window; `None` is `SIZE`.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not UTF-8, or is too short.
    """
    path = text_path(name)
    if not path.is_file():
        raise FileNotFoundError(f"{TEXT}{path}: no such file.")
    try:
        text = path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ValueError(
            f"{TEXT}{path}: byte {error.start} is not UTF-8; expected a text in UTF-8."
        ) from None
    return characters(name, text, source=str(path), size=size)


def characters(name: str, text: str, *, source: str, size: int | None = None) -> DataSet:
    """Returns a text as windows of characters.

    Args:
        name: Name of the data set.
        text: All of it.
        source: Where it was read from; its length and digest are added.
        size: Predictions in a window; `None` is `SIZE`.

    Returns:
        `tokens` (size + 1,), indices of the characters, and `counted` ().

    Raises:
        ValueError: A window has fewer than 2 predictions, or the text is too short.
    """
    size = SIZE if size is None else size
    if size < 2:
        raise ValueError(f"size: got {size}; expected windows of at least 2 characters.")
    if len(text) < SMALLEST * size:
        raise ValueError(
            f"{name}: got {len(text):,} characters; expected at least {SMALLEST * size:,}, "
            f"{SMALLEST} windows of {size}. Take a longer text, or a smaller data.size."
        )
    vocabulary, tokens = encode(text)
    held, test = bounds(len(tokens))
    digest = hashlib.sha256(text.encode()).hexdigest()[:16]
    return DataSet(
        name,
        f"{source}: {len(text):,} characters, {len(vocabulary)} different, sha256 {digest}",
        {"tokens": Column("tokens", (size + 1,), vocabulary), "counted": Column("count")},
        _following(tokens[:held], size),
        _overlapping(tokens, held, test, size),
        _overlapping(tokens, test, len(tokens), size),
    )


def encode(text: str) -> tuple[tuple[str, ...], np.ndarray]:
    """Returns the characters of a text in the order of their codes, and it as indices of them."""
    codes = np.frombuffer(text.encode("utf-32-le"), np.uint32)
    known, tokens = np.unique(codes, return_inverse=True)
    return tuple(map(chr, known)), tokens.astype(np.int32)


def bounds(length: int) -> tuple[int, int]:
    """Returns where the validation part and the test part of a text begin."""
    return int(length * HELD), int(length * TEST)


def _following(tokens: np.ndarray, size: int) -> Split:
    """Windows one after another, in random order: each prefix is a random part of the text."""
    starts = np.random.RandomState(0).permutation((len(tokens) - 1) // size) * size
    windows = tokens[starts[:, None] + np.arange(size + 1)]  # (n, size + 1)
    return Split({"tokens": windows, "counted": np.full(len(starts), size, np.int32)})


def _overlapping(tokens: np.ndarray, start: int, stop: int, size: int) -> Split:
    """Windows whose last predictions are the tokens from `start` to `stop`, each once."""
    stride = size - size // 2
    firsts = np.arange(start, stop, stride)
    lasts = np.minimum(firsts + stride, stop)
    windows = tokens[lasts[:, None] + np.arange(-size - 1, 0)]  # (n, size + 1)
    return Split({"tokens": windows, "counted": (lasts - firsts).astype(np.int32)})
