"""TF Serving's Classify and Regress: tf.Example in, labels with scores or numbers out.

Source: TF Serving's apis/input.proto, classification.proto, regression.proto; TensorFlow's
example.proto. A feature is an input of the model, its values in the order of its axes. Differs: no
serialized examples inside the graph; bytes are refused, as inputs are numbers.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from export.manifest import TensorSpec
from serving.answers import readings
from serving.engines import Arrays
from serving.models.versions import Version
from serving.wire.messages import ClassifyResponse, RegressResponse


def arrays(given: Any, version: Version, most_bytes: int) -> Arrays:
    """Returns one array (n, ...) for each input.

    Args:
        given: The `Input` of a request; what its context holds is of every example.
        version: What is asked.
        most_bytes: Of all arrays together; what a context holds counts for each example.

    Raises:
        ValueError: The examples do not fit the signature, or are too large.
    """
    whole = given.example_list_with_context
    examples, common = list(whole.examples) or list(given.example_list.examples), whole.context
    if not examples:
        raise ValueError("input: got no examples; expected one or more.")
    specs = {spec.name: spec for spec in version.engine.signature.inputs}
    columns: dict[str, list[NDArray[Any]]] = {name: [] for name in specs}
    least = sum(
        math.prod(size or 1 for size in spec.shape[1:]) * np.dtype(spec.dtype).itemsize
        for spec in specs.values()
    )
    left = most_bytes
    if len(examples) * least > left:
        raise ValueError(f"examples: expected arrays of {most_bytes} bytes at most.")
    for place, example in enumerate(examples):
        features = dict(common.features.feature) | dict(example.features.feature)
        if set(features) != set(specs):
            told = ", ".join(map(repr, sorted(features)))[:200] or "none"
            raise ValueError(
                f"examples[{place}]: got the features {told}; expected "
                f"{', '.join(map(repr, specs))}."
            )
        for name, spec in specs.items():
            array = _array(features[name], spec, f"examples[{place}].{name}")
            columns[name].append(array)
            if (left := left - array.nbytes) < 0:
                raise ValueError(f"examples: expected arrays of {most_bytes} bytes at most.")
    if any(len({row.shape for row in rows}) > 1 for rows in columns.values()):
        raise ValueError("examples: expected the same sizes in all examples of a request.")
    return {name: np.stack(rows) for name, rows in columns.items()}


def classified(version: Version, outputs: Arrays) -> Any:
    """Returns a ClassificationResponse."""
    reply = ClassifyResponse()
    for pairs in readings.scores(version, outputs):
        row = reply.result.classifications.add()
        for label, score in pairs:
            row.classes.add(label=label, score=score)
    return reply


def regressed(version: Version, outputs: Arrays) -> Any:
    """Returns a RegressionResponse."""
    reply = RegressResponse()
    for value in readings.values(version, outputs):
        reply.result.regressions.add(value=value)
    return reply


def _array(feature: Any, spec: TensorSpec, where: str) -> NDArray[Any]:
    """The values of a feature; a single size that may vary is as large as they need."""
    values = feature.float_list.value or feature.int64_list.value
    if feature.bytes_list.value or not values:
        raise ValueError(f"{where}: expected numbers, in float_list or int64_list.")
    shape, dtype = spec.shape[1:], np.dtype(spec.dtype)
    known, free = math.prod(size or 1 for size in shape), shape.count(None)
    fits = len(values) == known if not free else free == 1 and len(values) % known == 0
    if not fits:
        told = ", ".join("any" if size is None else str(size) for size in shape)
        raise ValueError(f"{where}: got {len(values)} values; expected those of ({told}).")
    found = np.array(values)
    if dtype.kind in "iub":
        ends = (0, 1) if dtype.kind == "b" else (np.iinfo(dtype).min, np.iinfo(dtype).max)
        if found.dtype.kind == "f" or min(values) < ends[0] or max(values) > ends[1]:
            raise ValueError(f"{where}: expected whole numbers from {ends[0]} to {ends[1]}.")
    with np.errstate(over="ignore"):
        return found.astype(dtype).reshape([-1 if size is None else size for size in shape])
