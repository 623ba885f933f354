"""Histograms of oriented gradients, and a linear support vector machine on them.

Source: Dalal & Triggs 2005, Histograms of oriented gradients for human detection, CVPR: 9
orientations, blocks of 2x2 cells, L2-Hys. Differs: a cell is a seventh of the side, not 8 pixels,
so that an image of any size has 7x7 cells and 1,296 features.
"""

from __future__ import annotations

import numpy as np

from zoo.baselines.fitted import Fitted
from zoo.baselines.svm import fit_svm
from zoo.data.dataset import Split

ORIENTATIONS, BLOCK = 9, 2
SMALLEST = 4  # pixels: one block of two cells


def gradients(train: Split, validation: Split, num_classes: int) -> Fitted:
    """Fits the classifier.

    Args:
        train: Images to learn from.
        validation: Images that choose the cost of the machine.
        num_classes: Number of classes.

    Raises:
        ValueError: The images are too small.
    """
    side = min(train["image"].shape[1:3])
    if side < SMALLEST:
        raise ValueError(
            f"hog_svm: got images of {side} pixels; expected at least {SMALLEST}. Set --size."
        )
    cell = max(2, side // 7)
    settings = {"orientations": ORIENTATIONS, "cell": cell, "block": BLOCK}
    return fit_svm(train, validation, lambda images: hog(images, cell), settings)


def hog(images: np.ndarray, cell: int) -> np.ndarray:
    """Returns the histograms (n, d) of pixels (n, height, width, channels), uint8."""
    from skimage import feature

    grey = images.shape[-1] == 1
    rows = [
        feature.hog(
            image[..., 0] if grey else image,
            orientations=ORIENTATIONS,
            pixels_per_cell=(cell, cell),
            cells_per_block=(BLOCK, BLOCK),
            block_norm="L2-Hys",
            channel_axis=None if grey else -1,
        )
        for image in images
    ]
    return np.stack(rows)
