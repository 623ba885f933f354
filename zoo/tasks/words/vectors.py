"""Vectors of words: which are near, and pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

SHOWN, NEAR = 16, 6  # words in a table of neighbours, and neighbours of each
DRAWN = 120  # words in a picture of the plane


def table(network: Any, words: int) -> np.ndarray:
    """Returns the vectors of all words, (words, size).

    Args:
        network: `tokens` (n, 1) to vectors (n, size).
        words: Their number.
    """
    import numpy as np
    from keras import ops

    return np.asarray(ops.convert_to_numpy(network(np.arange(words, dtype=np.int32)[:, None])))


def nearest(vectors: np.ndarray, which: Sequence[int], count: int) -> np.ndarray:
    """Returns the words nearest to some words by the cosine, nearest first, (n, count).

    Args:
        vectors: (words, size); the first is no word.
        which: Indices of the words that are asked about.
        count: Neighbours of each.
    """
    import numpy as np

    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    units = vectors / np.maximum(lengths, 1e-12)
    cosines = units[list(which)] @ units.T  # (n, words)
    cosines[:, 0] = -np.inf
    cosines[np.arange(len(which)), list(which)] = -np.inf
    return np.argsort(-cosines, axis=1, kind="stable")[:, :count]


def neighbours(
    vectors: np.ndarray, names: Sequence[str], which: Sequence[int]
) -> list[dict[str, str]]:
    """Returns rows of words and their nearest, for a report."""
    found = nearest(vectors, which, NEAR)
    return [
        {"word": names[word], "nearest": ", ".join(names[other] for other in row)}
        for word, row in zip(which, found, strict=True)
    ]


def pictures(vectors: np.ndarray, names: Sequence[str]) -> Mapping[str, Callable[[Path], None]]:
    """Returns what there is to see: the most frequent words in a plane, by PCA and by t-SNE.

    Args:
        vectors: (words, size).
        names: The vocabulary, the most frequent first, but for the first, which is no word.
    """
    which = [i for i, name in enumerate(names) if i and name[0].isalpha() and len(name) > 2]
    which = which[:DRAWN]
    chosen, shown = vectors[which], [names[i] for i in which]

    def by_pca(path: Path) -> None:
        from sklearn.decomposition import PCA

        _draw(PCA(2, random_state=0).fit_transform(chosen), shown, path)

    def by_tsne(path: Path) -> None:
        from sklearn.manifold import TSNE
        from threadpoolctl import threadpool_limits

        perplexity = max(1.0, min(15.0, (len(shown) - 1) / 3))
        with threadpool_limits(1):  # threads wait for one another in a busy loop
            made = TSNE(
                2, metric="cosine", init="random", perplexity=perplexity, random_state=0
            ).fit_transform(chosen)
        _draw(made, shown, path)

    return {"words_pca": by_pca, "words_tsne": by_tsne} if len(shown) > 3 else {}


def _draw(places: np.ndarray, words: Sequence[str], path: Path) -> None:
    """Writes words at their places in a plane."""
    from matplotlib import rc_context
    from matplotlib.figure import Figure

    with rc_context({"text.parse_math": False}):  # a word is no formula
        figure = Figure(figsize=(11, 8), layout="constrained")
        axes = figure.subplots()
        axes.scatter(places[:, 0], places[:, 1], s=6)
        for (x, y), word in zip(places, words, strict=True):
            axes.annotate(word, (x, y), fontsize=7, xytext=(2, 2), textcoords="offset points")
        axes.set(xticks=[], yticks=[])
        figure.savefig(path, dpi=120)
