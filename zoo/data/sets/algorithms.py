"""Four tasks of a machine with a memory, of random bits: copy, repeat copy, recall, priority sort.

Source: Graves, Wayne & Danihelka 2014, Neural Turing Machines, arXiv:1410.5401, sections 4.1 to 4.3
and 4.5; made here, the same on every machine.

    copy                a start, 1 to `size` vectors of 8 bits, an end; then the vectors
    repeat_copy         the same, and how often at the end; then the vectors so often, and a mark
    associative_recall  2 to `size` items of 3 vectors of 6 bits, then one of all but the last of
                        them once more; then the item behind it
    priority_sort       1 to `size` vectors of 8 bits with a priority each in [-1, 1]; then the
                        upper four fifths, the highest first

An example has the inputs `series` (time, features), zeros where an answer is expected; `answer`
(time, bits); `asked` (time,), 1 where an answer is expected; and `length`, the number of vectors
or items. The test part has lengths up to twice the `size`.
Differs: the paper trains on lengths up to 20, repeats up to 10, items up to 6; here `size` says it.
Repeats are up to `size` in all parts. The paper sorts 20 vectors each time, and takes 16.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split

TRAIN, VALIDATION = 64_000, 500
EACH = 50  # test sequences of each length
ITEM = 3  # vectors of an item

Made = tuple[np.ndarray, np.ndarray, np.ndarray]  # series, answer (n, time, ...), asked (n, time)


def load_copy(*, size: int | None = None) -> DataSet:
    """Makes `copy`.

    Args:
        size: Longest sequence of the training part; `None` is 10.

    Raises:
        ValueError: The size is too small.
    """
    return _load("copy", _copy, size, default=10, least=1)


def load_repeat_copy(*, size: int | None = None) -> DataSet:
    """Makes `repeat_copy`; see `load_copy`. `None` is 5, for the length and for the repeats."""
    return _load("repeat_copy", _repeat_copy, size, default=5, least=1)


def load_associative_recall(*, size: int | None = None) -> DataSet:
    """Makes `associative_recall`; see `load_copy`. `None` is 6 items."""
    return _load("associative_recall", _associative_recall, size, default=6, least=2)


def load_priority_sort(*, size: int | None = None) -> DataSet:
    """Makes `priority_sort`; see `load_copy`. `None` is 10."""
    return _load("priority_sort", _priority_sort, size, default=10, least=1)


def _load(
    name: str, make: Callable[..., Made], size: int | None, *, default: int, least: int
) -> DataSet:
    size = default if size is None else size
    if size < least:
        raise ValueError(f"size: got {size}; expected {least} or more, the longest of {name}.")
    random = np.random.RandomState(0)
    wanted = (
        np.repeat(np.arange(least, 2 * size + 1), EACH),
        random.randint(least, size + 1, VALIDATION),
        random.randint(least, size + 1, TRAIN),
    )
    test, validation, train = (_split(make, lengths, size, random) for lengths in wanted)
    columns = {
        "series": Column("series", (None, train["series"].shape[-1])),
        "answer": Column("series", (None, train["answer"].shape[-1])),
        "asked": Column("features", (None,)),
        "length": Column("count"),
    }
    told = f"{name}, random bits, lengths up to {size}, in the test up to {2 * size}"
    return DataSet(name, told, columns, train, validation, test)


def _split(
    make: Callable[..., Made], lengths: np.ndarray, size: int, random: np.random.RandomState
) -> Split:
    """Sequences of these lengths, in their order; zeros fill the shorter ones up."""
    made = {int(length): make(random, int((lengths == length).sum()), int(length), size)
            for length in np.unique(lengths)}  # fmt: skip
    time = max(asked.shape[1] for _, _, asked in made.values())
    first = next(iter(made.values()))
    whole = [np.zeros((len(lengths), time, *one.shape[2:]), np.float32) for one in first]
    for length, parts in made.items():
        rows = np.flatnonzero(lengths == length)
        for everything, part in zip(whole, parts, strict=True):
            everything[rows, : part.shape[1]] = part
    series, answer, asked = whole
    counts = lengths.astype(np.int32)
    return Split({"series": series, "answer": answer, "asked": asked, "length": counts})


def _bits(random: np.random.RandomState, *shape: int) -> np.ndarray:
    return random.randint(0, 2, shape).astype(np.float32)


def _empty(num: int, time: int, features: int, bits: int) -> Made:
    return (
        np.zeros((num, time, features), np.float32),
        np.zeros((num, time, bits), np.float32),
        np.zeros((num, time), np.float32),
    )


def _copy(random: np.random.RandomState, num: int, length: int, size: int) -> Made:
    bits = _bits(random, num, length, 8)
    series, answer, asked = _empty(num, 2 * length + 2, 10, 8)
    series[:, 0, 8] = 1
    series[:, 1 : length + 1, :8] = bits
    series[:, length + 1, 9] = 1
    answer[:, length + 2 :], asked[:, length + 2 :] = bits, 1
    return series, answer, asked


def _repeat_copy(random: np.random.RandomState, num: int, length: int, size: int) -> Made:
    bits, times = _bits(random, num, length, 8), random.randint(1, size + 1, num)
    series, answer, asked = _empty(num, length + 3 + length * size, 10, 9)
    series[:, 0, 8] = 1
    series[:, 1 : length + 1, :8] = bits
    # Of mean 0 and deviation 1, as the paper has it.
    deviation = np.sqrt((size**2 - 1) / 12) or 1.0
    series[:, length + 1, 9] = (times - (size + 1) / 2) / deviation if size > 1 else 1
    for row, count in enumerate(times):
        start, stop = length + 2, length + 2 + length * count
        answer[row, start:stop, :8] = np.tile(bits[row], (count, 1))
        answer[row, stop, 8] = 1
        asked[row, start : stop + 1] = 1
    return series, answer, asked


def _associative_recall(random: np.random.RandomState, num: int, length: int, size: int) -> Made:
    items = _bits(random, num, length, ITEM, 6)
    query = random.randint(0, length - 1, num)
    rows, stride = np.arange(num), ITEM + 1
    series, answer, asked = _empty(num, length * stride + 2 * stride, 8, 6)
    for place in range(length):
        series[:, place * stride, 6] = 1
        series[:, place * stride + 1 : (place + 1) * stride, :6] = items[:, place]
    start = length * stride
    series[:, [start, start + stride], 7] = 1
    series[:, start + 1 : start + stride, :6] = items[rows, query]
    answer[:, start + stride + 1 :] = items[rows, query + 1]
    asked[:, start + stride + 1 :] = 1
    return series, answer, asked


def _priority_sort(random: np.random.RandomState, num: int, length: int, size: int) -> Made:
    bits = _bits(random, num, length, 8)
    priority = random.uniform(-1, 1, (num, length)).astype(np.float32)
    taken = -(-4 * length // 5)
    series, answer, asked = _empty(num, length + 1 + taken, 10, 8)
    series[:, :length, :8], series[:, :length, 8] = bits, priority
    series[:, length, 9] = 1
    order = np.argsort(-priority, axis=1)[:, :taken]
    answer[:, length + 1 :] = np.take_along_axis(bits, order[..., None], axis=1)
    asked[:, length + 1 :] = 1
    return series, answer, asked
