"""Texts as rows of tokens: a vocabulary of characters or of words, and the way back.

Token 0 is padding: it stands behind a text up to the longest one, and so tells its length. What is
read begins with it alone; what is said has the marks of `zoo.common.sentences`, a start before it
and an end behind it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np

from zoo.common.columns import Column
from zoo.common.sentences import END, MARKS, PADDING, START
from zoo.common.sentences import words as said_of

PAD = ("",)  # what the vocabulary of what is read begins with


class Vocabulary(NamedTuple):
    """The names of tokens, and whether a text is cut between words or between characters.

    Attributes:
        names: Of the tokens; they begin with `PAD`, or with `zoo.common.sentences.MARKS`.
        of_words: Whether tokens are words, what stands between spaces.
    """

    names: tuple[str, ...]
    of_words: bool

    @classmethod
    def of(
        cls, texts: Iterable[str], *, marks: tuple[str, ...] = PAD, of_words: bool | None = None
    ) -> Vocabulary:
        """Returns the vocabulary of texts, in the order of their codes.

        Args:
            texts: All of them.
            marks: What it begins with, `PAD` or `MARKS`.
            of_words: Whether tokens are words; `None`: where a text has a space within.
        """
        stripped = [text.strip() for text in texts]
        if of_words is None:
            of_words = any(len(text.split()) > 1 for text in stripped)
        pieces = {piece for text in stripped for piece in (text.split() if of_words else text)}
        return cls((*marks, *sorted(pieces)), of_words)

    @classmethod
    def read(cls, column: Column) -> Vocabulary:
        """Returns the vocabulary that a column of tokens has, e.g. that of a bundle's card.

        Args:
            column: Of tokens; a card of an earlier version does not say what they are: words, where
                one has more than one character.

        Raises:
            ValueError: Its names begin neither with `PAD` nor with `MARKS`.
        """
        names = tuple(column.names)
        if names[: len(MARKS)] != MARKS and names[:1] != PAD:
            raise ValueError(
                f"vocabulary: got names that begin with {', '.join(map(repr, names[:3]))}; "
                f"expected {PAD[0]!r}, the padding, or {', '.join(MARKS)}."
            )
        own = names[len(MARKS) if names[0] else len(PAD) :]
        of_words = column.unit == "word" if column.unit else any(len(name) > 1 for name in own)
        return cls(names, of_words)

    def column(self, length: int) -> Column:
        """Returns the column of rows of so many tokens, marks counted."""
        return Column("tokens", (length,), self.names, "word" if self.of_words else "character")

    @property
    def says(self) -> bool:
        """Whether a row has a start before its tokens and an end behind them."""
        return self.names[: len(MARKS)] == MARKS

    def pieces(self, text: str) -> list[str]:
        """Returns the tokens' names of a text."""
        return text.split() if self.of_words else list(text.strip())

    def encode(
        self, texts: Sequence[str], *, length: int | None = None, where: str = "text"
    ) -> np.ndarray:
        """Returns texts as rows of tokens (n, length), int32, padded with 0.

        Args:
            texts: One or more.
            length: Tokens of a row, marks counted; `None` is that of the longest.
            where: Opens the error line.

        Raises:
            ValueError: A text is empty or longer than `length`, or a character or word of it is not
                in the vocabulary; the line names the first.
        """
        places = {name: token for token, name in enumerate(self.names)}
        marks = range(len(MARKS) if self.says else len(PAD))
        noun = "words" if self.of_words else "characters"
        rows = []
        for text in texts:
            pieces = self.pieces(text)
            if not pieces:
                raise ValueError(f"{where}: got an empty text; expected {noun} of the vocabulary.")
            unknown = [p for p in pieces if places.get(p, PADDING) in marks]
            if unknown:
                told = ", ".join(map(repr, dict.fromkeys(unknown)))
                raise ValueError(
                    f"{where}: got {told} in {_short(text)}; expected {noun} of the "
                    f"{len(self.names) - len(marks)} that are known. Leave out what is not among "
                    "them."
                )
            row = [places[piece] for piece in pieces]
            rows.append([START, *row, END] if self.says else row)
        longest = max(map(len, rows))
        length = longest if length is None else length
        if longest > length:
            most, text = length - 2 * self.says, texts[[len(r) for r in rows].index(longest)]
            raise ValueError(
                f"{where}: got {longest - 2 * self.says} {noun} in {_short(text)}; expected at "
                f"most {most}, as in training."
            )
        found = np.full((len(rows), length), PADDING, np.int32)
        for number, row in enumerate(rows):
            found[number, : len(row)] = row
        return found

    def pieces_of(self, row: Iterable[int]) -> list[str]:
        """Returns the names of a row's tokens, without marks and what is behind an end."""
        if self.says:
            return said_of(row, self.names)
        return [self.names[token] for token in row if token != PADDING]

    def decode(self, row: Iterable[int]) -> str:
        """Returns the text of a row of tokens."""
        return (" " if self.of_words else "").join(self.pieces_of(row))


def _short(text: str) -> str:
    return repr(text if len(text) <= 40 else text[:37] + "...")
