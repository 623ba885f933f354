"""Pipelines: passes one after the other, read from a recipe, measured, and held to a budget."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypeVar

import yaml

from compress.base import Context, Fit, Measure, Pass
from compress.catalog import pass_class, recipe_path
from compress.measure.report import Report
from compress.pipeline.budget import Budget
from zoo.common.settings import Settings, SettingsError

if TYPE_CHECKING:
    import keras
    import numpy as np

_S = TypeVar("_S", bound=Settings)


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

        A budget with a `search` runs them with several settings; the best result is kept.

        Raises:
            TypeError: `model` is subclassed.
            ValueError: `model` is not built, a weight is not finite, a pattern of a pass matches no
                layer, or what the budget limits is not measured.
            RuntimeError: A saved file does not hold the weights of its model.
        """
        from compress.measure.account import layer_table
        from compress.pipeline import stages
        from compress.pipeline.search import search

        context = context or Context()
        limits = self.budget and self.budget.on(context.headline)
        if context.teacher is None:
            context = dataclasses.replace(context, teacher=model)
        packed = any(item.kind == "huffman" for item in self.passes)
        rows = layer_table(model)
        before, tried = stages.snapshot(model, rows, context), None
        if limits is not None:
            limits.require(before.metrics, timed=context.measure is not None)
        if limits is not None and limits.search:
            result, tried = search(self.passes, limits, model, before, context, rows=rows)
            done, after = result.stages, result.after
        else:
            done = stages.run(self.passes, model, context, rows=rows)
            after = stages.snapshot(done[-1].model, done[-1].rows, context, packed=packed)
        small = done[-1].model
        first, *others = stages.runtimes([model, *(stage.model for stage in done)], context)
        reports = [
            dataclasses.replace(stage.report, runtimes=found)
            for stage, found in zip(done, others, strict=True)
        ]
        before = stages.with_costs(before, model, rows, first)
        after = stages.with_costs(after, small, done[-1].rows, others[-1])
        budget = None if limits is None else limits.check(before, after)
        idle = stages.idle(first, reports)
        return Compressed(small, Report(before, after, tuple(reports), budget, tried, idle))


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
    measure: Measure | None = None,
    samples: Any = None,
) -> Compressed:
    """Compresses a model; the model itself stays as it is.

    Args:
        plan: A pipeline, a single pass, or the name or path of a recipe.
        model: A built Functional or Sequential model.
        fit: Trains a model in place (see `Fit`). Without it nothing is fine-tuned.
        evaluate: Returns the metrics of a model by name.
        gradients: Gives the gradients of the loss for some batches (see `Context`).
        measure: Makes and times the files that runtimes read (see `Measure`).
        samples: Examples to calibrate on (see `Context`).

    Raises:
        TypeError, ValueError, RuntimeError: See `Pipeline.apply`.
    """
    if isinstance(plan, (str, Path)):
        plan = load_recipe(plan)
    pipeline = plan if isinstance(plan, Pipeline) else Pipeline([plan])
    return pipeline.apply(model, Context(fit, evaluate, gradients, measure, samples))


def _parse(group: type[_S], values: Any, where: str) -> _S:
    """Builds settings from plain values; error lines open with `where`."""
    if not (isinstance(values, Mapping) and all(isinstance(key, str) for key in values)):
        raise ValueError(f"{where}: got {values!r}; expected a mapping of keys to values.")
    try:
        return group(**values)
    except SettingsError as error:
        raise SettingsError(where, error.problems) from None
