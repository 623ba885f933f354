"""Sparse codes of patches in a dictionary that was learnt; then a linear SVM.

Source: Olshausen & Field 1996, Emergence of simple-cell receptive field properties by learning a
sparse code for natural images, Nature 381: a patch x is D^T z with few z that are not 0. The
dictionary is learnt as Mairal et al. 2009 (ICML) do, through scikit-learn; a code minimises
1/2 |x - z D|^2 + a |z|_1, by the steps of Beck & Teboulle 2009 (FISTA, SIAM J. Imaging Sci. 2(1))
for all patches at once. Positive and negative parts are features of their own (Coates & Ng 2011,
ICML). See `zoo.baselines.patches`.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zoo.baselines.fitted import Fitted
from zoo.baselines.patches import Patches
from zoo.baselines.svm import fit_svm
from zoo.data.dataset import Split

NUM_ATOMS = 100
PENALTY = 1.0  # `a` above
STEPS = 15  # of FISTA, for the codes of an image
SAMPLE = 6000  # patches that the dictionary is learnt from
COSTS = (1e-4, 1e-3, 1e-2)


def sparse_coding(train: Split, validation: Split, num_classes: int) -> Fitted:
    """Fits the classifier.

    Args:
        train: Images to learn from.
        validation: Images that choose the cost of the machine.
        num_classes: Number of classes.

    Raises:
        ValueError: The images are too small.
    """
    from sklearn.decomposition import MiniBatchDictionaryLearning
    from threadpoolctl import threadpool_limits

    patches = Patches("sparse_coding", train)
    model = MiniBatchDictionaryLearning(
        NUM_ATOMS, alpha=PENALTY, max_iter=2, batch_size=256, random_state=0
    )
    with threadpool_limits(1):  # see `zoo.baselines.words`
        model.fit(patches.sample[:SAMPLE])
    atoms = model.components_.astype(np.float32)  # (k, d)

    def encode(rows: np.ndarray) -> np.ndarray:
        codes = sparse_codes(rows, atoms, penalty=PENALTY, steps=STEPS)
        return np.concatenate([np.maximum(codes, 0), np.maximum(-codes, 0)], axis=1)

    step = max(1, min(train["image"].shape[1:3]) // 14)
    found = fit_svm(
        train,
        validation,
        patches.features(encode, step=step),
        {"atoms": NUM_ATOMS, "patch": patches.side, "step": step, "penalty": PENALTY},
        costs=COSTS,
        standard=True,
    )
    return replace(found, parameters=found.parameters + patches.parameters + atoms.size)


def sparse_codes(rows: np.ndarray, atoms: np.ndarray, *, penalty: float, steps: int) -> np.ndarray:
    """Returns the codes z that nearly minimise 1/2 |x - z D|^2 + penalty |z|_1, (m, k).

    Args:
        rows: Each x, (m, d).
        atoms: D, (k, d).
        penalty: 0 or more.
        steps: Steps of FISTA; more come nearer.
    """
    gram, target = atoms @ atoms.T, rows @ atoms.T
    pace = 1 / np.linalg.eigvalsh(gram)[-1]  # one by the largest curvature
    codes = ahead = np.zeros_like(target)
    weight = 1.0
    for _ in range(steps):
        moved = ahead - pace * (ahead @ gram - target)
        new = np.sign(moved) * np.maximum(np.abs(moved) - pace * penalty, 0)
        next_weight = (1 + np.sqrt(1 + 4 * weight**2)) / 2
        ahead = new + np.float32((weight - 1) / next_weight) * (new - codes)
        codes, weight = new, next_weight
    return codes
