"""A training run: a recipe and its data become a bundle.

bundle = zoo.fit("vgg16", data="mnist5k", out="runs/vgg16")
"""

from __future__ import annotations

import logging
import time
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import keras

from zoo import bundle as bundles
from zoo import catalog
from zoo import recipe as recipes
from zoo.bundle import Bundle
from zoo.common import staging
from zoo.common.claims import place_of
from zoo.data.dataset import DataSet
from zoo.recipe import Recipe
from zoo.training import cycles, signals
from zoo.training.run import Run
from zoo.training.writing import write_bundle

SNAPSHOT = "snapshot.npz"
BYTES = 8  # for each weight at least: the bundle's, and those of the snapshot
LOG = logging.getLogger("zoo")


def fit(
    recipe: Recipe | str,
    *,
    data: str | DataSet | None = None,
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
        data: Name of a data set in place of the recipe's; only with a name. Or a data set of one's
            own, which then has to be given again to go on, and to compress.
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
    _check_arguments(recipe, data, changes)
    changes, given = list(changes), data if isinstance(data, DataSet) else None
    changed = bool(data is not None or changes or smoke)
    if not isinstance(recipe, str) and changed:
        raise ValueError("fit: got a recipe with changes of it; expected them with a name only.")
    if isinstance(recipe, str):
        if given is not None:
            for change in changes:
                if change.partition("=")[0] in ("data.limit", "data.size", "data.channels"):
                    raise ValueError(
                        f"fit: got {change} for a data set of your own; expected examples as they "
                        "are to be. Cut or scale them before."
                    )
            changes = [*_task_of(recipe, given, changes), *changes]
        name = data.name if isinstance(data, DataSet) else data
        recipe = recipes.resolve(recipe, data=name, changes=changes, smoke=smoke)
    out = place_of(out or Path("runs") / recipe.model)
    if resume:
        if changed and not (given is not None and not changes and not smoke):
            raise ValueError(
                "--resume continues the recipe it began with; drop --data, --set and --smoke."
            )
        snapshot = _partial(out) / SNAPSHOT
        if not snapshot.is_file():
            raise FileNotFoundError(f"{snapshot}: not found; there is no unfinished run to resume.")
    with signals.orderly(), staging.claimed(out, force=force or resume) as out:
        return _fit(recipe, out, given, callbacks, resume=resume, force=force, began=began)


def _partial(out: Path) -> Path:
    """Where the unfinished run of a bundle is."""
    return out.with_name(out.name + ".partial")


def _fit(
    recipe: Recipe,
    out: Path,
    data: DataSet | None,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    resume: bool,
    force: bool,
    began: float,
) -> Bundle:
    partial = _partial(out)
    snapshot = partial / SNAPSHOT
    if resume:
        recipe = Recipe.read(partial / bundles.RECIPE)
    elif not force and (snapshot.is_file() or (partial / bundles.BEGUN).is_file()):
        raise FileExistsError(
            f"{partial}: holds an unfinished run; --resume continues it, --force drops it."
        )
    run = Run(recipe, data=data)
    networks = run.create()
    staging.check_room(partial, BYTES * sum(one.count_params() for one in networks.values()))
    if not resume:
        staging.remove(partial)
        partial.mkdir(parents=True)
        (partial / bundles.RECIPE).write_text(recipe.to_yaml())
    try:
        history = run.train(networks, callbacks=callbacks, snapshot=snapshot, resume=resume)
        bundle = write_bundle(
            run,
            out,
            networks,
            history,
            began=began,
            force=force or resume,
            add=lambda stage: cycles.copy(partial, stage),
        )
    except (KeyboardInterrupt, OSError):
        if snapshot.is_file():
            LOG.warning("%s: keeps what was trained; --resume goes on from it", partial)
        raise
    if not history.interrupted:
        staging.remove(partial)
    return bundle


def _check_arguments(recipe: Any, data: Any, changes: Any) -> None:
    """Refuses what a user of Keras may take for an argument.

    Raises:
        TypeError: One is of another type.
    """
    if not isinstance(recipe, (str, Recipe)):
        raise TypeError(
            f"fit: recipe: got {type(recipe).__name__}; expected the name of an architecture, see "
            "zoo.list_models(), or a zoo.Recipe."
        )
    if not isinstance(data, (str, DataSet, type(None))):
        raise TypeError(
            f"fit: data: got {type(data).__name__}; expected a name, or a zoo.data.DataSet of your "
            "arrays or of a zoo.data.Stream of a generator or a tf.data.Dataset."
        )
    if isinstance(changes, str):
        raise TypeError(f"fit: changes: got {changes!r}; expected a list of them, [{changes!r}].")


def _task_of(model: str, data: DataSet, changes: Sequence[str]) -> list[str]:
    """The change that names the task which a data set of the user's own asks for."""
    if any(change.startswith("task.kind=") for change in changes):
        return []
    kinds = tuple(column.kind for column in data.columns.values())
    return [f"task.kind={catalog.usual_task(catalog.find_architecture(model), kinds)}"]
