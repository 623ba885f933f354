"""REINFORCE: what was done is made likelier by how much came of it.

Source: Williams 1992, Machine Learning 8, section 4 (with a baseline, which leaves the expected
gradient as it is and takes variance from it); rewards that were there before an action do not count
for it (reward to go: Sutton et al. 2000, NIPS 12, theorem 1). Differs: where a critic is the
baseline, an episode that is cut off at its limit of steps counts on with its value.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.agents.actor_critic import POLICY, VALUE, taken
from zoo.tasks.agents.agent import Agent
from zoo.tasks.task import Mean, Objective, Seen

if TYPE_CHECKING:
    from zoo.environments import World
    from zoo.environments.whole import Whole
    from zoo.recipe import Train
    from zoo.tasks.task import Batch, Networks


class Reinforce(Agent):
    """The task of a policy that learns from whole episodes; a critic may be its baseline.

    A step is a batch of train.batch_size episodes.

    Attributes:
        to_go: Whether only what came behind an action counts for it.
        baseline: What is subtracted: nothing; the mean of what the other episodes of the batch got
            at the same step; or what the network `value` says.
        entropy: Weight of the policy's entropy, in nats.
    """

    actor: ClassVar[str] = POLICY

    kind: Literal["reinforce"] = "reinforce"
    to_go: bool = True
    baseline: Literal["none", "mean", "value"] = "value"
    entropy: Annotated[float, Field(ge=0)] = 0.0

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`."""
        policy = Objective(POLICY, (POLICY,))
        return (policy, Objective(VALUE, (VALUE,))) if self.baseline == "value" else (policy,)

    def experience(self, world: World, train: Train, *, seed: int) -> Whole:
        """See `Agent.experience`."""
        from zoo.environments.whole import Whole

        self.plan(train)
        return Whole(
            world,
            batch_size=train.batch_size,
            seed=seed,
            discount=self.discount,
            critic=self.baseline == "value",
        )

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: the sum over an episode of -log p(a | s) (R - b), (b,)."""
        from keras import ops

        there, limit = batch["there"], batch["there"].shape[1]
        frames = ops.reshape(batch["features"], (-1, *batch["features"].shape[2:]))

        def asked(name: str) -> Any:  # (b, limit, outputs)
            found = networks[name](frames, training=training)
            return ops.reshape(found, (-1, limit, found.shape[-1]))

        if objective == VALUE:
            error = asked(VALUE)[..., 0] - batch["later"]
            return Seen(Mean(error**2, there))
        logs, entropy = taken(asked(POLICY), batch["action"])
        gained = batch["later"] if self.to_go else batch["later"][:, :1]
        if self.baseline == "value":
            gained = gained - ops.stop_gradient(asked(VALUE)[..., 0])
        elif self.baseline == "mean":
            gained = gained - batch["others" if self.to_go else "others_whole"]
        loss = -logs * gained - self.entropy * entropy
        shown = {
            "entropy": Mean(entropy, there),
            "return": Mean(batch["return"], batch["finished"]),
            "length": Mean(ops.sum(there, axis=1)),
        }
        return Seen(Mean(ops.sum(loss * there, axis=1)), shown)
