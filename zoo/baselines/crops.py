"""A classifier of crops: what a thing is, or that there is none. Detectors before Fast R-CNN.

Sources: Girshick et al. 2014, R-CNN, arXiv:1311.2524, section 2.3 (which crops are of a thing, how
they are cut) and appendix A (warped, with a frame of what is around). Differs: Caffe's LeNet with a
softmax over the classes and the background is trained on crops of the scenes alone, where the paper
fine-tunes AlexNet and then fits a linear SVM for each class.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from PIL import Image

from zoo.data.dataset import Split
from zoo.metrics.detection import Things

SIDE = 32  # of a crop, in pixels
BATCH, RATE = 64, 1e-3
Detector = Callable[[np.ndarray], Things]  # pixels (height, width, channels), uint8


class Crops(NamedTuple):
    """Crops with what is in them.

    Attributes:
        images: (n, SIDE, SIDE, channels), uint8.
        labels: 0 for the background, 1 for the first class ..., (n,), int32.
    """

    images: np.ndarray
    labels: np.ndarray


def cut(image: np.ndarray, boxes: np.ndarray, frame: int = 0) -> np.ndarray:
    """Returns what is in boxes, warped to crops (n, SIDE, SIDE, channels), uint8.

    Args:
        image: Pixels (height, width, channels), uint8; beyond its edge its last pixels go on.
        boxes: y1 x1 y2 x2 in pixels, (n, 4).
        frame: Pixels of a crop, at each side, that show what is around the box.
    """
    boxes = np.asarray(boxes, float)
    spare = (boxes[:, 2:] - boxes[:, :2]) * frame / (SIDE - 2 * frame)
    boxes = np.concatenate([boxes[:, :2] - spare, boxes[:, 2:] + spare], axis=1)
    sides = np.array([*image.shape[:2], *image.shape[:2]])
    beyond = max(0, int(np.ceil(max((-boxes).max(initial=0), (boxes - sides).max(initial=0)))))
    padded = np.pad(image, [(beyond, beyond), (beyond, beyond), (0, 0)], mode="edge")
    picture = Image.fromarray(padded if image.shape[2] > 1 else padded[..., 0])
    crops = [
        np.asarray(
            picture.resize((SIDE, SIDE), Image.Resampling.BILINEAR, box=(x1, y1, x2, y2))
        ).reshape(SIDE, SIDE, -1)
        for y1, x1, y2, x2 in boxes + beyond
    ]
    return np.stack(crops) if crops else np.zeros((0, SIDE, SIDE, image.shape[2]), np.uint8)


def overlaps(boxes: np.ndarray, others: np.ndarray) -> np.ndarray:
    """Returns intersections over unions, (n, m); 0 where there is no other box."""
    low = np.maximum(boxes[:, None, :2], others[None, :, :2])
    high = np.minimum(boxes[:, None, 2:], others[None, :, 2:])
    shared = np.maximum(high - low, 0).prod(axis=-1)
    areas = [(one[:, 2:] - one[:, :2]).prod(axis=-1) for one in (boxes, others)]
    return shared / np.maximum(areas[0][:, None] + areas[1][None] - shared, 1e-6)


def gather(
    split: Split,
    choose: Callable[[np.random.RandomState, np.ndarray, np.ndarray, np.ndarray], Sequence],
    *,
    frame: int,
    seed: int,
) -> tuple[Crops, np.ndarray, np.ndarray]:
    """Cuts crops out of all scenes of a split.

    Args:
        split: Columns `image`, `boxes`, `classes` and, where there are some, `regions`.
        choose: From a stream, the true boxes of a scene (n, 4), their classes (n,) and its regions
            (m, 4) to boxes (k, 4) to cut out, which true one each is of (k,), -1 for none.
        frame: See `cut`.
        seed: Seed of the stream.

    Returns:
        The crops; their boxes (k, 4), and the true boxes (k, 4) they are of, zeros for none.
    """
    random = np.random.RandomState(seed)
    parts: list[list[np.ndarray]] = [[], [], [], []]
    for index, image in enumerate(split["image"]):
        there = split["classes"][index] >= 0
        truth, kinds = split["boxes"][index][there], split["classes"][index][there]
        given = split["regions"][index]
        boxes, which = choose(random, truth, kinds, given[given[:, 2] > 0])
        own = which >= 0
        labels = np.where(own, kinds[which] + 1, 0).astype(np.int32)
        right = np.where(own[:, None], truth[which], 0.0)
        for part, values in zip(
            parts, (cut(image, boxes, frame), labels, boxes, right), strict=True
        ):
            part.append(values)
    images, labels, boxes, right = (np.concatenate(part) for part in parts)
    return Crops(images, labels), boxes, right


def fit_classifier(crops: Crops, num_classes: int, *, epochs: int, seed: int) -> keras.Model:
    """Returns Caffe's LeNet, trained: crops / 255 to logits (n, 1 + num_classes)."""
    from zoo.models.build import create

    keras.utils.set_random_seed(seed)
    shape = crops.images.shape[1:]
    net: Any = create("caffe_lenet", input_shape=shape, num_classes=1 + num_classes)
    steps = epochs * -(-len(crops.labels) // BATCH)
    net.compile(
        keras.optimizers.Adam(keras.optimizers.schedules.CosineDecay(RATE, steps)),
        keras.losses.SparseCategoricalCrossentropy(from_logits=True),
    )
    net.fit(
        crops.images.astype(np.float32) / 255,
        crops.labels,
        batch_size=BATCH,
        epochs=epochs,
        verbose=0,
    )
    return net
