"""Losses of a detector: what its anchors and its regions are, and how far their boxes are off.

Sources: Girshick 2015, arXiv:1504.08083, equations 1 to 3; Ren et al. 2015, arXiv:1506.01497,
equation 1; He et al. 2017, arXiv:1703.06870, section 3. All are of each picture, (batch,), which
counts the same whatever stands beside it in a batch. Where the papers draw some anchors and
regions, all count here, weighted as often as they are drawn.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple, Protocol

from keras import ops
from keras.utils import bounding_boxes

from zoo.layers.proposals import BOX_VARIANCE, REGION_VARIANCE, SMALLEST, encode
from zoo.layers.roi import hats

ANCHOR_BETA, BOX_BETA = 1 / 9, 1.0  # where the smooth L1 loss turns from a square to a line
HALF = 0.5  # largest share of positive anchors; and from which on a point is within a mask


class Truth(NamedTuple):
    """What is in the pictures of a batch.

    Attributes:
        boxes: (batch, most, 4) in pixels.
        classes: (batch, most), int32; -1 where there is no box.
        instances: Which thing is seen at a pixel, from 1 in the order of the boxes; 0 where none
            is, (batch, height, width); `None` where it is not known.
    """

    boxes: Any
    classes: Any
    instances: Any = None


class Settings(Protocol):
    """How anchors and regions are matched, see `zoo.tasks.places.detect.Detect`."""

    anchor_positive: float
    anchor_negative: float
    anchors: int
    region_positive: float
    region_share: float


class Match(NamedTuple):
    """What each box of a batch is.

    Attributes:
        which: Index of the true box that it overlaps most, (batch, n), int32.
        positive: 1 where it is that thing's, else 0, (batch, n), float32.
        negative: 1 where it is the background's; where both are 0 it does not count.
    """

    which: Any
    positive: Any
    negative: Any


def match(boxes: Any, truth: Truth, *, high: float, low: float, rescue: bool = False) -> Match:
    """Matches boxes with true ones.

    Args:
        boxes: (batch, n, 4) or (n, 4) in pixels.
        truth: What is in the pictures.
        high: Intersection over union from which on a box is positive.
        low: Intersection over union below which it is negative.
        rescue: Whether each thing's best boxes are positive too, however little they overlap.
    """
    there = ops.cast(truth.classes >= 0, "float32")[:, None]  # (batch, 1, most)
    overlap = bounding_boxes.compute_iou(boxes, truth.boxes, "yxyx")  # (batch, n, most)
    overlap = overlap * there - (1 - there)
    best = ops.max(overlap, axis=-1)
    positive = best >= high
    if rescue:
        largest = ops.max(overlap, axis=1, keepdims=True)
        own = ops.logical_and(overlap >= largest - 1e-6, overlap > 0)
        positive = ops.logical_or(positive, ops.any(own, axis=-1))
    negative = ops.logical_and(best < low, ops.logical_not(positive))
    which = ops.cast(ops.argmax(overlap, axis=-1), "int32")
    return Match(which, ops.cast(positive, "float32"), ops.cast(negative, "float32"))


def drawn(found: Match, count: int, share: float) -> tuple[Any, Any]:
    """Returns how often each box is drawn in the mean, and how many are in all.

    Of `count`, positive ones are drawn first, to at most `share`; negative ones fill up.

    Args:
        found: What each box is.
        count: Number of draws.
        share: Largest share of positive ones.

    Returns:
        Weights (batch, n) in [0, 1], and their sum (batch,), at least 1.
    """
    positives, negatives = (ops.sum(x, axis=1) for x in (found.positive, found.negative))
    first = ops.minimum(positives, count * share)
    rest = ops.minimum(negatives, count - first)
    weights = found.positive * (first / ops.maximum(positives, 1))[:, None]
    weights = weights + found.negative * (rest / ops.maximum(negatives, 1))[:, None]
    return weights, ops.maximum(first + rest, 1)


def smooth_l1(x: Any, beta: float) -> Any:
    """Returns the smooth L1 loss of offsets (..., 4), summed: (...)."""
    far = ops.abs(x)
    return ops.sum(ops.where(far < beta, 0.5 * far**2 / beta, far - 0.5 * beta), axis=-1)


def losses(
    settings: Settings, heads: Mapping[str, Any], truth: Truth, anchors: Any
) -> dict[str, Any]:
    """Returns the parts of the loss of each picture, (batch,), by name.

    Args:
        settings: How anchors and regions are matched.
        heads: What the network gives, see `zoo.tasks.places.detect.learnt`.
        truth: What is in the pictures.
        anchors: (anchors, 4) in pixels; `None` for a network that does not propose.
    """
    heads = {name: ops.cast(values, "float32") for name, values in heads.items()}
    truth = truth._replace(boxes=ops.cast(truth.boxes, "float32"))
    parts: dict[str, Any] = {}
    if "anchor_logits" in heads:
        parts |= _anchors(settings, heads, truth, ops.convert_to_tensor(anchors))
    return parts | _regions(settings, heads, truth)


def _anchors(
    settings: Settings, heads: Mapping[str, Any], truth: Truth, anchors: Any
) -> dict[str, Any]:
    found = match(
        anchors, truth, high=settings.anchor_positive, low=settings.anchor_negative, rescue=True
    )
    weights, count = drawn(found, settings.anchors, HALF)
    things = ops.binary_crossentropy(found.positive, heads["anchor_logits"], from_logits=True)
    own = _of(truth.boxes, found.which)
    offsets = encode(own, anchors, REGION_VARIANCE)
    far = smooth_l1(heads["anchor_offsets"] - offsets, ANCHOR_BETA)
    return {
        "anchor_loss": ops.sum(things * weights, axis=1) / count,
        "anchor_box_loss": ops.sum(far * weights * found.positive, axis=1) / count,
    }


def matched(settings: Settings, regions: Any, truth: Truth) -> tuple[Match, Any, Any]:
    """Returns what each region is, and what `drawn` says of them.

    Args:
        settings: How regions are matched.
        regions: (batch, n, 4) in pixels; those without an area are none.
        truth: What is in the pictures.
    """
    found = match(regions, truth, high=settings.region_positive, low=settings.region_positive)
    # Places that no proposal takes are none.
    sides = ops.min(regions[..., 2:] - regions[..., :2], axis=-1)
    real = ops.cast(sides >= SMALLEST, "float32")
    found = found._replace(positive=found.positive * real, negative=found.negative * real)
    return found, *drawn(found, regions.shape[1], settings.region_share)


def _regions(settings: Settings, heads: Mapping[str, Any], truth: Truth) -> dict[str, Any]:
    regions, logits = heads["regions"], heads["logits"]
    found, weights, count = matched(settings, regions, truth)
    own = ops.take_along_axis(truth.classes, found.which, axis=1)  # (batch, regions)
    classes = ops.where(found.positive > 0, own + 1, 0)
    kinds = ops.sparse_categorical_crossentropy(classes, logits, from_logits=True)
    offsets = _own_offsets(heads["offsets"], classes, logits.shape[-1])
    boxes = _of(truth.boxes, found.which)
    far = smooth_l1(offsets - encode(boxes, regions, BOX_VARIANCE), BOX_BETA)
    positive = weights * found.positive
    parts = {
        "class_loss": ops.sum(kinds * weights, axis=1) / count,
        "box_loss": ops.sum(far * positive, axis=1) / count,
    }
    if "masks" in heads and truth.instances is not None:
        # A background, where the masks have one, stands first and is never learnt.
        first = heads["masks"].shape[-1] - (logits.shape[-1] - 1)
        best = heads["masks"].shape[1]
        own, regions, which = own[:, :best] + first, regions[:, :best], found.which[:, :best]
        values = _mask_losses(heads["masks"], own, regions, which, truth.instances)
        positive = positive[:, :best]
        total = ops.maximum(ops.sum(positive, axis=1), 1e-6)
        parts["mask_loss"] = ops.sum(values * positive, axis=1) / total
    return parts


def _own_offsets(offsets: Any, classes: Any, count: int) -> Any:
    """The offsets of each region's own class, (batch, regions, 4)."""
    if offsets.shape[-1] == 4:
        return offsets
    each = ops.reshape(offsets, (-1, offsets.shape[1], count, 4))
    return ops.take_along_axis(each, classes[..., None, None], axis=2)[:, :, 0]


