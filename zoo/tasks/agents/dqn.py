"""Deep Q-learning: a network learns the value of each action from a memory of what was done.

Source: Mnih et al. 2015, Nature 518 (experience replay, a target network that is held still, the
error clipped to [-1, 1], which is Huber's loss); van Hasselt et al. 2016, arXiv:1509.06461
(double); Wang et al. 2016, arXiv:1511.06581 (dueling, a setting of the network); Schaul et al.
2016, arXiv:1511.05952 (priorities); several steps as Hessel et al. 2018, arXiv:1710.02298. Differs:
the power that corrects for priorities reaches 1 after `explore.frames` frames, in the paper at the
end of the training; its weights are divided by the largest of their batch.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import Field

from zoo.common.settings import Settings
from zoo.tasks.agents.agent import Agent
from zoo.tasks.task import Follow, Mean, Seen

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np

    from zoo.environments import World
    from zoo.environments.acting import Ask
    from zoo.environments.replay import Replay
    from zoo.recipe import Train
    from zoo.tasks.task import Batch, Networks

NET, TARGET = "net", "target"
Count = Annotated[int, Field(ge=1)]
Share = Annotated[float, Field(ge=0, le=1)]


class Explore(Settings):
    """How often an action is taken by chance: a share that falls evenly from `first` to `last`.

    Attributes:
        first: At the first frame behind the warm-up.
        last: From `frames` on.
        frames: Frames, over all copies, until `last`.
    """

    first: Share = 1.0
    last: Share = 0.05
    frames: Count = 10_000

    def at(self, frame: int) -> float:
        """Returns the share at a frame, counted from 0."""
        return self.first + (self.last - self.first) * min(1.0, frame / self.frames)


class DQN(Agent):
    """The task of a network that tells the value of each action.

    A step is one batch drawn from the memory; `frames_per_step` frames are acted before it. An
    epoch is `environment.frames` frames, so environment.frames / frames_per_step steps.

    Attributes:
        double: Whether the network that learns chooses the next action, and the target network
            only says what it is worth.
        target_every: Steps between two turns of the target network.
        target_share: Share of the way that it goes then.
        memory: Frames that are remembered.
        warmup: Frames of chance actions before the first step; they belong to no epoch.
        frames_per_step: Frames acted before each step, over all copies.
        explore: Chance actions.
        reach: Steps whose rewards are summed up before a value is asked.
        priority: Power, alpha, of an error to which its example is drawn; 0 draws all alike.
        correction: Power, beta, to which an example that is drawn more often counts less, at first;
            it rises to 1 in `explore.frames` frames.
    """

    kind: Literal["dqn"] = "dqn"
    double: bool = True
    target_every: Count = 500
    target_share: Annotated[float, Field(gt=0, le=1)] = 1.0
    memory: Count = 50_000
    warmup: Count = 1000
    frames_per_step: Count = 4
    explore: Explore = Explore()
    reach: Count = 1
    priority: Share = 0.0
    correction: Share = 0.4

    def check(self, data: Any) -> None:
        """See `Task.check`: there are choices."""
        super().check(data)
        data.needs_choices("task.kind: dqn")

    def follows(self) -> tuple[Follow, ...]:
        """See `Task.follows`."""
        return (Follow(TARGET, NET, self.target_share, self.target_every),)

    def experience(self, world: World, train: Train, *, seed: int) -> Replay:
        """See `Agent.experience`."""
        from zoo.environments.replay import Replay

        self.plan(train)
        return Replay(
            world,
            batch_size=train.batch_size,
            seed=seed,
            memory=self.memory,
            warmup=self.warmup,
            frames_per_step=self.frames_per_step,
            epsilon=self.explore.at,
            discount=self.discount,
            reach=self.reach,
            priority=self.priority,
            correction=self._corrects,
            surprise=self._surprise,
        )

    def _corrects(self, frame: int) -> float:
        """The power at a frame."""
        return self.correction + (1 - self.correction) * min(1.0, frame / self.explore.frames)

    def _surprise(self, asks: Mapping[str, Ask], batch: Mapping[str, np.ndarray]) -> np.ndarray:
        """The errors of examples before the step that learns from them, (b,)."""
        import numpy as np

        rows = np.arange(len(batch["action"]))
        later = asks[TARGET](batch["successor"])
        best = (asks[NET](batch["successor"]) if self.double else later).argmax(axis=1)
        wanted = batch["reward"] + batch["later"] * later[rows, best]
        return np.asarray(wanted - asks[NET](batch["features"])[rows, batch["action"]])

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """See `Task.look`: y = r + later * Q'(s', a'), and Huber's loss of Q(s, a) - y."""
        from keras import ops

        values = networks[NET](batch["features"], training=training)  # (b, actions)
        later = networks[TARGET](batch["successor"], training=False)
        if self.double:
            own = networks[NET](batch["successor"], training=False)
            later = chosen(later, ops.top_k(own, 1)[1][:, 0])
        else:
            later = ops.max(later, axis=1)
        wanted = batch["reward"] + batch["later"] * later
        error = ops.abs(chosen(values, batch["action"]) - ops.stop_gradient(wanted))
        loss = ops.where(error < 1.0, 0.5 * error * error, error - 0.5)
        shown = {
            "value": Mean(ops.max(values, axis=1)),
            "return": Mean(batch["return"], batch["finished"]),
        }
        return Seen(Mean(loss * batch["importance"]), shown)


def chosen(values: Any, actions: Any) -> Any:
    """Returns the values of some actions: (b, actions) and (b,) to (b,)."""
    from keras import ops

    return ops.sum(values * ops.one_hot(actions, values.shape[1], dtype=values.dtype), axis=1)
