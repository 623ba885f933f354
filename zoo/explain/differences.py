"""Whether two classifiers answer alike, look at the same places, and are as easy to fool.

Made for a net and what a compression made of it: accuracy alone does not tell which pictures and
which classes paid for it (Hooker et al. 2019, arXiv:1911.05248).
"""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from PIL import Image

from zoo.explain.classifier import Classifier, Model
from zoo.explain.maps import grad_cam
from zoo.explain.minimal import deepfool
from zoo.metrics.calibration import expected_error, reliability


class Side(NamedTuple):
    """One of two classifiers, and what it reads of the pictures.

    Attributes:
        model: A classifier.
        inputs: The pictures as it reads them, (n, height, width, channels).
        bounds: The least and the greatest value that its inputs have.
    """

    model: Model
    inputs: np.ndarray
    bounds: tuple[float, float] = (0.0, 1.0)


class Comparison(NamedTuple):
    """Two classifiers on the same pictures; what is a pair is of the first and of the second.

    Attributes:
        same_top1: Share of pictures that both name alike.
        correlation: Of their logits, each less the mean of its picture, which a softmax ignores.
        overlap: Of their Grad-CAMs of the first one's class, see `overlaps`, mean; `None` where one
            has no convolution, or no picture was looked at.
        chance: The same of the maps of a picture and the next one, of the first net alone: what
            nets share that look at the middle, say; `None` of fewer than two pictures.
        looked: Number of pictures of both.
        margins: Median distance to the nearest border, by DeepFool, in levels of 255, the root of
            their mean square over a picture; of pictures that both name right, infinite of one that
            it did not fool. `None`: none was measured.
        attacked: Number of pictures of it.
        fooled: How many of these DeepFool did fool, of each.
        ece: Expected calibration errors; `None` without labels.
        shares: Probabilities (n, classes), of each.
        labels: What the pictures are, (n,); without labels what the first takes them for.
    """

    same_top1: float
    correlation: float
    overlap: float | None
    chance: float | None
    looked: int
    margins: tuple[float, float] | None
    attacked: int
    fooled: tuple[int, int]
    ece: tuple[float, float] | None
    shares: tuple[np.ndarray, np.ndarray]
    labels: np.ndarray

    @property
    def guesses(self) -> tuple[np.ndarray, np.ndarray]:
        """What each takes the pictures for, (n,)."""
        one, other = (each.argmax(axis=1) for each in self.shares)
        return one, other

    @property
    def right(self) -> tuple[np.ndarray, np.ndarray]:
        """Whether each names each picture right, (n,)."""
        one, other = (each == self.labels for each in self.guesses)
        return one, other

    @property
    def falls(self) -> np.ndarray:
        """By how much the probability of each picture's label is less for the second, (n,)."""
        rows = np.arange(len(self.labels))
        found: np.ndarray = self.shares[0][rows, self.labels] - self.shares[1][rows, self.labels]
        return found


def compare(
    one: Side,
    other: Side,
    labels: np.ndarray | None = None,
    *,
    looked: int = 64,
    attacked: int = 32,
) -> Comparison:
    """Compares two classifiers of the same classes on the same pictures.

    Args:
        one: The first, e.g. a net.
        other: The second, e.g. what a compression made of it.
        labels: True classes (n,); `None`: not known.
        looked: Pictures whose Grad-CAMs are compared, the first ones, at most.
        attacked: Pictures that DeepFool moves, the first ones, at most.

    Raises:
        ValueError: They have not as many classes, or read not as many pictures.
    """
    seen = Classifier.of(one.model), Classifier.of(other.model)
    kinds, counts = [one.num_classes for one in seen], [len(one.inputs), len(other.inputs)]
    if len(set(kinds)) != 1 or len(set(counts)) != 1 or not counts[0]:
        raise ValueError(
            f"compare: got {kinds[0]} and {kinds[1]} classes, {counts[0]} and {counts[1]} pictures;"
            " expected as many of both, one picture or more."
        )
    scores = [
        net.scores(side.inputs).astype(float) for net, side in zip(seen, (one, other), strict=True)
    ]
    shares = seen[0].shares(scores[0]), seen[1].shares(scores[1])
    known = scores[0].argmax(axis=1) if labels is None else np.asarray(labels)
    own, chance = overlaps(seen, one.inputs[:looked], other.inputs[:looked])
    both = np.all([each.argmax(axis=1) == known for each in scores], axis=0)
    chosen = np.flatnonzero(both)[:attacked]
    far = [
        _distances(net, side, chosen, known) for net, side in zip(seen, (one, other), strict=True)
    ]
    return Comparison(
        same_top1=float(np.mean(scores[0].argmax(axis=1) == scores[1].argmax(axis=1))),
        correlation=_correlation(*scores),
        overlap=None if own is None else float(own.mean()),
        chance=None if chance is None else float(chance.mean()),
        looked=0 if own is None else len(own),
        margins=(float(np.median(far[0])), float(np.median(far[1]))) if chosen.size else None,
        attacked=len(chosen),
        fooled=(int(np.isfinite(far[0]).sum()), int(np.isfinite(far[1]).sum())),
        ece=None if labels is None else (_ece(shares[0], known), _ece(shares[1], known)),
        shares=shares,
        labels=known,
    )


