"""What a model reads, from files: columns by name, signals, boxes beside a picture; its answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import keras
import numpy as np

from zoo.bundle import CARD, Bundle
from zoo.common import reading
from zoo.common.answers import answers
from zoo.common.columns import THERE
from zoo.common.images import placing
from zoo.common.picture_files import read_image
from zoo.data.own import signal_files
from zoo.data.preprocessing import Preprocessing
from zoo.datasets import TS
from zoo.models.saved import load_model
from zoo.stages.opening import kept
from zoo.tasks.task import columns_of

ARRAYS = ".npz"
SPLIT = "test/"  # of the examples that a bundle keeps, those that are read


class Examples(NamedTuple):
    """Examples of some files.

    Attributes:
        names: Of each example, its file and, of several, its number from 1.
        columns: What the model reads, by name, raw: (n, ...).
    """

    names: list[str]
    columns: dict[str, np.ndarray]


def rows(bundle: Bundle, files: Sequence[str | Path], *, top: int) -> list[dict[str, Any]]:
    """Returns the answers for the examples of some files, see `read` and `zoo.common.answers`."""
    names, columns = read(bundle, files)
    found = answered(bundle, columns, top=top)
    return [
        {"example": name, **row} for name, rows in zip(names, found, strict=True) for row in rows
    ]


def read(bundle: Bundle, files: Sequence[str | Path]) -> Examples:
    """Returns the raw examples of some files.

    Args:
        bundle: Its card says what a model reads.
        files: `.npz` of arrays that are called as the model's inputs, as the examples that a bundle
            keeps; else signals (`zoo.data.own.signal_files`), of a model that reads one column of
            them.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is not what the model reads; or signals have another length.
    """
    parts = [_of_file(bundle, Path(file)) for file in files]
    names = []
    for file, part in zip(files, parts, strict=True):
        num = len(next(iter(part.values())))
        names += [str(file)] if num == 1 else [f"{file}:{n}" for n in range(1, num + 1)]
    return Examples(names, {key: np.concatenate([one[key] for one in parts]) for key in parts[0]})


def answered(
    bundle: Bundle, columns: Mapping[str, np.ndarray], *, top: int
) -> list[list[dict[str, Any]]]:
    """Returns the rows of the answer for each example, see `zoo.common.answers`.

    Args:
        bundle: Of a task that has an answer for a single file.
        columns: Raw, by name.
        top: Number of classes to name.
    """
    card, prepared = bundle.card, dict(columns)
    if card.preprocessing:
        known = Preprocessing.parse(card.preprocessing, where=f"{bundle.path}/{CARD}")
        first = next(iter(card.inputs))
        prepared[first] = known.apply(prepared[first])
    model = load_model(bundle.path)
    found = columns_of(model, prepared)
    if isinstance(found, Mapping):
        found = keras.tree.pack_sequence_as(model.input, [found[x.name] for x in model.inputs])
    outputs = model.predict_on_batch(found)
    task: Any = bundle.recipe.task
    if getattr(task, "probabilities", False):
        outputs = keras.tree.map_structure(keras.ops.convert_to_numpy, task.logits(outputs))
    with reading.whole(bundle.path / CARD, "the card of this model"):
        return answers(card.task, outputs, labels=card.labels, top=top)


def parts_of(file: str | Path, num: int, size: int) -> np.ndarray:
    """Returns the boxes of a picture's parts, in pixels of the picture as a model sees it.

    They stand in a table beside the picture, `NAME.csv`: y1, x1, y2, x2 in its own pixels, a line
    for each part.

    Args:
        file: The picture.
        num: Number of the parts.
        size: Side of the picture as the model sees it.

    Returns:
        (num, 4), float32.

    Raises:
        FileNotFoundError: There is no table.
        ValueError: It is none of so many boxes.
    """
    table = Path(file).with_suffix(".csv")
    expected = f"{num} lines y1,x1,y2,x2, the boxes of the parts of {file} in pixels"
    (boxes,) = signal_files.read(table, 4) if table.is_file() else (None,)
    if boxes is None:
        raise FileNotFoundError(f"{table}: no such file; expected {expected}.")
    if len(boxes) != num or (boxes[:, 2:] <= boxes[:, :2]).any():
        raise ValueError(f"{table}: got {len(boxes)} boxes, or an empty one; expected {expected}.")
    picture = read_image(file)
    moved: np.ndarray = placing(picture.height, picture.width, size).points(boxes)
    return moved.astype(np.float32)


def _of_file(bundle: Bundle, path: Path) -> dict[str, np.ndarray]:
    """The raw columns (n, ...) of a file."""
    inputs = bundle.card.inputs
    if path.suffix == ARRAYS:
        arrays = reading.arrays(path, f"arrays {', '.join(inputs)}")
        missing = [name for name in inputs if not {name, SPLIT + name} & set(arrays)]
        if missing:
            raise ValueError(
                f"{path}: has no {', '.join(missing)}; expected arrays called as the model's "
                f"inputs, {', '.join(inputs)}."
            )
        found = {name: arrays[name if name in arrays else SPLIT + name] for name in inputs}
        sizes = {len(values) for values in found.values()}
        if len(sizes) > 1 or 0 in sizes:
            raise ValueError(f"{path}: got {sizes} examples; expected as many of each array.")
        with reading.whole(path, "examples of this model"):
            for name, column in inputs.items():
                column.check(name, found[name])
        return found
    kinds = [column.kind for column in inputs.values()]
    if kinds != ["series"]:
        raise ValueError(
            f"{path}: the model reads {', '.join(kinds)}; expected {ARRAYS} of arrays called "
            f"{', '.join(inputs)}."
        )
    (name,) = inputs
    time, features = (size or 0 for size in inputs[name].shape)
    is_ragged = _tells_ends(bundle, name)
    signals = signal_files.read(path, features - is_ragged)
    if bundle.card.task == "forecast":
        return {name: np.stack([_last(path, signal, time) for signal in signals])}
    # A line of labels may end before its signal does: behind it there is nothing, zeros.
    fills = is_ragged or any(column.kind == "tokens" for column in bundle.card.outputs.values())
    whole = [_whole(path, signal, time, fills=fills, tells=is_ragged) for signal in signals]
    return {name: np.stack(whole)}


def _tells_ends(bundle: Bundle, name: str) -> bool:
    """Whether the last feature says where a signal is, as of signals of several lengths.

    Cards of earlier versions name no features: then the signals that are kept tell.
    """
    names, source = bundle.card.inputs[name].names, bundle.card.data
    earlier = not names and (source.startswith(TS) or source == "waveforms")
    data = kept(bundle) if earlier else None
    if data is None or data.columns[name].shape[1] == 1:
        return names[-1:] == (THERE,)
    last = np.concatenate([data.train[name], data.test[name]])[..., -1]  # (n, time)
    return bool(np.isin(last, (0, 1)).all() and (np.diff(last) <= 0).all() and last[:, 0].all())


def _last(path: Path, signal: np.ndarray, time: int) -> np.ndarray:
    """The window at the end of a signal."""
    if len(signal) < time:
        raise ValueError(
            f"{path}: got a signal of {len(signal)} places; expected {time} or more, of which the "
            "last are read."
        )
    return signal[-time:]


def _whole(path: Path, signal: np.ndarray, time: int, *, fills: bool, tells: bool) -> np.ndarray:
    """A signal as the model reads it.

    Args:
        path: Opens the error line.
        signal: (places, features).
        time: Places that the model reads.
        fills: Whether zeros may stand behind a shorter one.
        tells: Whether a feature more says where it is.
    """
    if len(signal) > time or (len(signal) < time and not fills):
        most = "at most " if fills else ""
        raise ValueError(
            f"{path}: got a signal of {len(signal)} places; expected {most}{time}, as in training."
        )
    found = np.zeros((time, signal.shape[1] + tells), np.float32)
    found[: len(signal), : signal.shape[1]] = signal
    found[: len(signal), signal.shape[1] :] = 1
    return found
