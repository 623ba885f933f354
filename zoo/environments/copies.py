"""Copies of an environment that are acted in side by side, and that a run can go back to exactly.

Where a copy stands is a function of the seed of its episode and the actions taken since: to go back
is to take those actions again. So a snapshot holds plain arrays, whatever the environment is, and
any environment whose episodes follow from their seeds can be resumed.
"""

from __future__ import annotations

from collections.abc import Mapping
from math import isfinite
from typing import Any, NamedTuple

import numpy as np

from zoo.common.reading import one_line
from zoo.environments.world import World

# Streams of random numbers, the word behind the seed. `PLAY` are episodes that are played.
EPISODE, ACT, DRAW, SAMPLE, PLAY = 1, 2, 3, 4, 5
SEED = 1606  # of the episodes of each split: all runs are measured on the same ones
MEASURED = range(SEED, SEED + 4)  # seeds of what is measured, and of what samples are taken from


def generator(*words: int) -> np.random.Generator:
    """Returns random numbers that are a function of some integers of at least 0."""
    return np.random.Generator(np.random.Philox(np.random.SeedSequence(words)))


def trained(seed: int) -> int:
    """Returns the seed of a run's own episodes: it learns from none that it is measured on.

    Args:
        seed: Of the run, from 0 to 2^31 - 1.
    """
    return seed + 2**31 if seed in MEASURED else seed


class BrokenEnvironmentError(RuntimeError):
    """An environment raised, or gave what cannot be learnt from; says which, where, and what."""


class Copy:
    """One environment, in one of its episodes.

    Args:
        world: What it is.
        seeds: Integers of at least 0 that, with the number of an episode, give its seed.

    Attributes:
        observation: What is seen now, (features,).
        episode: Number of the episode, from 0.
        actions: What was done in the episode so far.
        total: Sum of the rewards of the episode so far.
    """

    def __init__(self, world: World, seeds: tuple[int, ...], **options: Any):
        self._world, self._seeds = world, seeds
        self._shape = world.columns[world.input].shape
        self._zeros = np.zeros(self._shape[0] or 0, np.float32)
        self.environment = world.make(**options)

    def begin(self, episode: int) -> None:
        """Starts an episode.

        Raises:
            BrokenEnvironmentError: The environment raised, or what is seen is not of its space.
        """
        words = np.random.SeedSequence((*self._seeds, episode)).generate_state(1)
        self.episode, self.total, self._seed = episode, 0.0, int(words[0])
        self.actions: list[Any] = []
        try:
            found = self.environment.reset(seed=self._seed)
        except Exception as error:
            raise self._broken(f"raised {type(error).__name__}: {one_line(error)}") from error
        if not (isinstance(found, tuple) and len(found) == 2):
            raise self._broken(f"gave {_short(found)}; expected (observation, facts)")
        self.observation = self._seen(found[0])

    def act(self, action: Any) -> tuple[float, bool, bool]:
        """Takes an action, a plain number or a list of some.

        Returns:
            The reward, whether the episode came to its end, and whether it was cut off.

        Raises:
            BrokenEnvironmentError: The environment raised, its reward is no finite number, or what
                is seen is not of its space.
        """
        self.actions.append(action)
        try:
            seen, given, ended, cut, _ = self.environment.step(self._world.actions.of(action))
        except Exception as error:
            raise self._broken(f"raised {type(error).__name__}: {one_line(error)}") from error
        try:
            reward = float(given)
        except (TypeError, ValueError):
            reward = float("nan")
        if not isfinite(reward):
            raise self._broken(f"gave the reward {_short(given)}; expected a finite number")
        self.observation = self._seen(seen)
        self.total += reward
        return reward, bool(ended), bool(cut)

    def _seen(self, given: Any) -> np.ndarray:
        """What is seen, as `World.encode` gives it; refused where it is not of its space."""
        try:
            seen = self._world.encode(given)
        except Exception as error:
            raise self._broken(
                f"observes {_short(given)} ({type(error).__name__}: {one_line(error)}); its "
                f"observation_space says {self.environment.observation_space}"
            ) from error
        if seen.shape != self._shape:
            raise self._broken(
                f"observes {np.shape(given)}; its observation_space says "
                f"{self.environment.observation_space}"
            )
        # Rows: nothing but NaN and infinities times 0 is not 0; a tenth of the time of isfinite.
        if seen.dtype.kind == "f" and seen.dot(self._zeros) != 0:
            place = int(np.flatnonzero(~np.isfinite(seen))[0])
            raise self._broken(f"observes {seen.flat[place]} at {place}; expected finite numbers")
        return seen

    def _broken(self, what: str) -> BrokenEnvironmentError:
        """The error of the present step; step 0 is the reset."""
        return BrokenEnvironmentError(
            f"environment {self._world.name}, step {len(self.actions)} of the episode with seed "
            f"{self._seed}: {what}."
        )


