"""The sliding window: a classifier of crops at every place of a picture, at several sizes.

Sources: Sermanet et al. 2013, OverFeat, arXiv:1312.6229, section 3 (a classifier that slides is a
convolution); Felzenszwalb et al. 2010 for the scales and the suppression of boxes. Differs: nothing
regresses the box, which is as high as the classifier was shown things, and as wide as those of its
class are in the mean; the classifier is that of `zoo.baselines.crops`.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from zoo.baselines import crops
from zoo.data.dataset import Split
from zoo.layers.suppression import suppress
from zoo.metrics.detection import Things
from zoo.models.convolutional import convolutionalize
from zoo.models.sliding import stride

AROUND = 1.4  # side of a window by the larger side of what it shows
WINDOWS = (18, 22, 27, 33, 40, 46)  # sides in pixels of the picture
JITTER = 0.1  # of the side and the place of a window that is learnt, by its side
POSITIVES, NEGATIVES = 3, 8  # windows of each thing, and background windows of a scene
NEAR = 0.4  # intersection over union with a thing's window below which one is of the background
LEAST, NUM, CANDIDATES = 0.05, 20, 400  # score of a box; most boxes; boxes that are looked at
OVERLAP = 0.3  # intersection over union above which the weaker box goes


def sliding_window(
    train: Split, num_classes: int, *, epochs: int = 4, seed: int = 0
) -> crops.Detector:
    """Fits a classifier of windows and lets it slide.

    Args:
        train: Columns `image`, `boxes`, `classes` and `regions`, which are not looked at.
        num_classes: Number of classes, without the background.
        epochs: Times that the classifier sees each window.
        seed: Seed of the choice of windows and of the weights.

    Returns:
        A function from a picture to what it finds.
    """
    height, width = train["image"].shape[1:3]

    def choose(
        random: np.random.RandomState, truth: np.ndarray, kinds: np.ndarray, given: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        return chosen(random, truth, (height, width))

    cuts, _, _ = crops.gather(train, choose, frame=0, seed=seed)
    net = crops.fit_classifier(cuts, num_classes, epochs=epochs, seed=seed)
    shares = sides_of(train, num_classes)  # (classes, 2)
    scales = [crops.SIDE / side for side in WINDOWS]
    sizes = [(round(height * scale), round(width * scale)) for scale in scales]
    nets = [convolutionalize(net, size=size) for size in sizes if min(size) >= crops.SIDE]
    step = stride(convolutionalize(net))
    boxes = np.concatenate(
        [
            _boxes(one.output_shape[1:3], step, (height, width), one.input_shape[1:3], shares)
            for one in nets
        ]
    )  # (windows, classes, 4)
    places = tf.constant(boxes.reshape(-1, 4), tf.float32)

    @tf.function
    def ask(image: tf.Tensor) -> tuple[tf.Tensor, ...]:
        image = tf.cast(image[None], tf.float32) / 255
        scores = []
        for one in nets:
            near = tf.image.resize(image, one.input_shape[1:3], antialias=True)
            logits = one(near, training=False)
            scores.append(tf.reshape(tf.nn.softmax(logits), (-1, 1 + num_classes))[:, 1:])
        # Every window has a box for each class: each pair is a box of its own.
        best, which = tf.math.top_k(tf.reshape(tf.concat(scores, axis=0), (1, -1)), CANDIDATES)
        kinds, rows = which % num_classes, tf.gather(places, which)
        return suppress(
            rows, best, kinds, max_outputs=NUM, iou_threshold=OVERLAP, score_threshold=LEAST
        )

    def detect(image: np.ndarray) -> Things:
        found, scores, kinds = (x.numpy()[0] for x in ask(image))
        real = scores > 0
        ends = np.array([height, width, height, width])
        return Things(found[real].clip(0, ends), kinds[real], scores[real])

    return detect


def chosen(
    random: np.random.RandomState, truth: np.ndarray, side: tuple[int, int]
) -> tuple[np.ndarray, np.ndarray]:
    """Returns windows of a scene to learn from, (n, 4), and which thing each shows; -1 for none."""
    middles, sizes = (truth[:, :2] + truth[:, 2:]) / 2, (truth[:, 2:] - truth[:, :2]).max(axis=1)
    right = _windows(middles, AROUND * sizes)
    which = np.tile(np.arange(len(truth)), POSITIVES)
    moves = random.uniform(-JITTER, JITTER, (len(which), 3))
    near = _windows(
        middles[which] + moves[:, :2] * (AROUND * sizes[which])[:, None],
        AROUND * sizes[which] * (1 + moves[:, 2]),
    )
    sides = random.uniform(WINDOWS[0], WINDOWS[-1], 2 * NEGATIVES)
    away = _windows(random.uniform(size=(len(sides), 2)) * np.array(side), sides)
    away = away[crops.overlaps(away, right).max(axis=1) < NEAR][:NEGATIVES]
    return np.concatenate([near, away]), np.concatenate([which, np.full(len(away), -1)])


def sides_of(train: Split, num_classes: int) -> np.ndarray:
    """Returns the mean height and width of each class's boxes by their larger side, (classes, 2).

    A class without things is square.
    """
    real = train["classes"] >= 0
    sides, kinds = train["boxes"][real], train["classes"][real]
    sides = sides[:, 2:] - sides[:, :2]
    shares = sides / sides.max(axis=1, keepdims=True)
    return np.stack(
        [shares[kinds == kind].mean(axis=0) if (kinds == kind).any() else np.ones(2)
         for kind in range(num_classes)]
    )  # fmt: skip


def _windows(middles: np.ndarray, sides: np.ndarray) -> np.ndarray:
    """Squares (n, 4) around points (n, 2), of sides (n,)."""
    halves = sides[:, None] / 2
    return np.concatenate([middles - halves, middles + halves], axis=1)


def _boxes(
    answers: tuple[int, int],
    step: tuple[int, int],
    side: tuple[int, int],
    size: tuple[int, int],
    shares: np.ndarray,
) -> np.ndarray:
    """The box of each class in each window of a net, in pixels of the picture: (n, classes, 4).

    Args:
        answers: Rows and columns of what the net answers.
        step: Pixels, as the net sees them, between two windows, down and right.
        side: Height and width of the picture.
        size: Height and width that the net sees it in.
        shares: Height and width of each class by its larger side, (classes, 2).
    """
    scale = np.array(size) / np.array(side)
    rows, columns = (
        (np.arange(answers[axis]) * step[axis] + crops.SIDE / 2) / scale[axis] for axis in (0, 1)
    )
    middles = np.stack(np.meshgrid(rows, columns, indexing="ij"), axis=-1).reshape(-1, 1, 2)
    halves = shares[None] * (crops.SIDE / scale / AROUND / 2)
    return np.concatenate([middles - halves, middles + halves], axis=-1)
