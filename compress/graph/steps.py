"""Graphs run step by step on many examples, of which only what later steps read is kept.

Who changes a layer by what it is given, and the next one by what the changed one gives, needs every
example at every step. All that flows would not fit into memory. It is kept where it is narrow;
where it is wide, the steps since the last narrow place are run again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import keras
import numpy as np

from compress.graph.graph import infer, is_graph, trace

MOST_BYTES = 2**29  # of what is kept at once
BATCH = 16


class Steps:
    """The steps of a model, each of which can be reached in turn.

    Args:
        model: Functional or Sequential. Its layers may be changed while it runs: what is behind
            sees what they then make.
        samples: (n, ...) for each input.

    Attributes:
        first: Place of the first call of each leaf layer, by path.
        times: How often each is called.
    """

    def __init__(self, model: keras.Model, samples: Sequence[np.ndarray]) -> None:
        graph = trace(model)
        self._calls = [call for call in graph.calls if not is_graph(call.operation)]
        self._inputs, self._samples = graph.inputs, samples
        self._last = {id(x): len(self._calls) for x in graph.outputs}  # place of the last reader
        for place, call in reversed(list(enumerate(self._calls))):
            for tensor in call.inputs:
                self._last.setdefault(id(tensor), place)
        self.first: dict[str, int] = {}
        self.times: dict[str, int] = {}
        for place, call in enumerate(self._calls):
            if call.path:
                self.first.setdefault(call.path, place)
                self.times[call.path] = self.times.get(call.path, 0) + 1
        self._place = 0  # up to which what follows is kept
        self._states: list[dict[int, Any]] = []
        self._begin()

    @property
    def layers(self) -> Iterator[tuple[str, Any]]:
        """The leaf layers by path, in the order of their first calls."""
        return ((path, self._calls[place].operation) for path, place in self.first.items())

    def reach(self, path: str) -> Iterator[Any]:
        """Gives what a layer is first called with: its first argument, some examples at a time.

        Args:
            path: Of a leaf layer. To go on in the order of the graph is quick.
        """
        place = self.first[path]
        if place < self._place:
            self._begin()
        narrow = self._live_bytes(place) * len(self._samples[0]) <= MOST_BYTES
        asked = next(iter(self._calls[place].args), None)
        for number, state in enumerate(self._states):
            new = self._run(dict(state), place)
            if narrow:
                self._states[number] = new
            yield keras.tree.map_structure(lambda x, new=new: _given(x, new), asked)
        if narrow:
            self._place = place

    def _begin(self) -> None:
        """Stands before the first step."""
        self._place, self._states = 0, []
        for start in range(0, len(self._samples[0]), BATCH):
            parts = [array[start : start + BATCH] for array in self._samples]
            pairs = zip(self._inputs, parts, strict=True)
            self._states.append({id(x): keras.ops.convert_to_tensor(part) for x, part in pairs})

    def _run(self, state: dict[int, Any], end: int) -> dict[int, Any]:
        for place in range(self._place, end):
            call = self._calls[place]
            args, kwargs = keras.tree.map_structure(
                lambda x: _given(x, state), (call.args, call.kwargs)
            )
            outputs = keras.tree.flatten(infer(call.operation, *args, **kwargs))
            state.update(zip(map(id, call.outputs), outputs, strict=True))
            for tensor in (*call.inputs, *call.outputs):
                if self._last.get(id(tensor), -1) <= place:
                    state.pop(id(tensor), None)
        return state

    def _live_bytes(self, place: int) -> int:
        """Bytes of an example that steps from a place on read."""
        made = {id(x): x for x in self._inputs}
        made |= {id(x): x for call in self._calls[:place] for x in call.outputs}
        live = [x for key, x in made.items() if self._last.get(key, -1) >= place]
        return sum(4 * int(np.prod([side or 1 for side in x.shape[1:]])) for x in live)


def _given(value: Any, state: dict[int, Any]) -> Any:
    return state[id(value)] if isinstance(value, keras.KerasTensor) else value
