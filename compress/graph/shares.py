"""Whether a model answers with shares, those of a softmax or a sigmoid, or with logits.

Three witnesses: the loss that it was compiled with, the function at the end of its graph, and what
it answers. The first decides; the last can refute it.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from compress.graph.graph import Call, Trace, is_graph, trace
from compress.graph.kernels import inner

SHARES = ("softmax", "sigmoid", "hard_sigmoid", "sparsemax")
CLOSE = 0.02  # how far shares may sum up from 1: half precision, grids of 8 bits
_OF_MAPS = ("Pooling", "UpSampling")
_FRONTS = ("Average", "Max", "GlobalAverage", "GlobalMax", "AdaptiveAverage", "AdaptiveMax", "")
# Layers and operations of Keras, and layers of ours, that make shares of shares: they move, pick
# or average them. A largest one is within 0 to 1 still.
_MOVING = {
    *("Flatten", "Reshape", "Permute", "RepeatVector", "ExpandDims", "GetItem", "Moveaxis"),
    *("Ravel", "Squeeze", "Swapaxes", "Take", "Transpose"),
    *(f"Cropping{n}D" for n in (1, 2, 3)),
}
_SAME = {
    *("Identity", "Masking", "Dropout", "AlphaDropout", "GaussianDropout", "GaussianNoise"),
    *("ActivityRegularization", "Cast", "Copy", "StopGradient", "Range", "Floats"),
    *(f"SpatialDropout{n}D" for n in (1, 2, 3)),
    *("Activation", "Rescaling"),  # where they change nothing, see `_keeps`
}
KEEPING = {
    *_MOVING, *_SAME - {"Activation", "Rescaling"},
    *("Average", "Maximum", "Minimum", "Concatenate", "Max", "Mean", "Min", "Resizing"),
    *(f"{front}{kind}{n}D" for kind in _OF_MAPS for front in _FRONTS for n in (1, 2, 3)),
}  # fmt: skip
# Losses that read shares, unless they say `from_logits`.
_OF_SHARES = ("crossentropy", "kldivergence")


class Finding(NamedTuple):
    """Whether a model answers with shares.

    Attributes:
        shares: Whether it does.
        told: What was decided, and why, where the witnesses do not agree; else empty.
    """

    shares: bool
    told: str = ""


class Ending(NamedTuple):
    """What an output comes from.

    Attributes:
        function: See `last_function`.
        step: Place of its step; `None` where the values of several are mixed, or pooled, or where
            there is no such step to leave out.
        behind: Places of the steps behind it that only round values, or pass them on.
    """

    function: str
    step: int | None = None
    behind: frozenset[int] = frozenset()


def last_function(model: keras.Model, output: int = 0) -> str:
    """Returns the name of the function that an output of a model comes from, e.g. `softmax`.

    What only moves, picks or averages its values stands behind it.

    Args:
        model: Functional or Sequential.
        output: Place of the output.

    Returns:
        The name of an activation, else that of a class, in small letters; empty for an input.
    """
    graph = trace(model)
    return _function(graph.outputs[output], _makers(graph.calls))


def find_ending(graph: Trace, output: int = 0) -> Ending:
    """Returns the step of the softmax, say, that an output comes from, and what is behind it.

    Without it, and without the steps behind that only round or pass on, the graph gives logits.

    Args:
        graph: Of a model.
        output: Place of the output.
    """
    makers, tensor = _makers(graph.calls), graph.outputs[output]
    function = _function(tensor, makers)
    places = {id(call): place for place, call in enumerate(graph.calls)}
    behind: set[int] = set()
    while (call := makers.get(id(tensor))) is not None:
        layer, place = inner(call.operation), places[id(call)]
        kind = type(layer).__name__
        if getattr(layer, "activation", None) is not None and not _keeps(layer):
            return Ending(function, place, frozenset(behind))
        if not _keeps(layer):  # a softmax of its own, or what has no function to leave out
            own = kind.lower() == function and len(call.inputs) == 1
            return Ending(function, place if own else None, frozenset(behind))
        if kind not in _MOVING | _SAME or len(call.inputs) != 1:
            break
        if kind in _SAME:
            behind.add(place)
        tensor = call.inputs[0]
    return Ending(function)


def takes_logits(loss: Any) -> bool | None:
    """Returns whether a loss takes logits; `None` where it does not say.

    Args:
        loss: What `compile` is given, or what a file holds of it.
    """
    if isinstance(loss, Mapping) and "class_name" in loss:
        name, settings = loss["class_name"], loss.get("config")
        if isinstance(settings, Mapping):
            logits = settings.get("from_logits", False)
        else:  # a function
            name, logits = settings, False
    elif isinstance(loss, (list, tuple, Mapping)):
        parts = list(loss.values() if isinstance(loss, Mapping) else loss)
        return takes_logits(parts[0]) if len(parts) == 1 else None
    else:
        name = loss if isinstance(loss, str) else getattr(loss, "__name__", type(loss).__name__)
        logits = getattr(loss, "from_logits", False)
    plain = str(name).replace("_", "").lower()
    return bool(logits) if plain.endswith(_OF_SHARES) else None


def find_shares(
    model: keras.Model, answers: np.ndarray | None = None, *, loss: Any = None, output: int = 0
) -> Finding:
    """Finds out whether an output of a model is of shares.

    Args:
        model: Functional or Sequential.
        answers: Some answers (n, ..., classes), or (n, 1) of a yes or no.
        loss: What it was compiled with, see `takes_logits`.
        output: Place of the output.
    """
    function, logits = last_function(model, output), takes_logits(loss)
    by_graph = function in SHARES
    shares = by_graph if logits is None else not logits
    ends = f"it ends in {function or 'an input'}"
    compiled = f"its compiled loss takes {'logits' if logits else 'shares'}"
    why = ends if logits is None else compiled
    if answers is None or not answers.size or not np.isfinite(answers).all():
        differ = logits is not None and logits == by_graph
        return Finding(shares, f"{_read(shares)}: {compiled}, though {ends}" if differ else "")
    lo, hi = float(answers.min()), float(answers.max())
    inside = lo >= -1e-6 and hi <= 1 + 1e-3
    one = answers.shape[-1] == 1
    whole = one or bool(np.all(abs(answers.astype("float64").sum(axis=-1) - 1) < CLOSE))
    if shares and not inside:
        return Finding(False, f"{_read(False)}: they go from {lo:.4g} to {hi:.4g}, though {why}")
    if shares and not whole:
        return Finding(
            True, f"{_read(True)}, of their sum, which is not 1, as by Keras' own loss: {why}"
        )
    if shares or not (inside and whole):
        return Finding(shares)
    if logits or (one and hasattr(keras.activations, function)):
        return Finding(False, f"{_read(False)}: {why}, though they look like shares")
    return Finding(True, f"{_read(True)}: they lie within 0..1{'' if one else ' and sum to 1'}")


def _read(shares: bool) -> str:
    return f"its outputs are read as {'shares' if shares else 'logits'}"


def _makers(calls: Iterable[Call]) -> dict[int, Call]:
    return {id(tensor): call for call in calls for tensor in call.outputs}


def _function(tensor: Any, makers: Mapping[int, Call]) -> str:
    call = makers.get(id(tensor))
    if call is None:
        return ""
    layer = inner(call.operation)
    if isinstance(layer, keras.layers.TimeDistributed):
        layer = layer.layer
        if is_graph(layer):
            return last_function(layer)
    own = getattr(layer, "activation", None)
    name = str(getattr(own, "__name__", type(layer).__name__)).lower()
    if not _keeps(layer) or not call.inputs:
        return name
    names = {_function(one, makers) for one in call.inputs}
    if len(names) == 1:
        return names.pop()
    return "sigmoid" if names <= set(SHARES) else name


def _keeps(layer: Any) -> bool:
    """Whether a layer, or an operation, makes shares of shares."""
    if type(layer).__module__.split(".")[0] not in ("keras", "compress"):
        return False
    if isinstance(layer, keras.layers.Activation):
        return bool(layer.activation is keras.activations.linear)
    if isinstance(layer, keras.layers.Rescaling):
        return bool(np.all(np.equal(layer.scale, 1)) and np.all(np.equal(layer.offset, 0)))
    return type(layer).__name__ in KEEPING
