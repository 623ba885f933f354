"""Asks a bundle about texts: what it makes of each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from zoo.bundle import Bundle
from zoo.data.vocabulary import Vocabulary
from zoo.models.saved import load_networks
from zoo.tasks.words import telling
from zoo.tasks.words.translate import SOURCE

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
    source, tokens = columns[SOURCE], columns[telling.TOKENS]
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


ANSWERS: Mapping[str, Callable[[Bundle, Sequence[str], int, int], list[Row]]] = {
    "translate": _translated,
}
"""Kinds of learning that are asked about a text."""
