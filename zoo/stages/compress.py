"""Makes a bundle smaller by a recipe of passes, and writes a new bundle.

The passes train with the recipe of the bundle, on its data; what they choose by, and what a budget
limits, is measured on the validation split, and the new report on the test split.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import keras

import compress as passes
from compress.base import Headline
from zoo import bundle as bundles
from zoo.bundle import Bundle, find_bundle
from zoo.common import staging
from zoo.common.home import SHIPPED
from zoo.craft.plots import pareto
from zoo.stages.files import integers
from zoo.stages.latency import time_models
from zoo.stages.opening import reopen
from zoo.training.history import History
from zoo.training.writing import write_bundle

SAMPLES = 512  # training examples to calibrate on
CHECKED = 32  # to check files with that are only timed


def beside(parent: Bundle, recipe: str) -> Path:
    """Returns where the result goes when nothing else is said."""
    name = f"{parent.path.name}-{recipe}"
    return Path("runs") / name if parent.path.parent == SHIPPED else parent.path.with_name(name)


def compress(
    bundle: Bundle | str | Path,
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    changes: Iterable[str] = (),
    force: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Bundle:
    """Applies a recipe of passes to the deployed model of a bundle.

    The bundle that goes in is not changed, and until the new one is whole, what was at `out` stays
    there. A result that is over its budget is written too: `report.compress.passes["budget"]`
    tells.

    Args:
        bundle: A bundle, or its directory.
        recipe: A name of `compress.recipe_names()`, or a YAML file.
        out: Directory of the new bundle; `BUNDLE-RECIPE` when `None`.
        changes: `key=value` changes of the recipe that fine-tunes.
        force: Whether to replace what is at `out`.
        callbacks: Keras callbacks of each fine-tuning.

    Raises:
        FileExistsError: There is something at `out`.
        FileNotFoundError: There is no such bundle, or its data set is not at hand and a pass
            fine-tunes.
        KeyboardInterrupt: It was asked to stop.
    """
    began = time.perf_counter()
    parent = find_bundle(bundle)
    pipeline = passes.load_recipe(recipe)
    name, changes = Path(recipe).stem, tuple(changes)
    out = Path(out) if out else beside(parent, name)
    staging.check_free(out, force=force)
    opened, history = reopen(parent, changes), History()
    if pipeline.budget is not None and not opened.whole:
        raise FileNotFoundError(
            f"{parent.path}: its data set {parent.card.data} is not at hand, and the budget of "
            f"{name} is measured on it; expected the data where the recipe says, or a recipe "
            "without budget. `--set data.name=folder:PATH` tells where it is now."
        )
    work = opened.run

    def fit(model: Any, *, epochs: int, callbacks: Any, rate: float = 1.0) -> None:
        if not opened.whole:
            raise FileNotFoundError(
                f"{parent.path}: its data set {parent.card.data} is not at hand, and {name} trains "
                "on it; expected the data where the recipe says, or a recipe without training, "
                "e.g. int8. `--set data.name=folder:PATH` tells where it is now."
            )
        settings = work.recipe.train.further(epochs, rate=rate)
        history.extend(work.train(model, settings=settings, callbacks=[*callbacks, *given]))
        if history.interrupted:
            raise KeyboardInterrupt

    given = tuple(callbacks)
    headline = Headline(work.task.headline.name, work.task.headline.higher)
    context = passes.Context(
        fit=fit,
        evaluate=lambda model: work.evaluate(model, "validation").metrics,
        gradients=work.gradients,
        measure=partial(time_models, samples=work.samples(CHECKED)),
        samples=work.samples(SAMPLES),
        headline=headline,
    )
    small = pipeline.apply(opened.model, context)
    limited = pipeline.budget.on(headline).headline if pipeline.budget else headline
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
            recipe=name,
            changes=changes,
            parent_name=parent.path.resolve().name,
            parent_metrics=parent.report.metrics,
            file=integers(opened, small.model, Path(scratch, "file")) if ranged else {},
        )
        origin = {
            "architecture": parent.card.architecture,
            "paper": parent.card.paper,
            "members": parent.card.members,
            "passes": (*parent.card.passes, *(one.settings for one in small.report.passes)),
            "parent": parent.sha256,
            "compress": part,
        }
        return write_bundle(
            work, out, small.model, history, began=began, force=force, origin=origin, add=add
        )
