"""A model that the zoo has not made: a `.keras` or `.h5` file, or a Keras model, on data by name.

What such a model does not say is asked of the data: the kind of learning of the labels and of the
output, the range of the pixels of what it answers best with. With data it becomes a bundle, and
from there on everything is as for any bundle.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
import logging
import shutil
import time
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeAlias, cast

import keras
import numpy as np

import compress as passes
from compress.graph import output_names, trace
from compress.graph.kernels import inner
from compress.layers.quantized import Range
from compress.measure.packed import is_packed
from zoo.bundle import MODEL, Bundle, is_model_file
from zoo.catalog import OWN
from zoo.common import claims, renames, staging
from zoo.common.settings import nearest
from zoo.data.dataset import DataSet
from zoo.data.loading import load
from zoo.data.preprocessing import Preprocessing
from zoo.data.source import Source
from zoo.models.saved import load_model
from zoo.recipe import Recipe, changed
from zoo.tasks.task import Evaluation, Task
from zoo.training.evaluation import evaluate as measure
from zoo.training.history import History
from zoo.training.run import SPLITS, Run
from zoo.training.writing import write_bundle

LOG = logging.getLogger("zoo")
EXAMPLES = 256  # training examples that the range of the pixels is told by
# What a pixel of 0 to 255 becomes: (x * scale - mean) / std.
RANGES = {"0..255": (1.0, 0.0), "0..1": (1 / 255, 0.0), "-1..1": (1 / 127.5, 1.0)}
TRAIN = {
    "epochs": 5,
    "batch_size": 32,
    "optimizer": {"kind": "adamw", "learning_rate": 5e-4, "warmup": 0.05},
}
_KINDS = {"mask": "segment", "box": "localise", "number": "regress", "count": "language"}

Model: TypeAlias = keras.Model | str | Path


def is_own(model: Any) -> bool:
    """Returns whether a model is none of the zoo's bundles: a Keras model, or a file of one."""
    return isinstance(model, keras.Model) or is_model_file(model)


def opened(model: Model) -> tuple[keras.Model, str]:
    """Returns a model, loaded where it is a file, and what it is called."""
    if isinstance(model, keras.Model):
        return model, model.name
    return load_model(model), Path(model).stem


def run_of(
    model: keras.Model,
    data: str | DataSet,
    *,
    changes: Iterable[str] = (),
    values: str | None = None,
) -> Run:
    """Returns the run that trains and measures a model on data.

    Args:
        model: Functional or Sequential.
        data: Name of a data set, `folder:PATH` with a sub-folder for each class, or a data set.
        changes: `key=value` changes of how it is trained, e.g. `train.optimizer.learning_rate=1e-4`
            or `task.kind=segment`.
        values: Range of the pixels that it takes, a key of `RANGES`; `None`: that with which it has
            the smallest loss on some training examples.

    Raises:
        ValueError: The model does not fit the data, or a change is wrong.
        FileNotFoundError: The data is not there.
    """
    given = data if isinstance(data, DataSet) else _loaded(data, model)
    task: dict[str, Any] = {"kind": _kind(model, given)}
    if task["kind"] in ("classify", "binary") and last_activation(model) in ("softmax", "sigmoid"):
        task["probabilities"] = True
    column = given.columns[given.input]
    picture = {"size": column.shape[0], "channels": column.shape[-1]}
    settings = {
        "model": OWN.name,
        "task": task,
        "data": {"name": given.name, **(picture if column.kind == "image" else {})},
        "train": TRAIN,
    }
    recipe = changed(Recipe.parse(settings, where="recipe"), changes)
    kind = cast(Task, recipe.task).kind
    names = next((c.names for c in given.columns.values() if c.kind == "class"), ())
    num = model.outputs[0].shape[-1]
    wanted = 1 if kind == "binary" else len(names)
    if kind in ("classify", "binary") and num != wanted:
        raise ValueError(
            f"{model.name}: has {num} outputs; {given.name} has {len(names)} classes, "
            f"{', '.join(names[:5])}{', ...' if len(names) > 5 else ''}. Expected one output for "
            "each class, or one for two classes."
        )
    if column.kind not in ("image", "features"):
        return Run(recipe, None, {"net": model}, given)
    known = [_taken(column, name) for name in ([values] if values else RANGES)]
    if column.kind == "features":
        known = known[:1]
    run = Run(recipe, known[0], {"net": model}, given)
    if len(known) == 1:
        return run
    losses = [_loss(run, model, one) for one in known]
    best = int(np.argmin(losses))
    told = ", ".join(f"{name} {loss:.4g}" for name, loss in zip(RANGES, losses, strict=True))
    LOG.warning(
        "%s: takes its pixels as %s, with which its loss is smallest (%s); --values says otherwise",
        model.name, list(RANGES)[best], told,
    )  # fmt: skip
    run.origin.preprocessing = known[best]
    return run


