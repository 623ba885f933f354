"""Advantage actor-critic: a policy learns from how much better it did than a critic expected.

Source: Mnih et al. 2016, arXiv:1602.01783, section 4 and algorithm S3, whose actors wait for one
another here (A2C); advantages by Schulman et al. 2016, arXiv:1506.02438. Differs: see
`zoo.tasks.agents.actor_critic`; advantages are scaled to deviation 1 in each batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Literal

from zoo.tasks.agents.actor_critic import ActorCritic
from zoo.tasks.task import Mean

if TYPE_CHECKING:
    from zoo.environments import World
    from zoo.environments.rollouts import Rollouts
    from zoo.recipe import Train
    from zoo.tasks.task import Batch


class A2C(ActorCritic):
    """The task of a policy and a critic.

    A step is one batch: each of `environment.copies` acts train.batch_size / copies times. An epoch
    is `environment.frames` of them all, cut to whole batches.
    """

    kind: Literal["a2c"] = "a2c"

    def experience(self, world: World, train: Train, *, seed: int) -> Rollouts:
        """See `Agent.experience`."""
        return self.rollouts(world, train, seed=seed)

    def act(self, logs: Any, batch: Batch) -> tuple[Any, dict[str, Mean]]:
        """See `ActorCritic.act`: -A(s, a) log p(a | s)."""
        return -logs * batch["advantage"], {}
