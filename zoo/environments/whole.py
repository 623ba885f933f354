"""Whole episodes of the present policy, drawn by its probabilities: what REINFORCE learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.environments.acting import Acting, Asked
from zoo.environments.copies import ACT, EPISODE, Copy, generator
from zoo.environments.world import World


class Whole(Acting):
    """Batches of episodes of the network `policy`: a `zoo.data.source.Source`.

    The columns, behind the end of an episode 0: `features` (b, limit, features), `action`
    (b, limit, ...), `later` (b, limit), the discounted rewards from there on, `there` (b, limit), 1
    up to the end, and the returns `return` and `finished` (b,).

    Args:
        world: What is acted in.
        batch_size: Episodes in a batch, over all replicas.
        seed: Seed of the episodes and of the actions, at least 0.
        discount: What a reward is worth one step later.

    Attributes:
        batch_size: As given.
        steps: Batches in an epoch: those that `environment.frames` have room for if every episode
            is as long as it can be.
    """

    def __init__(self, world: World, *, batch_size: int, seed: int, discount: float):
        self.batch_size = batch_size
        self.steps = max(1, world.settings.frames // (batch_size * world.limit))
        self._world, self._seed, self._discount, self._asked = world, seed, discount, Asked()
        self._copies = [Copy(world, (seed, EPISODE, number)) for number in range(batch_size)]

    def collect(self, networks: Mapping[str, Any], number: int) -> dict[str, np.ndarray]:
        """Plays an episode in each copy, and returns the columns of one batch.

        Args:
            networks: `policy` among them.
            number: Number of the batch, from 0; its episodes and actions follow from it.
        """
        policy, num, limit = self._asked(networks, "policy"), self.batch_size, self._world.limit
        for copy in self._copies:
            copy.begin(number)
        shape = self._copies[0].observation.shape
        features = np.zeros((num, limit, *shape), np.float32)
        can, there = self._world.actions, np.zeros((num, limit), np.float32)
        actions = np.zeros((num, limit, *can.shape), can.dtype)
        rewards = np.zeros((num, limit), np.float32)
        random, running = generator(self._seed, ACT, number), np.arange(num)
        drawn = can.draw(random, (limit, num))
        for time in range(limit):
            seen = np.stack([self._copies[place].observation for place in running])
            chosen = can.sampled(policy(seen), drawn[time, running])
            features[running, time], actions[running, time] = seen, chosen
            there[running, time] = 1.0
            going = []
            for place, action in zip(running.tolist(), chosen.tolist(), strict=True):
                reward, ended, cut = self._copies[place].act(action)
                rewards[place, time] = reward
                if not (ended or cut):
                    going.append(place)
            running = np.array(going, np.int64)
            if not going:
                break
        later = np.zeros((num, limit + 1), np.float32)
        for time in reversed(range(limit)):
            later[:, time] = rewards[:, time] + self._discount * later[:, time + 1]
        return {
            "features": features,
            "action": actions,
            "later": later[:, :-1],
            "there": there,
            "return": np.array([copy.total for copy in self._copies], np.float32),
            "finished": np.ones(num, np.float32),
            "weight": np.ones(num, np.float32),
        }

    def state(self) -> dict[str, Any]:
        """See `zoo.data.source.Source.state`; a batch follows from its number."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `zoo.data.source.Source.restore`."""
