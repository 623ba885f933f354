"""The training loop: `strategy.run`, `optimizer.apply` and Keras callbacks, on one device or many.

Keras' own `fit` clips before the gradients are summed, repeats dropout masks on every replica and
fails on several hosts, so the zoo has this one loop.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import keras

from zoo.data.feeds.source import Source
from zoo.recipe import Train
from zoo.tasks.task import Task
from zoo.training import transfer
from zoo.training.history import History
from zoo.training.loop import Loop
from zoo.training.signals import Terminated, stop_request
from zoo.training.strategy import Machine


class Trainer:
    """Trains the networks of a task.

    Args:
        networks: Functional, plain Keras, float32, by name; a single model is the network `net`.
            Their weights are changed when `fit` returns.
        task: What is seen, minimised and measured.
        settings: How long, and by which steps; the kind of optimizer is not `lbfgs`.
        machine: Where it runs.
    """

    def __init__(
        self,
        networks: keras.Model | Mapping[str, keras.Model],
        task: Task,
        settings: Train,
        machine: Machine,
    ):
        self.networks = {"net": networks} if isinstance(networks, keras.Model) else dict(networks)
        self.task = task
        self.settings = settings
        self.machine = machine

    def fit(
        self,
        source: Source,
        validation: Source | None = None,
        *,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        measure: Callable[[Mapping[str, keras.Model]], Mapping[str, float]] | None = None,
        snapshot: Path | None = None,
        resume: bool = False,
    ) -> History:
        """Trains until the last epoch, a callback's stop, Ctrl-C or SIGTERM.

        Of several workers all stop where one is asked to, and the chief writes the snapshot.
        A callback sees the epoch that `divide` starts over begin again, with the same number.

        Args:
            source: Training batches.
            validation: Measured after every epoch.
            callbacks: Keras callbacks; their model is the twin that is trained or, of several
                networks, what is deployed of their twins; all twins by name are `networks` of their
                `params`. After an epoch and at the end these have the moving average of the
                weights, where one is kept.
            measure: Returns the metrics of networks on the validation examples; `keep: best` asks
                it for a headline that is no mean over batches.
            snapshot: File for the state of the unfinished run; `None` keeps none.
            resume: Whether to continue from `snapshot`.

        Raises:
            DivergedError: The loss of an epoch is not a number.
            Terminated: SIGTERM asked it to stop; the snapshot is written.
            WorkerLostError: Another worker has gone.
            ValueError: The batch cannot be shared by the turns of an objective, `plateau` or `keep:
                best` has no validation to look at, a setting names an
                objective that the task lacks, or the snapshot is of another model.
        """
        parts = transfer.phases(self.settings, self.task.objectives())
        learning = {name for one in self.task.objectives() for name in one.learns}
        if len(learning) > 1 and any(part.unfreeze < 1 for part in parts):
            raise ValueError(
                f"unfreeze: got a share of the layers for the networks {', '.join(learning)}; "
                "expected a task of one network, whose head is known. Take phases with objectives."
            )
        _check_parts(self.task, source.batch_size, self.machine.replicas, self.settings.accumulate)
        schedules = {one.schedule for part in parts for one in part.optimizers.values()}
        for name, wanted in (
            ("schedule plateau", "plateau" in schedules),
            ("keep best", self.settings.keep == "best"),
        ):
            if wanted and validation is None:
                raise ValueError(f"{name}: got no validation; expected batches to look at.")
        with self.machine.together():
            loop = Loop(
                self.networks,
                self.task,
                self.settings,
                self.machine,
                source,
                validation,
                snapshot=snapshot,
                measure=measure,
            )
            loop.enter(0)
            if resume:
                loop.restore()
            loop.check_same()
            with stop_request() as stop:
                loop.run(callbacks, stop, resume=resume)
            loop.copy_back()
            if loop.halt.terminated:
                self.machine.part()  # nobody leaves before the chief has written
                raise Terminated
        return loop.history


def _check_parts(task: Task, batch_size: int, replicas: int, accumulate: int) -> None:
    """Refuses a batch that the turns of an objective, or what is accumulated, cannot share.

    Raises:
        ValueError: It is one.
    """
    most = replicas * accumulate * max(one.parts for one in task.objectives())
    if accumulate > 1 and batch_size % most:
        near = batch_size // most * most or most
        raise ValueError(
            f"train.accumulate: got {accumulate} with a batch of {batch_size} on {replicas} "
            f"devices; expected one that is a multiple of {most}, e.g. train.batch_size={near}."
        )
    for one in task.objectives():
        if one.parts > 1 and batch_size % (one.parts * replicas):
            raise ValueError(
                f"train.batch_size: got {batch_size}; expected a multiple of "
                f"{one.parts * replicas}: a turn of {one.name} sees one of {one.parts} parts on "
                f"each of {replicas} devices."
            )
