"""Principal components of the pixels, and a linear support vector machine on the first of them.

Source: Hotelling 1933, Analysis of a complex of statistical variables into principal components,
J. Educ. Psychol. 24, through scikit-learn. How many components the machine reads is chosen on the
validation split.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from zoo.baselines.fitted import Fitted, fit_best
from zoo.baselines.svm import scores_of
from zoo.data.dataset import Split

NUMBERS = (10, 20, 30, 50, 100)
COST = 1.0


def components(train: Split, validation: Split, num_classes: int) -> Fitted:
    """Fits the classifier.

    Args:
        train: Images to learn from.
        validation: Images that choose the number of components.
        num_classes: Number of classes.
    """
    from sklearn.decomposition import PCA
    from sklearn.svm import LinearSVC

    inputs = flat(train["image"])
    most = min(NUMBERS[-1], *inputs.shape)
    axes = PCA(most, svd_solver="full").fit(inputs)  # the first axes of many are those of fewer
    codes, others = axes.transform(inputs), axes.transform(flat(validation["image"]))

    def fit(number: float) -> tuple[Any, np.ndarray]:
        first = np.s_[:, : int(number)]
        model = LinearSVC(C=COST, random_state=0).fit(codes[first], train["label"])
        return model, scores_of(model, others[first])

    numbers = [number for number in NUMBERS if number < most] + [most]
    model, number, tried = fit_best("components", numbers, fit, validation["label"])
    first = np.s_[:, : int(number)]
    return Fitted(
        score=lambda images: scores_of(model, axes.transform(flat(images))[first]),
        settings={"components": number, "C": COST},
        tried=tried,
        parameters=(int(number) + 1) * inputs.shape[1] + model.coef_.size + model.intercept_.size,
    )


def flat(images: np.ndarray) -> np.ndarray:
    """Returns pixels (n, height, width, channels), uint8, as rows (n, d) in [0, 1], float64."""
    return images.reshape(len(images), -1) / 255.0
