"""Labelled signals of the user's own, `ts:PATH`, in the form of the UCR and UEA archives.

Source: the `.ts` form of Bagnall et al. 2018, arXiv:1811.00075: lines of `@` say what there is,
then each line is an example: its features between colons, the places of each between commas, its
class last. PATH is `NAME_TRAIN.ts`, whose `NAME_TEST.ts` beside it is the test split, or a folder
of the two, or one file, of which 3/10 are the test split. A fifth of the training file is
validation. Signals of several lengths are padded behind their ends, and have one feature more: 1
where they are, 0 where they are not; `recurrent_series` reads no further than that. Values stay as
they are; those of the archives are standardised.
Limits: no missing values and no time stamps; a class for each example.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from zoo.common import reading
from zoo.common.columns import THERE, Column
from zoo.data.dataset import DataSet, Split, stratify
from zoo.data.own.number_tables import POINT, is_number
from zoo.data.texts.text_files import text_lines
from zoo.datasets import TS, file_path

TRAIN, TEST = "_TRAIN.ts", "_TEST.ts"
EXPECTED = "expected labelled signals as `.ts` files have them"


def load(name: str) -> DataSet:
    """Reads the signals: `series` (time, features) and `label`.

    Args:
        name: `ts:PATH`.

    Raises:
        FileNotFoundError: There is no such file, or no training file in the folder.
        ValueError: A line is no labelled signal; or the classes or features of two files differ.
    """
    path = file_path(name)
    if path.is_dir():
        found = sorted(path.glob(f"*{TRAIN}"))
        if len(found) != 1:
            raise FileNotFoundError(f"{TS}{path}: got {len(found)} files *{TRAIN}; expected one.")
        (path,) = found
    classes, signals, labels = read_ts(path)
    beside = path.with_name(path.name.replace(TRAIN, TEST))
    second = None
    if path.name.endswith(TRAIN) and beside.is_file():
        others, rest, kinds = read_ts(beside)
        if set(others) - set(classes) or rest[0].shape[1] != signals[0].shape[1]:
            raise ValueError(
                f"{beside}: got classes {', '.join(others)} of {rest[0].shape[1]} features; "
                f"expected those of {path.name}, {', '.join(classes)} of {signals[0].shape[1]}."
            )
        second = rest, kinds
    return labelled(name, str(path), classes, (signals, labels), second)


def labelled(
    name: str,
    source: str,
    classes: tuple[str, ...],
    first: tuple[list[np.ndarray], list[str]],
    second: tuple[list[np.ndarray], list[str]] | None = None,
) -> DataSet:
    """Returns signals with classes as a data set, padded where their lengths differ.

    Args:
        name: Name of the data set.
        source: Where it was read from; what was read is added.
        classes: Names of the classes.
        first: Signals (time, features) and the class of each, to learn from.
        second: Those of the test split; `None` takes them from the first.
    """
    signals = [*first[0], *(second[0] if second else [])]
    lengths = [len(signal) for signal in signals]
    ragged = len(set(lengths)) > 1
    width = signals[0].shape[1] + ragged
    series = np.zeros((len(signals), max(lengths), width), np.float32)
    for row, signal in enumerate(signals):
        series[row, : len(signal), : signal.shape[1]] = signal
        if ragged:
            series[row, : len(signal), -1] = 1
    places = {known: place for place, known in enumerate(classes)}
    told = [*first[1], *(second[1] if second else [])]
    labels = np.array([places[label] for label in told], np.int32)
    everything = Split({"series": series, "label": labels})
    if second:
        learnt, test = everything[: len(first[0])], everything[len(first[0]) :]
        train, validation, _ = stratify(
            learnt, lambda num: (num - num // 5, num // 5, 0), by="label"
        )
    else:
        train, validation, test = stratify(
            everything, lambda num: (num - num // 5 - 3 * num // 10, num // 5, 3 * num // 10),
            by="label",
        )  # fmt: skip
    features = [f"feature{n}" for n in range(1, signals[0].shape[1] + 1)] + [THERE] * ragged
    of = f"{min(lengths)} to {max(lengths)}" if ragged else str(lengths[0])
    return DataSet(
        name,
        f"{source}: {len(signals):,} signals of {of} places",
        {
            "series": Column("series", series.shape[1:], tuple(features)),
            "label": Column("class", (), classes),
        },
        train,
        validation,
        test,
    )


def read_ts(path: Path) -> tuple[tuple[str, ...], list[np.ndarray], list[str]]:
    """Returns the classes of a file, its signals (time, features), float32, and their classes.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A line is no labelled signal.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{TS}{path}: no such file.")
    text = reading.text(path, EXPECTED.removeprefix("expected "))
    classes: tuple[str, ...] = ()
    signals: list[np.ndarray] = []
    labels: list[str] = []
    begun, length = False, None
    for number, line in enumerate(text_lines(text), start=1):
        line = line.strip()
        if not line or line.startswith(("#", "%")):
            continue
        if line.startswith("@"):
            words = line.split()
            if [word.lower() for word in words[:2]] == ["@classlabel", "true"]:
                classes = tuple(sorted(set(words[2:])))
                if len(classes) < max(2, len(words[2:])):
                    raise ValueError(
                        f"{TS}{path}, line {number}: got the classes {', '.join(words[2:])}; "
                        "expected two or more, each once."
                    )
            if words[0].lower() == "@serieslength" and words[-1].isdecimal():
                length = int(words[-1])
            begun = words[0].lower() == "@data"
            continue
        where = f"{TS}{path}, line {number}"
        if not begun:
            raise ValueError(f"{where}: stands before @data; {EXPECTED}.")
        if not classes:
            raise ValueError(f"{where}: no line @classLabel true NAME NAME before it; {EXPECTED}.")
        *features, label = line.split(":")
        if not features:
            raise ValueError(f"{where}: has no label behind its last ':'; {EXPECTED}.")
        signals.append(_signal(where, features, signals))
        if length not in (None, len(signals[-1])):
            raise ValueError(
                f"{where}: got {len(signals[-1])} places; expected {length}, as @seriesLength says."
                f" {POINT}"
            )
        if label.strip() not in classes:
            raise ValueError(
                f"{where}: got class {label.strip()!r}; expected one of {', '.join(classes)}."
            )
        labels.append(label.strip())
    if not signals:
        raise ValueError(f"{TS}{path}: got no line behind @data; {EXPECTED}.")
    return classes, signals, labels


def _signal(where: str, features: list[str], before: list[np.ndarray]) -> np.ndarray:
    """One example (time, features)."""
    cells = [one.split(",") for one in features]
    if wrong := [cell for row in cells for cell in row if not is_number(cell)]:
        raise ValueError(
            f"{where}: got {wrong[0]!r}, which is no number; {EXPECTED}, none missing. {POINT}"
        )
    rows = [np.array(row, np.float32) for row in cells]
    if not rows or len({len(row) for row in rows}) > 1:
        lengths = ", ".join(str(len(row)) for row in rows)
        raise ValueError(
            f"{where}: got features of {lengths or 'no'} places; expected one length in a line."
        )
    signal = np.stack(rows, axis=1)
    if not np.isfinite(signal).all():
        raise ValueError(f"{where}: got NaN or infinite values; expected finite ones.")
    if before and before[0].shape[1] != signal.shape[1]:
        raise ValueError(
            f"{where}: got {signal.shape[1]} features; expected {before[0].shape[1]}, as before."
        )
    return signal
