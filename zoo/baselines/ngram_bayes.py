"""Naive Bayes of n-grams: the class whose texts make a text likeliest, character by character.

Source: Peng & Schuurmans 2003, Combining naive Bayes and n-gram language models for text
classification, ECIR, LNCS 2633, with the smoothing of `zoo.baselines.ngram`. Of each class the
characters of its texts are counted, each behind those before it in its own text; padding stands
before a text as its start and behind it as its end. To the logarithm of a text's probability comes
that of the class. How many characters a gram has is chosen on the validation split.
"""

from __future__ import annotations

import numpy as np

from zoo.baselines.fitted import Fitted, fit_best
from zoo.baselines.ngram import NGram
from zoo.data.dataset import Split

ORDERS = range(1, 8)


def ngram_bayes(train: Split, validation: Split, num_classes: int, *, vocabulary: int) -> Fitted:
    """Fits the classifier.

    Args:
        train: Texts to learn from, `tokens` (n, time) padded with 0, and `label`.
        validation: Texts that choose the order.
        num_classes: Number of classes; each has texts in `train`.
        vocabulary: Number of tokens.
    """
    labels = train["label"]
    priors = np.log(np.bincount(labels, minlength=num_classes) / len(labels))

    def fit(order: float) -> tuple[list[NGram], np.ndarray]:
        order = int(order)
        windows, counted = _framed(train["tokens"], order)
        models = [
            NGram(
                windows[labels == kind],
                vocabulary=vocabulary,
                order=order,
                counted=counted[labels == kind],
            )
            for kind in range(num_classes)
        ]
        return models, _scores(models, priors, validation["tokens"], order)

    orders = [order for order in ORDERS if vocabulary**order < 2**63]
    models, order, tried = fit_best("order", orders, fit, validation["label"])
    return Fitted(
        score=lambda tokens: _scores(models, priors, tokens, int(order)),
        settings={"order": order},
        tried=tried,
        parameters=sum(model.counts for model in models) + num_classes,
    )


def _scores(models: list[NGram], priors: np.ndarray, tokens: np.ndarray, order: int) -> np.ndarray:
    """The logarithm of the probability of each text with each class, (n, classes)."""
    framed = _framed(tokens, order)
    return priors + np.stack([model.log_shares(*framed).sum(axis=1) for model in models], axis=1)


def _framed(tokens: np.ndarray, order: int) -> tuple[np.ndarray, np.ndarray]:
    """Texts moved to the right, with their ends and what stands before them; and what counts.

    Args:
        tokens: (n, time), padded behind with 0.
        order: Tokens of a gram.

    Returns:
        (n, order + time), and how many of the last of each are the text and its end, (n,).
    """
    lengths = (tokens != 0).sum(axis=1)
    places = np.arange(tokens.shape[1]) - (tokens.shape[1] - lengths)[:, None]  # (n, time)
    moved = np.take_along_axis(tokens, np.maximum(places, 0), axis=1) * (places >= 0)
    return np.pad(moved, ((0, 0), (order - 1, 1))).astype(np.int64), lengths + 1
