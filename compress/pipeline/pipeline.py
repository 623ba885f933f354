"""Pipelines: passes one after the other, read from a recipe, measured, and held to a budget."""

from __future__ import annotations

import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self, TypedDict, TypeVar, Unpack

from compress.base import Context, Fit, Headline, Measure, Pass
from compress.catalog import pass_class, recipe_path
from compress.measure import table
from compress.measure.report import Report
from compress.pipeline.budget import Budget
from zoo.common import plain_yaml
from zoo.common.settings import Settings, SettingsError, nearest, put, shown
from zoo.common.signatures import spelled_out

if TYPE_CHECKING:
    import keras
    import numpy as np

PASSES, BUDGET = OWN = "passes.", "budget."  # begin a change that is not of the fine-tuning
LOG = logging.getLogger("compress")
_S = TypeVar("_S", bound=Settings)


@dataclass(frozen=True)
class Compressed:
    """A compressed model, and the report of how it was made.

    The model is not compiled, but for `apply` with data.
    """

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
        return cls.from_dict(plain_yaml.read(path, "a recipe of passes"), where=str(path))

    def to_dict(self) -> dict[str, Any]:
        """Returns the pipeline as plain data, with every setting written out."""
        return {
            "passes": [item.model_dump(mode="json") for item in self.passes],
            "budget": None if self.budget is None else self.budget.model_dump(mode="json"),
        }

    def changed(self, changes: Iterable[str]) -> Self:
        """Returns the pipeline with other settings: `KIND.KEY=VALUE`, e.g. `prune.epochs=24`.

        A pass is named by its kind, or by its place from 0, e.g. `1.bits=8`; `budget.KEY` is of the
        budget, a new one where there is none. The value is YAML.

        Raises:
            ValueError: There is no such pass, or more than one of the kind; or it does not take
                the setting.
        """
        passes, budget = list(self.passes), self.budget
        for change in changes:
            place, equals, text = change.partition("=")
            name, _, key = place.partition(".")
            if name == "budget" and equals and key:
                limits = {} if budget is None else budget.model_dump(exclude_unset=True)
                put(limits, key, plain_yaml.parse(text, change), where=change)
                budget = _parse(Budget, limits, "budget")
                continue
            if not (equals and key):
                raise ValueError(
                    f"passes: got {shown(change)}; expected KIND.KEY=VALUE, e.g. prune.epochs=24."
                )
            found = [i for i, one in enumerate(passes) if name in (one.kind, str(i))]
            if len(found) != 1:
                kinds = ", ".join(f"{index} {one.kind}" for index, one in enumerate(passes))
                raise ValueError(
                    f"passes.{place}: got {shown(name)}; expected the kind or the number of one of "
                    f"the passes, {kinds}."
                )
            step = passes[found[0]]
            values = step.model_dump(exclude_unset=True) | {"kind": step.kind}
            put(values, key, plain_yaml.parse(text, f"passes.{change}"), where=f"passes.{change}")
            passes[found[0]] = _parse(type(step), values, f"passes.{name}")
        return type(self)(passes, budget)

    def trained_for(self, epochs: int) -> Self:
        """Returns the pipeline with other epochs in each pass that has some.

        Raises:
            ValueError: The passes have no epochs, or `epochs` is no count.
        """
        if epochs and not any(item.epochs for item in self.passes):
            kinds = ", ".join(item.kind for item in self.passes)
            raise ValueError(
                f"epochs: got {epochs}, and all passes ({kinds}) have 0; expected a plan that "
                "trains, e.g. qat-int8 in the place of int8."
            )
        passes = [item.changed(epochs=epochs) if item.epochs else item for item in self.passes]
        return type(self)(passes, self.budget)

    def apply(self, model: keras.Model, context: Context | None = None) -> Compressed:
        """Applies the passes in turn, and measures the model before, between and after.

        What any of them will need is looked at before the first one begins.

        A budget with a `search` runs them with several settings; the best result is kept.

        Raises:
            TypeError: `model` is subclassed.
            ValueError: `model` is not built, a weight is not finite, a pattern of a pass matches no
                layer, or what the budget limits is not measured.
            RuntimeError: A saved file does not hold the weights of its model.
        """
        from compress.graph import check_ties
        from compress.measure.account import layer_table
        from compress.pipeline import stages
        from compress.pipeline.search import search

        context = context or Context()
        limits = self.budget and self.budget.on(context)
        if context.teacher is None:
            context = dataclasses.replace(context, teacher=model)
        packed = any(item.kind == "huffman" for item in self.passes)
        if packed and limits is not None:
            context = dataclasses.replace(context, max_bytes=limits.max_bytes)
        check_ties(model)
        rows = layer_table(model)
        for step in self.passes:
            step.check(model, context)
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


