"""Asks a bundle about files: what is on a picture, what a row is worth."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from zoo.bundle import Bundle, find_bundle
from zoo.common.answers import answers
from zoo.data.preprocessing import Preprocessing
from zoo.models.saved import load_model
from zoo.tasks import pictures

TIMES = 4  # how many times larger a picture is drawn


def predict(
    bundle: Bundle | str | Path,
    files: str | Path | Sequence[str | Path],
    *,
    top: int = 3,
    out: str | Path | None = None,
) -> list[dict[str, Any]]:
    """Answers for each picture of some files, or for each row of some tables.

    Args:
        bundle: A bundle, or its directory.
        files: Pictures; CSV files of numbers for a model of a table.
        top: Number of classes to name for an example.
        out: Folder to draw each picture into, with its mask or its box, as `NAME.png`; `None` draws
            nothing.

    Returns:
        Answers in the task's own form, see `zoo.common.answers`; `image` or `row` tells which file.

    Raises:
        FileNotFoundError: There is no such bundle or file.
        ValueError: A file is not what the model reads, the model reads neither, or its answers
            cannot be drawn.
    """
    files = [files] if isinstance(files, (str, Path)) else list(files)
    if not files:
        raise ValueError("predict: got no file; expected pictures, or tables as CSV.")
    bundle = find_bundle(bundle)
    card = bundle.card
    read = dict.fromkeys(column.kind for column in card.inputs.values())
    if not card.preprocessing or not {"image", "features"} & set(read):
        raise ValueError(
            f"{bundle.path}: reads {', '.join(read)}; expected a model of pictures or rows. "
            "`zoo generate` and `zoo play` ask the others."
        )
    known = Preprocessing.model_validate(card.preprocessing)
    if known.size is None:
        key, tables = "row", [known.rows(path) for path in files]
        names = [
            f"{path}:{row}"
            for path, table in zip(files, tables, strict=True)
            for row in range(1, len(table) + 1)
        ]
        raw = np.concatenate(tables)  # (n, features)
    else:
        key, names = "image", [str(path) for path in files]
        raw = np.stack([known.image(path) for path in files])  # (n, h, w, c)
    if out is not None and card.task not in _DRAWN:
        raise ValueError(
            f"--out: got a model of the task {card.task}, whose answers are no picture; expected "
            f"one of {', '.join(_DRAWN)}."
        )
    outputs = load_model(bundle.path).predict_on_batch(known.apply(raw))
    found = answers(card.task, outputs, labels=card.labels, top=top)
    if out is not None:
        Path(out).mkdir(parents=True, exist_ok=True)
        stems = [Path(name).stem for name in names]
        if twice := {stem for stem in stems if stems.count(stem) > 1}:
            raise ValueError(
                f"--out: got several pictures named {', '.join(sorted(twice))}; expected names "
                "that differ, since each becomes a picture in one directory."
            )
        for index, name in enumerate(names):
            one = {key: value[index] for key, value in outputs.items()} if isinstance(
                outputs, dict
            ) else outputs[index]  # fmt: skip
            picture = _DRAWN[card.task](raw[index], one, found[index], len(card.labels))
            Image.fromarray(picture).save(Path(out) / f"{Path(name).stem}.png")
    return [{key: name, **row} for name, rows in zip(names, found, strict=True) for row in rows]


def _mask(image: np.ndarray, logits: np.ndarray, rows: list[dict[str, Any]], num: int) -> Any:
    mask = logits.argmax(axis=-1).astype(np.uint8)
    return pictures.enlarged(pictures.overlay(image, mask, num), TIMES)


def _box(image: np.ndarray, heads: Any, rows: list[dict[str, Any]], num: int) -> Any:
    height, width = image.shape[:2]
    box = heads["box"] * np.array([height, width, height, width])
    return pictures.draw_boxes(image, box[None], [rows[0]["label"]], times=TIMES)


_DRAWN: dict[str, Any] = {"segment": _mask, "localise": _box}
