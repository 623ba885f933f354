"""Writes what a run has come to as a bundle."""

from __future__ import annotations

import csv
import logging
import statistics
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, cast

import keras
import numpy as np

from compress.graph import output_names
from zoo import bundle as bundles
from zoo.bundle import Bundle, Card, Report
from zoo.common import staging
from zoo.common.columns import Column
from zoo.models.saved import load_networks
from zoo.tasks import plots
from zoo.training import provenance
from zoo.training.history import History
from zoo.training.run import SPLITS, Run

KEPT = {"train": 64, "test": 32}  # raw examples in a bundle
KEPT_BYTES = 2**22  # of one split in a bundle, at most, unless that is less than `KEPT_LEAST`
KEPT_LEAST = 8
LOG = logging.getLogger("zoo")


def write_bundle(
    run: Run,
    out: Path,
    model: keras.Model | Mapping[str, keras.Model],
    history: History,
    *,
    began: float,
    force: bool = False,
    origin: dict[str, Any] | None = None,
    add: Callable[[Path], None] | None = None,
) -> Bundle:
    """Writes a bundle; what its report says was measured on a fresh load of the saved model.

    Args:
        run: The recipe with its data at hand.
        out: Directory of the bundle.
        model: The networks, or a deployed model: plain Keras, float32; auxiliary heads are left
            out.
        history: Rows of the training, one an epoch.
        began: `time.perf_counter()` at the start of the command.
        force: Whether to replace what is at `out`.
        origin: For a bundle that was made from others: fields of the card and of the report
            that say so, in place of what the recipe says.
        add: Writes more files to the directory, before it takes its name.
    """
    networks = run.of(model)
    with staging.staged(out, force=force) as stage:
        _save(run, networks, stage)
        if add:
            add(stage)
        (stage / bundles.RECIPE).write_text(run.recipe.to_yaml())
        _keep(run, stage / bundles.SAMPLES)
        loaded = load_networks(stage)
        fresh = {name: loaded[name] for name in networks if name in loaded} or loaded
        LOG.info("measures the test split")
        test = run.evaluate(fresh, "test")
        plots.curves(history.rows, run.task.headline.name, stage / bundles.CURVES)
        for name, draw in test.pictures.items():
            draw(stage / f"{name}.png")
        _write_history(history, stage / bundles.HISTORY)
        card, made = _divide(origin or {})
        _dump(_card(run, fresh, card, tied=_tied(networks)), stage / bundles.CARD)
        report = Report(
            status="interrupted" if history.interrupted else "complete",
            metrics=test.metrics,
            validation=run.evaluate(fresh, "validation").metrics,
            tables=test.tables,
            examples={split: run.examples(split) for split in SPLITS},
            source=run.data.source,
            problems=run.data.problems,
            epochs=history.epochs,
            seconds=_seconds(history, began),
            examples_per_second=history.images / history.seconds if history.seconds else 0.0,
            hardware=run.machine.facts(),
            versions=provenance.versions("keras", "tensorflow", "numpy", *run.origin.packages),
            seed=run.recipe.seed,
            commit=provenance.commit(),
            **made,
        )
        _dump(report, stage / bundles.REPORT)
    return Bundle(out)


def _save(run: Run, networks: Mapping[str, keras.Model], stage: Path) -> None:
    """Writes what is deployed and, where that is not the one network, each of them."""
    deployed = run.task.deployed(networks)
    deployed.save(stage / bundles.MODEL)
    following = {follow.network for follow in run.task.follows()}
    if set(networks) - following != {"net"} or _apart(run, networks, deployed):
        (stage / bundles.NETWORKS).mkdir()
        for name in set(networks) - following:
            networks[name].save(stage / bundles.NETWORKS / f"{name}.keras")


def _apart(run: Run, networks: Mapping[str, keras.Model], deployed: keras.Model) -> bool:
    """Whether the one network stands in the bundle beside what is deployed."""
    return run.task.served_apart and networks["net"] is not deployed


def _keep(run: Run, path: Path) -> None:
    """Writes a few raw examples."""
    arrays: dict[str, np.ndarray] = {}
    for split, count in KEPT.items():
        whole = run.raw(split, count)
        size = sum(values.nbytes for values in whole.values())
        fits = max(KEPT_LEAST, int(count * min(1.0, KEPT_BYTES / max(size, 1))))
        arrays |= {f"{split}/{name}": values[:fits] for name, values in whole.items()}
    np.savez_compressed(path, allow_pickle=False, **arrays)


def _card(
    run: Run, networks: Mapping[str, keras.Model], origin: dict[str, Any], *, tied: int
) -> Card:
    """The card of freshly loaded networks; so many `tied` weights are in several of their files."""
    model = run.task.deployed(networks)
    outputs = run.task.outputs(run.data)
    if len(outputs) == 1:
        outputs = {output_names(model)[0]: next(iter(outputs.values()))}
    elif isinstance(model.output, Mapping):
        outputs = {name: column for name, column in outputs.items() if name in model.output}
    following = {follow.network for follow in run.task.follows()}
    kept = [network for name, network in networks.items() if name not in following]
    several = tuple(networks) != ("net",) or _apart(run, networks, model)
    facts = {
        "architecture": run.architecture.name,
        "task": run.task.kind,
        "paper": run.architecture.paper,
        "columns": run.data.columns,
        "inputs": {tensor.name: _column(run, tensor) for tensor in model.inputs},
        "outputs": outputs,
        "preprocessing": run.preprocessing.model_dump(mode="json") if run.preprocessing else {},
        "actions": getattr(getattr(run.data, "actions", None), "facts", {}),
        "parameters": sum(_size(v) for one in kept for v in one.trainable_variables) - tied,
        "data": run.data.name,
        "data_digest": run.data.digest,
        "networks": tuple(networks) if several else (),
        "custom_layers": tuple(sorted(_custom_layers([model, *kept]))),
    }
    return Card(**facts | origin)


def _size(variable: keras.Variable) -> int:
    return int(variable.value.shape.num_elements())


def _tied(networks: Mapping[str, keras.Model]) -> int:
    """How many weights of some networks are others' too."""
    variables = [v for network in networks.values() for v in network.trainable_variables]
    return sum(map(_size, variables)) - sum(map(_size, {id(v): v for v in variables}.values()))


def _column(run: Run, tensor: Any) -> Column:
    """What an input of the deployed model is."""
    known = run.task.states(run.networks)
    if tensor.name in known:  # a class, e.g., may be read otherwise than the data have it
        return known[tensor.name]
    if tensor.name in run.data.columns:  # of which it may read a part at a time
        return run.data.columns[tensor.name]._replace(shape=tuple(tensor.shape[1:]))
    drawn = run.task.draws(run.networks)
    if tensor.name in drawn:
        return Column("noise", drawn[tensor.name].shape)
    return cast(Column, run.data.columns[run.data.input])


def _custom_layers(models: Sequence[keras.Model]) -> set[str]:
    layers = [layer for model in models for layer in model._flatten_layers(include_self=False)]
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
