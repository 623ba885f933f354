"""What an example is made of: named columns, each of a kind.

A data set says its columns once (`DataSet.columns`); its splits, its batches, a bundle's card and
a task name them. The first column is what a model reads; the others are what it learns.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    import numpy as np

KINDS: Mapping[str, tuple[str, int]] = {
    "image": ("uint8", 3),  # pixels (height, width, channels), 0 to 255
    "features": ("float32", 1),  # a table's row (features,), each in its own unit
    "frames": ("float32", 3),  # the last pictures in grey (height, width, pictures), 0 to 255
    "series": ("float32", 2),  # a signal (time, features)
    "tokens": ("int32", 1),  # indices of a vocabulary (time,); 0 pads where the names say so
    "counts": ("int32", 1),  # a whole number for each token (time,), e.g. its characters
    "phrases": ("int32", 2),  # tokens of each box's phrase (most, time); zeros behind the last box
    "heights": (
        "int32",
        1,
    ),  # in a tree, where each word meets the next (words,); 0 behind the last
    "class": ("int32", 0),  # index of a class ()
    "number": ("float32", 0),  # a number in its own unit ()
    "mask": ("uint8", 2),  # class of each pixel (height, width); 255 counts for nothing
    "box": ("float32", 1),  # (4,), y1 x1 y2 x2 in pixels; of a model, in fractions of the sides
    "boxes": ("float32", 2),  # (most, 4), y1 x1 y2 x2 in pixels; zeros behind the last box
    "classes": ("int32", 1),  # class of each box (most,); -1 behind the last box
    "scores": ("float32", 1),  # of each box (most,); 0 behind the last box; no data set has them
    "masks": ("float32", 3),  # shares within each box (most, rows, columns); no data set has them
    "instances": ("uint8", 2),  # number of a pixel's box (height, width); 0: none
    "count": ("int32", 0),  # how many of the padded ones there are ()
    "points": ("float32", 2),  # (points, 2), y x in pixels
    "ellipse": ("float32", 1),  # (5,): y x of the centre, half-axes in pixels, angle in radians
    "noise": ("float32", 1),  # random numbers (size,); no data set has them
}
IGNORED = 255  # class of a pixel that counts for nothing
UNITS = {"character": "characters", "word": "words", "byte_pair": "byte pairs"}  # and their nouns
MIXED, MIXED_SHARE = "mixed_label", "own_share"  # of a picture that has another one in it
THERE = "there"  # feature of a signal: 1 where it is, 0 behind its end
PLACED = ("mask", "box", "boxes", "masks", "instances", "points", "ellipse")  # of a picture
INPUTS = ("image", "features", "series", "tokens", "noise")  # kinds, and usual names, of inputs


class Column(NamedTuple):
    """One column.

    Attributes:
        kind: A key of `KINDS`, which says the element type and the number of axes.
        shape: Shape of one example; `None` for an axis whose length varies.
        names: Names of the classes or of the vocabulary, where the kind has indices; of a signal
            those of its features, of which `THERE` is no measurement.
        unit: What a token is, a key of `UNITS`; empty where it was not said, as in cards of earlier
            versions.
    """

    kind: str
    shape: tuple[int | None, ...] = ()
    names: tuple[str, ...] = ()
    unit: str = ""

    def plain(self) -> dict[str, Any]:
        """Returns the column as a card has it; what is not said is left out."""
        return {name: value for name, value in self._asdict().items() if value or name != "unit"}

    def as_far_as(self, known: Column) -> Column:
        """Returns the column without what another, of an earlier version, does not say."""
        names = () if self.kind == "series" and not known.names else self.names
        return self._replace(names=names, unit=self.unit if known.unit else "")

    def check(self, name: str, values: np.ndarray) -> None:
        """Refuses an array that is not this column.

        Args:
            name: Name of the column; it opens the error line.
            values: The examples (n, ...).

        Raises:
            ValueError: The element type or a shape differs, an index is none of the names, or a
                number is not finite.
        """
        import numpy as np

        dtype, _ = KINDS[self.kind]
        shape = values.shape[1:]
        if values.ndim < 1 or str(values.dtype) != dtype or not same_shape(self.shape, shape):
            sizes = ", ".join(["n", *("any" if n is None else str(n) for n in self.shape)])
            raise ValueError(
                f"{name}: got {values.dtype} {values.shape}; expected {dtype} ({sizes}), "
                f"a column of kind {self.kind}."
            )
        if values.dtype.kind == "f" and not np.isfinite(values).all():
            wrong = ~np.isfinite(values).reshape(len(values), -1).all(axis=1)
            raise ValueError(
                f"{name}: got NaN or infinite values in {int(wrong.sum())} of {len(values)} "
                f"examples, first in {int(wrong.argmax())}; expected finite ones."
            )
        low, high = self.span
        # Pictures on the disk have no ends to look at, nor have they names.
        if high is not None and values.size:
            counted = values[values != IGNORED] if self.kind == "mask" else values
            least, most = int(counted.min(initial=low)), int(counted.max(initial=low))
            if least < low or most > high:
                worst = least if least < low else most
                first = int((values == worst).reshape(len(values), -1).any(axis=1).argmax())
                raise ValueError(
                    f"{name}: got {worst}; expected {low} to {high}, indices of the "
                    f"{len(self.names)} names of a column of kind {self.kind}. The first is in "
                    f"example {first}."
                )

    @property
    def span(self) -> tuple[int, int | None]:
        """The least and the largest index; the latter is `None` where there are no names."""
        least = -1 if self.kind == "classes" else 0
        named = self.names and self.kind in ("class", "classes", "tokens", "phrases", "mask")
        return least, len(self.names) - 1 if named else None


def keeps_size(columns: Mapping[str, Column]) -> bool:
    """Returns whether pictures keep their size: another column tells of places in them, or may."""
    return len(columns) > 2 or any(column.kind in PLACED for column in columns.values())


def same_shape(one: Sequence[int | None], other: Sequence[int | None]) -> bool:
    """Returns whether two shapes are equal, where both are known."""
    return len(one) == len(other) and all(
        None in pair or pair[0] == pair[1] for pair in zip(one, other, strict=True)
    )


def column(kind: str, values: np.ndarray, names: tuple[str, ...] = ()) -> Column:
    """Returns the column that an array is.

    Args:
        kind: A key of `KINDS`.
        values: The examples (n, ...).
        names: Names of the classes or of the vocabulary.

    Raises:
        ValueError: The kind is unknown, or the array does not fit it.
    """
    if kind not in KINDS:
        raise ValueError(f"column: got kind {kind!r}; expected one of {', '.join(KINDS)}.")
    dtype, axes = KINDS[kind]
    if values.ndim != axes + 1 or str(values.dtype) != dtype:
        raise ValueError(
            f"column: got {values.dtype} {values.shape}; expected {dtype} with {axes} axes behind "
            f"the first, a column of kind {kind}."
        )
    return Column(kind, tuple(values.shape[1:]), names)
