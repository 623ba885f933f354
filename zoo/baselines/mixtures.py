"""A mixture of densities for each class: what a class looks like, and Bayes' rule.

Source: Dempster, Laird & Rubin 1977, Maximum likelihood from incomplete data via the EM algorithm,
J. R. Stat. Soc. B 39(1). How many components a class has is chosen on the validation split.

    gaussian   full covariances, of the first principal components of the pixels, through
               scikit-learn; reports `log_density` of those components, in nats
    bernoulli  binary pixels, each 1 with the probability of its intensity, in a class the mean over
               such drawings; reports `log_likelihood` of an image in nats, on one drawing of the
               test split. The probabilities of a component are drawn towards those of all images,
               as if it had seen `PRIOR` more of them
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from scipy.special import logsumexp

from zoo.baselines.components import flat
from zoo.baselines.fitted import Fitted, fit_best
from zoo.data.dataset import Split

NUMBERS = {"gaussian": (1, 2, 3, 5), "bernoulli": (10, 20, 40)}
COMPONENTS = 30  # principal ones
RIDGE = 0.1  # added to the variances of a Gaussian
PRIOR = 2.0  # images
DRAWINGS = 4  # of each training image
STEPS = 20  # of EM


class Bernoulli(NamedTuple):
    """A mixture of independent binary pixels.

    Attributes:
        means: Probability that a pixel is 1, (components, d).
        shares: Of the components; they sum to 1, (components,).
    """

    means: np.ndarray
    shares: np.ndarray

    def joint(self, pixels: np.ndarray) -> np.ndarray:
        """Returns the logarithm of share times likelihood, (n, components), of pixels (n, d)."""
        on, off = np.log(self.means), np.log1p(-self.means)
        return pixels @ (on - off).T + off.sum(axis=1) + np.log(self.shares)


def mixtures(train: Split, validation: Split, num_classes: int, *, density: str) -> Fitted:
    """Fits the classifier.

    Args:
        train: Images to learn from.
        validation: Images that choose the number of components of a class.
        num_classes: Number of classes.
        density: `gaussian` or `bernoulli`.
    """
    fit = _gaussian if density == "gaussian" else _bernoulli
    return fit(train, validation, num_classes)


def _gaussian(train: Split, validation: Split, num_classes: int) -> Fitted:
    from sklearn.decomposition import PCA
    from sklearn.mixture import GaussianMixture
    from threadpoolctl import threadpool_limits

    inputs, labels = flat(train["image"]), train["label"]
    axes = PCA(min(COMPONENTS, *inputs.shape), svd_solver="full").fit(inputs)
    codes, others = axes.transform(inputs), axes.transform(flat(validation["image"]))
    rows = [codes[labels == label] for label in range(num_classes)]
    prior = _prior(labels, num_classes)

    def score(models: list[Any], codes: np.ndarray) -> np.ndarray:
        """Logarithm of the density of each class and its share, (n, classes)."""
        return np.stack([model.score_samples(codes) for model in models], axis=1) + prior

    def fit(number: float) -> tuple[Any, np.ndarray]:
        with threadpool_limits(1):  # see `zoo.baselines.words`
            models = [
                GaussianMixture(min(int(number), len(own)), reg_covar=RIDGE, random_state=0).fit(
                    own
                )
                for own in rows
            ]
        return models, score(models, others)

    models, number, tried = fit_best("components", NUMBERS["gaussian"], fit, validation["label"])

    def joint(images: np.ndarray) -> np.ndarray:
        return score(models, axes.transform(flat(images)))

    side = codes.shape[1]
    each = 1 + side + side * (side + 1) // 2  # share, mean, covariance
    return Fitted(
        score=joint,
        settings={"density": "gaussian", "axes": side, "components": number},
        tried=tried,
        parameters=(side + 1) * inputs.shape[1]
        + each * sum(model.n_components for model in models),
        measure=lambda images: {"log_density": float(logsumexp(joint(images), axis=1).mean())},
    )


def _bernoulli(train: Split, validation: Split, num_classes: int) -> Fitted:
    inputs, labels = flat(train["image"]), train["label"]
    drawn = np.concatenate([binary(inputs, seed) for seed in range(DRAWINGS)])
    labels = np.tile(labels, DRAWINGS)
    base = (drawn.sum(axis=0) + 0.5) / (len(drawn) + 1)
    others = flat(validation["image"])
    prior = _prior(labels, num_classes)

    def score(models: list[Bernoulli], pixels: np.ndarray) -> np.ndarray:
        """Logarithm of the likelihood of each class and its share, (n, classes)."""
        found = [logsumexp(model.joint(pixels), axis=1) for model in models]
        return np.stack(found, axis=1) + prior

    def fit(number: float) -> tuple[Any, np.ndarray]:
        models = [
            expectation_maximization(drawn[labels == label], base, num=int(number))
            for label in range(num_classes)
        ]
        return models, score(models, others)

    models, number, tried = fit_best("components", NUMBERS["bernoulli"], fit, validation["label"])

    def measure(images: np.ndarray) -> dict[str, float]:
        joint = score(models, binary(flat(images), DRAWINGS))
        return {"log_likelihood": float(logsumexp(joint, axis=1).mean())}

    return Fitted(
        score=lambda images: score(models, flat(images)),
        settings={"density": "bernoulli", "components": number},
        tried=tried,
        parameters=sum(model.means.size + model.shares.size for model in models),
        measure=measure,
    )


def expectation_maximization(
    pixels: np.ndarray, base: np.ndarray, *, num: int, seed: int = 0, steps: int = STEPS
) -> Bernoulli:
    """Fits a mixture of binary pixels.

    Each step raises the likelihood times the prior density of the means, a Beta for each pixel.

    Args:
        pixels: 0 or 1, (n, d).
        base: What the prior takes each pixel's probability for, in (0, 1), (d,).
        num: Components; at most n are made.
        seed: Seed of the images that the components start from.
        steps: Steps of EM.
    """
    num = min(num, len(pixels))
    chosen = np.random.RandomState(seed).permutation(len(pixels))[:num]
    model = Bernoulli((pixels[chosen] + base) / 2, np.full(num, 1 / num))
    for _ in range(steps):
        joint = model.joint(pixels)
        share = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))  # (n, components)
        counts = share.sum(axis=0)
        means = (share.T @ pixels + PRIOR * base) / (counts + PRIOR)[:, None]
        model = Bernoulli(means, (counts + 1 / num) / (len(pixels) + 1))
    return model


def binary(intensities: np.ndarray, seed: int) -> np.ndarray:
    """Returns pixels of 0 and 1, each 1 with the probability of its intensity in [0, 1]."""
    drawn: np.ndarray = np.random.RandomState(seed).random_sample(intensities.shape) < intensities
    return drawn.astype(np.float64)


def _prior(labels: np.ndarray, num_classes: int) -> np.ndarray:
    """Logarithms of the classes' shares, (classes,)."""
    return np.log(np.bincount(labels, minlength=num_classes) / len(labels))
