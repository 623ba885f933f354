"""What a model that the zoo has not made does not say is asked of data.

The kind of learning is asked of the labels and the output; whether it answers with shares, of its
compiled loss, its graph and its answers; the range of its pixels, of what it answers best with.
"""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any, cast

import keras
import numpy as np
import tensorflow as tf

from compress.graph import leaf_layers, output_names
from compress.graph.shares import find_shares
from compress.graph.tables import num_rows
from zoo.catalog import OWN
from zoo.common.columns import Column, same_shape
from zoo.data.dataset import DataSet
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.recipe import Recipe, changed
from zoo.stages.ranges import as_range, as_they_are, picture_shape, ranges_of, refuse_values
from zoo.tasks.supervised import AUXILIARY
from zoo.tasks.task import Task, columns_of
from zoo.training.run import Run

LOG = logging.getLogger("zoo")
EXAMPLES, AT_ONCE = 256, 32  # training examples that are asked about, and how many of them at once
SHARES, AS_THEY_ARE = "task.probabilities", "as they are"
TRAIN = {
    "epochs": 5,
    "batch_size": 32,
    "optimizer": {"kind": "adamw", "learning_rate": 5e-4, "warmup": 0.05},
}
_KINDS = {"mask": "segment", "box": "localise", "number": "regress", "count": "language"}
# The outputs of a kind of learning that classes are told by.
_OF_CLASSES = {
    "classify": "",
    "glimpses": "",
    "binary": "",
    "segment": "",
    "localise": "logits",
    "language": "",
}


def run_of(
    model: keras.Model,
    data: str | DataSet,
    *,
    changes: Iterable[str] = (),
    values: str | None = None,
    loss: Any = None,
) -> Run:
    """Returns the run that trains and measures a model on data.

    Args:
        model: Functional or Sequential.
        data: Name of a data set, `folder:PATH` with a sub-folder for each class, or a data set.
        changes: `key=value` changes of how it is trained, e.g. `train.optimizer.learning_rate=1e-4`
            or `task.kind=segment`. `task.probabilities=true` or `=false` says that it answers with
            shares, or with logits; else that is found out.
        values: Range of the pixels that it takes, a key of `zoo.stages.ranges.RANGES`; `None`: that
            with which it has the smallest loss on some training examples.
        loss: What it was compiled with, see `compress.graph.shares.takes_logits`.

    Raises:
        ValueError: The model does not fit the data, or a change is wrong.
        FileNotFoundError: The data is not there.
    """
    next(leaf_layers(model), None)  # refuses what has no graph
    given, changes = data if isinstance(data, DataSet) else _loaded(data, model), tuple(changes)
    recipe = _recipe(model, given, changes)
    task = cast(Task, recipe.task)
    task.check(given)
    _check_outputs(model, task, given)
    _check_inputs(model, given)
    known = _known(model, given.columns[given.input], values)
    asked = task.kind not in _OF_CLASSES or any(_is_of_shares(change) for change in changes)
    if asked and len(known) == 1:
        return Run(recipe, next(iter(known.values())), {"net": model}, given)
    raw = {name: np.asarray(one) for name, one in given.train[:EXAMPLES].columns.items()}
    answers = _answers(model, task, given.input, raw, known)
    if not asked:
        task, recipe = _with_shares(model, task, recipe, list(answers.values()), loss)
    best = next(iter(known))
    if len(known) > 1:
        losses = {name: _loss(task, given, raw, one) for name, one in answers.items()}
        best = min(losses, key=lambda name: losses[name])
        told = ", ".join(f"{name} {loss:.4g}" for name, loss in losses.items())
        LOG.warning(
            "%s: takes its pixels as %s, with which its loss is smallest (%s); --values says "
            "otherwise", model.name, best, told,
        )  # fmt: skip
    return Run(recipe, known[best], {"net": model}, given)


