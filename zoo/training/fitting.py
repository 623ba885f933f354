"""A training run: a recipe and its data become a bundle.

bundle = zoo.fit("vgg16", data="mnist5k", out="runs/vgg16")
"""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Literal, cast

import keras

from zoo import bundle as bundles
from zoo import catalog
from zoo import recipe as recipes
from zoo.bundle import Bundle
from zoo.common import staging
from zoo.common.claims import place_of
from zoo.common.settings import difference
from zoo.data.dataset import DataSet
from zoo.environments.copies import BrokenEnvironmentError
from zoo.recipe import Recipe
from zoo.training import cycles, signals, workers
from zoo.training.film import film_of
from zoo.training.run import Run
from zoo.training.strategy import WorkerLostError
from zoo.training.unfinished import SNAPSHOT, TRAIN, Unfinished, facts_of, recipe_facts, write
from zoo.training.writing import write_bundle

BYTES = 8  # for each weight at least: the bundle's, and those of the snapshot
LOG = logging.getLogger("zoo")


def fit(
    recipe: Recipe | str,
    *,
    data: str | DataSet | None = None,
    out: str | Path | None = None,
    changes: Iterable[str] = (),
    resume: bool | Literal["if any"] = False,
    force: bool = False,
    smoke: bool = False,
    callbacks: Sequence[keras.callbacks.Callback] = (),
) -> Bundle:
    """Trains a model of the catalogue and writes its bundle.

    The unfinished run is kept in `<out>.partial` until the bundle is complete. Of several workers
    (`hardware.strategy: multiworker`) each calls this; the chief alone writes, and the others read
    its snapshot to go on.

    Args:
        recipe: A resolved recipe; or the name of an architecture for its own, or the path of a YAML
            file.
        data: Name of a data set in place of the recipe's; only with a name. Or a data set of one's
            own, which then has to be given again to go on, and to compress.
        out: Directory of the bundle; `runs/<model>` when `None`.
        changes: `key=value` changes of the recipe; only with a name.
        resume: Whether to continue the unfinished run of `out`, with the recipe, the examples and
            the precision it began with. `data`, `changes` and `smoke` are those it began with, or
            are left out; those of `hardware` may be others. What the run itself left at `out`, or
            began over, is replaced; anything else with `force`. `if any` begins where there is
            none, so the same call can be made again until the bundle is there.
        force: Whether to replace a bundle, or to drop an unfinished run.
        smoke: Whether to apply the recipe's `smoke` block, a run of seconds; only with a name.
        callbacks: Keras callbacks.

    Raises:
        ValueError: A name or a setting is wrong; or what is resumed began otherwise.
        FileExistsError: There is a bundle, or an unfinished run, at `out`.
        FileNotFoundError: There is no run to resume.
        Terminated: SIGTERM ended it; what was trained is kept, and `resume` goes on.
        TimeoutError: Other workers did not come.
        WorkerLostError: Another worker has gone.
    """
    began = time.perf_counter()
    _check_arguments(recipe, data, changes)
    given, changes = data if isinstance(data, DataSet) else None, tuple(changes)
    own = isinstance(recipe, str) and recipes.is_file(recipe)
    repeats = isinstance(data, str) or smoke or not all(map(_of_hardware, changes))
    if own or repeats or resume is not True:
        recipe = _resolved(recipe, data, changes, smoke=smoke)
    model = recipe if isinstance(recipe, str) else recipe.model
    model = catalog.find_architecture(model).name
    out = place_of(out or Path("runs") / model)
    unfinished = Unfinished(out, TRAIN)
    again = resume == "if any"
    goes_on = unfinished.there if again else bool(resume)
    if goes_on:  # before a directory is made
        unfinished.admit(resume=True, force=force)
    begun = _begun(unfinished, recipe, changes, again=again) if goes_on else cast(Recipe, recipe)
    worker = workers.of(begun.hardware)
    with signals.orderly(), _held(out, worker, force=force or goes_on) as out:
        unfinished = Unfinished(out, TRAIN)
        if worker is None or worker.chief:
            unfinished.admit(resume=goes_on, force=force)
        if goes_on:
            begun = _begun(unfinished, recipe, changes, again=again)
        return _fit(begun, unfinished, given, callbacks, resume=goes_on, force=force, began=began)


