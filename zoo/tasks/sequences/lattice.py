"""Sums and maxima over all paths of a lattice of segments: what transforms graphs, differentiably.

Source: LeCun, Bottou, Bengio & Haffner 1998, Gradient-based learning applied to document
recognition, Proceedings of the IEEE 86(11), sections V and VI; their penalties are scores here,
with the other sign.

A lattice has the nodes 0 to N of a line, and arcs of 1 to S places: `scores[n, s, c]` is that of
the arc from node n over s + 1 places with class c. Class 0 is nothing, which an arc of one place
alone may carry. A path goes from node 0 to node N, and says the classes of its arcs but nothing.
Arcs that reach beyond N are in the array, but on no path.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from keras import ops

IMPOSSIBLE = -1e9  # score of what is on no path; finite, so that gradients are


def total(scores: Any) -> Any:
    """Returns the logarithm of the sum over all paths of exp(score), (b,).

    Args:
        scores: (b, nodes, spans, classes).
    """
    labelled = ops.logsumexp(scores[..., 1:], axis=-1)  # (b, nodes, spans)
    nothing, spans = scores[:, :, 0, 0], scores.shape[2]
    sums = [ops.zeros_like(nothing[:, 0])]
    for node in range(1, scores.shape[1] + 1):
        parts = [sums[node - 1] + nothing[:, node - 1]]
        parts += [
            sums[node - span] + labelled[:, node - span, span - 1]
            for span in range(1, min(spans, node) + 1)
        ]
        sums.append(ops.logsumexp(ops.stack(parts), axis=0))
    return sums[-1]


def of_labels(scores: Any, labels: Any, *, apart: bool = False) -> Any:
    """Returns the logarithm of the sum over the paths that say these labels, (b,).

    Args:
        scores: (b, nodes, spans, classes).
        labels: (b, most), int32, zeros behind the last.
        apart: Whether two equal labels have nothing between them at least. With scores as of
            `runs` this is the sum of connectionist temporal classification.
    """
    nodes, spans, classes = scores.shape[1:]
    chosen = ops.cast(ops.one_hot(labels, classes), scores.dtype)  # (b, most, classes)
    arcs = ops.einsum("bnsc,blc->bnsl", scores, chosen)
    nothing = scores[:, :, 0, 0]
    never = ops.zeros_like(arcs[:, 0, 0, :1]) + IMPOSSIBLE  # (b, 1)
    rest = ops.zeros_like(arcs[:, 0, 0]) + IMPOSSIBLE  # (b, most)
    again = None
    if apart:
        before = ops.pad(labels[:, :-1], [[0, 0], [1, 0]])
        again = ops.cast(labels == before, scores.dtype)  # (b, most)
    # Sums of the paths to a node that said so many labels: behind nothing, and behind a label.
    idle = [ops.concatenate([ops.zeros_like(never), rest], axis=1)]  # (b, 1 + most)
    ended = [ops.concatenate([never, rest], axis=1)]
    for node in range(1, nodes + 1):
        either = ops.logaddexp(idle[node - 1], ended[node - 1])
        idle.append(either + nothing[:, node - 1, None])
        parts = []
        for span in range(1, min(spans, node) + 1):
            start = node - span
            known = ops.logaddexp(idle[start], ended[start])[:, :-1]  # (b, most)
            if again is not None:
                known = known + again * (idle[start][:, :-1] - known)
            parts.append(known + arcs[:, start, span - 1])
        ended.append(ops.concatenate([never, ops.logsumexp(ops.stack(parts), axis=0)], axis=1))
    sums = ops.logaddexp(idle[-1], ended[-1])
    counts = ops.sum(ops.cast(labels != 0, "int32"), axis=1)
    last = ops.cast(ops.one_hot(counts, sums.shape[1]), sums.dtype)
    return ops.sum(last * sums, axis=1)


def runs(logs: Any) -> Any:
    """Returns the lattice whose paths are those of connectionist temporal classification.

    An arc over some places with a label says it at each of them, so its score is their sum.

    Args:
        logs: Logarithms of probabilities (b, places, classes); the first class is the blank.

    Returns:
        Scores (b, places, places, classes), to be summed with `apart`.
    """
    places = logs.shape[1]
    sums = ops.pad(ops.cumsum(logs, axis=1), [[0, 0], [1, places], [0, 0]])
    starts = sums[:, :places, None]  # (b, places, 1, classes)
    ends = ops.stack([sums[:, 1 + n : 1 + n + places] for n in range(places)], axis=1)
    return ends - starts


def best(scores: np.ndarray) -> list[list[tuple[int, int, int]]]:
    """Returns the arcs of the best path of each lattice: node, places, class (Viterbi).

    Args:
        scores: (n, nodes, spans, classes).
    """
    num, nodes, spans, _ = scores.shape
    labels = scores[..., 1:].argmax(axis=-1) + 1  # (n, nodes, spans)
    labelled = scores[..., 1:].max(axis=-1)
    sums = np.zeros((num, nodes + 1))
    came = np.zeros((num, nodes + 1), int)  # places of the last arc; 0 for one of nothing
    for node in range(1, nodes + 1):
        parts = [sums[:, node - 1] + scores[:, node - 1, 0, 0]]
        parts += [
            sums[:, node - span] + labelled[:, node - span, span - 1]
            for span in range(1, min(spans, node) + 1)
        ]
        every = np.stack(parts, axis=1)  # (n, 1 + spans)
        came[:, node] = every.argmax(axis=1)
        sums[:, node] = every.max(axis=1)
    found = []
    for row in range(num):
        path, node = [], nodes
        while node:
            span = max(1, int(came[row, node]))
            label = int(labels[row, node - span, span - 1]) if came[row, node] else 0
            node -= span
            path.append((node, span, label))
        found.append(path[::-1])
    return found
