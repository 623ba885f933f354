"""Whole episodes of a policy that takes its best action, always the same ones: for measuring."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

import numpy as np
import tensorflow as tf

from zoo.environments.acting import Ask, Asked, dealt
from zoo.environments.copies import DRAW, EPISODE, SAMPLE, SEED, Copies, Copy, generator
from zoo.environments.world import World

STREAMS = {"train": 0, "validation": 1, "test": 2}
SIDE_BY_SIDE = 64  # copies that are played at the same time, at most
OBSERVED = 512  # steps of each copy that samples are taken from, at most
ROOM = 2**28  # bytes of what is seen in them
CHANCE = 0.1  # share of chance actions among samples, so that they show more than one path


class Played(NamedTuple):
    """One episode.

    Attributes:
        total: Sum of its rewards.
        length: Number of its steps.
    """

    total: float
    length: int


def play(
    world: World,
    ask: Ask,
    *,
    episodes: int,
    seeds: tuple[int, ...],
    watch: Callable[[int, Copy], None] | None = None,
    **options: Any,
) -> list[Played]:
    """Plays episodes, the best action in each step.

    Args:
        world: What is acted in.
        ask: What is seen (n, features) to values of the actions (n, actions).
        episodes: Number of episodes.
        seeds: Integers of at least 0 that the episodes follow from.
        watch: Sees the number of each episode and its copy before every action and at the end.
        **options: Options of `gymnasium.make`, e.g. `render_mode`.
    """
    played: list[Played] = []
    side = min(episodes, SIDE_BY_SIDE)
    copies = [Copy(world, seeds, **options) for _ in range(side)]
    while len(played) < episodes:
        first = len(played)
        running = list(enumerate(copies[: episodes - first], start=first))
        for number, copy in running:
            copy.begin(number)
        found = dict.fromkeys((number for number, _ in running), Played(0.0, 0))
        while running:
            seen = np.stack([copy.observation for _, copy in running])
            actions = world.actions.best(ask(seen))
            going = []
            for (number, copy), action in zip(running, actions.tolist(), strict=True):
                if watch:
                    watch(number, copy)
                _, ended, cut = copy.act(action)
                if not (ended or cut):
                    going.append((number, copy))
                    continue
                found[number] = Played(copy.total, len(copy.actions))
                if watch:
                    watch(number, copy)
            running = going
        played += found.values()
    return played


class Episodes:
    """One batch of finished episodes: a `zoo.data.feeds.source.Source`.

    Its columns: `return` (b,), `length` (b,), `threshold` (b,), the return at which the environment
    is solved, where it says so, and `weight` (b,).

    Args:
        world: What is acted in.
        split: `train`, `validation` or `test`; each has episodes of its own.
        actor: Name of the network that tells the values of the actions.
        ask: What tells them in the network's place.

    Attributes:
        batch_size: Number of episodes.
        steps: 1.
    """

    steps = 1

    def __init__(self, world: World, split: str, *, actor: str, ask: Ask | None = None):
        self.batch_size = world.settings.episodes
        self._world, self._split, self._actor, self._ask = world, split, actor, ask
        self._asked = Asked()

    def batches(
        self,
        strategy: tf.distribute.Strategy,
        epoch: int = 0,
        *,
        start: int = 0,
        networks: Any = None,
    ) -> Iterator[Any]:
        """See `zoo.data.feeds.source.Source.batches`; every epoch has the same episodes."""
        if start:
            return
        ask = self._ask or self._asked(networks, self._actor)
        seeds = (SEED, EPISODE, STREAMS[self._split])
        played = play(self._world, ask, episodes=self.batch_size, seeds=seeds)
        columns = {
            "return": np.array([each.total for each in played], np.float32),
            "length": np.array([each.length for each in played], np.float32),
            "weight": np.ones(len(played), np.float32),
        }
        if self._world.threshold is not None:
            columns["threshold"] = np.full(len(played), self._world.threshold, np.float32)
        yield dealt(columns, strategy)

    def state(self) -> dict[str, Any]:
        """See `zoo.data.feeds.source.Source.state`; there is nothing to keep."""
        return {}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `zoo.data.feeds.source.Source.restore`."""


def observe(world: World, split: str, count: int, *, ask: Ask | None) -> dict[str, np.ndarray]:
    """Returns what a policy sees and does: examples to calibrate with and to try a bundle on.

    It takes its best action, but for one in ten by chance; the examples are spread evenly over what
    was seen, and mixed, so that each part of them is like the whole. Among them are those with the
    smallest and the largest of each number that was seen, as far as half of them go: integers
    that are calibrated on them then reach as far.

    Args:
        world: What is acted in.
        split: See `Episodes`.
        count: Number of examples.
        ask: Tells the values of the actions; `None` acts by chance.

    Returns:
        `features` (count, ...), float32, and `action` (count, ...): the best action.
    """
    seed = SEED + 1 + STREAMS[split]  # not the episodes that are measured
    copies = Copies(world, world.settings.copies, seed=seed)
    num, seen, best = len(copies), [], []
    room = ROOM // copies.observations.nbytes
    for step in range(max(min(OBSERVED, room), -(-count // num))):
        random = generator(seed, SAMPLE, step)
        chance, other = random.random(num) < CHANCE, world.actions.anything(random, num)
        choice = other if ask is None else world.actions.best(ask(copies.observations))
        seen.append(copies.observations)
        best.append(choice)
        copies.act(np.where(chance.reshape(-1, *[1] * (other.ndim - 1)), other, choice))
    features = np.concatenate(seen)  # (steps * copies, ...)
    ends = np.unique([features.argmin(axis=0), features.argmax(axis=0)])[: count // 2]
    spread = np.linspace(0, len(features) - 1, count - len(ends)).astype(np.int64)
    chosen = generator(seed, DRAW).permutation(np.concatenate([ends, spread]))
    return {
        "features": features[chosen].astype(np.float32),
        "action": np.concatenate(best).astype(world.actions.dtype)[chosen],
    }
