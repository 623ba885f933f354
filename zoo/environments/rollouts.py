"""On-policy experience: what the present policy does and sees, with its advantages.

Source: Mnih et al. 2016, arXiv:1602.01783, section 4 (several actors, a few steps each, then one
update); Schulman et al. 2016, arXiv:1506.02438, equation 16 (generalised advantage estimation).
Differs: the actors take their steps together, and an episode that is cut off at its limit of steps
counts on with the value of what was seen last, as its future is not 0.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from zoo.environments.acting import Acting, Asked, returns
from zoo.environments.copies import ACT, DRAW, Copies, generator, trained
from zoo.environments.world import World


def advantages(
    rewards: np.ndarray,
    values: np.ndarray,
    following: np.ndarray,
    *,
    over: np.ndarray,
    discount: float,
    trace: float,
) -> np.ndarray:
    """Returns how much better each action was than expected, (time, copies), float32.

    A_t = d_t + discount * trace * A_(t+1), with d_t = r_t + discount * V(s_(t+1)) - V(s_t); the sum
    stops where an episode is over.

    Args:
        rewards: (time, copies).
        values: V of what was seen before each action, (time, copies).
        following: V of what was seen after it, 0 where the episode came to its end, (time, copies).
        over: Whether another episode began then, (time, copies), bool.
        discount: What a reward is worth one step later, in (0, 1].
        trace: Share of the later surprises, lambda in [0, 1].
    """
    surprises = rewards + discount * following - values
    found, later = np.zeros_like(surprises), np.zeros_like(surprises[0])
    for time in reversed(range(len(surprises))):
        later = surprises[time] + discount * trace * np.where(over[time], 0.0, later)
        found[time] = later
    return found.astype(np.float32)


class Rollouts(Acting):
    """Batches of what the networks `policy` and `value` do: a `zoo.data.feeds.source.Source`.

    A turn is what all copies do in the same number of steps, parts * batch_size / copies. It is
    gone through `passes` times, each time in another order, in batches of batch_size. Its columns:
    `features` (b, features), `action` (b, ...), `likelihood` (b,), log p of the action when it was
    taken, `advantage` (b,), of mean 0 and deviation 1 over the turn, `target` (b,), the value that
    the critic should have told, and the returns of the episodes that are over, see
    `acting.returns`.

    Args:
        world: What is acted in.
        batch_size: Frames in a batch, over all copies and replicas.
        seed: Seed of the episodes and of the actions, at least 0.
        discount: See `advantages`.
        trace: See `advantages`.
        parts: Batches of one pass over a turn.
        passes: How often a turn is gone through.

    Attributes:
        batch_size: As given.
        steps: Batches in an epoch.

    Raises:
        ValueError: The copies cannot share a turn evenly.
    """

    def __init__(
        self,
        world: World,
        *,
        batch_size: int,
        seed: int,
        discount: float,
        trace: float,
        parts: int = 1,
        passes: int = 1,
    ):
        num = world.settings.copies
        if batch_size * parts % num:
            raise ValueError(
                f"train.batch_size: got {batch_size} frames{f' in {parts} parts' * (parts > 1)}; "
                f"expected a multiple of environment.copies, {num}: each copy takes as many steps."
            )
        self.batch_size, self._parts, self._passes = batch_size, parts, passes
        self.steps = max(1, world.settings.frames // (batch_size * parts)) * parts * passes
        self._turn: dict[str, np.ndarray] = {}
        self._world, self._seed, self._discount, self._trace = world, seed, discount, trace
        self._copies = Copies(world, num, seed=trained(seed))
        self._asked = Asked()

    def batch(self, networks: Mapping[str, Any], number: int) -> dict[str, np.ndarray]:
        """Returns the columns of one batch; acts where it is the first of a turn.

        Args:
            networks: `policy` and `value`.
            number: Number of the batch, from 0.
        """
        turn, place = divmod(number, self._parts * self._passes)
        if place == 0:
            self._turn = self.collect(networks, turn)
        if self._parts * self._passes == 1:
            return self._turn
        done, part = divmod(place, self._parts)
        size = self._parts * self.batch_size
        order = generator(self._seed, DRAW, turn, done).permutation(size)
        chosen = order[part * self.batch_size : (part + 1) * self.batch_size]
        return {name: values[chosen] for name, values in self._turn.items()}

    def collect(self, networks: Mapping[str, Any], number: int) -> dict[str, np.ndarray]:
        """Acts, and returns the columns of one turn.

        Args:
            networks: `policy` and `value`.
            number: Number of the turn, from 0; its actions are drawn by it.
        """
        policy, value = self._asked(networks, "policy"), self._asked(networks, "value")
        num, size = len(self._copies), self._parts * self.batch_size
        length = size // num
        can = self._world.actions
        random = can.draw(generator(self._seed, ACT, number), (length, num))
        seen, logits, actions, moves = [], [], [], []
        for drawn in random:
            seen.append(self._copies.observations)
            logits.append(policy(seen[-1]))
            actions.append(can.sampled(logits[-1], drawn))
            moves.append(self._copies.act(actions[-1]))
        rewards, ended, over, successors = map(np.stack, zip(*moves, strict=True))
        before = np.concatenate(seen)  # (time * copies, features)
        after = successors.reshape(before.shape)
        values = value(np.concatenate([before, after]))[:, 0].reshape(2, length, num)
        following = np.where(ended, 0.0, values[1])
        found = advantages(
            rewards, values[0], following, over=over, discount=self._discount, trace=self._trace
        )
        targets = found + values[0]
        found = (found - found.mean()) / (found.std() + 1e-8)
        taken = np.concatenate(actions).astype(can.dtype)
        return {
            "features": before,
            "action": taken,
            "likelihood": can.logs(np.concatenate(logits), taken),
            "advantage": found.reshape(-1),
            "target": targets.reshape(-1),
            **returns(self._copies.finished, size),
            "weight": np.ones(size, np.float32),
        }

    def state(self) -> dict[str, Any]:
        """See `zoo.data.feeds.source.Source.state`: where the copies stand, and the turn."""
        turn = self._turn if self._parts * self._passes > 1 else {}
        return {**{f"turn/{name}": values for name, values in turn.items()}, **self._copies.state()}

    def restore(self, state: Mapping[str, Any]) -> None:
        """See `zoo.data.feeds.source.Source.restore`."""
        turn = {name: values for name, values in state.items() if name.startswith("turn/")}
        self._turn = {name.removeprefix("turn/"): values for name, values in turn.items()}
        self._copies.restore(state)
