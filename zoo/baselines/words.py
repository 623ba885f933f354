"""A bag of visual words: what patches an image holds, wherever they are; then a linear SVM.

Source: Csurka et al. 2004, Visual categorization with bags of keypoints, ECCV workshop on
statistical learning. Differs: DAISY descriptors on a dense grid (Tola et al. 2010, IEEE TPAMI
32(5)) in place of SIFT at keypoints, of which small images have few; square roots of the shares of
the words (Perronnin et al. 2010, ECCV) in place of counts.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from zoo.baselines.fitted import Fitted
from zoo.baselines.svm import fit_svm
from zoo.data.dataset import Split

NUM_WORDS = 400
NUM_VOCABULARY_IMAGES = 500  # whose patches the words are made from
BLOCK = 500  # images whose descriptors are in memory at once
SMALLEST = 4  # pixels
DAISY = {"rings": 2, "histograms": 6, "orientations": 8}


def words(train: Split, validation: Split, num_classes: int) -> Fitted:
    """Fits the classifier.

    Args:
        train: Images to learn from.
        validation: Images that choose the cost of the machine.
        num_classes: Number of classes.

    Raises:
        ValueError: The images are too small.
    """
    from sklearn.cluster import MiniBatchKMeans
    from threadpoolctl import threadpool_limits

    side = min(train["image"].shape[1:3])
    if side < SMALLEST:
        raise ValueError(
            f"bag_of_words: got images of {side} pixels; expected at least {SMALLEST}. Set --size."
        )
    radius, step = max(2, side // 7), max(1, side // 14)
    patches = describe(train["image"][:NUM_VOCABULARY_IMAGES], radius=radius, step=step)
    patches = patches.reshape(-1, patches.shape[-1])  # (images * places, d)
    num_words = min(NUM_WORDS, len(patches))
    vocabulary = MiniBatchKMeans(num_words, batch_size=4096, n_init=3, random_state=0)
    # Its threads wait for one another in a busy loop: 250 s in place of 9 s where others compute.
    with threadpool_limits(1):
        vocabulary.fit(patches)

    def histograms(images: np.ndarray) -> np.ndarray:
        """Square roots of the share of each word, (n, words)."""
        rows = []
        for start in range(0, len(images), BLOCK):
            found = describe(images[start : start + BLOCK], radius=radius, step=step)
            near = vocabulary.predict(found.reshape(-1, found.shape[-1]))
            near = near.reshape(found.shape[:2])  # (images, places)
            rows += [np.bincount(one, minlength=vocabulary.n_clusters) / len(one) for one in near]
        return np.sqrt(rows)

    settings = {"words": vocabulary.n_clusters, "radius": radius, "step": step, **DAISY}
    fitted = fit_svm(train, validation, histograms, settings)
    return replace(fitted, parameters=fitted.parameters + vocabulary.cluster_centers_.size)


def describe(images: np.ndarray, *, radius: int, step: int) -> np.ndarray:
    """Describes the patches around a grid of places.

    Args:
        images: Pixels (n, height, width, channels), uint8.
        radius: Reach of a patch around its centre, in pixels; the border is repeated that far.
        step: From one place to the next, in pixels.

    Returns:
        DAISY descriptors (n, places, d), float32.
    """
    from skimage.color import rgb2gray
    from skimage.feature import daisy

    grey = images[..., 0] / 255 if images.shape[-1] == 1 else rgb2gray(images)  # (n, h, w)
    wide = np.pad(grey, [(0, 0), (radius, radius), (radius, radius)], mode="edge")
    found = [daisy(image, step=step, radius=radius, **DAISY) for image in wide]
    return np.stack(found).reshape(len(images), -1, found[0].shape[-1]).astype(np.float32)
