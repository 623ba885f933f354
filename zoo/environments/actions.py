"""What can be done: one of some choices, or some numbers; and what a network's answer says of it.

Of choices a network tells a value each: the largest is best, and their softmax is drawn from. Of
numbers it tells the means and the logarithms of the deviations of Gaussians, as Schulman et al.
2017, arXiv:1707.06347, section 6.1; differs: the deviations depend on what is seen. A number is 0
in the middle of what is allowed, -1 and 1 at its ends, and cut off there.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from scipy.special import log_softmax

from zoo.environments.acting import greedy, sampled

LOG_TWO_PI = float(np.log(2 * np.pi))


class Choices:
    """One of some choices.

    Args:
        space: gymnasium's `Discrete`.

    Attributes:
        num: How many there are.
        outputs: Numbers that a network tells.
        shape: Shape of one action.
        dtype: Type of it.
        facts: What a card says, so that the model alone can act, see `zoo.common.answers.acted`.
    """

    shape: tuple[int, ...] = ()
    dtype: Any = np.int32

    def __init__(self, space: Any):
        self._start = int(space.start)
        self.num = self.outputs = int(space.n)
        self.facts: dict[str, Any] = {"start": self._start} if self._start else {}

    def of(self, action: Any) -> Any:
        """Returns an action as the environment takes it."""
        return self._start + int(action)

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """Returns the random numbers by which `sampled` draws."""
        return random.random(shape)

    def anything(self, random: np.random.Generator, num: int) -> np.ndarray:
        """Returns actions by chance, (num, ...)."""
        return (random.random(num) * self.num).astype(self.dtype)

    def best(self, values: np.ndarray) -> np.ndarray:
        """Returns the best actions, (n, ...), by a network's answers (n, outputs)."""
        return greedy(values)

    def sampled(self, values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """Returns actions drawn by their probability, (n, ...)."""
        return sampled(values, drawn)

    def logs(self, values: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """Returns log p of actions, (n,)."""
        return np.asarray(log_softmax(values, axis=1)[np.arange(len(taken)), taken])


class Numbers:
    """Some numbers, each within its ends.

    Args:
        space: gymnasium's `Box` of one axis, with finite ends.

    Attributes:
        num: See `Choices`, as the others.
    """

    dtype: Any = np.float32

    def __init__(self, space: Any):
        self._low, self._high = space.low.astype("float64"), space.high.astype("float64")
        self.num = int(space.shape[0])
        self.outputs, self.shape = 2 * self.num, (self.num,)
        self.facts: dict[str, Any] = {"low": space.low.tolist(), "high": space.high.tolist()}

    def of(self, action: Any) -> Any:
        """See `Choices.of`."""
        share = (np.clip(np.asarray(action, np.float64), -1.0, 1.0) + 1.0) / 2.0
        return (self._low + share * (self._high - self._low)).astype(np.float32)

    def draw(self, random: np.random.Generator, shape: tuple[int, ...]) -> np.ndarray:
        """See `Choices.draw`."""
        return random.standard_normal((*shape, self.num))

    def anything(self, random: np.random.Generator, num: int) -> np.ndarray:
        """See `Choices.anything`."""
        return random.uniform(-1, 1, (num, self.num)).astype(self.dtype)

    def best(self, values: np.ndarray) -> np.ndarray:
        """See `Choices.best`: the means."""
        return np.asarray(values[:, : self.num])

    def sampled(self, values: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        """See `Choices.sampled`."""
        means, logs = values[:, : self.num], values[:, self.num :]
        return np.asarray(means + np.exp(logs) * drawn, self.dtype)

    def logs(self, values: np.ndarray, taken: np.ndarray) -> np.ndarray:
        """See `Choices.logs`."""
        means, logs = values[:, : self.num], values[:, self.num :]
        away = (taken - means) / np.exp(logs)
        return np.asarray((-0.5 * (away**2 + LOG_TWO_PI) - logs).sum(axis=1), np.float32)
