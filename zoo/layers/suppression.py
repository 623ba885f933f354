"""Non-maximum suppression without a loop, so that it exports everywhere and takes a batch.

Source: Zheng et al. 2020, arXiv:2005.03572, Cluster-NMS: over boxes in falling order of score, with
X_ij = 1 where box i stands before j, has its class and overlaps it by more than the threshold,
keep_j = 1 - max_i(keep_i X_ij), again and again. Each step settles at least one more box of every
chain of boxes that suppress one another; then the result is that of the greedy loop.
"""

from __future__ import annotations

from typing import Any

import keras
from keras import KerasTensor, ops

from zoo.layers.places import PlacesLayer

Shape = tuple[Any, ...]


@keras.saving.register_keras_serializable(package="zoo")
class NonMaxSuppression(PlacesLayer):
    """Keeps the best of the boxes that overlap, within each class.

    Shapes: a list of boxes (batch, boxes, 4), as y1, x1, y2, x2 in any unit, and scores (batch,
    boxes, classes), to a list of boxes (batch, max_outputs, 4), scores (batch, max_outputs), by
    falling score, and classes (batch, max_outputs), int32. Places that no box takes are zeros. The
    number of boxes and of classes must be known.

    Args:
        max_outputs: Number of boxes to return.
        iou_threshold: Intersection over union above which the weaker box goes, in [0, 1].
        score_threshold: Boxes with this score or less are none, at least 0.
        candidates: Number of pairs of a box and a class, the best, that are looked at.
        steps: Steps of the iteration. Chains of more boxes than this, each suppressed by the one
            before, may keep a box that the greedy loop drops, or drop one that it keeps.
        **kwargs: Keyword arguments of `keras.layers.Layer`.

    Raises:
        ValueError: A number is out of its range.
    """

    def __init__(
        self,
        max_outputs: int = 100,
        *,
        iou_threshold: float = 0.5,
        score_threshold: float = 0.0,
        candidates: int = 200,
        steps: int = 16,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        for name, value in (("max_outputs", max_outputs), ("steps", steps)):
            if value < 1:
                raise ValueError(f"NonMaxSuppression: {name} got {value}; expected at least 1.")
        if candidates < max_outputs:
            raise ValueError(
                f"NonMaxSuppression: candidates got {candidates}; expected at least max_outputs,"
                f" {max_outputs}."
            )
        if not 0 <= iou_threshold <= 1 or score_threshold < 0:
            raise ValueError(
                f"NonMaxSuppression: got iou_threshold {iou_threshold}, score_threshold"
                f" {score_threshold}; expected one in [0, 1], and one of at least 0."
            )
        self.max_outputs, self.candidates, self.steps = max_outputs, candidates, steps
        self.iou_threshold, self.score_threshold = iou_threshold, score_threshold

    def call(self, inputs: list[KerasTensor]) -> list[KerasTensor]:
        """See the class."""
        boxes, scores = inputs
        num, classes = scores.shape[1:]
        count = min(self.candidates, num * classes)
        best, places = ops.top_k(ops.reshape(scores, (-1, num * classes)), count)
        kinds = ops.mod(places, classes)  # (batch, count)
        boxes = pick(boxes, ops.floor_divide(places, classes))  # (batch, count, 4)
        return list(
            suppress(
                boxes,
                best,
                kinds,
                max_outputs=self.max_outputs,
                iou_threshold=self.iou_threshold,
                score_threshold=self.score_threshold,
                steps=self.steps,
            )
        )

    def compute_output_shape(self, input_shape: list[Shape]) -> list[Shape]:
        """The shapes of boxes, scores and classes."""
        shape = (input_shape[0][0], self.max_outputs)
        return [(*shape, 4), shape, shape]

    def compute_output_spec(self, inputs: list[KerasTensor]) -> list[KerasTensor]:
        """See `compute_output_shape`; the classes are int32."""
        boxes, scores, classes = self.compute_output_shape([x.shape for x in inputs])
        kinds = (self.compute_dtype, self.compute_dtype, "int32")
        return [
            KerasTensor(shape, kind)
            for shape, kind in zip((boxes, scores, classes), kinds, strict=True)
        ]

    def get_config(self) -> dict[str, Any]:
        """The arguments that build this layer again."""
        return {
            **super().get_config(),
            "max_outputs": self.max_outputs,
            "iou_threshold": self.iou_threshold,
            "score_threshold": self.score_threshold,
            "candidates": self.candidates,
            "steps": self.steps,
        }


def suppress(
    boxes: KerasTensor,
    scores: KerasTensor,
    kinds: KerasTensor,
    *,
    max_outputs: int,
    iou_threshold: float,
    score_threshold: float = 0.0,
    steps: int = 16,
) -> tuple[KerasTensor, KerasTensor, KerasTensor]:
    """Keeps the best of the boxes of a kind that overlap.

    Args:
        boxes: Candidates by falling score, (batch, count, 4), as y1, x1, y2, x2 in any unit; more
            numbers behind these go with their box.
        scores: Their scores (batch, count).
        kinds: What each is, (batch, count), int32; only boxes of one kind suppress one another.
        max_outputs: Number of boxes to return.
        iou_threshold: See `NonMaxSuppression`.
        score_threshold: See `NonMaxSuppression`.
        steps: See `NonMaxSuppression`.

    Returns:
        Boxes (batch, max_outputs, 4), or more as they were given, scores and kinds (batch,
        max_outputs), by falling score; zeros where no box is.
    """
    count = scores.shape[1]
    alive = ops.cast(scores > score_threshold, boxes.dtype)
    blocks = _blocks(boxes, kinds, iou_threshold)  # (batch, count, count)
    keep = ops.ones_like(scores)
    for _ in range(min(steps, count)):
        keep = 1 - ops.max(ops.expand_dims(keep, 2) * blocks, axis=1)
    outputs = min(max_outputs, count)
    best, places = ops.top_k(scores * keep * alive, outputs)
    found = ops.cast(best > score_threshold, boxes.dtype)
    rows = pick(boxes, places) * ops.expand_dims(found, -1)
    kinds = ops.take_along_axis(kinds, places, axis=1) * ops.cast(found, "int32")
    spare = max_outputs - outputs
    return (
        ops.pad(rows, [[0, 0], [0, spare], [0, 0]]),
        ops.pad(best * found, [[0, 0], [0, spare]]),
        ops.pad(kinds, [[0, 0], [0, spare]]),
    )


def pick(rows: KerasTensor, places: KerasTensor) -> KerasTensor:
    """Returns the rows (batch, places, n) at some places (batch, places) of (batch, rows, n)."""
    return ops.take_along_axis(rows, ops.expand_dims(places, -1), axis=1)


def _blocks(boxes: KerasTensor, kinds: KerasTensor, iou_threshold: float) -> KerasTensor:
    """Whether box i, if it is kept, suppresses j: (batch, i, j), 0 or 1."""
    top, left, bottom, right = (boxes[..., side] for side in range(4))

    def between(high: KerasTensor, low: KerasTensor) -> KerasTensor:
        shared = ops.minimum(ops.expand_dims(high, 2), ops.expand_dims(high, 1))
        begin = ops.maximum(ops.expand_dims(low, 2), ops.expand_dims(low, 1))
        return ops.maximum(shared - begin, 0)

    inside = between(bottom, top) * between(right, left)
    area = (bottom - top) * (right - left)
    union = ops.expand_dims(area, 2) + ops.expand_dims(area, 1) - inside
    # Not divided: two boxes without an area have no union.
    overlap = ops.cast(inside > iou_threshold * union, boxes.dtype)
    same = ops.cast(ops.equal(ops.expand_dims(kinds, 2), ops.expand_dims(kinds, 1)), boxes.dtype)
    order = ops.arange(kinds.shape[1])
    before = ops.cast(ops.expand_dims(order, 1) < ops.expand_dims(order, 0), boxes.dtype)
    return overlap * same * before
