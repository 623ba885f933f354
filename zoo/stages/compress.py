"""Makes a bundle smaller by a recipe of passes, and writes a new bundle.

The passes train with the recipe of the bundle, on its data; what they choose by, and what a budget
limits, is measured on the validation split, and the new report on the test split.
"""

from __future__ import annotations

import logging
import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypedDict, Unpack

import keras

import compress as passes
from compress.base import Headline
from compress.pipeline.pipeline import OWN
from export.target import About
from zoo import bundle as bundles
from zoo.bundle import Bundle, find_bundle
from zoo.common import staging
from zoo.common.answers import scores
from zoo.common.digests import sha256
from zoo.common.home import SHIPPED
from zoo.common.signatures import spelled_out
from zoo.craft.plots import pareto
from zoo.data.dataset import DataSet
from zoo.recipe import changed_further
from zoo.stages import own
from zoo.stages.alone import compress_alone
from zoo.stages.files import integers
from zoo.stages.kept import Kept
from zoo.stages.labelled import labelled, ranked
from zoo.stages.latency import time_models
from zoo.stages.opening import reopen
from zoo.stages.understand.compare import beside_parent
from zoo.training import signals
from zoo.training.unfinished import COMPRESS, Unfinished, facts_of
from zoo.training.writing import write_bundle

SAMPLES = 512  # training examples to calibrate on
CHECKED = 32  # to check files with that are only timed
LOG = logging.getLogger("zoo")


def beside(parent: Bundle, recipe: str) -> Path:
    """Returns where the result goes when nothing else is said."""
    name = f"{parent.path.name}-{recipe}"
    return Path("runs") / name if parent.path.parent == SHIPPED else parent.path.with_name(name)


class Brought(TypedDict, total=False):
    """What belongs to a model that is no bundle.

    Attributes:
        data: What it is trained and measured on: a name, `folder:PATH`, or a `zoo.data.DataSet`.
        samples: Without data, examples to calibrate on, as the model takes them: an array, a
            `tf.data.Dataset`, the path of a folder of pictures (see `zoo.common.examples`).
        values: Range of the pixels that it takes, see `zoo.stages.asking.run_of`.
    """

    data: str | DataSet | None
    samples: Any
    values: str | None


@spelled_out(Brought)
def compress(
    bundle: Bundle | keras.Model | str | Path,
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    changes: Iterable[str] = (),
    resume: bool = False,
    force: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
    **brought: Unpack[Brought],
) -> Bundle | passes.Compressed:
    """Applies a recipe of passes to the deployed model of a bundle, or to any Keras model.

        zoo.compress("runs/vgg16", "prune90")
        zoo.compress("own.keras", "prune90", data="folder:pets")  # trained by the zoo's loop
        zoo.compress("own.keras", "int8", samples=x[:200])  # own-int8.keras

    The bundle that goes in is not changed, and until the new one is whole, what was at `out` stays
    there. A result that is over its budget is written too: `report.compress.passes["budget"]`
    tells. What is finished of it is kept in `<out>.partial` until the new bundle is whole.

    Args:
        bundle: A bundle, or its directory; or a `.keras` or `.h5` file, or a Keras model.
        recipe: A name of `compress.recipe_names()`, or a YAML file.
        out: Directory of the new bundle; `BUNDLE-RECIPE` when `None`.
        changes: `key=value` changes of the recipe that fine-tunes: of `data`, `train`, `hardware`
            and `seed`; of a pass, e.g. `passes.prune.epochs=24`; and of the budget, e.g.
            `budget.max_bytes=7000`.
        resume: Whether to go on from `<out>.partial`: behind the last finished pass, and within a
            fine-tuning; with the arguments that it began with.
        force: Whether to replace what is at `out`, or to drop an unfinished compression.
        callbacks: Keras callbacks of each fine-tuning.
        **brought: What belongs to a model that is no bundle, see `Brought`.

    Returns:
        The new bundle; of a model without data, what `compress.apply` returns, written as a
        `.keras` file if the model was one, or `out` is given.

    Raises:
        FileExistsError: There is something at `out`, or an unfinished compression.
        FileNotFoundError: There is no such bundle, nothing to resume, or its data set is not at
            hand and a pass fine-tunes.
        KeyboardInterrupt: It was asked to stop.
    """
    changes = tuple(changes)
    if own.is_own(bundle):
        return _brought(
            bundle, recipe, out, changes, brought, resume=resume, force=force, callbacks=callbacks
        )
    if brought:
        raise ValueError(
            f"{bundle}: got {', '.join(brought)} for a bundle, which has its own; expected a .keras"
            " file, or `--set data.name=`."
        )
    parent = find_bundle(bundle)
    out = Path(out) if out else beside(parent, Path(recipe).stem)
    staging.check_apart(out, parent.path)
    files = [parent.model_file, *sorted(parent.path.glob(f"{bundles.NETWORKS}/*.keras"))]
    begun = {"parent": [sha256(file) for file in files]}
    return _compress(
        parent, recipe, out, changes, begun, resume=resume, force=force, callbacks=callbacks
    )


