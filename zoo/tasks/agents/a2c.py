"""Advantage actor-critic: a policy learns from how much better it did than a critic expected.

Source: Mnih et al. 2016, arXiv:1602.01783, section 4 and algorithm S3, whose actors wait for one
another here (A2C); advantages by Schulman et al. 2016, arXiv:1506.02438. Differs: policy and value
share no layer and have an optimizer each, so that neither gradient clips the other and the value
loss needs no weight; advantages are scaled to deviation 1 in each batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar, Literal

from pydantic import Field

from zoo.tasks.agents.agent import Agent
from zoo.tasks.task import Mean, Objective, Seen

if TYPE_CHECKING:
    from zoo.environments import World
    from zoo.environments.rollouts import Rollouts
    from zoo.recipe import Train
    from zoo.tasks.task import Batch, Networks

POLICY, VALUE = "policy", "value"


class A2C(Agent):
    """The task of a policy and a critic, the objectives `policy` and `value`.

    A step is one batch: each of `environment.copies` acts train.batch_size / copies times. An epoch
    is `environment.frames` of them all, cut to whole batches.

    Attributes:
        trace: Lambda of the advantages: 0 looks one step ahead, 1 to the end of the batch.
        entropy: Weight of the policy's entropy, in nats, which keeps it from settling early.
    """

    actor: ClassVar[str] = POLICY

    kind: Literal["a2c"] = "a2c"
    trace: Annotated[float, Field(ge=0, le=1)] = 0.95
    entropy: Annotated[float, Field(ge=0)] = 0.01

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`."""
        return Objective(POLICY, (POLICY,)), Objective(VALUE, (VALUE,))

    def experience(self, world: World, train: Train, *, seed: int) -> Rollouts:
        """See `Agent.experience`."""
        from zoo.environments.rollouts import Rollouts

        self.plan(train)
        return Rollouts(
            world,
            batch_size=train.batch_size,
            seed=seed,
            discount=self.discount,
            trace=self.trace,
        )

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`."""
        features = batch["features"]
        if objective == VALUE:
            told = networks[VALUE](features, training=training)[:, 0]
            return Seen(Mean((told - batch["target"]) ** 2))
        return self.act(networks[POLICY](features, training=training), batch)

    def act(self, logits: Any, batch: Batch) -> Seen:
        """Returns what is seen of a policy: -A(s, a) log p(a | s) - weight * entropy, (b,).

        Args:
            logits: (b, actions).
            batch: Has `action` and `advantage` (b,), and the returns of finished episodes.
        """
        from keras import ops

        logs = ops.log_softmax(logits, axis=1)
        taken = ops.one_hot(batch["action"], logs.shape[1], dtype=logs.dtype)
        entropy = -ops.sum(ops.exp(logs) * logs, axis=1)
        loss = -ops.sum(logs * taken, axis=1) * batch["advantage"] - self.entropy * entropy
        shown = {"entropy": Mean(entropy), "return": Mean(batch["return"], batch["finished"])}
        return Seen(Mean(loss), shown)
