"""Regions of a picture that may hold a thing, from its colours alone: no network, no labels.

Sources: Uijlings et al. 2013, Selective search for object recognition, IJCV 104(2), section 3: the
two most similar neighbours of an over-segmentation become one, until one is left; every segment's
box on the way is a proposal. Felzenszwalb & Huttenlocher 2004, IJCV 59(2), in scikit-image, gives
the segments. Differs: similar is what has a colour, is small and fills its box (no texture); one
colour space; the order is that of merging, latest first, over scales in turn, without its random
part, so that the same picture has the same regions.
"""

from __future__ import annotations

from collections.abc import Iterable
from itertools import zip_longest
from typing import NamedTuple

import numpy as np

NUM = 64  # regions of a picture in a data set
SCALES = (50.0, 150.0)  # of scikit-image; larger makes larger segments
SMOOTH = 0.5  # standard deviation of the blur before segmenting, in pixels
SMALLEST = 8  # pixels of a segment
SIDE = 6  # least side of a proposal, in pixels
BINS = 8  # of each channel's histogram
ALIKE = 0.85  # intersection over union from which on two proposals are one


class _Segment(NamedTuple):
    """Pixels that belong together.

    Attributes:
        size: Number of its pixels.
        colours: Shares of its pixels in each bin of each channel, (channels * BINS,).
        box: y1 x1 y2 x2 in pixels, the ends exclusive.
    """

    size: float
    colours: np.ndarray
    box: tuple[int, int, int, int]


def propose(image: np.ndarray, num: int) -> np.ndarray:
    """Returns regions (num, 4), y1 x1 y2 x2 in pixels, float32; zeros behind the last one.

    Args:
        image: Pixels (height, width, channels), uint8.
        num: Largest number of regions.

    Raises:
        ModuleNotFoundError: scikit-image is not installed.
    """
    try:
        from skimage.segmentation import felzenszwalb
    except ModuleNotFoundError:
        raise ModuleNotFoundError(
            "regions: scikit-image segments the picture; run: pip install scikit-image"
        ) from None
    if image.shape[2] == 1:
        image = np.repeat(image, 3, axis=2)
    orders = []
    for scale in SCALES:
        labels = felzenszwalb(image, scale=scale, sigma=SMOOTH, min_size=SMALLEST)
        orders.append(_merged(*_segments(image, labels)))
    turns = (box for turn in zip_longest(*orders) for box in turn if box is not None)
    found = np.zeros((num, 4), np.float32)
    kept = _different(turns, num)
    found[: len(kept)] = kept
    return found


def propose_all(images: np.ndarray, num: int) -> np.ndarray:
    """Returns the regions of pictures (n, height, width, channels): (n, num, 4), see `propose`."""
    return np.stack([propose(image, num) for image in images])


def _segments(image: np.ndarray, labels: np.ndarray) -> tuple[list[_Segment], set[tuple[int, int]]]:
    """The segments of an over-segmentation, and the pairs of those that touch."""
    count, channels = int(labels.max()) + 1, image.shape[2]
    sizes = np.bincount(labels.ravel(), minlength=count)
    bins = image.astype(int) * BINS // 256 + BINS * np.arange(channels)
    flat = (labels[..., None] * (channels * BINS) + bins).ravel()
    colours = np.bincount(flat, minlength=count * channels * BINS)
    colours = colours.reshape(count, -1) / (channels * sizes[:, None])
    y, x = np.indices(labels.shape)
    low, high = np.full((count, 2), max(labels.shape)), np.zeros((count, 2), int)
    for axis, places in enumerate((y, x)):
        np.minimum.at(low[:, axis], labels.ravel(), places.ravel())
        np.maximum.at(high[:, axis], labels.ravel(), places.ravel() + 1)
    boxes = np.concatenate([low, high], axis=1).tolist()
    segments = [_Segment(*row) for row in zip(sizes.tolist(), colours, boxes, strict=True)]
    touch = np.zeros((count, count), bool)
    for one, other in ((labels[1:], labels[:-1]), (labels[:, 1:], labels[:, :-1])):
        touch[one, other] = touch[other, one] = True
    pairs = np.argwhere(np.triu(touch, 1)).tolist()
    return segments, {(one, other) for one, other in pairs}


def _merged(segments: list[_Segment], pairs: Iterable[tuple[int, int]]) -> list[list[int]]:
    """The boxes of all segments on the way to one, the latest first."""
    total = sum(segment.size for segment in segments)
    segments = list(segments)
    likeness = {(i, j): _likeness(segments[i], segments[j], total) for i, j in pairs}
    while likeness:
        pair = max(likeness, key=lambda key: likeness[key])
        segments.append(_union(*(segments[i] for i in pair)))
        near = {i for key in likeness if not set(key).isdisjoint(pair) for i in key} - set(pair)
        likeness = {key: value for key, value in likeness.items() if set(key).isdisjoint(pair)}
        new = len(segments) - 1
        likeness |= {(i, new): _likeness(segments[i], segments[new], total) for i in near}
    return [list(segment.box) for segment in segments[::-1]]


def _union(one: _Segment, other: _Segment) -> _Segment:
    size = one.size + other.size
    colours = (one.size * one.colours + other.size * other.colours) / size
    low = map(min, one.box[:2], other.box[:2])
    high = map(max, one.box[2:], other.box[2:])
    return _Segment(size, colours, (*low, *high))  # type: ignore[arg-type]


def _likeness(one: _Segment, other: _Segment, total: float) -> float:
    """How soon two segments become one, equations 1, 3 and 4 of Uijlings et al., summed."""
    colour = float(np.minimum(one.colours, other.colours).sum())
    both = one.size + other.size
    y1, x1, y2, x2 = _union(one, other).box
    return colour + 1 - both / total + 1 - ((y2 - y1) * (x2 - x1) - both) / total


def _different(boxes: Iterable[list[int]], num: int) -> np.ndarray:
    """The first boxes that are large enough and not alike, at most `num`: (n, 4)."""
    kept = np.zeros((num, 4))
    count = 0
    for box in boxes:
        y1, x1, y2, x2 = box
        if min(y2 - y1, x2 - x1) < SIDE:
            continue
        others = kept[:count]
        low, high = np.maximum(others[:, :2], box[:2]), np.minimum(others[:, 2:], box[2:])
        shared = np.maximum(high - low, 0).prod(axis=1)
        areas = (others[:, 2:] - others[:, :2]).prod(axis=1)
        if (shared < ALIKE * ((y2 - y1) * (x2 - x1) + areas - shared)).all():
            kept[count] = box
            count += 1
            if count == num:
                break
    return kept[:count]
