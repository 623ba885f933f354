"""Passes one after the other, and what is measured of the models between them."""

from __future__ import annotations

import dataclasses
import logging
import time
from collections.abc import Sequence
from typing import NamedTuple

import keras
import numpy as np

from compress.base import Context, Pass
from compress.graph import copy_model
from compress.measure import table
from compress.measure.account import LayerRow, reload, total
from compress.measure.costs import layer_costs
from compress.measure.report import PassReport, Runtime, Snapshot

LOG = logging.getLogger("compress")
SAVES_BYTES, SAVES_SECONDS = 0.02, 0.05  # shares from which on a step counts as saving


class Stage(NamedTuple):
    """A pass, the model that it made, its report, and the model's table: the next one's input."""

    step: Pass
    model: keras.Model
    report: PassReport
    rows: list[LayerRow]


def run(
    passes: Sequence[Pass],
    model: keras.Model,
    context: Context,
    done: Sequence[Stage] = (),
    *,
    rows: Sequence[LayerRow] = (),
) -> list[Stage]:
    """Applies passes in turn.

    Args:
        passes: At least one.
        model: Stays as it is.
        context: What the passes may use.
        done: Stages of an earlier run on the model; those that open with the same passes are taken
            over.
        rows: Table of the model, where it is counted already.

    Returns:
        One stage for each pass; no model is compiled.
    """
    stages: list[Stage] = []
    for step in passes:
        number = len(stages)
        same = all(a is b for a, b in zip(stages, done, strict=False))
        if number < len(done) and done[number].step == step and same:
            stages.append(done[number])
        else:
            last = stages[-1] if stages else None
            given = (last.model, last.rows) if last else (model, rows)
            stages.append(_kept_stage(passes[: number + 1], *given, context))
    return stages


def snapshot(
    model: keras.Model, rows: Sequence[LayerRow], context: Context, *, packed: bool = False
) -> Snapshot:
    """Saves a model, loads it again, and measures what was loaded.

    Args:
        model: Built.
        rows: Its table.
        context: Evaluates.
        packed: Whether the packed file is what counts.

    Raises:
        TypeError: `model` is subclassed.
        ValueError: `model` is not built, or a weight is not finite.
        RuntimeError: A file does not hold the weights of the model.
    """
    loaded, size = reload(model, packed=packed)
    return Snapshot(total(rows), size, context.metrics(loaded))


def runtimes(models: Sequence[keras.Model], context: Context) -> list[dict[str, Runtime]]:
    """Returns what runtimes do with each model, timed side by side; nothing without `measure`.

    A model equal to the one before it, as after `huffman`, is not measured again.
    """
    if context.measure is None:
        return [{} for _ in models]
    new = [
        number == 0 or not _equal(models[number - 1], models[number])
        for number in range(len(models))
    ]
    found = iter(context.measure(*(model for model, own in zip(models, new, strict=True) if own)))
    each: list[dict[str, Runtime]] = []
    for own in new:
        each.append(dict(next(found)) if own else each[-1])
    return each


def with_costs(
    found: Snapshot,
    model: keras.Model,
    rows: Sequence[LayerRow],
    runtimes: dict[str, Runtime],
) -> Snapshot:
    """Adds to a snapshot of a model what its layers take, and what its runtimes do."""
    whole, layers = layer_costs(model, rows, packed=found.size.packed_bytes is not None)
    seconds = next((runtime.seconds for runtime in runtimes.values()), None)
    return dataclasses.replace(
        found, latency_seconds=seconds, total=whole, layers=layers, runtimes=runtimes
    )


def idle(before: dict[str, Runtime], reports: Sequence[PassReport]) -> tuple[str, ...]:
    """Returns a line for each pass and runtime where bytes or time stay as they were.

    Args:
        before: Figures of the input.
        reports: With the runtimes after each pass.
    """
    lines = []
    for report in reports:
        for name, new in report.runtimes.items():
            if name in before and (line := _idle(before[name], new)):
                lines.append(f"{report.settings['kind']}{_zeros(report)}: {name} {line}")
        before = report.runtimes
    return tuple(lines)


def _equal(one: keras.Model, other: keras.Model) -> bool:
    """Whether two models have the same graph and weights."""
    pairs = zip(one.weights, other.weights, strict=False)
    return (
        len(one.weights) == len(other.weights)
        and all(a.shape == b.shape and np.array_equal(a.numpy(), b.numpy()) for a, b in pairs)
        and one.get_config() == other.get_config()
    )


def _kept_stage(
    plan: Sequence[Pass], model: keras.Model, rows: Sequence[LayerRow], context: Context
) -> Stage:
    """What the last pass of a plan comes to, or has come to in a run that was killed."""
    kept = context.kept
    if kept is None:
        return _stage(plan[-1], model, rows, context)
    found = kept.find(plan)
    if found is None:
        kept.begin(plan)
        found = _stage(plan[-1], model, rows, context)
        kept.keep(plan, found)
    return found


def _stage(step: Pass, model: keras.Model, rows: Sequence[LayerRow], context: Context) -> Stage:
    start = time.perf_counter()
    (new, report), rows = step.step(model, context, rows)
    seconds = time.perf_counter() - start
    if new.compiled:  # by the caller's `fit`; a saved optimizer would triple the file
        new = copy_model(new)
    report = dataclasses.replace(report, metrics=context.metrics(new), seconds=seconds)
    line = table.line(dataclasses.asdict(report))
    LOG.info("%s", line)
    if context.progress is not None:
        context.progress(line)
    return Stage(step, copy_model(new) if new.compiled else new, report, rows)


def _idle(old: Runtime, new: Runtime) -> str:
    same_bytes = new.size_bytes > (1 - SAVES_BYTES) * old.size_bytes
    same_seconds = new.seconds > (1 - SAVES_SECONDS) * old.seconds
    if not (same_bytes or same_seconds):
        return ""
    grown = new.size_bytes > (1 + SAVES_BYTES) * old.size_bytes
    size = f"{old.size_bytes:,} -> {new.size_bytes:,} bytes"
    if same_bytes and not grown:
        size = f"stays {new.size_bytes:,} bytes"
    return f"{size}, {old.seconds / new.seconds:.2f}x as fast"


def _zeros(report: PassReport) -> str:
    """What there is of zeros after a pass that made some."""
    before, after = (
        1 - counts.nonzero / max(1, counts.parameters) for counts in (report.before, report.after)
    )
    return f", {after:.0%} zeros" if after > before + 0.01 else ""
