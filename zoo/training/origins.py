"""What a run learns from: a data set, or an environment that is acted in."""

from __future__ import annotations

import copy
import logging
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Protocol, cast

import keras
import numpy as np

from zoo import catalog, weights
from zoo.bundle import Bundle
from zoo.data.dataset import DataSet, Split
from zoo.data.feeds.buckets import Buckets
from zoo.data.feeds.feed import Feed
from zoo.data.feeds.on_disk import OnDisk
from zoo.data.feeds.source import Source
from zoo.data.feeds.stream import Stream
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.environments.acting import asked
from zoo.environments.episodes import Episodes, observe
from zoo.environments.world import World
from zoo.recipe import Recipe, Train
from zoo.tasks.agents.agent import Agent
from zoo.tasks.task import Task

if TYPE_CHECKING:
    from zoo.tasks.task import Networks

LOG = logging.getLogger("zoo")
EVALUATION_BATCH = 250  # examples, at most
EVALUATED = 4  # times the examples of a step: without a gradient, they fit where a step does
NOISE_SEED = 2015  # of the noise that samples and evaluations are drawn with
MEASURED = 5000  # examples of a stream that its preprocessing is measured on
NOUNS = {"image": "images", "features": "rows", "tokens": "texts", "series": "signals"}

Answer = Callable[[Mapping[str, np.ndarray]], Any]  # preprocessed columns to outputs, (n, ...)


class Origin(Protocol):
    """What a run learns from.

    Attributes:
        data: Says what an example is: `name`, `source`, `columns`, `input`, `problems`.
        preprocessing: How a raw example becomes an input; `None` where it is one already.
        noun: What examples are called.
        packages: Other packages that what is measured depends on.
        acted: Whether what answers in the networks' place has to act, and not only to answer.
    """

    data: Any
    preprocessing: Preprocessing | None
    noun: str
    packages: tuple[str, ...]
    acted: bool

    def examples(self, split: str) -> int:
        """Returns the number of examples of a split."""

    def raw(self, split: str, count: int, networks: Networks) -> dict[str, np.ndarray]:
        """Returns the first examples of a split as they are, by name of the column."""

    def source(self, split: str, networks: Networks, answer: Answer | None) -> Source:
        """Returns the batches of a split, in order; `answer` acts in the networks' place."""

    def experience(self, settings: Train, networks: Networks) -> Source:
        """Returns the batches to learn from, by the settings of a training."""

    def fixed(self, networks: Networks) -> Source:
        """Returns the batches that a gradient of the whole is taken of."""


def open_origin(
    recipe: Recipe,
    *,
    replicas: int,
    preprocessing: Preprocessing | None = None,
    data: DataSet | None = None,
) -> Origin:
    """Loads the data set of a recipe, or opens its environment.

    Args:
        recipe: Resolved settings.
        replicas: Devices that share a batch.
        preprocessing: Settings of an earlier run; `None` measures it on the training examples.
        data: Stands in for the recipe's.

    Raises:
        ValueError: The task cannot be learnt from it.
    """
    if recipe.environment is not None and data is None:
        return FromWorld(recipe, World(recipe.environment))
    given = recipe.data
    data = data or load(
        given.name,
        size=given.size,
        channels=given.channels,
        limit=given.limit,
        stream=given.stream,
        text=given.text,
    )
    return FromData(recipe, data, replicas=replicas, preprocessing=preprocessing)


