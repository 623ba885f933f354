"""Asks a bundle about texts: what it makes of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from compress.graph.graph import trace
from zoo.bundle import Bundle
from zoo.common.tensors import JOINS, SOURCE, TOKENS
from zoo.common.vocabulary import Vocabulary
from zoo.data.texts import trees
from zoo.models.saved import load_model, load_networks
from zoo.stages import read_columns
from zoo.tasks.words import telling

SENTENCES = "|"  # stands between a sentence and what may follow from it; or a tab

Row = dict[str, Any]


def said(bundle: Bundle, texts: Sequence[str], *, width: int = 1, top: int = 1) -> list[Row]:
    """Returns what a model makes of texts.

    Args:
        bundle: Of a task of `ANSWERS`.
        texts: One or more.
        width: Of the beam, where an answer grows by tokens; 1 takes the likeliest each time.
        top: Number of answers for a text, at most.

    Returns:
        Rows of `text` and what the task answers.

    Raises:
        ValueError: The task reads no texts; or a text is empty or too long, or has a character or
            word that the model does not know.
    """
    task = bundle.card.task
    if task not in ANSWERS:
        raise ValueError(
            f"--text: got a model of the task {task}; expected one of {', '.join(ANSWERS)}, which "
            f"reads texts.{WRITES * (task == 'language')}"
        )
    return ANSWERS[task](bundle, texts, width, top)


def _translated(bundle: Bundle, texts: Sequence[str], width: int, top: int) -> list[Row]:
    """The likeliest answers of a translator, the best first."""
    columns, networks = bundle.card.columns, load_networks(bundle.path)
    source, tokens = columns[SOURCE], columns[TOKENS]
    read, says = Vocabulary.read(source), Vocabulary.read(tokens)
    rows = read.rows(texts, length=source.shape[0], where="--text")
    length = (tokens.shape[0] or 1) - 1
    return [
        {
            "text": text,
            "answer": says.decode([*one.tokens, telling.END]),
            "log_probability": one.log_probability,
        }
        for text, row in zip(texts, rows, strict=True)
        for one in telling.beam(networks, row, length, width=width)[:top]
    ]


def _related(bundle: Bundle, texts: Sequence[str], width: int, top: int) -> list[Row]:
    """Whether the second sentence of each text follows from the first, the likeliest first."""
    pairs = []
    inputs = bundle.card.inputs
    for text in texts:
        parts = text.split("\t" if "\t" in text else SENTENCES)
        if len(parts) != 2 or not all(map(str.strip, parts)):
            raise ValueError(
                f"--text: got {text!r}; expected two sentences with {SENTENCES!r} or a tab between "
                "them."
            )
        pairs.append(parts)
    columns = {
        name: Vocabulary.read(column).rows(side, length=column.shape[0], where="--text")
        for (name, column), side in zip(inputs.items(), zip(*pairs, strict=True), strict=True)
    }
    return _judged(bundle, texts, columns, top)


def _valued(bundle: Bundle, texts: Sequence[str], width: int, top: int) -> list[Row]:
    """The class of each text in brackets, the likeliest first."""
    flats = []
    for text in texts:
        try:
            flats.append(trees.flat(trees.unlabelled(text)))
        except ValueError as error:
            raise ValueError(f"--text: {error}") from None
    column = bundle.card.inputs[TOKENS]
    words = [words for words, _ in flats]
    tokens = Vocabulary.read(column).table(words, length=column.shape[0], where="--text")
    joins = np.zeros_like(tokens)
    steps = trace(load_model(bundle.path)).calls
    highest = sum(step.path == "compose" for step in steps)  # a call for each height
    for row, (text, (_, heights)) in enumerate(zip(texts, flats, strict=True)):
        if max(heights, default=0) > highest:
            raise ValueError(
                f"--text: got a tree of height {max(heights)}, {text[:40]!r}; expected at most "
                f"{highest}, as in training."
            )
        joins[row, : len(heights)] = heights
    return _judged(bundle, texts, {TOKENS: tokens, JOINS: joins}, top)


def _classified(bundle: Bundle, texts: Sequence[str], width: int, top: int) -> list[Row]:
    """The likeliest classes of each text, the best first."""
    card = bundle.card
    column = card.inputs.get(TOKENS)
    if column is None or len(card.inputs) != 1 or width > 1:
        told = f"--beam {width}" if width > 1 else f"a model that reads {', '.join(card.inputs)}"
        beamless = ", which has no beam" * (width > 1)
        raise ValueError(f"--text: got {told}; expected a classifier of texts{beamless}.")
    read = Vocabulary.read(column)
    rows = read.rows(texts, length=column.shape[0], where="--text")
    return _judged(bundle, texts, {TOKENS: rows}, top)


def _judged(
    bundle: Bundle, texts: Sequence[str], columns: Mapping[str, np.ndarray], top: int
) -> list[Row]:
    """The likeliest classes of texts, as columns of the model."""
    found = read_columns.answered(bundle, columns, top=top)
    return [{"text": text, **row} for text, rows in zip(texts, found, strict=True) for row in rows]


WRITES = " `zoo generate` goes on with a text."
ANSWERS: Mapping[str, Callable[[Bundle, Sequence[str], int, int], list[Row]]] = {
    "translate": _translated,
    "inference": _related,
    "tree": _valued,
    "classify": _classified,
}
"""Kinds of learning that are asked about a text."""
