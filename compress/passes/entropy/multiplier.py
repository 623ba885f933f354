"""What a bit costs while a model is trained: it grows at first, and follows a size to be met."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import keras
import numpy as np

from compress.graph import leaf_layers
from compress.graph.kernels import find_kernels
from compress.layers.latent import Latent
from compress.layers.parametrized import Parametrized
from compress.measure.coder import encoded, matrix_shape

LOOKS = 24  # at the size, in a training
_MOST = 2.0  # times the cost, from one look to the next


class Multiplier(keras.callbacks.Callback):
    """Sets the loss of a bit of every `Latent` of the model that it sees.

    It grows in a line from 0 to `rate` over the first `ramp` of the training. With a `target` it is
    then multiplied at each look at the kernels: by the square root of their bytes over the target.

    Args:
        rate: Loss of a bit.
        ramp: Fraction of the training.
        target: Bytes of all kernels of this kind; `None` leaves the rate as it is.

    Attributes:
        driven: Whether the training called it.
    """

    def __init__(self, rate: float, ramp: float, target: int | None = None) -> None:
        super().__init__()
        self.rate, self.ramp, self.target = rate, ramp, target
        self.driven = False
        self._kernels: list[Coded] = []
        self._step = self._epoch = 0

    def on_train_begin(self, logs: Any = None) -> None:
        """Finds the kernels; where the length of the training is not known, nothing grows."""
        self._kernels = list(coded(self.model).values())
        self._step = self._epoch = 0
        self._set()

    def on_epoch_begin(self, epoch: int, logs: Any = None) -> None:
        """Notes the epoch, to count steps from it."""
        self._epoch = epoch

    def on_train_batch_end(self, batch: int, logs: Any = None) -> None:
        """Lets the cost grow."""
        before, self.driven = self._share(), True
        self._step = self._epoch * (self._params("steps") or 0) + batch + 1
        if before < 1:
            self._set()

    def on_epoch_end(self, epoch: int, logs: Any = None) -> None:
        """Looks at the size."""
        epochs = self._params("epochs") or 1
        if self.target is None or self._share() < 1:
            return
        if (epoch + 1) % max(1, epochs // LOOKS) == 0:
            found = sum(len(one.code()) for one in self._kernels) / max(1, self.target)
            self.rate *= min(max(found**0.5, 1 / _MOST), _MOST)
            self._set()

    def saved_state(self) -> dict[str, Any]:
        """Returns what a training that is resumed must know."""
        return {"rate": self.rate, "epoch": self._epoch, "step": self._step}

    def restore_state(self, state: Mapping[str, Any]) -> None:
        """Goes on from a `saved_state`, after `on_train_begin`."""
        self.rate = float(state["rate"])
        self._epoch, self._step, self.driven = int(state["epoch"]), int(state["step"]), True
        self._set()

    def _params(self, name: str) -> int | None:
        return (self.params or {}).get(name)

    def _share(self) -> float:
        """The share of the cost that counts already."""
        steps = (self._params("steps") or 0) * (self._params("epochs") or 0) * self.ramp
        return min(1.0, self._step / steps) if steps >= 1 else 1.0

    def _set(self) -> None:
        for one in self._kernels:
            one.latent.rate.assign(self._share() * self.rate)


class Coded(NamedTuple):
    """A kernel that learns what a bit costs.

    Attributes:
        layer: Computes it.
        name: Of the kernel in the layer.
        latent: The last part of its chain.
    """

    layer: Parametrized
    name: str
    latent: Latent

    def values(self) -> np.ndarray:
        """Returns the kernel before it is rounded."""
        found: np.ndarray = keras.ops.convert_to_numpy(self.layer.kernel(self.name, held=True))
        return found

    def step(self) -> float:
        """Returns its step."""
        return float(keras.ops.convert_to_numpy(self.latent.step()))

    def code(self) -> bytes:
        """Returns the code of the kernel as it is rounded now."""
        places = np.rint(self.values() / self.step()).astype(np.int64)
        return encoded(places.reshape(matrix_shape(places.shape)))


def coded(model: keras.Model) -> dict[str, Coded]:
    """Returns the kernels of a model that learn what a bit costs, by their paths."""
    kernels, _ = find_kernels(dict(leaf_layers(model)), depthwise=True)
    found = dict(leaf_layers(model))
    return {
        path: Coded(found[kernel.path], name, part)
        for path, kernel in kernels.items()
        if isinstance(found[kernel.path], Parametrized)
        for part, name in found[kernel.path].pairs()
        if name == kernel.name and isinstance(part, Latent)
    }
