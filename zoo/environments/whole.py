"""Whole episodes of the present policy, drawn by its probabilities: what REINFORCE learns from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.environments.acting import Acting, Asked
from zoo.environments.copies import ACT, EPISODE, Copy, generator, trained
from zoo.environments.world import World


class Whole(Acting):
    """Batches of episodes of the network `policy`: a `zoo.data.feeds.source.Source`.

    The columns, behind the end of an episode 0: `features` (b, limit, features), `action`
    (b, limit, ...), `later` (b, limit), the discounted rewards from there on, `others` (b, limit),
    its mean over the other episodes that are as long, `others_whole` (b, limit), that of all their
    rewards, `there` (b, limit), 1 up to the end, and the returns `return` and `finished` (b,).

    Without a critic an episode that is cut off at its limit of steps counts as one that ended; with
    one what came later counts as the critic's value of what was seen last.

    Args:
        world: What is acted in.
        batch_size: Episodes in a batch, over all replicas.
        seed: Seed of the episodes and of the actions, at least 0.
        discount: What a reward is worth one step later.
        critic: Whether the network `value` tells what comes behind the limit.

    Attributes:
        batch_size: As given.
        steps: Batches in an epoch: those that `environment.frames` have room for if every episode
            is as long as it can be.
    """

    def __init__(
        self, world: World, *, batch_size: int, seed: int, discount: float, critic: bool = False
    ):
        self.batch_size = batch_size
        self.steps = max(1, world.settings.frames // (batch_size * world.limit))
        self._world, self._seed, self._discount, self._asked = world, seed, discount, Asked()
        self._critic, own = critic, (trained(seed), EPISODE)
        self._copies = [Copy(world, (*own, number)) for number in range(batch_size)]

    def collect(self, networks: Mapping[str, Any], number: int) -> dict[str, np.ndarray]:
        """Plays an episode in each copy, and returns the columns of one batch.

        Args:
            networks: `policy` among them, and `value` where there is a critic.
            number: Number of the batch, from 0; its episodes and actions follow from it.
        """
        policy, num, limit = self._asked(networks, "policy"), self.batch_size, self._world.limit
        for copy in self._copies:
            copy.begin(number)
        first = self._copies[0].observation
        features = np.zeros((num, limit, *first.shape), first.dtype)
        can, there = self._world.actions, np.zeros((num, limit), np.float32)
        actions = np.zeros((num, limit, *can.shape), can.dtype)
        rewards = np.zeros((num, limit), np.float32)
        random, running = generator(self._seed, ACT, number), np.arange(num)
        beyond = np.zeros(num, bool)  # whether an episode was cut off
        drawn = can.draw(random, (limit, num))
        for time in range(limit):
            seen = np.stack([self._copies[place].observation for place in running])
            chosen = can.sampled(policy(seen), drawn[time, running])
            features[running, time], actions[running, time] = seen, chosen
            there[running, time] = 1.0
            going = []
            for place, action in zip(running.tolist(), chosen.tolist(), strict=True):
                reward, ended, cut = self._copies[place].act(action)
                rewards[place, time], beyond[place] = reward, cut and not ended
                if not (ended or cut):
                    going.append(place)
            running = np.array(going, np.int64)
            if not going:
                break
        last = np.zeros(num, np.float32)
        if self._critic and beyond.any():
            seen = np.stack([copy.observation for copy in self._copies])
            last = np.where(beyond, self._asked(networks, "value")(seen)[:, 0], 0.0)
        ends = there.sum(axis=1).astype(np.int64)
        later = np.zeros((num, limit + 1), np.float32)
        for time in reversed(range(limit)):
            following = np.where(ends == time + 1, last, later[:, time + 1])
            later[:, time] = rewards[:, time] + self._discount * following
        later = later[:, :-1]
        return {
            "features": features,
            "action": actions,
            "later": later,
            "others": mean_of_others(later, there),
            "others_whole": mean_of_others(later[:, :1], there),
            "there": there,
            "return": np.array([copy.total for copy in self._copies], np.float32),
            "finished": np.ones(num, np.float32),
            "weight": np.ones(num, np.float32),
        }

    def state(self) -> dict[str, Any]:
        """See `zoo.data.feeds.source.Source.state`; a batch follows from its number."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `zoo.data.feeds.source.Source.restore`."""


def mean_of_others(gained: np.ndarray, there: np.ndarray) -> np.ndarray:
    """Returns the mean of the other episodes that are as long, at each step, (b, limit).

    Args:
        gained: (b, limit), or (b, 1) of whole episodes.
        there: 1 up to the end of each, (b, limit). Where no other is as long the mean is 0.
    """
    own = gained * there
    others = there.sum(axis=0) - there
    found: np.ndarray = (own.sum(axis=0) - own) / np.maximum(others, 1)
    return found.astype(np.float32)