def _recipe(model: keras.Model, data: DataSet, changes: tuple[str, ...]) -> Recipe:
    """The recipe of the run; the kind of learning is the one that is asked for, if any."""
    column = data.columns[data.input]
    picture = {"size": column.shape[0], "channels": column.shape[-1]}
    kinds = [text for key, _, text in (c.partition("=") for c in changes) if key == "task.kind"]
    settings = {
        "model": OWN.name,
        "task": {"kind": kinds[-1].strip() if kinds else _kind(model, data)},
        "data": {"name": data.name, **(picture if column.kind == "image" else {})},
        "train": TRAIN,
    }
    return changed(Recipe.parse(settings, where="recipe"), changes)


def _is_of_shares(change: str) -> bool:
    key, _, text = change.partition("=")
    return key.strip() == SHARES or (key.strip() == "task" and "probabilities" in text)


def _loaded(name: str, model: keras.Model) -> DataSet:
    """A data set by name, its pictures of the model's size."""
    if len(model.inputs) == 1 and len(model.inputs[0].shape) == 4:
        size, channels = picture_shape(model, what=f"the data {name}")
        return load(name, size=size, channels=channels)
    return load(name)


def _kind(model: keras.Model, data: DataSet) -> str:
    """The kind of learning that the labels, and the output, ask for."""
    kinds = [column.kind for column in data.columns.values()]
    for kind, task in _KINDS.items():
        if kind in kinds:
            return task
    if "class" in kinds:
        names = next(c.names for c in data.columns.values() if c.kind == "class")
        return "binary" if len(names) == 2 and model.outputs[0].shape[-1] == 1 else "classify"
    raise ValueError(
        f"{data.name}: has the columns {', '.join(kinds)}; expected labels by which a model can be "
        "measured: classes, numbers, masks or boxes. `--set task.kind=` names another task."
    )


def _check_outputs(model: keras.Model, task: Task, data: DataSet) -> None:
    """Refuses a model without an output for each class, or with another number of outputs.

    Raises:
        ValueError: It is one.
    """
    if task.kind not in (*_OF_CLASSES, "regress"):
        return
    shapes = {name: tuple(tensor.shape[1:]) for name, tensor in _outputs(model).items()}
    told = ", ".join(f"{name} {shape}" for name, shape in shapes.items())
    if task.kind == "localise":
        if set(shapes) != {"logits", "box"}:
            raise ValueError(
                f"{model.name}: has the outputs {told}; expected a mapping of `logits` and `box`, "
                "which the task localise learns."
            )
    elif len(shapes) != 1:
        raise ValueError(
            f"{model.name}: has the outputs {told}; expected one, which the task {task.kind} "
            "learns. keras.Model(model.input, model.outputs[0]) has the first one alone."
        )
    if task.kind == "regress" and next(iter(shapes.values())) != (1,):
        raise ValueError(f"{model.name}: has the outputs {told}; expected one number, (1,).")
    if task.kind in ("regress", "language"):
        return
    masks = next((c for c in data.columns.values() if c.kind == "mask"), None)
    names: tuple[str, ...] = data.labels
    if task.kind == "segment" and masks is not None:
        names = task.names(masks)  # type: ignore[attr-defined]
    shape = shapes.get(_OF_CLASSES[task.kind], next(iter(shapes.values())))
    wanted, axes = 1 if task.kind == "binary" else len(names), 3 if task.kind == "segment" else 1
    if len(shape) != axes or shape[-1] != wanted:
        few = f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}"
        each = " and each pixel" if axes == 3 else ", or one for two classes"
        got = f"{shape[-1]} outputs" if len(shape) == axes else f"outputs of shape {shape}"
        raise ValueError(
            f"{model.name}: has {got}; {data.name} has {len(names)} classes, {few}. Expected one "
            f"output for each class{each}."
        )


def _outputs(model: keras.Model) -> dict[str, Any]:
    """The outputs that are not auxiliary, by the keys of a mapping, or by the names of layers."""
    given = getattr(model, "output", None) if not isinstance(model, keras.Sequential) else None
    if not isinstance(given, Mapping):
        return dict(zip(output_names(model), model.outputs, strict=True))
    return {name: one for name, one in given.items() if not name.startswith(AUXILIARY)}