def bring(
    model: keras.Model,
    data: str | DataSet,
    out: Path,
    *,
    changes: Iterable[str] = (),
    values: str | None = None,
    file: Path | None = None,
) -> Bundle:
    """Writes a bundle of a model and data, which the model was measured on.

    Args:
        model: Functional or Sequential.
        data: See `run_of`.
        out: Directory of the bundle.
        changes: See `run_of`.
        values: See `run_of`.
        file: What it was loaded from, if anything; a `.keras` file is taken over as it is.

    Raises:
        FileExistsError: There is something at `out`.
        FileNotFoundError, ValueError: See `run_of`.
    """
    began = time.perf_counter()

    def add(stage: Path) -> None:
        if file and file.suffix == ".keras":
            shutil.copy(file, stage / MODEL)  # with its digest

    run = run_of(model, data, changes=changes, values=values)
    origin = {"architecture": file.stem if file else model.name, "paper": OWN.paper}
    return write_bundle(run, out, model, History(), began=began, origin=origin, add=add)


def digest(model: keras.Model) -> str:
    """Returns a digest of the layers and weights of a model, whatever they are called.

    Its file is another one at every saving, and Keras numbers some names anew in every process.
    """
    found = hashlib.sha256()
    for layer in model._flatten_layers(include_self=False):
        if not isinstance(layer, keras.Model):
            config = {k: v for k, v in layer.get_config().items() if k != "name"}
            text = json.dumps(config, sort_keys=True, default=lambda value: type(value).__name__)
            found.update(f"{type(layer).__name__} {text}".encode())
    for variable in model.weights:
        found.update(str(variable.shape).encode())
        found.update(np.ascontiguousarray(variable.numpy()).tobytes())
    return found.hexdigest()


def last_activation(model: keras.Model) -> str:
    """Returns the name of the function that a model's first output comes from, e.g. `softmax`.

    Args:
        model: Functional or Sequential.
    """
    graph = trace(model)
    makers = {id(tensor): call for call in graph.calls for tensor in call.outputs}
    call = makers.get(id(graph.outputs[0]))
    while call is not None and isinstance(call.operation, (Range, keras.layers.Identity)):
        call = makers.get(id(call.inputs[0]))
    if call is None:
        return ""
    layer = inner(call.operation)
    return str(
        getattr(getattr(layer, "activation", None), "__name__", type(layer).__name__)
    ).lower()


def picture_shape(model: keras.Model, *, what: str) -> tuple[int, int]:
    """Returns the side and the channels of the pictures that a model reads.

    Raises:
        ValueError: It reads none, or none that are square and of a known size.
    """
    shapes = [tuple(tensor.shape[1:]) for tensor in model.inputs]
    shape = shapes[0]
    if len(shapes) != 1 or len(shape) != 3 or shape[0] != shape[1] or shape[2] not in (1, 3):
        raise ValueError(
            f"{model.name}: got {what} for a model that reads {', '.join(map(str, shapes))}; "
            "expected one input (side, side, 1 or 3) of a known size."
        )
    return int(shape[0]), int(shape[2])


def taken(model: keras.Model, values: str | None) -> Preprocessing:
    """Returns how a file of a picture, or of a table, becomes an input where nothing is known.

    Args:
        model: Reads pictures, or rows of a table.
        values: Range of the pixels; `None`: 0 to 255, which a line says.
    """
    shape = tuple(model.inputs[0].shape[1:])
    if len(model.inputs) == 1 and len(shape) == 1:
        return _identity(None, int(shape[0]))
    size, channels = picture_shape(model, what="a picture")
    if values is None:
        values = next(iter(RANGES))
        LOG.warning("%s: is given pixels of %s; --values says otherwise", model.name, values)
    return _identity(size, channels, values)


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


def _taken(column: Any, values: str) -> Preprocessing:
    image = column.kind == "image"
    return _identity(column.shape[0] if image else None, column.shape[-1], values)


def _identity(size: int | None, channels: int, values: str = "0..255") -> Preprocessing:
    if values not in RANGES:
        raise ValueError(f"--values: got {values!r}; expected a range. {nearest(values, RANGES)}")
    scale, mean = RANGES[values]
    return Preprocessing(
        size=size, channels=channels, scale=scale, mean=(mean,) * channels, std=(1.0,) * channels
    )


def _loss(run: Run, model: keras.Model, known: Preprocessing) -> float:
    """The loss on some training examples, if their pixels are taken so."""
    raw = run.raw("train", EXAMPLES)
    meter = run.task.meter(run.data.columns)
    meter.add(raw, model.predict(known.apply(raw[run.data.input]), verbose=0))
    found = meter.result().metrics
    better = run.task.headline
    return float(found.get("loss", -found[better.name] if better.higher else found[better.name]))


