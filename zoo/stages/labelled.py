"""Labelled examples of a run, to see what an exported file does to the metrics of its task."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from compress.graph.graph import is_graph, leaf_layers
from export.target import Labelled
from zoo.layers.unpooling import MaxUnpooling2D
from zoo.training.run import Run


def labelled(
    run: Run, count: int, *, inputs: Callable[[Mapping[str, Any]], Any] | None = None
) -> Labelled | None:
    """Returns the first examples of the test split, which is in no order.

    Args:
        run: Whose data and task.
        count: Number of examples, at most.
        inputs: From raw columns to what the model reads; the run's own when `None`.

    Returns:
        `None` where one answer of the task takes many calls of the deployed model.
    """
    task, columns = run.task, run.data.columns
    if not task.deployed_answers or task.served_apart or run.origin.acted:
        return None
    if task.states(run.networks):  # a step of many
        return None
    raw = run.raw("test", count)

    def measure(outputs: Mapping[str, Any]) -> dict[str, float]:
        meter = task.meter(columns)
        meter.add(raw, outputs if len(outputs) > 1 else next(iter(outputs.values())))
        return meter.result().metrics

    headline = task.headline
    limited = headline.name if headline.higher and headline.fraction else ""
    return Labelled((inputs or run.inputs)(raw), measure, limited, ranked=ranked(run))


def ranked(run: Run) -> bool:
    """Whether rounding can move what a network answers from one place to another.

    It does where rows take their places by a score, as boxes do, and where values go back to the
    places of maxima: two of a window that all but tie change places.
    """
    if run.task.ranked:
        return True
    graphs = filter(is_graph, run.networks.values())
    layers = (layer for graph in graphs for _, layer in leaf_layers(graph))
    return any(isinstance(layer, MaxUnpooling2D) for layer in layers)