def _check_inputs(model: keras.Model, data: DataSet) -> None:
    """Refuses data of another shape than a model reads, or with tokens that it has no row for.

    Raises:
        ValueError: It is such.
    """
    columns_of(model, {name: name for name in data.columns})  # each input has a column
    for tensor, rows in zip(model.inputs, num_rows(model), strict=True):
        name = tensor.name if tensor.name in data.columns else data.input
        column, shape = data.columns[name], tuple(tensor.shape[1:])
        if not same_shape(shape, column.shape):
            raise ValueError(
                f"{model.name}: reads {tensor.name} {shape}; {data.name} has {name} "
                f"{tuple(column.shape)}. Expected data of the model's shape."
            )
        if column.kind == "tokens" and rows and len(column.names) > rows:
            raise ValueError(
                f"{model.name}: has {rows} rows for {tensor.name}; {data.name} has "
                f"{len(column.names)} tokens. Expected the data that it was trained on."
            )


def _known(
    model: keras.Model, column: Column, values: str | None
) -> dict[str, Preprocessing | None]:
    """The ways that raw examples may become inputs, by name."""
    if column.kind not in ("image", "features"):
        refuse_values(values, column.kind)
        return {AS_THEY_ARE: None}
    size, channels = int(column.shape[0] or 0), int(column.shape[-1] or 0)
    if column.kind == "features":
        refuse_values(values, "rows of a table")
        return {AS_THEY_ARE: as_they_are(channels)}
    names = ranges_of(model, values, channels=channels)
    return {name: as_range(size, channels, name) for name in names}


def _answers(
    model: keras.Model,
    task: Task,
    key: str,
    raw: Mapping[str, np.ndarray],
    known: Mapping[str, Preprocessing | None],
) -> dict[str, Any]:
    """The answers to some examples, for each way that they may become inputs.

    Raises:
        ValueError: None of them are finite.
    """
    forward = tf.function(lambda batch: task.answer({"net": model}, batch), autograph=False)
    found = {}
    for name, one in known.items():
        columns = {**raw, key: raw[key] if one is None else one.apply(raw[key])}
        parts = []
        for start in range(0, len(raw[key]), AT_ONCE):
            batch = {name: tf.constant(x[start : start + AT_ONCE]) for name, x in columns.items()}
            parts.append(keras.tree.map_structure(keras.ops.convert_to_numpy, forward(batch)))
        answers = keras.tree.map_structure(lambda *x: np.concatenate(x), *parts)
        if all(np.isfinite(x).all() for x in keras.tree.flatten(answers)):
            found[name] = answers
    if not found:
        raise ValueError(
            f"{model.name}: its answers to the training examples are not finite, with pixels or "
            f"columns {' or '.join(known)}; expected finite weights, and data that it was made for."
        )
    return found


def _with_shares(
    model: keras.Model, task: Task, recipe: Recipe, answers: list[Any], loss: Any
) -> tuple[Task, Recipe]:
    """The task, which knows whether the model answers with shares, and the recipe with it."""
    name = _OF_CLASSES[task.kind]
    tensor = _outputs(model)[name] if name else next(iter(_outputs(model).values()))
    place = [id(one) for one in model.outputs].index(id(tensor))
    if isinstance(loss, Mapping) and "class_name" not in loss and len(model.outputs) > 1:
        loss = loss.get(name)
    found = find_shares(
        model, np.concatenate([one[name] if name else one for one in answers]),
        loss=loss, output=place,
    )  # fmt: skip
    if found.told:
        LOG.warning("%s: %s; --set %s= says otherwise", model.name, found.told, SHARES)
    if not found.shares:
        return task, recipe
    if not hasattr(task, "probabilities"):
        raise ValueError(
            f"{model.name}: answers with the shares of a softmax; expected logits, which the task "
            f"{task.kind} learns. Build it without its last activation."
        )
    recipe = changed(recipe, [f"{SHARES}=true"])
    return cast(Task, recipe.task), recipe


def _loss(task: Task, data: DataSet, raw: Mapping[str, np.ndarray], answers: Any) -> float:
    """The loss of some answers."""
    meter = task.meter(data.columns)
    meter.add(raw, answers)
    found, better = meter.result().metrics, task.headline
    return float(found.get("loss", -found[better.name] if better.higher else found[better.name]))
