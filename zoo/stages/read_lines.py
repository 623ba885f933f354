"""Asks a bundle about lines, pictures or signals: which labels stand in each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from zoo.bundle import Bundle
from zoo.common import reading
from zoo.common.picture_files import read_image
from zoo.common.tensors import SERIES, TOKENS
from zoo.data.own import signal_files
from zoo.models.saved import load_model
from zoo.stages import read_columns
from zoo.tasks.sequences.transcribe import Transcribe

KINDS = ("transcribe", "segment_lattice")  # tasks that are asked about lines


def lines(
    bundle: Bundle, files: Sequence[str | Path], *, beam: int | None = None
) -> list[dict[str, Any]]:
    """Returns what is written in lines.

    A picture is made as high as the model's lines; dark ink on light paper is turned round. What is
    missing of the width is paper. A `.npy` of bytes (height, width) is such a picture; other arrays
    are signals, see `zoo.stages.read_columns`.

    Args:
        bundle: Of a task of `KINDS`.
        files: Pictures, or arrays of lines.
        beam: Labellings that are kept; `None` as the bundle was measured.

    Returns:
        Rows of `image` and `answer`, the labels one after another.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: A file is no whole picture, or is too wide for its height; or the task has no
            beam.
    """
    task = cast(Transcribe, bundle.recipe.task)
    if beam is not None:
        if "beam" not in task.measured_by:
            raise ValueError(
                f"--beam: got {beam} for a model of {task.kind}, whose best path is exact; drop it."
            )
        task = task.model_copy(update={"beam": beam})
    columns = bundle.card.columns
    width, height = (size or 0 for size in columns[SERIES].shape)
    read: list[tuple[str, np.ndarray]] = []
    for file in files:
        picture = _picture(file)
        if picture is None:
            told, arrays = read_columns.read(bundle, [file])
            read += zip(told, arrays[SERIES], strict=True)
        else:
            read.append((str(file), series(file, picture, width, height)))
    names = columns[TOKENS].names
    found = task.read(load_model(bundle.path).predict_on_batch(np.stack([one for _, one in read])))
    return [
        {"image": file, "answer": "".join(names[label] for label in labels)}
        for (file, _), labels in zip(read, found, strict=True)
    ]


def _picture(file: str | Path) -> Image.Image | None:
    """The picture in a file, grey; `None` where it has signals."""
    suffix = Path(file).suffix
    if suffix == ".npy":
        pixels = reading.array(file, "a picture of a line, or a signal")
        is_picture = pixels.dtype == np.uint8 and pixels.ndim == 2 and pixels.size
        return Image.fromarray(pixels) if is_picture else None
    if suffix in (read_columns.ARRAYS, *signal_files.SUFFIXES):
        return None
    return read_image(file).convert("L")


def series(file: str | Path, picture: Image.Image, width: int, height: int) -> np.ndarray:
    """Returns a picture of a line as a signal (width, height), 0 for paper and 1 for ink.

    Args:
        file: Opens the error line.
        picture: Grey.
        width: Of the longest line.
        height: Of the model's lines.

    Raises:
        ValueError: See `lines`.
    """
    wide = max(1, round(picture.width * height / picture.height))
    if wide > width:
        raise ValueError(
            f"{file}: got {picture.width} x {picture.height} pixels, {wide} wide at a height of "
            f"{height}; expected at most {width}, the longest line that the model reads. Cut it."
        )
    pixels = np.asarray(picture.resize((wide, height), Image.Resampling.BILINEAR), np.float32) / 255
    edge = np.concatenate([pixels[0], pixels[-1], pixels[:, 0], pixels[:, -1]])
    ink = 1 - pixels if np.median(edge) > 0.5 else pixels
    line = np.zeros((width, height), np.float32)
    line[:wide] = ink.T
    return line
