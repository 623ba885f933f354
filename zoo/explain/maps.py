"""Where a classifier looks: Grad-CAM and occlusion.

Sources: Grad-CAM, Selvaraju et al. 2017, arXiv:1610.02391, equations 1 and 2; occlusion, Zeiler &
Fergus 2014, arXiv:1311.2901, section 4.2, of scores in the place of probabilities.
"""

from __future__ import annotations

import numpy as np

from zoo.explain.classifier import BATCH, Classifier, Model
from zoo.explain.gradients import Classes


def grad_cam(
    model: Model, inputs: np.ndarray, classes: Classes = None, *, layer: str | None = None
) -> np.ndarray:
    """Returns where a layer's maps speak for a class, (n, h, w), 0 or more, float32.

    Each map is weighted by the mean of the score's gradient over its places; the sum's negative
    part is left out.

    Args:
        model: A classifier.
        inputs: What it reads, (n, height, width, channels).
        classes: The class: an index, one for each picture, or `None` for the predicted one.
        layer: Path of a layer that gives maps; `None`: the last one, see `last_map`.

    Raises:
        ValueError: There is no such layer, or no convolution.
    """
    seen = Classifier.of(model)
    path = seen.last_map() if layer is None else seen.find_layer(layer, maps=True)
    gradient, maps, _ = seen.gradient(inputs, seen.classes(inputs, classes), layer=path)
    weights = gradient.mean(axis=(1, 2), keepdims=True)  # (n, 1, 1, channels)
    return np.maximum((weights * maps).sum(axis=3), 0)


def occlusion(
    model: Model,
    inputs: np.ndarray,
    classes: Classes = None,
    *,
    patch: int | None = None,
    stride: int | None = None,
    value: np.ndarray | float = 0.0,
) -> np.ndarray:
    """Returns by how much the score falls where a patch is covered, (n, height, width), float32.

    A pixel has the mean over the patches that cover it. The last patch of a row ends at the edge
    or beyond it.

    Args:
        model: A classifier.
        inputs: What it reads, (n, height, width, channels).
        classes: The class: an index, one for each picture, or `None` for the predicted one.
        patch: Side in pixels; `None`: a seventh of the picture's longer side.
        stride: Pixels from patch to patch, at most `patch`; `None`: half of it.
        value: What covers: a number, or an array that fits the inputs.

    Raises:
        ValueError: The patch does not lie in the picture, or the stride leaves gaps.
    """
    seen = Classifier.of(model)
    inputs = seen.reads(inputs)
    height, width = inputs.shape[1:3]
    patch = max(max(height, width) // 7, 1) if patch is None else patch
    stride = max(patch // 2, 1) if stride is None else stride
    if not (1 <= patch <= min(height, width) and 1 <= stride <= patch):
        raise ValueError(
            f"occlusion: got patch {patch} and stride {stride}; expected a patch of 1 to "
            f"{min(height, width)} pixels, and a stride of 1 to the patch."
        )
    classes = seen.classes(inputs, classes)
    cover = np.broadcast_to(np.asarray(value, np.float32), inputs.shape)
    places = [
        (slice(top, top + patch), slice(left, left + patch))
        for top in _starts(height, patch, stride)
        for left in _starts(width, patch, stride)
    ]
    found = np.empty(inputs.shape[:3], np.float32)
    for index, picture in enumerate(inputs):
        whole = seen.scores(picture[None])[0, classes[index]]
        total, count = np.zeros((2, height, width))
        for start in range(0, len(places), BATCH):
            part = places[start : start + BATCH]
            copies = np.repeat(picture[None], len(part), axis=0)
            for copy, place in zip(copies, part, strict=True):
                copy[place] = cover[index][place]
            scores = seen.scores(copies)[:, classes[index]]
            for score, place in zip(scores, part, strict=True):
                total[place] += whole - score
                count[place] += 1
        found[index] = total / count
    return found


def _starts(side: int, patch: int, stride: int) -> range:
    """Where patches begin, so that the last one reaches the edge."""
    return range(0, side - patch + stride, stride)
