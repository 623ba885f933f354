"""A linear support vector machine on features, its cost chosen on the validation split.

Source: Fan et al. 2008, LIBLINEAR, JMLR 9, through scikit-learn: one against the rest, squared
hinge loss.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.baselines.fitted import Fitted, fit_best
from zoo.data.dataset import Split

COSTS = (0.01, 0.1, 1.0, 10.0)


def fit_svm(train: Split, validation: Split, features: Any, settings: dict[str, Any]) -> Fitted:
    """Fits the machine.

    Args:
        train: Images to learn from.
        validation: Images that choose the cost `C`.
        features: Turns pixels (n, height, width, channels) into features (n, d).
        settings: Settings of the features, for the report.
    """
    from sklearn.svm import LinearSVC

    inputs, others = features(train["image"]), features(validation["image"])

    def fit(cost: float) -> tuple[Any, np.ndarray]:
        model = LinearSVC(C=cost, random_state=0).fit(inputs, train["label"])
        return model, _scores(model, others)

    model, cost, tried = fit_best("C", COSTS, fit, validation["label"])
    return Fitted(
        score=lambda images: _scores(model, features(images)),
        settings={**settings, "features": inputs.shape[1], "C": cost},
        tried=tried,
        parameters=model.coef_.size + model.intercept_.size,
    )


def _scores(model: Any, features: np.ndarray) -> np.ndarray:
    scores: np.ndarray = model.decision_function(features)
    if scores.ndim == 1:  # two classes have one plane
        scores = np.stack([-scores, scores], axis=1)
    return scores
