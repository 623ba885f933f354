"""A recipe with its machine and its data at hand: what trains, measures and feeds a model."""

from __future__ import annotations

import copy
import logging
import zlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from compress.graph import copy_model
from zoo import catalog
from zoo.data.dataset import DataSet
from zoo.data.feeds.source import Source, noise
from zoo.data.preprocessing import Preprocessing
from zoo.models.build import create
from zoo.recipe import Recipe, Train
from zoo.tasks.task import Evaluation, Task
from zoo.training import lbfgs, steps
from zoo.training.evaluation import evaluate, memories
from zoo.training.history import History
from zoo.training.origins import NOISE_SEED, Answer, FromData, open_origin
from zoo.training.strategy import choose_machine
from zoo.training.trainer import Trainer
from zoo.training.twin import copy_weights

SPLITS = ("train", "validation", "test")
LOG = logging.getLogger("zoo")


class Run:
    """A recipe with its machine and its data at hand.

    An agent has an environment in the place of data (`zoo.environments`): then the batches of a
    split are finished episodes, and raw examples are what the present policy sees.

    Args:
        recipe: Resolved settings.
        preprocessing: Settings of an earlier run; `None` measures it on the training examples.
        networks: Networks of a bundle, by name: what a deployed model does not bring along is taken
            from them.
        data: Stands in for the recipe's.
        join: Whether to train with other workers, where there are some; see `choose_machine`.

    Raises:
        ValueError: The task cannot be learnt from the data.
    """

    def __init__(
        self,
        recipe: Recipe,
        preprocessing: Preprocessing | None = None,
        networks: Mapping[str, keras.Model] | None = None,
        data: DataSet | None = None,
        *,
        join: bool = False,
    ):
        self.recipe = recipe
        self.architecture = catalog.find_architecture(recipe.model)
        # Before TensorFlow's first operation.
        self.machine = choose_machine(recipe.hardware, join=join)
        self.task = cast(Task, recipe.task)
        self.networks = dict(networks or {})
        self.origin = open_origin(
            recipe, replicas=self.machine.replicas, preprocessing=preprocessing, data=data
        )
        sizes = ", ".join(f"{self.origin.examples(split):,} {split}" for split in SPLITS)
        LOG.info("%s: %s", self.data.name, self.data.source)
        LOG.info("%s: %s", self.origin.noun, sizes)
        for problem in self.data.problems:
            LOG.warning("data: %s", problem)

    @property
    def data(self) -> Any:
        """What an example is: a `DataSet`, or a `World` of an agent."""
        return self.origin.data

    @property
    def preprocessing(self) -> Preprocessing | None:
        """How a raw example becomes an input; `None` where it is one already."""
        return self.origin.preprocessing

    def on(self, data: DataSet) -> Run:
        """Returns the run on other examples, with the preprocessing that is measured on them."""
        other = copy.copy(self)
        other.origin = cast(FromData, self.origin).on(data)
        return other

    def create(self) -> dict[str, keras.Model]:
        """Returns the recipe's networks by name, with the initial weights of the seed."""
        keras.utils.set_random_seed(self.recipe.seed)
        weights: dict[str, Any] = {}
        if self.recipe.train.transfer.weights:
            weights["weights"] = self.recipe.train.transfer.weights
        built = create(
            self.recipe.model,
            **{**self.task.sizes(self.data), **weights, **self.recipe.settings},
        )
        networks = {"net": built} if isinstance(built, keras.Model) else dict(built)
        needed = {name for objective in self.task.objectives() for name in objective.learns}
        needed |= {follow.of for follow in self.task.follows()}
        if needed - set(networks):
            raise self.unfit(f"has {_listed(networks)}; expected {_listed(needed)}")
        self.networks = self._followed(networks)
        return self.networks

    def unfit(self, why: str) -> ValueError:
        """Returns what to raise where an architecture's networks are none of the task's.

        Args:
            why: What is known of the reason, in a few words.
        """
        own, kind = self.architecture.task, self.task.kind
        rows = [name for name, row in catalog.CATALOG.items() if row.task == kind]
        instead = (
            f"Take an architecture of {kind}, e.g. {rows[0]}, or task" if rows else "Take task"
        )
        return ValueError(
            f"task.kind: got {kind} for {self.architecture.name}, an architecture of {own}: {why}. "
            f"{instead}.kind={own}."
        )

    def _followed(self, networks: dict[str, keras.Model]) -> dict[str, keras.Model]:
        """Adds the networks that follow others, as copies, where they are not there yet."""
        for follow in self.task.follows():
            if follow.network not in networks:
                networks[follow.network] = copy_model(networks[follow.of])
        return networks

    def source(self, split: str, *, answer: Answer | None = None) -> Source:
        """Returns the batches of a split, in order.

        Args:
            split: A name of `SPLITS`.
            answer: What acts in the networks' place, where the batches are episodes; see
                `evaluate`.
        """
        return self.origin.source(split, self.networks, answer)

    def raw(self, split: str, count: int) -> dict[str, np.ndarray]:
        """Returns the first examples of a split as they are, by name of the column."""
        return self.origin.raw(split, count, self.networks)

    def examples(self, split: str) -> int:
        """Returns the number of examples of a split."""
        return self.origin.examples(split)

    def columns(self, raw: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
        """Returns raw examples as the networks see them: preprocessed, with columns of noise.

        Args:
            raw: Columns (n, ...).
        """
        columns = dict(raw)
        if self.preprocessing is not None:
            columns[self.data.input] = self.preprocessing.apply(columns[self.data.input])
        num = len(next(iter(columns.values())))
        drawn = noise(self.task.draws(self.networks), tf.constant([NOISE_SEED, 0]), num)
        return columns | {name: value.numpy() for name, value in drawn.items()}

    def inputs(self, raw: Mapping[str, np.ndarray], *, network: str | None = None) -> Any:
        """Returns what the deployed model reads of raw examples.

        Args:
            raw: Columns (n, ...).
            network: Name of one of the networks in its place.

        Returns:
            An array (n, ...), or a mapping from the names of the inputs, where there are several.
        """
        if network is not None:
            return self.task.inputs_of(network, self.networks, self.columns(raw))
        return self.task.inputs(self.networks, self.columns(raw))

    def samples(self, count: int) -> Any:
        """Returns what the deployed model reads of training examples, in their proportions."""
        return self.inputs(self.raw("train", count))

    def train(
        self,
        model: keras.Model | Mapping[str, keras.Model],
        *,
        settings: Train | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        snapshot: Path | None = None,
        resume: bool = False,
    ) -> History:
        """Trains networks, or a deployed model, in place; `settings` stand in for the recipe's.

        A model with auxiliary heads keeps them; a bundle has them no more.

        Raises:
            RuntimeError: Another worker has other examples.
        """
        settings = settings or self.recipe.train
        options: dict[str, Any] = {
            "callbacks": callbacks, "snapshot": snapshot, "resume": resume,
        }  # fmt: skip
        LOG.info("%s", self.machine.reason)
        networks = self._followed(self.of(model))
        if not self.origin.acted:
            self.task.check_networks(self.data, networks)
            self._check_shared()
        validation = self.source("validation")
        if settings.optimizer.kind == "lbfgs":
            if list(networks) != ["net"] or self.task.draws(networks):
                raise ValueError(
                    f"train.optimizer.kind: got lbfgs for the task {self.task.kind}; expected one "
                    "network without noise. Take adam."
                )
            everything, task = self.source("train"), self.task
            return lbfgs.fit(
                networks["net"], task, settings, self.machine, everything, validation, **options
            )
        trainer = Trainer(networks, self.task, settings, self.machine)
        experience = self.origin.experience(settings, networks)
        history = trainer.fit(experience, validation, measure=self._validated, **options)
        if isinstance(model, keras.Model):
            made = self.task.deployed(networks)
            own = {id(variable) for variable in model.variables}
            if any(id(variable) not in own for variable in made.variables):
                copy_weights(made, model)
        return history

    def _check_shared(self) -> None:
        """Refuses to train where the workers have other examples, of which each takes its share.

        Raises:
            RuntimeError: They do.
        """
        sizes = [self.examples(split) for split in SPLITS]
        known = zlib.crc32(f"{self.data.digest} {dict(self.data.columns)} {sizes}".encode())
        with self.machine.together():
            same = self.machine.agrees(known)
        if not same:
            raise RuntimeError(
                f"{self.data.name}: got other examples than another worker has; expected the same "
                "on all hosts."
            )

    def _validated(self, networks: Mapping[str, keras.Model]) -> dict[str, float]:
        return self.evaluate(networks, "validation").metrics

    def of(self, model: keras.Model | Mapping[str, keras.Model]) -> dict[str, keras.Model]:
        """Returns the networks of the task, of which a deployed model may stand for some."""
        if isinstance(model, Mapping):
            return dict(model)
        return self.task.replaced(self.networks or {"net": model}, model)

    def evaluate(
        self,
        model: keras.Model | Mapping[str, keras.Model],
        split: str,
        *,
        answer: Answer | None = None,
    ) -> Evaluation:
        """Measures networks, or a deployed model, on a split; see `evaluation.evaluate`.

        What answers in a model's place acts in its place, where there is an environment.
        """
        source, networks = self.source(split, answer=answer), self.of(model)
        found = evaluate(
            self.task,
            networks,
            source,
            self.data.columns,
            answer=None if self.origin.acted else answer,
            meter=self.task.meter_with(self.data, networks),
        )
        if answer is not None:
            return found
        more = memories(self.task, networks, self.data)
        return replace(found, pictures={**found.pictures, **more})

    def gradients(self, model: keras.Model, *, batches: int = 8) -> Iterator[list[np.ndarray]]:
        """Gives the gradients of the loss for some batches of the training split, in order.

        Args:
            model: The deployed model; it computes as at inference, so that it stays as it is.
            batches: Number of batches.

        Yields:
            An array for each trainable variable; zeros for one without a gradient.
        """
        networks = self._followed(self.of(model))
        objectives = self.task.objectives()
        own = [name for name, network in networks.items() if network is model]
        objective = next((o for o in objectives if set(o.learns) & set(own)), objectives[0])

        @tf.function(autograph=False)
        def step(batch: Any) -> Any:
            variables = model.trainable_variables
            return steps.gradient(
                self.task, objective, networks, batch, variables=variables, training=False
            )[1]

        source = self.origin.fixed(networks)
        strategy = tf.distribute.get_strategy()
        for number, batch in enumerate(source.batches(strategy, networks=networks)):
            if number == batches:
                return
            yield [slope.numpy() for slope in step(batch)]


def _listed(names: Iterable[str]) -> str:
    return " and ".join(sorted(names))
