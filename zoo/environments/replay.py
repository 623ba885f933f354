"""Off-policy experience: a memory of what was done, and batches drawn from it.

Source: Mnih et al. 2015, Nature 518, algorithm 1 (experience replay, epsilon-greedy).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any

import numpy as np
import tensorflow as tf

from zoo.environments.acting import Asked, dealt, explored, returns
from zoo.environments.copies import ACT, DRAW, Copies, generator
from zoo.environments.world import World


class Replay:
    """Batches of what the network `net` once did: a `zoo.data.source.Source`.

    The columns of a batch: `features` (b, features), `action` (b,), `reward` (b,), `successor`
    (b, features), `ended` (b,), which is 1 where no reward follows, and the returns of the episodes
    that are over, see `acting.returns`.

    Args:
        world: What is acted in.
        batch_size: Examples in a batch, over all replicas.
        seed: Seed of the episodes, of the actions and of what is drawn, at least 0.
        memory: Number of frames that are remembered; the oldest are forgotten.
        warmup: Frames of chance actions before the first batch.
        frames_per_step: Frames that are acted before each batch, over all copies. Copies act
            together, so that several batches may follow one round of actions.
        epsilon: The probability of a chance action at a frame that is counted from 0 behind the
            warm-up.

    Attributes:
        batch_size: As given.
        steps: Batches in an epoch.
        frames: Frames acted so far, those of the warm-up among them.

    Raises:
        ValueError: The memory is smaller than the copies or a batch.
    """

    def __init__(
        self,
        world: World,
        *,
        batch_size: int,
        seed: int,
        memory: int,
        warmup: int,
        frames_per_step: int,
        epsilon: Callable[[int], float],
    ):
        num = world.settings.copies
        if memory < max(num, batch_size):
            raise ValueError(
                f"task.memory: got {memory} frames; expected at least {max(num, batch_size)}, a "
                "batch and a frame of each copy."
            )
        self.batch_size, self._seed = batch_size, seed
        self.steps = max(1, world.settings.frames // frames_per_step)
        self._warmup, self._rate, self._epsilon = max(warmup, num), frames_per_step, epsilon
        self._copies, self._asked, self.frames = Copies(world, num, seed=seed), Asked(), 0
        shape, self._num_actions = self._copies.observations.shape[1:], world.num_actions
        self._memory = {
            "features": np.zeros((memory, *shape), np.float32),
            "action": np.zeros(memory, np.int32),
            "reward": np.zeros(memory, np.float32),
            "successor": np.zeros((memory, *shape), np.float32),
            "ended": np.zeros(memory, np.float32),
        }

    @property
    def size(self) -> int:
        """Number of frames that can be remembered."""
        return len(self._memory["action"])

    def batches(
        self,
        strategy: tf.distribute.Strategy,
        epoch: int = 0,
        *,
        start: int = 0,
        networks: Any = None,
    ) -> Iterator[Any]:
        """See `zoo.data.source.Source.batches`; the network `net` acts."""
        for step in range(start, self.steps):
            yield dealt(self.collect(networks, epoch * self.steps + step), strategy)

    def collect(self, networks: Mapping[str, Any], number: int) -> dict[str, np.ndarray]:
        """Acts as far as it is time to, and returns the columns of one batch.

        Args:
            networks: `net` tells the value of each action.
            number: Number of the batch, from 0; it is drawn by it.
        """
        while self.frames < self._warmup + (number + 1) * self._rate:
            self._act(networks)
        known = min(self.frames, self.size)
        chosen = generator(self._seed, DRAW, number).integers(known, size=self.batch_size)
        return {
            **{name: values[chosen] for name, values in self._memory.items()},
            **returns(self._copies.finished, self.batch_size),
            "weight": np.ones(self.batch_size, np.float32),
        }

    def _act(self, networks: Mapping[str, Any]) -> None:
        """Takes an action in each copy and remembers it."""
        seen, num = self._copies.observations, len(self._copies)
        uniform = generator(self._seed, ACT, self.frames).random((num, 2))
        if self.frames < self._warmup:
            values, epsilon = np.zeros((num, self._num_actions)), 1.0
        else:
            values = self._asked(networks, "net")(seen)
            epsilon = self._epsilon(self.frames - self._warmup)
        actions = explored(values, epsilon, uniform)
        moved = self._copies.act(actions)
        places = (self.frames + np.arange(num)) % self.size
        for name, rows in {
            "features": seen, "action": actions, "reward": moved.rewards,
            "successor": moved.successors, "ended": moved.ended,
        }.items():  # fmt: skip
            self._memory[name][places] = rows
        self.frames += num

    def state(self) -> dict[str, Any]:
        """See `zoo.data.source.Source.state`: the memory, its count, and where the copies stand."""
        known = min(self.frames, self.size)
        kept = {f"memory/{name}": values[:known] for name, values in self._memory.items()}
        return {"frames": np.int64(self.frames), **kept, **self._copies.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `zoo.data.source.Source.restore`."""
        self.frames = int(state["frames"])
        for name, values in self._memory.items():
            kept = state[f"memory/{name}"]
            values[: len(kept)] = kept
        self._copies.restore(state)