@contextlib.contextmanager
def _held(out: Path, worker: workers.Worker | None, *, force: bool) -> Iterator[Path]:
    """Holds the place of the bundle, where this process is the one that writes it."""
    if worker is None or worker.chief:
        with staging.claimed(out, force=force) as place:
            yield place
        return
    LOG.setLevel(max(LOG.getEffectiveLevel(), logging.WARNING))  # the chief tells
    yield out


def _resolved(
    recipe: Recipe | str, data: str | DataSet | None, changes: Sequence[str], *, smoke: bool
) -> Recipe:
    """The recipe of a new run."""
    if isinstance(recipe, Recipe):
        if data is not None or changes or smoke:
            raise ValueError(
                "fit: got a recipe with changes of it; expected them with a name only."
            )
        return recipe
    if not isinstance(data, DataSet):
        return recipes.resolve(recipe, data=data, changes=changes, smoke=smoke)
    for change in changes:
        if change.partition("=")[0] in ("data.limit", "data.size", "data.channels"):
            raise ValueError(
                f"fit: got {change} for a data set of your own; expected examples as they "
                "are to be. Cut or scale them before."
            )
    changes = [*_task_of(recipe, data, changes), *changes]
    return recipes.resolve(recipe, data=data.name, changes=changes, smoke=smoke)


def _of_hardware(change: str) -> bool:
    return change.startswith("hardware.")


def _begun(
    unfinished: Unfinished, recipe: Recipe | str, changes: Sequence[str], *, again: bool
) -> Recipe:
    """The recipe that an unfinished run began with, on the hardware it is to go on with.

    Args:
        unfinished: The run.
        recipe: What is asked for: a recipe, or the name of an architecture.
        changes: Of the hardware.
        again: Whether `recipe` is resolved with all changes, its hardware too.

    Raises:
        ValueError: Another one is asked for.
    """
    begun = Recipe.read(unfinished.directory / bundles.RECIPE)
    asked: dict[str, Any] = (
        {"model": catalog.find_architecture(recipe).name}
        if isinstance(recipe, str)
        else recipe_facts(recipe)
    )
    found = difference({key: recipe_facts(begun)[key] for key in asked}, asked, "recipe")
    if found:
        raise unfinished.refused(found)
    if again and isinstance(recipe, Recipe):
        return begun.model_copy(update={"hardware": recipe.hardware})
    return recipes.changed(begun, filter(_of_hardware, changes))


def _fit(
    recipe: Recipe,
    unfinished: Unfinished,
    data: DataSet | None,
    callbacks: Sequence[keras.callbacks.Callback],
    *,
    resume: bool,
    force: bool,
    began: float,
) -> Bundle:
    out, partial = unfinished.out, unfinished.directory
    run = Run(recipe, data=data, join=True)
    chief = run.machine.chief
    film, networks = film_of(run) if chief else None, run.create()
    if chief:
        staging.check_room(partial, BYTES * sum(one.count_params() for one in networks.values()))
    if resume:
        unfinished.check(facts_of(run), force=force)
    elif chief:
        write(partial / TRAIN, unfinished.begin(facts_of(run)))
        (partial / bundles.RECIPE).write_text(recipe.to_yaml())
    snapshot = partial / SNAPSHOT
    if film is not None:  # the last: a snapshot finds the others by their number
        callbacks = [*callbacks, film]

    def add(stage: Path) -> None:
        cycles.copy(partial, stage)
        if film is not None:
            film.write(stage)

    try:
        history = _train(run, networks, callbacks, snapshot, resume=resume)
        if chief:
            write_bundle(
                run,
                out,
                networks,
                history,
                began=began,
                force=force or resume,
                add=add,
            )
            if not history.interrupted:
                unfinished.remove()
        run.machine.part()  # the others end when the bundle is there
    except (KeyboardInterrupt, OSError, WorkerLostError, BrokenEnvironmentError):
        if chief and snapshot.is_file():
            LOG.warning("%s: keeps what was trained; --resume goes on from it", partial)
        raise
    return Bundle(out)


def _train(run: Run, networks: Any, callbacks: Any, snapshot: Path, *, resume: bool) -> Any:
    """Trains; what fails for a task that the architecture is not of is told as such."""
    try:
        return run.train(networks, callbacks=callbacks, snapshot=snapshot, resume=resume)
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        if run.task.kind == run.architecture.task or snapshot.is_file():
            raise
        reason = " ".join(str(error).split())[:100]
        raise run.unfit(f"its networks do not fit ({type(error).__name__}: {reason})") from error


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
