"""Fits a baseline and measures it: a directory with a card and a report, as a bundle has them."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from importlib import import_module
from pathlib import Path
from typing import Any

from zoo import baselines
from zoo import bundle as bundles
from zoo.baselines.fitted import Fitted
from zoo.baselines.texts import Predicted
from zoo.bundle import Card, Record, Report
from zoo.common import staging
from zoo.data import loading
from zoo.data.dataset import DataSet
from zoo.datasets import GYM
from zoo.environments.world import World
from zoo.metrics.classification import confusion_matrix, per_class, top_k_accuracy
from zoo.recipe import Environment
from zoo.training import provenance

READ: dict[tuple[str, ...], str] = {  # kinds of columns, and what they are
    ("image", "class"): "images with classes",
    ("series", "class"): "signals with classes",
    ("series", "series"): "a signal that goes on",
    ("tokens", "count"): "a text of characters",
    ("tokens", "class"): "short texts with classes",
    ("features", "class"): "an environment",
}
SPLITS = ("train", "validation", "test")
LOG = logging.getLogger("zoo")


def baseline(
    name: str,
    *,
    data: str | None = None,
    size: int | None = None,
    limit: int | None = None,
    out: str | Path | None = None,
    force: bool = False,
) -> Record:
    """Fits a baseline, measures it on the test split and writes `card.json` and `report.json`.

    Args:
        name: A row of `zoo.baselines.BASELINES`.
        data: What the row reads: images, signals or short texts with classes, a text, a signal,
            `gym:NAME`; `None` is the row's own.
        size: Side of the square images, in pixels; places of a window; `None` keeps the data set's
            own.
        limit: Number of training examples to keep; `None` keeps all.
        out: The directory; `runs/NAME-DATA` when `None`.
        force: Whether to replace what an earlier run wrote there.

    Raises:
        ValueError: A name is unknown, or the data are not what the baseline reads.
        FileExistsError: There is something at `out`.
    """
    began = time.perf_counter()
    row = baselines.find_baseline(name)
    data = row.data if data is None else data
    out = Path(out or Path("runs") / f"{name}-{Path(data).name.replace(':', '-')}")
    with staging.claimed(out, force=force):
        return _baseline(row, out, data=data, size=size, limit=limit, force=force, began=began)


def _baseline(
    row: baselines.Baseline,
    out: Path,
    *,
    data: str,
    size: int | None,
    limit: int | None,
    force: bool,
    began: float,
) -> Record:
    found = _loaded(row, data, size=size, limit=limit)
    kinds = [column.kind for column in found.columns.values()]
    if tuple(kinds) not in row.reads:
        wanted = " or ".join(READ[read] for read in row.reads)
        raise ValueError(f"{row.name}: {data} is not {wanted}; expected that, e.g. {row.data}.")
    count = {split: _count(found, split) for split in SPLITS}
    sizes = ", ".join(f"{number:,} {split}" for split, number in count.items())
    LOG.info("%s: %s", found.name, found.source)
    LOG.info("examples: %s", sizes)
    module, function = row.method.split(":")
    method: Callable[..., Any] = getattr(import_module(module), function)
    measure: Callable[..., Found] = _classified if row.task == "classify" else _predicted
    fitted, seconds, tables = measure(row, method, found, began)
    with staging.staged(out, force=force) as stage:
        _dump(_card(row, found, fitted), stage / bundles.CARD)
        report = Report(
            status="complete",
            metrics=fitted.metrics,
            validation=fitted.validation,
            examples=count,
            source=found.source,
            problems=found.problems,
            tables=tables,
            epochs=0,
            seconds={"total": time.perf_counter() - began, "train": seconds, "epoch": 0.0},
            examples_per_second=count["train"] / seconds,
            hardware={"processor": provenance.processor(), "cores": provenance.cores()},
            versions=provenance.versions("numpy", "scikit-learn", "scikit-image"),
            seed=0,
            commit=provenance.commit(),
            baseline=bundles.Baseline(settings=fitted.settings, tried=fitted.tried),
        )
        _dump(report, stage / bundles.REPORT)
    return Record(out)


def _loaded(
    row: baselines.Baseline, data: str, *, size: int | None, limit: int | None
) -> DataSet | World:
    """A data set, or the environment of `gym:NAME`."""
    if not data.startswith(GYM):
        return loading.load(data, size=size, limit=limit)
    for name, value in (("size", size), ("limit", limit)):
        if value is not None:
            raise ValueError(f"{name}: got {value} for {data}; an environment has neither.")
    return World(Environment(name=data.removeprefix(GYM)))


def _count(data: DataSet | World, split: str) -> int:
    """The examples of a split, or the episodes of an environment."""
    return data.examples(split) if isinstance(data, World) else len(getattr(data, split))


Found = tuple[Predicted, float, dict[str, Any]]


def _classified(
    row: baselines.Baseline, method: Callable[..., Fitted], data: DataSet, began: float
) -> Found:
    """Fits and measures a classifier: what was measured, seconds of the fit, tables."""
    read = data.columns[data.input]
    sizes = {"vocabulary": len(read.names)} if read.kind == "tokens" else {}
    fitted = method(data.train, data.validation, len(data.labels), **sizes, **row.settings)
    seconds = time.perf_counter() - began
    scores = fitted.score(data.test[data.input])  # (n, classes)
    truth, guesses = data.test["label"], scores.argmax(axis=1)
    metrics = {f"top{k}": top_k_accuracy(truth, scores, k) for k in (1, 5)}
    found = Predicted(
        metrics | fitted.measure(data.test[data.input]),
        {"top1": max(one["top1"] for one in fitted.tried)},
        fitted.settings,
        tuple(fitted.tried),
        fitted.parameters,
    )
    tables = {
        "per_class": list(per_class(truth, guesses, data.labels)),
        "confusion": confusion_matrix(truth, guesses, len(data.labels)).tolist(),
    }
    return found, seconds, tables


def _predicted(
    row: baselines.Baseline, method: Callable[..., Predicted], data: DataSet | World, began: float
) -> Found:
    """Measures what foretells a text or a signal, or an agent, likewise."""
    found = method(data, **row.settings)
    return found, time.perf_counter() - began, {}


def _card(row: baselines.Baseline, data: DataSet | World, fitted: Predicted) -> Card:
    answer = {"scores": data.columns["label"]} if row.task == "classify" else {}
    answer |= {"ahead": data.columns["ahead"]} if row.task == "forecast" else {}
    answer |= {"action": data.columns["action"]} if isinstance(data, World) else {}
    return Card(
        architecture=row.name,
        task=row.task,
        paper=row.paper,
        inputs={data.input: data.columns[data.input]},
        outputs=answer,
        preprocessing={},
        parameters=fitted.parameters,
        data=data.name,
    )


def _dump(settings: Any, path: Path) -> None:
    path.write_text(settings.model_dump_json(indent=2) + "\n")
