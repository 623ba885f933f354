"""What tasks that learn by acting share: how they are measured, and what is deployed.

An agent is measured by the returns of episodes in which it takes its best action. What is deployed
is one network: what is seen (b, features) to a value of each action (b, actions), the best of which
is taken; or, of actions that are numbers, to their means and the logarithms of their deviations.
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import TYPE_CHECKING, Annotated, Any, ClassVar

from pydantic import Field

from zoo.recipe import Train
from zoo.tasks.task import Evaluation, Mean, Metric, Task

if TYPE_CHECKING:
    from pathlib import Path

    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.feeds.source import Source
    from zoo.environments import World
    from zoo.tasks.task import Batch, Networks


class Agent(Task):
    """A task that learns in an environment; subclasses say from which experience.

    Attributes:
        discount: What a reward is worth one step later.
        actor: Name of the network that acts.
    """

    headline: ClassVar[Metric] = Metric("return")
    deployed_answers: ClassVar[bool] = True  # it acts in the networks' place
    actor: ClassVar[str] = "net"

    discount: Annotated[float, Field(gt=0, le=1)] = 0.99

    def experience(self, world: World, train: Train, *, seed: int) -> Source:
        """Returns the source of training batches: what acts, and remembers.

        Args:
            world: What is acted in.
            train: Says the size of a batch.
            seed: Seed of the run.

        Raises:
            ValueError: The settings do not go together.
        """
        raise NotImplementedError

    def check(self, data: Any) -> None:
        """See `Task.check`: there is an environment."""
        from zoo.environments.world import World

        if not isinstance(data, World):
            raise ValueError(
                f"task.kind: got {self.kind}, which acts in an environment; {data.name} is a data "
                "set. Write environment: {name: CartPole-v1} in the place of data."
            )

    def plan(self, train: Train) -> None:
        """Refuses schedules that look at a validation loss, which episodes do not have.

        Raises:
            ValueError: The schedule is one of them.
        """
        changes = [*train.optimizers.values(), *(phase.optimizer for phase in train.phases)]
        schedules = [train.optimizer.schedule, *(one.get("schedule") for one in changes)]
        for schedule in schedules:
            if schedule in ("plateau", "divide"):
                raise ValueError(
                    f"train.optimizer.schedule: got {schedule} for the task {self.kind}, whose loss"
                    " says nothing of how well it acts; expected constant or cosine."
                )

    def sizes(self, data: Any) -> dict[str, Any]:
        """See `Task.sizes`: what is seen, and what is told of the actions."""
        return {"input_shape": data.columns[data.input].shape, "num_classes": data.actions.outputs}

    def outputs(self, data: Any) -> dict[str, Column]:
        """See `Task.outputs`: the best action; of numbers, what is told of them."""
        column = data.columns["action"]
        return {
            "action": column._replace(shape=(data.actions.outputs,)) if column.shape else column
        }

    def watch(self, networks: Networks, batch: Batch) -> dict[str, Mean]:
        """See `Task.watch`: of finished episodes."""
        return {name: Mean(batch[name]) for name in ("return", "length")}

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """See `Task.answer`: the return that the source measured, (b,)."""
        return batch["return"]

    def chosen(self, outputs: Any) -> Any:
        """See `Task.chosen`: the action that is taken."""
        return outputs.argmax(axis=-1)

    def meter(self, columns: Mapping[str, Column]) -> Returns:
        """See `Task.meter`."""
        return Returns()

    def deployed(self, networks: Networks) -> keras.Model:
        """See `Task.deployed`: the network that acts."""
        return networks[self.actor]

    def replaced(self, networks: Networks, model: keras.Model) -> dict[str, keras.Model]:
        """See `Task.replaced`; of a model that comes alone there is nothing else."""
        others = networks if self.actor in networks else {}
        return {**others, self.actor: model}


class Returns:
    """A meter of finished episodes.

    It measures `return`, its mean, `return_sd`, `return_min`, `return_max`, the mean `length` in
    steps, and, where the environment has one, the `threshold` at which it is solved.
    """

    def __init__(self) -> None:
        self._batches: list[Mapping[str, np.ndarray]] = []

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """See `Meter.add`."""
        self._batches.append(batch)

    def result(self) -> Evaluation:
        """See `Meter.result`."""
        import numpy as np

        columns = {
            name: np.concatenate([batch[name] for batch in self._batches]).astype("float64")
            for name in self._batches[0]
        }
        totals, lengths = columns["return"], columns["length"]
        metrics = {
            "return": float(totals.mean()),
            "return_sd": float(totals.std()),
            "return_min": float(totals.min()),
            "return_max": float(totals.max()),
            "length": float(lengths.mean()),
        }
        if "threshold" in columns:
            metrics["threshold"] = float(columns["threshold"][0])
        rows = [
            {"episode": number, "return": float(total), "length": int(length)}
            for number, (total, length) in enumerate(zip(totals, lengths, strict=True))
        ]
        threshold = metrics.get("threshold")
        return Evaluation(
            metrics, {"episodes": rows}, {"returns": partial(draw, totals, threshold)}
        )


def draw(returns: np.ndarray, threshold: float | None, path: Path) -> None:
    """Draws the returns of episodes, sorted.

    Args:
        returns: (episodes,).
        threshold: The mean at which the environment is solved; `None` draws none.
        path: The PNG to write.
    """
    import numpy as np
    from matplotlib.figure import Figure

    figure = Figure(figsize=(5, 3.5), layout="constrained")
    axes = figure.subplots()
    axes.plot(np.sort(returns), marker=".", linestyle="none")
    axes.axhline(returns.mean(), label=f"mean {returns.mean():.1f}")
    if threshold is not None:
        axes.axhline(threshold, color="grey", linestyle="--", label=f"solved at {threshold:g}")
    axes.set(xlabel="episodes, sorted", ylabel="return")
    axes.grid(alpha=0.3)
    axes.legend()
    figure.savefig(path, dpi=120)
