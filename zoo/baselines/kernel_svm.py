"""A support vector machine on the pixels, with a Gaussian kernel.

Source: Cortes & Vapnik 1995, Support-vector networks, Machine Learning 20(3), through LIBSVM of
scikit-learn: one against one, and votes for each class. The kernel is exp(-g |x - y|^2) with a cost
of 10; g, chosen on the validation split, is a multiple of one by the number of pixels and their
variance.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.baselines.components import flat
from zoo.baselines.fitted import Fitted, fit_best
from zoo.baselines.svm import scores_of
from zoo.data.dataset import Split

MULTIPLES = (0.5, 1.0, 2.0, 4.0)
COST = 10.0


def kernel_svm(train: Split, validation: Split, num_classes: int) -> Fitted:
    """Fits the machine.

    Args:
        train: Images to learn from.
        validation: Images that choose how narrow the kernel is.
        num_classes: Number of classes.
    """
    from sklearn.svm import SVC

    inputs, others = flat(train["image"]), flat(validation["image"])
    scale = 1 / max(inputs.shape[1] * float(inputs.var()), 1e-9)

    def fit(multiple: float) -> tuple[Any, np.ndarray]:
        model = SVC(C=COST, kernel="rbf", gamma=multiple * scale, cache_size=500)
        model.fit(inputs, train["label"])
        return model, scores_of(model, others)

    model, multiple, tried = fit_best("multiple", MULTIPLES, fit, validation["label"])
    return Fitted(
        score=lambda images: scores_of(model, flat(images)),
        settings={
            "kernel": "rbf",
            "C": COST,
            "multiple": multiple,
            "vectors": len(model.support_vectors_),
        },
        tried=tried,
        parameters=model.support_vectors_.size + model.dual_coef_.size + model.intercept_.size,
    )
