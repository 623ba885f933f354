"""R-CNN: regions of a picture, each warped to a crop and classified on its own.

Source: Girshick, Donahue, Darrell & Malik 2014, Rich feature hierarchies, arXiv:1311.2524, section
2 and appendix C (boxes by ridge regression). Differs: see `zoo.baselines.crops`; regions are those
of `zoo.data.sets.regions`; boxes are regressed on the hidden layer, not on the last maps.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from zoo.baselines import crops
from zoo.data.dataset import Split
from zoo.data.sets import regions
from zoo.layers.proposals import BOX_VARIANCE, Detections, encode
from zoo.metrics.detection import Things

FRAME = 3  # pixels of a crop around the region; the paper's 16 of 227
POSITIVE, NEGATIVE = 0.5, 0.3  # intersection over union from, and below, which a region counts
NEGATIVES = 8  # background regions of a scene
RIDGE = 1000.0  # the paper's


def rcnn(train: Split, num_classes: int, *, epochs: int = 4, seed: int = 0) -> crops.Detector:
    """Fits an R-CNN.

    Args:
        train: Columns `image`, `boxes`, `classes` and `regions`.
        num_classes: Number of classes, without the background.
        epochs: Times that the classifier sees each crop.
        seed: Seed of the choice of crops and of the weights.

    Returns:
        A function from a picture to what it finds.
    """
    cuts, boxes, right = crops.gather(train, choose, frame=FRAME, seed=seed)
    net = crops.fit_classifier(cuts, num_classes, epochs=epochs, seed=seed)
    hidden = net.get_layer("fc1").output
    both = keras.Model(net.input, [net.output, hidden])
    own = cuts.labels > 0
    features = both.predict(cuts.images[own].astype(np.float32) / 255, verbose=0)[1]
    truth, cut = (x[own].astype(np.float32)[None] for x in (right, boxes))
    wanted = keras.ops.convert_to_numpy(encode(truth, cut, BOX_VARIANCE))[0]
    slopes = regress(features, wanted, cuts.labels[own] - 1, num_classes)
    shape, count = train["image"].shape[1:3], regions.NUM
    answer = Detections(side=shape, num=100)

    @tf.function
    def ask(images: tf.Tensor, given: tf.Tensor) -> list[tf.Tensor]:
        logits, seen = both(images, training=False)
        seen = tf.pad(seen, [[0, 0], [0, 1]], constant_values=1.0)
        offsets = tf.einsum("nf,cfo->nco", seen, tf.constant(slopes))  # (n, classes, 4)
        offsets = tf.reshape(tf.pad(offsets, [[0, 0], [1, 0], [0, 0]]), (1, count, -1))
        found: list[tf.Tensor] = answer([logits[None], offsets, given[None]])
        return found

    def detect(image: np.ndarray) -> Things:
        given = regions.propose(image, count)
        images = crops.cut(image, given[given[:, 2] > 0], FRAME).astype(np.float32) / 255
        padded = np.zeros((count, *images.shape[1:]), np.float32)
        padded[: len(images)] = images
        found, scores, kinds = (x.numpy()[0] for x in ask(padded, given))
        real = scores > 0
        return Things(found[real], kinds[real], scores[real])

    return detect


def choose(
    random: np.random.RandomState, truth: np.ndarray, kinds: np.ndarray, given: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Returns the regions of a scene to learn from, and which thing each is of; -1 for none."""
    boxes = np.concatenate([truth, given])
    overlap = crops.overlaps(boxes, truth)
    best, which = overlap.max(axis=1), overlap.argmax(axis=1)
    away = np.flatnonzero(best < NEGATIVE)
    away = random.permutation(away)[:NEGATIVES]
    near = np.flatnonzero(best >= POSITIVE)
    return boxes[[*near, *away]], np.concatenate([which[near], np.full(len(away), -1)])


def regress(
    features: np.ndarray, wanted: np.ndarray, kinds: np.ndarray, num_classes: int
) -> np.ndarray:
    """Returns what leads from features to offsets, by ridge regression for each class.

    Args:
        features: (n, f).
        wanted: Offsets (n, 4).
        kinds: Class of each, (n,).
        num_classes: Number of classes.

    Returns:
        (classes, f + 1, 4), float32; the last row is what is added, the class's mean. A class
        without examples has zeros.
    """
    found = np.zeros((num_classes, features.shape[1] + 1, 4))
    for kind in range(num_classes):
        x, y = features[kinds == kind].astype(float), wanted[kinds == kind].astype(float)
        if len(x):
            middle, mean = x.mean(axis=0), y.mean(axis=0)
            x = x - middle
            slopes = np.linalg.solve(x.T @ x + RIDGE * np.eye(x.shape[1]), x.T @ (y - mean))
            found[kind, :-1], found[kind, -1] = slopes, mean - middle @ slopes
    return found.astype(np.float32)
