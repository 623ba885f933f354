"""What the tokens of a text are: the names of a vocabulary, how a text is cut, and the way back.

A token is a character, a word or a byte pair. What a vocabulary begins with, its marks, says what
it is of:

- none: a long text, of which nothing is lost.
- `<unk>`: a long text of words; it stands for every word that is not in the list. A word is a run
  of letters, digits and `_`; a line break and every other character but a blank is a word by
  itself. What is written has a blank before every word that does not follow a line break, so a text
  is not what was read character by character.
- a name of no letters: rows of tokens, of which 0 stands behind a text up to the longest one, and
  so tells its length. Words are what stands between spaces.
- the same, and `<unknown>` for every word that is not in the list: words are cut at spaces and
  signs, in small letters.
- `zoo.common.sentences.MARKS`: rows that are said, with a start before them and an end behind.
"""

from __future__ import annotations

import logging
import re
from collections.abc import Iterable, Sequence
from itertools import islice
from typing import Literal, NamedTuple, cast

import numpy as np

from zoo.common import byte_pairs
from zoo.common.columns import UNITS, Column
from zoo.common.sentences import END, MARKS, PADDING, START
from zoo.common.sentences import words as said_of

LOG = logging.getLogger("zoo")

Unit = Literal["character", "word", "byte_pair"]

OF_TEXT = ("<unk>",)  # marks, see above
OF_ROWS = ("",)
OF_WORDS = ("", "<unknown>")
ALL_MARKS: tuple[tuple[str, ...], ...] = (MARKS, OF_WORDS, OF_ROWS, OF_TEXT, ())
A_MARK = frozenset(mark for marks in ALL_MARKS for mark in marks)
SHOWN = 5  # of what is not in a vocabulary
WORD = re.compile(r"\w+|\n|[^\w\s]")


def cut(text: str, *, marks: tuple[str, ...], unit: Unit) -> list[str]:
    """Returns the names of a text's tokens, which are no byte pairs.

    Args:
        text: Any.
        marks: What the vocabulary begins with, see above.
        unit: What a token is.
    """
    if unit == "character":
        return list(text.strip() if marks else text)
    if marks == OF_TEXT:
        return WORD.findall(text)
    return re.findall(r"\w+|[^\w\s]", text.lower()) if marks == OF_WORDS else text.split()


