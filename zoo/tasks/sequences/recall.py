"""Recall: bits that are to be said at the places of a signal where an answer is expected.

Source: Graves, Wayne & Danihelka 2014, Neural Turing Machines, arXiv:1410.5401, section 4: the
cross-entropy of the bits; figures 3 to 5 and 12 to 18 count bits of a sequence, and wrong ones.

The network is one step (`zoo.models.step`), run along the signal. It is deployed as it is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal

from zoo.common.columns import Column
from zoo.common.tensors import LOGITS, NEXT, SERIES
from zoo.tasks.task import Evaluation, Mean, Metric, Seen, Task

if TYPE_CHECKING:
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Batch, Networks

ANSWER, ASKED, LENGTH = "answer", "asked", "length"
KINDS = {SERIES: "series", ANSWER: "series", ASKED: "features", LENGTH: "count"}

WRONG, BEYOND = "wrong_bits", "wrong_bits_beyond"  # of a sequence; of one longer than any learnt


class Recall(Task):
    """The task of a step that reads a signal and answers with bits.

    The data have `series` (time, features), `answer` (time, bits), `asked` (time,) and `length`, by
    which sequences are told apart; those longer than any of the training part are measured apart.
    """

    headline: ClassVar[Metric] = Metric(WRONG, higher=False)
    deployed_answers: ClassVar[bool] = True

    kind: Literal["recall"] = "recall"

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        for name, kind in KINDS.items():
            if name not in data.columns or data.columns[name].kind != kind:
                has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
                raise ValueError(
                    f"task.kind: got recall, which reads {name} ({kind}); {data.name} has {has}. "
                    "Take another data set, e.g. copy."
                )

    def figure(
        self, metrics: Mapping[str, float], tables: Mapping[str, Any]
    ) -> tuple[str, int | None]:
        """See `Task.figure`: of sequences longer than any that was learnt from, where there are."""
        lengths = tables.get("lengths", ())
        if BEYOND in metrics:
            return BEYOND, lengths[-1]["sequences"] if lengths else None
        return WRONG, sum(row["sequences"] for row in lengths) or None

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`: an output for each bit."""
        bits = data.columns[ANSWER].shape[-1]
        return {"input_shape": data.columns[SERIES].shape, "num_classes": bits}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the cross-entropy of each bit that is asked for, in nats."""
        from keras import ops

        logits = _logits(networks, batch, training=training)
        nats = ops.binary_crossentropy(batch[ANSWER], logits, from_logits=True)
        asked = ops.broadcast_to(batch[ASKED][..., None], ops.shape(nats))  # (b, time, bits)
        wrong = ops.cast((logits > 0) != (batch[ANSWER] > 0.5), "float32")
        of_each = ops.sum(wrong * asked, axis=(1, 2))
        return Seen(Mean(nats, asked), {WRONG: Mean(of_each)})

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: logits (b, time, bits)."""
        return _logits(networks, batch, training=False)

    def meter(self, columns: Mapping[str, Column]) -> Bits:
        """See `Task.meter`."""
        return Bits()

    def meter_of(self, data: DataSet) -> Bits:
        """See `Task.meter_of`: the longest sequence of the training part is known."""
        return Bits(int(data.train[LENGTH].max()))

    def pictures(
        self, networks: Networks, meter: Any, columns: Mapping[str, Column]
    ) -> Mapping[str, Callable[[Path], None]]:
        """See `Task.pictures`: what is read, said and attended to along the last sequence."""
        from zoo.tasks.sequences.attention import draw_attention

        if meter.last is None:
            return {}
        return {"attention": partial(draw_attention, networks["net"], *meter.last)}

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """See `Task.outputs`: a score for each bit."""
        bits = data.columns[ANSWER].shape[-1]
        return {LOGITS: Column("features", (bits,))}

    def states(self, networks: Networks) -> dict[str, Column]:
        """See `Task.states`."""
        from zoo.models import step

        known = step.states(networks["net"]) if networks else {}
        return {name: Column("features", (units,)) for name, units in known.items()}

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """See `Task.inputs`: of each sequence one place, with the states of a run up to there.

        The place is a function of the sequence. States drawn at random are not what a step meets.
        """
        import numpy as np
        from keras import ops

        from zoo.models import step as steps

        step, series = networks["net"], columns[SERIES]
        found = steps.through_time(step, ops.convert_to_tensor(series))
        used = columns[ASKED].shape[1] - columns[ASKED][:, ::-1].argmax(axis=1)
        rows = np.arange(len(series))
        places = columns[ANSWER].sum(axis=(1, 2)).astype(int) % used
        given = {SERIES: series[rows, places][:, None]}  # (n, 1, features)
        for name in steps.states(step):
            values = ops.convert_to_numpy(found[NEXT + name])  # (n, time, units)
            started = (places > 0)[:, None]
            given[name] = np.where(started, values[rows, places - 1], 0).astype("float32")
        return given

    def asked(
        self,
        call: Callable[[Mapping[str, np.ndarray]], Mapping[str, np.ndarray]],
        networks: Networks,
        columns: Mapping[str, np.ndarray],
    ) -> Any:
        """See `Task.asked`: the step is run along each sequence."""
        import numpy as np

        from zoo.models import step as steps

        series, widths = columns[SERIES], steps.states(networks["net"])
        known = {name: np.zeros((len(series), n), "float32") for name, n in widths.items()}
        logits = []
        for place in range(series.shape[1]):
            found = call({SERIES: series[:, place : place + 1], **known})
            known = {name: found[NEXT + name] for name in widths}
            logits.append(found[LOGITS])
        return np.stack(logits, axis=1)  # (n, time, bits)


