"""Asks a bundle about pictures of lines: which labels stand in each."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any, cast

import numpy as np
from PIL import Image

from zoo.bundle import Bundle
from zoo.common.picture_files import read_image
from zoo.models.saved import load_model
from zoo.tasks.sequences.transcribe import SERIES, TOKENS, Transcribe

KINDS = ("transcribe", "segment_lattice")  # tasks that are asked about lines


def lines(
    bundle: Bundle, files: Sequence[str | Path], *, beam: int | None = None
) -> list[dict[str, Any]]:
    """Returns what is written in pictures of a line each.

    A picture is made as high as the model's lines; dark ink on light paper is turned round. What is
    missing of the width is paper.

    Args:
        bundle: Of a task of `KINDS`.
        files: Pictures.
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
    read = np.stack([series(file, width, height) for file in files])
    names = columns[TOKENS].names
    found = task.read(load_model(bundle.path).predict_on_batch(read))
    return [
        {"image": str(file), "answer": "".join(names[label] for label in labels)}
        for file, labels in zip(files, found, strict=True)
    ]


def series(file: str | Path, width: int, height: int) -> np.ndarray:
    """Returns a picture of a line as a signal (width, height), 0 for paper and 1 for ink.

    Raises:
        FileNotFoundError, ValueError: See `lines`.
    """
    picture = read_image(file).convert("L")
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
