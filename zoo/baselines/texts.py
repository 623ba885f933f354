"""What a language model has to beat: counts of the text, and programs that compress it.

All read the text that stands before the test part, training and validation part. The n-gram stays
as it is while it is measured, as a network does. A compressor learns from the test part while it
reads it: it stands beside a network that does so too, `zoo evaluate RUN --set task.dynamic=...`.
Its figure is how many bytes longer the file becomes by the test part.
"""

from __future__ import annotations

import bz2
import lzma
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

from zoo.baselines.ngram import NGram
from zoo.data.dataset import DataSet
from zoo.data.texts import text

ORDERS = range(3, 8)
KINDS = ("zlib", "bz2", "xz", "ppmd")
PPMD_ORDER, PPMD_BYTES = 16, 64 << 20


@dataclass(frozen=True)
class Predicted:
    """How well a text was foretold.

    Attributes:
        metrics: On the test part; `bits_per_character` is the headline.
        validation: On the validation part, given the training part.
        settings: All settings, the chosen one among them.
        tried: Each value that was tried, with its bits on the validation part.
        parameters: Numbers that were learnt or stored.
    """

    metrics: dict[str, float]
    validation: dict[str, float]
    settings: dict[str, Any]
    tried: tuple[dict[str, float], ...]
    parameters: int


def ngram(data: DataSet) -> Predicted:
    """Counts the text; the order is the best on the validation part.

    Args:
        data: Windows of characters.
    """
    names = data.columns["tokens"].names
    _, tokens = text.encode(text.whole(data.name))
    held, test = text.bounds(len(tokens))
    tried = []
    for order in ORDERS:
        if len(names) ** order >= 2**63:
            break
        bits = _bits(tokens, held, test, order=order, known=held, names=len(names))
        tried.append({"order": order, "bits_per_character": bits})
    best = min(tried, key=lambda one: one["bits_per_character"])
    order = int(best["order"])
    end = len(tokens)
    bits, alone = (
        _bits(tokens, test, end, order=order, known=known, names=len(names))
        for known in (test, held)
    )
    model = NGram(tokens[None, :test], vocabulary=len(names), order=order)
    return Predicted(
        {"bits_per_character": bits, "bits_of_training_part_alone": alone},
        {"bits_per_character": best["bits_per_character"]},
        {"order": order},
        tuple(tried),
        model.counts,
    )


def compressor(data: DataSet, *, kind: str) -> Predicted:
    """Compresses the text with and without its test part.

    Args:
        data: Windows of characters.
        kind: One of `KINDS`.

    Raises:
        ModuleNotFoundError: The package of the program is not installed.
    """
    pack, whole = _packer(kind), text.whole(data.name)
    held, test = text.bounds(len(whole))

    def bits(start: int, stop: int) -> float:
        before, after = (len(pack(whole[:end].encode())) for end in (start, stop))
        return 8 * (after - before) / (stop - start)

    return Predicted(
        {"bits_per_character": bits(test, len(whole))},
        {"bits_per_character": bits(held, test)},
        {"kind": kind},
        (),
        0,
    )


def _bits(
    tokens: np.ndarray, start: int, stop: int, *, order: int, known: int, names: int
) -> float:
    """Bits of a part of a text, given counts of what stands before `known`."""
    model = NGram(tokens[None, :known], vocabulary=names, order=order)
    return model.bits(tokens[None, start - order + 1 : stop], np.array([stop - start]))


def _packer(kind: str) -> Callable[[bytes], bytes]:
    """The function that compresses, at its hardest."""
    if kind == "zlib":
        return lambda data: zlib.compress(data, 9)
    if kind == "bz2":
        return lambda data: bz2.compress(data, 9)
    if kind == "xz":
        return lambda data: lzma.compress(data, preset=9 | lzma.PRESET_EXTREME)
    try:
        import pyppmd
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "ppmd: the package pyppmd is not installed. It is no part of the zoo, and its licence "
            "is the LGPL; `pip install pyppmd`."
        ) from None
    return lambda data: bytes(pyppmd.compress(data, max_order=PPMD_ORDER, mem_size=PPMD_BYTES))
