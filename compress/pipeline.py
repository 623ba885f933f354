"""Pipelines: passes one after the other, read from a recipe, measured, and held to a budget."""

from __future__ import annotations

import dataclasses
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import yaml
from pydantic import Field, model_validator

from compress.base import Context, Fit, Pass
from compress.catalog import pass_class, recipe_path
from compress.report import BudgetReport, Report, Snapshot
from compress.settings import Settings, SettingsError

if TYPE_CHECKING:
    import keras
    import numpy as np

_S = TypeVar("_S", bound=Settings)


class Budget(Settings):
    """What a compression may cost at most.

    Attributes:
        max_drop: Largest allowed fall of the metric, e.g. 0.005 for half a point; None: any.
        metric: Name of a metric that `evaluate` returns and that is better when higher.
        max_bytes: Largest allowed size of the gzipped `.keras` file; None: any.
    """

    max_drop: float | None = Field(default=0.005, ge=0)
    metric: str = "top1"
    max_bytes: int | None = Field(default=None, gt=0)

    @model_validator(mode="after")
    def _limits_something(self) -> Self:
        if self.max_drop is None and self.max_bytes is None:
            raise ValueError("max_drop, max_bytes or both")
        return self

    def require(self, metrics: Mapping[str, float]) -> None:
        """Raises `ValueError` when the metric that the budget limits is not among `metrics`."""
        if self.max_drop is not None and self.metric not in metrics:
            got = f"`evaluate` returns {sorted(metrics)}" if metrics else "there is no `evaluate`"
            raise ValueError(f"Budget.metric: got {self.metric!r}, but {got}.")

    def check(self, before: Snapshot, after: Snapshot) -> BudgetReport:
        """Compares the result with the limits."""
        kept, lines = True, []
        if self.max_drop is not None:
            old, new = before.metrics[self.metric], after.metrics[self.metric]
            kept = old - new <= self.max_drop + 1e-9  # 0.98 - 0.975 is a little more than 0.005
            lines.append(f"{self.metric} {old:.4f} -> {new:.4f}, may fall by {self.max_drop:g}")
        if self.max_bytes is not None:
            size = after.size.gzip_bytes
            kept = kept and size <= self.max_bytes
            lines.append(f"gzipped file {size:,} bytes, may have {self.max_bytes:,}")
        return BudgetReport(kept, tuple(lines))


@dataclass(frozen=True)
class Compressed:
    """A compressed model, not compiled, and the report of how it was made."""

    model: keras.Model
    report: Report


class _Recipe(Settings):
    """The keys of a recipe; the passes are parsed one by one, by their kind."""

    passes: tuple[dict[str, Any], ...]
    budget: Budget | None = None