def _compress(
    parent: Bundle,
    recipe: str | Path,
    out: Path,
    changes: tuple[str, ...],
    begun: dict[str, Any],
    *,
    resume: bool,
    force: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Bundle:
    """Compresses a bundle; one that is resumed must have `begun` with the same, see `facts_of`."""
    began = time.perf_counter()
    pipeline = passes.load_recipe(recipe, changes)
    name = Path(recipe).stem
    changed_further(parent.recipe, _further(changes))
    _ = parent.card
    bundles.check_finite(parent)  # what the end needs is read, or refused, before any work
    with signals.orderly(), staging.claimed(out, force=force or resume) as out:
        unfinished = Unfinished(out, COMPRESS)
        unfinished.admit(resume=resume, force=force)
        staging.check_room(out, 2 * parent.model_file.stat().st_size)
        work = _Work(parent, pipeline, name, changes, unfinished, tuple(callbacks))
        work.begin({**begun, "pipeline": _contents(pipeline, name)}, resume=resume, force=force)
        try:
            made = work.write(out, force=force or resume, began=began)
        except (KeyboardInterrupt, OSError):
            if not work.kept.empty:
                LOG.warning(
                    "%s: keeps what was done; --resume goes on from it", unfinished.directory
                )
            raise
        finally:
            if work.kept.empty:
                unfinished.remove()
        unfinished.remove()
        return made


def _further(changes: Iterable[str]) -> tuple[str, ...]:
    """The changes of the recipe that fine-tunes; the others are of a pass, or of the budget."""
    return tuple(change for change in changes if not change.startswith(OWN))


def _contents(pipeline: passes.Pipeline, name: str) -> dict[str, Any]:
    """What a recipe of passes says, and what the files are that it names."""
    teachers = [getattr(step, "teacher", None) for step in pipeline.passes]
    found = {"name": name, **pipeline.to_dict()}
    return found | {"teachers": [file and sha256(file) for file in teachers]}


class _Work:
    """A compression under way."""

    def __init__(
        self,
        parent: Bundle,
        pipeline: passes.Pipeline,
        name: str,
        changes: tuple[str, ...],
        unfinished: Unfinished,
        callbacks: tuple[keras.callbacks.Callback, ...],
    ):
        self.parent, self.pipeline, self.name, self.changes = parent, pipeline, name, changes
        self.unfinished, self.callbacks = unfinished, callbacks
        seed = changed_further(parent.recipe, _further(changes)).seed
        self.kept = Kept(unfinished.directory, {}, seed)
        self.kept.seed("model")
        self.opened = reopen(parent, _further(changes))
        if pipeline.budget is not None and not self.opened.whole:
            raise FileNotFoundError(
                f"{parent.path}: its data set {parent.card.data} is not at hand, and the budget of "
                f"{name} is measured on it; expected the data where the recipe says, or a recipe "
                "without budget. `--set data.name=folder:PATH` tells where it is now."
            )
        self.run = self.opened.run

    def begin(self, more: dict[str, Any], *, resume: bool, force: bool) -> None:
        """Compares with what it began with before, if it is resumed."""
        facts = facts_of(self.run, **more)
        if resume:
            self.unfinished.check(facts, force=force)
        self.kept.begun = self.unfinished.begin(facts)

    def fit(self, model: Any, *, epochs: int, callbacks: Any, rate: float = 1.0) -> None:
        """Trains as the recipe of the bundle says, see `compress.base.Fit`."""
        if not self.opened.whole:
            raise FileNotFoundError(
                f"{self.parent.path}: its data set {self.parent.card.data} is not at hand, and "
                f"{self.name} trains on it; expected the data where the recipe says, or a recipe "
                "without training, e.g. int8. `--set data.name=folder:PATH` tells where it is now."
            )
        snapshot = self.kept.training()
        history = self.run.train(
            model,
            settings=self.run.recipe.train.further(epochs, rate=rate),
            callbacks=[*callbacks, *self.callbacks],
            snapshot=snapshot,
            resume=snapshot.is_file(),
        )
        if history.interrupted:
            raise KeyboardInterrupt
        self.kept.trained(history)

    def write(self, out: Path, *, force: bool, began: float) -> Bundle:
        """Compresses, and writes the bundle."""
        run, parent = self.run, self.parent
        headline = Headline(run.task.headline.name, run.task.headline.higher)
        context = passes.Context(
            fit=self.fit,
            evaluate=lambda model: run.evaluate(model, "validation").metrics,
            gradients=run.gradients,
            measure=partial(
                time_models,
                samples=run.samples(CHECKED),
                labelled=labelled(run, SAMPLES) if ranked(run) else None,
                about=About(scores=scores(self.opened.bundle.card.outputs)),
            ),
            samples=run.samples(SAMPLES),
            headline=headline,
            kept=self.kept,
        )
        small = self.pipeline.apply(self.opened.model, context)
        budget = self.pipeline.budget
        limited = budget.on(context).headline if budget else headline
        packed = small.report.after.size.packed_bytes is not None
        ranged = passes.has_ranges(small.model)
        with tempfile.TemporaryDirectory() as scratch:

            def add(stage: Path) -> None:
                if packed:
                    passes.pack(small.model, stage / bundles.PACKED)
                if ranged:
                    shutil.copy(Path(scratch, "file", bundles.INTEGERS), stage)
                if small.report.search:
                    trials, file = small.report.search.trials, stage / bundles.PARETO
                    pareto(trials, limited.name, file, higher=limited.higher)

            part = bundles.Compression(
                passes=small.report.to_dict(),
                recipe=self.name,
                changes=self.changes,
                parent_name=parent.path.resolve().name,
                parent_metrics=parent.report.metrics,
                file=integers(self.opened, small.model, Path(scratch, "file")) if ranged else {},
                compared=beside_parent(self.opened, small.model),
            )
            origin = {
                "architecture": parent.card.architecture,
                "paper": parent.card.paper,
                "actions": parent.card.actions,
                "members": parent.card.members,
                "passes": (*parent.card.passes, *(one.settings for one in small.report.passes)),
                "parent": parent.sha256,
                "compress": part,
            }
            history = self.kept.history
            return write_bundle(
                run, out, small.model, history, began=began, force=force, origin=origin, add=add
            )


def _brought(
    model: Any,
    recipe: str | Path,
    out: str | Path | None,
    changes: tuple[str, ...],
    brought: Brought,
    *,
    resume: bool,
    force: bool,
    callbacks: Sequence[keras.callbacks.Callback],
) -> Bundle | passes.Compressed:
    """Compresses a model that is no bundle: by way of one, or without data as it is."""
    data, samples = brought.get("data"), brought.get("samples")
    further = _further(changes)
    if data is None:
        if further or brought.get("values"):
            raise ValueError(
                "compress: got changes of a training, or a range of pixels, without data; expected "
                "--data folder:PATH (`data=`) too."
            )
        if resume:
            raise ValueError(
                "compress: got resume without data; expected --data (`data=`): only what trains is "
                "kept, and without data nothing does."
            )
        return compress_alone(model, recipe, out=out, changes=changes, samples=samples, force=force)
    if samples is not None:
        raise ValueError("compress: got data and samples; expected one: samples are the data's.")
    is_file = not isinstance(model, keras.Model)
    name = Path(model).stem if is_file else model.name
    place = Path(model).with_name(f"{name}-{Path(recipe).stem}") if is_file else None
    out = Path(out or place or Path("runs") / f"{name}-{Path(recipe).stem}")
    file = Path(model) if is_file else None
    if file:
        staging.check_apart(out, file)
    staging.check_free(out, force=force or resume)
    passes.load_recipe(recipe, changes)
    values = brought.get("values")
    given = own.opened(model)
    with tempfile.TemporaryDirectory() as scratch:
        place = Path(scratch) / name
        parent = own.bring(given, data, place, changes=further, values=values)
        # The bundle is a new file each time, so it cannot tell whether the model is the same.
        begun = {
            "parent": own.digest(given.model),
            "values": values,
        }
        # Its recipe has the other changes already.
        changes = tuple(change for change in changes if change not in further)
        return _compress(
            parent, recipe, out, changes, begun, resume=resume, force=force, callbacks=callbacks
        )