def _mask_losses(logits: Any, classes: Any, regions: Any, which: Any, instances: Any) -> Any:
    """The mean cross-entropy of the points of each region's mask, (batch, regions).

    The truth of a point is the nearest of 0 and 1 to a bilinear sample of the thing's pixels.
    """
    num, side = logits.shape[1:3]
    height, width = instances.shape[1:3]
    thing = ops.cast(instances, "int32")[:, None] == (which + 1)[..., None, None]
    low, size = regions[..., :2] - 0.5, regions[..., 2:] - regions[..., :2]
    at = (ops.arange(side, dtype="float32") + 0.5) / side
    rows, columns = (low[..., axis, None] + at * size[..., axis, None] for axis in (0, 1))
    tall, wide = hats(rows, height, side), hats(columns, width, side)
    # (batch, regions, side, height) by (batch, regions, height, width), and along the width
    points = ops.matmul(tall, ops.cast(thing, "float32"))
    points = ops.matmul(points, ops.transpose(wide, (0, 1, 3, 2)))
    truth = ops.cast(points >= HALF, "float32")
    own = ops.one_hot(classes, logits.shape[-1], dtype="float32")
    chosen = ops.sum(logits * own[:, :, None, None, :], axis=-1)
    values = ops.binary_crossentropy(truth, chosen, from_logits=True)
    return ops.mean(ops.reshape(values, (-1, num, side * side)), axis=-1)


def _of(boxes: Any, which: Any) -> Any:
    """The true box of each, (batch, n, 4)."""
    return ops.take_along_axis(boxes, which[..., None], axis=1)
