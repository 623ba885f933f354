"""A training run: a recipe and its data become a bundle.

bundle = zoo.fit("vgg16", data="mnist5k", out="runs/vgg16")
"""

from __future__ import annotations

import csv
import logging
import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import keras
import numpy as np

from zoo import bundle as bundles
from zoo import catalog, tasks, weights
from zoo import recipe as recipes
from zoo.bundle import Bundle, Card, Report
from zoo.data import loading
from zoo.data.dataset import DataSet
from zoo.data.feed import Feed
from zoo.data.preprocessing import Preprocessing
from zoo.models.build import create
from zoo.models.saved import load
from zoo.recipe import Recipe, Train
from zoo.tasks import plots
from zoo.tasks.task import Evaluation, evaluate
from zoo.training import cycles, lbfgs, provenance, steps
from zoo.training.heads import without_auxiliary
from zoo.training.history import History
from zoo.training.strategy import choose
from zoo.training.trainer import Trainer

EVALUATION_BATCH = 250
SPLITS = ("train", "validation", "test")
LOG = logging.getLogger("zoo")


def fit(
    recipe: Recipe | str,
    *,
    data: str | None = None,
    out: str | Path | None = None,
    changes: Iterable[str] = (),
    resume: bool = False,
    force: bool = False,
    smoke: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Bundle:
    """Trains a model of the catalogue and writes its bundle.

    The unfinished run is kept in `<out>.partial` until the bundle is complete.

    Args:
        recipe: A resolved recipe, or the name of an architecture for its own.
        data: Name of a data set in place of the recipe's; only with a name.
        out: Directory of the bundle; `runs/<model>` when `None`.
        changes: `key=value` changes of the recipe; only with a name.
        resume: Whether to continue the unfinished run of `out`, with the recipe it began with.
        force: Whether to replace a bundle, or to drop an unfinished run.
        smoke: Whether to apply the recipe's `smoke` block, a run of seconds; only with a name.
        callbacks: Keras callbacks.

    Raises:
        ValueError: A name or a setting is wrong.
        FileExistsError: There is a bundle, or an unfinished run, at `out`.
        FileNotFoundError: There is no run to resume.
    """
    began = time.perf_counter()
    changes = list(changes)
    changed = bool(data is not None or changes or smoke)
    if not isinstance(recipe, str) and changed:
        raise ValueError("fit: got a recipe with changes of it; expected them with a name only.")
    if isinstance(recipe, str):
        recipe = recipes.resolve(recipe, data=data, changes=changes, smoke=smoke)
    out = Path(out or Path("runs") / recipe.model)
    partial = out.with_name(out.name + ".partial")
    snapshot = partial / "snapshot.npz"
    if resume:
        if changed:
            raise ValueError(
                "--resume continues the recipe it began with; drop --data, --set and --smoke."
            )
        if not snapshot.is_file():
            raise FileNotFoundError(f"{snapshot}: not found; there is no unfinished run to resume.")
        recipe = Recipe.read(partial / bundles.RECIPE)
    else:
        bundles.check_free(out, force=force)
        if snapshot.is_file() and not force:
            raise FileExistsError(
                f"{partial}: holds an unfinished run; --resume continues it, --force drops it."
            )
    run = Run(recipe)
    model = run.create()
    if not resume:
        bundles.remove(partial)
        partial.mkdir(parents=True)
        (partial / bundles.RECIPE).write_text(recipe.to_yaml())
    history = run.train(model, callbacks=callbacks, snapshot=snapshot, resume=resume)
    bundle = run.write(
        out,
        model,
        history,
        began=began,
        force=force or resume,
        add=lambda stage: cycles.copy(partial, stage),
    )
    if not history.interrupted:
        bundles.remove(partial)
    return bundle


class Run:
    """A recipe with its machine and its data at hand.

    Args:
        recipe: Resolved settings.
        preprocessing: That of an earlier run; `None` measures it on the training images.
    """

    def __init__(self, recipe: Recipe, preprocessing: Preprocessing | None = None):
        self.recipe = recipe
        self.architecture = catalog.find(recipe.model)
        self.machine = choose(recipe.hardware)  # before TensorFlow's first operation
        self.data: DataSet = loading.load(
            recipe.data.name,
            size=recipe.data.size,
            channels=recipe.data.channels,
            limit=recipe.data.limit,
        )
        self.task = tasks.choose(recipe.train, self.data)
        sizes = ", ".join(f"{len(getattr(self.data, split)):,} {split}" for split in SPLITS)
        LOG.info("%s: %s", self.data.name, self.data.source)
        LOG.info("%s: %s", "rows" if self.data.train.is_table else "images", sizes)
        for problem in self.data.problems:
            LOG.warning("left out: %s", problem)
        self.preprocessing = preprocessing or self._preprocessing()

    def create(self) -> keras.Model:
        """Returns the recipe's model, with the initial weights of the seed."""
        keras.utils.set_random_seed(self.recipe.seed)
        return create(
            self.recipe.model,
            input_shape=self.data.train.images.shape[1:],
            num_classes=self.task.num_outputs,
            **self._weights(),
            **self.recipe.settings,
        )

    def feed(self, split: str) -> Feed:
        """Returns the batches of a split, in order."""
        examples = getattr(self.data, split)
        return Feed(examples, self.preprocessing, batch_size=self._evaluation_batch())

    def samples(self, count: int) -> Any:
        """Returns training inputs with the classes in their proportions, (count, h, w, c)."""
        return self.preprocessing.apply(self.data.train.images[:count])

    def train(
        self,
        model: keras.Model,
        *,
        settings: Train | None = None,
        callbacks: Sequence[keras.callbacks.Callback] = (),
        snapshot: Path | None = None,
        resume: bool = False,
    ) -> History:
        """Trains a model in place; `settings` stand in for the recipe's.

        A model with auxiliary heads keeps them; `write` drops them.
        """
        settings = settings or self.recipe.train
        options: dict[str, Any] = {
            "callbacks": callbacks, "snapshot": snapshot, "resume": resume,
        }  # fmt: skip
        LOG.info("%s", self.machine.reason)
        task = tasks.choose(settings, self.data)
        validation = self.feed("validation")
        if settings.optimizer.kind == "lbfgs":
            everything = self.feed("train")
            return lbfgs.fit(model, task, settings, self.machine, everything, validation, **options)
        augment = self.recipe.data.augment
        if augment.mirror == "auto":
            augment = augment.model_copy(update={"mirror": self.data.mirror})
        feed = Feed(
            self.data.train,
            self.preprocessing,
            batch_size=settings.batch_size,
            seed=self.recipe.seed,
            training=True,
            augment=augment,
        )
        return Trainer(model, task, settings, self.machine).fit(feed, validation, **options)

    def evaluate(self, model: keras.Model, split: str) -> Evaluation:
        """Measures a model on a split."""
        return evaluate(without_auxiliary(model), self.feed(split), self.task)

    def gradients(self, model: keras.Model, *, batches: int = 8) -> Iterator[list[np.ndarray]]:
        """Gives the gradients of the loss for some batches of the training split, in order.

        Args:
            model: Functional; stays as it is.
            batches: Number of batches.

        Yields:
            An array for each trainable variable; zeros for one without a gradient.
        """
        step = steps.slopes(model, self.task, self.recipe.train)
        for images, labels, _ in self.feed("train").dataset().take(batches):
            yield [slope.numpy() for slope in step(images, labels)]

    def write(
        self,
        out: Path,
        model: keras.Model,
        history: History,
        *,
        began: float,
        force: bool = False,
        origin: dict[str, Any] | None = None,
        add: Callable[[Path], None] | None = None,
    ) -> Bundle:
        """Writes a bundle; what its report says was measured on a fresh load of the saved model.

        Args:
            out: Directory of the bundle.
            model: Plain Keras, float32; its auxiliary heads are left out.
            history: Of the training.
            began: `time.perf_counter()` at the start of the command.
            force: Whether to replace what is at `out`.
            origin: For a bundle that was made from others: fields of the card and of the report
                that say so, in place of what the recipe says.
            add: Writes more files to the directory, before it takes its name.
        """
        with bundles.staged(out, force=force) as stage:
            without_auxiliary(model).save(stage / bundles.MODEL)
            if add:
                add(stage)
            (stage / bundles.RECIPE).write_text(self.recipe.to_yaml())
            fresh = load(stage)
            test = self.evaluate(fresh, "test")
            plots.curves(history.rows, stage / bundles.CURVES)
            if self.data.labels:
                plots.confusion(test.confusion, self.data.labels, stage / bundles.CONFUSION)
            _write_history(history, stage / bundles.HISTORY)
            card, made = _divide(origin or {})
            _dump(self._card(fresh, card), stage / bundles.CARD)
            report = Report(
                status="interrupted" if history.interrupted else "complete",
                metrics=test.metrics,
                validation=self.evaluate(fresh, "validation").metrics,
                examples={s: len(getattr(self.data, s).labels) for s in SPLITS},
                source=self.data.source,
                problems=self.data.problems,
                per_class=test.per_class,
                confusion=test.confusion.tolist(),
                epochs=history.epochs,
                seconds=_seconds(history, began),
                images_per_second=history.images / history.seconds if history.seconds else 0.0,
                hardware=self.machine.facts(),
                versions=provenance.versions("keras", "tensorflow", "numpy"),
                seed=self.recipe.seed,
                commit=provenance.commit(),
                **made,
            )
            _dump(report, stage / bundles.REPORT)
        return Bundle(out)

    def _weights(self) -> dict[str, Any]:
        """What `create` is told about trained weights."""
        name = self.recipe.train.transfer.weights
        return {"weights": name} if name else {}

    def _preprocessing(self) -> Preprocessing:
        """That of the trained weights where there are some, else measured on the training split."""
        name = self.recipe.train.transfer.weights
        if name is None:
            return Preprocessing.measure(self.data.train)
        size = self.data.train.images.shape[1]
        values = weights.find(self.recipe.model, name).preprocessing(size)
        return Preprocessing.model_validate(values)

    def _card(self, model: keras.Model, origin: dict[str, Any]) -> Card:
        facts = {
            "architecture": self.architecture.name,
            "task": self.task.kind,
            "paper": self.architecture.paper,
            "input_shape": model.input_shape[1:],
            "labels": self.data.labels,
            "preprocessing": self.preprocessing.model_dump(mode="json"),
            "parameters": sum(v.value.shape.num_elements() for v in model.trainable_variables),
            "data": self.data.name,
            "custom_layers": tuple(sorted(_custom_layers(model))),
        }
        return Card(**facts | origin)

    def _evaluation_batch(self) -> int:
        # A batch is shared evenly by all replicas.
        return -(-EVALUATION_BATCH // self.machine.replicas) * self.machine.replicas


def _custom_layers(model: keras.Model) -> set[str]:
    layers = model._flatten_layers(include_self=False)
    names = {keras.saving.get_registered_name(type(layer)) for layer in layers}
    return {name for name in names if ">" in name}


def _divide(origin: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """Parts what the card says of a bundle's origin from what the report says."""
    card = {key: value for key, value in origin.items() if key in Card.model_fields}
    return card, {key: value for key, value in origin.items() if key not in card}


def _seconds(history: History, began: float) -> dict[str, float]:
    epochs = [row["seconds"] for row in history.rows]
    return {
        "total": time.perf_counter() - began,
        "train": history.seconds,
        "epoch": statistics.median(epochs) if epochs else 0.0,
    }


def _write_history(history: History, path: Path) -> None:
    names = list(dict.fromkeys(key for row in history.rows for key in row))
    with path.open("w", newline="") as file:
        writer = csv.DictWriter(file, names)
        writer.writeheader()
        writer.writerows(history.rows)


def _dump(settings: Card | Report, path: Path) -> None:
    path.write_text(settings.model_dump_json(indent=2) + "\n")
