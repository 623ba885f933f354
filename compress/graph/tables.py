"""Tables of rows that a model looks up by an index that it is given."""

from __future__ import annotations

from collections.abc import Sequence

import keras
import numpy as np

from compress.graph.graph import trace
from compress.graph.kernels import inner


def num_rows(model: keras.Model) -> list[int]:
    """Returns how many indices each input of a model may have; 0 where it looks up no table.

    Args:
        model: Functional or Sequential.
    """
    graph = trace(model)
    found = []
    for tensor in graph.inputs:
        reading = [call for call in graph.calls if any(one is tensor for one in call.inputs)]
        tables = [inner(call.operation) for call in reading]
        rows = [one.input_dim for one in tables if isinstance(one, keras.layers.Embedding)]
        found.append(min(rows, default=0))
    return found


def check_indices(model: keras.Model, examples: Sequence[np.ndarray], *, where: str) -> None:
    """Refuses examples with an index for which a table has no row.

    Args:
        model: Functional or Sequential.
        examples: An array (n, ...) for each input.
        where: What the error line opens with.

    Raises:
        ValueError: There is one.
    """
    for tensor, rows, values in zip(model.inputs, num_rows(model), examples, strict=True):
        if not rows or not values.size:
            continue
        least, most = values.min(), values.max()
        if least < 0 or most >= rows:
            raise ValueError(
                f"{where} of {tensor.name!r}: got {least if least < 0 else most}; expected 0 to "
                f"{rows - 1}, as the table that it is looked up in has {rows} rows."
            )
