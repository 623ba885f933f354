"""The scenes of `digit_scenes` with regions that may hold a digit (`zoo.data.sets.regions`).

What R-CNN and Fast R-CNN look at: their proposals come from outside the network. Found once for
each size and kept in the cache beside the scenes.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from importlib.metadata import version

import numpy as np

from zoo.common.columns import Column
from zoo.data.cache import cached, key
from zoo.data.dataset import DataSet
from zoo.data.sets import digit_scenes, regions
from zoo.datasets import DATASETS

NAME = "digit_scenes_regions"
VERSION = 1  # of `regions.propose`; it goes up when the code finds other regions
SPLITS = ("train", "validation", "test")


def load(*, size: int | None = None) -> DataSet:
    """Makes, or reads, the scenes of `digit_scenes` with the column `regions` (NUM, 4).

    Args:
        size: Side of the scenes in pixels, 64 to 256; `None` for 64.

    Raises:
        ValueError: See `zoo.data.sets.digit_scenes.load`, likewise the others.
    """
    data = digit_scenes.load(size=size)
    digest = hashlib.sha256()
    for split in SPLITS:
        digest.update(np.ascontiguousarray(getattr(data, split)["image"]).data)
    settings = VERSION, regions.NUM, regions.SCALES, version("scikit-image"), digest.hexdigest()
    found = cached(
        f"{NAME}-{data.columns['image'].shape[0]}-{key(settings)}",
        lambda: {
            split: regions.propose_all(getattr(data, split)["image"], regions.NUM)
            for split in SPLITS
        },
    )
    return replace(
        data,
        name=NAME,
        source=f"{data.source}; regions by merging segments",
        columns={**data.columns, "regions": Column("boxes", (regions.NUM, 4))},
        mirror=DATASETS[NAME].mirror,
        **{split: getattr(data, split).replace(regions=found[split]) for split in SPLITS},
    )
