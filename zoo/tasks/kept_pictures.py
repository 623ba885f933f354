"""The pictures that a meter keeps of a split: the first ones, and the worst."""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterable
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple

WORST = "worst"  # name of the picture, and of the table


class _Bad(NamedTuple):
    """A picture with an error.

    Attributes:
        error: How wrong the answer is.
        example: Its place in the split.
        row: What is drawn.
    """

    error: float
    example: int
    row: tuple[Any, ...]


class KeptPictures:
    """Keeps the first pictures of a split and the worst, each with what is drawn in it.

    Args:
        most: Number of the first ones, and of the worst.

    Attributes:
        first: What is drawn of the first ones.
    """

    def __init__(self, most: int):
        self.first: list[tuple[Any, ...]] = []
        self._most, self._seen = most, 0
        self._worst: list[_Bad] = []  # the worst first

    @property
    def worst(self) -> list[tuple[Any, ...]]:
        """What is drawn of the worst ones, the worst first; of equal ones the earlier."""
        return [bad.row for bad in self._worst]

    def add(self, rows: Iterable[tuple[Any, ...]], errors: Iterable[float]) -> None:
        """Takes note of a batch.

        Args:
            rows: What is drawn of each picture; a copy is kept, as an array may be a view of the
                whole batch.
            errors: How wrong each answer is; one of 0 is never among the worst.
        """
        for row, error in zip(rows, errors, strict=True):
            if len(self.first) < self._most:
                self.first.append(copy.deepcopy(row))
            full = len(self._worst) == self._most
            if error > 0 and not (full and error <= self._worst[-1].error):
                self._worst.append(_Bad(float(error), self._seen, copy.deepcopy(row)))
                self._worst.sort(key=lambda bad: -bad.error)
                del self._worst[self._most :]
            self._seen += 1

    def pictures(
        self, name: str, draw: Callable[..., None], *arguments: Any
    ) -> dict[str, Callable[[Path], None]]:
        """Returns the pictures of an evaluation: the first ones, and `worst` where there are some.

        Args:
            name: What the first ones are called.
            draw: Draws rows: from them, `arguments` and the PNG to write.
            *arguments: Further ones of `draw`.
        """
        found: dict[str, Callable[[Path], None]] = {name: partial(draw, self.first, *arguments)}
        if self._worst:
            found[WORST] = partial(draw, self.worst, *arguments)
        return found

    def tables(self) -> dict[str, list[dict[str, Any]]]:
        """Returns the table `worst`, where there are some: `example`, from 0, and its `error`."""
        rows = [{"example": bad.example, "error": bad.error} for bad in self._worst]
        return {WORST: rows} if rows else {}
