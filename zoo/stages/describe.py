"""Sentences of a captioner for pictures, and the pictures with them."""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.bundle import Bundle
from zoo.common.sentences import END, words
from zoo.common.tensors import TOKENS
from zoo.models.saved import load_networks
from zoo.tasks.words import telling
from zoo.tasks.words.captions import TIMES, captioned, wrapped

Row = dict[str, Any]


def sentences(
    bundle: Bundle, inputs: np.ndarray, *, width: int = 1, top: int = 1
) -> list[list[Row]]:
    """Returns the likeliest sentences for each picture, the best first.

    Args:
        bundle: Of the task `caption`.
        inputs: What the encoder reads, (n, height, width, channels).
        width: Of the beam; 1 takes the likeliest word each time.
        top: Number of sentences for a picture, at most; no more than the beam is wide.

    Returns:
        For each picture rows of `caption` and `log_probability`.
    """
    networks, names = load_networks(bundle.path), bundle.card.labels
    column = bundle.card.columns[TOKENS]
    length = (column.shape[0] or 1) - 1
    found = [telling.beam(networks, image, length, width=width) for image in inputs]
    return [
        [
            {
                "caption": " ".join(words([*one.tokens, END], names)),
                "log_probability": one.log_probability,
            }
            for one in each[:top]
        ]
        for each in found
    ]


def drawn(image: np.ndarray, rows: list[Row]) -> np.ndarray:
    """Returns a picture with its best sentence below it.

    Args:
        image: Pixels (height, width, 1 or 3), uint8.
        rows: Of `sentences`.
    """
    width = image.shape[1] * TIMES // 6
    return captioned(image, wrapped(rows[0]["caption"].split(), width))
