"""Proximal policy optimisation: several passes over what was done, none of which goes too far.

Source: Schulman et al. 2017, arXiv:1707.06347, equation 7 (the clipped ratio) and algorithm 1;
advantages as in `zoo.tasks.agents.a2c`. Differs: see `zoo.tasks.agents.actor_critic`.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from zoo.tasks.agents.actor_critic import ActorCritic
from zoo.tasks.task import Mean

if TYPE_CHECKING:
    from zoo.environments import World
    from zoo.environments.rollouts import Rollouts
    from zoo.recipe import Train
    from zoo.tasks.task import Batch


class PPO(ActorCritic):
    """The task of a policy and a critic that see each turn several times.

    A turn is `parts` * train.batch_size frames, of all copies; a step is one batch of it. An epoch
    is `environment.frames` frames, cut to whole turns.

    Attributes:
        clip: How far from 1 the ratio of the new to the old probability of an action still counts.
        parts: Batches that a turn is divided into.
        passes: How often each turn is gone through.
    """

    kind: Literal["ppo"] = "ppo"
    entropy: Annotated[float, Field(ge=0)] = 0.0
    clip: Annotated[float, Field(gt=0, lt=1)] = 0.2
    parts: Annotated[int, Field(ge=1)] = 4
    passes: Annotated[int, Field(ge=1)] = 10

    def experience(self, world: World, train: Train, *, seed: int) -> Rollouts:
        """See `Agent.experience`."""
        return self.rollouts(world, train, seed=seed, parts=self.parts, passes=self.passes)

    def act(self, logs: Any, batch: Batch) -> tuple[Any, dict[str, Mean]]:
        """See `ActorCritic.act`: -min(r A, clip(r) A), r the ratio of the probabilities."""
        from keras import ops

        ratio = ops.exp(logs - batch["likelihood"])
        near = ops.clip(ratio, 1.0 - self.clip, 1.0 + self.clip)
        gain = ops.minimum(ratio * batch["advantage"], near * batch["advantage"])
        return -gain, {"clipped": Mean(ops.cast(ops.abs(ratio - 1.0) > self.clip, "float32"))}
