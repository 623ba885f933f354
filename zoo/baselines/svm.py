"""A linear support vector machine on features, its cost chosen on the validation split.

Source: Fan et al. 2008, LIBLINEAR, JMLR 9, through scikit-learn: one against the rest, squared
hinge loss.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from zoo.baselines.fitted import Fitted, fit_best
from zoo.data.dataset import Split

COSTS = (0.01, 0.1, 1.0, 10.0)
TINY = 1e-3  # added to the deviation of a feature, which may not vary


def fit_svm(
    train: Split,
    validation: Split,
    features: Any,
    settings: dict[str, Any],
    *,
    costs: Sequence[float] = COSTS,
    standard: bool = False,
) -> Fitted:
    """Fits the machine.

    Args:
        train: Images to learn from.
        validation: Images that choose the cost `C`.
        features: Turns pixels (n, height, width, channels) into features (n, d).
        settings: Settings of the features, for the report.
        costs: What to try.
        standard: Whether each feature is brought to mean 0 and deviation 1 first.
    """
    from sklearn.svm import LinearSVC

    inputs, others = features(train["image"]), features(validation["image"])
    mean, spread = (inputs.mean(axis=0), inputs.std(axis=0) + TINY) if standard else (0.0, 1.0)

    def fit(cost: float) -> tuple[Any, np.ndarray]:
        model = LinearSVC(C=cost, random_state=0).fit((inputs - mean) / spread, train["label"])
        return model, scores_of(model, (others - mean) / spread)

    model, cost, tried = fit_best("C", costs, fit, validation["label"])
    return Fitted(
        score=lambda images: scores_of(model, (features(images) - mean) / spread),
        settings={**settings, "features": inputs.shape[1], "C": cost},
        tried=tried,
        parameters=model.coef_.size + model.intercept_.size,  # the means go into these
    )


def scores_of(model: Any, features: np.ndarray) -> np.ndarray:
    """Returns scores (n, classes) of features (n, d), by a fitted machine of scikit-learn."""
    scores: np.ndarray = model.decision_function(features)
    if scores.ndim == 1:  # two classes have one plane
        scores = np.stack([-scores, scores], axis=1)
    return scores
