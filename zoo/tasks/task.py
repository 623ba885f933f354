"""What every kind of learning offers: what is seen of a batch, what is measured, what is deployed.

A task is a tagged block of a recipe, `task: {kind: classify, loss: cross_entropy}`, and one file
of this folder. The engine (`zoo.training`) owns the gradient, the mean over the whole batch and the
optimizers; the source (`zoo.data.feeds.source`) owns order and noise.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, Protocol

from zoo.common.columns import INPUTS
from zoo.common.settings import Settings

if TYPE_CHECKING:
    import keras
    import numpy as np

    from zoo.common.columns import Column
    from zoo.data.dataset import DataSet
    from zoo.data.feeds.source import Draw
    from zoo.data.preprocessing import Preprocessing

    Batch = Mapping[str, Any]  # named columns (b, ...), and "weight" (b,), 0 for padding
    Networks = Mapping[str, keras.Model]  # Functional models by name


class Mean(NamedTuple):
    """A quantity whose mean is of interest, over examples, tokens, pixels or boxes.

    The engine multiplies the weights by those of the examples, so that padding never counts.

    Attributes:
        values: One for each example (b,), or of each of its parts (b, ...).
        weights: How much each value counts, of the shape of `values`; `None` where each counts 1.
    """

    values: Any
    weights: Any = None


class Seen(NamedTuple):
    """What a task saw of a batch.

    Attributes:
        loss: What is minimised.
        measures: What else is of interest, by name.
    """

    loss: Mean
    measures: Mapping[str, Mean] = {}


class Objective(NamedTuple):
    """What one optimizer minimises; several take turns in a step.

    Attributes:
        name: Key of `train.optimizers`.
        learns: Names of the networks that learn by it.
        times: Turns in a step.
        parts: Parts of the batch, of which a turn sees the next one; 1 is all of it in each turn.
        layers: Names of the layers of those networks that learn; none for all.
    """

    name: str = "loss"
    learns: tuple[str, ...] = ("net",)
    times: int = 1
    parts: int = 1
    layers: tuple[str, ...] = ()

    def variables(self, networks: Networks) -> list[keras.Variable]:
        """Returns the weights that learn, each once."""
        every = [v for name in self.learns for v in networks[name].trainable_variables]
        own = set(self.layers)
        shared = {id(v): v for v in every if not own or own & set(v.path.split("/"))}
        return list(shared.values())


class Follow(NamedTuple):
    """A network that does not learn but follows another: target networks, mean teachers.

    Attributes:
        network: Name of the one that follows; the engine makes it, as a copy.
        of: Name of the one that is followed.
        share: Share of the way that it goes at each turn.
        every: Steps between two turns.
    """

    network: str
    of: str
    share: float = 1.0
    every: int = 1


class Metric(NamedTuple):
    """The headline of a task: what searches, budgets, checkpoints and tables read.

    Attributes:
        name: Key of an evaluation's metrics, and of the history as `val_NAME`.
        higher: Whether more is better.
        fraction: Whether it is a fraction, in [0, 1].
    """

    name: str
    higher: bool = True
    fraction: bool = False

    def better(self, one: float, other: float) -> bool:
        """Whether one value is better than another."""
        return one > other if self.higher else one < other


@dataclass(frozen=True)
class Evaluation:
    """A model's answers on one split.

    Attributes:
        metrics: Named numbers; which ones, the task says.
        tables: Plain rows by name of the table, e.g. `per_class`.
        pictures: What there is to see, by name: functions that draw it to a PNG file.
    """

    metrics: dict[str, float]
    tables: dict[str, Any] = field(default_factory=dict)
    pictures: Mapping[str, Callable[[Path], None]] = field(default_factory=dict)


class Meter(Protocol):
    """Measures a split batch by batch."""

    def add(self, batch: Mapping[str, np.ndarray], outputs: Any) -> None:
        """Takes note of some examples.

        Args:
            batch: Columns (b, ...), without padding.
            outputs: What `Task.answer` gave for them.
        """

    def result(self) -> Evaluation:
        """Returns what was measured."""


class Task(Settings):
    """A kind of learning. Keras is imported when something is computed, not before.

    Attributes:
        kind: A key of `zoo.catalog.TASKS`.
        headline: What searches, budgets, checkpoints and tables read; a property where it hangs on
            the task's settings, so ask an instance.
        served_apart: Whether what is deployed is another graph than the one network, which a bundle
            then holds beside it.
        ranked: Whether rows of an answer take their places by a score, as boxes do.
        deployed_answers: Whether `answer` is what the deployed model gives, so that an exported
            file can be measured in its place.
        measured_by: Settings of how it is measured alone: what changes with them is neither what a
            network learnt nor what its outputs mean. `zoo evaluate` takes changes of them.
        cuts: Columns of tokens whose padding a training batch need not have, see `data.buckets`.
        filmed: Whether a training makes pictures after some epochs, a film of the bundle. Where
            that takes long it is False, and `train.film` asks for it.
    """

    headline: ClassVar[Metric] = Metric("loss", higher=False)
    deployed_answers: ClassVar[bool] = False
    served_apart: ClassVar[bool] = False
    ranked: ClassVar[bool] = False
    cuts: ClassVar[tuple[str, ...]] = ()
    filmed: ClassVar[bool] = False
    measured_by: ClassVar[tuple[str, ...]] = ()

    kind: str

    def figure(
        self, metrics: Mapping[str, float], tables: Mapping[str, Any]
    ) -> tuple[str, int | None]:
        """Returns which metric of a test split tables of results tell, the headline of most tasks.

        Args:
            metrics: See `Evaluation`.
            tables: Likewise.

        Returns:
            Its name, and of how many examples it is; `None`: of all.
        """
        return self.headline.name, None

    def check(self, data: DataSet) -> None:
        """Refuses a data set that this cannot be learnt from.

        Raises:
            ValueError: A column is missing, or is of another kind.
        """

    def check_networks(self, data: DataSet, networks: Networks) -> None:
        """Refuses networks that cannot learn from a data set, before the first step.

        Raises:
            ValueError: They leave unread what could be read as the rest is.
        """
        columns = data.columns
        if missed := unread(networks, columns, self.uses(data)):
            read = sorted({x.name for network in networks.values() for x in network.inputs})
            told = ", ".join(f"{name} ({columns[name].kind})" for name in missed)
            raise ValueError(
                f"data.name: got {data.name}, which has {told}, for "
                f"{next(iter(networks.values())).name}, which reads {', '.join(read)} alone. Take "
                f"an architecture that reads {missed[0]} too, or another data set."
            )

    def sizes(self, data: DataSet) -> dict[str, Any]:
        """Returns what the builder must know of the data: `input_shape`, `num_classes` ..."""
        raise NotImplementedError

    def needs(self, data: DataSet) -> tuple[str, ...]:
        """Returns the columns that are read, learnt or measured; the others never make a batch."""
        return tuple(data.columns)

    def uses(self, data: DataSet) -> tuple[str, ...]:
        """Returns the columns that it reads itself, beside what its networks read; of most all."""
        return self.needs(data)

    def objectives(self) -> tuple[Objective, ...]:
        """Returns what is minimised, in the order of a step."""
        return (Objective(),)

    def follows(self) -> tuple[Follow, ...]:
        """Returns the networks that follow others."""
        return ()

    def draws(self, networks: Networks) -> Mapping[str, Draw]:
        """Returns the columns of noise that a batch needs."""
        return {}

    def look(self, objective: str, networks: Networks, batch: Batch, *, training: bool) -> Seen:
        """Runs the networks on a batch; the only method inside the graph of a step.

        Args:
            objective: Name of the objective whose turn it is.
            networks: The task's networks, by name.
            batch: Named columns (b, ...) and `weight` (b,).
            training: Whether to run as in training.
        """
        raise NotImplementedError

    def watch(self, networks: Networks, batch: Batch) -> dict[str, Mean]:
        """Returns what is measured of a validation batch: the loss and measures of each objective.

        Names of several objectives open with the objective's.
        """
        objectives = self.objectives()
        found: dict[str, Mean] = {}
        for each in objectives:
            seen = self.look(each.name, networks, batch, training=False)
            found |= named(seen, each.name if len(objectives) > 1 else "")
        return found

    def answer(self, networks: Networks, batch: Batch) -> Any:
        """Returns what `meter` reads of a batch, a structure of tensors (b, ...)."""
        raise NotImplementedError

    def meter(self, columns: Mapping[str, Column]) -> Meter:
        """Returns a fresh meter for a split of these columns."""
        raise NotImplementedError

    def meter_of(self, data: DataSet) -> Meter:
        """Returns a fresh meter for a split of a data set; most need no more than its columns."""
        return self.meter(data.columns)

    def files(self) -> Mapping[str, Path]:
        """Returns the files that it reads beside the data, by the names of its settings."""
        return {}

    def pictures(
        self, networks: Networks, meter: Any, columns: Mapping[str, Column]
    ) -> Mapping[str, Callable[[Path], None]]:
        """Returns what else there is to see of networks that were measured, beside the meter's.

        Args:
            networks: By name.
            meter: The one that measured them, see `meter`.
            columns: The data set's columns, by name.

        Returns:
            Functions that draw it to a PNG file, by name.
        """
        return {}

    def meter_with(self, data: DataSet, networks: Networks) -> Meter:
        """Returns a fresh meter that may ask the networks too; most need the data set alone."""
        return self.meter_of(data)

    def generate(
        self,
        networks: Networks,
        *,
        columns: Mapping[str, Column],
        count: int,
        seed: int,
        **options: Any,
    ) -> Any:
        """Makes new examples.

        Args:
            networks: Trained, by name.
            columns: What the deployed model reads and answers with, as a bundle's card says.
            count: Number of examples.
            seed: Seed of the noise, in [0, 2**31); the same seed makes the same examples.
            **options: Options of the task. `zoo generate` gives `label`, the index of a class;
                `walk`, whether the examples lie on a path between codes; `start`, pixels to begin
                with (n, height, width, channels), uint8. A task refuses those that it does not know
                by `zoo.tasks.made.refuse_options`.

        Returns:
            Pixels (count, height, width, channels), uint8; or `count` texts, a list of strings.

        Raises:
            ValueError: The task makes nothing, or has no such option.
        """
        raise ValueError(
            f"task {self.kind} makes nothing; expected a bundle of a task that does, e.g. vae, gan."
        )

    def preprocessing(self, column: Column) -> Preprocessing | None:
        """Returns how raw examples become inputs; `None` measures it on the training split.

        Args:
            column: What a model reads, an image or a table's row.
        """
        return None

    def outputs(self, data: DataSet) -> dict[str, Column]:
        """Returns what the deployed model answers with, in the order of its outputs.

        Of several, a network may lack some.
        """
        return {}

    def states(self, networks: Networks) -> dict[str, Column]:
        """Returns the inputs of the deployed model that are neither data nor noise."""
        return {}

    def inputs(self, networks: Networks, columns: Mapping[str, np.ndarray]) -> Any:
        """Returns what the deployed model reads of some examples.

        Args:
            networks: The task's networks, by name.
            columns: Preprocessed columns, and those of noise, (n, ...).

        Returns:
            An array (n, ...), or a mapping by the names of the inputs, where there are several.
        """
        return columns_of(self.deployed(networks) if networks else None, columns)

    def inputs_of(self, name: str, networks: Networks, columns: Mapping[str, Any]) -> Any:
        """Returns what one of the networks reads of some examples, as `inputs` does.

        Args:
            name: Name of the network.
            networks: By name.
            columns: Preprocessed columns, and those of noise, (n, ...).

        Raises:
            ValueError: There is no column for an input.
        """
        return columns_of(networks[name], columns)

    def asked(
        self, call: Callable[[Any], Any], networks: Networks, columns: Mapping[str, np.ndarray]
    ) -> Any:
        """Returns what `answer` would, asked of something else than Keras, e.g. an exported file.

        Args:
            call: From what the deployed model reads, see `inputs`, to what it answers.
            networks: The task's networks, by name.
            columns: Preprocessed columns, and those of noise, (n, ...).
        """
        return call(self.inputs(networks, columns))

    def chosen(self, outputs: Any) -> Any:
        """Returns the class that each answer chooses, (n,); `None` where an answer is no choice.

        Args:
            outputs: What the deployed model answers, NumPy arrays (n, ...).
        """
        return None

    def deployed(self, networks: Networks) -> keras.Model:
        """Returns what `model.keras` holds."""
        return next(iter(networks.values()))

    def replaced(self, networks: Networks, model: keras.Model) -> dict[str, keras.Model]:
        """Returns the networks with those in it that a changed deployed model brings along."""
        return {**networks, next(iter(networks)): model}


def columns_of(model: keras.Model | None, columns: Mapping[str, Any]) -> Any:
    """Returns the columns that a model reads: one as it is, several as a mapping by name.

    Each input reads the column of its name. The only input of a model may have another name: then
    it reads the first of `zoo.common.columns.INPUTS` that there is.

    Args:
        model: Functional; `None` for a model of one input that is not known.
        columns: By name.

    Raises:
        ValueError: There is no column for an input.
    """
    names = [tensor.name for tensor in model.inputs] if model else [""]
    if len(names) == 1 and names[0] not in columns:
        names = [name for name in INPUTS if name in columns][:1] or names
    missing = [name for name in names if name not in columns]
    if missing:
        raise ValueError(
            f"{model.name if model else 'model'}: reads {', '.join(names)}; got the columns "
            f"{', '.join(columns)}. Name the inputs after the columns."
        )
    if len(names) == 1:
        return columns[names[0]]
    return {name: columns[name] for name in names}


def unread(networks: Networks, columns: Mapping[str, Column], own: Iterable[str]) -> list[str]:
    """Returns columns that could be read as others are, and that nothing reads.

    Args:
        networks: By name.
        columns: Of the data set, by name.
        own: Columns that the task reads itself.
    """
    read = {tensor.name for network in networks.values() for tensor in network.inputs}
    if not read & set(columns):  # see `columns_of`
        read |= set([name for name in INPUTS if name in columns][:1])
    kinds = {column.kind for name, column in columns.items() if name in read}
    kinds |= {"heights"}  # of words, and never what is to be learnt
    others = set(columns) - read - set(own)
    return [name for name, column in columns.items() if name in others and column.kind in kinds]


def named(seen: Seen, objective: str) -> dict[str, Mean]:
    """Returns the loss and the measures by name; the names open with the objective's, if any.

    A measure called `loss` stands for the loss, e.g. the loss without auxiliary heads.
    """
    prefix = f"{objective}_" if objective else ""
    means = {"loss": seen.loss, **seen.measures}
    return {f"{prefix}{name}": mean for name, mean in means.items()}
