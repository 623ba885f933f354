"""A graph transformer network: which segments a line falls into, and what each is, learnt as one.

Source: LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document
recognition, Proceedings of the IEEE 86(11), sections V to VII: a lattice of segments of a line, a
recogniser on its arcs, and discriminative forward training, whose loss is the sum over all paths
less the sum over the paths that say the true labels (section VI.E; in logarithms). What is read is
what the best path says.
Differs: cuts are at every few columns in the place of a heuristic's; arcs are not told of by the
cut.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.common.columns import Column
from zoo.common.tensors import LOGITS, TOKENS
from zoo.tasks.sequences.transcribe import Transcribe
from zoo.tasks.task import Mean

if TYPE_CHECKING:
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch


class SegmentLattice(Transcribe):
    """The task of a recogniser on the arcs of a lattice of segments.

    Attributes:
        beam: Not used: the best path is exact.
    """

    measured_by: ClassVar[tuple[str, ...]] = ()

    kind: Literal["segment_lattice"] = "segment_lattice"  # type: ignore[assignment]

    def needed(self, labels: np.ndarray) -> np.ndarray:
        """See `Transcribe.needed`: each is a segment."""
        return (labels != 0).sum(axis=1)

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: a score for each class of each arc."""
        return {LOGITS: data.columns[TOKENS]._replace(shape=(1,))}

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: nats of each line."""
        from keras import ops

        from zoo.tasks.sequences import lattice

        scores = ops.cast(outputs, "float32")  # (b, nodes, spans, classes)
        return Mean(lattice.total(scores) - lattice.of_labels(scores, batch[TOKENS]))

    def read(self, outputs: np.ndarray) -> list[list[int]]:
        """See `Transcribe.read`: what the best path says."""
        from zoo.tasks.sequences import lattice

        return [[label for _, _, label in path if label] for path in lattice.best(outputs)]
