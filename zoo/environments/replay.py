"""Off-policy experience: a memory of what was done, and batches drawn from it.

Sources: Mnih et al. 2015, Nature 518, algorithm 1 (experience replay, epsilon-greedy); Sutton 1988,
Machine Learning 3(1) (several steps before a value is asked); Schaul et al. 2016,
arXiv:1511.05952, section 3.3 (what surprised is drawn more often, and counts less for it).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from zoo.environments.acting import Acting, Ask, Asked, explored, returns
from zoo.environments.copies import ACT, DRAW, Copies, generator, trained
from zoo.environments.world import World

LEAST = 1e-6  # is added to a surprise, so that all are drawn now and then


class Replay(Acting):
    """Batches of what the network `net` once did: a `zoo.data.feeds.source.Source`.

    The columns of a batch: `features` (b, features), `action` (b,), `reward` (b,), the discounted
    rewards of up to `reach` steps, `successor` (b, features), what was seen then, `later` (b,),
    what its value counts, 0 where no reward follows, `importance` (b,), at most 1, and the returns
    of the episodes that are over, see `acting.returns`.

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
        discount: What a reward is worth one step later.
        reach: Steps whose rewards are summed up, at most: fewer where the episode is over, or the
            next step was not taken yet.
        priority: Power of a surprise to which an example is drawn; 0 draws all alike.
        correction: Power to which a more frequent example counts less, at a frame that is counted
            likewise.
        surprise: Tells the magnitudes of the errors (b,) of a batch's columns, by the networks.

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
        discount: float,
        reach: int = 1,
        priority: float = 0.0,
        correction: Callable[[int], float] = lambda frame: 1.0,
        surprise: Callable[[Mapping[str, Ask], Mapping[str, np.ndarray]], np.ndarray] | None = None,
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
        self._discount, self._reach = discount, reach
        self._priority, self._correction, self._surprise = priority, correction, surprise
        self._copies, self._asked, self.frames = Copies(world, num, seed=trained(seed)), Asked(), 0
        seen, self._num_actions = self._copies.observations, world.num_actions
        shape, dtype = seen.shape[1:], seen.dtype
        self._memory = {
            "features": np.zeros((memory, *shape), dtype),
            "action": np.zeros(memory, np.int32),
            "reward": np.zeros(memory, np.float32),
            "successor": np.zeros((memory, *shape), dtype),
            "ended": np.zeros(memory, np.float32),
            "over": np.zeros(memory, np.float32),
        }
        if priority:
            self._memory["surprise"] = np.zeros(memory, np.float32)

    @property
    def size(self) -> int:
        """Number of frames that can be remembered."""
        return len(self._memory["action"])

    def collect(self, networks: Mapping[str, Any], number: int) -> dict[str, np.ndarray]:
        """Acts as far as it is time to, and returns the columns of one batch.

        Args:
            networks: `net` tells the value of each action.
            number: Number of the batch, from 0; it is drawn by it.
        """
        while self.frames < self._warmup + (number + 1) * self._rate:
            self._act(networks)
        random, known = generator(self._seed, DRAW, number), min(self.frames, self.size)
        importance = np.ones(self.batch_size, np.float32)
        if not self._priority:
            chosen = random.integers(known, size=self.batch_size)
        else:
            shares = np.cumsum(self._memory["surprise"][:known].astype(np.float64))
            drawn = random.random(self.batch_size) * shares[-1]
            chosen = np.minimum(np.searchsorted(shares, drawn, side="right"), known - 1)
            share = self._memory["surprise"][chosen] / shares[-1]
            power = self._correction(self.frames - self._warmup)
            importance = (known * share) ** -power
            importance = (importance / importance.max()).astype(np.float32)
        found = {**self._steps(chosen), "importance": importance}
        if self._priority and self._surprise:
            asks = {name: self._asked(networks, name) for name in networks}
            error = self._surprise(asks, found)
            self._memory["surprise"][chosen] = (np.abs(error) + LEAST) ** self._priority
        return {
            **found,
            **returns(self._copies.finished, self.batch_size),
            "weight": np.ones(self.batch_size, np.float32),
        }

    def _steps(self, chosen: np.ndarray) -> dict[str, np.ndarray]:
        """What was done in some frames, and what came of it; a copy's next frame is `num` on."""
        held, num = self._memory, len(self._copies)
        # How many frames were acted behind each; the ring begins behind the newest.
        behind = (self.frames - 1 - chosen) % self.size
        rewards = held["reward"][chosen].copy()
        last, going = chosen.copy(), np.ones(len(chosen), bool)
        factor = np.full(len(chosen), self._discount, np.float32)
        for step in range(1, self._reach):
            going &= (held["over"][last] == 0) & (behind >= step * num)
            after = (last + num) % self.size
            rewards += np.where(going, factor * held["reward"][after], 0.0).astype(np.float32)
            factor = np.where(going, factor * np.float32(self._discount), factor)
            last = np.where(going, after, last)
        return {
            "features": held["features"][chosen],
            "action": held["action"][chosen],
            "reward": rewards,
            "successor": held["successor"][last],
            "later": (factor * (1.0 - held["ended"][last])).astype(np.float32),
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
            "successor": moved.successors, "ended": moved.ended, "over": moved.over,
        }.items():  # fmt: skip
            self._memory[name][places] = rows
        if self._priority:  # drawn once soon: as likely as the most surprising
            most = self._memory["surprise"].max()
            self._memory["surprise"][places] = most if most > 0 else 1.0
        self.frames += num

    def state(self) -> dict[str, Any]:
        """See `feeds.source.Source.state`: the memory, its count, and where the copies stand."""
        known = min(self.frames, self.size)
        kept = {f"memory/{name}": values[:known] for name, values in self._memory.items()}
        return {"frames": np.int64(self.frames), **kept, **self._copies.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `zoo.data.feeds.source.Source.restore`."""
        self.frames = int(state["frames"])
        for name, values in self._memory.items():
            kept = state[f"memory/{name}"]
            values[: len(kept)] = kept
        self._copies.restore(state)
