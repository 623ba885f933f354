"""Planning and tables: closed forms on small chains, each other, and the optimum of toy texts."""

import numpy as np
import pytest

from tests.agents import LENGTH, corridor
from zoo.baselines import tabular
from zoo.environments import tables
from zoo.environments.world import World
from zoo.recipe import Environment


def chain(places, *, left=0.5):
    """A random walk between two ends; the right one is worth 1 (Sutton & Barto, example 6.2)."""
    moves, rewards = np.zeros((places, 1, places)), np.zeros((places, 1))
    for place in range(places):
        if place > 0:
            moves[place, 0, place - 1] = left
        if place < places - 1:
            moves[place, 0, place + 1] = 1 - left
    rewards[-1] = 1 - left
    start = np.zeros(places)
    start[places // 2] = 1.0
    return tables.Table(moves, rewards, start)


def walks(places, count, seed):
    """Episodes of the chain, simulated by themselves."""
    random = np.random.RandomState(seed)
    for _ in range(count):
        place, episode = places // 2, []
        while 0 <= place < places:
            after = place + random.choice((-1, 1))
            episode.append((place, float(after == places)))
            place = after
        yield episode


def test_a_random_walk_is_worth_its_closed_form():
    """k / (n + 1) at the k-th place; with p to the right (1 - r^k) / (1 - r^(n + 1)), r = q / p."""
    nowhere = np.zeros(5, np.int64)
    values = tables.evaluate(chain(5), nowhere, 1.0)
    np.testing.assert_allclose(values, np.arange(1, 6) / 6, atol=1e-12)
    ratio = 0.3 / 0.7
    biased = tables.evaluate(chain(7, left=0.3), np.zeros(7, np.int64), 1.0)
    wanted = (1 - ratio ** np.arange(1, 8)) / (1 - ratio**8)
    np.testing.assert_allclose(biased, wanted, atol=1e-12)
    assert tables.worth(chain(5), values) == pytest.approx(0.5)


def test_what_is_learnt_from_episodes_is_near_it():
    wanted = np.arange(1, 6) / 6
    mean = tables.monte_carlo(walks(5, 20_000, 0), 5, 1.0)
    np.testing.assert_allclose(mean, wanted, atol=0.015)
    by_differences = tables.temporal_differences(walks(5, 20_000, 1), 5, 1.0, power=0.8)
    np.testing.assert_allclose(by_differences, wanted, atol=0.03)
    later = tables.monte_carlo([[(0, 1.0), (1, 0.0), (0, 4.0)]], 3, 0.5)
    np.testing.assert_allclose(later, [(1 + 0.25 * 4 + 4) / 2, 2.0, 0.0])


@pytest.mark.parametrize(
    "name", ["FrozenLake-v1", "FrozenLake8x8-v1", "CliffWalking-v1", "Taxi-v4"]
)
def test_both_ways_of_planning_find_the_same(name):
    process = tables.table(World(Environment(name=name)))
    assert process.start.sum() == pytest.approx(1)
    one, other = (f(process, 0.99) for f in (tables.value_iteration, tables.policy_iteration))
    np.testing.assert_allclose(one.values, other.values, atol=1e-7)
    np.testing.assert_array_equal(one.policy, other.policy)
    exact = tables.evaluate(process, one.policy, 0.99)
    np.testing.assert_allclose(exact, one.values, atol=1e-7)
    assert other.rounds <= one.rounds


def test_planning_wants_to_be_told_the_probabilities():
    assert tables.table(corridor()) is None
    with pytest.raises(ValueError, match=r"^ZooTestCorridor-v0: tells no probabilities"):
        tabular.planned(corridor(), by="values")
    with pytest.raises(ValueError, match=r"^CartPole-v1: is observed as Box.*; expected states"):
        tabular.learnt(World(Environment(name="CartPole-v1")), kind="sarsa")


@pytest.mark.parametrize("kind", ["q_learning", "sarsa"])
def test_tables_of_the_corridor_are_its_best_values(kind):
    """Right is best; the end is worth 1, each step before it costs 0.01."""
    values, episodes = tabular.learn(corridor(), LENGTH, kind=kind, frames=30_000)
    best = values[: LENGTH - 1].max(axis=1)
    wanted = [1.0]
    for _ in range(LENGTH - 2):
        wanted.insert(0, -0.01 + tabular.DISCOUNT * wanted[0])
    assert (values[: LENGTH - 1].argmax(axis=1) == 1).all() and episodes > 1000
    np.testing.assert_allclose(best, wanted, atol=0.02)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["q_learning", "sarsa"])
@pytest.mark.parametrize("name", ["FrozenLake-v1", "CliffWalking-v1", "Taxi-v4"])
def test_tables_are_within_one_per_cent_of_the_optimum(name, kind):
    metrics = tabular.learnt(World(Environment(name=name)), kind=kind).metrics
    assert metrics["optimum"] - metrics["discounted"] <= 0.01 * abs(metrics["optimum"])
