"""How accurate a classifier stays under attack, and whether what fools one net fools another."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np

from zoo.explain.attacks import iterative
from zoo.explain.classifier import Classifier, Model
from zoo.explain.minimal import UNIT, Bounds


def accuracy(model: Model, inputs: np.ndarray, labels: np.ndarray) -> float:
    """Returns the share of pictures that are named right, 0 to 1.

    Args:
        model: A classifier.
        inputs: What it reads, (n, height, width, channels).
        labels: The true classes, (n,).
    """
    seen = Classifier.of(model)
    return float(np.mean(seen.scores(inputs).argmax(axis=1) == seen.classes(inputs, labels)))


def transfer(
    models: Mapping[str, Model], attacked: Mapping[str, np.ndarray], labels: np.ndarray
) -> list[dict[str, Any]]:
    """Returns how accurate each net is on pictures that were made to fool another.

    Args:
        models: Classifiers by name, of equal inputs.
        attacked: By the name of a net, the pictures that were made with it.
        labels: The true classes, (n,).

    Returns:
        A row for each net that pictures were made with: `made with`, and the accuracy of each net.
    """
    return [
        {"made with": name} | {one: accuracy(net, inputs, labels) for one, net in models.items()}
        for name, inputs in attacked.items()
    ]


def robustness(
    models: Mapping[str, Model],
    inputs: np.ndarray,
    labels: np.ndarray,
    *,
    epsilons: Sequence[float],
    attack: Callable[..., np.ndarray] = iterative,
    bounds: Bounds = UNIT,
) -> list[dict[str, Any]]:
    """Returns how accurate each net stays when every value may change by epsilon.

    Each is attacked with its own gradients, and with those of the first, as somebody would who has
    the first net alone, e.g. the one that was compressed.

    Args:
        models: Classifiers by name, of equal inputs.
        inputs: What they read, (n, height, width, channels).
        labels: The true classes, (n,).
        epsilons: In the units of the inputs.
        attack: `fgsm`, `iterative` or `pgd`.
        bounds: The least and the greatest value of a picture.

    Returns:
        A row for each epsilon: `epsilon`, the accuracy of each net, and of each but the first
        `NAME, by FIRST`.
    """
    seen = {name: Classifier.of(model) for name, model in models.items()}
    first, *others = seen
    rows = []
    for epsilon in epsilons:
        made = {
            name: attack(net, inputs, labels, epsilon=epsilon, bounds=bounds)
            for name, net in seen.items()
        }
        row = {"epsilon": float(epsilon)}
        row |= {name: accuracy(seen[name], made[name], labels) for name in seen}
        row |= {f"{one}, by {first}": accuracy(seen[one], made[first], labels) for one in others}
        rows.append(row)
    return rows
