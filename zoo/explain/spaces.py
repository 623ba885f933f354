"""Where pictures lie among the features of a layer: neighbours, PCA, t-SNE, by scikit-learn; UMAP.

Sources: t-SNE, van der Maaten & Hinton 2008, JMLR 9, pages 2579 to 2605; UMAP, McInnes et al. 2018,
arXiv:1802.03426, by their own package, which is not installed with the zoo.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np


class Neighbours(NamedTuple):
    """The nearest examples of each query, the nearest first.

    Attributes:
        indices: (queries, count).
        distances: Euclidean, (queries, count).
    """

    indices: np.ndarray
    distances: np.ndarray


def _checked(features: np.ndarray, who: str, *, least: int) -> np.ndarray:
    """The features as an array; refused where they are too few, or not finite."""
    found: np.ndarray = np.asarray(features)
    if found.ndim != 2 or len(found) < least:
        raise ValueError(
            f"{who}: got {len(found)} examples {found.shape}; expected {least} or more, (n, units)."
        )
    if not np.isfinite(found).all():
        lost = np.flatnonzero(~np.isfinite(found).all(axis=1))
        raise ValueError(f"{who}: got values that are not finite, of example {lost[0]} first.")
    return found


def neighbours(features: np.ndarray, queries: np.ndarray, *, count: int = 5) -> Neighbours:
    """Returns the examples that are nearest to some queries.

    Args:
        features: Of the examples, (n, units), see `zoo.explain.features`.
        queries: Of what is asked about, (queries, units).
        count: How many, 1 to n.

    Raises:
        ValueError: There are fewer examples.
    """
    from sklearn.neighbors import NearestNeighbors

    features, queries = (_checked(one, "neighbours", least=1) for one in (features, queries))
    if not 1 <= count <= len(features):
        raise ValueError(f"neighbours: got count {count}; expected 1 to {len(features)}.")
    found = NearestNeighbors(n_neighbors=count, algorithm="brute").fit(features)
    distances, indices = found.kneighbors(queries)
    return Neighbours(indices, distances)


def pca(features: np.ndarray, *, components: int = 2) -> np.ndarray:
    """Returns each example's place along the principal components, (n, components), float32.

    Args:
        features: (n, units).
        components: How many, the largest first, at most n and units.

    Raises:
        ValueError: There are fewer than two examples, or fewer than components.
    """
    from sklearn.decomposition import PCA

    features = _checked(features, "pca", least=2)
    if not 1 <= components <= min(features.shape):
        raise ValueError(
            f"pca: got {components} components of {features.shape}; expected 1 to "
            f"{min(features.shape)}."
        )
    made = PCA(components, svd_solver="full").fit_transform(np.asarray(features, np.float64))
    found: np.ndarray = made.astype(np.float32)
    return found


def tsne(features: np.ndarray, *, perplexity: float = 30.0, seed: int = 0) -> np.ndarray:
    """Returns a plane in which near examples are near, (n, 2), float32; distances mean little.

    Args:
        features: (n, units); beyond 50 units, their 50 principal components count.
        perplexity: About how many neighbours an example has, less than n; smaller for few examples.
        seed: Seed.

    Raises:
        ValueError: There are fewer than four examples.
    """
    from sklearn.manifold import TSNE
    from threadpoolctl import threadpool_limits

    features = _checked(features, "tsne", least=4)
    most = min(50, *features.shape)
    values = pca(features, components=most) if features.shape[1] > most else features
    perplexity = min(perplexity, (len(features) - 1) / 3)
    made = TSNE(2, perplexity=perplexity, init="pca", random_state=seed)
    with threadpool_limits(1):  # sums in one order: the same plane on every machine
        found: np.ndarray = made.fit_transform(np.asarray(values, np.float32))
    return found


def umap(features: np.ndarray, *, neighbours: int = 15, seed: int = 0) -> np.ndarray:
    """Returns a plane in which near examples are near, (n, 2), float32, by UMAP.

    Args:
        features: (n, units).
        neighbours: How many of an example count as near; fewer for few examples.
        seed: Seed.

    Raises:
        ModuleNotFoundError: umap-learn is not installed.
        ValueError: There are fewer than four examples.
    """
    features = _checked(features, "umap", least=4)
    try:
        from umap.umap_ import UMAP
    except ModuleNotFoundError as error:
        raise ModuleNotFoundError(
            f"umap: {error.name} is not installed; expected umap-learn. Run: pip install "
            "'keras-model-zoo[umap]', or take tsne."
        ) from None
    neighbours = min(neighbours, len(features) - 1)
    made = UMAP(n_neighbors=neighbours, random_state=seed, n_jobs=1)
    found: np.ndarray = made.fit_transform(np.asarray(features, np.float32))
    return found.astype(np.float32)
