"""From scores and offsets to boxes: anchors, proposals, detections.

Sources: Ren et al. 2015, Faster R-CNN, arXiv:1506.01497, section 3.1; Lin et al. 2017,
arXiv:1612.03144, section 4.1 (anchors of a pyramid). Sizes are fixed and what is missing is zero,
so that one graph serves TFLite and ONNX. No gradient flows through a box, as in the paper.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import keras
import numpy as np
from keras import KerasTensor, ops
from keras.utils import bounding_boxes

from zoo.layers.places import PlacesLayer
from zoo.layers.suppression import pick, suppress

REGION_VARIANCE = (1.0, 1.0, 1.0, 1.0)
BOX_VARIANCE = (0.1, 0.1, 0.2, 0.2)  # of the offsets of the last boxes, Fast R-CNN's
LARGEST = math.log(1000 / 16)  # of the offsets of height and width
SMALLEST = 0.01  # side of a box in pixels; smaller ones are none


class Grid(NamedTuple):
    """The anchors of one map.

    Attributes:
        rows: Height of the map.
        columns: Width of the map.
        stride: Pixels between two places of the map.
        sizes: Square roots of the anchors' areas, in pixels.
        ratios: Their heights divided by their widths.
        centred: Whether they stand in the middle of a place's pixels, as large as asked for; else
            at its upper left corner with sides rounded to pixels, as in torchvision; those of the
            authors' code are rounded from its middle.
    """

    rows: int
    columns: int
    stride: int
    sizes: tuple[float, ...]
    ratios: tuple[float, ...]
    centred: bool = True

    @property
    def each(self) -> int:
        """Anchors at each place."""
        return len(self.sizes) * len(self.ratios)

    def anchors(self) -> np.ndarray:
        """Returns the anchors (rows * columns * each, 4), y1 x1 y2 x2 in pixels, float32.

        At each place by ratio, then by size, as torchvision orders them.
        """
        sides = [
            (size * math.sqrt(ratio), size / math.sqrt(ratio))
            for ratio in self.ratios
            for size in self.sizes
        ]
        halves = np.array(sides, np.float64) / 2
        edges = np.concatenate([-halves, halves], axis=1)
        if not self.centred:
            edges = np.round(edges)
        shift = 0.5 if self.centred else 0.0
        y, x = np.meshgrid(
            (np.arange(self.rows) + shift) * self.stride,
            (np.arange(self.columns) + shift) * self.stride,
            indexing="ij",
        )
        places = np.stack([y, x, y, x], axis=-1).reshape(-1, 1, 4)
        return (places + edges).reshape(-1, 4).astype(np.float32)


def encode(boxes: Any, anchors: Any, variance: Sequence[float]) -> Any:
    """Returns the offsets (..., n, 4) from anchors to boxes: of y, x, and logarithms of h, w.

    Args:
        boxes: (batch, n, 4) in pixels; one without area counts as one of a thousandth of a pixel.
        anchors: (n, 4) or (batch, n, 4).
        variance: What the offsets are divided by.
    """
    boxes, anchors = (_with_area(x) for x in (boxes, anchors))
    return bounding_boxes.encode_box_to_deltas(
        anchors,
        boxes,
        anchor_format="yxyx",
        box_format="yxyx",
        encoding_format="center_yxhw",
        variance=list(variance),
    )


def decode(offsets: Any, anchors: Any, variance: Sequence[float], side: tuple[int, int]) -> Any:
    """Returns boxes (batch, n, 4) within the picture, whose gradient is stopped.

    Args:
        offsets: (batch, n, 4), see `encode`.
        anchors: (n, 4) or (batch, n, 4).
        variance: What the offsets were divided by.
        side: Height and width of the picture.
    """
    limits = [LARGEST / variance[2], LARGEST / variance[3]]
    limit = ops.convert_to_tensor(limits, dtype=offsets.dtype)
    places, sizes = offsets[..., :2], ops.minimum(offsets[..., 2:], limit)
    boxes = bounding_boxes.decode_deltas_to_boxes(
        anchors,
        ops.concatenate([places, sizes], axis=-1),
        anchor_format="yxyx",
        box_format="yxyx",
        encoded_format="center_yxhw",
        variance=list(variance),
    )
    high = ops.convert_to_tensor([*side, *side], dtype=boxes.dtype)
    return ops.stop_gradient(ops.minimum(ops.maximum(boxes, 0.0), high))


@keras.saving.register_keras_serializable(package="zoo")
class Proposals(PlacesLayer):
    """The boxes that a region proposal network finds most likely to hold something.

    Shapes: a list of logits (batch, anchors) and offsets (batch, anchors, 4), those of each map
    behind one another, to boxes (batch, num, 4) in pixels, best first; zeros where there are fewer.
    Boxes of one map suppress one another, as in torchvision.

    Args:
        grids: Anchors of each map, finest first.
        side: Height and width of the picture.
        num: Number of boxes.
        candidates: Number of boxes of each map, the best, that are looked at.
        iou_threshold: Intersection over union above which the weaker box goes.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        grids: Sequence[Grid | Mapping[str, Any]],
        *,
        side: Sequence[int],
        num: int = 300,
        candidates: int = 1000,
        iou_threshold: float = 0.7,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.grids = tuple(
            grid if isinstance(grid, Grid) else Grid(**{**grid, **_tuples(grid)}) for grid in grids
        )
        self.side = (side[0], side[1])
        if min(num, candidates) < 1 or not 0 <= iou_threshold <= 1:
            raise ValueError(
                f"Proposals: got num {num}, candidates {candidates}, iou_threshold "
                f"{iou_threshold}; expected 1 or more each, and a threshold in [0, 1]."
            )
        self.num, self.candidates, self.iou_threshold = num, candidates, iou_threshold

    def anchors(self) -> np.ndarray:
        """Returns the anchors of all maps, (anchors, 4), y1 x1 y2 x2 in pixels."""
        return np.concatenate([grid.anchors() for grid in self.grids])

    def call(self, inputs: list[KerasTensor]) -> KerasTensor:
        """See the class."""
        logits, offsets = inputs
        found, start = [], 0
        for level, grid in enumerate(self.grids):
            anchors = grid.anchors()
            end = start + len(anchors)
            best, places = ops.top_k(logits[:, start:end], min(self.candidates, len(anchors)))
            own = ops.take(ops.convert_to_tensor(anchors), places, axis=0)  # (batch, best, 4)
            moved = pick(offsets[:, start:end], places)
            boxes = decode(moved, own, REGION_VARIANCE, self.side)
            found.append((boxes, ops.sigmoid(best), ops.full_like(places, level)))
            start = end
        boxes, scores, kinds = (ops.concatenate(x, axis=1) for x in zip(*found, strict=True))
        scores = scores * _large_enough(boxes)
        if len(self.grids) > 1:
            scores, order = ops.top_k(scores, scores.shape[1])
            boxes, kinds = pick(boxes, order), ops.take_along_axis(kinds, order, axis=1)
        boxes, _, _ = suppress(
            boxes,
            scores,
            ops.cast(kinds, "int32"),
            max_outputs=self.num,
            iou_threshold=self.iou_threshold,
        )
        return ops.stop_gradient(boxes)

    def compute_output_spec(self, inputs: list[KerasTensor]) -> KerasTensor:
        """The shape of the boxes."""
        return KerasTensor((inputs[0].shape[0], self.num, 4), self.compute_dtype)

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "grids": [grid._asdict() for grid in self.grids],
            "side": self.side,
            "num": self.num,
            "candidates": self.candidates,
            "iou_threshold": self.iou_threshold,
        }


