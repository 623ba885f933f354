"""Models that carry states from request to request: a language model's step, an agent with memory.

A state is an input NAME whose next value is the output next_NAME. Between the requests of a session
the server keeps them. A session that has ended is never begun again in silence: it is refused.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections import OrderedDict
from typing import Any, NamedTuple

import numpy as np

from export.manifest import Signature
from serving.engines import Arrays, example_shape
from serving.errors import RefusedError
from zoo.common.tensors import NEXT

MOST, MOST_BYTES, SECONDS = 1024, 2**28, 600.0


class Turn(NamedTuple):
    """A request of a session.

    Attributes:
        name: The session's.
        before: Its states as they were; `None` of a new one.
        by_row: Whether the request was in rows.
    """

    name: str
    before: Arrays | None
    by_row: bool


class Sessions:
    """The sessions of one version of a model.

    Args:
        signature: Of the model.
        most: How many are kept; the one that was idle for longest ends for another.
        most_bytes: Their states, all together; likewise.
        seconds: How long one may be idle.

    Attributes:
        states: Names of the inputs that are states.
    """

    def __init__(
        self,
        signature: Signature,
        *,
        most: int = MOST,
        most_bytes: int = MOST_BYTES,
        seconds: float = SECONDS,
    ) -> None:
        outputs = {spec.name for spec in signature.outputs}
        self._specs = {spec.name: spec for spec in signature.inputs if NEXT + spec.name in outputs}
        self.states = tuple(self._specs)
        self._most, self._most_bytes, self._seconds = most, most_bytes, seconds
        self._kept: OrderedDict[str, tuple[float, Arrays | None]] = (
            OrderedDict()
        )  # the idlest first
        self._bytes = 0
        self._lock = threading.Lock()

    def begin(self, name: str) -> tuple[str, Arrays]:
        """Returns a session's name and its states; of an empty name a new one with zeros.

        While it is asked, another request of it is refused.

        Raises:
            RefusedError: 404: there is none of that name, or it has ended; 409: it is asked now.
        """
        now = time.monotonic()
        with self._lock:
            for other, (since, held) in list(self._kept.items()):
                if now - since <= self._seconds:
                    break
                if held is not None:  # one that is being asked is not idle
                    self._drop(other)
            if not name:
                name, states = uuid.uuid4().hex, {
                    key: np.zeros((1, *example_shape(spec)), spec.dtype)
                    for key, spec in self._specs.items()
                }  # fmt: skip
                if len(self._kept) >= self._most:
                    self._drop(next(iter(self._kept)))
            elif name not in self._kept:
                raise RefusedError(
                    404, f"session: {name[:80]!r} has ended: it was idle for {self._seconds:g} s, "
                    "others took its place, or another version took over. Begin with an empty one.",
                )  # fmt: skip
            else:
                _, kept = self._kept[name]
                if kept is None:
                    raise RefusedError(409, f"session: {name[:80]!r} is being asked already.")
                states = dict(kept)
                self._drop(name)
            self._kept[name] = now, None
        return name, states

    def end(self, name: str, states: Arrays | None) -> None:
        """Keeps the states of a session for its next request; `None` ends it.

        Args:
            name: The session.
            states: What follows, by the names of the inputs; parts of a larger array are copied.
        """
        with self._lock:
            if name not in self._kept:
                return
            self._drop(name)
            if states is None:
                return
            own = {key: np.array(state) for key, state in states.items()}
            self._kept[name] = time.monotonic(), own
            self._bytes += _bytes(own)
            while self._bytes > self._most_bytes and len(self._kept) > 1:
                self._drop(next(iter(self._kept)))

    def _drop(self, name: str) -> None:
        _, states = self._kept.pop(name)
        self._bytes -= _bytes(states)

    def next_states(self, outputs: Arrays) -> tuple[Arrays, Arrays]:
        """Returns the outputs that are no states, and the states by the names of the inputs."""
        following: dict[str, Any] = {name: outputs[NEXT + name] for name in self.states}
        told = {k: v for k, v in outputs.items() if k.removeprefix(NEXT) not in self.states}
        return told, following


def _bytes(states: Arrays | None) -> int:
    return sum(state.nbytes for state in (states or {}).values())