def _short(value: Any) -> str:
    return " ".join(repr(value).split())[:80]


class Moved(NamedTuple):
    """What one action in each copy led to.

    Attributes:
        rewards: (copies,), float32.
        ended: Whether the episode came to its end, so that no reward follows, (copies,), bool.
        over: Whether it came to its end or was cut off, so that another one began, (copies,), bool.
        successors: What was seen after the action, before another episode began, (copies,
            features), float32.
    """

    rewards: np.ndarray
    ended: np.ndarray
    over: np.ndarray
    successors: np.ndarray


class Copies:
    """Some copies; where an episode is over, the next one begins at once.

    Args:
        world: What they are copies of.
        num: Number of copies.
        seed: Seed of the run, of at least 0.

    Attributes:
        observations: What is seen now, (copies, features), float32.
        finished: Returns of the episodes that are over; whoever reads them empties the list.
    """

    def __init__(self, world: World, num: int, *, seed: int):
        self._world = world
        self._copies = [Copy(world, (seed, EPISODE, number)) for number in range(num)]
        for copy in self._copies:
            copy.begin(0)
        self.observations = np.stack([copy.observation for copy in self._copies])
        self.finished: list[float] = []

    def __len__(self) -> int:
        return len(self._copies)

    def act(self, actions: np.ndarray) -> Moved:
        """Takes an action in each copy.

        Args:
            actions: (copies, ...), as the world has them.
        """
        num = len(self)
        moved = Moved(
            np.zeros(num, np.float32), np.zeros(num, bool), np.zeros(num, bool),
            np.empty_like(self.observations),
        )  # fmt: skip
        seen = np.empty_like(self.observations)
        for number, (copy, action) in enumerate(zip(self._copies, actions.tolist(), strict=True)):
            reward, ended, cut = copy.act(action)
            moved.rewards[number], moved.ended[number] = reward, ended
            moved.successors[number] = copy.observation
            if ended or cut:
                moved.over[number] = True
                self.finished.append(copy.total)
                copy.begin(copy.episode + 1)
            seen[number] = copy.observation
        self.observations = seen
        return moved

    def state(self) -> dict[str, np.ndarray]:
        """Returns where the copies stand: `episodes` and `lengths` (copies,), `actions`, `seen`."""
        actions = [copy.actions for copy in self._copies]
        return {
            "episodes": np.array([copy.episode for copy in self._copies], np.int64),
            "lengths": np.array([len(taken) for taken in actions], np.int64),
            "actions": np.array(
                [action for taken in actions for action in taken], self._world.actions.dtype
            ).reshape(-1, *self._world.actions.shape),
            "seen": self.observations,
        }

    def restore(self, state: Mapping[str, np.ndarray]) -> None:
        """Goes back to a state by taking its actions again.

        Raises:
            ValueError: The state is of other copies, or the same actions lead elsewhere.
        """
        if len(state["episodes"]) != len(self):
            raise ValueError(
                f"environment.copies: got {len(self)}; the run began with {len(state['episodes'])}."
            )
        taken = np.split(state["actions"], np.cumsum(state["lengths"])[:-1])
        for copy, episode, actions in zip(self._copies, state["episodes"], taken, strict=True):
            copy.begin(int(episode))
            for action in actions.tolist():
                copy.act(action)
        self.observations = np.stack([copy.observation for copy in self._copies])
        self.finished = []
        if not np.array_equal(self.observations, state["seen"], equal_nan=True):
            raise ValueError(
                f"{self._world.name}: the same seed and actions lead elsewhere; expected an "
                "environment whose episodes follow from their seeds. Start anew with --force."
            )
