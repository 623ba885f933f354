"""A model that the zoo has not made: a `.keras` or `.h5` file, or a Keras model, on data by name.

With data it becomes a bundle, and from there on everything is as for any bundle. What it does not
say is asked of the data, see `zoo.stages.asking`.
"""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, TypeAlias

import keras
import numpy as np

from compress.graph import output_names
from compress.graph.shares import last_function
from compress.layers.quantized import Range
from zoo.bundle import MODEL, Bundle, is_model_file
from zoo.catalog import OWN
from zoo.data.dataset import DataSet
from zoo.data.feeds.source import Source
from zoo.models.saved import compiled_loss, load_model
from zoo.stages.asking import run_of
from zoo.tasks.task import Evaluation
from zoo.training.evaluation import evaluate as measure
from zoo.training.history import History
from zoo.training.run import SPLITS, Run
from zoo.training.writing import write_bundle

Model: TypeAlias = keras.Model | str | Path


class Opened(NamedTuple):
    """A model that the zoo has not made.

    Attributes:
        model: Loaded, where it is a file.
        name: What it is called.
        file: Where it comes from; `None` of a Keras model.
        loss: What it was compiled with, see `compress.graph.shares.takes_logits`.
    """

    model: keras.Model
    name: str
    file: Path | None
    loss: Any


def is_own(model: Any) -> bool:
    """Returns whether a model is none of the zoo's bundles: a Keras model, or a file of one."""
    return isinstance(model, keras.Model) or is_model_file(model)


def opened(model: Model) -> Opened:
    """Returns a model, loaded where it is a file, and what is known of it."""
    if isinstance(model, keras.Model):
        return Opened(model, model.name, None, getattr(model, "loss", None))
    path = Path(model)
    return Opened(load_model(path), path.stem, path, compiled_loss(path))


def bring(
    given: Opened,
    data: str | DataSet,
    out: Path,
    *,
    changes: Iterable[str] = (),
    values: str | None = None,
) -> Bundle:
    """Writes a bundle of a model and data, which the model was measured on.

    Args:
        given: The model; a `.keras` file is taken over as it is.
        data: See `run_of`.
        out: Directory of the bundle.
        changes: See `run_of`.
        values: See `run_of`.

    Raises:
        FileExistsError: There is something at `out`.
        FileNotFoundError, ValueError: See `run_of`.
    """
    began, (model, _, file, loss) = time.perf_counter(), given

    def add(stage: Path) -> None:
        if file and file.suffix == ".keras":
            shutil.copy(file, stage / MODEL)  # with its digest

    run = run_of(model, data, changes=changes, values=values, loss=loss)
    origin = {"architecture": given.name, "paper": OWN.paper}
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
        "ends_in": last_function(model) or None,
        "quantised": any(isinstance(layer, Range) for layer in layers),
        "custom_layers": sorted(custom),
    }


class Together:
    """The batches of several sources, one after the other; see `zoo.data.feeds.source.Source`.

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
    networks = run.of(model)
    meter = run.task.meter_with(run.data, networks)
    return measure(run.task, networks, source, run.data.columns, meter=meter)
