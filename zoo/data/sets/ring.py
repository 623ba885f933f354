"""Points of a plane around eight places on a circle: whether a generator makes all there is, shows.

Source: the ring of Gaussians that Metz et al. 2017, arXiv:1611.02163, and Gulrajani et al. 2017,
arXiv:1704.00028, draw their generators' points beside; drawn here by a formula. Differs: a circle
of radius 2 and a standard deviation of 0.1 in each direction (theirs is 0.02), so that seconds of
training suffice; 4,000 / 200 / 800 points for training, validation and test, equally many around
each place.
"""

from __future__ import annotations

import numpy as np

from zoo.common.columns import Column
from zoo.data.dataset import DataSet, Split, stratify
from zoo.datasets import DATASETS

PLACES, RADIUS, DEVIATION = 8, 2.0, 0.1
EACH = 625  # points around a place


def load() -> DataSet:
    """Draws the points, (2,); a class is a place, named by its angle in degrees."""
    random = np.random.RandomState(0)
    labels = np.repeat(np.arange(PLACES, dtype=np.int32), EACH)
    angles = 2 * np.pi * labels / PLACES
    centres = RADIUS * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    points = (centres + DEVIATION * random.normal(size=centres.shape)).astype(np.float32)
    everything = Split({"features": points, "label": labels})
    train, validation, test = stratify(everything, lambda num: (num - 125, 25, 100), by="label")
    degrees = tuple(str(360 * place // PLACES) for place in range(PLACES))
    return DataSet(
        "ring",
        "drawn by a formula, zoo.data.sets.ring",
        {"features": Column("features", (2,)), "label": Column("class", (), degrees)},
        train,
        validation,
        test,
        mirror=DATASETS["ring"].mirror,
    )