class Vocabulary(NamedTuple):
    """The tokens that a model knows.

    Attributes:
        names: Of the tokens, in the order of their indices, marks first.
        unit: What a token is.
    """

    names: tuple[str, ...]
    unit: Unit

    @classmethod
    def of(
        cls, texts: Iterable[str], *, marks: tuple[str, ...] = OF_ROWS, unit: Unit | None = None
    ) -> Vocabulary:
        """Returns the vocabulary of texts, in the order of their codes.

        Args:
            texts: All of them.
            marks: What it begins with.
            unit: What a token is; `None`: a word where a text has a space within, else a character.
        """
        stripped = [text.strip() for text in texts]
        if unit is None:
            unit = "word" if any(len(text.split()) > 1 for text in stripped) else "character"
        rows = (cut(text, marks=marks, unit=unit) for text in stripped)
        return cls.of_pieces(rows, marks=marks, unit=unit)

    @classmethod
    def of_pieces(
        cls, rows: Iterable[Iterable[str]], *, marks: tuple[str, ...], unit: Unit = "word"
    ) -> Vocabulary:
        """Returns the vocabulary of texts that are cut.

        A token of a text that is written as a mark stands last: names begin with marks alone.
        """
        pieces = {piece for row in rows for piece in row}
        return cls((*marks, *sorted(pieces, key=lambda piece: (piece in A_MARK, piece))), unit)

    @classmethod
    def of_names(cls, names: Sequence[str], unit: str = "") -> Vocabulary:
        """Returns the vocabulary that some names are.

        Args:
            names: Marks first.
            unit: What a token is; where it is not said, as in cards of earlier versions, the names
                tell: of rows, words where one has more than one character.
        """
        found = cls(tuple(names), cast(Unit, unit or "character"))
        if unit:
            return found
        long = any(len(name) > 1 for name in found.names[len(found.marks) :])
        if found.marks in (OF_TEXT, OF_WORDS) or (found.marks and long):
            return found._replace(unit="word")
        return found._replace(unit="byte_pair" if long else "character")

    @classmethod
    def read(cls, column: Column) -> Vocabulary:
        """Returns the vocabulary of a column of tokens, e.g. of a bundle's card."""
        return cls.of_names(column.names, column.unit)

    def column(self, length: int) -> Column:
        """Returns the column of rows of so many tokens, marks counted."""
        return Column("tokens", (length,), self.names, self.unit)

    @property
    def marks(self) -> tuple[str, ...]:
        """What the names begin with, one of `ALL_MARKS`."""
        return next(marks for marks in ALL_MARKS if self.names[: len(marks)] == marks)

    @property
    def says(self) -> bool:
        """Whether a row has a start before its tokens and an end behind them."""
        return self.marks == MARKS

    def pieces(self, text: str) -> list[str]:
        """Returns the names of a text's tokens, or of what of it is in none."""
        if self.unit != "byte_pair":
            return cut(text, marks=self.marks, unit=self.unit)
        strange = sorted(set(text) - set(self.names))
        return strange or list(byte_pairs.tokenizer(self.names).encode(text).tokens)

    def indices(self, pieces: Sequence[str], *, where: str | None) -> list[int]:
        """Returns the indices of tokens.

        Args:
            pieces: Their names.
            where: Opens the line of an error, or of a warning where a mark stands for every word
                that is not known; `None` warns of none.

        Raises:
            ValueError: One is not in the vocabulary, and no mark stands for it.
        """
        first, strange, others = len(self.marks), self._strange(pieces), self._others
        told = ", ".join(map(repr, islice(strange, SHOWN)))
        if len(strange) > SHOWN:
            told += f" and {len(strange) - SHOWN:,} others"
        if strange and others is None:
            noun = "words" if self.unit == "word" else "characters"
            known = sum(len(name) == 1 or self.unit == "word" for name in self.names[first:])
            raise ValueError(
                f"{where}: got {told} in {self._short(pieces)}; expected {noun} of the {known} "
                "that are known. Leave out what is not among them."
            )
        if strange and where:
            LOG.warning(
                "%s: %s not among the %d words of the training; read as %s",
                where, told, len(self.names) - first, others,
            )  # fmt: skip
        places = {name: place for place, name in enumerate(self.names)}
        return [first - 1 if piece in strange else places[piece] for piece in pieces]

    def encode(self, text: str, *, where: str) -> list[int]:
        """Returns the indices of a short text, see `indices`."""
        return self.indices(self.pieces(text), where=where)

    def rows(
        self, texts: Sequence[str], *, length: int | None = None, where: str = "text"
    ) -> np.ndarray:
        """Returns texts as rows of tokens, see `table`."""
        return self.table([self.pieces(text) for text in texts], length=length, where=where)

    def table(
        self, texts: Sequence[Sequence[str]], *, length: int | None = None, where: str | None
    ) -> np.ndarray:
        """Returns texts as rows of tokens (n, length), int32, padded with 0.

        Args:
            texts: One or more, cut.
            length: Tokens of a row, marks counted; `None` is that of the longest.
            where: See `indices`.

        Raises:
            ValueError: A text is empty or longer than `length`, or something of it is not in the
                vocabulary; the line names it. Or the vocabulary has no padding.
        """
        if self.marks in (OF_TEXT, ()):
            raise ValueError(
                f"vocabulary: got names that begin with {', '.join(map(repr, self.names[:3]))}; "
                f"expected {PADDING_NAMES}."
            )
        noun, around = UNITS[self.unit], 2 * self.says
        room = max(map(len, texts)) + around if length is None else length
        for pieces in texts:
            if not pieces:
                raise ValueError(f"{where}: got an empty text; expected {noun} of the vocabulary.")
            if len(pieces) + around > room:
                raise ValueError(
                    f"{where}: got {len(pieces)} {noun} in {self._short(pieces)}; expected at most "
                    f"{room - around}, as in training."
                )
        flat = [piece for pieces in texts for piece in pieces]
        if self._others is None and (strange := self._strange(flat)):
            flat = next(list(pieces) for pieces in texts if not strange.keys().isdisjoint(pieces))
        every = self.indices(flat, where=where)
        found, begin = np.full((len(texts), room), PADDING, np.int32), 0
        for row, pieces in zip(found, texts, strict=True):
            tokens, begin = every[begin : begin + len(pieces)], begin + len(pieces)
            tokens = [START, *tokens, END] if self.says else tokens
            row[: len(tokens)] = tokens
        return found

    def pieces_of(self, row: Iterable[int]) -> list[str]:
        """Returns the names of a row's tokens, without marks and what is behind an end."""
        if self.says:
            return said_of(row, self.names)
        return [self.names[token] for token in row if self.names[token]]

    def joined(self, pieces: Iterable[str]) -> str:
        """Returns the text that names of a row's tokens are."""
        return (" " if self.unit == "word" else "").join(pieces)

    def decode(self, tokens: Iterable[int]) -> str:
        """Returns the text of tokens, of a row or of a long text."""
        if self.marks in (OF_TEXT, ()):
            return self.behind([], tokens)
        return self.joined(self.pieces_of(tokens))

    def behind(self, before: Sequence[int], tokens: Iterable[int]) -> str:
        """Returns tokens as what follows others in a long text.

        Args:
            before: Tokens that stand before; none at the beginning of a text.
            tokens: Indices of the vocabulary.
        """
        found = [self.names[token] for token in tokens]
        if self.unit != "word":
            return "".join(found)
        last = self.names[before[-1]] if before else "\n"
        parts = []
        for word in found:
            parts.append(word if "\n" in (last, word) else f" {word}")
            last = word
        return "".join(parts)

    @property
    def _others(self) -> str | None:
        """The mark that stands for every word that is not in the list."""
        return self.marks[-1] if self.marks in (OF_TEXT, OF_WORDS) else None

    def _strange(self, pieces: Iterable[str]) -> dict[str, None]:
        """What is not in the vocabulary, each once, in order."""
        known = frozenset(self.names[len(self.marks) :])
        return dict.fromkeys(piece for piece in pieces if piece not in known)

    def _short(self, pieces: Sequence[str]) -> str:
        text = self.joined(pieces)
        return repr(text if len(text) <= 40 else text[:37] + "...")


PADDING_NAMES = f"{OF_ROWS[0]!r}, the padding, or {', '.join(MARKS)}"
