"""k nearest neighbours on pixels or signals: nothing is learnt, everything is remembered.

Source: Cover & Hart 1967, Nearest neighbor pattern classification, IEEE Trans. Inf. Theory 13(1).
`k` is chosen on the validation split. Of classes with equally many votes, the one with the nearest
neighbour wins. Signals are compared place by place, nothing is warped.
"""

from __future__ import annotations

import numpy as np

from zoo.baselines.fitted import Fitted, fit_best
from zoo.data.dataset import Split

NUMBERS = (1, 3, 5, 7, 9)
METRICS = {"l1": "manhattan", "l2": "euclidean"}


def neighbours(
    train: Split, validation: Split, num_classes: int, *, metric: str, most: int = NUMBERS[-1]
) -> Fitted:
    """Fits the classifier.

    Args:
        train: Images or signals that vote.
        validation: Those that choose `k`.
        num_classes: Number of classes.
        metric: `l1` sums the differences of the pixels, `l2` their squares.
        most: Largest `k`.
    """
    from sklearn.neighbors import NearestNeighbors

    (name,) = {"image", "series"} & set(train)
    numbers = [k for k in NUMBERS if k <= min(most, len(train))]
    search = NearestNeighbors(n_neighbors=numbers[-1], metric=METRICS[metric], algorithm="brute")
    search.fit(_flat(train[name]))

    def vote(images: np.ndarray) -> np.ndarray:
        """The classes of the nearest training images, the nearest first: (n, k)."""
        return train["label"][search.kneighbors(_flat(images), return_distance=False)]

    votes = vote(validation[name])
    _, k, tried = fit_best(
        "k",
        numbers,
        lambda k: (None, count(votes[:, : int(k)], num_classes)),
        validation["label"],
    )
    return Fitted(
        score=lambda images: count(vote(images)[:, : int(k)], num_classes),
        settings={"metric": metric, "k": k},
        tried=tried,
        parameters=train[name].size,
    )


def count(votes: np.ndarray, num_classes: int) -> np.ndarray:
    """Counts votes, and adds less than one vote for the place of each class's nearest neighbour.

    Args:
        votes: Classes, the nearest neighbour's first, (n, k).
        num_classes: Number of classes.

    Returns:
        Scores, (n, num_classes).
    """
    hits = votes[:, :, None] == np.arange(num_classes)  # (n, k, classes)
    place = hits.argmax(axis=1)  # of the first vote for each class
    scores: np.ndarray = hits.sum(axis=1) - place / votes.shape[1]
    return scores


def _flat(images: np.ndarray) -> np.ndarray:
    return images.reshape(len(images), -1).astype(np.float64)  # sums of whole numbers stay exact
