"""What classifiers of words share, and a machine that knows no order, measured beside them.

This baseline is linear, of which words there are, and of two texts, of which word of one stands
with which of the other: the lexical features of Bowman et al. 2015, arXiv:1508.05326, section 3.2,
without their pairs of neighbours. It learns from the training part when a model is measured.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, ClassVar
from weakref import WeakKeyDictionary

from zoo.common.tensors import LABEL, TOKENS
from zoo.tasks.labels.classify import Classify
from zoo.tasks.supervised import Collected
from zoo.tasks.task import Evaluation

if TYPE_CHECKING:
    import numpy as np

    from zoo.data.dataset import DataSet
    from zoo.tasks.task import Networks

PAIRS = 1 << 20  # pairs of words that are told apart
BLOCK = 512  # texts whose pairs are listed at once


class Worded(Classify):
    """The task of a classifier of words; `reads` are the columns that it needs."""

    reads: ClassVar[Mapping[str, str]] = {TOKENS: "tokens"}

    def check(self, data: DataSet) -> None:
        """See `Task.check`."""
        super().check(data)
        for name, kind in self.reads.items():
            if name not in data.columns or data.columns[name].kind != kind:
                has = ", ".join(f"{key} ({column.kind})" for key, column in data.columns.items())
                raise ValueError(
                    f"task.kind: got {self.kind}, which reads {name} ({kind}); {data.name} has "
                    f"{has}. Take another data set, or another task.kind."
                )

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """See `Task.needs`."""
        return (*self.reads, LABEL)

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """See `Task.sizes`."""
        return super().sizes(data) | {"vocabulary": len(data.columns[TOKENS].names)}

    def meter_with(self, data: DataSet, networks: Networks) -> Beside:
        """See `Task.meter_with`: the baselines are measured beside the model."""
        return Beside(self, data)


class Beside(Collected):
    """A meter of the answers, and of what needs no order of words.

    Args:
        task: Scores.
        data: Whose training part the baselines learn from.
    """

    def __init__(self, task: Worded, data: DataSet) -> None:
        super().__init__(task, data.columns)
        self._data = data
        self._texts = [name for name, kind in task.reads.items() if kind == "tokens"]
        self._words: list[list[np.ndarray]] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        super().add(batch, outputs)
        self._words.append([batch[name] for name in self._texts])

    def result(self) -> Evaluation:
        """Returns what `Classify.score` does, and the top-1 of `bag_of_words` and `majority`."""
        import numpy as np

        found = super().result()
        machine, often = _fitted(self._data, tuple(self._texts))
        labels = np.concatenate([one[LABEL] for one in self._targets])
        words = [np.concatenate(one) for one in zip(*self._words, strict=True)]
        guesses = machine.predict(counted(words, len(self._data.columns[TOKENS].names)))
        more = {
            "bag_of_words": float((guesses == labels).mean()),
            "majority": float((labels == often).mean()),
        }
        return Evaluation({**found.metrics, **more}, found.tables, found.pictures)


_FITTED: WeakKeyDictionary[Any, dict[tuple[str, ...], tuple[Any, int]]] = WeakKeyDictionary()


def _fitted(data: DataSet, texts: tuple[str, ...]) -> tuple[Any, int]:
    """The linear machine of a data set's words, and its commonest label; kept as long as the set.

    Args:
        data: Whose training part is learnt from.
        texts: Names of one or two columns.
    """
    import numpy as np
    from sklearn.linear_model import SGDClassifier

    known = _FITTED.setdefault(data, {})
    if texts not in known:
        labels = data.train[LABEL]
        machine = SGDClassifier(loss="log_loss", alpha=1e-5, average=True, random_state=0)
        words = [data.train[name] for name in texts]
        machine.fit(counted(words, len(data.columns[TOKENS].names)), labels)
        known[texts] = machine, int(np.bincount(labels).argmax())
    return known[texts]


def counted(texts: list[np.ndarray], size: int) -> Any:
    """Returns sparse counts of the words of each text, and which pairs of words of two texts.

    Time and memory are those of the pairs that occur: where there could be more than `PAIRS`
    different ones, a hash of them is told apart.

    Args:
        texts: One or two of indices (n, time), 0 for padding.
        size: Words of the vocabulary.
    """
    import numpy as np
    from scipy.sparse import csr_matrix, hstack, vstack

    num, parts = len(texts[0]), []
    for text in texts:
        rows, places = np.nonzero(text)
        ones = np.ones(len(rows), np.float32)
        parts.append(csr_matrix((ones, (rows, text[rows, places])), (num, size)))
    if len(texts) == 2:
        one, other = texts
        blocks = [slice(at, at + BLOCK) for at in range(0, num, BLOCK)]
        pairs = [_paired(one[block], other[block], size) for block in blocks]
        parts.append(vstack(pairs, format="csr"))
    return hstack(parts, format="csr")


def _paired(one: np.ndarray, other: np.ndarray, size: int) -> Any:
    """Which pairs of a word of one text and a word of the other occur, sparse."""
    import numpy as np
    from scipy.sparse import csr_matrix

    rows, left, right = np.nonzero((one[:, :, None] != 0) & (other[:, None, :] != 0))
    firsts, seconds = (x.astype(np.uint64) for x in (one[rows, left], other[rows, right]))
    pairs = firsts * np.uint64(size) + seconds
    if size * size > PAIRS:  # the upper bits of a product with 2^64 / golden ratio
        pairs = (pairs * np.uint64(0x9E3779B97F4A7C15)) >> np.uint64(64 - PAIRS.bit_length() + 1)
    shape = (len(one), min(size * size, PAIRS))
    found = csr_matrix((np.ones(len(rows), np.float32), (rows, pairs.astype(np.int64))), shape)
    found.sum_duplicates()
    found.data[:] = 1
    return found