def same_maps(seen: tuple[Classifier, Classifier]) -> tuple[str, str] | None:
    """Returns the layers whose Grad-CAMs are compared, of each; `None` without convolutions.

    It is the last map of the first, where the second has one of that name and size, else its own
    last map: a range behind a layer is no other place to look from.

    Args:
        seen: Two classifiers.
    """
    try:
        first, second = (net.last_map() for net in seen)
    except ValueError:
        return None
    if first in seen[1].names and seen[1].shape(first)[1:3] == seen[0].shape(first)[1:3]:
        second = first
    return first, second


def overlaps(
    seen: tuple[Classifier, Classifier], one: np.ndarray, other: np.ndarray
) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Returns how much of what two nets look at is the same, for each picture, and by chance.

    Each map is divided by its sum, and the smaller one of both counts at each place: 1 where they
    are equal, 0 where no place speaks for the class in both. Two maps without any are equal.

    Args:
        seen: Two classifiers.
        one: What the first reads, (n, height, width, channels).
        other: What the second does.

    Returns:
        Two arrays (n,): of the same picture, and of the next one, of the first net alone; `None`
        where a net has no convolution, or there is no picture, or no next one.
    """
    paths = same_maps(seen)
    if paths is None or not len(one):
        return None, None
    classes = seen[0].classes(one, None)
    first, second = (
        grad_cam(net, inputs, classes, layer=path)
        for net, inputs, path in zip(seen, (one, other), paths, strict=True)
    )
    chance = _shared(first, np.roll(first, -1, axis=0)) if len(one) > 1 else None
    return _shared(first, second), chance


def _shared(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    if one.shape != other.shape:  # smaller maps, e.g. of a net without its last stride
        sides = max(one.shape[1:], other.shape[1:])
        one, other = (np.stack([_resized(each, sides) for each in maps]) for maps in (one, other))
    sums = [each.sum(axis=(1, 2)) for each in (one, other)]
    with np.errstate(invalid="ignore", divide="ignore"):
        parts = [
            each / total[:, None, None] for each, total in zip((one, other), sums, strict=True)
        ]
        found = np.nan_to_num(np.minimum(*parts).sum(axis=(1, 2)))
    return np.where((sums[0] == 0) & (sums[1] == 0), 1.0, found)


def _resized(found: np.ndarray, sides: tuple[int, ...]) -> np.ndarray:
    height, width = sides
    return np.asarray(Image.fromarray(found).resize((width, height), Image.Resampling.BILINEAR))


def _distances(net: Classifier, side: Side, chosen: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """How far DeepFool had to move each of some pictures, in levels; infinite where in vain."""
    if not chosen.size:
        return np.zeros(0)
    inputs, (low, high) = side.inputs[chosen], side.bounds
    found = deepfool(net, inputs, labels[chosen], bounds=side.bounds)
    levels = found.distance / np.sqrt(inputs[0].size) / (high - low) * 255
    return np.where(found.fooled, levels, np.inf)


def _ece(shares: np.ndarray, labels: np.ndarray) -> float:
    return expected_error(reliability(shares.max(axis=1), shares.argmax(axis=1) == labels))


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    first, second = (
        (each - each.mean(axis=1, keepdims=True)).ravel() for each in (one, other)
    )  # whose means are 0
    norm = np.sqrt((first @ first) * (second @ second))
    return float(first @ second / norm) if norm else 1.0


def per_class(found: Comparison, names: tuple[str, ...]) -> list[dict[str, Any]]:
    """Returns what each class paid: rows, those first that the second names right less often.

    Args:
        found: The comparison.
        names: Names of the classes.

    Returns:
        `class`, `pictures`, `first` and `second`, the share of them that each names right, `hurt`,
        those that the first alone names right, and `mended`, those that the second alone does.
    """
    rows, (one, other) = [], found.right
    for index, name in enumerate(names):
        own = found.labels == index
        if own.any():
            rows.append({
                "class": name, "pictures": int(own.sum()),
                "first": float(one[own].mean()), "second": float(other[own].mean()),
                "hurt": int((one & ~other & own).sum()),
                "mended": int((other & ~one & own).sum()),
            })  # fmt: skip
    return sorted(rows, key=lambda row: (row["second"] - row["first"], -row["hurt"]))


def most_hurt(found: Comparison, count: int) -> np.ndarray:
    """Returns the pictures that the second net does worse on, (at most count,), indices.

    Those first that the first net alone names right; among them, and then, those whose label lost
    most of its probability. Pictures whose label lost nothing are left out.
    """
    one, other = found.right
    falls = found.falls
    order = np.lexsort((-falls, ~(one & ~other)))
    return order[falls[order] > 0][:count]
