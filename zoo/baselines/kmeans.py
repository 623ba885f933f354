"""Features by k-means: how much nearer than usual a patch is to each centre; then a linear SVM.

Source: Coates, Ng & Lee 2011, AISTATS (PMLR 15), section 3.2.3, the triangle: for each centre k
max(0, mean distance to all centres - distance to k). See `zoo.baselines.patches`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zoo.baselines.fitted import Fitted
from zoo.baselines.patches import Patches
from zoo.baselines.svm import fit_svm
from zoo.data.dataset import Split

NUM_CENTRES = 200
COSTS = (0.001, 0.01, 0.1)


def kmeans(train: Split, validation: Split, num_classes: int) -> Fitted:
    """Fits the classifier.

    Args:
        train: Images to learn from.
        validation: Images that choose the cost of the machine.
        num_classes: Number of classes.

    Raises:
        ValueError: The images are too small.
    """
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    patches = Patches("kmeans", train)
    model = MiniBatchKMeans(NUM_CENTRES, batch_size=4096, n_init=1, random_state=0)
    with threadpool_limits(1):  # see `zoo.baselines.words`
        model.fit(patches.sample)
    centres = model.cluster_centers_.astype(np.float32)
    found = fit_svm(
        train,
        validation,
        patches.features(lambda rows: triangle(rows, centres)),
        {"centres": NUM_CENTRES, "patch": patches.side},
        costs=COSTS,
        standard=True,
    )
    return replace(found, parameters=found.parameters + patches.parameters + centres.size)


def triangle(rows: np.ndarray, centres: np.ndarray) -> np.ndarray:
    """Returns how much nearer than the mean of all centres each one is, 0 if it is farther.

    Args:
        rows: (m, d).
        centres: (k, d).

    Returns:
        (m, k).
    """
    squares = np.square(rows).sum(axis=1, keepdims=True) + np.square(centres).sum(axis=1)
    distances = np.sqrt(np.maximum(squares - 2 * rows @ centres.T, 0))
    return np.maximum(distances.mean(axis=1, keepdims=True) - distances, 0)
