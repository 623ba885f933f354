"""What a data set is, and how it is split.

Every split is ordered so that each of its prefixes holds the classes in their proportions, or is a
random part where there are no classes; official test splits keep their own order.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, overload

import numpy as np

from zoo.common.columns import Column
from zoo.data.faults import first_fault
from zoo.data.feeds.on_disk import OnDisk


class Split:
    """Examples: a mapping from the name of a column to its values, all of equal length.

    `split["image"]` is a column (n, ...); `split[:5]` and `split[indices]` are splits of fewer
    examples; `len(split)` is their number.

    Args:
        columns: Arrays (n, ...) by name, in the order of the data set's columns; pictures may stay
            on the disk (`zoo.data.feeds.on_disk.OnDisk`), and are then no array until they are
            read.

    Attributes:
        buffer: Examples, neighbours, that a training shuffles together; `None`: all.
        preprocessing: What was measured on these examples before; `None`: nothing was.

    Raises:
        ValueError: There is no column, or their lengths differ.
    """

    buffer: int | None = None
    preprocessing: Any = None

    def __init__(self, columns: Mapping[str, Any]):
        self.columns = dict(columns)
        lengths = {name: len(values) for name, values in self.columns.items()}
        if len(set(lengths.values())) != 1:
            raise ValueError(f"Split: got columns of lengths {lengths}; expected one length.")
        (self._num,) = set(lengths.values())

    def __len__(self) -> int:
        return self._num

    def __iter__(self) -> Iterator[str]:
        return iter(self.columns)

    @overload
    def __getitem__(self, which: str) -> Any: ...

    @overload
    def __getitem__(self, which: slice | np.ndarray) -> Split: ...

    def __getitem__(self, which: str | slice | np.ndarray) -> Any:
        if isinstance(which, str):
            return self.columns[which]
        return Split({name: values[which] for name, values in self.columns.items()})

    def replace(self, **columns: Any) -> Split:
        """Returns the split with some columns in the place of those of the same names."""
        return Split({**self.columns, **columns})


@dataclass(frozen=True, eq=False)
class DataSet:
    """A data set.

    A split is a `Split`, or a `zoo.data.feeds.stream.Stream`, which is read anew in every epoch.

    Attributes:
        name: A name of `zoo.data.DATASETS`, `folder:PATH`, `text:PATH`, or any other of the user's
            own.
        source: Where it was read from, one sentence.
        columns: What an example is made of; the first column is what a model reads.
        train: Examples to learn from.
        validation: Examples to choose by.
        test: Examples to report on; disjoint from the others.
        mirror: Whether an image flipped left to right keeps its class.
        motions: For a column that tells something of an image, the largest values of
            `data.augment` that leave it true, by name, e.g. no `rotate` where a point is the
            uppermost; what is not named has no limit.
        problems: What was left out, or is doubtful, one line each: the file and the reason.
        digest: Of what may change where it lies, e.g. the names and sizes of a folder's pictures,
            a digest; empty for what does not.

    Raises:
        ValueError: Pictures to read are not called `image`; a split has other columns, or an array
            of another shape or element type; or what is told of a picture does not fit it, see
            `zoo.data.faults`.
    """

    name: str
    source: str
    columns: Mapping[str, Column]
    train: Any
    validation: Any
    test: Any
    mirror: bool = False
    motions: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    problems: tuple[str, ...] = ()
    digest: str = ""

    def __post_init__(self) -> None:
        if self.columns[self.input].kind == "image" and self.input != "image":
            raise ValueError(
                f"{self.name}: got the column {self.input!r} of images to read; expected it to be "
                "called 'image', as the networks' input is."
            )
        for split in ("train", "validation", "test"):
            examples: Any = getattr(self, split)
            if set(examples) != set(self.columns):
                raise ValueError(
                    f"{self.name}: {split} has the columns {', '.join(examples)}; expected "
                    f"{', '.join(self.columns)}."
                )
            if not len(examples):
                raise ValueError(f"{self.name}: {split} has no examples; expected 1 or more.")
            shown = examples if isinstance(examples, Split) else examples[:1]
            if any(
                isinstance(shown[n], OnDisk) and c.kind != "image" for n, c in self.columns.items()
            ):
                # It was looked at when it was packed.
                shown = Split({name: np.asarray(shown[name][:1]) for name in shown})
            for name, column in self.columns.items():
                column.check(f"{self.name}: {split}[{name!r}]", shown[name])
            if (fault := first_fault(self.columns, shown)) is not None:
                place = str(list(fault.place)) if fault.place else ""
                raise ValueError(f"{self.name}: {split}[{fault.column!r}]{place}: {fault.told}")

    @property
    def input(self) -> str:
        """Name of the column that a model reads."""
        return next(iter(self.columns))

    @property
    def labels(self) -> tuple[str, ...]:
        """Names of the classes of the first column that has classes, else of the vocabulary.

        There are none where there is neither.
        """
        for kinds in (("class", "mask", "classes"), ("tokens",)):
            for column in self.columns.values():
                if column.kind in kinds:
                    return column.names
        return ()


def stratify(
    everything: Split,
    counts: Callable[[int], tuple[int, int, int]],
    *,
    by: str | None = None,
) -> tuple[Split, Split, Split]:
    """Splits examples at random, but always in the same way, class by class.

    The examples of each class are permuted by one `RandomState(0)`, whose stream NumPy has frozen;
    the first go to training, the next to validation, the last to test.

    Args:
        everything: The examples.
        counts: Returns how many examples of a class go to training, validation and test; they sum
            to its argument, the number of examples in the class.
        by: Name of the column of classes, int32 (n,); with `None` all are of one class.

    Returns:
        Training, validation and test; every prefix of them is stratified.
    """
    random = np.random.RandomState(0)
    groups = np.zeros(len(everything), np.int32) if by is None else everything[by]
    parts: tuple[list[np.ndarray], ...] = ([], [], [])
    for label in np.unique(groups):
        members = random.permutation(np.flatnonzero(groups == label))
        num_train, num_validation, _ = counts(len(members))
        bounds = [num_train, num_train + num_validation]
        for part, chosen in zip(parts, np.split(members, bounds), strict=True):
            part.append(chosen)
    train, validation, test = (everything[_interleaved(part)] for part in parts)
    return train, validation, test


def alike(keys: Iterable[Hashable]) -> list[list[int]]:
    """Returns the places of equal keys, in the order in which each key comes first.

    What stands in a data set more than once goes to one split whole.
    """
    found: dict[Hashable, list[int]] = {}
    for place, key in enumerate(keys):
        found.setdefault(key, []).append(place)
    return list(found.values())


def _interleaved(classes: list[np.ndarray]) -> np.ndarray:
    """Merges the classes so that every prefix holds them in proportion."""
    # The k-th of m images of a class stands at k/m of the way, so the first of each class lead.
    way = np.concatenate([np.arange(len(members)) / max(len(members), 1) for members in classes])
    return np.concatenate(classes)[np.argsort(way, kind="stable")]