def load_recipe(name_or_path: str | Path, changes: Iterable[str] = ()) -> Pipeline:
    """Reads a recipe: one of the package by its name, any other by a path that ends in `.yaml`.

    Args:
        name_or_path: Name or path.
        changes: `passes.KIND.KEY=VALUE` and `budget.KEY=VALUE`, see `Pipeline.changed`; what does
            not begin so is of another recipe, and not looked at.

    Raises:
        ValueError: There is no recipe of that name, the file is not a pipeline, or a change is
            wrong.
        FileNotFoundError: There is no such file.
    """
    own = [change.removeprefix(PASSES) for change in changes if change.startswith(OWN)]
    return Pipeline.from_yaml(recipe_path(name_or_path)).changed(own)


class Functions(TypedDict, total=False):
    """What a caller may give in the place of data, or beside it: see `Context`."""

    fit: Fit | None
    evaluate: Callable[[keras.Model], Mapping[str, float]] | None
    gradients: Callable[[keras.Model], Iterable[Sequence[np.ndarray]]] | None
    measure: Measure | None
    headline: Headline | str | None
    progress: Callable[[str], None] | None


@spelled_out(Functions)
def apply(
    plan: Pipeline | Pass | str | Path,
    model: keras.Model,
    *,
    data: Any = None,
    validation: Any = None,
    epochs: int | None = None,
    samples: Any = None,
    **functions: Unpack[Functions],
) -> Compressed:
    """Compresses a model; the model itself stays as it is.

    A compiled model needs data alone: what is made of it is trained and measured with its own loss,
    metrics, weights and kind of optimizer, and comes back compiled alike.

        model.compile("adam", "sparse_categorical_crossentropy", metrics=["accuracy"])
        model.fit(x, y, epochs=10)
        small = compress.apply(
            compress.Prune(sparsity=0.9), model, data=(x, y), validation=(x_val, y_val), epochs=5
        )
        print(small.report)
        small.model.save("small.keras")

    Args:
        plan: A pipeline, a single pass, or the name or path of a recipe.
        model: A built Functional or Sequential model.
        data: What the model learns from: `(x, y)`, `(x, y, sample_weight)`, a `tf.data.Dataset`, a
            `keras.utils.PyDataset`, or `compress.Data` with more of what `model.fit` takes.
        validation: What it is measured on, likewise; without it `data`, which a warning says.
        epochs: Epochs of each pass, in the place of those that it has; passes with 0 keep that.
        samples: Examples to calibrate on (see `Context`); without them inputs of `data`.
        **functions: Functions of the caller's own. `fit` trains a model in place (see `Fit`),
            `evaluate` returns the metrics of a model by name, `gradients` and `measure` as in
            `Context`. `headline` names the metric that budgets limit and passes choose by, or is a
            `compress.Headline`; by default the first one that the model was compiled with.
            `progress` is given a line when a pass has finished, e.g. `print`; notebooks print it.

    Raises:
        TypeError, ValueError, RuntimeError: See `Pipeline.apply`; or both a function and data for
            the same are given, or data for a model that is not compiled.
    """
    pipeline = as_pipeline(plan)
    if epochs is not None:
        pipeline = pipeline.trained_for(epochs)
    asked = functions.pop("headline", None)
    own: dict[str, Any] = {name: value for name, value in functions.items() if value is not None}
    known = ("fit", "evaluate", "gradients", "measure", "headline", "progress")
    for name in functions:
        if name not in known:
            raise TypeError(f"apply: unknown argument {name!r}. {nearest(name, known)}")
    for name, other, values in (("fit", "data", data), ("evaluate", "validation", validation)):
        if name in own and values is not None:
            raise ValueError(f"apply: got both {other} and {name}; expected one of them.")
    own.setdefault("progress", table.in_notebook())
    training = None
    if data is None and validation is None:
        context = Context(samples=samples)
    else:
        from compress.pipeline.compiled import Training

        training = Training(model, data, validation)
        context = training.context(samples=samples)
    if training is None or "evaluate" in own:
        context = dataclasses.replace(context, headline=_headline(asked), higher={})
    else:
        context = dataclasses.replace(context, headline=training.headline(asked))
    notes: tuple[str, ...] = ()
    if training is not None and validation is None and "evaluate" not in own:
        notes = ("measured on the data that it was trained on: there is no `validation`",)
        LOG.warning("%s: %s", model.name, notes[0])
    found = pipeline.apply(model, dataclasses.replace(context, **own))
    if training is not None:
        training.compile(found.model)
    return Compressed(found.model, dataclasses.replace(found.report, notes=notes))


def as_pipeline(plan: Pipeline | Pass | str | Path) -> Pipeline:
    """Returns a pipeline, a single pass, or the name or path of a recipe as a pipeline."""
    if isinstance(plan, (str, Path)):
        plan = load_recipe(plan)
    return plan if isinstance(plan, Pipeline) else Pipeline([plan])


def _headline(asked: Headline | str | None) -> Headline:
    return asked if isinstance(asked, Headline) else Context().headline_of(asked)


def _parse(group: type[_S], values: Any, where: str) -> _S:
    """Builds settings from plain values; error lines open with `where`."""
    if not (isinstance(values, Mapping) and all(isinstance(key, str) for key in values)):
        raise ValueError(f"{where}: got {shown(values)}; expected a mapping of keys to values.")
    try:
        return group(**values)
    except SettingsError as error:
        raise SettingsError(where, error.problems) from None
