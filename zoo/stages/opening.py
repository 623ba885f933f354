"""Opens a bundle again: its model, and its run with data, preprocessing and machine."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import NamedTuple

import keras

from zoo.bundle import SAMPLES, Bundle
from zoo.common import reading
from zoo.common.columns import Column
from zoo.common.reading import one_line
from zoo.data.dataset import DataSet, Split
from zoo.data.preprocessing import Preprocessing
from zoo.datasets import DATASETS, FILES, FOLDER, RECORDS, TFDS
from zoo.models import saved
from zoo.recipe import changed
from zoo.training.run import Run

LOG = logging.getLogger("zoo")
AWAY = (OSError, ImportError)  # a file, a folder or a package that is not at hand


class Opened(NamedTuple):
    """A bundle that was opened.

    Attributes:
        bundle: On disk.
        run: Its recipe with data and machine.
        model: `model.keras`.
        whole: Whether its data set is at hand, not the few examples of the bundle only.
    """

    bundle: Bundle
    run: Run
    model: keras.Model
    whole: bool


def reopen(bundle: Bundle, changes: Iterable[str] = ()) -> Opened:
    """Opens a bundle with the run that it came from.

    Where its data set is not at hand, a line says so, and the examples that the bundle keeps stand
    in for it: those of the training split for validation too. It is an error where changes of
    `data` say where to look.

    Args:
        bundle: Bundle of a model.
        changes: `key=value` changes of its recipe.

    Raises:
        FileNotFoundError: The data set is not at hand, and the bundle keeps no example or a change
            names it.
        ValueError: A change is wrong, or the data set no longer has the columns that the model
            knows.
    """
    changes = list(changes)
    recipe = changed(bundle.recipe, changes)
    values = bundle.card.preprocessing
    preprocessing = (
        Preprocessing.parse(values, where=f"{bundle.path}/card.json") if values else None
    )
    model = saved.load_model(bundle.path)
    networks = {"net": model}
    if bundle.card.networks:
        networks = saved.load_networks(bundle.path)
    try:
        run = Run(recipe, preprocessing, networks)
    except (*AWAY, ValueError) as error:
        data = kept(bundle)
        # One's own data set has a name that nobody knows.
        away = isinstance(error, AWAY) or not _has_loader(recipe.data.name)
        if data is None or not away or any(one.startswith("data.") for one in changes):
            raise
        LOG.warning(
            "%s is not at hand (%s); the %d examples that the bundle keeps stand in for it",
            bundle.card.data, one_line(error), len(data.test),
        )  # fmt: skip
        return Opened(bundle, Run(recipe, preprocessing, networks, data), model, False)
    labels = run.task.outputs(run.data)
    if len(labels) > 1:
        labels = {name: labels[name] for name in labels if name in bundle.card.outputs}
    # A column that the task does not read may have come since, or gone.
    read = [name for name in run.task.needs(run.data) if name in bundle.card.columns]
    said = {n: run.data.columns[n].as_far_as(bundle.card.columns[n]) for n in read}
    found = said, [column.names for column in labels.values()]
    known = (
        {n: bundle.card.columns[n] for n in read},
        [column.names for column in bundle.card.outputs.values()],
    )
    if found != known:
        got, wanted = found[0] or run.data.columns, known[0] or dict(bundle.card.outputs)
        raise ValueError(
            f"{bundle.path}: the data set {run.data.name} has the columns {_told(got)}; expected "
            f"{_told(wanted)}, which the model was trained on{_differs(got, wanted)}. Bring its "
            "data back, or train it again on these."
        )
    if bundle.card.data_digest and run.data.digest not in ("", bundle.card.data_digest):
        LOG.warning(
            "%s has changed since the model was trained, and is split anew: its test split may hold"
            " examples that the model has learnt", bundle.card.data,
        )  # fmt: skip
    return Opened(bundle, run, model, True)


def kept(bundle: Bundle) -> DataSet | None:
    """Returns the raw examples that a bundle keeps as a data set; `None` where it keeps none."""
    path = bundle.path / SAMPLES
    columns = bundle.card.columns
    if not path.is_file() or not columns:
        return None
    file = reading.arrays(path, "the examples of a bundle")
    with reading.whole(path, "the examples of a bundle"):
        train, test = (
            Split({name: file[f"{split}/{name}"] for name in columns})
            for split in ("train", "test")
        )
        for name, column in columns.items():
            for part in (train, test):
                column.check(name, part[name])
        if not (len(train) and len(test)):
            raise ValueError("it holds no example of a split")
    source = f"{SAMPLES} of the bundle, {len(train)} training and {len(test)} test examples"
    return DataSet(bundle.card.data, source, columns, train, train, test)


def _has_loader(name: str) -> bool:
    return name in DATASETS or name.startswith((FOLDER, RECORDS, TFDS, *FILES))


def _differs(found: Mapping[str, Column], known: Mapping[str, Column]) -> str:
    """Names that one has and the other has not, which a few words may not show."""
    for name in found.keys() & known.keys():
        have, had = found[name].names, known[name].names
        sides = {
            "has": [repr(one) for one in have if one not in had],
            "lacks": [repr(one) for one in had if one not in have],
        }
        if parts := [f"{verb} {', '.join(names[:5])}" for verb, names in sides.items() if names]:
            return f" ({name} {' and '.join(parts)})"
    return ""


def _told(columns: Mapping[str, Column]) -> str:
    """The columns in a few words."""
    parts = []
    for name, (kind, shape, names, _) in columns.items():
        size = " x ".join("any" if n is None else str(n) for n in shape)
        few = ", ".join(names[:3]) + (", ..." if len(names) > 3 else "")
        facts = [kind, size, f"{len(names)} names: {few}" if names else ""]
        parts.append(f"{name} ({', '.join(fact for fact in facts if fact)})")
    return ", ".join(parts)
