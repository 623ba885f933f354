"""Small environments whose best policy is known, for the tests of learning by acting."""

import gymnasium
import keras
import numpy as np

from zoo.environments.world import World
from zoo.recipe import Environment, Hardware, Optimizer, Train
from zoo.training import strategy
from zoo.training.trainer import Trainer

LENGTH = 5  # places of the corridor
LIMIT = 12  # steps of an episode


class Corridor(gymnasium.Env):
    """Walk to the right end: that is worth 1. The left step leads back; every step costs 0.01."""

    observation_space = gymnasium.spaces.Discrete(LENGTH)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.place = int(self.np_random.integers(LENGTH - 1))
        return self.place, {}

    def step(self, action):
        self.place, reward, ended = walk(self.place, action)
        return self.place, reward, ended, False, {}


class Moody(Corridor):
    """Its steps do not follow from their seeds."""

    def step(self, action):
        self.place = int(np.random.default_rng().integers(LENGTH - 1))
        return self.place, 0.0, False, False, {}


class Endless(Corridor):
    """Its actions have no ends."""

    action_space = gymnasium.spaces.Box(-np.inf, np.inf, (1,))


class Drift(gymnasium.Env):
    """A spot that drifts to the left or to the right: saying which is worth 1, at each of 8 steps.

    It is shown as pictures, one of which does not tell.
    """

    observation_space = gymnasium.spaces.Box(0, 255, (24, 20, 3), np.uint8)
    action_space = gymnasium.spaces.Discrete(2)

    def reset(self, *, seed=None, options=None):
        super().reset(seed=seed)
        self.right, self.place, self.time = int(self.np_random.integers(2)), 0, 0
        self.place = int(self.np_random.integers(10))
        return self.picture(), {}

    def step(self, action):
        reward = float(action == self.right)
        self.place, self.time = (self.place + 2 * self.right - 1) % 10, self.time + 1
        return self.picture(), reward, self.time == 8, False, {}

    def picture(self):
        found = np.zeros((24, 20, 3), np.uint8)
        found[8:16, 2 * self.place : 2 * self.place + 2] = 40, 200, 90
        return found


class Sideways(Drift):
    """Its channels come first."""

    observation_space = gymnasium.spaces.Box(0, 255, (3, 24, 20), np.uint8)


def walk(place, action):
    """The rule of the corridor: the next place, the reward, and whether that is the end."""
    place = min(LENGTH - 1, place + 1) if action else max(0, place - 1)
    ended = place == LENGTH - 1
    return place, 1.0 if ended else -0.01, ended


for kind in (Corridor, Moody, Endless, Drift, Sideways):
    gymnasium.register(f"ZooTest{kind.__name__}-v0", kind, max_episode_steps=LIMIT)


def corridor(**settings):
    values = {"name": "ZooTestCorridor-v0", "copies": 4, "frames": 256, "episodes": 6}
    return World(Environment(**values | settings))


def cart_pole(**settings):
    values = {"name": "CartPole-v1", "copies": 4, "frames": 256, "episodes": 6}
    return World(Environment(**values | settings))


def dense(world, outputs, *, hidden=(), seed=0, bias=True):
    """A network of a world's observations."""
    keras.utils.set_random_seed(seed)
    x = features = keras.Input(world.columns["features"].shape, name="features")
    for width in hidden:
        x = keras.layers.Dense(width, "tanh")(x)
    return keras.Model(features, keras.layers.Dense(outputs, use_bias=bias, name="out")(x))


def settings(*, epochs=2, batch_size=64, keep="last", **optimizer):
    values = {"kind": "sgd", "learning_rate": 0.05, "schedule": "constant"} | optimizer
    return Train(epochs=epochs, batch_size=batch_size, keep=keep, optimizer=Optimizer(**values))


def train(networks, task, world, chosen, *, validation=None, seed=0, **options):
    machine = strategy.choose_machine(Hardware(precision="float32", strategy="one"))
    source = task.experience(world, chosen, seed=seed)
    return Trainer(networks, task, chosen, machine).fit(source, validation, **options)


def difference(one, other):
    """The largest difference of weights, of networks by name."""
    return max(
        float(np.abs(a - b).max())
        for name in one
        for a, b in zip(one[name].get_weights(), other[name].get_weights(), strict=True)
    )
