"""Agents without a network: the best policy of a known process, and tables that are learnt.

Sources: `zoo.environments.tables`; Watkins 1989, Learning from delayed rewards (Q-learning);
Rummery & Niranjan 1994, On-line Q-learning using connectionist systems (SARSA); Singh et al. 2000,
Convergence results for single-step on-policy reinforcement-learning algorithms, Machine Learning
38(3): exploration that ends in the greedy policy. Actions are drawn by a softmax of their values
over a temperature that falls from `HOT` to `COLD`, and to 0: what is much worse, a step from the
cliff, is not tried on the way, so that SARSA, too, learns what the best policy is worth. The n-th
visit moves a value by n ** -POWER, at least by a share that falls to `LAST`.
"""

from __future__ import annotations

from typing import Any, Literal

import numpy as np

from zoo.baselines.texts import Predicted
from zoo.environments import tables
from zoo.environments.copies import ACT, EPISODE, SEED, Copy, generator, trained
from zoo.environments.episodes import STREAMS, play
from zoo.environments.world import World

DISCOUNT = 0.99
FRAMES = 3_000_000
START = 1.0  # value of what was never tried
POWER, LEAST, LAST = 0.8, 0.05, 0.0005
HOT, COLD = 1.0, 0.001  # temperatures
EXPLORES = 0.95  # share of the frames after which no action is by chance
DRAWN = 4096  # random numbers that are drawn at once


def planned(world: World, *, by: Literal["values", "policies"]) -> Predicted:
    """Finds the best policy of a process that tells its probabilities.

    Args:
        world: The environment.
        by: Value iteration, or policy iteration.

    Raises:
        ValueError: It tells none.
    """
    process = tables.table(world)
    if process is None:
        raise ValueError(
            f"{world.name}: tells no probabilities, which planning needs; expected e.g. "
            "gym:FrozenLake-v1, or q_learning, which needs none."
        )
    plan = tables.value_iteration if by == "values" else tables.policy_iteration
    found = plan(process, DISCOUNT)
    states, actions = process.rewards.shape
    settings = {"discount": DISCOUNT, "rounds": found.rounds}
    return _measured(world, np.eye(actions)[found.policy], process, settings, states)


def learnt(world: World, *, kind: Literal["q_learning", "sarsa"]) -> Predicted:
    """Learns a table of action values by acting.

    Args:
        world: The environment.
        kind: What is taken for what follows: the best action's value, or that of the action that
            is then taken.

    Raises:
        ValueError: Its states cannot be counted.
    """
    states = _num_states(world)
    values, episodes = learn(world, states, kind=kind)
    settings = {
        "discount": DISCOUNT, "frames": FRAMES, "episodes": episodes, "start": START,
        "power": POWER,
    }  # fmt: skip
    return _measured(world, values, tables.table(world), settings, values.size)


def learn(
    world: World, states: int, *, kind: str, frames: int = FRAMES, seed: int = 0
) -> tuple[np.ndarray, int]:
    """Returns a table (states, actions), and in how many episodes it was learnt.

    Args:
        world: The environment; a state is the place of the 1 in what is seen.
        states: Their number.
        kind: See `learnt`.
        frames: How often it acts.
        seed: Of the episodes and chance actions, at least 0.
    """
    world.needs_choices(kind)
    actions, copy = world.num_actions, Copy(world, (trained(seed), EPISODE))
    values, visits = np.full((states, actions), START), np.zeros((states, actions), np.int64)
    luck: list[np.ndarray] = []

    def seen() -> int:
        return int(copy.observation.argmax())

    def choose(state: int, frame: int) -> int:
        """The best after Gumbel's noise, which is a draw of the softmax."""
        if frame % DRAWN == 0:
            luck[:] = generator(seed, ACT, frame // DRAWN).gumbel(size=(DRAWN, actions))
        done = frame / (EXPLORES * frames)
        if done >= 1:
            return int(values[state].argmax())
        heat = HOT * (COLD / HOT) ** done
        return int((values[state] + heat * luck[frame % DRAWN]).argmax())

    copy.begin(0)
    state = seen()
    chosen = choose(state, 0)
    for frame in range(1, frames + 1):
        reward, ended, cut = copy.act(chosen)
        successor, over = seen(), ended or cut
        if over:
            copy.begin(copy.episode + 1)
        here = seen()
        following = choose(here, frame)
        later = 0.0
        if not ended:  # one that was cut off has no next action: the best one stands in
            best = kind == "q_learning" or over
            later = values[successor].max() if best else values[successor, following]
        visits[state, chosen] += 1
        least = LEAST * (1 - frame / frames) + LAST
        step = max(least, visits[state, chosen] ** -POWER)
        values[state, chosen] += step * (reward + DISCOUNT * later - values[state, chosen])
        state, chosen = here, following
    return values, copy.episode


def _measured(
    world: World, values: np.ndarray, process: Any, settings: dict[str, Any], stored: int
) -> Predicted:
    """How well the best actions of a table do: in episodes, and exactly where that can be known.

    `return` is that of the episodes that every agent is measured on; `discounted` is the exact
    value of the policy where episodes begin, `optimum` that of the best one.
    """
    found: dict[str, dict[str, float]] = {}
    for split in ("validation", "test"):
        seeds = (SEED, EPISODE, STREAMS[split])
        played = play(
            world, lambda seen: seen @ values, episodes=world.settings.episodes, seeds=seeds
        )
        found[split] = {
            "return": float(np.mean([each.total for each in played])),
            "length": float(np.mean([each.length for each in played])),
        }
    if process is not None:
        policy = tables.best(values)
        exact = tables.worth(process, tables.evaluate(process, policy, DISCOUNT))
        optimum = tables.worth(process, tables.value_iteration(process, DISCOUNT).values)
        found["test"] |= {"discounted": exact, "optimum": optimum}
    return Predicted(found["test"], found["validation"], settings, (), stored)


def _num_states(world: World) -> int:
    """The number of states, where what is seen is one of them."""
    import gymnasium

    space = world.make().observation_space
    if not isinstance(space, gymnasium.spaces.Discrete):
        raise ValueError(
            f"{world.name}: is observed as {space}; expected states that a table can count "
            "(Discrete), e.g. gym:FrozenLake-v1. Networks see others: zoo train dqn."
        )
    return int(space.n)
