"""Asks a bundle about texts: what it makes of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo.bundle import Bundle
from zoo.common.answers import answers
from zoo.data.vocabulary import Vocabulary
from zoo.models.saved import load_model, load_networks
from zoo.tasks.words import telling
from zoo.tasks.words.translate import SOURCE, TOKENS

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
            "reads texts. `zoo generate` goes on with a text."
        )
    return ANSWERS[task](bundle, texts, width, top)


def _translated(bundle: Bundle, texts: Sequence[str], width: int, top: int) -> list[Row]:
    """The likeliest answers of a translator, the best first."""
    columns, networks = bundle.card.columns, load_networks(bundle.path)
    source, tokens = columns[SOURCE], columns[TOKENS]
    read, says = Vocabulary.read(source.names), Vocabulary.read(tokens.names)
    rows = read.encode(texts, length=source.shape[0], where="--text")
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


def _classified(bundle: Bundle, texts: Sequence[str], width: int, top: int) -> list[Row]:
    """The likeliest classes of each text, the best first."""
    card = bundle.card
    column = card.inputs.get(TOKENS)
    if column is None or len(card.inputs) != 1 or width > 1:
        told = f"--beam {width}" if width > 1 else f"a model that reads {', '.join(card.inputs)}"
        raise ValueError(f"--text: got {told}; expected a classifier of texts, which has no beam.")
    read = Vocabulary.read(column.names)
    rows = read.encode(texts, length=column.shape[0], where="--text")
    found = answers(
        card.task, load_model(bundle.path).predict_on_batch(rows), labels=card.labels, top=top
    )
    return [{"text": text, **row} for text, each in zip(texts, found, strict=True) for row in each]


ANSWERS: Mapping[str, Callable[[Bundle, Sequence[str], int, int], list[Row]]] = {
    "translate": _translated,
    "classify": _classified,
}
"""Kinds of learning that are asked about a text."""
