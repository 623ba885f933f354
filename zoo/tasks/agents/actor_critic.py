"""What tasks with a policy and a critic share; the networks are `policy` and `value`.

They share no layer and have an optimizer each, so that neither gradient clips the other and the
critic's loss needs no weight.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from zoo.tasks.agents.agent import Agent
from zoo.tasks.task import Mean, Objective, Seen

if TYPE_CHECKING:
    from zoo.environments import World
    from zoo.environments.rollouts import Rollouts
    from zoo.recipe import Train
    from zoo.tasks.task import Batch, Networks

POLICY, VALUE = "policy", "value"


class ActorCritic(Agent):
    """A task of a policy and a critic, the objectives `policy` and `value`.

    Attributes:
        trace: Lambda of the advantages: 0 looks one step ahead, 1 to the end of the turn.
        entropy: Weight of the policy's entropy, in nats, which keeps it from settling early.
    """

    actor: ClassVar[str] = POLICY

    trace: Annotated[float, Field(ge=0, le=1)] = 0.95
    entropy: Annotated[float, Field(ge=0)] = 0.01

    def objectives(self) -> tuple[Objective, ...]:
        """See `Task.objectives`."""
        return Objective(POLICY, (POLICY,)), Objective(VALUE, (VALUE,))

    def rollouts(
        self, world: World, train: Train, *, seed: int, parts: int = 1, passes: int = 1
    ) -> Rollouts:
        """Returns what both learn from; see `Rollouts`."""
        from zoo.environments.rollouts import Rollouts

        self.plan(train)
        return Rollouts(
            world,
            batch_size=train.batch_size,
            seed=seed,
            discount=self.discount,
            trace=self.trace,
            parts=parts,
            passes=passes,
        )

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`."""
        features = batch["features"]
        if objective == VALUE:
            told = networks[VALUE](features, training=training)[:, 0]
            return Seen(Mean((told - batch["target"]) ** 2))
        logs, entropy = taken(networks[POLICY](features, training=training), batch["action"])
        loss, shown = self.act(logs, batch)
        returns = Mean(batch["return"], batch["finished"])
        seen = {"entropy": Mean(entropy), **shown, "return": returns}
        return Seen(Mean(loss - self.entropy * entropy), seen)

    def act(self, logs: Any, batch: Batch) -> tuple[Any, dict[str, Mean]]:
        """Returns the policy's loss without its entropy (b,), and what else is shown.

        Args:
            logs: log p of the actions that were taken, (b,).
            batch: Has `advantage` (b,), and `likelihood` (b,), what `logs` were then.
        """
        raise NotImplementedError


def taken(logits: Any, actions: Any) -> tuple[Any, Any]:
    """Returns log p of the actions that were taken, and the entropy of the policy in nats, (...).

    Args:
        logits: (..., actions); of numbers their means, then the logarithms of their deviations.
        actions: (...), integers; or numbers (..., n).
    """
    from math import log, pi

    from keras import ops

    if "float" in str(actions.dtype):
        means, spreads = ops.split(logits, 2, axis=-1)
        away = (actions - means) * ops.exp(-spreads)
        told = -0.5 * (away**2 + log(2 * pi)) - spreads
        entropy = spreads + 0.5 * (1 + log(2 * pi))
        return ops.sum(told, axis=-1), ops.sum(entropy, axis=-1)
    logs = ops.log_softmax(logits, axis=-1)
    chosen = ops.one_hot(actions, logs.shape[-1], dtype=logs.dtype)
    return ops.sum(logs * chosen, axis=-1), -ops.sum(ops.exp(logs) * logs, axis=-1)
