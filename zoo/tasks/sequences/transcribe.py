"""Transcription: the labels of a signal, in their order, without a word of where they are.

Source: Graves, Fernandez, Gomez & Schmidhuber 2006, Connectionist temporal classification:
labelling unsegmented sequence data with recurrent neural networks, ICML 23. A network says at each
place how likely each label is, or the blank; the loss is the negative logarithm of the sum over all
paths that come to the true labels. Index 0 is the blank, and the padding behind the labels.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.common.tensors import LOGITS, TOKENS
from zoo.tasks.supervised import Supervised
from zoo.tasks.task import Mean, Metric

if TYPE_CHECKING:
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.tasks.sequences.transcripts import Transcripts
    from zoo.tasks.task import Batch, Networks


class Transcribe(Supervised):
    """The task of a network that transcribes by connectionist temporal classification.

    Attributes:
        beam: Labellings that are kept while it is measured; 1 takes the likeliest path.
    """

    headline: ClassVar[Metric] = Metric("label_error", higher=False, fraction=True)
    targets: ClassVar[Mapping[str, str]] = {TOKENS: "tokens"}
    measured_by: ClassVar[tuple[str, ...]] = ("beam",)

    kind: Literal["transcribe"] = "transcribe"
    beam: Annotated[int, Field(ge=1)] = 1

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        source, names = data.columns[data.input], data.columns[TOKENS].names
        if source.kind != "series" or names[:1] != ("",):
            raise ValueError(
                f"task.kind: got {self.kind}, which learns the labels of a signal, of a vocabulary "
                f"that begins with '', the padding; {data.name} has {data.input} ({source.kind}) "
                f"and labels that begin with {names[:1]}. Take another data set, e.g. digit_lines."
            )

    def check_networks(self, data: DataSet, networks: Networks) -> None:
        """See `Task.check_networks`: each line must have places for its labels."""
        from zoo.data.dataset import Split

        super().check_networks(data, networks)
        places = networks["net"].output_shape[1]
        for split in (data.train, data.validation, data.test):
            if places is None or not isinstance(split, Split):
                continue  # of any length, or read from the disk
            labels = split[TOKENS]
            needed = self.needed(labels)
            row = int(needed.argmax())
            if needed[row] > places:
                raise ValueError(
                    f"{data.name}: got a line of {int((labels[row] != 0).sum())} labels, which "
                    f"take {int(needed[row])} places; expected {places} at most, all that "
                    f"{networks['net'].name} has of a signal. Make settings.together smaller, or "
                    "the lines shorter."
                )

    def needed(self, labels: np.ndarray) -> np.ndarray:
        """Returns the places that labels (n, most) take, (n,): between two alike is a blank."""
        alike = (labels[:, 1:] == labels[:, :-1]) & (labels[:, 1:] != 0)
        return (labels != 0).sum(axis=1) + alike.sum(axis=1)

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: an output for each label, and for the blank."""
        return {**super().sizes(data), "num_classes": len(data.columns[TOKENS].names)}

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: a score for each label, the first of the blank."""
        return {LOGITS: data.columns[TOKENS]._replace(shape=(1,))}

    def loss_of(self, batch: Batch, outputs: Any) -> Mean:
        """See `Supervised.loss_of`: nats of each line."""
        from keras import ops

        labels = batch[TOKENS]
        logits = ops.cast(outputs, "float32")  # (b, time, classes)
        counts = ops.sum(ops.cast(labels != 0, "int32"), axis=-1)
        times = ops.full_like(counts, 1) * ops.shape(logits)[1]
        return Mean(ops.ctc_loss(labels, logits, counts, times, mask_index=0))

    def read(self, outputs: np.ndarray) -> list[list[int]]:
        """Returns the labels of each signal, by what the network answers (n, time, classes)."""
        from zoo.tasks.sequences import decoding

        if self.beam == 1:
            return decoding.best_paths(outputs)
        return [list(decoding.beam(one, width=self.beam)[0].labels) for one in outputs]

    def meter(self, columns: Mapping[str, Column]) -> Transcripts:  # type: ignore[override]
        """See `Task.meter`."""
        from zoo.tasks.sequences.transcripts import Transcripts

        return Transcripts(self.read, self.loss_of, columns)
