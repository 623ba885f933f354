"""A support vector machine on the pixels, with a Gaussian kernel.

Source: Cortes & Vapnik 1995, Support-vector networks, Machine Learning 20(3), through LIBSVM of
scikit-learn: one against one, and votes for each class. The kernel is exp(-g |x - y|^2), where g is
one by the number of pixels and their variance; the cost is chosen on the validation split.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.baselines.components import flat
from zoo.baselines.fitted import Fitted, fit_best
from zoo.baselines.svm import scores_of
from zoo.data.dataset import Split

COSTS = (1.0, 10.0, 100.0)


def kernel_svm(train: Split, validation: Split, num_classes: int) -> Fitted:
    """Fits the machine.

    Args:
        train: Images to learn from.
        validation: Images that choose the cost `C`.
        num_classes: Number of classes.
    """
    from sklearn.svm import SVC

    inputs, others = flat(train["image"]), flat(validation["image"])

    def fit(cost: float) -> tuple[Any, np.ndarray]:
        model = SVC(C=cost, kernel="rbf", gamma="scale", cache_size=500).fit(inputs, train["label"])
        return model, scores_of(model, others)

    model, cost, tried = fit_best("C", COSTS, fit, validation["label"])
    return Fitted(
        score=lambda images: scores_of(model, flat(images)),
        settings={"kernel": "rbf", "C": cost, "vectors": len(model.support_vectors_)},
        tried=tried,
        parameters=model.support_vectors_.size + model.dual_coef_.size + model.intercept_.size,
    )