@keras.saving.register_keras_serializable(package="zoo")
class Detections(PlacesLayer):
    """The answer of a detector: the best boxes of each class.

    Shapes: a list of logits (batch, regions, 1 + classes), the background first, offsets (batch,
    regions, 4), or (batch, regions, 4 * (1 + classes)) where each class has its own, and regions
    (batch, regions, 4) in pixels, to a list of boxes (batch, num, 4) in pixels, scores (batch, num)
    by falling score, and classes (batch, num), int32. Where there are fewer the box and the score
    are zeros and the class is -1. With codes of the regions (batch, regions, units) as the last
    input, those of the boxes' regions (batch, num, units) are the last output.

    Args:
        side: Height and width of the picture.
        num: Number of boxes.
        candidates: Number of pairs of a box and a class, the best, that are looked at.
        iou_threshold: Intersection over union above which the weaker box of a class goes.
        score_threshold: Boxes with this score or less are none.
        **kwargs: Keyword arguments of `keras.layers.Layer`.
    """

    def __init__(
        self,
        *,
        side: Sequence[int],
        num: int = 100,
        candidates: int = 400,
        iou_threshold: float = 0.5,
        score_threshold: float = 0.05,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.side = (side[0], side[1])
        if min(num, candidates) < 1 or not 0 <= iou_threshold <= 1 or score_threshold < 0:
            raise ValueError(
                f"Detections: got num {num}, candidates {candidates}, iou_threshold "
                f"{iou_threshold}, score_threshold {score_threshold}; expected 1 or more, 1 or "
                "more, a threshold in [0, 1], and one of at least 0."
            )
        self.num, self.candidates = num, candidates
        self.iou_threshold, self.score_threshold = iou_threshold, score_threshold

    def call(self, inputs: list[KerasTensor]) -> list[KerasTensor]:
        """See the class."""
        logits, offsets, regions, *codes = inputs
        num, classes = logits.shape[1], logits.shape[2] - 1
        scores = ops.softmax(logits, axis=-1)[..., 1:]  # (batch, regions, classes)
        # A region that is none has no area.
        scores = scores * _large_enough(regions)[..., None]
        count = min(self.candidates, num * classes)
        best, places = ops.top_k(ops.reshape(scores, (-1, num * classes)), count)
        region, kinds = ops.floor_divide(places, classes), ops.mod(places, classes)
        if offsets.shape[-1] != 4:
            # The background's offsets stand first and say nothing.
            offsets = ops.reshape(offsets, (-1, num * (classes + 1), 4))
            moved = pick(offsets, region * (classes + 1) + 1 + kinds)
        else:
            moved = pick(offsets, region)
        boxes = decode(moved, pick(regions, region), BOX_VARIANCE, self.side)
        rows = boxes
        if codes:  # which region it is goes with a box
            rows = ops.concatenate([boxes, ops.cast(region, boxes.dtype)[..., None]], axis=-1)
        rows, scores, kinds = suppress(
            rows,
            best * _large_enough(boxes),
            ops.cast(kinds, "int32"),
            max_outputs=self.num,
            iou_threshold=self.iou_threshold,
            score_threshold=self.score_threshold,
        )
        empty = ops.cast(scores <= 0, "int32")
        found = [rows[..., :4], scores, kinds - empty]
        if codes:
            there = ops.cast(scores > 0, codes[0].dtype)[..., None]
            found.append(pick(codes[0], ops.cast(rows[..., 4], "int32")) * there)
        return found

    def compute_output_spec(self, inputs: list[KerasTensor]) -> list[KerasTensor]:
        """The shapes of boxes, scores and classes, and of codes."""
        shape = (inputs[0].shape[0], self.num)
        found = [
            KerasTensor((*shape, 4), self.compute_dtype),
            KerasTensor(shape, self.compute_dtype),
            KerasTensor(shape, "int32"),
        ]
        return found + [KerasTensor((*shape, x.shape[-1]), self.compute_dtype) for x in inputs[3:]]

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "side": self.side,
            "num": self.num,
            "candidates": self.candidates,
            "iou_threshold": self.iou_threshold,
            "score_threshold": self.score_threshold,
        }


def _large_enough(boxes: Any) -> Any:
    """1 for a box with an area, else 0: (...)."""
    sides = boxes[..., 2:] - boxes[..., :2]
    return ops.cast(ops.min(sides, axis=-1) >= SMALLEST, boxes.dtype)


def _with_area(boxes: Any) -> Any:
    low = boxes[..., :2]
    return ops.concatenate([low, ops.maximum(boxes[..., 2:], low + 1e-3)], axis=-1)


def _tuples(grid: Mapping[str, Any]) -> dict[str, tuple[float, ...]]:
    """What JSON made lists of."""
    return {name: tuple(grid[name]) for name in ("sizes", "ratios")}
