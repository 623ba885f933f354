"""A training run: a recipe and its data become a bundle.

bundle = zoo.fit("vgg16", data="mnist5k", out="runs/vgg16")
"""

from __future__ import annotations

import csv
import logging
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import keras

from zoo import bundle as bundles
from zoo import catalog
from zoo import recipe as recipes
from zoo.bundle import Bundle, Card, Report
from zoo.data import dataset
from zoo.data.dataset import DataSet
from zoo.data.feed import Feed
from zoo.data.preprocessing import Preprocessing
from zoo.models.build import create
from zoo.models.saved import load
from zoo.recipe import Recipe, Train
from zoo.tasks import classify, plots
from zoo.training.strategy import choose
from zoo.training.trainer import History, Trainer

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
        callbacks: Keras callbacks.

    Raises:
        ValueError: A name or a setting is wrong.
        FileExistsError: There is a bundle, or an unfinished run, at `out`.
        FileNotFoundError: There is no run to resume.
    """
    began = time.perf_counter()
    changes = list(changes)
    if not isinstance(recipe, str) and (data is not None or changes):
        raise ValueError("fit: got a recipe with data or changes; expected them with a name only.")
    if isinstance(recipe, str):
        recipe = recipes.resolve(recipe, data=data, changes=changes)
    out = Path(out or Path("runs") / recipe.model)
    partial = out.with_name(out.name + ".partial")
    snapshot = partial / "snapshot.npz"
    if resume:
        if data is not None or changes:
            raise ValueError("--resume continues the recipe it began with; drop --data and --set.")
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
    bundle = run.write(out, model, history, began=began, force=force or resume)
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
        self.data: DataSet = dataset.load(
            recipe.data.name, size=recipe.data.size, limit=recipe.data.limit
        )
        sizes = ", ".join(f"{len(getattr(self.data, split)):,} {split}" for split in SPLITS)
        LOG.info("%s: %s", self.data.name, self.data.source)
        LOG.info("images: %s", sizes)
        for problem in self.data.problems:
            LOG.warning("left out: %s", problem)
        self.preprocessing = preprocessing or Preprocessing.measure(self.data.train)

    def create(self) -> keras.Model:
        """Returns the recipe's model, with the initial weights of the seed."""
        keras.utils.set_random_seed(self.recipe.seed)
        return create(
            self.recipe.model,
            input_shape=self.data.train.images.shape[1:],
            num_classes=len(self.data.labels),
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
        """Trains a model in place; `settings` stand in for the recipe's."""
        settings = settings or self.recipe.train
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
        LOG.info("%s", self.machine.reason)
        task = classify.Classify(len(self.data.labels), settings.label_smoothing)
        trainer = Trainer(model, task, settings, self.machine)
        return trainer.fit(
            feed, self.feed("validation"), callbacks=callbacks, snapshot=snapshot, resume=resume
        )

    def evaluate(self, model: keras.Model, split: str) -> classify.Evaluation:
        """Measures a model on a split."""
        return classify.evaluate(model, self.feed(split), self.data.labels)

    def write(
        self,
        out: Path,
        model: keras.Model,
        history: History,
        *,
        began: float,
        force: bool = False,
        origin: dict[str, Any] | None = None,
    ) -> Bundle:
        """Writes a bundle; what its report says was measured on a fresh load of the saved model.

        Args:
            out: Directory of the bundle.
            model: Plain Keras, float32.
            history: Of the training.
            began: `time.perf_counter()` at the start of the command.
            force: Whether to replace what is at `out`.
            origin: For a bundle that was made from another: `passes` and `parent` of the card,
                `compression` and `parent_metrics` of the report.
        """
        with bundles.staged(out, force=force) as stage:
            model.save(stage / bundles.MODEL)
            (stage / bundles.RECIPE).write_text(self.recipe.to_yaml())
            fresh = load(stage)
            test = self.evaluate(fresh, "test")
            plots.curves(history.rows, stage / bundles.CURVES)
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
                versions=_versions(),
                seed=self.recipe.seed,
                commit=_commit(),
                **made,
            )
            _dump(report, stage / bundles.REPORT)
        return Bundle(out)

    def _card(self, model: keras.Model, origin: dict[str, Any]) -> Card:
        return Card(
            architecture=self.architecture.name,
            task=self.architecture.task,
            paper=self.architecture.paper,
            input_shape=model.input_shape[1:],
            labels=self.data.labels,
            preprocessing=self.preprocessing.model_dump(mode="json"),
            parameters=sum(v.value.shape.num_elements() for v in model.trainable_variables),
            data=self.data.name,
            custom_layers=tuple(sorted(_custom_layers(model))),
            **origin,
        )

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


def _versions() -> dict[str, str]:
    packages = ("keras-model-zoo", "keras", "tensorflow", "numpy")
    return {"python": platform.python_version()} | {name: version(name) for name in packages}


def _commit() -> str:
    root = Path(__file__).parents[2]
    command = ["git", "-C", os.fspath(root), "rev-parse", "HEAD"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    except (OSError, subprocess.CalledProcessError):
        return ""
    return done.stdout.strip()
