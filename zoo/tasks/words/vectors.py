"""Vectors of words: what tasks that learn them share, which are near, and pictures of them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from zoo.common.columns import Column
from zoo.common.tensors import TOKENS
from zoo.tasks.task import Evaluation, Task

if TYPE_CHECKING:
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Networks

SHOWN, NEAR = 16, 6  # words in a table of neighbours, and neighbours of each
DRAWN = 120  # words in a picture of the plane


class WordVectors(Task):
    """A task whose network `words` has a vector for each word, learnt from pairs of words.

    It answers with `loss`, of each pair, and `real`, whether it is one; `headline` is its mean.
    """

    kind: str

    def meter(self, columns: Mapping[str, Column]) -> Pairs:
        """See `Task.meter`."""
        return Pairs(self.headline.name)

    def meter_with(self, data: DataSet, networks: Networks) -> Pairs:
        """See `Task.meter_with`: with the neighbours of some words."""
        return Pairs(self.headline.name, networks["words"], data.columns[TOKENS].names)

    def pictures(self, networks: Networks, meter: Any, columns: Mapping[str, Column]) -> Any:
        """See `Task.pictures`: the most frequent words in a plane."""
        names = columns[TOKENS].names
        return pictures(table(networks["words"], len(names)), names)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: the vector of a word."""
        return {"vector": Column("features", (None,))}


class Pairs:
    """A meter that takes the mean of the loss of pairs, in float64.

    Args:
        name: What the mean is called.
        words: Network of vectors, whose neighbours are told.
        names: The vocabulary.
    """

    def __init__(self, name: str, words: Any = None, names: tuple[str, ...] = ()):
        self._name, self._words, self._names = name, words, names
        self._sum, self._count = 0.0, 0.0

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        real = outputs["real"].astype("float64")
        self._sum += float((outputs["loss"] * real).sum())
        self._count += float(real.sum())

    def result(self) -> Evaluation:
        """Returns the mean, and the nearest of the most frequent words."""
        mean = self._sum / max(self._count, 1)
        tables: dict[str, Any] = {"counted": [{"pairs": int(self._count)}]}
        if self._words is not None:
            which = [i for i, name in enumerate(self._names) if i and len(name) > 3]
            found = table(self._words, len(self._names))
            tables["neighbours"] = neighbours(found, self._names, which[:SHOWN])
        return Evaluation({"loss": mean, self._name: mean}, tables)


def of_bundle(path: Path) -> dict[str, tuple[float, ...]]:
    """Returns the vector of each word of a bundle, of length 1.

    Args:
        path: Of a bundle of word vectors.

    Raises:
        FileNotFoundError: There is no such bundle.
        ValueError: It has no word vectors.
    """
    from zoo.bundle import Bundle
    from zoo.data.texts import word_vectors
    from zoo.models.saved import load_networks

    bundle = Bundle(path)
    if not isinstance(bundle.recipe.task, WordVectors):
        raise ValueError(
            f"{path}: is of the task {bundle.card.task}; expected a bundle of word vectors, e.g. of"
            " word2vec, or a file of words and their numbers."
        )
    names = bundle.card.columns[TOKENS].names
    found = table(load_networks(path)["words"], len(names))
    pairs = zip(names, found, strict=True)
    return {name: word_vectors.of_length_1(row) for name, row in pairs if name}


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