def _logits(networks: Networks, batch: Batch, *, training: bool) -> Any:
    from keras import ops

    from zoo.models.step import logits_of

    return ops.cast(logits_of(networks["net"], batch[SERIES], training=training), "float32")


class Bits:
    """A meter that counts the bits of each sequence, by its length, in float64.

    Args:
        longest: Of the sequences to learn from; `None` where it is not known.
    """

    def __init__(self, longest: int | None = None) -> None:
        self._longest = longest
        self._rows: list[tuple[int, float, int, int]] = []  # length, cost in bits, wrong, asked
        self.last: tuple[np.ndarray, np.ndarray, np.ndarray] | None = None

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        import numpy as np

        logits, answer = outputs.astype("float64"), batch[ANSWER]
        asked = batch[ASKED][..., None] * np.ones(answer.shape[-1])  # (n, time, bits)
        cost = np.logaddexp(0, np.where(answer > 0.5, -logits, logits)) / np.log(2)
        wrong = (logits > 0) != (answer > 0.5)
        columns = ((values * asked).sum(axis=(1, 2)) for values in (cost, wrong, 1))
        self._rows += zip(batch[LENGTH].tolist(), *(c.tolist() for c in columns), strict=True)
        self.last = batch[SERIES][-1], answer[-1], batch[ASKED][-1]

    def result(self) -> Evaluation:
        """Returns what was measured.

        Of sequences no longer than those of the training: `loss`, nats of a bit;
        `bits_per_sequence`, what it costs to tell the answer; `wrong_bits` of a sequence, and
        `exact`, the share of those without any. Of the longest of them and of the longest of all:
        `wrong_bits_longest` and `wrong_bits_beyond`. The table `lengths` has each length.
        """
        import numpy as np

        length, cost, wrong, asked = np.array(self._rows).T
        known = length <= (self._longest or length.max())
        metrics = {
            "loss": float(cost[known].sum() / asked[known].sum() * np.log(2)),
            WRONG: float(wrong[known].mean()),
            "bits_per_sequence": float(cost[known].mean()),
            "exact": float((wrong[known] == 0).mean()),
            "wrong_bits_longest": float(wrong[length == length[known].max()].mean()),
        }
        if not known.all():
            metrics[BEYOND] = float(wrong[length == length.max()].mean())
        lengths = [
            {
                "length": int(one),
                "sequences": int((length == one).sum()),
                "bits": float(asked[length == one].mean()),
                "cost": float(cost[length == one].mean()),
                "wrong_bits": float(wrong[length == one].mean()),
            }
            for one in np.unique(length)
        ]
        return Evaluation(metrics, {"lengths": lengths})