@dataclass(frozen=True)
class Pipeline:
    """Passes applied one after the other, and a budget checked at the end.

    Attributes:
        passes: At least one pass.
        budget: What the compression may cost at most; None: anything.
    """

    passes: tuple[Pass, ...]
    budget: Budget | None = None

    def __init__(self, passes: Iterable[Pass], budget: Budget | None = None) -> None:
        object.__setattr__(self, "passes", tuple(passes))
        object.__setattr__(self, "budget", budget)
        if not self.passes:
            raise ValueError("Pipeline.passes: got none; expected at least one.")
        for index, item in enumerate(self.passes):
            if not isinstance(item, Pass):
                raise TypeError(f"Pipeline.passes.{index}: got {item!r}; expected a pass.")

    @classmethod
    def from_dict(cls, values: Any, *, where: str = "Pipeline") -> Self:
        """Builds a pipeline from plain values; the inverse of `to_dict`.

        Raises:
            ValueError: One line for each problem; `where` opens it.
        """
        recipe = _parse(_Recipe, values, where)
        passes = []
        for index, item in enumerate(recipe.passes):
            spot = f"{where}.passes.{index}"
            passes.append(_parse(pass_class(item.get("kind"), where=spot), item, spot))
        return cls(passes, recipe.budget)

    @classmethod
    def from_yaml(cls, path: str | Path) -> Self:
        """Reads a recipe.

        Raises:
            FileNotFoundError: There is no such file.
            ValueError: The file is not YAML, or not a pipeline.
        """
        try:
            values = yaml.safe_load(Path(path).read_text())
        except yaml.YAMLError as error:
            raise ValueError(f"{path}: not YAML: {' '.join(str(error).split())}") from None
        return cls.from_dict(values, where=str(path))

    def to_dict(self) -> dict[str, Any]:
        """Returns the pipeline as plain data, with every setting written out."""
        return {
            "passes": [item.model_dump(mode="json") for item in self.passes],
            "budget": None if self.budget is None else self.budget.model_dump(mode="json"),
        }

    def apply(self, model: keras.Model, context: Context | None = None) -> Compressed:
        """Applies the passes in turn, and measures the model before, between and after.

        Raises:
            TypeError: `model` is subclassed.
            ValueError: `model` is not built, a weight is not finite, a pattern of a pass matches no
                layer, or the budget's metric is not evaluated.
            RuntimeError: A saved file does not hold the weights of its model.
        """
        from compress.graph import copy_model

        context = context or Context()
        if context.teacher is None:
            context = dataclasses.replace(context, teacher=model)
        metrics = context.metrics(model)
        if self.budget is not None:
            self.budget.require(metrics)
        before = _snapshot(model, metrics)
        reports = []
        for item in self.passes:
            start = time.perf_counter()
            model, report = item.apply(model, context)
            seconds = time.perf_counter() - start
            metrics = context.metrics(model)
            reports.append(dataclasses.replace(report, metrics=metrics, seconds=seconds))
        if model.compiled:  # by the caller's `fit`; a saved optimizer would triple the file
            model = copy_model(model)
        packed = any(item.kind == "huffman" for item in self.passes)
        after = _snapshot(model, metrics, packed=packed)
        budget = None if self.budget is None else self.budget.check(before, after)
        return Compressed(model, Report(before, after, tuple(reports), budget))


def load_recipe(name_or_path: str | Path) -> Pipeline:
    """Reads a recipe: one of the package by its name, any other by a path that ends in `.yaml`.

    Raises:
        ValueError: There is no recipe of that name, or the file is not a pipeline.
        FileNotFoundError: There is no such file.
    """
    return Pipeline.from_yaml(recipe_path(name_or_path))


def apply(
    plan: Pipeline | Pass | str | Path,
    model: keras.Model,
    *,
    fit: Fit | None = None,
    evaluate: Callable[[keras.Model], Mapping[str, float]] | None = None,
    gradients: Callable[[keras.Model], Iterable[Sequence[np.ndarray]]] | None = None,
    seconds: Callable[[keras.Model], float] | None = None,
    samples: Any = None,
) -> Compressed:
    """Compresses a model; the model itself stays as it is.

    Args:
        plan: A pipeline, a single pass, or the name or path of a recipe.
        model: A built Functional or Sequential model.
        fit: Trains a model in place (see `Fit`). Without it nothing is fine-tuned.
        evaluate: Returns the metrics of a model by name.
        gradients: Gives the gradients of the loss for some batches (see `Context`).
        seconds: Measures a model's latency, where it will run.
        samples: Examples to calibrate on (see `Context`).

    Raises:
        TypeError, ValueError, RuntimeError: See `Pipeline.apply`.
    """
    if isinstance(plan, (str, Path)):
        plan = load_recipe(plan)
    pipeline = plan if isinstance(plan, Pipeline) else Pipeline([plan])
    return pipeline.apply(model, Context(fit, evaluate, gradients, seconds, samples))


def _parse(group: type[_S], values: Any, where: str) -> _S:
    """Builds settings from plain values; error lines open with `where`."""
    if not (isinstance(values, Mapping) and all(isinstance(key, str) for key in values)):
        raise ValueError(f"{where}: got {values!r}; expected a mapping of keys to values.")
    try:
        return group(**values)
    except SettingsError as error:
        raise SettingsError(where, error.problems) from None


def _snapshot(model: keras.Model, metrics: dict[str, float], *, packed: bool = False) -> Snapshot:
    from compress.account import layer_table, saved_size, total

    return Snapshot(total(layer_table(model)), saved_size(model, packed=packed), metrics)