class FromData:
    """A data set; see `Origin`.

    Args:
        recipe: Resolved settings.
        data: What is learnt from.
        replicas: Devices that share a batch.
        preprocessing: Settings of an earlier run; `None` measures it on the training examples.

    Raises:
        ValueError: The task cannot be learnt from the data.
    """

    packages: tuple[str, ...] = ()
    acted = False

    def __init__(
        self,
        recipe: Recipe,
        data: DataSet,
        *,
        replicas: int,
        preprocessing: Preprocessing | None = None,
    ):
        self.data: Any = data
        self._recipe, self._replicas = recipe, replicas
        self._task = cast(Task, recipe.task)
        self._task.check(data)
        self.noun = NOUNS.get(data.columns[data.input].kind, "examples")
        self.preprocessing = preprocessing or self._measured()

    def on(self, data: DataSet) -> FromData:
        """Returns the same with other examples, and what is measured on them."""
        return FromData(self._recipe, data, replicas=self._replicas)

    @property
    def prepare(self) -> dict[str, Preprocessing]:
        """The preprocessing of each column that has one."""
        return {} if self.preprocessing is None else {self.data.input: self.preprocessing}

    def examples(self, split: str) -> int:
        """See `Origin.examples`."""
        return len(getattr(self.data, split))

    def raw(self, split: str, count: int, networks: Networks) -> dict[str, np.ndarray]:
        """See `Origin.raw`."""
        columns = getattr(self.data, split)[:count].columns
        return {name: np.asarray(values) for name, values in columns.items()}

    def source(self, split: str, networks: Networks, answer: Answer | None) -> Source:
        """See `Origin.source`."""
        size = min(EVALUATION_BATCH, EVALUATED * self._recipe.train.batch_size)
        size = -(-size // self._replicas) * self._replicas  # shared evenly by all
        draws = self._task.draws(networks)
        return Feed(
            self._needed(split), self.prepare, batch_size=size, seed=NOISE_SEED, draws=draws
        )

    def experience(self, settings: Train, networks: Networks) -> Source:
        """See `Origin.experience`."""
        augment = self._recipe.data.augment
        if augment.mirror == "auto":
            augment = augment.model_copy(update={"mirror": self.data.mirror})
        for column in self._task.needs(self.data):
            for name, most in self.data.motions.get(column, {}).items():
                if (value := getattr(augment, name)) > most:
                    raise ValueError(
                        f"data.augment.{name}: got {value} for {self.data.name}, whose {column} it "
                        f"would make untrue; expected {most:g} at most."
                    )
        train = copy.copy(self._needed("train"))
        train.buffer = self._recipe.data.buffer or train.buffer
        feed = Feed(
            train,
            self.prepare,
            batch_size=settings.batch_size,
            seed=self._recipe.seed,
            training=True,
            augment=augment,
            draws=self._task.draws(networks),
            buckets=self._buckets(train),
        )
        feed.check_shared(self._replicas)
        return feed

    def _buckets(self, train: Split | Stream) -> Buckets | None:
        """What batches are cut by.

        Raises:
            ValueError: The task reads examples of one length, or they stay on the disk.
        """
        count, names = self._recipe.data.buckets, self._task.cuts
        if count == 1:
            return None
        told = f"data.buckets: got {count} for "
        if not names:
            raise ValueError(
                f"{told}a task {self._task.kind}, whose examples have one length; expected 1. "
                "Those of translate and caption are cut."
            )
        if isinstance(train, Stream) or any(isinstance(train[name], OnDisk) for name in names):
            raise ValueError(
                f"{told}examples that stay on the disk, whose lengths are not known; expected 1."
            )
        return Buckets({name: train[name] for name in names}, count)

    def fixed(self, networks: Networks) -> Source:
        """See `Origin.fixed`: the training split, in order."""
        return self.source("train", networks, None)

    def _needed(self, split: str) -> Any:
        """The columns of a split that the task needs."""
        whole = getattr(self.data, split)
        if isinstance(whole, Stream):
            return whole
        return Split({name: whole[name] for name in self._task.needs(self.data)})

    def _measured(self) -> Preprocessing | None:
        """The preprocessing of the trained weights, or of the task, else measured.

        It is measured on the training split, on the first `MEASURED` examples of a stream; texts
        have none.
        """
        name = self._recipe.train.transfer.weights
        column = self.data.columns[self.data.input]
        if name is not None:
            return _of_weights(self._recipe, name, int(column.shape[0] or 0))
        if column.kind not in ("image", "features"):
            return None
        known = self._task.preprocessing(column)
        if known is not None:
            return known
        train = self.data.train
        examples = train[:MEASURED] if isinstance(train, Stream) else train
        if (known := examples.preprocessing) is not None and known.shape == column.shape:
            return cast(Preprocessing, known)
        return Preprocessing.measure(examples[self.data.input])


def _of_weights(recipe: Recipe, name: str, size: int) -> Preprocessing:
    """The preprocessing that trained weights have learnt with, for pictures of another size."""
    row = catalog.trained_row(catalog.find_architecture(recipe.model), recipe.settings)
    if place := weights.find_shipped(row.name, name):
        known = Bundle(place).card.preprocessing
        return Preprocessing.model_validate({**known, "size": size})
    values = weights.find_weights(row.name, name).preprocessing(size)
    return Preprocessing.model_validate(values)


class FromWorld:
    """An environment: batches of a split are finished episodes; see `Origin`.

    Args:
        recipe: Resolved settings.
        world: The environment.

    Raises:
        ValueError: The task cannot be learnt from it.
    """

    packages: tuple[str, ...] = ("gymnasium",)
    acted = True
    noun = "frames and episodes"
    preprocessing: Preprocessing | None = None

    def __init__(self, recipe: Recipe, world: World):
        self.data: Any = world
        self._recipe, self._task = recipe, cast(Agent, recipe.task)
        self._task.check(world)

    def examples(self, split: str) -> int:
        """See `Origin.examples`."""
        return int(self.data.examples(split))

    def raw(self, split: str, count: int, networks: Networks) -> dict[str, np.ndarray]:
        """See `Origin.raw`: what the present policy sees."""
        actor: keras.Model | None = networks.get(self._task.actor)
        return observe(self.data, split, count, ask=asked(actor) if actor else None)

    def source(self, split: str, networks: Networks, answer: Answer | None) -> Source:
        """See `Origin.source`."""
        ask = None
        if answer is not None:
            name = self.data.input
            ask = lambda seen: np.asarray(answer({name: seen.astype(np.float32)}))  # noqa: E731
        return Episodes(self.data, split, actor=self._task.actor, ask=ask)

    def experience(self, settings: Train, networks: Networks) -> Source:
        """See `Origin.experience`."""
        if not self.data.limited:
            LOG.info(
                "%s says no limit: an episode is cut off after %d steps; max_episode_steps of "
                "gymnasium.register sets another", self.data.name, self.data.limit,
            )  # fmt: skip
        return self._task.experience(self.data, settings, seed=self._recipe.seed)

    def fixed(self, networks: Networks) -> Source:
        """See `Origin.fixed`: episodes have no gradient, what is learnt from has."""
        return self.experience(self._recipe.train, networks)