def facts(path: str | Path) -> dict[str, Any]:
    """Returns what a file of a model says of itself.

    Args:
        path: A `.keras` or `.h5` file.

    Raises:
        FileNotFoundError: There is no such file.
        ValueError: It is not a whole model.
    """
    model = load_model(path)
    size = Path(path).stat().st_size
    weights = {str(v.path): int(np.prod(v.shape)) for v in model.weights}
    trained = sum(int(np.prod(v.shape)) for v in model.trainable_weights)
    layers = list(model._flatten_layers(include_self=False))
    custom = {type(one).__name__ for one in layers if not type(one).__module__.startswith("keras.")}
    return {
        "name": model.name,
        "file_bytes": size,
        "inputs": {x.name: [*x.shape[1:], x.dtype] for x in model.inputs},
        "outputs": {
            name: [*x.shape[1:], x.dtype]
            for name, x in zip(output_names(model), model.outputs, strict=True)
        },
        "parameters": sum(weights.values()),
        "trainable": trained,
        "ends_in": last_activation(model) or None,
        "quantised": any(isinstance(layer, Range) for layer in layers),
        "custom_layers": sorted(custom),
    }


class Together:
    """The batches of several sources, one after the other; see `zoo.data.source.Source`.

    Args:
        sources: In order.
    """

    def __init__(self, sources: Sequence[Source]):
        self._sources = sources

    def batches(self, *arguments: Any, **options: Any) -> Iterator[Any]:
        """See `Source.batches`."""
        for source in self._sources:
            yield from source.batches(*arguments, **options)


def count(run: Run, split: str) -> int:
    """Returns the number of examples of a split, or of `all` of them together."""
    return sum(run.examples(name) for name in ([split] if split != "all" else SPLITS))


def evaluate(run: Run, model: keras.Model | Mapping[str, keras.Model], split: str) -> Evaluation:
    """Measures a model on a split of its run, or on `all` of them together."""
    if split != "all":
        return run.evaluate(model, split)
    source: Any = Together([run.source(name) for name in SPLITS])
    columns, meter = run.data.columns, run.task.meter_of(run.data)
    return measure(run.task, run.of(model), source, columns, meter=meter)


def compress_alone(
    model: Model,
    recipe: str | Path,
    *,
    out: str | Path | None = None,
    samples: Any = None,
    force: bool = False,
) -> passes.Compressed:
    """Applies a recipe without training to a model of which no data is at hand.

    Args:
        model: A Keras model, or a file of one.
        recipe: A name of `compress.recipe_names()`, or a YAML file.
        out: The new `.keras` file; beside a file `NAME-RECIPE.keras` when `None`, and for a Keras
            model none. The report stands beside it as `.json`, a packed file as `.packed`.
        samples: Examples to calibrate on, as the model takes them (see `compress.apply`).
        force: Whether to replace what is at `out`; never what only has the name of such a file.

    Raises:
        FileExistsError: There is something at `out`.
        ValueError: A pass trains, which takes data; or it calibrates, and there are no samples.
    """
    pipeline, name = passes.load_recipe(recipe), Path(recipe).stem
    place = Path(out) if out else None
    if place is None and not isinstance(model, keras.Model):
        place = Path(model).with_name(f"{Path(model).stem}-{name}.keras")
    place = None if place is None else claims.place_of(place)
    if place is not None and place.suffix != ".keras":
        raise ValueError(f"{place}: got a name for a model; expected one that ends in .keras.")
    files = [place.with_suffix(end) for end in (".keras", ".json", ".packed")] if place else []
    if not isinstance(model, keras.Model):
        for file in files:
            staging.check_apart(file, Path(model))
    if any(step.epochs and step.kind != "huffman" for step in pipeline.passes):
        raise ValueError(
            f"{name}: trains, and no data was given; expected --data folder:PATH (`data=`), or a "
            "recipe without training, e.g. int8."
        )
    context = passes.Context(samples=samples)
    if place is None:
        return pipeline.apply(opened(model)[0], context)
    model_file, report, packed = files
    with claims.claim(place) as claim, claim.scratch() as holder:
        for file in files:
            staging.check_file(file, force=force)
            _check_ours(file)
        small = pipeline.apply(opened(model)[0], context)
        stage = holder / place.name
        small.model.save(stage)
        if small.report.after.size.packed_bytes is not None:
            passes.pack(small.model, holder / packed.name)
        (holder / report.name).write_text(small.report.to_json() + "\n")
        # The old report goes first and the new one comes last: whenever this is cut short, what
        # stands there is of one compression, and without a report it is not finished.
        report.unlink(missing_ok=True)
        packed.unlink(missing_ok=True)
        for file in (model_file, packed, report):
            if (made := holder / file.name).exists():
                renames.put(made, file)
    return small


def _check_ours(file: Path) -> None:
    """Refuses to replace what only has the name of what `compress_alone` writes.

    Raises:
        FileExistsError: It is something else.
    """
    if not file.exists():
        return
    if file.suffix == ".json":
        kind, ours = "a report of a compression", _is_report(file)
    elif file.suffix == ".packed":
        kind, ours = "a packed model", is_packed(file)
    else:
        kind, ours = "a model", zipfile.is_zipfile(file)
    if not ours:
        raise FileExistsError(f"{file}: exists and is not {kind}; choose another --out.")


def _is_report(file: Path) -> bool:
    try:
        found = json.loads(file.read_bytes())
    except (ValueError, RecursionError):
        return False
    keys = {field.name for field in dataclasses.fields(passes.Report)}
    return isinstance(found, dict) and keys <= found.keys()
