"""Markov decision processes whose states can be counted: what they are worth, and the best policy.

Sources: Bellman 1957, Dynamic Programming (value iteration); Howard 1960, Dynamic Programming and
Markov Processes (policy iteration); Sutton 1988, Learning to predict by the methods of temporal
differences, Machine Learning 3(1); Sutton & Barto 2018, Reinforcement Learning, algorithms of
chapters 4 to 6 (every-visit Monte Carlo, TD(0)).

A policy is the action of each state (states,); values are sums of discounted rewards to come.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

import numpy as np

TOLERANCE = 1e-10  # of the largest change of a value
ALIKE = 1e-9  # actions whose values differ by less are equally good

Episode = list[tuple[int, float]]  # states, and the reward that followed each


class Table(NamedTuple):
    """A process whose probabilities are known.

    Attributes:
        moves: Probability of each next state in which the episode goes on, (states, actions,
            states); what is missing to 1 is that it ends.
        rewards: Expected reward of each action, (states, actions).
        start: Probability that an episode begins in a state, (states,).
    """

    moves: np.ndarray
    rewards: np.ndarray
    start: np.ndarray


class Plan(NamedTuple):
    """What planning found.

    Attributes:
        values: Of the policy, (states,).
        policy: The action of each state, (states,); of equally good ones the first.
        rounds: How many sweeps or improvements it took.
    """

    values: np.ndarray
    policy: np.ndarray
    rounds: int


def table(world: Any) -> Table | None:
    """Returns the process of an environment that tells its probabilities; `None` if it does not.

    Args:
        world: A `zoo.environments.World`; gymnasium's toy texts have `P` and
            `initial_state_distrib`.
    """
    if world.actions.shape:
        return None
    inner = world.make().unwrapped
    known, start = getattr(inner, "P", None), getattr(inner, "initial_state_distrib", None)
    if known is None or start is None:
        return None
    states, actions = len(known), world.num_actions
    moves, rewards = np.zeros((states, actions, states)), np.zeros((states, actions))
    for state in range(states):
        for action in range(actions):
            for share, successor, reward, ended in known[state][action]:
                rewards[state, action] += share * reward
                if not ended:
                    moves[state, action, successor] += share
    return Table(moves, rewards, np.asarray(start, np.float64))


def action_values(process: Table, values: np.ndarray, discount: float) -> np.ndarray:
    """Returns what each action is worth, (states, actions), if `values` are what follows."""
    return process.rewards + discount * process.moves @ values


def value_iteration(process: Table, discount: float) -> Plan:
    """Returns the best policy, by sweeps of Bellman's equation.

    Args:
        process: What is known.
        discount: In [0, 1); 1 where every policy comes to an end.
    """
    values, rounds = np.zeros(len(process.start)), 0
    while True:
        found = action_values(process, values, discount)
        rounds += 1
        done = np.abs(found.max(axis=1) - values).max() < TOLERANCE
        values = found.max(axis=1)
        if done:
            return Plan(values, best(found), rounds)


def policy_iteration(process: Table, discount: float) -> Plan:
    """Returns the best policy, by evaluating one exactly and taking better actions, in turn."""
    policy, rounds = np.zeros(len(process.start), np.int64), 0
    while True:
        values = evaluate(process, policy, discount)
        found = action_values(process, values, discount)
        rounds += 1
        own = found[np.arange(len(policy)), policy]
        better = np.where(found.max(axis=1) > own + ALIKE, best(found), policy)
        if np.array_equal(better, policy):
            return Plan(values, best(found), rounds)
        policy = better


def evaluate(process: Table, policy: np.ndarray, discount: float) -> np.ndarray:
    """Returns what a policy is worth in each state, (states,), by solving its equations.

    Args:
        process: What is known.
        policy: Actions (states,), or their probabilities (states, actions).
        discount: In [0, 1); 1 where the policy comes to an end from everywhere.
    """
    states, actions = process.rewards.shape
    shares = np.eye(actions)[policy] if policy.ndim == 1 else policy
    moves = np.einsum("sa,sat->st", shares, process.moves)
    rewards = (shares * process.rewards).sum(axis=1)
    return np.asarray(np.linalg.solve(np.eye(states) - discount * moves, rewards))


def worth(process: Table, values: np.ndarray) -> float:
    """Returns the value where episodes begin."""
    return float(process.start @ values)


def best(found: np.ndarray) -> np.ndarray:
    """Returns the best action of each state; of equally good ones the first."""
    return np.asarray((found >= found.max(axis=1, keepdims=True) - ALIKE).argmax(axis=1))


def monte_carlo(episodes: Iterable[Episode], states: int, discount: float) -> np.ndarray:
    """Returns values (states,): the mean of the returns behind every visit; 0 without a visit.

    Args:
        episodes: Whole episodes of one policy.
        states: Their number.
        discount: What a reward is worth one step later.
    """
    totals, visits = np.zeros(states), np.zeros(states)
    for episode in episodes:
        later = 0.0
        for state, reward in reversed(episode):
            later = reward + discount * later
            totals[state] += later
            visits[state] += 1
    return totals / np.maximum(visits, 1)


def temporal_differences(
    episodes: Iterable[Episode], states: int, discount: float, *, power: float = 0.6
) -> np.ndarray:
    """Returns values (states,) by TD(0): each moves towards the reward and the next value.

    Args:
        episodes: As in `monte_carlo`.
        states: Their number.
        discount: As there.
        power: The n-th visit of a state moves it by n ** -power of the way, in (0.5, 1].
    """
    values, visits = np.zeros(states), np.zeros(states)
    for episode in episodes:
        following = [values_of for values_of, _ in episode[1:]]
        for place, (state, reward) in enumerate(episode):
            visits[state] += 1
            later = values[following[place]] if place < len(following) else 0.0
            step = visits[state] ** -power
            values[state] += step * (reward + discount * later - values[state])
    return values
